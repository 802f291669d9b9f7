//! The trace of one request while it is served: the phases of `http` say when a pod is asked, context for that pod flows
//! out, and at the end the finished spans: one of the request, and one for each pod or other proxy that was asked. Pure but for
//! clocks.

use super::context::{Incoming, SpanId, TraceId, written};
use super::sampling::Sampling;
use super::span::{Kind, Span, Value};
use crate::backends::Target;
use crate::balance::Random;
use crate::connection::Connection;
use crate::http::origin::Origin;
use crate::limits::ACCESS_LOG_FIELD;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderValue, Method, Version};
use nearside_routing::Scheme;
use nearside_routing::endpoints::ServiceKey;
use nearside_routing::table::CompiledRoute;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The trace of a request.
#[derive(Debug)]
pub(crate) struct RequestTrace {
    trace: TraceId,
    parent: Option<SpanId>,
    state: Option<HeaderValue>,
    sampled: bool,
    span: SpanId,
    attempts: Vec<Attempt>,
}

/// A pod or another proxy that was asked.
#[derive(Debug)]
struct Attempt {
    span: SpanId,
    begun: Instant,
    ended: Option<Instant>,
    address: SocketAddr,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    Pod {
        name: Arc<str>,
        service: Arc<ServiceKey>,
    },
    /// The proxy of another node, which makes spans of its own below this one.
    Proxy,
}

/// A request that is over.
#[derive(Clone, Copy)]
pub(crate) struct RequestEnd<'r> {
    pub(crate) header: &'r Parts,
    pub(crate) host: &'r str,
    pub(crate) connection: Option<&'r Connection>,
    /// Who is behind the connection.
    pub(crate) origin: &'r Origin,
    pub(crate) route: Option<&'r CompiledRoute>,
    /// 0 where no response was begun.
    pub(crate) status: u16,
    /// Whether the status is that of the pod that was asked last.
    pub(crate) answered: bool,
    /// Why something else happened than the answer of a pod.
    pub(crate) reason: Option<&'static str>,
    pub(crate) duration: Duration,
}

impl RequestTrace {
    pub(super) fn new(incoming: Option<Incoming>, sampling: Sampling, random: &mut Random) -> Self {
        let trace = incoming.as_ref().map_or_else(|| TraceId::new(random), |incoming| incoming.trace);
        Self {
            trace,
            sampled: sampling.takes(trace, incoming.as_ref()),
            parent: incoming.as_ref().map(|incoming| incoming.parent),
            state: incoming.and_then(|incoming| incoming.state),
            span: SpanId::new(random),
            attempts: Vec::new(),
        }
    }

    /// The id, for the access log.
    pub(crate) fn id(&self) -> String {
        self.trace.to_string()
    }

    /// A pod is asked; one that was asked before has failed.
    pub(crate) fn ask(&mut self, target: &Target, random: &mut Random) {
        let asked = Asked::Pod { name: Arc::clone(&target.pod), service: Arc::clone(&target.service) };
        self.attempt(target.address, asked, random);
    }

    /// The proxy of another node is asked in the place of a pod.
    pub(crate) fn relay(&mut self, address: SocketAddr, random: &mut Random) {
        self.attempt(address, Asked::Proxy, random);
    }

    fn attempt(&mut self, address: SocketAddr, asked: Asked, random: &mut Random) {
        let now = Instant::now();
        if let Some(last) = self.attempts.last_mut() {
            last.ended = Some(now);
        }
        self.attempts.push(Attempt { span: SpanId::new(random), begun: now, ended: None, address, asked });
    }

    /// `traceparent` for whoever is asked.
    pub(crate) fn parent_for_asked(&self) -> HeaderValue {
        let span = self.attempts.last().map_or(self.span, |attempt| attempt.span);
        written(self.trace, span, self.sampled)
    }

    /// `tracestate` for whoever is asked.
    pub(crate) fn state_for_asked(&self) -> Option<&HeaderValue> {
        self.state.as_ref()
    }

    /// The finished spans; none where the trace is not recorded.
    pub(super) fn into_spans(self, end: &RequestEnd<'_>) -> Vec<Span> {
        if !self.sampled {
            return Vec::new();
        }
        let (now, ended) = (Instant::now(), SystemTime::now());
        let at = |instant: Instant| {
            ended.checked_sub(now.saturating_duration_since(instant)).unwrap_or(SystemTime::UNIX_EPOCH)
        };
        let count = self.attempts.len();
        let asked = self.attempts.iter().enumerate().map(|(number, attempt)| Span {
            name: method(&end.header.method).0.to_owned(),
            kind: Kind::Client,
            id: attempt.span,
            parent: Some(self.span),
            begun: at(attempt.begun),
            ended: at(attempt.ended.unwrap_or(now)),
            attributes: of_asked(attempt, number, end, number + 1 == count),
            failed: attempt.ended.is_some() || !end.answered || end.status >= 400,
            ..self.span(ended)
        });
        let request = Span {
            name: name(end),
            kind: Kind::Server,
            id: self.span,
            parent: self.parent,
            begun: ended.checked_sub(end.duration).unwrap_or(SystemTime::UNIX_EPOCH),
            ended,
            attributes: of_request(end),
            failed: end.status == 0 || end.status >= 500,
            ..self.span(ended)
        };
        asked.chain([request]).collect()
    }

    /// What all spans of the request share.
    fn span(&self, time: SystemTime) -> Span {
        let state = self.state.as_ref().and_then(|state| state.to_str().ok()).unwrap_or_default();
        Span {
            trace: self.trace,
            id: self.span,
            parent: None,
            state: state.to_owned(),
            name: String::new(),
            kind: Kind::Server,
            begun: time,
            ended: time,
            attributes: Vec::new(),
            failed: false,
        }
    }
}

