//! A file of manifests flows in; the body is `nearside_watch::fuzzing::manifests`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_watch::fuzzing::manifests(bytes));
