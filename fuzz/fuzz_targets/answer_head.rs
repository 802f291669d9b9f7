//! What a pod sends first flows in; the body is `nearside_proxy::fuzzing::answer_head`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_proxy::fuzzing::answer_head(bytes));
