//! Answers that an object has replaced (`custom-http-errors`, `default-backend`): a status flows in, the answer of the object's
//! error Service flows out, if it names one and a pod of it is on this node. It is told of the request as ingress-nginx tells it.

use super::answer::Answer;
use super::context::RequestContext;
use super::subrequest::{Server, Subrequest};
use crate::limits::{ERROR_SERVICE_BYTES, ERROR_SERVICE_TIME};
use crate::server::Shared;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use nearside_routing::endpoints::{PortSelector, ServiceKey};
use nearside_routing::table::WeightedBackend;

/// Whether a pod's answer with this status is not the client's.
pub(super) fn replaces(status: u16, ctx: &RequestContext) -> bool {
    ctx.route.as_ref().is_some_and(|route| route.policy.errors.replaces(status))
}

/// What to ask, and whom, in place of an answer of our own; `None` where that stays.
pub(super) fn question(client: &Parts, answer: &Answer, ctx: &RequestContext) -> Option<(Server, Subrequest)> {
    let (state, route) = (ctx.state.as_ref()?, ctx.route.as_ref()?);
    let errors = &route.policy.errors;
    if !errors.replaces(answer.status) && !answer.is_without_endpoint() {
        return None;
    }
    let namespace = &route.source.namespace;
    let target = state.backends.of_service(&ServiceKey::new(namespace, errors.service.as_deref()?))?;
    let mut headers = HeaderMap::new();
    for name in [ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, USER_AGENT] {
        if let Some(value) = client.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let asked = ctx.target.as_ref().or(ctx.failed.as_ref()).map(|target| &*target.service);
    let backend = route.backends.iter().find(|backend| asked.is_none_or(|asked| *asked == backend.service));
    let text = |text: &str| HeaderValue::from_str(text).ok();
    let request_id = client.headers.get(X_REQUEST_ID).cloned();
    let fields = [
        (X_CODE, Some(HeaderValue::from(answer.status))),
        (X_FORMAT, client.headers.get(ACCEPT).cloned()),
        (X_ORIGINAL_URI, client.uri.path_and_query().and_then(|target| text(target.as_str()))),
        (X_NAMESPACE, text(namespace)),
        (X_INGRESS_NAME, text(&route.source.name)),
        (X_SERVICE_NAME, backend.and_then(|backend| text(&backend.service.name))),
        (X_SERVICE_PORT, backend.and_then(|backend| port(backend, ctx))),
        (X_REQUEST_ID, request_id.or_else(|| ctx.unique_id.as_deref().and_then(text)).or_else(|| text(&fresh_id(ctx)))),
        (X_FORWARDED_FOR, text(&ctx.origin.client.to_string())),
    ];
    headers.extend(fields.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let authority = text(&ctx.host).filter(|host| !host.is_empty())?;
    let server = Server { address: target.address, identity: target.identity(), authority, tls: None };
    let request = Subrequest {
        method: Method::GET,
        target: b"/".to_vec(),
        headers,
        body: Bytes::new(),
        time: ERROR_SERVICE_TIME,
        largest_answer: ERROR_SERVICE_BYTES,
    };
    Some((server, request))
}

/// Asks. `None` where there is no usable answer, so that the page of our own is sent.
pub(super) async fn ask(shared: &Shared, question: &(Server, Subrequest), answer: &Answer) -> Option<Answer> {
    match shared.subrequests().ask(&question.0, &question.1).await {
        Ok(theirs) if theirs.status.as_u16() >= 200 && theirs.status != StatusCode::NOT_MODIFIED => Some(Answer {
            status: theirs.status.as_u16(),
            headers: theirs.headers.into_iter().scan(None, with_name).collect(),
            body: theirs.body,
            close: answer.close,
            reason: answer.reason,
        }),
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(address = %question.0.address, %error, "the error Service does not answer");
            None
        }
    }
}

/// `HeaderMap` names only the first of several fields of one name.
fn with_name(
    last: &mut Option<HeaderName>,
    (name, value): (Option<HeaderName>, HeaderValue),
) -> Option<(HeaderName, HeaderValue)> {
    *last = name.or_else(|| last.take());
    Some((last.clone()?, value))
}

/// The number of the Service's port, or its name where the Service is unknown.
fn port(backend: &WeightedBackend, ctx: &RequestContext) -> Option<HeaderValue> {
    let endpoints = ctx.state.as_ref().and_then(|state| state.snapshot.endpoints.get(&backend.service));
    let meant = |name: &str| {
        let ports = endpoints.iter().flat_map(|endpoints| &endpoints.ports);
        ports.clone().find(|port| *port.name == *name).or_else(|| ports.into_iter().next())?.number
    };
    match &backend.port {
        PortSelector::ServicePort(number) => Some(HeaderValue::from(*number)),
        PortSelector::ServicePortName(name) | PortSelector::TargetPort(name) => {
            meant(name).map(HeaderValue::from).or_else(|| HeaderValue::from_str(name).ok())
        }
        PortSelector::All => meant("").map(HeaderValue::from),
    }
}

fn fresh_id(ctx: &RequestContext) -> String {
    let mut random = ctx.random.clone();
    (0..32).filter_map(|_| char::from_digit(u32::try_from(random.below(16)).unwrap_or_default(), 16)).collect()
}

const X_CODE: HeaderName = HeaderName::from_static("x-code");
const X_FORMAT: HeaderName = HeaderName::from_static("x-format");
const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const X_NAMESPACE: HeaderName = HeaderName::from_static("x-namespace");
const X_INGRESS_NAME: HeaderName = HeaderName::from_static("x-ingress-name");
const X_SERVICE_NAME: HeaderName = HeaderName::from_static("x-service-name");
const X_SERVICE_PORT: HeaderName = HeaderName::from_static("x-service-port");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
