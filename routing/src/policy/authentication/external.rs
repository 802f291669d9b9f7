//! Authentication by a service: annotations flow in, whom to ask about each request, and what becomes of the answer, flow out.

use super::{Refused, first_written, refuse};
use crate::annotation::grammar::{boolean, time};
use crate::annotation::{Annotations, Spelling};
use crate::policy::balance::HashKey;
use crate::policy::redirect::{Location, location, place};
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderName, Method};
use std::time::Duration;

/// A service that decides about each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Where it is asked.
    pub url: Location,
    /// How it is asked.
    pub method: Method,
    /// Where clients are sent that it does not know (401).
    pub signin: Option<Location>,
    /// The fields of its answer that the pod gets, and that no client may send.
    pub response_headers: Box<[HeaderName]>,
    /// Where a client is to be sent afterwards, told to the service; `None` means the request's own path and query.
    pub request_redirect: Option<Location>,
    /// Which answers are remembered; `None` means none.
    pub cache: Option<Cache>,
    /// Whether its cookies are set with every response; without, not with errors.
    pub always_set_cookie: bool,
    /// How long it may take; `None` means as the router has it.
    pub timeout: Option<Duration>,
}

/// What of its answers is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// What requests with one answer have in common.
    pub key: HashKey,
    /// For how long, by status.
    pub times: Box<[(u16, Duration)]>,
}

impl External {
    /// What the annotations ask for.
    pub(super) fn read(annotations: &mut Annotations<'_>) -> Result<Option<Self>, Refused> {
        let signin = signin(annotations);
        let response_headers = response_headers(annotations);
        let cache = cache(annotations);
        let request_redirect = annotations.first(&[
            Spelling { name: "nearside.dev/auth-request-redirect", parse: place },
            Spelling { name: "nginx.ingress.kubernetes.io/auth-request-redirect", parse: place },
        ]);
        let always_set_cookie = annotations.first(&[
            Spelling { name: "nearside.dev/auth-always-set-cookie", parse: boolean },
            Spelling { name: "nginx.ingress.kubernetes.io/auth-always-set-cookie", parse: boolean },
        ]);
        let timeout = annotations.first(&[Spelling { name: "nearside.dev/auth-timeout", parse: time }]);
        let method = match first_written(annotations, &METHOD) {
            None => Method::GET,
            Some((name, written)) => {
                let known = METHODS.into_iter().find(|known| Some(known.as_str()) == written);
                known.ok_or_else(|| {
                    refuse(annotations, name, "is not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
                })?
            }
        };
        let Some((name, written)) = first_written(annotations, &URL) else {
            if signin.is_some() || !response_headers.is_empty() {
                annotations.problem(SIGNIN[0], "settings of authentication have no effect without auth-url");
            }
            return Ok(None);
        };
        let url = match written.map(location) {
            Some(Ok(url)) if url.names_no_user() => url,
            Some(Err(message)) => return Err(refuse(annotations, name, &message)),
            _ => return Err(refuse(annotations, name, "is not a URL without user")),
        };
        Ok(Some(Self {
            url,
            method,
            signin,
            response_headers,
            request_redirect,
            cache,
            always_set_cookie: always_set_cookie.unwrap_or_default(),
            timeout,
        }))
    }
}

/// The place to sign in, with the parameter that says where the client came from.
fn signin(annotations: &mut Annotations<'_>) -> Option<Location> {
    let parameter = match first_written(annotations, &SIGNIN_PARAMETER) {
        None => DEFAULT_PARAMETER,
        Some((_, Some(text))) if text.len() <= 64 && text.bytes().all(is_parameter) => text,
        Some((name, _)) => {
            annotations.problem(name, format!("is not the name of a parameter; {DEFAULT_PARAMETER} is used"));
            DEFAULT_PARAMETER
        }
    };
    let (name, written) = first_written(annotations, &SIGNIN)?;
    let whole = written.map(|text| {
        let query = text.split_once('?').map(|(_, query)| query);
        let given = |query: &str| query.split('&').any(|pair| pair.split('=').next() == Some(parameter));
        match query {
            Some(query) if given(query) => text.to_owned(),
            Some(_) => format!("{text}&{parameter}={CAME_FROM}"),
            None => format!("{text}?{parameter}={CAME_FROM}"),
        }
    });
    let parsed = whole.map_or_else(|| Err("is too long".to_owned()), |text| location(&text));
    parsed.map_err(|message| annotations.problem(name, format!("{message}; clients get 401"))).ok()
}

fn response_headers(annotations: &mut Annotations<'_>) -> Box<[HeaderName]> {
    let Some((name, written)) = first_written(annotations, &RESPONSE_HEADERS) else { return Box::default() };
    let mut names: Vec<HeaderName> = Vec::new();
    let mut wrong = written.is_none();
    for text in written.unwrap_or_default().split(',').map(str::trim).filter(|text| !text.is_empty()) {
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(name) if !OF_CONNECTION.contains(&name) && names.len() < MOST_HEADERS => names.push(name),
            _ => wrong = true,
        }
    }
    if wrong {
        let message = format!("names what is no field for pods, or more than {MOST_HEADERS}; left out");
        annotations.problem(name, message);
    }
    names.into()
}

