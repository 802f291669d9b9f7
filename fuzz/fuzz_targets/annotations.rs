//! Annotations of a Route and an Ingress flow in; the body is `nearside_routing::fuzzing::annotations`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_routing::fuzzing::annotations(bytes));
