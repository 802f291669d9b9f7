//! Path rules that are regular expressions (`use-regex` of ingress-nginx): a pattern flows in, a matcher of paths and their
//! parts flows out, of bounded memory and time (`bounded_regex`).

use crate::bounded_regex::{Letters, RegexError, compile};
use regex_automata::meta::Regex;
use regex_automata::{Anchored, Input};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A regular expression that a path begins with, letters in either case. Two are equal if they are written equally.
#[derive(Clone)]
pub struct PathRegex {
    pattern: Box<str>,
    regex: Arc<Regex>,
}

impl PathRegex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`RegexError`] for what is no regular expression of the crate `regex`, or compiles to too much.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let regex = compile(pattern, Letters::EitherCase)?;
        Ok(Self { pattern: pattern.into(), regex: Arc::new(regex) })
    }

    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Bytes that the compiled pattern takes.
    pub fn memory(&self) -> usize {
        self.regex.memory_usage()
    }

    /// Whether a path begins with what the pattern matches. Paths above 4 KiB match no pattern.
    pub(super) fn is_match(&self, path: &str) -> bool {
        path.len() <= PATH_BYTES && self.regex.is_match(Input::new(path).anchored(Anchored::Yes))
    }

    /// The matched part and its groups, the whole first; a group that did not take part is `None`.
    pub(super) fn groups(&self, path: &str) -> Vec<Option<std::ops::Range<usize>>> {
        let mut captures = self.regex.create_captures();
        self.regex.search_captures(&Input::new(path).anchored(Anchored::Yes), &mut captures);
        (0..=GROUPS).map(|group| captures.get_group(group).map(|span| span.start..span.end)).collect()
    }
}

impl PartialEq for PathRegex {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for PathRegex {}

impl Hash for PathRegex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pattern.hash(state);
    }
}

impl fmt::Debug for PathRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PathRegex").field(&self.pattern).finish()
    }
}

/// Groups that a rewrite can name.
const GROUPS: usize = 9;
/// Bytes of a path that is compared.
const PATH_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded_regex::COMPILED_BYTES;
    use proptest::prelude::*;

    #[test]
    fn a_pattern_matches_at_the_start_and_in_either_case() {
        let regex = PathRegex::new("/api(/|$)(.*)").unwrap();
        assert!(regex.is_match("/API/x") && regex.is_match("/api"));
        assert!(!regex.is_match("/apix") && !regex.is_match("/v1/api/"));
        assert_eq!(regex.groups("/api/x/y")[..4], [Some(0..8), Some(4..5), Some(5..8), None]);
        let either = PathRegex::new("/a|/b").unwrap();
        assert!(either.is_match("/b") && !either.is_match("/x/b"), "the start holds for every alternative");
    }

    #[test]
    fn what_cannot_be_matched_in_linear_time_or_is_too_large_is_refused() {
        for pattern in [
            "/(?=a)",
            "/(a)\\1",
            "/[",
            "/a)|(b",
            "/(",
            "/*{",
            "/(a{1000}){1000}",
            "/\\w{1,1000}\\d{1,1000}",
            "/\\p{Greek}{500}",
        ] {
            assert_eq!(PathRegex::new(pattern), Err(RegexError::Syntax), "{pattern}");
        }
        assert_eq!(PathRegex::new(&"/a".repeat(600)), Err(RegexError::Long));
        assert_eq!(PathRegex::new(&"(".repeat(1000)), Err(RegexError::Syntax));
    }

    #[test]
    fn a_pattern_that_hangs_others_only_takes_its_time() {
        let regex = PathRegex::new("/(a|aa|a*)*b").unwrap();
        assert!(!regex.is_match(&format!("/{}", "a".repeat(PATH_BYTES - 1))));
        assert!(!regex.is_match(&format!("/{}b", "a".repeat(PATH_BYTES))), "too long to be compared");
        assert!(regex.memory() < 4 * COMPILED_BYTES);
    }

    proptest! {
        #[test]
        fn any_pattern_is_served_or_refused(pattern in "/[a-c()\\[\\]|*+?{}0-9\\\\^$.,]{0,30}", path in "/[a-c/]{0,20}") {
            if let Ok(regex) = PathRegex::new(&pattern) {
                prop_assert_eq!(regex.is_match(&path), regex.groups(&path)[0].is_some());
                prop_assert!(regex.groups(&path)[0].as_ref().is_none_or(|whole| whole.start == 0));
            }
        }
    }
}
