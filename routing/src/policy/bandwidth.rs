//! How fast an answer is sent: annotations flow in, bytes a second for each response flow out.

use crate::annotation::grammar::{bytes, count};
use crate::annotation::{Annotations, Spelling};
use std::num::NonZeroU64;

/// The speed of one response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// Bytes a second.
    pub rate: NonZeroU64,
    /// Bytes at the start of a response that are sent as fast as they come.
    pub after: u64,
}

impl Bandwidth {
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Option<Self> {
        let rate = annotations.first(&[
            Spelling { name: "nearside.dev/limit-rate", parse: bytes },
            Spelling { name: "nginx.ingress.kubernetes.io/limit-rate", parse: kilobytes },
        ]);
        let after = annotations.first(&[
            Spelling { name: "nearside.dev/limit-rate-after", parse: bytes },
            Spelling { name: "nginx.ingress.kubernetes.io/limit-rate-after", parse: kilobytes },
        ]);
        Some(Self { rate: NonZeroU64::new(rate?)?, after: after.unwrap_or(0) })
    }
}

/// A number of KiB, as ingress-nginx writes it.
fn kilobytes(text: &str) -> Result<u64, String> {
    count(text).map(|number| u64::from(number) * 1024).map_err(|_| "is not a whole number of kilobytes".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    #[test]
    fn each_spelling_has_its_unit_and_zero_means_no_limit() {
        let nginx = "nginx.ingress.kubernetes.io/limit-rate";
        let after = "nginx.ingress.kubernetes.io/limit-rate-after";
        let speed = |rate, after| Some(Bandwidth { rate: NonZeroU64::new(rate).unwrap(), after });
        for (written, expected) in [
            (&[(nginx, "100")][..], speed(102_400, 0)),
            (&[(nginx, "100"), (after, "5")], speed(102_400, 5120)),
            (&[("nearside.dev/limit-rate", "2m"), (nginx, "1")], speed(2 << 20, 0)),
            (&[(nginx, "0")], None),
            (&[(after, "5")], None),
            (&[(nginx, "1k")], None),
        ] {
            assert_eq!(read(written, Bandwidth::read), expected, "{written:?}");
        }
        assert_eq!(problems(&[(nginx, "1k")], Bandwidth::read).len(), 1);
    }
}
