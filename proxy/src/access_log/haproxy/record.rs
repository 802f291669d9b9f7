//! What HAProxy's variables are taken from: the end of a request or of a passed-through connection flows in, one record
//! with the names that an OpenShift router gives things flows out.

use super::super::termination::{Persistence, Phase, letters};
use super::super::{ConnectionLine, Counts, RequestLine};
use crate::access_log::capture::Captures;
use crate::backends::Target;
use crate::connection::{Arrived, Connection};
use crate::http::cookies;
use crate::http::timers::Steps;
use http::{Method, Version};
use nearside_routing::Scheme;
use nearside_routing::table::{CompiledRoute, Termination};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

/// One request or connection that is over.
#[derive(Debug)]
pub(in crate::access_log) struct Record<'l> {
    /// The node.
    pub(super) host: &'l str,
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) accepted: SystemTime,
    pub(super) begun: SystemTime,
    pub(super) frontend: &'static str,
    pub(super) tls: Option<(Cow<'l, str>, Cow<'l, str>)>,
    pub(super) server_name: &'l str,
    pub(super) backend: String,
    pub(super) server: String,
    pub(super) server_address: Option<SocketAddr>,
    pub(super) arrived: Arrived,
    pub(super) steps: Steps,
    /// From the first byte of the request, or from the accept of a connection.
    pub(super) active: Duration,
    pub(super) status: u16,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) termination: [u8; 4],
    pub(super) counts: Counts,
    pub(super) retries: usize,
    pub(super) request: Option<RequestParts<'l>>,
    pub(super) request_cookie: Option<&'l [u8]>,
    pub(super) response_cookie: Option<&'l [u8]>,
    /// As many as are captured.
    pub(super) request_fields: Vec<Option<&'l [u8]>>,
    pub(super) response_fields: Vec<Option<&'l [u8]>>,
    pub(super) unique_id: &'l str,
}

/// The request line.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestParts<'l> {
    pub(super) method: &'l Method,
    pub(super) path: &'l str,
    pub(super) query: Option<&'l str>,
    pub(super) version: Version,
}

impl<'l> Record<'l> {
    /// Of a request.
    pub(in crate::access_log) fn request(line: &'l RequestLine<'_>, captures: &Captures, host: &'l str) -> Self {
        let RequestLine { header, ctx, .. } = line;
        let connection = ctx.connection.as_deref();
        let now = Instant::now();
        let arrived = ctx.timers.arrived;
        let active = now.saturating_duration_since(ctx.started) + arrived.header;
        let target = ctx.target.as_ref().or(ctx.failed.as_ref());
        let steps = ctx.timers.steps(now);
        let response = ctx.captured.as_ref();
        let response_fields = match response {
            Some(captured) => captured.fields.iter().map(Option::as_deref).collect(),
            None => vec![None; captures.response.len()],
        };
        let behind = ctx.origin.client;
        let client = connection.map(|connection| match connection.client.ip() == behind {
            true => connection.client,
            // A trusted proxy tells no port.
            false => SocketAddr::new(behind, 0),
        });
        Self {
            host,
            client: client.unwrap_or(UNKNOWN),
            begun: SystemTime::now().checked_sub(active).unwrap_or(SystemTime::UNIX_EPOCH),
            tls: line.tls.clone(),
            arrived,
            steps,
            active,
            status: line.status,
            sent: line.sent,
            received: line.received,
            termination: letters(ctx.reason, phase(line, &steps), persistence(line), inserted(line)),
            counts: line.counts,
            retries: ctx.attempts.count(),
            request: Some(RequestParts {
                method: &header.method,
                path: header.uri.path(),
                query: header.uri.query(),
                version: header.version,
            }),
            request_cookie: captures.request_cookie(&header.headers),
            response_cookie: response.and_then(|captured| captured.cookie.as_deref()),
            request_fields: captures.of_request(&header.headers).collect(),
            response_fields,
            unique_id: ctx.unique_id.as_deref().unwrap_or_default(),
            ..Self::begin(connection, ctx.route.as_deref(), target, false)
        }
    }

