//! Paths that the pod sees instead of the client's: annotations flow in, a [`Rewrite`] flows out. The proxy does it, after
//! the rule is chosen; the query stays.

use crate::annotation::grammar::boolean;
use crate::annotation::{Annotations, Spelling};
use crate::path::NormalPath;

/// How the paths of an object are matched and rewritten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// What the pod sees; `None` means the client's path.
    pub target: Option<RewriteTarget>,
    /// `X-Forwarded-Prefix` for the pod, with the groups of the rule's regular expression.
    pub forwarded_prefix: Option<PathTemplate>,
    /// Whether the object says that its paths are regular expressions.
    pub(crate) use_regex: bool,
}

/// What the pod sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RewriteTarget {
    /// The part that the rule's path matches is replaced by this text (OpenShift).
    Leading(Box<str>),
    /// The whole path is replaced (ingress-nginx).
    Whole(PathTemplate),
}

/// Text with groups of a regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate(Box<[PathPart]>);

/// A part of a [`PathTemplate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPart {
    /// Text as it is written.
    Literal(Box<str>),
    /// `$1` to `$9`.
    Group(u8),
}

impl PathTemplate {
    /// The text, given the text of each group.
    pub fn fill<'g>(&self, group: impl Fn(u8) -> &'g str) -> String {
        let part = |part: &PathPart| match part {
            PathPart::Literal(text) => text.to_string(),
            PathPart::Group(number) => group(*number).to_owned(),
        };
        self.0.iter().map(part).collect()
    }

    /// Reads text with `$1` to `$9`.
    ///
    /// # Errors
    /// What is wrong with the text, as the end of a sentence that begins with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TARGET_BYTES || !text.bytes().all(is_path_byte) {
            return Err(format!("is not a path of at most {TARGET_BYTES} bytes with $1 to $9 for groups"));
        }
        let mut parts = Vec::new();
        let mut pieces = text.split('$');
        let push = |text: &str, parts: &mut Vec<PathPart>| {
            if !text.is_empty() {
                parts.push(PathPart::Literal(text.into()));
            }
        };
        push(pieces.next().unwrap_or_default(), &mut parts);
        for piece in pieces {
            let number = piece.chars().next().and_then(|digit| digit.to_digit(10)).and_then(|d| u8::try_from(d).ok());
            match number {
                Some(number @ 1..) => parts.push(PathPart::Group(number)),
                _ => return Err("holds a variable of nginx; only the groups $1 to $9 are offered".into()),
            }
            push(&piece[1..], &mut parts);
        }
        if parts.iter().filter(|part| matches!(part, PathPart::Group(_))).count() > MAX_GROUPS {
            return Err(format!("names more than {MAX_GROUPS} groups"));
        }
        Ok(Self(parts.into()))
    }
}

impl Rewrite {
    /// Reads the annotations.
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        let target = annotations.first(&[
            Spelling { name: "nearside.dev/rewrite-target", parse: either },
            Spelling { name: "haproxy.router.openshift.io/rewrite-target", parse: leading },
            Spelling { name: "nginx.ingress.kubernetes.io/rewrite-target", parse: whole },
        ]);
        let use_regex = annotations.first(&[
            Spelling { name: "nearside.dev/use-regex", parse: boolean },
            Spelling { name: "nginx.ingress.kubernetes.io/use-regex", parse: boolean },
        ]);
        let forwarded_prefix = annotations.first(&[
            Spelling { name: "nearside.dev/x-forwarded-prefix", parse: PathTemplate::parse },
            Spelling { name: "nginx.ingress.kubernetes.io/x-forwarded-prefix", parse: PathTemplate::parse },
        ]);
        Self { target, forwarded_prefix, use_regex: use_regex.unwrap_or_default() }
    }

    /// Whether paths of type `ImplementationSpecific` are regular expressions: in ingress-nginx each of the two makes them.
    pub(crate) fn has_regex_paths(&self) -> bool {
        self.use_regex || matches!(self.target, Some(RewriteTarget::Whole(_)))
    }
}

fn leading(text: &str) -> Result<RewriteTarget, String> {
    let path = NormalPath::parse(text).ok().filter(|_| text.starts_with('/') && text.len() <= TARGET_BYTES);
    match path {
        Some(path) if text.bytes().all(|byte| is_path_byte(byte) && byte != b'?') => {
            Ok(RewriteTarget::Leading(path.as_str().into()))
        }
        _ => Err(format!("is not a path of at most {TARGET_BYTES} bytes, without query and fragment")),
    }
}

fn whole(text: &str) -> Result<RewriteTarget, String> {
    match text.starts_with(['/', '$']) {
        true => PathTemplate::parse(text).map(RewriteTarget::Whole),
        false => Err("does not start with a slash".into()),
    }
}

fn either(text: &str) -> Result<RewriteTarget, String> {
    if text.contains('$') { whole(text) } else { leading(text) }
}

/// Characters of a path or query (RFC 3986 §3.3, §3.4).
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}

const TARGET_BYTES: usize = 2048;
/// Each may be as long as the client's path.
const MAX_GROUPS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_path_and_nothing_of_it_is_lost() {
        for (text, expected) in [("/", "/"), ("/foo/../bar", "/bar"), ("/it's(v1)", "/it's(v1)")] {
            assert_eq!(leading(text), Ok(RewriteTarget::Leading(expected.into())), "{text}");
        }
        for text in ["", "foo", "/a#b", "/a?b", "/a b", "/a\nb", "/%", "/a\\b", "/\"a\"", "/ä"] {
            assert!(leading(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn groups_are_put_in_and_variables_are_refused() {
        let Ok(RewriteTarget::Whole(template)) = whole("/$2/x$1?a=$3") else { panic!() };
        assert_eq!(template.fill(|group| ["", "one", "two", ""][usize::from(group)]), "/two/xone?a=");
        for text in ["/$host", "/$0", "/a$", "http://a/", "/$1 b", "/\r\n$1", &"/$1".repeat(17)] {
            assert!(whole(text).is_err(), "{text:?}");
        }
        assert!(matches!(either("/v1"), Ok(RewriteTarget::Leading(_))));
        assert!(matches!(either("/$1"), Ok(RewriteTarget::Whole(_))));
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_an_answer(text in "(\\PC|[$*%/:.,?#1-9]|\\$scheme|\\$host|https?://|\r|\n|\0|\u{2028}){0,20}") {
            let _ = (leading(&text), whole(&text), either(&text), PathTemplate::parse(&text));
        }
    }
}
