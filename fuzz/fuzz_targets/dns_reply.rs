//! A message of another name server flows in; the body is `nearside_dns_sync::fuzzing::dns_reply`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nearside_dns_sync::fuzzing::dns_reply(bytes));
