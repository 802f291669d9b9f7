//! Authentication by a service: a request flows in, the service is asked about it with a request of the proxy's own, and its
//! word flows out: an answer for the client, or fields for the pod. Without a word of it nobody is let in.

use super::super::answer::Answer;
use super::super::context::RequestContext;
use super::super::fields::{Fields, dashed};
use super::super::forwarded::remove_spoofed;
use super::super::hash_key;
use super::super::redirect::expand;
use super::super::request::RequestTarget;
use super::super::subrequest::{Server, ServerTls, Subrequest, SubrequestError, Subresponse, without_connection};
use crate::limits::{EXTERNAL_BODY, EXTERNAL_FIELDS, EXTERNAL_TIME};
use crate::metrics::Authenticated;
use crate::server::Shared;
use crate::state::State;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, SET_COOKIE, VARY, WWW_AUTHENTICATE};
use http::request::Parts;
use http::uri::Uri;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use nearside_routing::Scheme;
use nearside_routing::policy::authentication::{Cache, External};
use nearside_routing::table::CompiledRoute;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a service said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    status: StatusCode,
    /// The fields that the pod gets.
    to_pod: Vec<(HeaderName, HeaderValue)>,
    /// `WWW-Authenticate`.
    challenges: Vec<HeaderValue>,
    /// `Set-Cookie`.
    cookies: Vec<HeaderValue>,
}

/// Why a service said nothing that counts.
#[derive(Debug, thiserror::Error)]
enum Silence {
    #[error("the URL cannot be used for this request")]
    Url,
    #[error("the name has no address that may be asked")]
    Address,
    #[error("the request comes from a proxy that asks about another one")]
    Loop,
    #[error(transparent)]
    Request(#[from] SubrequestError),
    #[error("the answer has the status {0}, which decides nothing")]
    Status(StatusCode),
    #[error("the fields of the answer are too large")]
    Fields,
}

/// The answer to a request that the service does not let in.
pub(super) async fn refuse(
    shared: &Shared,
    route: &CompiledRoute,
    external: &External,
    request: &Asked<'_>,
    ctx: &mut RequestContext,
) -> Option<Answer> {
    match word(shared, route, external, request, ctx).await {
        Ok(word) if word.status.is_success() => {
            shared.metrics().authenticated("external", Authenticated::Passed);
            ctx.from_service = word.to_pod;
            ctx.cookies_of_service = word.cookies;
            None
        }
        Ok(word) => {
            shared.metrics().authenticated("external", Authenticated::Refused);
            let signin = external.signin.as_ref().filter(|_| word.status == StatusCode::UNAUTHORIZED);
            let mut answer = match signin.map(|place| expand(place, request.scheme, request.target)) {
                Some(place) => Answer::stated_redirect(302, HeaderValue::from_bytes(&place).ok()),
                None if word.status == StatusCode::UNAUTHORIZED => Answer::unauthorized(word.challenges),
                None => Answer::forbidden(),
            };
            answer.headers.extend(word.cookies.into_iter().map(|cookie| (SET_COOKIE, cookie)));
            Some(answer)
        }
        Err(silence) => {
            shared.metrics().authenticated("external", Authenticated::Unavailable);
            tracing::debug!(object = %route.source, error = %silence, "the service that decides about requests gives no word");
            Some(Answer::no_word())
        }
    }
}

/// What of a request the service is told.
#[derive(Clone, Copy)]
pub(in super::super) struct Asked<'r> {
    pub(in super::super) header: &'r Parts,
    pub(in super::super) target: &'r RequestTarget<'r>,
    pub(in super::super) scheme: Scheme,
}

