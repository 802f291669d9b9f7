//! The side that asks: signs a request, and verifies what comes back for it. Called by the connection to other servers.

use super::record::{Tsig, append, extend_counted, split};
use super::{FUDGE, Key, MAX_UNSIGNED, error};
use crate::name::Name;
use std::sync::Arc;

/// Signs a request and returns what verifies its reply.
pub fn sign(key: &Arc<Key>, message: &mut Vec<u8>, now: u64) -> ReplyVerifier {
    let original_id = message.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    let mut tsig = Tsig {
        key_name: key.name.clone(),
        algorithm: algorithm_name(key),
        time: now,
        fudge: FUDGE,
        mac: Vec::new(),
        original_id,
        error: 0,
        other: Vec::new(),
    };
    tsig.mac = key.mac(&[&message[..], &tsig.variables()].concat());
    append(message, &tsig);
    ReplyVerifier { key: Arc::clone(key), prior_mac: tsig.mac, first: true, unsigned: Vec::new(), unsigned_count: 0 }
}

/// Verifies the messages of one reply, in their order.
#[derive(Clone, Debug)]
pub struct ReplyVerifier {
    key: Arc<Key>,
    prior_mac: Vec<u8>,
    first: bool,
    /// The messages since the last signed one: they are signed with the next.
    unsigned: Vec<u8>,
    unsigned_count: usize,
}

/// What the signature of one message of a reply is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Signed, and with it all before.
    Signed {
        /// The message without its signature.
        message: Vec<u8>,
        /// The TSIG error, 0 for none.
        error: u16,
        /// With BADTIME: the time of the server.
        server_time: Option<u64>,
    },
    /// Not signed, which a message other than the first may be: true only if one that comes later is signed.
    Later(Vec<u8>),
    /// The server says why it did not take the signature, and cannot sign that (RFC 8945 §5.3.2).
    NotTaken {
        /// The TSIG error, never 0.
        error: u16,
    },
    /// Without any signature, as a server that does not know TSIG, or does not like the key, refuses.
    Unsigned,
}

/// Why a message is not the reply to what was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// Octets that are no message, or a TSIG in the wrong place.
    #[error("it is no message")]
    Malformed,
    /// Signed with another key, or for another request, or changed on the way.
    #[error("its signature is wrong")]
    WrongSignature,
    /// Signed at a time that is too far away from now.
    #[error("it was signed at another time")]
    Stale,
    /// Too many messages without a signature.
    #[error("too many of its messages are not signed")]
    TooManyUnsigned,
}

impl ReplyVerifier {
    /// Verifies the next message of the reply.
    ///
    /// # Errors
    /// Where the message must not be believed; nor must any other from there on.
    pub fn verify(&mut self, message: &[u8], now: u64) -> Result<Verdict, Forged> {
        let Some((unsigned, tsig)) = split(message).map_err(|_| Forged::Malformed)? else {
            if self.first {
                return Ok(Verdict::Unsigned);
            }
            self.unsigned_count += 1;
            if self.unsigned_count > MAX_UNSIGNED {
                return Err(Forged::TooManyUnsigned);
            }
            self.unsigned.extend(message);
            return Ok(Verdict::Later(message.to_vec()));
        };
        if self.first && tsig.mac.is_empty() && tsig.error != 0 {
            return Ok(Verdict::NotTaken { error: tsig.error });
        }
        if tsig.key_name != self.key.name || tsig.algorithm != algorithm_name(&self.key) {
            return Err(Forged::WrongSignature);
        }
        let mut signed = Vec::with_capacity(message.len() + self.unsigned.len() + 128);
        extend_counted(&mut signed, &self.prior_mac);
        signed.append(&mut self.unsigned);
        signed.extend(&unsigned);
        if self.first {
            signed.extend(tsig.variables())
        } else {
            signed.extend(tsig.timers())
        }
        if !self.key.verifies(&signed, &tsig.mac) {
            return Err(Forged::WrongSignature);
        }
        if now.abs_diff(tsig.time) > u64::from(tsig.fudge) {
            return Err(Forged::Stale);
        }
        self.prior_mac = tsig.mac;
        self.first = false;
        self.unsigned_count = 0;
        let server_time = (tsig.error == error::BADTIME && tsig.other.len() == 6)
            .then(|| tsig.other.iter().fold(0, |time, &octet| time << 8 | u64::from(octet)));
        Ok(Verdict::Signed { message: unsigned, error: tsig.error, server_time })
    }

    /// Whether every message so far was signed, itself or by a later one: the last of a reply must be (RFC 8945 §5.3.1).
    pub fn is_complete(&self) -> bool {
        !self.first && self.unsigned_count == 0
    }
}

pub(super) fn algorithm_name(key: &Key) -> Name {
    Name::from_labels([key.algorithm.to_string().as_bytes()]).expect("the name of an algorithm is one label")
}
