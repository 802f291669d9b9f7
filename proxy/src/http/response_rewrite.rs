//! What a pod says of its own place, put right for clients: substitutions and the header of a response flow in, `Set-Cookie`,
//! `Location` and `Refresh` flow out changed. Pure.

use super::fields::Fields;
use http::header::{LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderName, HeaderValue};
use nearside_routing::policy::response_rewrite::{ResponseRewrite, Substitution};

/// Changes the header of a pod's response.
pub(super) fn write(rewrite: &ResponseRewrite, response: &mut impl Fields) {
    if rewrite.cookie_domain.is_some() || rewrite.cookie_path.is_some() {
        replace(response, &SET_COOKIE, |value| cookie(rewrite, value));
    }
    if let Some(redirect) = &rewrite.redirect {
        replace(response, &LOCATION, |value| starting(redirect, value));
        replace(response, &REFRESH, |value| refresh(redirect, value));
    }
}

fn replace(response: &mut impl Fields, name: &HeaderName, change: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let all = || response.all().get_all(name).iter();
    if !all().any(|value| change(value.as_bytes()).is_some()) {
        return;
    }
    let changed = |value: &HeaderValue| {
        let changed = change(value.as_bytes()).and_then(|bytes| HeaderValue::from_bytes(&bytes).ok());
        changed.unwrap_or_else(|| value.clone())
    };
    let values: Vec<HeaderValue> = all().map(changed).collect();
    response.remove(name);
    values.into_iter().for_each(|value| response.add(name, value));
}

/// The attributes of a cookie (RFC 6265 §4.1.1); what stands before the first semicolon is the pod's and the client's alone.
fn cookie(rewrite: &ResponseRewrite, value: &[u8]) -> Option<Vec<u8>> {
    let mut parts = value.split(|byte| *byte == b';');
    let mut out = parts.next()?.to_vec();
    let mut changed = false;
    for part in parts {
        out.push(b';');
        let new = attribute(rewrite, part);
        changed |= new.is_some();
        out.extend(new.unwrap_or_else(|| part.to_vec()));
    }
    changed.then_some(out)
}

fn attribute(rewrite: &ResponseRewrite, part: &[u8]) -> Option<Vec<u8>> {
    let at = part.iter().position(|byte| *byte == b'=')?;
    let (name, text) = (part[..at].trim_ascii(), part[at + 1..].trim_ascii());
    let text = if name.eq_ignore_ascii_case(b"domain") {
        let domain = rewrite.cookie_domain.as_ref()?;
        let written = text.strip_prefix(b".").unwrap_or(text);
        written.eq_ignore_ascii_case(domain.from.as_bytes()).then(|| domain.to.as_bytes().to_vec())?
    } else if name.eq_ignore_ascii_case(b"path") {
        starting(rewrite.cookie_path.as_ref()?, text)?
    } else {
        return None;
    };
    let mut out = part[..=at].to_vec();
    out.extend(text);
    Some(out)
}

fn starting(substitution: &Substitution, text: &[u8]) -> Option<Vec<u8>> {
    let rest = text.strip_prefix(substitution.from.as_bytes())?;
    Some([substitution.to.as_bytes(), rest].concat())
}

/// `5; url=http://pod/`: the URL is what follows `url=`.
fn refresh(substitution: &Substitution, value: &[u8]) -> Option<Vec<u8>> {
    let at = value.windows(4).position(|window| window.eq_ignore_ascii_case(b"url="))? + 4;
    Some([&value[..at], &*starting(substitution, &value[at..])?].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn substitution(from: &str, to: &str) -> Option<Substitution> {
        Some(Substitution { from: from.into(), to: to.into() })
    }

    #[test]
    fn only_what_a_pod_says_of_its_own_place_is_changed() {
        let rewrite = ResponseRewrite {
            cookie_domain: substitution("pod.internal", "example.com"),
            cookie_path: substitution("/app/", "/"),
            redirect: substitution("http://pod:8080/", "https://example.com/"),
        };
        for (name, value, expected) in [
            (SET_COOKIE, "a=1; Domain=.Pod.Internal; Path=/app/x; Secure", "a=1; Domain=example.com; Path=/x; Secure"),
            (SET_COOKIE, "a=/app/; path=/app", "a=/app/; path=/app"),
            (
                SET_COOKIE,
                "domain=pod.internal; DOMAIN = pod.internal.org",
                "domain=pod.internal; DOMAIN = pod.internal.org",
            ),
            (SET_COOKIE, "a=1;path=/app/;HttpOnly", "a=1;path=/;HttpOnly"),
            (SET_COOKIE, "", ""),
            (LOCATION, "http://pod:8080/a?b", "https://example.com/a?b"),
            (LOCATION, "http://other/?u=http://pod:8080/", "http://other/?u=http://pod:8080/"),
            (REFRESH, "5; URL=http://pod:8080/a", "5; URL=https://example.com/a"),
            (REFRESH, "5", "5"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(&name, HeaderValue::from_static("first"));
            headers.append(&name, HeaderValue::from_str(value).unwrap());
            write(&rewrite, &mut headers);
            let seen: Vec<&str> = headers.get_all(&name).iter().map(|value| value.to_str().unwrap()).collect();
            assert_eq!(seen, ["first", expected], "{value}");
        }
    }
}
