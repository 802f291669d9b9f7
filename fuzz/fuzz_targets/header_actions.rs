//! The value of a header action and the fields it is done on flow in; the body is `nearside_proxy::fuzzing::header_actions`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_proxy::fuzzing::header_actions(bytes));
