//! Domain names: presentation text or wire labels flow in, a lower-case wire form flows out that hashes and compares
//! as RFC 1034 §3.1 asks (case-insensitively). Used by every other module as the key of names.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// A domain name in lower-case wire form, the root label included: at most 255 octets, labels of at most 63.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<[u8]>);

/// Why a text is no name this server would serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No label at all, or two dots in a row.
    #[error("has an empty label")]
    EmptyLabel,
    /// RFC 1035 §2.3.4.
    #[error("has a label of {0} characters; a label holds at most 63")]
    LongLabel(usize),
    /// RFC 1035 §2.3.4: 255 octets on the wire are 253 characters of text.
    #[error("has {0} characters; a name holds at most 253")]
    LongName(usize),
    /// RFC 1123 §2.1 and the underscore of RFC 8552.
    #[error("has the character {0:?}; letters, digits, '-' and '_' are allowed (write other scripts as xn--)")]
    Character(char),
    /// RFC 4592 §2.1.1.
    #[error("has '*' in a place where it is no wildcard; only a whole first label may be '*'")]
    Asterisk,
}

impl Name {
    /// A name from its labels, root excluded, in any case. `None` beyond the limits of RFC 1035 §2.3.4.
    pub fn from_labels<'l>(labels: impl IntoIterator<Item = &'l [u8]>) -> Option<Self> {
        let mut wire = Vec::with_capacity(64);
        for label in labels {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=MAX_LABEL).contains(length))?;
            wire.push(length);
            wire.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        wire.push(0);
        (wire.len() <= MAX_WIRE).then(|| Self(wire.into()))
    }

    /// A name from its wire form, uncompressed, the root label included. `None` where it is none.
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        let mut rest = wire;
        let mut labels = Vec::new();
        loop {
            let (&length, after) = rest.split_first()?;
            if length == 0 {
                return if after.is_empty() { Self::from_labels(labels) } else { None };
            }
            let (label, after) = after.split_at_checked(usize::from(length))?;
            labels.push(label);
            rest = after;
        }
    }

    /// A name from octets of which it is known that they are labels up to the root label. `None` beyond 255 octets.
    pub(crate) fn from_whole_wire(wire: &[u8]) -> Option<Self> {
        // The lengths of labels are below 64, and so no letters.
        (wire.len() <= MAX_WIRE).then(|| Self(wire.to_ascii_lowercase().into()))
    }

    /// The wire form: length-prefixed labels, the root label last.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels from the first to the last, root excluded.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        self.suffixes().map(|suffix| &suffix[1..=usize::from(suffix[0])])
    }

    /// Number of labels, root excluded.
    pub fn label_count(&self) -> usize {
        self.suffixes().count()
    }

    /// The name itself, its parent, and so on; the root is not among them. Each is a key of the same hash.
    pub fn suffixes(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let length = usize::from(*rest.first()?);
            let current = rest;
            rest = rest.get(length + 1..)?;
            (length > 0).then_some(current)
        })
    }

    /// Whether the name is `ancestor` or below it.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        ancestor.0.len() == 1 || self.suffixes().any(|suffix| suffix == &*ancestor.0)
    }

    /// Whether the first label is `*` (RFC 4592 §2.1.1).
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(WILDCARD)
    }

    /// The name with one more label in front, or `None` where that would be too long.
    pub fn child(&self, label: &str) -> Option<Self> {
        Self::from_labels(std::iter::once(label.as_bytes()).chain(self.labels()))
    }
}

/// The wire form of `*.<parent>`, where `parent` is itself in wire form.
pub fn wildcard_of(parent: &[u8]) -> Vec<u8> {
    [WILDCARD, parent].concat()
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads presentation text, with or without the trailing dot. The root alone is refused: nothing here serves it.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.len() > MAX_TEXT {
            return Err(NameError::LongName(text.chars().count()));
        }
        for (index, label) in text.split('.').enumerate() {
            match label.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
                Some('*') if label == "*" && index == 0 => {}
                Some('*') => return Err(NameError::Asterisk),
                Some(other) => return Err(NameError::Character(other)),
                None if label.is_empty() => return Err(NameError::EmptyLabel),
                None if label.len() > usize::from(MAX_LABEL) => return Err(NameError::LongLabel(label.len())),
                None => {}
            }
        }
        Self::from_labels(text.split('.').map(str::as_bytes)).ok_or(NameError::LongName(text.len()))
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Presentation text without the trailing dot; octets that are not plain are written `\DDD` (RFC 1035 §5.1).
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == 1 {
            return f.write_str(".");
        }
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            for &octet in label {
                match octet {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(octet))?,
                    b'!'..=b'~' => write!(f, "{}", char::from(octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

const WILDCARD: &[u8] = b"\x01*";
const MAX_LABEL: u8 = 63;
const MAX_WIRE: usize = 255;
const MAX_TEXT: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::name;
    use proptest::prelude::*;

    #[test]
    fn case_and_trailing_dot_do_not_distinguish_names() {
        assert_eq!(name("WWW.Example.COM."), name("www.example.com"));
        assert_eq!(name("WWW.Example.COM.").to_string(), "www.example.com");
    }

    #[test]
    fn an_ancestor_ends_at_a_dot() {
        assert!(name("a.example.com").is_within(&name("example.com")));
        assert!(name("example.com").is_within(&name("example.com")));
        assert!(!name("notexample.com").is_within(&name("example.com")));
        assert!(!name("com").is_within(&name("example.com")));
    }

    #[test]
    fn unservable_names_say_why() {
        let long = "a".repeat(64);
        for (text, error) in [
            ("", NameError::EmptyLabel),
            (".", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (long.as_str(), NameError::LongLabel(64)),
            ("a b.example", NameError::Character(' ')),
            ("a.*.example", NameError::Asterisk),
            ("*a.example", NameError::Asterisk),
            ("caf\u{e9}.example", NameError::Character('\u{e9}')),
        ] {
            assert_eq!(text.parse::<Name>(), Err(error), "{text}");
        }
        let text = vec!["a".repeat(49); 6].join(".");
        assert_eq!(text.parse::<Name>(), Err(NameError::LongName(299)));
    }

    #[test]
    fn the_longest_name_is_253_characters() {
        let longest = format!("{}.{}", vec!["a".repeat(62); 4].join("."), "b");
        assert_eq!(longest.len(), 253);
        assert_eq!(name(&longest).as_wire().len(), 255);
        assert!(format!("{longest}b").parse::<Name>().is_err());
    }

    proptest! {
        #[test]
        fn text_and_wire_agree(text in "(\\*\\.)?[a-z0-9_-]{1,10}(\\.[a-z0-9_-]{1,10}){0,5}") {
            let parsed = name(&text);
            prop_assert_eq!(parsed.to_string(), text.clone());
            prop_assert_eq!(parsed.label_count(), text.split('.').count());
            prop_assert_eq!(Name::from_labels(parsed.labels()), Some(parsed.clone()));
            prop_assert_eq!(parsed.is_wildcard(), text.starts_with("*."));
        }
    }
}
