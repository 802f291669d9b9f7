//! HTTP requests, phase by phase: Pingora calls, each phase asks pure code what to do and does it. The order of a request:
//! [`HttpService::early_request_filter`] (limits) → `request_filter` (route, or an answer of our own) → `upstream_peer`
//! (pod) → `upstream_request_filter` (forwarded headers) → `response_filter` → `logging`. What lies between a client and a pod
//! is in `phases`. One of the few modules that name Pingora types.

mod affinity;
mod alt_svc;
pub(crate) mod answer;
pub(crate) mod authentication;
mod body;
mod canary;
mod client_certificate;
mod client_guard;
mod compression;
pub(crate) mod context;
pub(crate) mod cookies;
mod cors;
mod custom_errors;
mod decision;
pub(crate) mod direct;
mod downstream_header;
mod exchange;
mod failure;
mod fields;
mod forwarded;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod grpc;
mod guard;
mod gzip;
mod hash_key;
mod header_actions;
mod header_case;
mod miss;
mod old_clients;
pub(crate) mod origin;
mod peer;
mod phases;
mod pod_stream;
mod public_health;
mod queue;
mod redirect;
pub(crate) mod relay;
mod request;
mod request_head;
mod response_head;
mod response_rewrite;
mod retry;
mod rewrite;
mod selection;
pub(crate) mod subrequest;
mod timeouts;
pub(crate) mod timers;
mod tunnel;
pub(crate) mod unique_id;
mod upstream_header;
mod websocket;

use crate::accept::client_stream::connection_of;
use crate::backends::Target;
use crate::connection::{Awaited, Stream};
use crate::server::Shared;
use crate::trace::RequestEnd;
use answer::Answer;
use async_trait::async_trait;
use bytes::Bytes;
use context::RequestContext;
use failure::Failure;
use gzip::GzipBuilder;
use http::header::{CONTENT_LENGTH, EXPECT, SERVER, UPGRADE};
use http::{HeaderMap, Method, Version};
use nearside_routing::Scheme;
use origin::Origin;
use phases::OUR_NAME;
use pingora::connectors::TransportConnector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use request::Refusal;
use std::borrow::Cow;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// The service that Pingora runs. Clones share everything.
#[derive(Clone)]
pub(crate) struct HttpService {
    shared: Arc<Shared>,
    /// For connections that Pingora's proxy does not make.
    connector: Arc<TransportConnector>,
    /// For plain exchanges with pods.
    direct: direct::Direct,
    compressing: Arc<Semaphore>,
}

