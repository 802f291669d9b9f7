//! Fields that tell who asks flow in; the body is `nearside_proxy::fuzzing::forwarded`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_proxy::fuzzing::forwarded(bytes));
