//! The TSIG record at the end of a message (RFC 8945 §4.2), octet by octet: it is cut off and put on without touching the rest of
//! the message, because what is signed are the octets as they were sent.

use crate::name::Name;
use crate::wire::octets::Reader;

/// A TSIG record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tsig {
    /// The owner: the name of the key.
    pub(super) key_name: Name,
    pub(super) algorithm: Name,
    /// Seconds since 1970, 48 bits.
    pub(super) time: u64,
    pub(super) fudge: u16,
    pub(super) mac: Vec<u8>,
    pub(super) original_id: u16,
    pub(super) error: u16,
    pub(super) other: Vec<u8>,
}

/// Octets that are no message, or have a TSIG anywhere but at the end (RFC 8945 §5.2: FORMERR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Cuts the TSIG off: the message as it was signed, with the id that it had then; and the record. `None` without one.
pub(super) fn split(message: &[u8]) -> Result<Option<(Vec<u8>, Tsig)>, Malformed> {
    let Some((start, tsig)) = find(message).ok_or(Malformed)? else { return Ok(None) };
    let mut unsigned = message[..start].to_vec();
    unsigned[..2].copy_from_slice(&tsig.original_id.to_be_bytes());
    set_additional_count(&mut unsigned, additional_count(message).saturating_sub(1));
    Ok(Some((unsigned, tsig)))
}

/// Puts a TSIG on a message that has at least a header.
pub(super) fn append(message: &mut Vec<u8>, tsig: &Tsig) {
    let count = additional_count(message).saturating_add(1);
    set_additional_count(message, count);
    message.extend(tsig.key_name.as_wire());
    message.extend(TYPE_TSIG.to_be_bytes());
    message.extend(CLASS_ANY.to_be_bytes());
    message.extend([0; 4]);
    let mut data = tsig.algorithm.as_wire().to_vec();
    data.extend(&tsig.time.to_be_bytes()[2..]);
    data.extend(tsig.fudge.to_be_bytes());
    extend_counted(&mut data, &tsig.mac);
    data.extend(tsig.original_id.to_be_bytes());
    data.extend(tsig.error.to_be_bytes());
    extend_counted(&mut data, &tsig.other);
    extend_counted(message, &data);
}

impl Tsig {
    /// What of the record is signed with a message (RFC 8945 §4.3.3).
    pub(super) fn variables(&self) -> Vec<u8> {
        let mut octets = self.key_name.as_wire().to_vec();
        octets.extend(CLASS_ANY.to_be_bytes());
        octets.extend([0; 4]);
        octets.extend(self.algorithm.as_wire());
        octets.extend(self.timers());
        octets.extend(self.error.to_be_bytes());
        extend_counted(&mut octets, &self.other);
        octets
    }

    /// What of it is signed with every message of a reply but the first (RFC 8945 §5.3.1).
    pub(super) fn timers(&self) -> [u8; 8] {
        let mut octets = [0; 8];
        octets[..6].copy_from_slice(&self.time.to_be_bytes()[2..]);
        octets[6..].copy_from_slice(&self.fudge.to_be_bytes());
        octets
    }
}

/// The octets with their number in front, as 16 bits. What is counted here never is longer: a MAC, six octets, a record of both.
pub(super) fn extend_counted(octets: &mut Vec<u8>, counted: &[u8]) {
    octets.extend(u16::try_from(counted.len()).unwrap_or(u16::MAX).to_be_bytes());
    octets.extend(counted);
}

/// Where the TSIG begins, and what it says. The outer `None` is for octets that are no message.
fn find(message: &[u8]) -> Option<Option<(usize, Tsig)>> {
    let mut reader = Reader::new(message, 0);
    let counts = reader.counts()?;
    for _ in 0..counts.questions {
        reader.question()?;
    }
    let all = counts.answers + counts.authorities + counts.additionals;
    let mut found = None;
    for index in 0..all {
        let head = reader.head()?;
        if head.record_type != TYPE_TSIG {
            reader.at = head.end;
            continue;
        }
        let last_of_additional = index + 1 == all && counts.additionals > 0;
        if !last_of_additional || head.class != CLASS_ANY || head.ttl != 0 {
            return None;
        }
        let tsig = Tsig {
            key_name: head.owner,
            algorithm: reader.name()?,
            time: reader.take(6)?.iter().fold(0, |time, &octet| time << 8 | u64::from(octet)),
            fudge: reader.u16()?,
            mac: reader.counted()?.to_vec(),
            original_id: reader.u16()?,
            error: reader.u16()?,
            other: reader.counted()?.to_vec(),
        };
        if reader.at != head.end {
            return None;
        }
        found = Some((head.start, tsig));
    }
    reader.is_at_end().then_some(found)
}

fn additional_count(message: &[u8]) -> u16 {
    message.get(10..12).and_then(|octets| octets.first_chunk()).map_or(0, |octets| u16::from_be_bytes(*octets))
}

fn set_additional_count(message: &mut [u8], count: u16) {
    if let Some(octets) = message.get_mut(10..12) {
        octets.copy_from_slice(&count.to_be_bytes());
    }
}

const TYPE_TSIG: u16 = 250;
const CLASS_ANY: u16 = 255;
