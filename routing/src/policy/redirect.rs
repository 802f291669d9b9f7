//! Requests that are answered with another place: annotations flow in, [`Redirects`] flow out. Rules and claims ask whether
//! plain HTTP is sent to https, the proxy asks for the rest.

use crate::annotation::grammar::{boolean, count};
use crate::annotation::{Annotations, Spelling};
use crate::hostname::Hostname;
use crate::path::NormalPath;
use crate::table::Scheme;

/// Where requests are sent instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirects {
    /// Every request, to a place of its own.
    pub fixed: Option<FixedRedirect>,
    /// `/`, to this path.
    pub app_root: Option<Box<str>>,
    /// Every request, to the same path of this host: set by the claims for the host with or without `www.`.
    pub to_host: Option<Hostname>,
    /// Whether the host with or without `www.` in front is claimed and sent to the one that the object names.
    pub(crate) www: bool,
    /// Whether plain HTTP is sent to https; `None` means as the object's TLS says.
    pub(crate) https: Option<bool>,
}

/// A redirect of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedRedirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The place.
    pub location: Location,
}

/// A URL with parts of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(Box<[LocationPart]>);

/// A part of a [`Location`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocationPart {
    /// Text as it is written.
    Literal(Box<str>),
    /// `$scheme`: `http` or `https`.
    Scheme,
    /// `$host`: the host, without port.
    Host,
    /// `$http_host`: the host, with the port that the client named.
    HttpHost,
    /// `$request_uri`: path and query as the client wrote them.
    RequestUri,
    /// `$escaped_request_uri`: the same as the value of a parameter.
    EscapedRequestUri,
}

/// The parts of a request that a [`Location`] may repeat.
#[derive(Clone, Copy, Debug)]
pub struct RequestUrl<'r> {
    /// How it came in.
    pub scheme: Scheme,
    /// Canonical.
    pub host: &'r str,
    /// As the client wrote it.
    pub port: Option<&'r str>,
    /// As the client wrote them.
    pub path_and_query: &'r [u8],
}

/// Where every request of an object is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead<'r> {
    /// To the same URL at this host, with 308.
    Host(&'r Hostname),
    /// To a place that the object states.
    Place(&'r FixedRedirect),
}

impl Location {
    /// In order.
    pub fn parts(&self) -> &[LocationPart] {
        &self.0
    }

    /// With the parts of a request in it.
    pub fn expand(&self, request: &RequestUrl<'_>) -> Vec<u8> {
        let mut url = Vec::new();
        for part in self.parts() {
            match part {
                LocationPart::Literal(text) => url.extend_from_slice(text.as_bytes()),
                LocationPart::Scheme => url.extend_from_slice(request.scheme.as_str().as_bytes()),
                LocationPart::Host => url.extend_from_slice(request.host.as_bytes()),
                LocationPart::HttpHost => {
                    url.extend_from_slice(request.host.as_bytes());
                    url.extend(request.port.iter().flat_map(|port| [b":", port.as_bytes()].concat()));
                }
                LocationPart::RequestUri => url.extend_from_slice(request.path_and_query),
                LocationPart::EscapedRequestUri => {
                    for byte in request.path_and_query {
                        match byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
                            true => url.push(*byte),
                            false => url.extend(format!("%{byte:02X}").into_bytes()),
                        }
                    }
                }
            }
        }
        url
    }

    /// Whether nothing of it could be taken for a user before the host.
    pub(crate) fn names_no_user(&self) -> bool {
        let literal = |part: &LocationPart| matches!(part, LocationPart::Literal(text) if text.contains('@'));
        !self.0.iter().any(literal)
    }
}

