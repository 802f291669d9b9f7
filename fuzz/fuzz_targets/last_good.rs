//! The file of what was last known of a zone flows in; the body is `nearside_dns_sync::fuzzing::last_good`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_dns_sync::fuzzing::last_good(bytes));
