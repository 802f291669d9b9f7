//! How clients keep their pod: annotations flow in, a cookie's name and attributes flow out. What is left open, the kind of
//! the object and the proxy's flags decide.

use crate::annotation::grammar::{boolean, seconds, time};
use crate::annotation::{Annotations, Spelling};
use crate::hostname::Hostname;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The cookie by which a client keeps its pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    /// Whether there is one; `None`: on Routes.
    pub cookie: Option<bool>,
    /// Its name; `None`: one that is made from the object's.
    pub name: Option<CookieName>,
    /// `SameSite`; `None`: by the kind and the termination.
    pub same_site: Option<SameSite>,
    /// `Secure`; `None`: where plain HTTP is not served.
    pub secure: Option<bool>,
    /// `Path`; `None`: `/`.
    pub path: Option<Arc<str>>,
    /// `Max-Age`; `None`: until the browser ends.
    pub max_age: Option<Duration>,
    /// `Domain`; `None`: the host alone.
    pub domain: Option<Hostname>,
    /// What a client gets whose pod is on another node; `None`: as the proxy's flag says.
    pub sticky: Option<Sticky>,
}

/// What a client gets that comes to a node with ready pods while its cookie names a pod of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// A pod of the node that it came to.
    Stay,
    /// A redirect to the node of its pod.
    Return,
}

impl Sticky {
    /// Reads it.
    ///
    /// # Errors
    /// For any other word.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "stay" => Ok(Self::Stay),
            "return" => Ok(Self::Return),
            _ => Err("is not one of stay, return".into()),
        }
    }
}

/// The name of a cookie: letters, digits, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieName(Arc<str>);

/// Whether a cookie goes along where another site leads to this one (RFC 6265bis §4.1.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// With links.
    Lax,
    /// Never.
    Strict,
    /// Always.
    None,
}

impl Affinity {
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        let asked = annotations.first(&[
            Spelling { name: "nearside.dev/affinity", parse: own_affinity },
            Spelling { name: "haproxy.router.openshift.io/disable_cookies", parse: disabled },
            Spelling { name: "nginx.ingress.kubernetes.io/affinity", parse: nginx_affinity },
        ]);
        let name = annotations.first(&[
            Spelling { name: "nearside.dev/cookie-name", parse: CookieName::parse },
            Spelling { name: "router.openshift.io/cookie_name", parse: CookieName::parse },
        ]);
        let nginx_name = annotations
            .first(&[Spelling { name: "nginx.ingress.kubernetes.io/session-cookie-name", parse: CookieName::parse }]);
        // A pod is kept until it is gone, which both modes allow.
        let _: Option<()> =
            annotations.first(&[Spelling { name: "nginx.ingress.kubernetes.io/affinity-mode", parse: affinity_mode }]);
        // Who names the cookie of the OpenShift router wants one, on an Ingress too.
        let cookie = asked.map(|asked| asked != Asked::No).or_else(|| name.as_ref().map(|_| true));
        let nginx_default = (asked == Some(Asked::AsNginx)).then(|| CookieName(NGINX_NAME.into()));
        Self {
            cookie,
            name: name.or(nginx_name).or(nginx_default),
            same_site: annotations.first(&[
                Spelling { name: "nearside.dev/cookie-same-site", parse: same_site },
                Spelling { name: "router.openshift.io/cookie-same-site", parse: same_site },
                Spelling { name: "nginx.ingress.kubernetes.io/session-cookie-samesite", parse: same_site },
            ]),
            secure: annotations.first(&[
                Spelling { name: "nearside.dev/cookie-secure", parse: boolean },
                Spelling { name: "nginx.ingress.kubernetes.io/session-cookie-secure", parse: boolean },
            ]),
            path: annotations.first(&[
                Spelling { name: "nearside.dev/cookie-path", parse: cookie_path },
                Spelling { name: "nginx.ingress.kubernetes.io/session-cookie-path", parse: cookie_path },
            ]),
            max_age: annotations.first(&[
                Spelling { name: "nearside.dev/cookie-max-age", parse: time },
                Spelling { name: "nginx.ingress.kubernetes.io/session-cookie-max-age", parse: seconds },
                Spelling { name: "nginx.ingress.kubernetes.io/session-cookie-expires", parse: seconds },
            ]),
            domain: annotations.first(&[
                Spelling { name: "nearside.dev/cookie-domain", parse: cookie_domain },
                Spelling { name: "nginx.ingress.kubernetes.io/session-cookie-domain", parse: cookie_domain },
            ]),
            sticky: annotations.first(&[Spelling { name: "nearside.dev/sticky", parse: Sticky::parse }]),
        }
    }
}

impl CookieName {
    /// Reads a name.
    ///
    /// # Errors
    /// For other characters, none and too many of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.len() > NAME_BYTES || !text.bytes().all(valid) {
            return Err(format!("is not a name of 1 to {NAME_BYTES} letters, digits, _ and -"));
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SameSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lax => "Lax",
            Self::Strict => "Strict",
            Self::None => "None",
        })
    }
}

