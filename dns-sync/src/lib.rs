//! Publishes what DNSEndpoint objects desire as DNS records: by serving the zones itself ([`serve`]), or on name servers that
//! others run ([`publish`]).
//!
//! Objects come in through [`source`], become RRsets in [`desired`], zones in [`zone`] and one served moment in
//! [`zone_store`]; queries come in through [`serve`], are read by [`wire`] and answered by [`answer`](mod@answer). What
//! decides is pure ([`desired`], [`zone`], [`serial`], [`answer`](mod@answer)); the rest moves octets to and from it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod answer;
mod chance;
pub mod config;
pub mod desired;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod limits;
pub mod metrics;
pub mod name;
pub mod overview;
pub mod peer_watch;
pub mod publish;
pub mod record;
pub mod report;
pub mod reporter;
pub mod serial;
pub mod serve;
pub mod source;
pub mod status;
#[cfg(test)]
mod testing;
pub mod verify;
pub mod wire;
pub mod zone;
pub mod zone_store;
