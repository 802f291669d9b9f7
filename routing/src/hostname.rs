//! Host names: text of a Route, an Ingress or a `Host` header flows in, a canonical lower-case name flows out.

use std::borrow::Cow;
use std::fmt;

/// A DNS-1123 subdomain in lower case without a trailing dot: at most 253 bytes, labels of 1 to 63 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hostname(Box<str>);

impl Hostname {
    /// Reads a host name; upper case is folded.
    ///
    /// # Errors
    /// [`HostnameError`] says which rule of DNS-1123 the text breaks.
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        if text.is_empty() {
            return Err(HostnameError::Empty);
        }
        if text.len() > MAX_NAME {
            return Err(HostnameError::TooLong { length: text.len() });
        }
        for label in text.split('.') {
            if label.is_empty() {
                return Err(HostnameError::EmptyLabel);
            }
            if label.len() > MAX_LABEL {
                return Err(HostnameError::LabelTooLong { label: label.into(), length: label.len() });
            }
            if let Some(character) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
                return Err(HostnameError::Character { character });
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(HostnameError::Hyphen { label: label.into() });
            }
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first label and what follows it; a name of one label has no rest.
    pub fn split_first_label(&self) -> (&str, Option<&str>) {
        split_first_label(&self.0)
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::borrow::Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says it")]
pub enum HostnameError {
    #[error("the host is empty")]
    Empty,
    #[error("the host has {length} bytes, at most 253 are allowed")]
    TooLong { length: usize },
    #[error("the host has an empty label")]
    EmptyLabel,
    #[error("the label {label:?} has {length} bytes, at most 63 are allowed")]
    LabelTooLong { label: Box<str>, length: usize },
    #[error("the character {character:?} is not allowed in a host")]
    Character { character: char },
    #[error("the label {label:?} starts or ends with a hyphen")]
    Hyphen { label: Box<str> },
}

/// The hosts that a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// One host.
    Exact(Hostname),
    /// Every host of exactly one label below this domain; the domain itself is not covered.
    Wildcard(Hostname),
    /// Every host (an Ingress rule without host).
    Any,
}

impl HostPattern {
    /// Reads the host of an Ingress rule: empty, exact, or `*.` and a domain.
    ///
    /// # Errors
    /// [`HostnameError`] for the part that is a name.
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        if text.is_empty() {
            return Ok(Self::Any);
        }
        match text.strip_prefix("*.") {
            Some(domain) => Ok(Self::Wildcard(Hostname::parse(domain)?)),
            None => Ok(Self::Exact(Hostname::parse(text)?)),
        }
    }

    /// Whether a canonical host is one that the pattern speaks of.
    pub fn covers(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => name.as_str() == host,
            Self::Wildcard(domain) => {
                let (label, rest) = split_first_label(host);
                rest == Some(domain.as_str()) && !label.is_empty()
            }
        }
    }

    /// The domain directly above the hosts of the pattern.
    pub fn parent(&self) -> Option<&str> {
        match self {
            Self::Any => None,
            Self::Exact(name) => name.split_first_label().1,
            Self::Wildcard(domain) => Some(domain.as_str()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(name) => write!(f, "{name}"),
            Self::Wildcard(domain) => write!(f, "*.{domain}"),
        }
    }
}

/// The canonical form of a `Host` header or an SNI name: lower case, without port and without one trailing dot.
/// An IPv6 literal keeps its brackets.
pub fn canonical_host(authority: &str) -> Cow<'_, str> {
    let host = match authority.rfind(']') {
        Some(end) => &authority[..=end],
        None => match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        },
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// The first label of a name and what follows it.
pub(crate) fn split_first_label(name: &str) -> (&str, Option<&str>) {
    match name.split_once('.') {
        Some((label, rest)) => (label, Some(rest)),
        None => (name, None),
    }
}

/// RFC 1035 §2.3.4, less the length bytes of the wire form.
const MAX_NAME: usize = 253;
/// RFC 1035 §2.3.4.
pub(crate) const MAX_LABEL: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dns_1123() {
        assert_eq!(Hostname::parse("Video.Example.com").unwrap().as_str(), "video.example.com");
        assert_eq!(Hostname::parse(""), Err(HostnameError::Empty));
        assert_eq!(Hostname::parse("a..b"), Err(HostnameError::EmptyLabel));
        assert_eq!(Hostname::parse("a_b.c"), Err(HostnameError::Character { character: '_' }));
        assert!(matches!(Hostname::parse("-a.c"), Err(HostnameError::Hyphen { .. })));
        assert!(matches!(Hostname::parse(&"a".repeat(300)), Err(HostnameError::TooLong { length: 300 })));
        assert!(matches!(Hostname::parse(&"a".repeat(64)), Err(HostnameError::LabelTooLong { length: 64, .. })));
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        let pattern = HostPattern::parse("*.foo.com").unwrap();
        assert!(pattern.covers("bar.foo.com"));
        assert!(!pattern.covers("baz.bar.foo.com"));
        assert!(!pattern.covers("foo.com") && !pattern.covers(".foo.com"));
        assert!(HostPattern::parse("*").is_err());
        assert!(HostPattern::parse("*.*.com").is_err());
    }

    #[test]
    fn an_authority_is_reduced_to_its_host() {
        for (authority, host) in [
            ("Example.com", "example.com"),
            ("example.com:8080", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("[::1]:443", "[::1]"),
            ("[::1]", "[::1]"),
            ("198.18.0.1:80", "198.18.0.1"),
            ("example.com:http", "example.com:http"),
        ] {
            assert_eq!(canonical_host(authority), host, "{authority}");
        }
    }
}
