//! A file of the snapshot flows in; the body is `nearside_watch::fuzzing::snapshot`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_watch::fuzzing::snapshot(bytes));