async fn word(
    shared: &Shared,
    route: &CompiledRoute,
    external: &External,
    request: &Asked<'_>,
    ctx: &RequestContext,
) -> Result<Word, Silence> {
    if request.header.headers.contains_key(ASKING) {
        return Err(Silence::Loop);
    }
    let client = ctx.origin.client;
    let url = expand(&external.url, request.scheme, request.target);
    let tag = external.cache.as_ref().map(|cache| {
        let key = hash_key::value(&cache.key, request.header, request.target, client);
        let object = route.source.to_string();
        shared.verifier().digest(&[object.as_bytes(), external.method.as_str().as_bytes(), &url, &key])
    });
    if let Some(known) = tag.and_then(|tag| shared.words().get(&tag, Instant::now())) {
        return Ok(Word::clone(&known));
    }
    let uri = Uri::try_from(url.as_slice()).map_err(|_| Silence::Url)?;
    let state = ctx.state.as_ref().ok_or(Silence::Url)?;
    let server = server(shared, state, &uri).await?;
    let asked = Subrequest {
        method: external.method.clone(),
        target: uri.path_and_query().map_or_else(|| b"/".to_vec(), |target| target.as_str().as_bytes().to_vec()),
        headers: fields(external, request, client),
        body: Bytes::new(),
        time: external.timeout.unwrap_or(EXTERNAL_TIME),
        largest_answer: EXTERNAL_BODY,
    };
    let answer = shared.subrequests().ask(&server, &asked).await?;
    let word = read(external, &answer)?;
    if let (Some(tag), Some(cache)) = (tag, &external.cache)
        && let Some(time) = remembered(cache, &answer)
    {
        shared.words().put(tag, Instant::now() + time, Arc::new(word.clone()));
    }
    Ok(word)
}

/// Who is asked: a server at an address that a pod could have, or at a port of this very proxy, where the service may be.
async fn server(shared: &Shared, state: &State, uri: &Uri) -> Result<Server, Silence> {
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(Silence::Url)?;
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(Silence::Url),
    };
    let port = match (authority.port_u16(), tls) {
        (Some(port), _) => port,
        (None, _) if authority.port().is_some() => return Err(Silence::Url),
        (None, true) => 443,
        (None, false) => 80,
    };
    let host = Some(authority.host()).filter(|host| !host.is_empty()).ok_or(Silence::Url)?;
    let tag = shared.verifier().digest(&[host.as_bytes()]);
    let config = &shared.config;
    let node = state.snapshot.nodes.get(&config.node);
    let own: Vec<IpAddr> = node
        .iter()
        .flat_map(|node| &node.addresses)
        .filter_map(|entry| entry.address.parse().ok())
        .filter(|_| !config.http.iter().chain(&config.https).any(|listener| listener.address.port() == port))
        .collect();
    let resolved = shared.resolver().resolve(host, tag).await;
    let allowed = resolved.iter().find(|address| config.addresses.refusal(**address, &own).is_none());
    let address = SocketAddr::new(*allowed.ok_or(Silence::Address)?, port);
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Server {
        address,
        identity: 0,
        authority: HeaderValue::from_str(authority.as_str()).map_err(|_| Silence::Url)?,
        tls: tls.then(|| ServerTls { name, ca: Some(state.destination_cas.of_services()) }),
    })
}

/// The client's fields and those by which ingress-nginx and others tell a service what is asked for.
fn fields(external: &External, request: &Asked<'_>, client: IpAddr) -> HeaderMap {
    // What the client says of its own connection must not take away what the service is told.
    let mut fields = without_connection(&request.header.headers);
    remove_spoofed(&mut fields);
    let target = request.target;
    let uri = target.path_and_query();
    let scheme = request.scheme.as_str().as_bytes();
    let host = match target.port {
        Some(port) => format!("{}:{port}", target.host),
        None => target.host.to_string(),
    };
    let url = [scheme, b"://", host.as_bytes(), &uri].concat();
    let method = request.header.method.as_str().as_bytes();
    let client = client.to_string();
    let back = external.request_redirect.as_ref().map(|place| expand(place, request.scheme, target));
    for (name, value) in [
        ("x-original-url", &url[..]),
        ("x-original-method", method),
        ("x-original-uri", &uri),
        ("x-auth-request-redirect", back.as_deref().unwrap_or(&uri)),
        ("x-real-ip", client.as_bytes()),
        ("x-forwarded-for", client.as_bytes()),
        ("x-forwarded-proto", scheme),
        ("x-forwarded-host", host.as_bytes()),
        ("x-forwarded-method", method),
        ("x-forwarded-uri", &uri),
        ("x-scheme", scheme),
        ("x-sent-from", b"nearside"),
        (ASKING, b"1"),
    ] {
        let name = HeaderName::from_static(name);
        match HeaderValue::from_bytes(value) {
            Ok(value) => fields.set(&name, value),
            // Nothing of the client's own may stand in its place.
            Err(_) => Fields::remove(&mut fields, &name),
        };
    }
    fields
}

