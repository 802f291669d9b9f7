//! Cookies in header fields (RFC 6265 §4): fields flow in, values flow out, and single cookies are taken out. Bytes that are
//! not ours stay as they are. Pure.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

/// The values that a request has for a cookie, the most specific path's first, as clients send them.
pub(crate) fn values<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let pairs = headers.get_all(COOKIE).into_iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| value_of(pair, name))
}

/// The `Cookie` fields without one cookie; `None` if they do not have it.
pub(super) fn without(headers: &HeaderMap, name: &str) -> Option<Vec<HeaderValue>> {
    values(headers, name).next()?;
    let kept = headers.get_all(COOKIE).into_iter().filter_map(|field| {
        let others = field.as_bytes().split(|byte| *byte == b';').filter(|pair| value_of(pair, name).is_none());
        let others = others.collect::<Vec<_>>().join(&b';');
        // Cutting a field at its semicolons leaves it a valid one.
        HeaderValue::from_bytes(others.trim_ascii()).ok().filter(|field| !field.is_empty())
    });
    Some(kept.collect())
}

/// All `Cookie` fields in one, where there are several: over HTTP/2 each cookie may have its own, over HTTP/1 there is one (RFC 9113
/// §8.2.3).
pub(super) fn joined(headers: &HeaderMap) -> Option<HeaderValue> {
    let fields: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if fields.len() < 2 {
        return None;
    }
    HeaderValue::from_bytes(&fields.join(&b"; "[..])).ok()
}

/// The `Set-Cookie` fields that set another cookie; `None` if all of them do.
pub(super) fn set_without(headers: &HeaderMap, name: &str) -> Option<Vec<HeaderValue>> {
    let sets = |field: &&HeaderValue| {
        let pair = field.as_bytes().split(|byte| *byte == b';').next();
        pair.is_some_and(|pair| value_of(pair, name).is_some())
    };
    let fields = headers.get_all(SET_COOKIE);
    fields.iter().any(|field| sets(&field)).then(|| fields.iter().filter(|field| !sets(field)).cloned().collect())
}

/// The value in a pair such as ` name=value`, if it has this name.
fn value_of<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let (found, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
    (found == name.as_bytes()).then(|| value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    #[test]
    fn crumbs_become_one_field() {
        assert_eq!(joined(&fields(COOKIE, &[])), None);
        assert_eq!(joined(&fields(COOKIE, &["a=1; b=2"])), None);
        assert_eq!(joined(&fields(COOKIE, &["a=1", "b=2", "c"])).unwrap(), "a=1; b=2; c");
    }

    fn fields(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn values_are_those_of_the_exact_name() {
        let headers = fields(COOKIE, &["a=1; me=x;b; =y;me=\"z\"", "A=2; mea=3; ma=me=4;me="]);
        let found: Vec<&[u8]> = values(&headers, "me").collect();
        assert_eq!(found, [&b"x"[..], b"z", b""]);
        assert_eq!(values(&headers, "none").count(), 0);
    }

    #[test]
    fn one_cookie_is_taken_out_and_the_others_stay_as_they_are() {
        for (before, after) in [
            (&["me=1"][..], Some(&[][..])),
            (&["a=1; me=2; b=\u{e9};  c"], Some(&["a=1; b=\u{e9};  c"])),
            (&["me=1; a=\"x\"", "b=2"], Some(&["a=\"x\"", "b=2"])),
            (&["a=1", "me=1;me=2"], Some(&["a=1"])),
            (&["a=1;; mea=2"], None),
        ] {
            let expected =
                after.map(|after| after.iter().map(|v| HeaderValue::from_str(v).unwrap()).collect::<Vec<_>>());
            assert_eq!(without(&fields(COOKIE, before), "me"), expected, "{before:?}");
        }
    }

    #[test]
    fn a_pod_does_not_set_the_cookie_of_the_router() {
        let headers = fields(SET_COOKIE, &["a=1; path=/", "me=2; path=/; HttpOnly", "mea=me=3"]);
        let kept = set_without(&headers, "me").unwrap();
        assert_eq!(kept, ["a=1; path=/", "mea=me=3"]);
        assert_eq!(set_without(&headers, "none"), None);
    }
}
