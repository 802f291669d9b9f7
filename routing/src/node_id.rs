//! Node identifiers and per-node aliases: a node name or a host flows in, the short stable label that names the node in
//! DNS flows out.

use crate::hostname::{Hostname, MAX_LABEL, split_first_label};
use sha2::{Digest, Sha256};
use std::fmt;

/// Five characters of base32 (RFC 4648 §6, lower case): the first 25 bits of the SHA-256 of the node name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId([u8; LENGTH]);

impl NodeId {
    /// The identifier of a node; the same name gives the same identifier for ever.
    pub fn of(node_name: &str) -> Self {
        let digest = Sha256::digest(node_name.as_bytes());
        let bits = digest.iter().take(4).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let mut id = [0; LENGTH];
        for (place, character) in id.iter_mut().enumerate() {
            *character = ALPHABET[(bits >> (27 - 5 * place) & 31) as usize];
        }
        Self(id)
    }

    /// The per-node alias of a host: first label, `--`, identifier; so that a certificate for `*.example.com` covers it.
    /// `None` where the first label would exceed 63 bytes.
    pub fn alias(self, host: &Hostname) -> Option<Hostname> {
        let (label, rest) = host.split_first_label();
        if label.len() + SEPARATOR.len() + LENGTH > MAX_LABEL {
            return None;
        }
        let alias = match rest {
            Some(rest) => format!("{label}{SEPARATOR}{self}.{rest}"),
            None => format!("{label}{SEPARATOR}{self}"),
        };
        Hostname::parse(&alias).ok()
    }

    /// The name that stands for the aliases of all hosts of a wildcard below this domain: `*--`, identifier, domain. Only the
    /// embedded name server answers by it (for `x--<id>.<domain>`); to others it is a name like any.
    pub fn wildcard_alias(self, domain: &Hostname) -> String {
        format!("*{SEPARATOR}{self}.{domain}")
    }

    /// Splits a canonical host that has the form of an alias into the host it stands for and the node's identifier; the
    /// wildcard alias into the wildcard.
    pub fn split_alias(host: &str) -> Option<(String, Self)> {
        let (label, rest) = split_first_label(host);
        let (original, id) = label.rsplit_once(SEPARATOR)?;
        let id = Self::parse(id)?;
        if original.is_empty() {
            return None;
        }
        let host = match rest {
            Some(rest) => format!("{original}.{rest}"),
            None => original.to_owned(),
        };
        Some((host, id))
    }

    /// Reads an identifier.
    pub fn parse(text: &str) -> Option<Self> {
        let id: [u8; LENGTH] = text.as_bytes().try_into().ok()?;
        id.iter().all(|c| ALPHABET.contains(c)).then_some(Self(id))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const LENGTH: usize = 5;
const SEPARATOR: &str = "--";
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_identifier_is_stable() {
        // The first 25 bits of SHA-256("node-a") in base32; a change here would rename every alias in DNS.
        assert_eq!(NodeId::of("node-a").as_str(), "mzlq7");
        assert_ne!(NodeId::of("node-a"), NodeId::of("node-b"));
    }

    #[test]
    fn an_alias_keeps_the_domain() {
        let host = Hostname::parse("video.example.com").unwrap();
        let id = NodeId::of("n1");
        assert_eq!(id.alias(&host).unwrap().as_str(), format!("video--{id}.example.com"));
    }

    #[test]
    fn a_label_that_would_grow_beyond_63_bytes_has_no_alias() {
        let id = NodeId::of("n1");
        let fits = Hostname::parse(&format!("{}.example.com", "a".repeat(56))).unwrap();
        let too_long = Hostname::parse(&format!("{}.example.com", "a".repeat(57))).unwrap();
        assert!(id.alias(&fits).is_some());
        assert!(id.alias(&too_long).is_none());
    }

    #[test]
    fn other_names_are_not_aliases() {
        for host in ["video.example.com", "a--b.example.com", "--abcde.example.com", "a--abcd1.example.com", ""] {
            assert_eq!(NodeId::split_alias(host), None, "{host}");
        }
    }

    proptest! {
        #[test]
        fn splitting_inverts_the_alias(label in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", node in "[a-z0-9.-]{1,40}") {
            let host = Hostname::parse(&format!("{label}.example.com")).unwrap();
            let id = NodeId::of(&node);
            let alias = id.alias(&host).unwrap();
            prop_assert_eq!(NodeId::split_alias(alias.as_str()), Some((host.to_string(), id)));
        }
    }
}
