//! What the subject of a client's certificate must be (`auth-tls-match-cn`): a pattern flows in, whether a common name is let
//! in flows out. ingress-nginx searches the whole distinguished name, so that an organisation called `CN=admin` is let in,
//! too; here only common names count.

use crate::bounded_regex::{Letters, compile};
use regex_automata::meta::Regex;
use regex_automata::{Anchored, Input};
use std::sync::Arc;

/// `CN=` and a regular expression, which a common name must begin with. Two are equal if they are written equally.
#[derive(Clone, Debug)]
pub struct SubjectPattern {
    pattern: Box<str>,
    regex: Arc<Regex>,
}

impl SubjectPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with(PREFIX) {
            return Err("does not begin with CN=".into());
        }
        let regex = compile(text, Letters::AsWritten).map_err(|error| error.to_string())?;
        Ok(Self { pattern: text.into(), regex: Arc::new(regex) })
    }

    /// Whether a common name is let in.
    pub fn is_match(&self, common_name: &[u8]) -> bool {
        let text = [PREFIX.as_bytes(), common_name].concat();
        common_name.len() <= NAME_BYTES && self.regex.is_match(Input::new(&text).anchored(Anchored::Yes))
    }
}

impl PartialEq for SubjectPattern {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for SubjectPattern {}

const PREFIX: &str = "CN=";
/// Bytes of a common name; RFC 5280 allows 64 characters.
const NAME_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_name_begins_with_what_the_pattern_says() {
        let pattern = |text: &str| SubjectPattern::parse(text).unwrap();
        for (text, name, expected) in [
            ("CN=(hello-app|goodbye)", "hello-app", true),
            ("CN=(hello-app|goodbye)", "hello-app-2", true),
            ("CN=(hello-app|goodbye)$", "hello-app-2", false),
            ("CN=hello", "say hello", false),
            ("CN=admin", "x,CN=admin", false),
            ("CN=.*", "", true),
            ("CN=ä.*", "äh", true),
        ] {
            assert_eq!(pattern(text).is_match(name.as_bytes()), expected, "{text}: {name}");
        }
        assert!(!pattern("CN=.*").is_match(&[b'a'; NAME_BYTES + 1]));
        assert!(!pattern("CN=a|O=b").is_match(b"b"), "an alternative of its own matches no common name");
        assert_eq!(pattern("CN=a"), pattern("CN=a"));
        assert_ne!(pattern("CN=a"), pattern("CN=b"));
        for wrong in ["", "a", "cn=a", "CN=(", "CN=(?=a)", &format!("CN={}", "a".repeat(1024)), "CN=((a{99}){99}){99}"]
        {
            assert!(SubjectPattern::parse(wrong).is_err(), "{wrong:.20}");
        }
    }
}
