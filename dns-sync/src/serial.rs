//! The SOA serial: content and generation of a zone flow in, a serial flows out that moves forward (RFC 1982) whenever
//! the content changes and stands still when it does not. Called by `zone_store` on every build.
//!
//! The low 16 bits are a digest of the content, the high 16 bits start as the highest generation that the objects carry.
//! So replicas with the same content always agree in the low half, and agree in full when they have seen the same
//! generations; equal serials mean equal content. No function of the content alone could also move forward: going from
//! one content to another and back would have to advance twice and end where it began.

/// The serial for the given content.
///
/// `previous` is what the process served before, with the digest it was made from. Returns the previous serial for the
/// same digest, else the serial that generation and digest suggest, else, where that would not be an advance, the
/// nearest greater serial that carries the digest.
pub fn next(previous: Option<(u32, u64)>, generation: u64, digest: u64) -> u32 {
    let content = u32::from(fold(digest));
    let suggested = (u32::from(low16(generation)) << 16) | content;
    match previous {
        None => suggested,
        Some((serial, same)) if same == digest => serial,
        Some((serial, _)) if is_greater(suggested, serial) => suggested,
        Some((serial, _)) => {
            let same_epoch = (serial & 0xffff_0000) | content;
            if is_greater(same_epoch, serial) { same_epoch } else { same_epoch.wrapping_add(1 << 16) }
        }
    }
}

/// Whether `a` comes after `b` in serial number arithmetic (RFC 1982 §3.2).
pub fn is_greater(a: u32, b: u32) -> bool {
    let distance = a.wrapping_sub(b);
    distance != 0 && distance < 1 << 31
}

/// FNV-1a, 64 bit: the same for the same octets on every replica and in every build. It tells zones apart; it protects
/// nothing.
#[derive(Clone, Copy, Debug)]
pub struct Digest(u64);

impl Digest {
    /// The digest of nothing.
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds one field; its length is part of the digest, so that fields cannot run into each other.
    pub fn field(&mut self, octets: &[u8]) {
        let length = (octets.len() as u64).to_be_bytes();
        for &octet in length.iter().chain(octets) {
            self.0 = (self.0 ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The digest so far.
    pub fn value(self) -> u64 {
        self.0
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

fn fold(digest: u64) -> u16 {
    low16(digest ^ (digest >> 16) ^ (digest >> 32) ^ (digest >> 48))
}

fn low16(value: u64) -> u16 {
    (value & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_same_content_keeps_its_serial_whatever_the_generation() {
        assert_eq!(next(Some((7, 42)), 9, 42), 7);
    }

    #[test]
    fn replicas_agree_on_first_sight() {
        assert_eq!(next(None, 3, 42), next(None, 3, 42));
        assert_eq!(next(None, 3, 42) >> 16, 3);
    }

    proptest! {
        #[test]
        fn every_change_advances_and_carries_the_content(steps in prop::collection::vec((any::<u64>(), any::<u64>()), 1..50)) {
            let mut previous: Option<(u32, u64)> = None;
            for (generation, digest) in steps {
                let serial = next(previous, generation, digest);
                prop_assert_eq!(serial & 0xffff, u32::from(fold(digest)));
                if let Some((before, digest_before)) = previous {
                    prop_assert!(digest == digest_before || is_greater(serial, before));
                }
                previous = Some((serial, digest));
            }
        }
    }
}