/// Whether a cookie was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Yes,
    /// By the annotation of ingress-nginx, whose cookie has a name of its own.
    AsNginx,
    No,
}

fn own_affinity(text: &str) -> Result<Asked, String> {
    match text {
        "cookie" => Ok(Asked::Yes),
        "none" => Ok(Asked::No),
        _ => Err("is not one of cookie, none".into()),
    }
}

fn disabled(text: &str) -> Result<Asked, String> {
    boolean(text).map(|disabled| if disabled { Asked::No } else { Asked::Yes })
}

fn nginx_affinity(text: &str) -> Result<Asked, String> {
    if text == "cookie" { Ok(Asked::AsNginx) } else { Err("is not cookie".into()) }
}

fn affinity_mode(text: &str) -> Result<(), String> {
    match text {
        "balanced" | "persistent" => Ok(()),
        _ => Err("is not one of balanced, persistent".into()),
    }
}

fn same_site(text: &str) -> Result<SameSite, String> {
    match text {
        "Lax" => Ok(SameSite::Lax),
        "Strict" => Ok(SameSite::Strict),
        "None" => Ok(SameSite::None),
        _ => Err("is not one of Lax, Strict, None".into()),
    }
}

fn cookie_path(text: &str) -> Result<Arc<str>, String> {
    // RFC 6265 §4.1.1: any character but controls and semicolons.
    let valid = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
    if valid && text.len() <= PATH_BYTES { Ok(text.into()) } else { Err("is not a path such as /shop".into()) }
}

/// A leading dot means nothing any more (RFC 6265 §5.2.3), and browsers refuse a single label.
fn cookie_domain(text: &str) -> Result<Hostname, String> {
    let domain = Hostname::parse(text.strip_prefix('.').unwrap_or(text)).ok();
    let domain = domain.filter(|domain| domain.split_first_label().1.is_some());
    domain.ok_or_else(|| "is not a domain such as example.com".into())
}

const NGINX_NAME: &str = "INGRESSCOOKIE";
/// Bytes of a name; it goes with every request.
const NAME_BYTES: usize = 128;
/// Bytes of a path.
const PATH_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectMeta;

    fn read(annotations: &[(&str, &str)]) -> (Affinity, usize) {
        let annotations = annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let metadata = ObjectMeta { annotations, ..ObjectMeta::default() };
        let mut annotations = Annotations::new(&metadata);
        (Affinity::read(&mut annotations), annotations.into_problems().len())
    }

    #[test]
    fn a_cookie_is_asked_for_in_three_ways_and_otherwise_left_open() {
        for (name, value, cookie, cookie_name) in [
            ("nearside.dev/affinity", "cookie", Some(true), None),
            ("nearside.dev/affinity", "none", Some(false), None),
            ("haproxy.router.openshift.io/disable_cookies", "true", Some(false), None),
            ("haproxy.router.openshift.io/disable_cookies", "F", Some(true), None),
            ("router.openshift.io/cookie_name", "my_cookie-1", Some(true), Some("my_cookie-1")),
            ("nginx.ingress.kubernetes.io/affinity", "cookie", Some(true), Some("INGRESSCOOKIE")),
            ("nginx.ingress.kubernetes.io/session-cookie-name", "route", None, Some("route")),
            ("nginx.ingress.kubernetes.io/affinity-mode", "persistent", None, None),
        ] {
            let (affinity, problems) = read(&[(name, value)]);
            let found = affinity.name.as_ref().map(CookieName::as_str);
            assert_eq!((affinity.cookie, found, problems), (cookie, cookie_name, 0), "{name}: {value}");
        }
    }

    #[test]
    fn values_that_would_write_more_than_themselves_are_refused() {
        for (name, value) in [
            ("router.openshift.io/cookie_name", "a=b"),
            ("router.openshift.io/cookie_name", "a\r\nSet-Cookie: b"),
            ("router.openshift.io/cookie_name", ""),
            ("router.openshift.io/cookie-same-site", "none"),
            ("router.openshift.io/cookie-same-site", "None; Domain=com"),
            ("nginx.ingress.kubernetes.io/session-cookie-path", "/; Domain=com"),
            ("nginx.ingress.kubernetes.io/session-cookie-path", "shop"),
            ("nginx.ingress.kubernetes.io/session-cookie-max-age", "-1"),
            ("nginx.ingress.kubernetes.io/affinity", "ip"),
            ("nearside.dev/cookie-domain", "com"),
            ("nearside.dev/cookie-domain", "example.com; Path=/x"),
            ("nearside.dev/sticky", "always"),
        ] {
            assert_eq!(read(&[(name, value)]), (Affinity::default(), 1), "{name}: {value:?}");
        }
    }
}
