//! Cross-origin requests (Fetch standard, CORS protocol): annotations flow in, a [`Cors`] flows out, if it is switched on.
//! The proxy answers preflights with it and writes the fields of responses.

use crate::annotation::grammar::{boolean, count};
use crate::annotation::{Annotations, Spelling};
use http::HeaderValue;

/// What pages of other origins may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Which origins.
    pub origins: Origins,
    /// `Access-Control-Allow-Methods`.
    pub methods: HeaderValue,
    /// `Access-Control-Allow-Headers`.
    pub headers: HeaderValue,
    /// Whether cookies and the like may be sent; never with any origin.
    pub credentials: bool,
    /// Seconds for which a preflight's answer may be kept.
    pub max_age: u32,
    /// `Access-Control-Expose-Headers`.
    pub expose: Option<HeaderValue>,
}

/// Origins that are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All.
    Any,
    /// These.
    Listed(Vec<OriginPattern>),
}

/// An origin, in lower case, in which a star may stand for one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    before: Box<str>,
    after: Option<Box<str>>,
}

impl Origins {
    /// Whether an origin is allowed, as `Origin` gives it.
    pub fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(patterns) => {
                let origin = origin.to_ascii_lowercase();
                patterns.iter().any(|pattern| pattern.matches(&origin))
            }
        }
    }
}

impl OriginPattern {
    fn matches(&self, origin: &str) -> bool {
        let Some(after) = &self.after else { return *self.before == *origin };
        let label = origin.strip_prefix(&*self.before).and_then(|rest| rest.strip_suffix(&**after));
        label.is_some_and(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    }
}

impl Cors {
    /// Reads the annotations. The defaults are those of ingress-nginx.
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Option<Self> {
        let enabled = annotations.first(&[
            Spelling { name: "nearside.dev/enable-cors", parse: boolean },
            Spelling { name: "nginx.ingress.kubernetes.io/enable-cors", parse: boolean },
        ]);
        let origins = annotations.first(&[
            Spelling { name: "nearside.dev/cors-allow-origin", parse: origins },
            Spelling { name: "nginx.ingress.kubernetes.io/cors-allow-origin", parse: origins },
        ]);
        let methods = annotations.first(&[
            Spelling { name: "nearside.dev/cors-allow-methods", parse: tokens },
            Spelling { name: "nginx.ingress.kubernetes.io/cors-allow-methods", parse: tokens },
        ]);
        let headers = annotations.first(&[
            Spelling { name: "nearside.dev/cors-allow-headers", parse: tokens },
            Spelling { name: "nginx.ingress.kubernetes.io/cors-allow-headers", parse: tokens },
        ]);
        let expose = annotations.first(&[
            Spelling { name: "nearside.dev/cors-expose-headers", parse: tokens },
            Spelling { name: "nginx.ingress.kubernetes.io/cors-expose-headers", parse: tokens },
        ]);
        let credentials = annotations.first(&[
            Spelling { name: "nearside.dev/cors-allow-credentials", parse: boolean },
            Spelling { name: "nginx.ingress.kubernetes.io/cors-allow-credentials", parse: boolean },
        ]);
        let max_age = annotations.first(&[
            Spelling { name: "nearside.dev/cors-max-age", parse: count },
            Spelling { name: "nginx.ingress.kubernetes.io/cors-max-age", parse: count },
        ]);
        let origins = origins.unwrap_or(Origins::Any);
        let cors = Self {
            credentials: credentials.unwrap_or(true) && origins != Origins::Any,
            origins,
            methods: methods.unwrap_or(HeaderValue::from_static(METHODS)),
            headers: headers.unwrap_or(HeaderValue::from_static(HEADERS)),
            max_age: max_age.unwrap_or(MAX_AGE),
            expose,
        };
        enabled.unwrap_or_default().then_some(cors)
    }
}

fn origins(text: &str) -> Result<Origins, String> {
    let wrong =
        || format!("is not * or at most {MAX_ORIGINS} origins such as https://*.example.com, with commas between");
    let written: Vec<&str> = text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).collect();
    if written.is_empty() || written.len() > MAX_ORIGINS {
        return Err(wrong());
    }
    if written.contains(&"*") {
        return Ok(Origins::Any);
    }
    written.into_iter().map(origin).collect::<Option<_>>().map(Origins::Listed).ok_or_else(wrong)
}

fn origin(text: &str) -> Option<OriginPattern> {
    let text = text.to_ascii_lowercase();
    let (scheme, host) = text.split_once("://")?;
    let scheme_valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let host_valid =
        |host: &str| !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    if !scheme_valid {
        return None;
    }
    match host.strip_prefix("*.") {
        Some(domain) => {
            let (before, after) = (format!("{scheme}://").into(), Some(format!(".{domain}").into()));
            host_valid(domain).then_some(OriginPattern { before, after })
        }
        None => host_valid(host).then(|| OriginPattern { before: text.as_str().into(), after: None }),
    }
}

/// A list of methods or names (RFC 9110 §5.6.2), or a star.
fn tokens(text: &str) -> Result<HeaderValue, String> {
    let is_token = |token: &str| {
        !token.is_empty()
            && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let valid = text.len() <= LIST_BYTES && text.split(',').all(|token| is_token(token.trim_matches(' ')));
    let value = HeaderValue::from_str(text).ok().filter(|_| valid);
    value.ok_or_else(|| format!("is not a list of names with commas between, of at most {LIST_BYTES} bytes"))
}

const METHODS: &str = "GET, PUT, POST, DELETE, PATCH, OPTIONS";
const HEADERS: &str =
    "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization";
const MAX_AGE: u32 = 1_728_000;
const MAX_ORIGINS: usize = 100;
const LIST_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label() {
        let origins = origins("https://*.example.com, http://localhost:3000,HTTPS://App.Example.ORG").unwrap();
        for allowed in
            ["https://a.example.com", "https://A.EXAMPLE.com", "http://localhost:3000", "https://app.example.org"]
        {
            assert!(origins.allow(allowed), "{allowed}");
        }
        for refused in [
            "https://example.com",
            "https://b.a.example.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://a.example.com.evil.org",
            "https://evil.org/.example.com",
            "https://.example.com",
            "http://localhost",
            "null",
            "",
        ] {
            assert!(!origins.allow(refused), "{refused}");
        }
    }

    #[test]
    fn lists_are_checked() {
        assert_eq!(origins("*"), Ok(Origins::Any));
        for text in
            ["", ",", "example.com", "https://", "https://*", "https://a b", "https://*.*.a", "https://a/b", "null"]
        {
            assert!(origins(text).is_err(), "{text:?}");
        }
        assert!(tokens("GET, X-Custom,*").is_ok());
        assert!(["", "a,,b", "a b", "a\r\nb", "a:b", "ä"].iter().all(|text| tokens(text).is_err()));
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_an_answer(text in "(\\PC|[$*%/:.,?#1-9]|\\$scheme|\\$host|https?://|\r|\n|\0|\u{2028}){0,20}") {
            let _ = (origins(&text), tokens(&text));
        }
    }
}
