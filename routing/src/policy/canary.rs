//! Who reaches a canary: annotations flow in, [`CanaryRules`] flow out. A canary is an Ingress that stands beside the main one
//! of its hosts and paths: `compile` puts it there, and the proxy asks the rules for each request.

use super::affinity::CookieName;
use crate::annotation::grammar::{boolean, count};
use crate::annotation::{Annotations, Spelling};
use crate::bounded_regex::{Letters, compile};
use http::HeaderName;
use regex_automata::Input;
use regex_automata::meta::Regex;
use std::fmt;
use std::sync::Arc;

/// Which requests a canary gets: what a header says comes before what a cookie says, and that before the weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryRules {
    /// The header that decides.
    pub header: Option<CanaryHeader>,
    /// The cookie that decides: `always` or `never`.
    pub cookie: Option<CookieName>,
    /// Requests of which neither says anything.
    pub share: CanaryShare,
    /// Whether a client that keeps its pod by a cookie stays where it is, whatever the rules say.
    pub sticky: bool,
}

/// The header of a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryHeader {
    /// Its name.
    pub name: HeaderName,
    /// Which values mean the canary.
    pub values: HeaderValues,
}

/// Which values of a header mean the canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValues {
    /// `always` does, and `never` means the main rule.
    Words,
    /// This one does; any other says nothing.
    Exact(Box<str>),
    /// Those in which this is found; any other says nothing.
    Pattern(HeaderPattern),
}

/// A regular expression for values of a header. Two are equal if they are written equally.
#[derive(Clone)]
pub struct HeaderPattern {
    pattern: Box<str>,
    regex: Arc<Regex>,
}

/// `weight` of every `total` requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryShare {
    /// At most as much as `total`.
    pub weight: u32,
    /// At least 1.
    pub total: u32,
}

/// Who answers, as far as a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The main rule.
    Main,
    /// The canary.
    Canary,
}

impl CanaryRules {
    /// Reads the annotations; `None` for an object that is no canary.
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Option<Self> {
        let on = annotations.first(&[
            Spelling { name: "nearside.dev/canary", parse: boolean },
            Spelling { name: "nginx.ingress.kubernetes.io/canary", parse: boolean },
        ]);
        let header = header(annotations);
        let cookie = annotations.first(&[
            Spelling { name: "nearside.dev/canary-by-cookie", parse: CookieName::parse },
            Spelling { name: "nginx.ingress.kubernetes.io/canary-by-cookie", parse: CookieName::parse },
        ]);
        let weight = annotations.first(&[
            Spelling { name: "nearside.dev/canary-weight", parse: count },
            Spelling { name: "nginx.ingress.kubernetes.io/canary-weight", parse: count },
        ]);
        let total = annotations.first(&[
            Spelling { name: "nearside.dev/canary-weight-total", parse: total },
            Spelling { name: "nginx.ingress.kubernetes.io/canary-weight-total", parse: total },
        ]);
        let sticky = annotations.first(&[
            Spelling { name: "nearside.dev/affinity-canary-behavior", parse: behavior },
            Spelling { name: "nginx.ingress.kubernetes.io/affinity-canary-behavior", parse: behavior },
        ]);
        let total = total.unwrap_or(DEFAULT_TOTAL);
        let share = CanaryShare { weight: weight.unwrap_or_default().min(total), total };
        let stated = header.is_some() || cookie.is_some() || share.weight > 0;
        match (on, stated) {
            (Some(true), false) => {
                let message = "nothing says which requests are for the canary (canary-by-header, canary-by-cookie or \
                               canary-weight), so it gets none";
                annotations.problem(CANARY, message);
            }
            (Some(false) | None, true) => {
                annotations.problem(CANARY, "is not true: what follows from it has no effect")
            }
            _ => {}
        }
        let sticky = sticky.unwrap_or(true);
        (on == Some(true)).then_some(Self { header, cookie, share, sticky })
    }

