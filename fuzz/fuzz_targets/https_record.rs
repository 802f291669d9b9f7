//! An HTTPS record flows in; the body is `nearside_dns_sync::fuzzing::https_record`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_dns_sync::fuzzing::https_record(bytes));
