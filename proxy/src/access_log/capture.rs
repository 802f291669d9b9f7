//! Values that each line shows beside its own fields: which ones flows in from the options, the values of one request flow
//! out. Values are those that client and pod sent, before any action changes them; of several the last counts, as in
//! HAProxy. Pure.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName};

/// What is captured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captures {
    /// Fields of requests.
    pub(crate) request: Vec<FieldCapture>,
    /// Fields of responses of pods.
    pub(crate) response: Vec<FieldCapture>,
    /// A cookie of both.
    pub(crate) cookie: Option<CookieCapture>,
}

/// A header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldCapture {
    pub(crate) name: HeaderName,
    /// Bytes that are kept.
    pub(crate) length: usize,
}

/// A cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CookieCapture {
    /// What `NAME=value` begins with; ends with `=` where the whole name is meant.
    pub(crate) start: Box<str>,
    /// Bytes that are kept of `NAME=value`.
    pub(crate) length: usize,
}

/// What a pod's response showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CapturedResponse {
    /// In the order of [`Captures::response`].
    pub(crate) fields: Box<[Option<Box<[u8]>>]>,
    /// `NAME=value`.
    pub(crate) cookie: Option<Box<[u8]>>,
}

impl Captures {
    /// The fields of a request, in the order in which they are asked for.
    pub(crate) fn of_request<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = Option<&'h [u8]>> {
        self.request.iter().map(|capture| capture.value(headers))
    }

    /// What a response shows; nothing is made where nothing is asked for.
    pub(crate) fn of_response(&self, headers: &HeaderMap) -> Option<CapturedResponse> {
        if self.response.is_empty() && self.cookie.is_none() {
            return None;
        }
        let fields = self.response.iter().map(|capture| capture.value(headers).map(Into::into)).collect();
        let set = || headers.get_all(SET_COOKIE).into_iter().map(|field| field.as_bytes());
        let cookie = self.cookie.as_ref().and_then(|cookie| cookie.value(set()).map(Into::into));
        Some(CapturedResponse { fields, cookie })
    }

    /// The cookie of a request as `NAME=value`.
    pub(crate) fn request_cookie<'h>(&self, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        let fields = headers.get_all(COOKIE).into_iter();
        self.cookie.as_ref()?.value(fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';')))
    }
}

impl FieldCapture {
    fn value<'h>(&self, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        let last = headers.get_all(&self.name).into_iter().next_back()?.as_bytes();
        Some(&last[..last.len().min(self.length)])
    }
}

impl CookieCapture {
    /// The last pair that is meant, without its attributes.
    fn value<'h>(&self, pairs: impl Iterator<Item = &'h [u8]>) -> Option<&'h [u8]> {
        let pairs = pairs.map(|pair| pair.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii());
        let meant = pairs.filter(|pair| pair.starts_with(self.start.as_bytes()));
        meant.last().map(|pair| &pair[..pair.len().min(self.length)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(HeaderName, &'static [u8])]) -> HeaderMap {
        let value = |bytes: &'static [u8]| http::HeaderValue::from_bytes(bytes).unwrap();
        fields.iter().map(|(name, bytes)| (name.clone(), value(bytes))).collect::<Vec<_>>().into_iter().fold(
            HeaderMap::new(),
            |mut map, (name, value)| {
                map.append(name, value);
                map
            },
        )
    }

    #[test]
    fn the_last_value_is_taken_and_cut() {
        let x = HeaderName::from_static("x-a");
        let captures = Captures {
            request: vec![
                FieldCapture { name: x.clone(), length: 3 },
                FieldCapture { name: HeaderName::from_static("x-b"), length: 9 },
            ],
            ..Captures::default()
        };
        let headers = headers(&[(x.clone(), b"first"), (x, b"\xffsecond")]);
        let taken: Vec<Option<&[u8]>> = captures.of_request(&headers).collect();
        assert_eq!(taken, [Some(&b"\xffse"[..]), None]);
        assert_eq!(captures.of_response(&headers), None);
    }

    #[test]
    fn a_cookie_is_meant_by_its_name_or_by_its_beginning() {
        let of = |start: &str, length| {
            let cookie = Some(CookieCapture { start: start.into(), length });
            let captures = Captures { cookie, ..Captures::default() };
            let request = headers(&[(COOKIE, b"a=1; abc=2"), (COOKIE, b"ab=3;a=")]);
            let response = headers(&[(SET_COOKIE, b"abc=4; Path=/; a=9"), (SET_COOKIE, b"z=1")]);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let sent = captures.request_cookie(&request).map(text);
            (sent, captures.of_response(&response).unwrap().cookie.as_deref().map(text))
        };
        assert_eq!(of("a=", 9), (Some("a=".into()), None));
        assert_eq!(of("ab", 9), (Some("ab=3".into()), Some("abc=4".into())));
        assert_eq!(of("abc=", 5), (Some("abc=2".into()), Some("abc=4".into())));
        assert_eq!(of("abc=", 4), (Some("abc=".into()), Some("abc=".into())));
        assert_eq!(of("b", 9), (None, None));
    }
}
