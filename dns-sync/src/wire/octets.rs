//! Reads the fixed parts of messages octet by octet (RFC 1035 §4.1): counts, owners, types, lengths. What needs more than that is
//! left to the library, and only for types that have a form of ours: a record of any other type cannot spoil a message.

use crate::name::Name;

/// A place in a message; reading moves it on. Every read is `None` beyond the end.
#[derive(Clone, Debug)]
pub(super) struct Reader<'m> {
    message: &'m [u8],
    pub(super) at: usize,
}

/// The counts of the four sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) questions: usize,
    pub(super) answers: usize,
    pub(super) authorities: usize,
    pub(super) additionals: usize,
}

/// A record up to its data.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// Where the record begins.
    pub(super) start: usize,
    pub(super) owner: Name,
    pub(super) record_type: u16,
    pub(super) class: u16,
    pub(super) ttl: u32,
    /// Where its data begins.
    pub(super) data: usize,
    /// Where its data ends, which is within the message.
    pub(super) end: usize,
}

impl<'m> Reader<'m> {
    pub(super) fn new(message: &'m [u8], at: usize) -> Self {
        Self { message, at }
    }

    /// The counts, of a reader that stands anywhere.
    pub(super) fn counts(&mut self) -> Option<Counts> {
        self.at = 4;
        let mut count = || self.u16().map(usize::from);
        Some(Counts { questions: count()?, answers: count()?, authorities: count()?, additionals: count()? })
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.message.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'m [u8]> {
        let end = self.at.checked_add(count)?;
        let octets = self.message.get(self.at..end)?;
        self.at = end;
        Some(octets)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|octets| u16::from_be_bytes(*octets))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
    }

    /// Octets with their number in front, as 16 bits.
    pub(super) fn counted(&mut self) -> Option<&'m [u8]> {
        let count = self.u16()?;
        self.take(usize::from(count))
    }

    /// A name that is not compressed.
    pub(super) fn whole_name(&mut self) -> Option<Name> {
        let rest = self.message.get(self.at..)?;
        let mut end = 0;
        loop {
            match usize::from(*rest.get(end)?) {
                0 => break,
                length @ 1..=63 => end += 1 + length,
                _ => return None,
            }
        }
        Name::from_whole_wire(self.take(end + 1)?)
    }

    /// A question: name, type, class.
    pub(super) fn question(&mut self) -> Option<(Name, u16, u16)> {
        Some((self.name()?, self.u16()?, self.u16()?))
    }

    /// A record; the reader then stands at its data.
    pub(super) fn head(&mut self) -> Option<Head> {
        let start = self.at;
        let (owner, record_type, class, ttl) = (self.name()?, self.u16()?, self.u16()?, self.u32()?);
        let length = usize::from(self.u16()?);
        let end = self.at.checked_add(length).filter(|&end| end <= self.message.len())?;
        Some(Head { start, owner, record_type, class, ttl, data: self.at, end })
    }

    /// A name, compressed or not (RFC 1035 §4.1.4).
    pub(super) fn name(&mut self) -> Option<Name> {
        let mut labels: Vec<&[u8]> = Vec::new();
        let mut at = self.at;
        let mut end = None;
        while labels.len() <= MAX_LABELS {
            match *self.message.get(at)? {
                0 => {
                    self.at = end.unwrap_or(at + 1);
                    return Name::from_labels(labels);
                }
                length @ 1..=63 => {
                    labels.push(self.message.get(at + 1..at + 1 + usize::from(length))?);
                    at += 1 + usize::from(length);
                }
                64..=0xbf => return None,
                high @ 0xc0.. => {
                    let low = *self.message.get(at + 1)?;
                    end = end.or(Some(at + 2));
                    let target = usize::from(high & 0x3f) << 8 | usize::from(low);
                    // Only back: a name is never compressed by what comes after it, and so this comes to an end.
                    if target >= at {
                        return None;
                    }
                    at = target;
                }
            }
        }
        None
    }
}

/// A name of 255 octets has no more.
const MAX_LABELS: usize = 127;
