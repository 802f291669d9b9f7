//! Aliases of wildcard hosts: `*--k3x7a.example.com` as an object writes it flows in; whether a label such as
//! `video--k3x7a` is meant flows out. Called by `desired` and by the lookup in a zone.
//!
//! DNS knows no such pattern (RFC 4592 §2.1.1 demands a whole label `*`), so it is no [`Name`], is never a record, and is
//! never transferred or published elsewhere: only this server answers for it.

use crate::name::Name;
use std::fmt;

/// One label of any text before `--<id>`, directly below a domain: every host of `*.<domain>` on one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WildcardAlias {
    id: Box<[u8]>,
    domain: Name,
}

impl WildcardAlias {
    /// Reads `*--<id>.<domain>`; `None` where the text is anything else. The id is of letters and digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, domain) = text.strip_prefix("*--")?.split_once('.')?;
        let is_id = !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|octet| octet.is_ascii_alphanumeric());
        let domain = domain.parse::<Name>().ok().filter(|domain| is_id && !domain.is_wildcard())?;
        Some(Self { id: id.to_ascii_lowercase().into_bytes().into(), domain })
    }

    /// The node's id, in lower case.
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// The domain that the hosts are in.
    pub fn domain(&self) -> &Name {
        &self.domain
    }
}

impl fmt::Display for WildcardAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "*--{}.{}", String::from_utf8_lossy(&self.id), self.domain)
    }
}

/// The id in a label `<host>--<id>`, in the case of the label.
pub(super) fn id_of(label: &[u8]) -> Option<&[u8]> {
    let dashes = label.windows(2).rposition(|pair| pair == b"--")?;
    let id = &label[dashes + 2..];
    (dashes > 0 && !id.is_empty()).then_some(id)
}

/// Octets of an id: a label holds 63, and the host and the dashes need some.
const MAX_ID: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_an_asterisk_an_id_and_a_domain() {
        let alias = WildcardAlias::parse("*--K3x7a.Example.com.").unwrap();
        assert_eq!((alias.id(), alias.domain().to_string().as_str()), (&b"k3x7a"[..], "example.com"));
        assert_eq!(alias.to_string(), "*--k3x7a.example.com");
        for other in [
            "*.example.com",
            "video--k3x7a.example.com",
            "*--.example.com",
            "*--k3x7a",
            "*--a-b.example.com",
            "*--a.*.b",
        ] {
            assert_eq!(WildcardAlias::parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_last_dashes_of_a_label_begin_the_id() {
        assert_eq!(id_of(b"video--k3x7a"), Some(&b"k3x7a"[..]));
        assert_eq!(id_of(b"a--b--k3x7a"), Some(&b"k3x7a"[..]));
        assert_eq!(id_of(b"a---k"), Some(&b"k"[..]));
        for label in [&b"--k3x7a"[..], b"video--", b"video-k3x7a", b"", b"--"] {
            assert_eq!(id_of(label), None);
        }
    }
}
