//! The affinity cookie on its way: it is taken out of requests to pods and put into their responses. Called by `http`; one of
//! the few modules that name Pingora types.

use super::context::RequestContext;
use super::cookies;
use super::fields::Fields;
use crate::backends::Target;
use crate::balance::AffinityCookie;
use http::header::{CACHE_CONTROL, COOKIE, PRAGMA, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pingora::Result;
use pingora::http::ResponseHeader;

/// The pod is not to see the router's cookie.
pub(super) fn clean_request(upstream: &mut impl Fields, ctx: &RequestContext) {
    let Some((cookie, _)) = cookie_and_target(ctx) else { return };
    if let Some(others) = cookies::without(upstream.all(), &cookie.name) {
        upstream.remove(&COOKIE);
        for field in others {
            upstream.add(&COOKIE, field);
        }
    }
}

/// The client learns its pod unless it named it already. An answer that caches could give to others becomes private then.
pub(super) fn mark_response(response: &mut ResponseHeader, method: &Method, ctx: &RequestContext) -> Result<()> {
    let Some((cookie, target)) = cookie_and_target(ctx) else { return Ok(()) };
    if let Some(others) = cookies::set_without(&response.headers, &cookie.name) {
        drop(response.remove_header(&SET_COOKIE));
        for field in others {
            response.append_header(SET_COOKIE, field)?;
        }
    }
    if target.kept {
        return Ok(());
    }
    if is_cacheable(method, response.status, &response.headers) {
        response.append_header(CACHE_CONTROL, HeaderValue::from_static("private"))?;
    }
    response.append_header(SET_COOKIE, cookie.set(&target.cookie))?;
    Ok(())
}

fn cookie_and_target(ctx: &RequestContext) -> Option<(&AffinityCookie, &Target)> {
    let (balance, _) = ctx.balance.as_ref()?;
    Some((balance.cookie.as_ref()?, ctx.target.as_ref()?))
}

/// Whether a cache could keep the answer (RFC 9111 §3, RFC 9110 §15.1), as far as HAProxy looks.
fn is_cacheable(method: &Method, status: StatusCode, headers: &HeaderMap) -> bool {
    let forbids = |word: &str| {
        let word = word.trim();
        ["no-store", "no-cache", "private", "max-age=0", "s-maxage=0"].iter().any(|known| {
            word.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known))
                && word.as_bytes().get(known.len()).is_none_or(|next| *next == b'=')
        })
    };
    let words = headers.get_all(CACHE_CONTROL).into_iter().chain(headers.get_all(PRAGMA));
    let forbidden = words.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(',')).any(forbids);
    matches!(*method, Method::GET | Method::HEAD) && CACHEABLE.contains(&status.as_u16()) && !forbidden
}

/// Statuses that caches keep without being told to.
const CACHEABLE: [u16; 11] = [200, 203, 204, 206, 300, 301, 404, 405, 410, 414, 501];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_that_a_cache_would_keep_become_private() {
        for (method, status, control, expected) in [
            (Method::GET, 200, "", true),
            (Method::HEAD, 404, "public, max-age=600", true),
            (Method::POST, 200, "", false),
            (Method::GET, 302, "", false),
            (Method::GET, 500, "", false),
            (Method::GET, 200, "public, No-Store", false),
            (Method::GET, 200, "private=\"x\"", false),
            (Method::GET, 200, "max-age=0", false),
            (Method::GET, 200, "max-age=01", true),
        ] {
            let headers = [(CACHE_CONTROL, HeaderValue::from_static(control))].into_iter().collect();
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_cacheable(&method, status, &headers), expected, "{method} {status} {control}");
        }
    }
}
