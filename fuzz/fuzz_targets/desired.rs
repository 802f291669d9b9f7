//! Records that a DNSEndpoint asks for flow in; the body is `nearside_dns_sync::fuzzing::desired`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_dns_sync::fuzzing::desired(bytes));