impl Redirects {
    /// Where every request is sent, if it is.
    pub fn instead(&self) -> Option<Instead<'_>> {
        let host = self.to_host.as_ref().map(Instead::Host);
        host.or_else(|| self.fixed.as_ref().map(Instead::Place))
    }

    /// Where a request for the root is sent, with 302, if that is what this one asks for.
    pub fn root(&self, path: &NormalPath<'_>) -> Option<&str> {
        self.app_root.as_deref().filter(|_| path.as_str() == "/")
    }

    /// Reads the annotations.
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        let permanent = annotations.first(&[
            Spelling { name: "nearside.dev/permanent-redirect", parse: location },
            Spelling { name: "nginx.ingress.kubernetes.io/permanent-redirect", parse: location },
        ]);
        let permanent_code = annotations.first(&[
            Spelling { name: "nearside.dev/permanent-redirect-code", parse: status },
            Spelling { name: "nginx.ingress.kubernetes.io/permanent-redirect-code", parse: status },
        ]);
        let temporal = annotations.first(&[
            Spelling { name: "nearside.dev/temporal-redirect", parse: location },
            Spelling { name: "nginx.ingress.kubernetes.io/temporal-redirect", parse: location },
        ]);
        let temporal_code = annotations.first(&[
            Spelling { name: "nearside.dev/temporal-redirect-code", parse: status },
            Spelling { name: "nginx.ingress.kubernetes.io/temporal-redirect-code", parse: status },
        ]);
        let app_root = annotations.first(&[
            Spelling { name: "nearside.dev/app-root", parse: app_root },
            Spelling { name: "nginx.ingress.kubernetes.io/app-root", parse: app_root },
        ]);
        let www = annotations.first(&[
            Spelling { name: WWW, parse: boolean },
            Spelling { name: "nginx.ingress.kubernetes.io/from-to-www-redirect", parse: boolean },
        ]);
        let https = annotations.first(&[
            Spelling { name: "nearside.dev/ssl-redirect", parse: boolean },
            Spelling { name: "nginx.ingress.kubernetes.io/ssl-redirect", parse: boolean },
        ]);
        let force = annotations.first(&[
            Spelling { name: "nearside.dev/force-ssl-redirect", parse: boolean },
            Spelling { name: "nginx.ingress.kubernetes.io/force-ssl-redirect", parse: boolean },
        ]);
        let permanent = permanent.map(|location| FixedRedirect { status: permanent_code.unwrap_or(301), location });
        let temporal = temporal.map(|location| FixedRedirect { status: temporal_code.unwrap_or(302), location });
        Self {
            fixed: temporal.or(permanent),
            app_root,
            to_host: None,
            www: www.unwrap_or_default(),
            // `true` alone says what is so without it: https where there is TLS.
            https: if force == Some(true) { force } else { https.filter(|https| !https) },
        }
    }
}

fn status(text: &str) -> Result<u16, String> {
    match count(text) {
        Ok(status @ (301 | 302 | 303 | 307 | 308)) => Ok(u16::try_from(status).unwrap_or(302)),
        _ => Err("is not one of 301, 302, 303, 307, 308".into()),
    }
}

fn app_root(text: &str) -> Result<Box<str>, String> {
    let is_path = text.starts_with('/') && !text.starts_with("//") && NormalPath::parse(text).is_ok();
    let usable = is_path && text != "/" && text.len() <= URL_BYTES && text.bytes().all(is_url_byte);
    usable.then(|| text.into()).ok_or_else(|| "is not a path other than /".into())
}

pub(crate) fn location(text: &str) -> Result<Location, String> {
    let wrong = || "is not an http or https URL with $scheme, $host and $request_uri as wanted".to_owned();
    let schemes = ["http://", "https://", "$scheme://", "$pass_access_scheme://"];
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme)).ok_or_else(wrong)?;
    if rest.is_empty() || rest.starts_with('/') {
        return Err(wrong());
    }
    place(text).map_err(|_| wrong())
}

/// Any text that may stand in a URL, with parts of the request.
pub(crate) fn place(text: &str) -> Result<Location, String> {
    let wrong = || "is not a URL, or a part of one, with $scheme, $host and $request_uri as wanted".to_owned();
    if text.len() > URL_BYTES || !text.bytes().all(is_url_byte) {
        return Err(wrong());
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        let found = VARIABLES.iter().find(|(name, _)| after.starts_with(name)).ok_or_else(wrong)?;
        rest = &after[found.0.len()..];
        // `$hostname` is a variable of its own.
        if rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_') {
            return Err(wrong());
        }
        if !before.is_empty() {
            parts.push(LocationPart::Literal(before.into()));
        }
        parts.push(found.1.clone());
    }
    if !rest.is_empty() {
        parts.push(LocationPart::Literal(rest.into()));
    }
    Ok(Location(parts.into()))
}