impl HttpService {
    /// On top of the shared parts.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let connector = Arc::new(TransportConnector::new(None));
        Self { shared, connector, direct: direct::Direct::default(), compressing: gzip::room() }
    }

    /// Refuses what is too large, and what two parsers could read in two ways. The first word on a request, whichever way it takes.
    fn check_head(&self, session: &Session, ctx: &RequestContext) -> Result<(), Refusal> {
        request::too_large(session.req_header()).map_or(Ok(()), Err)?;
        if let (Some(http1), Some(connection)) = (session.as_http1(), &ctx.connection) {
            request_head::check(&connection.trailers.take_header(), &http1.get_headers_raw_bytes())?;
        }
        request::check(session.req_header())
    }

    /// A pod is connected, TLS included.
    fn connected(&self, reused: bool, ctx: &mut RequestContext) {
        if let Some(exchange) = &ctx.exchange {
            exchange.connected();
        }
        let now = Instant::now();
        ctx.asked = Some(now);
        if let Some(since) = ctx.connecting.take() {
            let took = now.saturating_duration_since(since);
            if !reused {
                self.shared.metrics().connected(took);
                if let Some(exchanging) = ctx.target.as_ref().and_then(Target::exchanging) {
                    exchanging.connected(took);
                }
            }
            ctx.timers.connected(if reused { Duration::ZERO } else { took }, now);
        }
    }

    async fn send(&self, session: &mut Session, answer: Answer, ctx: &mut RequestContext) -> Result<()> {
        ctx.reason = Some(answer.reason);
        if answer.is_without_endpoint()
            && session.req_header().version == Version::HTTP_2
            && let Some(connection) = &ctx.connection
        {
            // No field of HTTP/2 closes a connection, and a client that keeps it never asks DNS for another node.
            connection.parting.notify_one();
        }
        let question = custom_errors::question(session.req_header(), &answer, ctx);
        let replaced = match &question {
            Some(question) => custom_errors::ask(&self.shared, question, &answer).await,
            None => None,
        };
        let page = self.shared.config.error_pages.of(answer.status).filter(|_| replaced.is_none());
        let answer = match page {
            Some(page) => answer.with_page(&page),
            None => replaced.unwrap_or(answer),
        };
        ctx.status = Some(answer.status);
        let mut answer = if grpc::is_grpc(session.req_header()) { grpc::answer(answer) } else { answer };
        if answer.status == 431 && session.req_header().version == Version::HTTP_2 {
            // A page could be held up by a window that the client keeps shut, and what is too large be kept with it.
            answer.body = Bytes::new();
        }
        if answer.close || self.shared.lifecycle().is_leaving() || !body::may_be_dropped(session) {
            session.set_keepalive(None);
        }
        let mut header = ResponseHeader::build(answer.status, Some(8))?;
        for (name, value) in answer.headers {
            header.append_header(name, value)?;
        }
        header.insert_header(SERVER, OUR_NAME)?;
        // A gRPC client reads the end of the header as the end of the answer.
        if answer.status != 204 && !header.headers.contains_key("grpc-status") {
            header.set_content_length(answer.body.len())?;
        }
        downstream_header::write_own(&self.shared, session.req_header(), &mut header, ctx)?;
        let body = if session.req_header().method == Method::HEAD { Bytes::new() } else { answer.body };
        match session.as_downstream_mut() {
            // In one frame with the end of the stream, without which a gRPC client takes it for less than an answer.
            ServerSession::H2(stream) if body.is_empty() => stream.write_response_header(Box::new(header), true),
            _ => {
                session.write_response_header(Box::new(header), body.is_empty()).await?;
                if !body.is_empty() {
                    session.write_response_body(Some(body), true).await?;
                }
                Ok(())
            }
        }
    }
}

