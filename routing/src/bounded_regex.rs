//! Regular expressions of objects: a pattern flows in, a matcher of bounded memory and time flows out. Time is linear in what
//! is compared and in the compiled pattern, whatever is written: there is no backtracking, and so neither look-around nor
//! back-references. `path::regex`, `policy::canary` and `policy::client_certificate` match with it.

use regex_automata::MatchKind;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;

/// Whether letters of a pattern stand for both their cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Letters {
    /// They do.
    EitherCase,
    /// They do not.
    AsWritten,
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

/// Compiles a pattern.
///
/// # Errors
/// [`RegexError`] for what is no regular expression of the crate `regex`, or compiles to too much.
pub(crate) fn compile(pattern: &str, letters: Letters) -> Result<Regex, RegexError> {
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
    // Without Unicode tables, `\w` and its kin stay small; paths and fields are ASCII where they follow their RFCs.
    let syntax = syntax::Config::new()
        .case_insensitive(letters == Letters::EitherCase)
        .unicode(false)
        .utf8(false)
        .nest_limit(NESTING);
    Regex::builder().configure(limits).syntax(syntax).build(pattern).map_err(|_| RegexError::Syntax)
}

/// Bytes of a pattern as it is written, and compiled.
const PATTERN_BYTES: usize = 1024;
pub(crate) const COMPILED_BYTES: usize = 32 * 1024;
/// Groups within groups.
const NESTING: u32 = 32;
