//! A message that may be signed flows in; the body is `nearside_dns_sync::fuzzing::tsig`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_dns_sync::fuzzing::tsig(bytes));