#[async_trait]
impl ProxyHttp for HttpService {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::new()
    }

    /// Only ours: Pingora's own choose media types by themselves.
    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        let types = &self.shared.config.clients.compressed;
        if !types.is_empty() {
            modules.add_module(Box::new(GzipBuilder::new(
                Arc::clone(types),
                Arc::clone(&self.compressing),
                self.shared.memory().clone(),
            )));
        }
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<()> {
        ctx.connection = connection_of(session.digest()).cloned();
        let head = self.check_head(session, ctx);
        if !websocket::may_upgrade(session.req_header()) {
            // Such as HTTP/2, which would carry requests past the rules of routes. Whoever asks for it is served without.
            session.req_header_mut().remove_header(&UPGRADE);
        }
        if session.req_header().version < Version::HTTP_11 {
            // RFC 9110 §10.1.1.
            session.req_header_mut().remove_header(&EXPECT);
        }
        if let Some(length) = request::plain_length(session.req_header()) {
            session.req_header_mut().insert_header(CONTENT_LENGTH, length)?;
        }
        if let Some(connection) = &ctx.connection {
            // What comes after a request that is complete with its header is the next one.
            let complete =
                session.as_http1().is_some() && !session.is_upgrade_req() && session.as_mut().is_body_empty();
            connection.header.set(if complete { Awaited::Nothing } else { Awaited::Other });
            ctx.origin = Origin::of(connection, &session.req_header().headers, &self.shared.config.trusted_proxies);
            ctx.timers.arrived = connection.arrival.take(session.req_header().version == Version::HTTP_2);
            if session.as_http1().is_some() && head.is_ok() {
                ctx.trailers = connection.trailers.begin(session.req_header());
            }
        }
        // A client that ends its half of the connection still wants the answer (RFC 9112 §9.6), unless the operator knows better.
        session.set_abort_on_close(self.shared.config.clients.abort_on_close);
        ctx.upgrade = session.is_upgrade_req();
        if websocket::is_asked(session.req_header()) {
            // Routes, limits and logs know it as what it is over HTTP/1.1.
            session.req_header_mut().set_method(Method::GET);
            (ctx.upgrade, ctx.websocket_h2) = (true, true);
        }
        let timeouts = self.shared.timeouts();
        if session.req_header().version == Version::HTTP_2 {
            ctx.stream = ctx.connection.as_ref().map(Stream::begin);
            // The socket of all streams cannot tell which of them has no window left.
            session.set_write_timeout(Some(timeouts.client_stall));
        }
        // On a tunnel the silence of either side alone means nothing; the pod's connection sees both.
        session.set_read_timeout((!ctx.upgrade).then_some(timeouts.client));
        if session.get_keepalive().is_some() {
            // Zero would mean forever.
            session.set_keepalive(Some(timeouts.keep_alive.as_secs().max(1)));
        }
        head.map_err(|refusal| {
            ctx.reason = Some(refusal.reason);
            Error::explain(ErrorType::HTTPStatus(refusal.status), refusal.reason)
        })
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<bool> {
        let answer = decision::decide(&self.shared, session.req_header(), session.req_header().raw_path(), ctx).await;
        if !ctx.route.as_ref().is_some_and(|route| route.policy.observability.no_traces) {
            ctx.trace = self.shared.tracer().begin(&session.req_header().headers, &mut ctx.random);
        }
        // What is rare or long is in a box of its own, so that it takes no room in every request.
        match answer {
            Some(answer) => {
                Box::pin(self.send(session, answer, ctx)).await?;
                Ok(true)
            }
            None if ctx.websocket_h2 => {
                ctx.complete = true;
                Box::pin(websocket::serve(self, session, ctx)).await?;
                Ok(true)
            }
            None => {
                let (patience, rate) = (self.shared.timeouts().client, self.shared.config.edge.body_rate);
                ctx.complete = ctx.upgrade || body::gather(session, patience, rate).await?;
                if ctx.complete
                    && !ctx.upgrade
                    && session.as_http1().is_some()
                    && let Some(connection) = &ctx.connection
                {
                    connection.header.set(Awaited::Nothing);
                }
                direct::serve(self, session, ctx).await
            }
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        _body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        self.note_request_body(session, end_of_stream, ctx)
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<Box<HttpPeer>> {
        if let Some(peer) = ctx.peer.take() {
            return Ok(peer);
        }
        if let Some(peer) = self.relayed_peer(session, ctx) {
            return Ok(Box::new(peer));
        }
        let timeouts = self.next_target(session, ctx).await?;
        Ok(Box::new(self.describe(session, ctx, &timeouts)?))
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: RawFd,
        digest: Option<&Digest>,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        if let Some(relay) = &mut ctx.relay {
            relay::connected(relay, digest)?;
        }
        self.connected(reused, ctx);
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut RequestContext,
        error: Box<Error>,
    ) -> Box<Error> {
        self.not_connected(error, ctx)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut RequestContext,
        client_reused: bool,
    ) -> Box<Error> {
        self.failed(session, error, ctx, client_reused)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        if ctx.relay.is_some() {
            return relay::write_request(&self.shared, upstream, ctx);
        }
        self.write_request(session.req_header(), upstream, ctx)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        self.judge_response(session, response, ctx)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        self.write_response(session, response, ctx)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut RequestContext,
    ) -> Result<Option<Duration>> {
        match (&mut ctx.relay, self.shared.relays()) {
            (Some(relay), Some(relays)) => relay::pass(relays, relay, body.as_ref().map_or(0, Bytes::len)),
            _ => Ok(None),
        }
    }

    /// Only pods that speak HTTP/2 have their trailers here; HTTP/2 clients get them as they are.
    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut RequestContext,
    ) -> Result<Option<Bytes>> {
        if let Some(carried) = &ctx.trailers {
            carried.note_response(trailers);
        }
        Ok(None)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut RequestContext) -> FailToProxy {
        let failure = match ctx.replaced {
            Some(status) => Failure { status: Some(status), reason: "custom_error" },
            None => failure::of(error, ctx.exchange.as_deref()),
        };
        if ctx.relay.is_some() {
            ctx.reason = None;
        }
        let reason = *ctx.reason.get_or_insert(failure.reason);
        if let Some(status) = failure.status
            && session.response_written().is_none_or(|written| written.status.is_informational())
        {
            let safe = session.req_header().method.is_safe();
            // What another node was asked and has not answered, only a request that changes nothing may ask again.
            let unrelayed = ctx.relay.as_ref().is_some_and(|relay| !relay.asked || safe);
            let elsewhere = match unrelayed || ctx.failed.is_some() && ctx.target.is_none() {
                true => decision::unreachable(&self.shared, session.req_header(), session.req_header().raw_path(), ctx),
                false => None,
            };
            let answer = elsewhere.unwrap_or_else(|| Answer::failure(status, reason));
            // The client may be gone, and then nobody waits for the page.
            drop(self.send(session, answer, ctx).await);
        }
        FailToProxy { error_code: failure.status.unwrap_or_default(), can_reuse_downstream: false }
    }

    /// The access log says it.
    fn suppress_error_log(&self, _session: &Session, _ctx: &RequestContext, _error: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut RequestContext) {
        if ctx.handed_over {
            return;
        }
        if let Some(connection) = &ctx.connection
            && session.req_header().version != Version::HTTP_2
        {
            // What is still to come may be the rest of a body; the next request is awaited when that is read.
            connection.trailers.end();
            connection.arrival.next();
        }
        if let Some(error) = error {
            ctx.reason.get_or_insert_with(|| failure::of(error, ctx.exchange.as_deref()).reason);
        }
        self.shared.metrics().exceeded().ended(ctx.reason);
        if ctx.reason == Some(public_health::PROBE) {
            // It says nothing of any route, and comes every second from every load balancer.
            return;
        }
        let written = session.response_written().map_or(0, |response| response.status.as_u16());
        let status = ctx.status.filter(|_| written != 0).unwrap_or(written);
        let sent = session.body_bytes_sent() as u64 + ctx.spliced;
        let received = session.body_bytes_read() as u64 + ctx.spliced_up;
        let header = session.req_header();
        match (&ctx.relay, self.shared.relays()) {
            (Some(relay), _) => self.shared.metrics().relayed(relay.received),
            (None, Some(relays)) => relays.answered(),
            (None, None) => {}
        }
        self.shared.metrics().request(&crate::metrics::RequestSeen {
            route: ctx
                .state
                .as_ref()
                .zip(ctx.route.as_ref())
                .and_then(|(state, route)| state.series.of(route))
                .map(Arc::as_ref),
            scheme: ctx.connection.as_ref().map_or(Scheme::Http, |connection| connection.scheme),
            target: ctx.target.as_ref(),
            method: &header.method,
            status,
            received,
            sent,
            duration: ctx.started.elapsed(),
        });
        let tls = session.digest().and_then(|digest| digest.ssl_digest.as_deref());
        self.shared.access_log().request(&crate::access_log::RequestLine {
            header,
            ctx,
            status,
            received,
            sent,
            tls: tls.map(|tls| (Cow::Borrowed(&*tls.version), Cow::Borrowed(&*tls.cipher))),
            counts: self.shared.counts(
                ctx.connection.as_deref(),
                ctx.state.as_deref(),
                ctx.route.as_deref(),
                ctx.target.as_ref(),
            ),
        });
        if let Some(trace) = ctx.trace.take() {
            let end = RequestEnd {
                header,
                host: &ctx.host,
                connection: ctx.connection.as_deref(),
                origin: &ctx.origin,
                route: ctx.route.as_deref(),
                status,
                answered: ctx.timers.is_answered(),
                reason: ctx.reason,
                duration: ctx.started.elapsed(),
            };
            self.shared.tracer().finish(*trace, &end);
        }
    }
}