    /// What a request says of itself; `None` leaves it to the share. `header` and `cookie` give the first value of a name.
    pub fn asked<'r>(
        &'r self,
        header: impl FnOnce(&'r HeaderName) -> Option<&'r [u8]>,
        cookie: impl FnOnce(&'r CookieName) -> Option<&'r [u8]>,
    ) -> Option<Side> {
        let by_header = self.header.as_ref().and_then(|rule| rule.values.asked(header(&rule.name)?));
        by_header.or_else(|| word(cookie(self.cookie.as_ref()?)?))
    }
}

impl HeaderValues {
    fn asked(&self, value: &[u8]) -> Option<Side> {
        let is_canary = match self {
            Self::Words => return word(value),
            Self::Exact(text) => text.as_bytes() == value,
            Self::Pattern(pattern) => pattern.is_found_in(value),
        };
        is_canary.then_some(Side::Canary)
    }
}

fn word(value: &[u8]) -> Option<Side> {
    match value {
        b"always" => Some(Side::Canary),
        b"never" => Some(Side::Main),
        _ => None,
    }
}

impl HeaderPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let regex = compile(text, Letters::AsWritten).map_err(|error| format!("cannot be used: {error}"))?;
        Ok(Self { pattern: text.into(), regex: Arc::new(regex) })
    }

    /// Values above 4 KiB hold no pattern.
    fn is_found_in(&self, value: &[u8]) -> bool {
        value.len() <= VALUE_BYTES && self.regex.is_match(Input::new(value))
    }
}

impl PartialEq for HeaderPattern {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for HeaderPattern {}

impl fmt::Debug for HeaderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeaderPattern").field(&self.pattern).finish()
    }
}

/// A value or pattern that is not understood means no request: who would be meant is not known.
fn header(annotations: &mut Annotations<'_>) -> Option<CanaryHeader> {
    let name = annotations.first(&[
        Spelling { name: "nearside.dev/canary-by-header", parse: header_name },
        Spelling { name: "nginx.ingress.kubernetes.io/canary-by-header", parse: header_name },
    ]);
    let value = annotations.first(&[
        Spelling { name: "nearside.dev/canary-by-header-value", parse: header_value },
        Spelling { name: "nginx.ingress.kubernetes.io/canary-by-header-value", parse: header_value },
    ]);
    let pattern = annotations.first(&[
        Spelling { name: "nearside.dev/canary-by-header-pattern", parse: HeaderPattern::parse },
        Spelling { name: "nginx.ingress.kubernetes.io/canary-by-header-pattern", parse: HeaderPattern::parse },
    ]);
    let is_written = |name: &str| {
        ["nearside.dev/", "nginx.ingress.kubernetes.io/"]
            .iter()
            .any(|prefix| annotations.is_written(&format!("{prefix}{name}")))
    };
    let values = match (value, pattern) {
        (Some(value), _) => HeaderValues::Exact(value),
        (None, Some(pattern)) => HeaderValues::Pattern(pattern),
        _ if is_written("canary-by-header-value") || is_written("canary-by-header-pattern") => return None,
        (None, None) => HeaderValues::Words,
    };
    Some(CanaryHeader { name: name?, values })
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    let name = (text.len() <= NAME_BYTES).then(|| HeaderName::from_bytes(text.as_bytes()).ok()).flatten();
    name.ok_or_else(|| "is not the name of a header field".into())
}

