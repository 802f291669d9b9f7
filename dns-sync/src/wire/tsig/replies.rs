//! The side that answers: verifies a request, and signs every message of the reply to it. Called by the embedded server for zone
//! transfers.

use super::record::{Tsig, append, extend_counted, split};
use super::requests::algorithm_name;
use super::{FUDGE, Key, error};
use crate::name::Name;
use std::sync::Arc;

/// What the signature of a request is worth.
#[derive(Debug)]
pub enum Verdict {
    /// There is none.
    Unsigned,
    /// Signed with this key; the reply has to be signed as well.
    Accepted(Arc<Key>, ReplySigner),
    /// To be answered with NOTAUTH and nothing else (RFC 8945 §5.2), by this signer, which adds the reason.
    Refused(u16, ReplySigner),
    /// To be answered with FORMERR: no message, or a TSIG in the wrong place.
    Malformed,
}

/// Signs the messages of one reply, in their order.
#[derive(Debug)]
pub struct ReplySigner {
    key_name: Name,
    algorithm: Name,
    original_id: u16,
    error: u16,
    /// With BADTIME the time of the request: the signature is made with it, and says the time of the server beside.
    request_time: u64,
    /// `None` where the server has no key to sign with: BADKEY, BADSIG.
    signing: Option<(Arc<Key>, Vec<u8>)>,
    first: bool,
}

/// Verifies a request against the keys that are known.
pub fn verify<'k>(message: &[u8], keys: impl IntoIterator<Item = &'k Arc<Key>>, now: u64) -> Verdict {
    let (unsigned, tsig) = match split(message) {
        Ok(Some(parts)) => parts,
        Ok(None) => return Verdict::Unsigned,
        Err(_) => return Verdict::Malformed,
    };
    let signer = |error, signing| ReplySigner {
        key_name: tsig.key_name.clone(),
        algorithm: tsig.algorithm.clone(),
        original_id: tsig.original_id,
        error,
        request_time: tsig.time,
        signing,
        first: true,
    };
    let known = keys.into_iter().find(|key| key.name == tsig.key_name && algorithm_name(key) == tsig.algorithm);
    let Some(key) = known else { return Verdict::Refused(error::BADKEY, signer(error::BADKEY, None)) };
    let signed = [&unsigned[..], &tsig.variables()].concat();
    // A MAC that is cut short is not accepted at all, which RFC 8945 §5.2.2.1 leaves to the server.
    if !key.verifies(&signed, &tsig.mac) {
        return Verdict::Refused(error::BADSIG, signer(error::BADSIG, None));
    }
    let signing = Some((Arc::clone(key), tsig.mac.clone()));
    if now.abs_diff(tsig.time) > u64::from(tsig.fudge) {
        return Verdict::Refused(error::BADTIME, signer(error::BADTIME, signing));
    }
    Verdict::Accepted(Arc::clone(key), signer(0, signing))
}

impl ReplySigner {
    /// Signs the next message of the reply, which has at least a header and room for [`Key::overhead`].
    pub fn sign(&mut self, message: &mut Vec<u8>, now: u64) {
        let bad_time = self.error == error::BADTIME;
        let mut tsig = Tsig {
            key_name: self.key_name.clone(),
            algorithm: self.algorithm.clone(),
            time: if bad_time { self.request_time } else { now },
            fudge: FUDGE,
            mac: Vec::new(),
            original_id: self.original_id,
            error: self.error,
            other: if bad_time { now.to_be_bytes()[2..].to_vec() } else { Vec::new() },
        };
        if let Some((key, prior_mac)) = &mut self.signing {
            let mut signed = Vec::with_capacity(message.len() + 128);
            extend_counted(&mut signed, prior_mac);
            signed.extend(&message[..]);
            if self.first {
                signed.extend(tsig.variables())
            } else {
                signed.extend(tsig.timers())
            }
            tsig.mac = key.mac(&signed);
            prior_mac.clone_from(&tsig.mac);
        }
        self.first = false;
        append(message, &tsig);
    }
}
