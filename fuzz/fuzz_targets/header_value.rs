//! The value of a header action flows in; the body is `nearside_routing::fuzzing::header_value`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_routing::fuzzing::header_value(bytes));
