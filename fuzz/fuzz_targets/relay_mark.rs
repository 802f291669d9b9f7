//! The mark of a relayed request flows in; the body is `nearside_proxy::fuzzing::relay_mark`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_proxy::fuzzing::relay_mark(bytes));
