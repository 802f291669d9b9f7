//! Signatures of messages by a shared secret (TSIG, RFC 8945): whole encoded messages flow in, signed ones or a verdict flow out.
//! [`requests`] is the side that asks, [`replies`] the side that answers. The time is always an argument, in seconds since 1970.
//!
//! The library does the HMAC alone: its own verifier knows neither the errors apart nor replies of which only some are signed
//! (RFC 8945 §5.3.1), and computes with times that it has not checked.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod record;
pub mod replies;
pub mod requests;

use crate::name::Name;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use std::fmt;
use std::str::FromStr;

/// A shared secret and what it is called. Two keys are equal where the server could not tell them apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    name: Name,
    algorithm: Algorithm,
    secret: Box<[u8]>,
}

/// The hash of a key (RFC 8945 §6), those that are neither broken nor truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the registered ones")]
pub enum Algorithm {
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

/// Another algorithm, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not one of hmac-sha256, hmac-sha384, hmac-sha512")]
pub struct UnknownAlgorithm;

/// The number of a TSIG error (RFC 8945 §3).
pub mod error {
    #![expect(missing_docs, reason = "the names are the registered ones")]
    pub const BADSIG: u16 = 16;
    pub const BADKEY: u16 = 17;
    pub const BADTIME: u16 = 18;
    pub const BADTRUNC: u16 = 22;
}

impl Key {
    /// A key; `None` without a secret.
    pub fn new(name: Name, algorithm: Algorithm, secret: impl Into<Box<[u8]>>) -> Option<Self> {
        let secret = secret.into();
        (!secret.is_empty()).then_some(Self { name, algorithm, secret })
    }

    /// What it is called; both sides must call it the same.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its hash.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Octets by which a signature makes a message longer.
    pub fn overhead(&self) -> usize {
        // The server's time of a BADTIME is the only other data there is.
        let rdata = self.algorithm.wire_name().len() + 16 + self.algorithm.mac_octets() + 6;
        self.name.as_wire().len() + 10 + rdata
    }

    fn mac(&self, octets: &[u8]) -> Vec<u8> {
        self.algorithm.library().mac_data(&self.secret, octets).expect("the library has each of these hashes")
    }

    /// Compares in a time that does not depend on where the two differ.
    fn verifies(&self, octets: &[u8], mac: &[u8]) -> bool {
        self.algorithm.library().verify_mac(&self.secret, octets, mac).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {})", self.algorithm, self.name)
    }
}

impl Algorithm {
    /// The length of a MAC.
    fn mac_octets(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    fn wire_name(self) -> &'static [u8] {
        match self {
            Self::HmacSha256 => b"\x0bhmac-sha256\0",
            Self::HmacSha384 => b"\x0bhmac-sha384\0",
            Self::HmacSha512 => b"\x0bhmac-sha512\0",
        }
    }

    fn library(self) -> TsigAlgorithm {
        match self {
            Self::HmacSha256 => TsigAlgorithm::HmacSha256,
            Self::HmacSha384 => TsigAlgorithm::HmacSha384,
            Self::HmacSha512 => TsigAlgorithm::HmacSha512,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        })
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Reads the registered name, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        let all = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];
        all.into_iter().find(|known| known.to_string().eq_ignore_ascii_case(text)).ok_or(UnknownAlgorithm)
    }
}

/// How far the clocks of two sides may differ (RFC 8945 §10), in seconds.
const FUDGE: u16 = 300;

/// Messages of one reply that may follow each other without a signature (RFC 8945 §5.3.1).
const MAX_UNSIGNED: usize = 99;

#[cfg(test)]
mod tests;
