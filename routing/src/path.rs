//! Request paths and path rules: the raw path of a request or of a rule flows in, its normal form for matching flows
//! out. Only the normal form is compared; the raw bytes are what the pod gets.
//!
//! Normal form: percent-escapes of unreserved characters are decoded, other escapes are written in upper case
//! (RFC 3986 §6.2.2), and dot segments are resolved (§5.2.4). `%2F` stays an escape, and repeated slashes stay; what pods may make of them
//! is in `readings`.

mod readings;
mod regex;

pub use crate::bounded_regex::RegexError;
pub use regex::PathRegex;

use std::borrow::Cow;
use std::fmt;

/// A request path in normal form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NormalPath<'p>(Cow<'p, str>);

impl<'p> NormalPath<'p> {
    /// Brings a raw path (without query) into normal form; an empty path is `/` (RFC 9110 §4.2.3).
    ///
    /// # Errors
    /// [`PathError`] for what no rule may be asked about: `%00`, broken escapes, backslashes, control characters.
    pub fn parse(raw: &'p str) -> Result<Self, PathError> {
        if raw.is_empty() {
            return Ok(Self(Cow::Borrowed("/")));
        }
        let decoded = decode(raw)?;
        if decoded.starts_with('/') && decoded.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Ok(Self(Cow::Owned(resolve_dot_segments(&decoded))));
        }
        Ok(Self(decoded))
    }

    /// The normal form as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a path is refused (400).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says it")]
pub enum PathError {
    #[error("the path holds %00")]
    Nul,
    #[error("the path holds a percent sign that starts no escape")]
    Escape,
    #[error("the path holds a backslash")]
    Backslash,
    #[error("the path holds a control character")]
    Control,
}

fn decode(raw: &str) -> Result<Cow<'_, str>, PathError> {
    let bytes = raw.as_bytes();
    for byte in bytes {
        match byte {
            b'\\' => return Err(PathError::Backslash),
            0..=0x1f | 0x7f => return Err(PathError::Control),
            _ => {}
        }
    }
    if !bytes.contains(&b'%') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1..at + 3).ok_or(PathError::Escape)?;
        let byte = hex(escape[0]).zip(hex(escape[1])).map(|(high, low)| high << 4 | low).ok_or(PathError::Escape)?;
        match byte {
            0 => return Err(PathError::Nul),
            b'\\' => return Err(PathError::Backslash),
            _ if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push(char::from(escape[0].to_ascii_uppercase()));
                out.push(char::from(escape[1].to_ascii_uppercase()));
            }
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// `path` starts with a slash; so does the result, and it never climbs above the root.
fn resolve_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// The paths that a rule speaks of, in normal form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathRule {
    /// Every path (a Route without path).
    Any,
    /// The path itself and everything below it, by whole segments (a Route's `/sub`, an Ingress `Prefix`). The path has
    /// no trailing slash; `written` is the length before it was cut, which decides between `/foo/` and `/foo`.
    Prefix {
        /// Normal form without trailing slash; empty stands for `/`.
        path: Box<str>,
        /// Bytes of the rule as written, in normal form.
        written: usize,
    },
    /// Everything below the path but not the path itself (a Route's `/sub/`). The path ends with a slash.
    Below(Box<str>),
    /// Exactly this path (an Ingress `Exact`).
    Exact(Box<str>),
    /// Every path that begins with what the expression matches (an Ingress `ImplementationSpecific`, where asked for).
    Regex(PathRegex),
    /// Every path that no other rule of the host matches (an Ingress `defaultBackend`).
    Default,
}

impl PathRule {
    /// The rule that a Route's `spec.path` states (reference: router pattern, segment boundary).
    ///
    /// # Errors
    /// [`PathError`] as for a request path.
    pub fn route(path: &str) -> Result<Self, PathError> {
        if path.bytes().all(|b| b == b'/') {
            return Ok(Self::Any);
        }
        let normal = NormalPath::parse(path)?.0.into_owned();
        Ok(if normal.ends_with('/') { Self::Below(normal.into()) } else { Self::prefix(&normal) })
    }

    /// The rule of an Ingress path of type `Prefix` or `ImplementationSpecific`; an empty path is `/`.
    ///
    /// # Errors
    /// [`PathError`] as for a request path.
    pub fn ingress_prefix(path: &str) -> Result<Self, PathError> {
        Ok(Self::prefix(NormalPath::parse(path)?.as_str()))
    }

    /// The rule of an Ingress path of type `Exact`.
    ///
    /// # Errors
    /// [`PathError`] as for a request path.
    pub fn ingress_exact(path: &str) -> Result<Self, PathError> {
        Ok(Self::Exact(NormalPath::parse(path)?.as_str().into()))
    }

