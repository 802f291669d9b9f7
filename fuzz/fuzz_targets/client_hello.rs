//! What a client over TLS sends first flows in; the body is `nearside_proxy::fuzzing::client_hello`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_proxy::fuzzing::client_hello(bytes));