fn cache(annotations: &mut Annotations<'_>) -> Option<Cache> {
    let nothing_kept = |annotations: &mut Annotations<'_>, name, message: String| {
        annotations.problem(name, format!("{message}; no answer is remembered"));
    };
    // Both are read, so that what is wrong with either is told.
    let times = match first_written(annotations, &CACHE_DURATION) {
        None => Some(Box::from([(200, DEFAULT_TIME), (202, DEFAULT_TIME), (401, DEFAULT_TIME)])),
        Some((name, written)) => {
            let times = durations(written.unwrap_or_default());
            times.map_err(|message| nothing_kept(annotations, name, message)).ok()
        }
    };
    let (name, written) = first_written(annotations, &CACHE_KEY)?;
    // Who the user is follows from what the request says of it.
    let key = HashKey::parse(&written.unwrap_or_default().replace("$remote_user", "$http_authorization"));
    let key = key.map_err(|message| nothing_kept(annotations, name, message)).ok()?;
    Some(Cache { key, times: times? })
}

/// Statuses and a time, such as `200 202 401 5m`, several with commas between.
fn durations(text: &str) -> Result<Box<[(u16, Duration)]>, String> {
    let wrong = || "is not a list of statuses with a time, such as 200 202 401 5m".to_owned();
    let mut times = Vec::new();
    for part in text.split(',') {
        let mut words: Vec<&str> = part.split_whitespace().collect();
        let last = words.pop().ok_or_else(wrong)?;
        // A number alone is seconds, as nginx has it.
        let unit = if last.bytes().all(|byte| byte.is_ascii_digit()) { "s" } else { "" };
        let time = time(&format!("{last}{unit}")).map_err(|_| wrong())?.min(LONGEST);
        if words.is_empty() {
            words = vec!["200", "301", "302"];
        }
        for word in words {
            let status = word.parse::<u16>().ok().filter(|status| (200..600).contains(status) && word.len() == 3);
            times.push((status.ok_or_else(wrong)?, time));
        }
        if times.len() > MOST_STATUSES {
            return Err(wrong());
        }
    }
    Ok(times.into())
}

fn is_parameter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

const URL: [&str; 2] = ["nearside.dev/auth-url", "nginx.ingress.kubernetes.io/auth-url"];
const METHOD: [&str; 2] = ["nearside.dev/auth-method", "nginx.ingress.kubernetes.io/auth-method"];
const SIGNIN: [&str; 2] = ["nearside.dev/auth-signin", "nginx.ingress.kubernetes.io/auth-signin"];
const SIGNIN_PARAMETER: [&str; 2] =
    ["nearside.dev/auth-signin-redirect-param", "nginx.ingress.kubernetes.io/auth-signin-redirect-param"];
const RESPONSE_HEADERS: [&str; 2] =
    ["nearside.dev/auth-response-headers", "nginx.ingress.kubernetes.io/auth-response-headers"];
