//! Objects of the Kubernetes API in JSON flow in; the body is `nearside_routing::fuzzing::objects`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_routing::fuzzing::objects(bytes));
