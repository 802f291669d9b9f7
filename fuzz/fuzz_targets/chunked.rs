//! A body in the chunked coding flows in; the body is `nearside_proxy::fuzzing::chunked`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_proxy::fuzzing::chunked(bytes));
