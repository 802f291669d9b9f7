//! The marker of a name flows in; the body is `nearside_dns_sync::fuzzing::marker`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_dns_sync::fuzzing::marker(bytes));
