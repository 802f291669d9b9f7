//! Client certificates that an object asks for (`auth-tls-*`): annotations flow in, what a client must show flows out. TLS is
//! one for all paths of a host, so [`crate::compile`] decides which object speaks for the host and finds its CAs. What is not
//! understood lets nobody in.

mod subject;

pub use subject::SubjectPattern;

use super::redirect::{URL_BYTES, is_url_byte};
use crate::annotation::grammar::boolean;
use crate::annotation::{Annotations, Spelling};
use crate::object::is_object_name;
use std::sync::Arc;

/// What an object says of client certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificates {
    /// What clients must show; `None` where they are not asked.
    pub guard: Option<Arc<ClientGuard>>,
    /// Whether the pod is told the whole certificate.
    pub pass: bool,
}

/// What clients of a host must show.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientGuard {
    /// The Secret of the object's namespace that holds the CAs. `None` where the object does not say so in a way that is
    /// understood: then nobody is let in.
    pub(crate) secret: Option<Box<str>>,
    /// Whether a client may go without.
    pub demand: Demand,
    /// How many intermediate CAs a client's chain may have.
    pub depth: u8,
    /// What the subject of the certificate must match.
    pub subject: Option<SubjectPattern>,
    /// Where clients are sent that are not let in: an http or https URL, or a path of the same host.
    pub error_page: Option<Box<str>>,
}

/// Whether a client may go without a certificate (`auth-tls-verify-client`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// It must show one that the CAs vouch for.
    Required,
    /// It may show none; one that it shows must be vouched for.
    Optional,
    /// As [`Self::Optional`], and one of an unknown CA is let in, too: the pod is told, and decides.
    OptionalOfAnyCa,
}

impl ClientCertificates {
    pub(super) fn read(annotations: &mut Annotations<'_>) -> Self {
        let demand = match annotations.first(&spellings(&DEMAND, demand)) {
            None => Some(Demand::Required),
            Some(demand) => demand,
        };
        let pass = annotations.first(&spellings(&PASS, boolean)).unwrap_or_default();
        let depth = annotations.first(&spellings(&DEPTH, depth)).unwrap_or(DEFAULT_DEPTH);
        let error_page = annotations.first(&spellings(&ERROR_PAGE, error_page));
        let subject = strict(annotations, &SUBJECT, SubjectPattern::parse);
        let namespace = annotations.namespace();
        let secret = strict(annotations, &SECRET, |text| secret(text, namespace));
        let guard = match (demand, secret) {
            (Some(demand), Some(secret)) => {
                let understood = subject != Some(None);
                let secret = secret.filter(|_| understood);
                Some(Arc::new(ClientGuard { secret, demand, depth, subject: subject.flatten(), error_page }))
            }
            _ => None,
        };
        Self { guard, pass }
    }
}

