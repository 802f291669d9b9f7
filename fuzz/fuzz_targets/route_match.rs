//! Rules of Routes and Ingresses, and a request flow in; the body is `nearside_routing::fuzzing::route_match`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_routing::fuzzing::route_match(bytes));
