//! Certificates and keys in PEM flow in; the body is `nearside_routing::fuzzing::certificates`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_routing::fuzzing::certificates(bytes));
