//! What happens between a client and a pod, whichever way their bytes take: a request for which an endpoint is to be asked flows
//! in, step by step the endpoint, the header for it and that for the client flow out, and what a fault means. Called by `http` for
//! Pingora's pipeline, by `direct` and by `websocket`. One of the few modules that name Pingora types.

use super::HttpService;
use super::answer::POD_BUSY;
use super::context::RequestContext;
use super::fields::PodHeader;
use super::selection::{self, Choice};
use super::{
    affinity, alt_svc, body, custom_errors, downstream_header, failure, grpc, old_clients, peer, queue, relay,
    response_head, response_rewrite, retry, timeouts, upstream_header, websocket,
};
use crate::attempts::Failed;
use crate::connection::{Awaited, Connection};
use crate::limits::{INTERIM_ANSWERS, REPETITIONS};
use crate::metrics::{Exchanging, QueueEnd};
use http::header::{ALT_SVC, SERVER};
use http::request::Parts;
use http::{StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use std::time::{Duration, Instant};

impl HttpService {
    /// The node that is asked in the client's place, described, where one is.
    pub(super) fn relayed_peer(&self, session: &Session, ctx: &mut RequestContext) -> Option<HttpPeer> {
        let (Some(relay), Some(route)) = (&ctx.relay, &ctx.route) else { return None };
        let timeouts = timeouts::relayed(self.shared.timeouts(), &route.policy.timeouts, ctx.upgrade);
        ctx.timers.asked(Duration::ZERO);
        if let Some(trace) = &mut ctx.trace {
            trace.relay(relay.address, &mut ctx.random);
        }
        let header = session.req_header();
        let (grpc, h2) = (grpc::is_grpc(header), self.shared.config.tls.http2);
        Some(relay::peer(relay, header, ctx, grpc, h2, &timeouts))
    }

    /// Sees to it that the context has the endpoint that is asked next, and gives how long that may take.
    ///
    /// # Errors
    /// No endpoint is left, or none had room in time.
    pub(super) async fn next_target(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<peer::Timeouts> {
        if ctx.target.is_none() && ctx.waiting.is_none() && selection::choose_next(ctx) == Choice::Full {
            self.shared.metrics().queued(QueueEnd::Full);
        }
        let waited = match ctx.waiting.is_some() {
            // Rare, and not to take room in every request.
            true => Box::pin(self.wait_for_room(session, ctx)).await?,
            false => Duration::ZERO,
        };
        let Some(route) = &ctx.route else {
            return Error::e_explain(ErrorType::InternalError, "no route was chosen");
        };
        let Some(target) = &ctx.target else {
            return Error::e_explain(ErrorType::HTTPStatus(503), "no endpoint is left");
        };
        let timeouts = timeouts::of(self.shared.timeouts(), &route.policy.timeouts);
        let over_http2 = peer::is_only_http2(target, route, ctx.origin.scheme);
        let trailers = ctx.trailers.clone().filter(|_| !over_http2);
        // Behind the flow control of HTTP/2 nobody sees whether it is the pod that is slow; and what goes both ways goes that way.
        let body_rate =
            self.shared.config.edge.body_rate.filter(|_| !over_http2 && !grpc::is_grpc(session.req_header()));
        ctx.exchange =
            timeouts::exchange(self.shared.timeouts(), &route.policy, ctx.upgrade, ctx.complete, trailers, body_rate);
        ctx.connecting = Some(Instant::now());
        ctx.timers.asked(waited);
        if let (Some(trace), Some(target)) = (&mut ctx.trace, &ctx.target) {
            trace.ask(target, &mut ctx.random);
        }
        Ok(timeouts)
    }

    /// Waits until one of the endpoints of the context has room. Gives for how long.
    async fn wait_for_room(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<Duration> {
        let Some(waiting) = ctx.waiting.take() else { return Ok(Duration::ZERO) };
        let since = Instant::now();
        ctx.queued = true;
        let _counted = self.shared.metrics().waiting();
        let known = ctx.state.as_ref().zip(ctx.route.as_ref());
        let _by_route = known.and_then(|(state, route)| state.series.of(route)).map(|counts| counts.waits());
        let own = ctx.route.as_ref().and_then(|route| route.policy.timeouts.connect);
        let abort = self.shared.config.clients.abort_on_close;
        match queue::wait(session, waiting, own.unwrap_or_else(|| self.shared.timeouts().connect), abort).await {
            Ok(target) => {
                self.shared.metrics().queued(QueueEnd::Served);
                ctx.target = Some(match known {
                    Some((state, route)) => target.counted(&state.series, route),
                    None => target,
                });
                Ok(since.elapsed())
            }
            Err(end) => {
                self.shared.metrics().queued(end);
                if end == QueueEnd::ClientGone {
                    return Err(Error::new_down(ErrorType::ConnectionClosed));
                }
                ctx.reason = Some(POD_BUSY);
                Ok(Duration::ZERO)
            }
        }
    }

    /// Describes the connection to the endpoint of the context for Pingora.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn describe(
        &self,
        session: &Session,
        ctx: &RequestContext,
        timeouts: &peer::Timeouts,
    ) -> Result<HttpPeer> {
        let (Some(state), Some(route), Some(target)) = (&ctx.state, &ctx.route, &ctx.target) else {
            return Error::e_explain(ErrorType::InternalError, "no endpoint was chosen");
        };
        let request = peer::Request {
            upgrade: ctx.upgrade,
            grpc: grpc::is_grpc(session.req_header()),
            exchange: ctx.exchange.clone(),
            scheme: ctx.origin.scheme,
            http2: self.shared.config.tls.http2,
            client: route.policy.proxy_protocol.and(ctx.connection.as_deref()).map(Connection::addresses),
        };
        Ok(peer::peer(target, route, &state.destination_cas, &request, timeouts, selection::is_last(ctx)))
    }

    /// The endpoint of the context could not be connected to. The error says whether another one is to be asked.
    pub(super) fn not_connected(&self, mut error: Box<Error>, ctx: &mut RequestContext) -> Box<Error> {
        if ctx.relay.is_some() {
            error.set_retry(false);
        }
        if let Some(target) = &ctx.target {
            match failure::wants_local_port(&error) {
                true => self.shared.no_local_port(target),
                false => self.shared.connect_failed(target, &mut ctx.random, &error),
            }
            let allowed = retry::after_connect_failure(ctx);
            error.set_retry(selection::give_up(ctx, failure::to_connect(&error)) && allowed);
        }
        error
    }

    /// The exchange failed, on a connection that was used before or not. The error says whether the request is to be repeated.
    pub(super) fn failed(
        &self,
        session: &Session,
        mut error: Box<Error>,
        ctx: &mut RequestContext,
        reused: bool,
    ) -> Box<Error> {
        if ctx.replaced.is_some() || ctx.relay.is_some() {
            error.set_retry(false);
            return error;
        }
        // Only a pooled connection that was dead already, and only where the request may be repeated and can be.
        let repeatable = session.req_header().method.is_idempotent() && !session.as_ref().retry_buffer_truncated();
        if repeatable && ctx.repeated < REPETITIONS {
            error.retry.decide_reuse(reused);
            ctx.repeated += usize::from(error.retry());
        } else {
            error.set_retry(false);
        }
        let refused = std::mem::take(&mut ctx.refused);
        let before_response = session.response_written().is_none();
        if let Some(target) = &ctx.target
            && !error.retry()
            && before_response
        {
            let failure = failure::of(&error, ctx.exchange.as_deref());
            if failure.blames_pod() {
                self.shared.pod_failed(target, &mut ctx.random);
                target.exchanging().into_iter().for_each(Exchanging::failed);
            }
            if repeatable && retry::after(&failure, refused, ctx, self.shared.metrics().exceeded()) {
                error.set_retry(selection::give_up(ctx, Failed::Otherwise));
            }
        }
        error
    }

    /// Writes what the pod is told into the header for it.
    ///
    /// # Errors
    /// The header makes no request.
    pub(super) fn write_request(
        &self,
        client: &Parts,
        upstream: &mut impl PodHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        affinity::clean_request(upstream, ctx);
        upstream_header::write(&self.shared, client, upstream, ctx)
    }

    /// A part of the request's body is there, with `end` the last one.
    ///
    /// # Errors
    /// It is larger than the route allows.
    pub(super) fn note_request_body(&self, session: &Session, end: bool, ctx: &RequestContext) -> Result<()> {
        if end {
            if let Some(exchange) = &ctx.exchange {
                exchange.request_sent();
            }
            if let (Some(connection), Some(_), false) = (&ctx.connection, session.as_http1(), ctx.upgrade) {
                connection.header.set(Awaited::Nothing);
            }
        }
        match &ctx.route {
            Some(route) if !ctx.upgrade => body::check_size(session.body_bytes_read(), route.policy.body.largest),
            _ => Ok(()),
        }
    }

    /// Decides whether an answer is the client's.
    ///
    /// # Errors
    /// Another pod is to be asked, or the answer is to be replaced.
    pub(super) fn judge_response(
        &self,
        session: &Session,
        response: &ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        if response.status == StatusCode::SWITCHING_PROTOCOLS
            && !(ctx.upgrade && websocket::is_named(&response.headers))
        {
            let fault = "the pod switches to what was not asked for";
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, fault).into_up());
        }
        ctx.interim += usize::from(response.status.is_informational());
        let endless = (ctx.interim > INTERIM_ANSWERS).then_some("the pod gives one interim answer after another");
        if let Some(fault) = endless.or_else(|| response_head::fault(&response.headers)) {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, fault).into_up());
        }
        if let (Some(_), Some(relays)) = (&ctx.relay, self.shared.relays()) {
            return relay::check_length(relays, &response.headers);
        }
        let status = response.status.as_u16();
        let repeatable = session.req_header().method.is_idempotent() && !session.as_ref().retry_buffer_truncated();
        if repeatable
            && session.response_written().is_none()
            && retry::after_status(status, ctx, self.shared.metrics().exceeded())
        {
            ctx.refused = true;
            return Error::e_explain(ErrorType::HTTPStatus(status), "another pod is asked");
        }
        if custom_errors::replaces(status, ctx) {
            if let Some(target) = &ctx.target {
                target.health().succeeded();
            }
            ctx.timers.answered(Instant::now());
            ctx.replaced = Some(status);
            return Error::e_explain(ErrorType::HTTPStatus(status), "the answer is replaced");
        }
        Ok(())
    }

    /// Makes the header of an answer what the client gets.
    ///
    /// # Errors
    /// Pingora's, for more fields than a header can have.
    pub(super) fn write_response(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        response_head::normalise(response)?;
        if !response.status.is_informational() {
            old_clients::frame(session, response)?;
        }
        if ctx.relay.is_some() {
            // The other proxy has made it what it is to be.
            if !response.status.is_informational() {
                ctx.timers.answered(Instant::now());
                if self.shared.lifecycle().is_leaving() {
                    session.set_keepalive(None);
                }
                if !ctx.upgrade
                    && let Some(field) = alt_svc::of_response(&self.shared, session.req_header(), ctx)
                {
                    response.insert_header(ALT_SVC, field)?;
                }
            }
            return Ok(());
        }
        if !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS {
            if let Some(target) = &ctx.target {
                target.health().succeeded();
                if let (Some(exchanging), Some(since)) = (target.exchanging(), ctx.asked.take()) {
                    exchanging.responded(response.status.as_u16(), since.elapsed());
                }
            }
            ctx.timers.answered(Instant::now());
            ctx.captured =
                self.shared.access_log().captures().and_then(|captures| captures.of_response(&response.headers));
            if let Some(route) = &ctx.route {
                response_rewrite::write(&route.policy.response_rewrite, response);
            }
            affinity::mark_response(response, &session.req_header().method, ctx)?;
            if let Some(exchange) = &ctx.exchange {
                exchange.answered(response.status == StatusCode::SWITCHING_PROTOCOLS);
            }
        }
        if !response.status.is_informational() {
            // A proxy speaks its own version, not that of the pod (RFC 9110 §2.5).
            if response.version < Version::HTTP_11 {
                response.set_version(Version::HTTP_11);
            }
            if !response.headers.contains_key(SERVER) {
                response.insert_header(SERVER, OUR_NAME)?;
            }
            if self.shared.lifecycle().is_leaving() {
                session.set_keepalive(None);
            }
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS || !response.status.is_informational() {
            downstream_header::write(&self.shared, session.req_header(), response, ctx)?;
            if !ctx.upgrade
                && !response.headers.contains_key(ALT_SVC)
                && let Some(field) = alt_svc::of_response(&self.shared, session.req_header(), ctx)
            {
                response.insert_header(ALT_SVC, field)?;
            }
        }
        Ok(())
    }
}

/// `Server` where the pod sends none.
pub(super) const OUR_NAME: &str = "nearside";