/// Characters of a URL (RFC 3986 §2).
pub(super) fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

/// For claims of the other host, which name their reason.
pub(crate) const WWW: &str = "nearside.dev/from-to-www-redirect";
pub(super) const URL_BYTES: usize = 2048;
const VARIABLES: [(&str, LocationPart); 7] = [
    ("$scheme", LocationPart::Scheme),
    ("$pass_access_scheme", LocationPart::Scheme),
    ("$host", LocationPart::Host),
    ("$http_host", LocationPart::HttpHost),
    ("$best_http_host", LocationPart::HttpHost),
    ("$request_uri", LocationPart::RequestUri),
    ("$escaped_request_uri", LocationPart::EscapedRequestUri),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectMeta;

    fn read(annotations: &[(&str, &str)]) -> (Redirects, usize) {
        let annotations =
            annotations.iter().map(|(name, value)| (format!("nginx.ingress.kubernetes.io/{name}"), (*value).into()));
        let metadata = ObjectMeta { annotations: annotations.collect(), ..ObjectMeta::default() };
        let mut annotations = Annotations::new(&metadata);
        let redirects = Redirects::read(&mut annotations);
        (redirects, annotations.into_problems().len())
    }

    #[test]
    fn a_temporal_redirect_comes_before_a_permanent_one_and_each_has_its_code() {
        let status = |annotations: &[(&str, &str)]| read(annotations).0.fixed.map(|fixed| fixed.status);
        let (permanent, temporal) = (("permanent-redirect", "https://a/"), ("temporal-redirect", "https://b/"));
        assert_eq!(status(&[permanent]), Some(301));
        assert_eq!(status(&[permanent, ("permanent-redirect-code", "308")]), Some(308));
        assert_eq!(status(&[permanent, temporal]), Some(302));
        assert_eq!(read(&[permanent, ("permanent-redirect-code", "200")]).1, 1);
        assert_eq!(status(&[permanent, ("permanent-redirect-code", "200")]), Some(301));
    }

    #[test]
    fn a_place_is_a_url_with_known_variables() {
        let parts = location("$scheme://www.$host$request_uri").unwrap();
        let www = LocationPart::Literal("://www.".into());
        assert_eq!(parts.parts(), [LocationPart::Scheme, www, LocationPart::Host, LocationPart::RequestUri]);
        for text in [
            "",
            "/path",
            "https://",
            "https:///a",
            "javascript:alert(1)",
            "https://a b",
            "https://a\r\nX: y",
            "https://$hostname",
            "https://$remote_addr",
            "https://a\"",
            "ftp://a",
        ] {
            assert!(location(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn force_comes_before_off() {
        assert_eq!(read(&[]).0.https, None);
        assert_eq!(read(&[("ssl-redirect", "true")]).0.https, None);
        assert_eq!(read(&[("ssl-redirect", "false")]).0.https, Some(false));
        assert_eq!(read(&[("ssl-redirect", "false"), ("force-ssl-redirect", "true")]).0.https, Some(true));
        assert_eq!(read(&[("force-ssl-redirect", "false")]).0.https, None);
    }

    #[test]
    fn the_root_of_an_application_is_another_path() {
        assert!(app_root("/app?x=1").is_ok());
        assert!(["", "/", "app", "//evil.example.com/", "/a\nb", "/a b"].iter().all(|text| app_root(text).is_err()));
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_an_answer(text in "(\\PC|[$*%/:.,?#1-9]|\\$scheme|\\$host|https?://|\r|\n|\0|\u{2028}){0,20}") {
            let _ = (location(&text), app_root(&text), status(&text));
        }
    }
}
