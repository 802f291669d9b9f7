//! Whether a request shows what its object asks for: a route and a request flow in, an answer of our own flows out where it
//! does not. Asked by `decision` once a request is neither sent elsewhere nor answered as a preflight, so that nobody is asked
//! for a password over plain HTTP where the object redirects to https, and before a pod is chosen.

pub(crate) mod external;

use super::answer::Answer;
use super::context::RequestContext;
use crate::authentication::Verified;
use crate::limits::PASSWORD_BYTES;
use crate::metrics::Authenticated;
use crate::server::Shared;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use external::Asked;
use http::header::AUTHORIZATION;
use http::request::Parts;
use nearside_routing::policy::authentication::{Basic, Satisfy};
use nearside_routing::table::CompiledRoute;

/// The answer to a request that is not let in.
pub(super) async fn refuse(
    shared: &Shared,
    route: &CompiledRoute,
    request: &Asked<'_>,
    ctx: &mut RequestContext,
) -> Option<Answer> {
    let authentication = &route.policy.authentication;
    if authentication.refused {
        return Some(Answer::unguarded());
    }
    let either = authentication.satisfy == Satisfy::Any;
    if either && route.policy.access.lets_in(ctx.origin.client) {
        return None;
    }
    let by_password = match &authentication.basic {
        // In boxes, so that they take no room in requests that need neither.
        Some(basic) => Box::pin(refuse_basic(shared, route, basic, request.header, ctx)).await,
        None => None,
    };
    match (&authentication.external, &authentication.basic, by_password) {
        (None, _, answer) => answer,
        (Some(_), Some(_), None) if either => None,
        (Some(_), Some(_), Some(answer)) if !either => Some(answer),
        (Some(external), ..) => Box::pin(external::refuse(shared, route, external, request, ctx)).await,
    }
}

async fn refuse_basic(
    shared: &Shared,
    route: &CompiledRoute,
    basic: &Basic,
    header: &Parts,
    ctx: &mut RequestContext,
) -> Option<Answer> {
    let (verdict, answer) = match &route.credentials {
        None => (Authenticated::Unavailable, Some(Answer::credentials_missing())),
        Some(credentials) => match user_and_password(header) {
            None => (Authenticated::Refused, Some(Answer::unauthorized([basic.challenge.clone()]))),
            Some((user, password)) => {
                match shared.verifier().verify(&route.source.namespace, credentials, &user, &password).await {
                    Verified::Passed => {
                        ctx.user = Some(user.into());
                        (Authenticated::Passed, None)
                    }
                    Verified::Refused => {
                        (Authenticated::Refused, Some(Answer::unauthorized([basic.challenge.clone()])))
                    }
                    Verified::Busy => (Authenticated::Busy, Some(Answer::verification_busy())),
                }
            }
        },
    };
    shared.metrics().authenticated("basic", verdict);
    answer
}

/// User and password of a request (RFC 7617 §2). Nothing where it names none, or more than one pair.
fn user_and_password(header: &Parts) -> Option<(String, Vec<u8>)> {
    let mut fields = header.headers.get_all(AUTHORIZATION).iter();
    let field = fields.next().filter(|_| fields.next().is_none())?.as_bytes();
    let (scheme, rest) = field.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let pair = STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    let (user, password) = (&pair[..colon], &pair[colon + 1..]);
    if password.len() > PASSWORD_BYTES {
        return None;
    }
    Some((String::from_utf8(user.to_vec()).ok()?, password.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn read(fields: &[&str]) -> Option<(String, String)> {
        let request = fields.iter().fold(Request::get("/"), |request, field| request.header(AUTHORIZATION, *field));
        let (user, password) = user_and_password(&request.body(()).unwrap().into_parts().0)?;
        Some((user, String::from_utf8(password).unwrap()))
    }

    #[test]
    fn one_pair_is_read_and_anything_else_is_none() {
        let pair = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let some = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(read(&[&pair("ann:secret")]), some("ann", "secret"));
        assert_eq!(read(&[&pair("ann:a:b").replace("Basic ", "bAsIc   ")]), some("ann", "a:b"));
        assert_eq!(read(&[&pair("j\u{f6}rg:")]), some("j\u{f6}rg", ""));
        let long = pair(&format!("ann:{}", "x".repeat(PASSWORD_BYTES + 1)));
        let (one, bare) = (pair("ann:secret"), pair("ann"));
        for fields in [
            &[][..],
            &[""],
            &["Basic"],
            &["Basic "],
            &["Basic ?"],
            &["Basic YW5uOnNlY3JldA"],
            &["Bearer YW5uOnNlY3JldA=="],
            &["BasicYW5uOnNlY3JldA=="],
            &[&bare],
            &[&long],
            &[&one, &one],
        ] {
            assert_eq!(read(fields), None, "{fields:?}");
        }
    }
}
