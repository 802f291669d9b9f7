//! The lines of an htpasswd file flow in; the body is `nearside_routing::fuzzing::credentials`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_routing::fuzzing::credentials(bytes));
