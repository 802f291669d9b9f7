//! Fields that hold cookies flow in; the body is `nearside_proxy::fuzzing::cookies`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_proxy::fuzzing::cookies(bytes));