fn header_value(text: &str) -> Result<Box<str>, String> {
    let usable = (1..=VALUE_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
    usable.then(|| text.into()).ok_or_else(|| "is not a value that a header field can have".into())
}

fn total(text: &str) -> Result<u32, String> {
    count(text).ok().filter(|total| *total > 0).ok_or_else(|| "is not a whole number above 0".into())
}

fn behavior(text: &str) -> Result<bool, String> {
    match text {
        "sticky" => Ok(true),
        "legacy" => Ok(false),
        _ => Err("is not one of sticky, legacy".into()),
    }
}

const CANARY: &str = "nearside.dev/canary";
const DEFAULT_TOTAL: u32 = 100;
const NAME_BYTES: usize = 255;
/// Bytes of a value that is compared.
const VALUE_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectMeta;

    fn read(annotations: &[(&str, &str)]) -> (Option<CanaryRules>, usize) {
        let named = |(name, value): &(&str, &str)| (format!("nginx.ingress.kubernetes.io/{name}"), (*value).to_owned());
        let metadata = ObjectMeta { annotations: annotations.iter().map(named).collect(), ..ObjectMeta::default() };
        let mut annotations = Annotations::new(&metadata);
        (CanaryRules::read(&mut annotations), annotations.into_problems().len())
    }

    const ON: (&str, &str) = ("canary", "true");

    fn asked(annotations: &[(&str, &str)], header: Option<&'static str>, cookie: Option<&'static str>) -> Option<Side> {
        let rules = read(&[&[ON], annotations].concat()).0.unwrap();
        rules.asked(
            |name| header.filter(|_| name == "x-canary").map(str::as_bytes),
            |name| cookie.filter(|_| name.as_str() == "canary").map(str::as_bytes),
        )
    }

    #[test]
    fn a_header_comes_before_a_cookie_and_both_before_the_share() {
        let (header, cookie) = (("canary-by-header", "X-Canary"), ("canary-by-cookie", "canary"));
        let value = ("canary-by-header-value", "eu");
        let pattern = ("canary-by-header-pattern", "^e(u|s)$|beta");
        let (main, canary) = (Some(Side::Main), Some(Side::Canary));
        let both = &[header, cookie][..];
        for (annotations, sent, stored, expected) in [
            (both, Some("always"), Some("never"), canary),
            (both, Some("never"), Some("always"), main),
            (both, Some("Always"), Some("always"), canary),
            (both, Some("eu"), None, None),
            (both, None, Some("never"), main),
            (both, None, Some("yes"), None),
            (both, None, None, None),
            (&[cookie], Some("always"), None, None),
            (&[header, value], Some("eu"), None, canary),
            (&[header, value], Some("eu "), None, None),
            (&[header, value], Some("always"), None, None),
            (&[header, value, cookie], Some("never"), Some("always"), canary),
            (&[header, value, pattern], Some("beta"), None, None),
            (&[header, pattern], Some("es"), None, canary),
            (&[header, pattern], Some("a beta b"), None, canary),
            (&[header, pattern], Some("Beta"), None, None),
            (&[header, pattern], Some("always"), None, None),
            (&[value], Some("eu"), None, None),
            (&[header, ("canary-by-header-value", "a\nb")], Some("always"), None, None),
            (&[header, ("canary-by-header-pattern", "(a")], Some("always"), None, None),
        ] {
            assert_eq!(asked(annotations, sent, stored), expected, "{annotations:?} {sent:?} {stored:?}");
        }
    }

    #[test]
    fn the_share_is_a_weight_of_a_total() {
        let share = |annotations: &[(&str, &str)]| {
            let share = read(&[&[ON], annotations].concat()).0.unwrap().share;
            (share.weight, share.total)
        };
        assert_eq!(share(&[]), (0, 100));
        assert_eq!(share(&[("canary-weight", "30")]), (30, 100));
        assert_eq!(share(&[("canary-weight", "101")]), (100, 100));
        assert_eq!(share(&[("canary-weight", "30"), ("canary-weight-total", "1000")]), (30, 1000));
        assert_eq!(share(&[("canary-weight", "30"), ("canary-weight-total", "0")]), (30, 100));
        assert_eq!(share(&[("canary-weight", "-1")]), (0, 100));
    }

    #[test]
    fn what_leads_nowhere_is_told() {
        let weight = ("canary-weight", "1");
        for (annotations, is_canary, problems) in [
            (&[ON, weight][..], true, 0),
            (&[ON], true, 1),
            (&[weight], false, 1),
            (&[("canary", "false"), weight], false, 1),
            (&[("canary", "false")], false, 0),
            (&[("canary", "yes"), weight], false, 2),
            (&[ON, weight, ("affinity-canary-behavior", "loose")], true, 1),
            (&[ON, weight, ("canary-by-header", "a b")], true, 1),
            (&[ON, weight, ("canary-by-cookie", "a;b")], true, 1),
        ] {
            let (rules, told) = read(annotations);
            assert_eq!((rules.is_some(), told), (is_canary, problems), "{annotations:?}");
        }
        assert!(read(&[ON, weight]).0.unwrap().sticky);
        assert!(!read(&[ON, weight, ("affinity-canary-behavior", "legacy")]).0.unwrap().sticky);
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_an_answer(text in "\\PC{0,40}|[a-z()\\[\\]*+?{}0-9^$|\\\\]{0,40}", value in "\\PC{0,20}") {
            if let Ok(pattern) = HeaderPattern::parse(&text) {
                let _ = pattern.is_found_in(value.as_bytes());
            }
            let _ = (header_name(&text), header_value(&text), total(&text), behavior(&text));
        }
    }
}
