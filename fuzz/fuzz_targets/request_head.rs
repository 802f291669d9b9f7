//! What a client over HTTP/1 sends first flows in; the body is `nearside_proxy::fuzzing::request_head`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_proxy::fuzzing::request_head(bytes));
