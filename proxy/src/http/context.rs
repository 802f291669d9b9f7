//! What is known of one request while it is served: each phase of `http` adds to it, the access log and the metrics read
//! it at the end.

use super::client_guard::Shown;
use super::exchange::Exchange;
use super::origin::Origin;
use super::peer::Described;
use super::relay::Relay;
use super::timers::Timers;
use crate::access_log::capture::CapturedResponse;
use crate::attempts::Attempts;
use crate::backends::{Target, Waiting};
use crate::balance::{Method, Random, RouteBalance};
use crate::connection::{Connection, Stream};
use crate::edge::UnderWay;
use crate::rate::Permit;
use crate::state::State;
use crate::trace::RequestTrace;
use crate::trailers::Trailers;
use http::{HeaderName, HeaderValue};
use nearside_routing::table::CompiledRoute;
use std::sync::Arc;
use std::time::Instant;

/// One request.
#[derive(Debug)]
pub(crate) struct RequestContext {
    /// When its header was complete.
    pub(crate) started: Instant,
    /// How long each step took.
    pub(crate) timers: Timers,
    /// The connection it came on.
    pub(crate) connection: Option<Arc<Connection>>,
    /// Who is behind it.
    pub(crate) origin: Origin,
    /// The state that it is decided from, from beginning to end.
    pub(crate) state: Option<Arc<State>>,
    /// The canonical host.
    pub(crate) host: Box<str>,
    /// Whether the client came by the alias of a node.
    pub(crate) by_alias: bool,
    /// The route that answers.
    pub(crate) route: Option<Arc<CompiledRoute>>,
    /// How that route chooses an endpoint for this request.
    pub(crate) balance: Option<(Arc<RouteBalance>, Method)>,
    /// The main rule and how it chooses, where the canary beside it answers: for when that has no endpoint left.
    pub(super) main: Option<MainRule>,
    /// The endpoint that is asked.
    pub(crate) target: Option<Target>,
    /// Endpoints of which the first to have room is asked.
    pub(crate) waiting: Option<Waiting>,
    /// Whether it had to wait for room at a pod.
    pub(crate) queued: bool,
    /// The last endpoint that could not be reached.
    pub(crate) failed: Option<Target>,
    /// Whether the endpoint's response is not to be the client's, because another one is asked.
    pub(crate) refused: bool,
    /// The status of the endpoint's response, where the route has it replaced.
    pub(crate) replaced: Option<u16>,
    /// Interim answers (1xx) that pods have given.
    pub(super) interim: usize,
    /// Endpoints that could not be reached, or failed it.
    pub(crate) attempts: Attempts,
    /// How often it was repeated because a kept connection turned out to be dead.
    pub(super) repeated: usize,
    /// How the endpoint is asked, where that is known but nobody has done it yet.
    pub(super) peer: Option<Described>,
    /// When the present attempt to connect began.
    pub(crate) connecting: Option<Instant>,
    /// When the pod was connected to, until it answers.
    pub(crate) asked: Option<Instant>,
    /// The request target for the pod where it is not the client's: in origin form (RFC 9112 §3.2.1), or with another path.
    pub(crate) pod_target: Option<Vec<u8>>,
    /// `X-Forwarded-Prefix` for the pod.
    pub(crate) forwarded_prefix: Option<HeaderValue>,
    /// The id that pods are told, if they are told one.
    pub(crate) unique_id: Option<Box<str>>,
    /// What the pod is told of the client's certificate, where the host asks for one.
    pub(crate) shown: Option<Shown>,
    /// Leave to be served, for as long as it is.
    pub(super) permit: Permit,
    /// Its place among all requests for pods.
    pub(super) place: Option<UnderWay>,
    /// Its place among the streams of its connection, over HTTP/2.
    pub(super) stream: Option<Stream>,
    /// The user whose password the request gave.
    pub(crate) user: Option<Box<str>>,
    /// Fields for the pod from the service that let the request in.
    pub(crate) from_service: Vec<(HeaderName, HeaderValue)>,
    /// Its cookies.
    pub(crate) cookies_of_service: Vec<HeaderValue>,
    /// Whether the client asks to upgrade to WebSocket.
    pub(crate) upgrade: bool,
    /// Whether it does so in the way of HTTP/2 (RFC 8441).
    pub(crate) websocket_h2: bool,
    /// Whether the whole request was there before a pod was asked.
    pub(crate) complete: bool,
    /// The trailers that it has to do with, over HTTP/1.
    pub(super) trailers: Option<Arc<Trailers>>,
    /// How far the request and its response are, where that decides how long they may take.
    pub(super) exchange: Option<Arc<Exchange>>,
    /// The status of the answer where it is ours. A gRPC client gets 200 instead, and the status in its own words.
    pub(crate) status: Option<u16>,
    /// The trace that it is a part of.
    pub(crate) trace: Option<Box<RequestTrace>>,
    /// What the access log shows of the pod's response.
    pub(crate) captured: Option<CapturedResponse>,
    /// The other node that is asked instead of a pod.
    pub(crate) relay: Option<Relay>,
    /// Whether it came from the proxy of another node, or says so.
    pub(crate) relayed: bool,
    /// Whether all this is of no request any more: it has another context, and lasts beyond Pingora's part in it.
    pub(super) handed_over: bool,
    /// Bytes of the answer's body that Pingora has not sent.
    pub(super) spliced: u64,
    /// Bytes of the request's body that Pingora has not received.
    pub(super) spliced_up: u64,
    /// Why the request was not answered by a pod, in one word.
    pub(crate) reason: Option<&'static str>,
    /// For choices.
    pub(crate) random: Random,
}

/// The rule that a canary stands beside, and how it chooses an endpoint for the request.
pub(super) type MainRule = (Arc<CompiledRoute>, (Arc<RouteBalance>, Method));

impl RequestContext {
    /// What is left where a request was taken out of Pingora's hands.
    pub(super) fn handed_over() -> Self {
        Self { handed_over: true, ..Self::new() }
    }

    /// A request of which nothing is known.
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            timers: Timers::default(),
            connection: None,
            origin: Origin::UNKNOWN,
            state: None,
            host: "".into(),
            by_alias: false,
            route: None,
            balance: None,
            main: None,
            target: None,
            waiting: None,
            queued: false,
            failed: None,
            refused: false,
            replaced: None,
            interim: 0,
            attempts: Attempts::default(),
            repeated: 0,
            peer: None,
            connecting: None,
            asked: None,
            pod_target: None,
            forwarded_prefix: None,
            unique_id: None,
            shown: None,
            permit: Permit::default(),
            place: None,
            stream: None,
            user: None,
            from_service: Vec::new(),
            cookies_of_service: Vec::new(),
            upgrade: false,
            websocket_h2: false,
            complete: false,
            trailers: None,
            exchange: None,
            status: None,
            trace: None,
            captured: None,
            relay: None,
            relayed: false,
            handed_over: false,
            spliced: 0,
            spliced_up: 0,
            reason: None,
            random: Random::fresh(),
        }
    }
}