    /// The rule of an Ingress path that is a regular expression.
    ///
    /// # Errors
    /// [`RegexError`].
    pub fn ingress_regex(pattern: &str) -> Result<Self, RegexError> {
        PathRegex::new(pattern).map(Self::Regex)
    }

    fn prefix(normal: &str) -> Self {
        Self::Prefix { path: normal.trim_end_matches('/').into(), written: normal.len() }
    }

    /// Whether the rule speaks of a path.
    pub fn matches(&self, path: &NormalPath<'_>) -> bool {
        let path = path.as_str();
        match self {
            Self::Any | Self::Default => true,
            Self::Exact(exact) => path == exact.as_ref(),
            Self::Below(below) => path.starts_with(below.as_ref()),
            Self::Regex(regex) => regex.is_match(path),
            Self::Prefix { path: prefix, .. } => {
                path.strip_prefix(prefix.as_ref()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    /// How a path that the rule matches falls into parts.
    pub fn split<'p>(&self, path: &'p NormalPath<'_>) -> SplitPath<'p> {
        let path = path.as_str();
        let leading = match self {
            Self::Any | Self::Default => 0,
            Self::Exact(path) | Self::Below(path) | Self::Prefix { path, .. } => path.len(),
            Self::Regex(regex) => return SplitPath { path, groups: regex.groups(path) },
        };
        SplitPath { path, groups: vec![Some(0..leading)] }
    }

    /// The order in which the rules of a host are tried, smallest first: `Exact` before the rest, longer paths first, then
    /// the rule written longer (Ingress specification; equals the router's order for Routes). A regular expression is as
    /// long as it is written, as in ingress-nginx.
    pub fn precedence(&self) -> impl Ord + use<> {
        let (rank, length, kind, written) = match self {
            Self::Exact(path) => (0, path.len(), 0, path.len()),
            Self::Below(path) => (1, path.len(), 1, path.len()),
            Self::Prefix { path, written } => (1, path.len(), 1, *written),
            Self::Regex(regex) => (1, regex.as_str().len(), 0, 0),
            Self::Any => (1, 0, 2, 0),
            Self::Default => (2, 0, 0, 0),
        };
        (rank, std::cmp::Reverse(length), kind, std::cmp::Reverse(written))
    }
}

/// A path as a rule matched it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitPath<'p> {
    path: &'p str,
    groups: Vec<Option<std::ops::Range<usize>>>,
}

impl<'p> SplitPath<'p> {
    /// What comes after the part that the rule states.
    pub fn rest(&self) -> &'p str {
        let end = self.groups.first().cloned().flatten().map_or(0, |matched| matched.end);
        self.path.get(end..).unwrap_or_default()
    }

    /// What a group of the rule's regular expression matched; empty for other rules.
    pub fn group(&self, number: u8) -> &'p str {
        let group = self.groups.get(usize::from(number).max(1)).cloned().flatten();
        group.and_then(|range| self.path.get(range)).unwrap_or_default()
    }
}

impl fmt::Display for PathRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("/"),
            Self::Exact(path) => write!(f, "={path}"),
            Self::Regex(regex) => write!(f, "~{}", regex.as_str()),
            Self::Below(path) => f.write_str(path),
            Self::Prefix { path, .. } if path.is_empty() => f.write_str("/"),
            Self::Prefix { path, .. } => f.write_str(path),
            Self::Default => f.write_str("default"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(raw: &str) -> String {
        NormalPath::parse(raw).unwrap().as_str().to_owned()
    }

    fn matches(rule: &PathRule, path: &str) -> bool {
        rule.matches(&NormalPath::parse(path).unwrap())
    }

    #[test]
    fn the_normal_form_decodes_what_is_unreserved_and_resolves_dots() {
        for (raw, expected) in [
            ("", "/"),
            ("/", "/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/../../etc", "/etc"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/%61%7Eb", "/a~b"),
            ("/a%2fb", "/a%2Fb"),
            ("/a//b", "/a//b"),
            ("/a%20b", "/a%20b"),
            ("/ä", "/ä"),
            ("*", "*"),
        ] {
            assert_eq!(normal(raw), expected, "{raw}");
        }
    }

    #[test]
    fn paths_that_could_deceive_a_pod_are_refused() {
        for (raw, error) in [
            ("/a%00", PathError::Nul),
            ("/a%", PathError::Escape),
            ("/a%4", PathError::Escape),
            ("/a%zz", PathError::Escape),
            ("/a\\b", PathError::Backslash),
            ("/a%5cb", PathError::Backslash),
            ("/a\tb", PathError::Control),
            ("/%é", PathError::Escape),
        ] {
            assert_eq!(NormalPath::parse(raw), Err(error), "{raw}");
        }
    }

    #[test]
    fn a_route_path_is_a_prefix_on_a_segment_boundary() {
        let rule = PathRule::route("/sub").unwrap();
        assert!(matches(&rule, "/sub") && matches(&rule, "/sub/") && matches(&rule, "/sub/x"));
        assert!(!matches(&rule, "/subpar") && !matches(&rule, "/"));
        let slash = PathRule::route("/sub/").unwrap();
        assert!(matches(&slash, "/sub/") && matches(&slash, "/sub/x"));
        assert!(!matches(&slash, "/sub"));
        assert!(matches(&PathRule::route("//").unwrap(), "/anything"));
    }

    #[test]
    fn an_ingress_prefix_ignores_trailing_slashes() {
        for written in ["/foo", "/foo/"] {
            let rule = PathRule::ingress_prefix(written).unwrap();
            assert!(matches(&rule, "/foo") && matches(&rule, "/foo/") && matches(&rule, "/foo/bar"), "{written}");
            assert!(!matches(&rule, "/foobar"), "{written}");
        }
        assert!(matches(&PathRule::ingress_prefix("/").unwrap(), "/x"));
        assert!(matches(&PathRule::ingress_prefix("").unwrap(), "/x"));
    }

    #[test]
    fn an_ingress_exact_path_has_no_slack() {
        let rule = PathRule::ingress_exact("/foo").unwrap();
        assert!(matches(&rule, "/foo"));
        assert!(!matches(&rule, "/foo/") && !matches(&rule, "/Foo"));
    }

    #[test]
    fn longer_rules_come_first_and_exact_wins_a_tie() {
        let mut rules = [
            PathRule::Default,
            PathRule::Any,
            PathRule::ingress_prefix("/foo").unwrap(),
            PathRule::ingress_prefix("/foo/").unwrap(),
            PathRule::ingress_exact("/foo").unwrap(),
            PathRule::ingress_prefix("/foo/bar").unwrap(),
        ];
        rules.sort_by_key(PathRule::precedence);
        let order: Vec<String> = rules.iter().map(|r| format!("{r:?}")).collect();
        assert!(order[0].starts_with("Exact"), "{order:?}");
        assert!(order[1].contains("/foo/bar"), "{order:?}");
        assert!(order[2].contains("written: 5"), "{order:?}");
        assert!(order[3].contains("written: 4"), "{order:?}");
        assert_eq!(rules[4], PathRule::Any);
        assert_eq!(rules[5], PathRule::Default);
    }

    #[test]
    fn a_regular_expression_is_as_long_as_it_is_written_and_after_exact_paths() {
        let regex = PathRule::ingress_regex("/foo/[a-z]+").unwrap();
        let (shorter, longer) =
            (PathRule::ingress_prefix("/foo/b").unwrap(), PathRule::ingress_prefix("/foo/bar/baz/q").unwrap());
        let mut rules = [&shorter, &regex, &longer, &PathRule::ingress_exact("/f").unwrap()].map(Clone::clone);
        rules.sort_by_key(PathRule::precedence);
        assert_eq!(rules.map(|rule| rule.to_string()), ["=/f", "/foo/bar/baz/q", "~/foo/[a-z]+", "/foo/b"]);
    }

    #[test]
    fn a_path_falls_into_what_the_rule_states_and_the_rest() {
        for (rule, path, rest) in [
            (PathRule::route("/foo").unwrap(), "/foo/bar", "/bar"),
            (PathRule::route("/foo/").unwrap(), "/foo/bar", "bar"),
            (PathRule::route("").unwrap(), "/foo", "/foo"),
            (PathRule::ingress_exact("/foo").unwrap(), "/foo", ""),
            (PathRule::ingress_regex("/f(o+)").unwrap(), "/foo/bar", "/bar"),
        ] {
            assert_eq!(rule.split(&NormalPath::parse(path).unwrap()).rest(), rest, "{rule}");
        }
        let rule = PathRule::ingress_regex("/a(/|$)(x)?(.*)").unwrap();
        let path = NormalPath::parse("/a/b").unwrap();
        let split = rule.split(&path);
        assert_eq!([1, 2, 3, 9].map(|number| split.group(number)), ["/", "", "b", ""]);
    }

    proptest! {
        #[test]
        fn normal_form_is_stable_and_holds_no_dot_segment(raw in "(/([a-z.%]|%2[eEfF]|%41){0,6}){1,5}") {
            if let Ok(path) = NormalPath::parse(&raw) {
                let once = path.as_str().to_owned();
                prop_assert!(once.starts_with('/'));
                prop_assert!(!once.split('/').any(|s| s == "." || s == ".."));
                let again = NormalPath::parse(&once).unwrap();
                prop_assert_eq!(again.as_str(), once.as_str());
            }
        }

        #[test]
        fn any_text_is_either_normal_or_refused(raw in "\\PC{0,40}") {
            if let Ok(path) = NormalPath::parse(&raw) {
                prop_assert!(!path.as_str().is_empty());
            }
        }
    }
}
