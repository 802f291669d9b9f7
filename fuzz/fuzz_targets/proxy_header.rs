//! What a load balancer sends first flows in; the body is `nearside_proxy::fuzzing::proxy_header`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_proxy::fuzzing::proxy_header(bytes));
