//! What is known of records: bytes as they came from a client flow in, whether a record has just ended flows out; records that are no
//! data flow in, what they mean flows out. Pure. Used by `accept`, before and after the kernel has taken over.

use nix::sys::socket::TlsGetRecordType;

/// Where records end (RFC 8446 §5.1) in what came so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordBoundary {
    /// Bytes of a header that came.
    header: u8,
    /// The length in it, as far as it came; then what is missing of the record.
    missing: usize,
}

impl RecordBoundary {
    /// More came.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.header == HEADER {
                let count = self.missing.min(bytes.len());
                self.missing -= count;
                bytes = &bytes[count..];
            } else {
                self.header += 1;
                if self.header > LENGTH {
                    self.missing = self.missing << 8 | usize::from(*first);
                }
                bytes = rest;
            }
            if self.header == HEADER && self.missing == 0 {
                self.header = 0;
            }
        }
    }

    /// Whether no record has begun and not ended.
    pub(crate) fn is_here(&self) -> bool {
        *self == Self::default()
    }
}

/// What came between the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Control {
    /// The first byte of an alert whose second one has not come.
    level: Option<u8>,
    /// The client has said that it sends nothing more.
    ended: bool,
    /// So has the proxy.
    pub(super) told: bool,
}

/// What a record means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// These bytes are data.
    Data,
    /// Nothing.
    Nothing,
    /// The end: no data follows.
    End,
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ControlError {
    /// RFC 8446 §6.2.
    #[error("the client sent alert {0}")]
    Alert(u8),
    /// A new key (RFC 8446 §4.6.3) or a new handshake (RFC 5246 §7.4.1.1); kernels before 6.14 can take neither.
    #[error("the client wants other keys, and the kernel keeps those it has")]
    Keys,
    /// A record of another type.
    #[error("the client sent a record of an unknown type")]
    Type,
}

impl Control {
    /// Whether nothing follows any more.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// A record, or a part of one, came.
    pub(super) fn came(&mut self, kind: TlsGetRecordType, bytes: &[u8]) -> Result<Came, ControlError> {
        match kind {
            TlsGetRecordType::ApplicationData => return Ok(Came::Data),
            TlsGetRecordType::Alert => {}
            TlsGetRecordType::Handshake => return Err(ControlError::Keys),
            _ => return Err(ControlError::Type),
        }
        for byte in bytes {
            match (self.level.take(), *byte) {
                (None, level) => self.level = Some(level),
                (Some(_), CLOSE_NOTIFY) => {
                    self.ended = true;
                    return Ok(Came::End);
                }
                (Some(_), USER_CANCELED) => {}
                (Some(_), alert) => return Err(ControlError::Alert(alert)),
            }
        }
        Ok(Came::Nothing)
    }
}

/// Bytes of the header of a record.
const HEADER: u8 = 5;
/// Those before the length.
const LENGTH: u8 = 3;
/// RFC 8446 §6.1.
pub(super) const CLOSE_NOTIFY: u8 = 0;
/// Means nothing by itself: the end follows it.
const USER_CANCELED: u8 = 90;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(length: usize) -> Vec<u8> {
        [&[23, 3, 3, (length >> 8) as u8, length as u8][..], &vec![0xAB; length]].concat()
    }

    proptest! {
        /// Records of any length, in any parts.
        #[test]
        fn a_record_ends_where_its_length_says(
            lengths in proptest::collection::vec(prop_oneof![Just(0_usize), 0_usize..20, 250_usize..300, 16_000_usize..17_000], 1..6),
            parts in proptest::collection::vec(1_usize..9000, 1..40),
        ) {
            let all: Vec<u8> = lengths.iter().flat_map(|length| record(*length)).collect();
            let ends: Vec<usize> = lengths.iter().scan(0, |at, length| { *at += length + 5; Some(*at) }).collect();
            let (mut boundary, mut at) = (RecordBoundary::default(), 0);
            for part in parts.iter().cycle() {
                if at == all.len() {
                    break;
                }
                let to = (at + part).min(all.len());
                boundary.pass(&all[at..to]);
                at = to;
                prop_assert_eq!(boundary.is_here(), ends.contains(&at), "at {}", at);
            }
        }
    }

    #[test]
    fn data_is_data_and_the_end_is_the_end() {
        let mut control = Control::default();
        assert_eq!(control.came(TlsGetRecordType::ApplicationData, b"data"), Ok(Came::Data));
        assert_eq!(control.came(TlsGetRecordType::Alert, &[1, 90]), Ok(Came::Nothing));
        assert!(!control.is_ended());
        assert_eq!(control.came(TlsGetRecordType::Alert, &[1, 0]), Ok(Came::End));
        assert!(control.is_ended());
    }

    #[test]
    fn an_alert_that_comes_byte_by_byte_is_one_alert() {
        let mut control = Control::default();
        assert_eq!(control.came(TlsGetRecordType::Alert, &[1]), Ok(Came::Nothing));
        assert_eq!(control.came(TlsGetRecordType::Alert, &[0]), Ok(Came::End));
    }

    #[test]
    fn what_cannot_be_followed_is_a_fault() {
        let fault = |kind: TlsGetRecordType, bytes: &[u8]| Control::default().came(kind, bytes).unwrap_err();
        assert_eq!(fault(TlsGetRecordType::Alert, &[2, 20]), ControlError::Alert(20));
        assert_eq!(fault(TlsGetRecordType::Handshake, &[24, 0, 0, 1, 0]), ControlError::Keys);
        assert_eq!(fault(TlsGetRecordType::ChangeCipherSpec, &[1]), ControlError::Type);
        assert_eq!(fault(TlsGetRecordType::Unknown(99), &[1]), ControlError::Type);
    }
}