const CACHE_KEY: [&str; 2] = ["nearside.dev/auth-cache-key", "nginx.ingress.kubernetes.io/auth-cache-key"];
const CACHE_DURATION: [&str; 2] =
    ["nearside.dev/auth-cache-duration", "nginx.ingress.kubernetes.io/auth-cache-duration"];
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
/// As ingress-nginx has it, with the URL of the request.
const DEFAULT_PARAMETER: &str = "rd";
const CAME_FROM: &str = "$scheme://$http_host$escaped_request_uri";
/// As ingress-nginx has it.
const DEFAULT_TIME: Duration = Duration::from_secs(300);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
const MOST_STATUSES: usize = 32;
const MOST_HEADERS: usize = 64;
/// Fields that belong to a connection or decide who is asked.
const OF_CONNECTION: [HeaderName; 10] = [
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::authentication::Authentication;
    use crate::policy::testing::{problems, read};

    fn external(values: &[(&str, &str)]) -> (Authentication, Vec<String>) {
        let owned: Vec<(String, &str)> =
            values.iter().map(|(name, value)| (format!("nginx.ingress.kubernetes.io/{name}"), *value)).collect();
        let borrowed: Vec<(&str, &str)> = owned.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        (read(&borrowed, Authentication::read), problems(&borrowed, Authentication::read))
    }

    const ASKED: (&str, &str) = ("auth-url", "https://$host/oauth2/auth");

    #[test]
    fn what_is_not_understood_of_whom_to_ask_refuses_every_request() {
        let long = format!("http://auth/{}", "x".repeat(70_000));
        for values in [
            &[("auth-url", "auth.example.com")][..],
            &[("auth-url", "ftp://auth/")],
            &[("auth-url", "http://$remote_addr/")],
            &[("auth-url", "http://user@auth/")],
            &[("auth-url", "http://auth/\r\nX: y")],
            &[("auth-url", &long)],
            &[ASKED, ("auth-method", "TRACE")],
            &[ASKED, ("auth-method", "get")],
        ] {
            let (authentication, problems) = external(values);
            assert!(authentication.refused && authentication.external.is_none(), "{:.60}", format!("{values:?}"));
            assert!(problems.iter().any(|problem| problem.contains("503")), "{problems:?}");
        }
    }

    #[test]
    fn the_place_to_sign_in_is_told_where_the_client_came_from() {
        let signin = |text, parameter: &[(&str, &str)]| {
            let (authentication, problems) = external(&[&[ASKED, ("auth-signin", text)], parameter].concat());
            (authentication.external.unwrap().signin, problems.len())
        };
        let came = |text: &str| (Some(location(text).unwrap()), 0);
        let from = "$scheme://$http_host$escaped_request_uri";
        assert_eq!(signin("https://login/", &[]), came(&format!("https://login/?rd={from}")));
        assert_eq!(signin("https://login/?a=b", &[]), came(&format!("https://login/?a=b&rd={from}")));
        assert_eq!(signin("https://login/?rd=$request_uri", &[]), came("https://login/?rd=$request_uri"));
        let named = [("auth-signin-redirect-param", "next")];
        assert_eq!(signin("https://login/", &named), came(&format!("https://login/?next={from}")));
        assert_eq!(signin("javascript:alert(1)", &[]), (None, 1));
        assert_eq!(signin("https://login/", &[("auth-signin-redirect-param", "a&b")]).1, 1);
    }

    #[test]
    fn fields_and_times_are_lists() {
        let (authentication, problems) = external(&[
            ASKED,
            ("auth-response-headers", "X-User, Authorization,,Host,b@d"),
            ("auth-cache-key", "$remote_user$cookie_session"),
            ("auth-cache-duration", "200 202 10m, 401 30"),
        ]);
        let external = authentication.external.unwrap();
        let names: Vec<&str> = external.response_headers.iter().map(HeaderName::as_str).collect();
        assert_eq!((names, problems.len()), (vec!["x-user", "authorization"], 1));
        let cache = external.cache.unwrap();
        assert_eq!(cache.key, HashKey::parse("$http_authorization$cookie_session").unwrap());
        let (ten, half) = (Duration::from_secs(600), Duration::from_secs(30));
        assert_eq!(*cache.times, [(200, ten), (202, ten), (401, half)]);
        for text in ["", "200", "200 x", "99 5m", "x 5m", "200 5m,", "2000 1m"] {
            let parsed = durations(text);
            assert!(parsed.is_err() || text == "200", "{text:?}");
        }
    }

    #[test]
    fn a_cache_that_is_not_understood_is_none() {
        for values in [("auth-cache-key", "all"), ("auth-cache-key", "$nothing"), ("auth-cache-duration", "soon")] {
            let key = [("auth-cache-key", "$http_authorization")];
            let key: &[(&str, &str)] = if values.0 == "auth-cache-key" { &[] } else { &key };
            let (authentication, problems) = external(&[&[ASKED, values], key].concat());
            assert_eq!((authentication.external.unwrap().cache, problems.len()), (None, 1), "{values:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_asks_or_refuses(text in "(\\PC|[$*%/:.,?#@0-9 ]|\\$scheme|\\$host|https?://|200 |\r|\n|\0|\u{2028}){1,20}") {
            let values = ["auth-url", "auth-signin", "auth-response-headers", "auth-cache-key", "auth-cache-duration"];
            let (authentication, _) = external(&values.map(|name| (name, &*text)));
            proptest::prop_assert!(authentication.is_demanded() || text.trim().is_empty());
        }
    }
}