/// Method and rule: few different names, whatever clients ask for.
fn name(end: &RequestEnd<'_>) -> String {
    let method = if method(&end.header.method).1 { end.header.method.as_str() } else { "HTTP" };
    match end.route {
        Some(route) => format!("{method} {}", route.path),
        None => method.to_owned(),
    }
}

/// The method as the conventions write it, and whether it is a known one.
fn method(method: &Method) -> (&str, bool) {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::PATCH,
    ];
    if known.contains(method) { (method.as_str(), true) } else { ("_OTHER", false) }
}

fn of_request(end: &RequestEnd<'_>) -> Vec<(&'static str, Value)> {
    let RequestEnd { header, connection, route, .. } = end;
    let mut all = of_method(end);
    all.push(("url.path", cut(header.uri.path()).into()));
    all.push(("url.scheme", scheme(end).into()));
    if !end.host.is_empty() {
        all.push(("server.address", cut(end.host).into()));
    }
    if let Some(connection) = connection {
        all.push(("server.port", end.origin.port.into()));
        all.push(("network.peer.address", connection.client.ip().to_string().into()));
        all.push(("network.peer.port", connection.client.port().into()));
        all.push(("client.address", end.origin.client.to_string().into()));
    }
    let version = match header.version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    all.push(("network.protocol.version", version.into()));
    if let Some(agent) = header.headers.get(USER_AGENT) {
        all.push(("user_agent.original", cut(&String::from_utf8_lossy(agent.as_bytes())).into()));
    }
    if let Some(route) = route {
        all.push(("http.route", route.path.to_string().into()));
        all.push(("k8s.namespace.name", (*route.source.namespace).into()));
        all.push(("nearside.route", route.source.to_string().into()));
    }
    if end.status > 0 {
        all.push(("http.response.status_code", end.status.into()));
    }
    let status = || Some(end.status.to_string()).filter(|_| end.status >= 500);
    if let Some(error) = end.reason.map(str::to_owned).filter(|_| end.status == 0 || end.status >= 500).or_else(status)
    {
        all.push(("error.type", error.into()));
    }
    all
}

fn of_asked(attempt: &Attempt, number: usize, end: &RequestEnd<'_>, last: bool) -> Vec<(&'static str, Value)> {
    let mut all = of_method(end);
    all.push(("server.address", attempt.address.ip().to_string().into()));
    all.push(("server.port", attempt.address.port().into()));
    match &attempt.asked {
        Asked::Pod { name, service } => {
            all.push(("k8s.namespace.name", (*service.namespace).into()));
            all.push(("k8s.service.name", (*service.name).into()));
            if !name.is_empty() {
                all.push(("k8s.pod.name", (**name).into()));
            }
        }
        Asked::Proxy => all.push(("nearside.relayed", "true".into())),
    }
    if number > 0 {
        all.push(("http.request.resend_count", Value::Number(i64::try_from(number).unwrap_or(i64::MAX))));
    }
    if last && end.answered {
        all.push(("http.response.status_code", end.status.into()));
        if end.status >= 400 {
            all.push(("error.type", end.status.to_string().into()));
        }
    } else {
        all.push(("error.type", end.reason.filter(|_| last).unwrap_or("_OTHER").into()));
    }
    all
}

fn of_method(end: &RequestEnd<'_>) -> Vec<(&'static str, Value)> {
    let (name, known) = method(&end.header.method);
    let mut all = vec![("http.request.method", name.into())];
    if !known {
        all.push(("http.request.method_original", cut(end.header.method.as_str()).into()));
    }
    all
}

fn scheme(end: &RequestEnd<'_>) -> &'static str {
    match end.origin.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    }
}

/// What a client chose, at a bounded length.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(ACCESS_LOG_FIELD)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn an_unsampled_trace_is_passed_on_and_not_recorded() {
        let mut random = Random::seeded(3);
        let incoming = Incoming { trace: TraceId(7), parent: SpanId(8), sampled: false, state: None };
        let trace = RequestTrace::new(Some(incoming), Sampling::of(1.0).unwrap(), &mut random);
        let field = trace.parent_for_asked();
        let text = field.to_str().unwrap();
        assert!(text.starts_with(&format!("00-{:032x}-", 7)) && text.ends_with("-00"), "{text}");
        assert!(!text.contains(&format!("{:016x}-", 8)), "a span of its own: {text}");
        assert!(trace.into_spans(&end(&header("GET", "/"))).is_empty());
    }

    #[test]
    fn a_span_shows_no_query_and_no_method_that_a_client_made_up() {
        let mut random = Random::seeded(3);
        let trace = RequestTrace::new(None, Sampling::of(1.0).unwrap(), &mut random);
        let spans = trace.into_spans(&end(&header("MADE-UP", "/a?secret=1")));
        let [span] = &spans[..] else { panic!("{spans:?}") };
        let written = format!("{span:?}");
        assert!(span.name == "HTTP" && !written.contains("secret"), "{written}");
        assert!(span.attributes.contains(&("http.request.method", "_OTHER".into())), "{written}");
        assert!(span.attributes.contains(&("url.path", "/a".into())), "{written}");
        assert!(span.attributes.contains(&("error.type", "no_endpoint".into())) && span.failed, "{written}");
    }

    fn header(method: &str, target: &str) -> Parts {
        Request::builder().method(method).uri(target).body(()).unwrap().into_parts().0
    }

    fn end(header: &Parts) -> RequestEnd<'_> {
        RequestEnd {
            header,
            host: "a.example.com",
            connection: None,
            origin: &Origin::UNKNOWN,
            route: None,
            status: 503,
            answered: false,
            reason: Some("no_endpoint"),
            duration: Duration::from_millis(5),
        }
    }
}
