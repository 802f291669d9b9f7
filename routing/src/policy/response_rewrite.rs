//! What pods say of their own place is put right for clients: annotations flow in, substitutions of text in `Set-Cookie`,
//! `Location` and `Refresh` flow out.

use crate::annotation::{Annotations, Spelling};

/// What is changed in responses of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseRewrite {
    /// The `Domain` of cookies, as a whole, in any case, with or without a dot in front.
    pub cookie_domain: Option<Substitution>,
    /// The beginning of the `Path` of cookies.
    pub cookie_path: Option<Substitution>,
    /// The beginning of `Location`, and of the URL in `Refresh`.
    pub redirect: Option<Substitution>,
}

/// Text that stands for other text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Substitution {
    /// What is written.
    pub from: Box<str>,
    /// What is written instead.
    pub to: Box<str>,
}

impl ResponseRewrite {
    /// Reads the annotations.
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        let cookie_domain = annotations.first(&[
            Spelling { name: "nearside.dev/proxy-cookie-domain", parse: domains },
            Spelling { name: "nginx.ingress.kubernetes.io/proxy-cookie-domain", parse: domains },
        ]);
        let cookie_path = annotations.first(&[
            Spelling { name: "nearside.dev/proxy-cookie-path", parse: pair },
            Spelling { name: "nginx.ingress.kubernetes.io/proxy-cookie-path", parse: pair },
        ]);
        let from = annotations.first(&[
            Spelling { name: "nearside.dev/proxy-redirect-from", parse: redirect_from },
            Spelling { name: FROM, parse: redirect_from },
        ]);
        let to = annotations.first(&[
            Spelling { name: "nearside.dev/proxy-redirect-to", parse: redirect_to },
            Spelling { name: "nginx.ingress.kubernetes.io/proxy-redirect-to", parse: redirect_to },
        ]);
        let redirect = match (from.flatten(), to.flatten()) {
            (Some(from), Some(to)) => Some(Substitution { from, to }),
            (Some(_), None) => {
                annotations.problem(FROM, "has no effect without proxy-redirect-to");
                None
            }
            (None, _) => None,
        };
        read_http_version(annotations);
        Self { cookie_domain: cookie_domain.flatten(), cookie_path: cookie_path.flatten(), redirect }
    }
}

/// `proxy-http-version`: pods are asked by HTTP/1.1, or HTTP/2 where their port says so.
fn read_http_version(annotations: &mut Annotations<'_>) {
    let parse = |text: &str| match text {
        "1.1" => Ok(()),
        "1.0" => Err("has no effect: pods are asked by HTTP/1.1".into()),
        _ => Err("is not one of 1.0, 1.1".into()),
    };
    annotations.first(&[
        Spelling { name: "nearside.dev/proxy-http-version", parse },
        Spelling { name: "nginx.ingress.kubernetes.io/proxy-http-version", parse },
    ]);
}

/// `off`, or what is replaced and what by.
fn pair(text: &str) -> Result<Option<Substitution>, String> {
    if text.trim() == "off" {
        return Ok(None);
    }
    let wrong = || "is not off, or text and what it is replaced by; regular expressions and variables are not offered";
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    match words[..] {
        [from, to] if is_literal(from) && is_literal(to) => Ok(Some(Substitution { from: from.into(), to: to.into() })),
        _ => Err(wrong().into()),
    }
}

fn domains(text: &str) -> Result<Option<Substitution>, String> {
    let is_domain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let undotted = |text: &str| text.strip_prefix('.').unwrap_or(text).into();
    let Some(Substitution { from, to }) = pair(text)? else { return Ok(None) };
    if !is_domain(&from) || !is_domain(&to) {
        return Err("names no two domains".into());
    }
    Ok(Some(Substitution { from: undotted(&from), to: undotted(&to) }))
}

/// `default` means the address by which the router asks, which no pod knows; so it means nothing, as in ingress-nginx.
fn redirect_from(text: &str) -> Result<Option<Box<str>>, String> {
    match text {
        "off" | "default" => Ok(None),
        _ if is_literal(text) => Ok(Some(text.into())),
        _ => Err("is not off, default, or the beginning of a URL; regular expressions are not offered".into()),
    }
}

fn redirect_to(text: &str) -> Result<Option<Box<str>>, String> {
    match text {
        "off" | "default" => Ok(None),
        _ if is_literal(text) => Ok(Some(text.into())),
        _ => Err("is not the beginning of a URL; variables are not offered".into()),
    }
}

/// Text of a URL or path, without what nginx would read as an expression and without what ends an attribute.
fn is_literal(text: &str) -> bool {
    let bytes = |byte: u8| byte.is_ascii_graphic() && !b"$;,\"\\<>`{}|^".contains(&byte);
    !text.is_empty() && !text.starts_with('~') && text.len() <= TEXT_BYTES && text.bytes().all(bytes)
}

const FROM: &str = "nginx.ingress.kubernetes.io/proxy-redirect-from";
const TEXT_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    fn of(name: &str, text: &str) -> (ResponseRewrite, usize) {
        let name = format!("nginx.ingress.kubernetes.io/{name}");
        let written = [(name.as_str(), text)];
        (read(&written, ResponseRewrite::read), problems(&written, ResponseRewrite::read).len())
    }

    fn substitution(from: &str, to: &str) -> Option<Substitution> {
        Some(Substitution { from: from.into(), to: to.into() })
    }

    #[test]
    fn cookies_have_two_words_each() {
        assert_eq!(of("proxy-cookie-path", "/two/ /").0.cookie_path, substitution("/two/", "/"));
        assert_eq!(
            of("proxy-cookie-domain", ".localhost  example.org").0.cookie_domain,
            substitution("localhost", "example.org")
        );
        assert_eq!(of("proxy-cookie-domain", "off"), (ResponseRewrite::default(), 0));
        for text in ["", "/a", "/a /b /c", "~^/a /b", "/a $host", "/a /b;Secure", "/a\r\n /b"] {
            assert_eq!(of("proxy-cookie-path", text), (ResponseRewrite::default(), 1), "{text:?}");
        }
        assert_eq!(of("proxy-cookie-domain", "a/b c").1, 1);
    }

    #[test]
    fn redirects_need_both_words_and_versions_are_told() {
        let (from, to) = ("nginx.ingress.kubernetes.io/proxy-redirect-from", "nearside.dev/proxy-redirect-to");
        let both = read(&[(from, "http://pod:8080/"), (to, "https://example.com/")], ResponseRewrite::read);
        assert_eq!(both.redirect, substitution("http://pod:8080/", "https://example.com/"));
        for text in ["off", "default"] {
            assert_eq!(of("proxy-redirect-from", text), (ResponseRewrite::default(), 0));
        }
        for text in ["http://pod/", "~^http://", "http://$host/", ""] {
            assert_eq!(of("proxy-redirect-from", text), (ResponseRewrite::default(), 1), "{text:?}");
        }
        assert_eq!([("1.1", 0), ("1.0", 1), ("2", 1)].map(|(text, _)| of("proxy-http-version", text).1), [0, 1, 1]);
    }
}
