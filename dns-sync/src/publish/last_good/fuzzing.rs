//! The fuzz target of the file of what was last known: what is no such file is refused, what is one says the same when it is written
//! again, and what is changed anywhere is refused.

use super::{Head, VERSION, decode, encode};
use nearside_watch::sealed::seal;

/// See [`crate::fuzzing::last_good`].
pub(crate) fn file(bytes: &[u8]) {
    let head = Head { nearside_last_good: VERSION, cluster: "here".into(), zone: "z.test".into() };
    drop(decode(bytes, &head));
    let first = serde_json::to_vec(&head).expect("text and numbers");
    let file = seal(first, bytes.split(|byte| *byte == b'\n'));
    let Ok(known) = decode(&file, &head) else { return };
    let again = encode(&known, &head);
    assert_eq!(decode(&again, &head).as_ref(), Ok(&known));
    let place = bytes.iter().fold(bytes.len(), |place, byte| place.wrapping_mul(31) ^ usize::from(*byte)) % again.len();
    let mut changed = again.clone();
    changed[place] ^= 1;
    assert!(decode(&changed, &head).is_err(), "a change at {place} is not noticed");
    assert!(decode(&again[..place], &head).is_err(), "the end after {place} is not noticed");
}
