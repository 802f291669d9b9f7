//! The fuzz target of signatures: octets flow in, as a request, as a reply to one, and as what is signed. Nobody without the key signs
//! anything, and what was signed and changed is not believed.

use super::record::{append, split};
use super::replies;
use super::requests::{self, Verdict};
use super::{Algorithm, Key};
use std::sync::Arc;

/// See [`crate::fuzzing::tsig`].
pub(crate) fn signed(octets: &[u8]) {
    let key = Key::new("key.example".parse().expect("a name"), Algorithm::HmacSha256, *b"a secret");
    let key = Arc::new(key.expect("a secret"));
    let split_once = split(octets);
    if let Ok(Some((unsigned, tsig))) = &split_once {
        let mut again = unsigned.clone();
        append(&mut again, tsig);
        assert_eq!(split(&again).as_ref(), Ok(&Some((unsigned.clone(), tsig.clone()))));
    }
    let verdict = replies::verify(octets, [&key], NOW);
    assert!(!matches!(verdict, replies::Verdict::Accepted(..)), "signed without the key");
    let mut request = QUERY.to_vec();
    let mut verifier = requests::sign(&key, &mut request, NOW);
    let replied = verifier.verify(octets, NOW);
    assert!(!matches!(replied, Ok(Verdict::Signed { .. })), "signed without the key");
    assert!(!verifier.is_complete());
    if split_once == Ok(None) {
        is_believed_only_whole(&key, octets);
    }
}

/// A message without a signature is signed, changed, and verified on either side.
fn is_believed_only_whole(key: &Arc<Key>, octets: &[u8]) {
    let mut request = octets.to_vec();
    let mut verifier = requests::sign(key, &mut request, NOW);
    let replies::Verdict::Accepted(by, mut signer) = replies::verify(&request, [key], NOW) else {
        panic!("what is signed is not accepted")
    };
    assert_eq!(by, *key);
    let place = octets.iter().fold(octets.len(), |place, octet| place.wrapping_mul(31) ^ usize::from(*octet));
    // The id may be changed on the way (RFC 8945 §4.2): the record holds the original one.
    let place = 2 + place % (octets.len() - 2);
    let mut changed = request.clone();
    changed[place] ^= 1;
    let verdict = replies::verify(&changed, [key], NOW);
    assert!(!matches!(verdict, replies::Verdict::Accepted(..)), "a change at {place} is not noticed");
    let mut reply = octets.to_vec();
    signer.sign(&mut reply, NOW);
    let mut forged = reply.clone();
    forged[place] ^= 1;
    let believed = verifier.clone().verify(&forged, NOW);
    assert!(!matches!(believed, Ok(Verdict::Signed { .. })), "a change at {place} is not noticed");
    let Ok(Verdict::Signed { message, error: 0, .. }) = verifier.verify(&reply, NOW) else { panic!("not believed") };
    assert_eq!(message, octets);
}

const NOW: u64 = 1_700_000_000;
const QUERY: &[u8] = b"\x12\x67\0\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\xfc\0\x01";
