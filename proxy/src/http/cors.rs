//! Cross-origin requests (Fetch standard, CORS protocol): a policy and a request flow in, the answer to a preflight, or the
//! fields of a response, flow out. Where a policy is on, it alone speaks: what the pod says of the same is replaced. Pure.

use super::answer::Answer;
use super::fields::Fields;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use nearside_routing::policy::{Cors, Origins};

/// The answer to a preflight; `None` for any other request. [`write`] adds the origin to it.
pub(super) fn preflight(cors: &Cors, request: &Parts) -> Option<Answer> {
    let asks = request.method == Method::OPTIONS && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let origin = request.headers.get(ORIGIN).filter(|_| asks)?;
    let mut headers = Vec::new();
    if allows(cors, origin) {
        headers.push((ACCESS_CONTROL_ALLOW_METHODS, cors.methods.clone()));
        headers.push((ACCESS_CONTROL_ALLOW_HEADERS, cors.headers.clone()));
        headers.push((ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age)));
    }
    Some(Answer::preflight(headers))
}

/// Writes who may read the response.
pub(super) fn write(cors: &Cors, request: &HeaderMap, response: &mut impl Fields) {
    for name in [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_EXPOSE_HEADERS] {
        response.remove(&name);
    }
    let origin = match cors.origins {
        Origins::Any => HeaderValue::from_static("*"),
        Origins::Listed(_) => {
            // A cache must not give the answer for one origin to another.
            let varies = |value: &HeaderValue| {
                let named =
                    |name: &[u8]| name.trim_ascii() == b"*" || name.trim_ascii().eq_ignore_ascii_case(b"origin");
                value.as_bytes().split(|byte| *byte == b',').any(named)
            };
            if !response.all().get_all(VARY).iter().any(varies) {
                response.add(&VARY, HeaderValue::from_static("Origin"));
            }
            match request.get(ORIGIN) {
                Some(origin) if allows(cors, origin) => origin.clone(),
                _ => return,
            }
        }
    };
    response.set(&ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if cors.credentials {
        response.set(&ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    if let Some(expose) = &cors.expose {
        response.set(&ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
    }
}

fn allows(cors: &Cors, origin: &HeaderValue) -> bool {
    origin.to_str().is_ok_and(|origin| cors.origins.allow(origin))
}