fn read(external: &External, answer: &Subresponse) -> Result<Word, Silence> {
    let decides =
        answer.status.is_success() || matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if !decides {
        return Err(Silence::Status(answer.status));
    }
    let all = |name: &HeaderName| answer.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
    let of_name = |name: &HeaderName| all(name).into_iter().map(move |value| (name.clone(), value)).collect::<Vec<_>>();
    let word = Word {
        status: answer.status,
        to_pod: external.response_headers.iter().flat_map(of_name).collect(),
        challenges: all(&WWW_AUTHENTICATE),
        cookies: all(&SET_COOKIE),
    };
    let values = word.to_pod.iter().map(|(_, value)| value).chain(&word.challenges).chain(&word.cookies);
    if values.map(HeaderValue::len).sum::<usize>() > EXTERNAL_FIELDS {
        return Err(Silence::Fields);
    }
    Ok(word)
}

/// For how long an answer counts for requests with the same key: not where it is for one client, as its cookies are, or where
/// it says so itself (RFC 9111 §3).
fn remembered(cache: &Cache, answer: &Subresponse) -> Option<Duration> {
    let headers = &answer.headers;
    let forbids = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or("no-store").to_ascii_lowercase();
        ["no-store", "no-cache", "private"].iter().any(|word| value.contains(word))
    };
    if headers.contains_key(SET_COOKIE)
        || headers.contains_key(VARY)
        || headers.get_all(CACHE_CONTROL).iter().any(forbids)
    {
        return None;
    }
    cache.times.iter().find(|(status, _)| *status == answer.status.as_u16()).map(|(_, time)| *time)
}

/// Replaces the client's fields that only the service may give, however they are written, by those that it gave.
pub(in super::super) fn write_to_pod(
    external: &External,
    given: &[(HeaderName, HeaderValue)],
    header: &mut impl Fields,
) {
    let same = |plain: Option<&str>, known: &HeaderName| plain == Some(known.as_str());
    let forged = |name: &&HeaderName| {
        let plain = dashed(name);
        external.response_headers.iter().any(|known| *name == known || same(plain.as_deref(), known))
    };
    let forged: Vec<HeaderName> = header.all().keys().filter(forged).cloned().collect();
    forged.iter().for_each(|name| header.remove(name));
    for (name, value) in given {
        header.add(name, value.clone());
    }
}

/// Sets the cookies of the service with a response: with errors only where the object says so, as nginx has it.
pub(in super::super) fn write_cookies(
    external: &External,
    cookies: &[HeaderValue],
    status: StatusCode,
    header: &mut impl Fields,
) {
    if external.always_set_cookie || WITH_COOKIES.contains(&status.as_u16()) {
        cookies.iter().for_each(|cookie| header.add(&SET_COOKIE, cookie.clone()));
    }
}

/// Tells that a request is one by which a proxy asks: who guards the service by asking the service would ask for ever.
const ASKING: &str = "x-nearside-asking";
/// As `add_header` of nginx.
const WITH_COOKIES: [u16; 10] = [200, 201, 204, 206, 301, 302, 303, 304, 307, 308];

#[cfg(test)]
mod tests {
    use super::*;
    use nearside_routing::policy::balance::HashKey;

    fn answer(status: u16, fields: &[(&'static str, &'static str)]) -> Subresponse {
        let headers =
            fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Subresponse { status: StatusCode::from_u16(status).unwrap(), headers: headers.collect(), body: Bytes::new() }
    }

    #[test]
    fn an_answer_is_remembered_where_it_may_be() {
        let minute = Duration::from_secs(60);
        let cache = Cache { key: HashKey::parse("$host").unwrap(), times: [(200, minute)].into() };
        for (status, fields, expected) in [
            (200, &[][..], Some(minute)),
            (200, &[("cache-control", "max-age=9")], Some(minute)),
            (401, &[], None),
            (200, &[("set-cookie", "a=b")], None),
            (200, &[("vary", "Cookie")], None),
            (200, &[("cache-control", "max-age=9, No-Store")], None),
            (200, &[("cache-control", "private")], None),
        ] {
            assert_eq!(remembered(&cache, &answer(status, fields)), expected, "{status} {fields:?}");
        }
    }
}
