//! The path of a request and those of rules flow in; the body is `nearside_routing::fuzzing::path`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_routing::fuzzing::path(bytes));
