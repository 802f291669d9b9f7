//! A chunked body with trailers flows in; the body is `nearside_proxy::fuzzing::trailers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_proxy::fuzzing::trailers(bytes));