    /// Of a passed-through connection.
    pub(in crate::access_log) fn connection(line: &'l ConnectionLine<'_>, host: &'l str) -> Self {
        let phase = match (line.target, line.steps.connect) {
            (None, _) => Phase::Request,
            (Some(_), None) => Phase::Connect,
            (Some(_), Some(_)) => Phase::Data,
        };
        Self {
            host,
            steps: line.steps,
            active: line.duration,
            sent: line.sent,
            received: line.received,
            termination: letters(Some(line.reason), phase, Persistence::Off, false),
            counts: line.counts,
            ..Self::begin(Some(line.connection), Some(line.route), line.target, true)
        }
    }

    /// What both have in common.
    fn begin(
        connection: Option<&'l Connection>,
        route: Option<&CompiledRoute>,
        target: Option<&Target>,
        passthrough: bool,
    ) -> Self {
        let accepted = connection.map_or(SystemTime::UNIX_EPOCH, |connection| connection.arrival.accepted_at());
        let server_name = connection.and_then(|connection| connection.server_name.as_deref());
        let secure = connection.is_some_and(|connection| connection.scheme == Scheme::Https);
        Self {
            host: "",
            client: connection.map_or(UNKNOWN, |connection| connection.client),
            local: connection.map_or(UNKNOWN, |connection| connection.local),
            accepted,
            begun: accepted,
            frontend: match (passthrough, secure, server_name) {
                (true, ..) => "public_ssl",
                (_, false, _) => "public",
                (_, true, Some(_)) => "fe_sni",
                (_, true, None) => "fe_no_sni",
            },
            tls: None,
            server_name: server_name.unwrap_or_default(),
            backend: route.map_or_else(|| NO_BACKEND.to_owned(), backend),
            server: target.map_or_else(|| NO_SERVER.to_owned(), server),
            server_address: target.map(|target| target.address),
            arrived: Arrived::default(),
            steps: Steps::default(),
            active: Duration::ZERO,
            status: 0,
            sent: 0,
            received: 0,
            termination: *b"----",
            counts: Counts::default(),
            retries: 0,
            request: None,
            request_cookie: None,
            response_cookie: None,
            request_fields: Vec::new(),
            response_fields: Vec::new(),
            unique_id: "",
        }
    }
}

/// A backend by the name that an OpenShift router gives it.
fn backend(route: &CompiledRoute) -> String {
    let kind = match route.termination {
        Termination::None => "be_http",
        Termination::Edge => "be_edge_http",
        Termination::Reencrypt { .. } => "be_secure",
        Termination::Passthrough => "be_tcp",
    };
    format!("{kind}:{}:{}", route.source.namespace, route.source.name)
}

/// A server by the name that an OpenShift router gives it, without the name of its port.
fn server(target: &Target) -> String {
    format!("pod:{}:{}::{}", target.pod, target.service.name, target.address)
}

fn phase(line: &RequestLine<'_>, steps: &Steps) -> Phase {
    if line.ctx.timers.is_answered() {
        Phase::Data
    } else if steps.connect.is_some() {
        Phase::Headers
    } else if steps.wait.is_some() {
        Phase::Connect
    } else if line.ctx.queued {
        Phase::Queue
    } else {
        Phase::Request
    }
}

fn persistence(line: &RequestLine<'_>) -> Persistence {
    let balance = line.ctx.balance.as_ref();
    let Some(cookie) = balance.and_then(|(balance, _)| balance.cookie.as_ref()) else { return Persistence::Off };
    let shown = cookies::values(&line.header.headers, &cookie.name).next().is_some();
    match line.ctx.target.as_ref().or(line.ctx.failed.as_ref()) {
        Some(target) if target.kept => Persistence::Kept,
        _ if shown => Persistence::Invalid,
        _ => Persistence::New,
    }
}

/// Whether the pod's answer named it to the client.
fn inserted(line: &RequestLine<'_>) -> bool {
    line.ctx.timers.is_answered() && line.ctx.target.as_ref().is_some_and(|target| !target.kept)
}

/// Where the connection is not known.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
/// Where no route matches.
const NO_BACKEND: &str = "openshift_default";
/// Where no pod was asked.
const NO_SERVER: &str = "<NOSRV>";
