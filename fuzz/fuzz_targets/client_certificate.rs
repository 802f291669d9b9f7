//! The certificate of a client in DER flows in; the body is `nearside_proxy::fuzzing::client_certificate`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_proxy::fuzzing::client_certificate(bytes));
