//! Path rules that are regular expressions (`use-regex` of ingress-nginx): a pattern flows in, a matcher of bounded memory and
//! time flows out. Time is linear in the path and in the compiled pattern, whatever is written: there is no backtracking,
//! and so neither look-around nor back-references.

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A regular expression that a path begins with, letters in either case. Two are equal if they are written equally.
#[derive(Clone)]
pub struct PathRegex {
    pattern: Box<str>,
    regex: Arc<Regex>,
}

/// Why a regular expression is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says it")]
pub enum RegexError {
    #[error("the regular expression is longer than {PATTERN_BYTES} bytes")]
    Long,
    #[error("the regular expression is not understood (look-around and back-references are not offered), or too large")]
    Syntax,
}

impl PathRegex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`RegexError`] for what is no regular expression of the crate `regex`, or compiles to too much.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        if pattern.len() > PATTERN_BYTES {
            return Err(RegexError::Long);
        }
        // One engine whose memory follows from the compiled size; the faster ones keep caches beside it.
        let limits = Regex::config()
            .match_kind(MatchKind::LeftmostFirst)
            .nfa_size_limit(Some(COMPILED_BYTES))
            .utf8_empty(false)
            .onepass(false)
            .hybrid(false)
            .dfa(false)
            .backtrack(false);
        // Without Unicode tables, `\w` and its kin stay small; a path is ASCII where it follows RFC 3986.
        let syntax = syntax::Config::new().case_insensitive(true).unicode(false).utf8(false).nest_limit(NESTING);
        let regex = Regex::builder().configure(limits).syntax(syntax).build(pattern).map_err(|_| RegexError::Syntax)?;
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
/// Bytes of a pattern as it is written, and compiled.
const PATTERN_BYTES: usize = 1024;
const COMPILED_BYTES: usize = 32 * 1024;
/// Bytes of a path that is compared.
const PATH_BYTES: usize = 4 * 1024;
/// Groups within groups.
const NESTING: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;
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