/// The first of these annotations that is written and not empty; the inner value is `None` where it is not understood.
pub(super) fn strict<T>(
    annotations: &mut Annotations<'_>,
    names: &[&'static str; 2],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<Option<T>> {
    let mut found = None;
    for name in names {
        if !annotations.is_written(name) {
            continue;
        }
        // What is too long to be read was told.
        let read = match annotations.text(name).map(str::trim) {
            Some("") => continue,
            Some(text) => match parse(text) {
                Ok(value) => Some(value),
                Err(message) => {
                    annotations.problem(name, format!("{message}; requests are refused with 503"));
                    None
                }
            },
            None => None,
        };
        found = found.or(Some(read));
    }
    found
}

fn spellings<T>(names: &[&'static str; 2], parse: fn(&str) -> Result<T, String>) -> [Spelling<T>; 2] {
    names.map(|name| Spelling { name, parse })
}

fn demand(text: &str) -> Result<Option<Demand>, String> {
    match text {
        "on" => Ok(Some(Demand::Required)),
        "optional" => Ok(Some(Demand::Optional)),
        "optional_no_ca" => Ok(Some(Demand::OptionalOfAnyCa)),
        "off" => Ok(None),
        _ => Err("is not one of on, off, optional, optional_no_ca".into()),
    }
}

fn depth(text: &str) -> Result<u8, String> {
    text.parse().ok().filter(|depth| *depth <= DEEPEST).ok_or_else(|| format!("is not a number from 0 to {DEEPEST}"))
}

fn error_page(text: &str) -> Result<Box<str>, String> {
    let absolute = ["http://", "https://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    let path = text.starts_with('/') && !text.starts_with("//");
    let usable = (absolute || path) && text.len() <= URL_BYTES && text.bytes().all(is_url_byte);
    usable.then(|| text.into()).ok_or_else(|| "is neither an http or https URL nor a path".into())
}

/// `name` or, as ingress-nginx writes it, `namespace/name`.
pub(super) fn secret(text: &str, namespace: &str) -> Result<Box<str>, String> {
    let (stated, name) = text.split_once('/').unwrap_or((namespace, text));
    if stated != namespace {
        return Err("names a Secret of another namespace".into());
    }
    is_object_name(name).then(|| name.into()).ok_or_else(|| "is not the name of a Secret".into())
}

const SECRET: [&str; 2] = ["nearside.dev/auth-tls-secret", "nginx.ingress.kubernetes.io/auth-tls-secret"];
const DEMAND: [&str; 2] = ["nearside.dev/auth-tls-verify-client", "nginx.ingress.kubernetes.io/auth-tls-verify-client"];
const DEPTH: [&str; 2] = ["nearside.dev/auth-tls-verify-depth", "nginx.ingress.kubernetes.io/auth-tls-verify-depth"];
const PASS: [&str; 2] = [
    "nearside.dev/auth-tls-pass-certificate-to-upstream",
    "nginx.ingress.kubernetes.io/auth-tls-pass-certificate-to-upstream",
];
const SUBJECT: [&str; 2] = ["nearside.dev/auth-tls-match-cn", "nginx.ingress.kubernetes.io/auth-tls-match-cn"];
const ERROR_PAGE: [&str; 2] = ["nearside.dev/auth-tls-error-page", "nginx.ingress.kubernetes.io/auth-tls-error-page"];
/// As in ingress-nginx.
const DEFAULT_DEPTH: u8 = 1;
/// What a verifier follows at most.
const DEEPEST: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    const NGINX: &str = "nginx.ingress.kubernetes.io/auth-tls-secret";

    fn guard(written: &[(&str, &str)]) -> (Option<Arc<ClientGuard>>, usize) {
        let guard = read(written, ClientCertificates::read).guard;
        (guard, problems(written, ClientCertificates::read).len())
    }

    #[test]
    fn a_secret_alone_asks_every_client_for_a_certificate_in_each_spelling() {
        for name in SECRET {
            let (found, problems) = guard(&[(name, "ca")]);
            let found = found.unwrap();
            assert_eq!(
                (found.secret.as_deref(), found.demand, found.depth),
                (Some("ca"), Demand::Required, 1),
                "{name}"
            );
            assert_eq!((&found.subject, &found.error_page, problems), (&None, &None, 0));
        }
        assert_eq!(guard(&[]), (None, 0));
        assert_eq!(guard(&[(NGINX, "")]), (None, 0));
        assert_eq!(guard(&[(DEMAND[1], "on")]), (None, 0), "nothing to verify with");
    }

    #[test]
    fn each_word_of_the_demand_is_read_and_an_unknown_one_means_the_strictest() {
        for (text, expected, wrong) in [
            ("on", Some(Demand::Required), 0),
            ("optional", Some(Demand::Optional), 0),
            ("optional_no_ca", Some(Demand::OptionalOfAnyCa), 0),
            ("off", None, 0),
            ("maybe", Some(Demand::Required), 1),
        ] {
            let (found, problems) = guard(&[(NGINX, "shop/ca"), (DEMAND[1], text)]);
            assert_eq!((found.map(|found| found.demand), problems), (expected, wrong), "{text}");
        }
    }

    #[test]
    fn what_guards_and_is_not_understood_lets_nobody_in() {
        for (name, value) in [
            (NGINX, "a/b/c"),
            (NGINX, "other/ca"),
            (NGINX, "/"),
            (NGINX, "a b"),
            (NGINX, "../x"),
            (SUBJECT[0], "O=shop"),
            (SUBJECT[0], "CN=("),
            (SUBJECT[0], &format!("CN={}", "a".repeat(70 * 1024))),
        ] {
            let secret = if name == NGINX { value } else { "ca" };
            let (found, problems) = guard(&[(NGINX, secret), (name, value)]);
            assert_eq!((found.unwrap().secret.as_deref(), problems), (None, 1), "{name}: {value:.20}");
        }
    }

    #[test]
    fn what_does_not_guard_falls_back_to_the_default_and_is_told() {
        for (name, value) in
            [(DEPTH[0], "7"), (DEPTH[0], "x"), (ERROR_PAGE[0], "@page"), (ERROR_PAGE[0], "//x.test"), (PASS[0], "ja")]
        {
            let (found, problems) = guard(&[(NGINX, "ca"), (name, value)]);
            let found = found.unwrap();
            assert_eq!((found.depth, &found.error_page, problems), (1, &None, 1), "{name}: {value}");
        }
        let (found, _) = guard(&[(NGINX, "ca"), (DEPTH[1], "3"), (ERROR_PAGE[1], "https://x.test/why?a=b")]);
        let found = found.unwrap();
        assert_eq!((found.depth, found.error_page.as_deref()), (3, Some("https://x.test/why?a=b")));
        assert!(read(&[(PASS[1], "true")], ClientCertificates::read).pass);
    }
}
