//! TLS that ends at the pod: a socket with its ClientHello flows in, bytes flow both ways until both sides are done. The
//! proxy sees nothing but the server name; without a local pod the connection is closed.

use crate::access_log::ConnectionLine;
use crate::attempts::{Attempts, Failed};
use crate::backends::{Demand, Picked, Target, Waiting};
use crate::balance::Random;
use crate::connection::Connection;
use crate::edge::Limit;
use crate::http::timers::{Steps, Timers};
use crate::limits::CONNECT_ATTEMPT_TIME;
use crate::metrics::{QueueEnd, RouteCounts};
use crate::proxy_protocol::encode_v2;
use crate::rate::Unit;
use crate::server::Server;
use crate::splice::both_ways::{Moved, Patience, relay};
use crate::state::State;
use bytes::Bytes;
use nearside_routing::policy::proxy_protocol::ToPods;
use nearside_routing::table::{CompiledRoute, MissPolicy};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// A connection of a passthrough route.
pub(super) struct PassedThrough {
    pub(super) client: TcpStream,
    /// What the client has sent by now.
    pub(super) hello: Bytes,
    pub(super) connection: Connection,
    pub(super) route: Arc<CompiledRoute>,
    pub(super) state: Arc<State>,
}

/// Serves it.
pub(super) async fn serve(passed: PassedThrough, server: &Server) {
    let PassedThrough { client, hello, connection, route, state } = passed;
    let (connection, route) = (&connection, &route);
    let started = Instant::now();
    let refused = |reason| {
        server.access_log().connection(&ConnectionLine {
            connection,
            route,
            target: None,
            received: 0,
            sent: 0,
            duration: started.elapsed(),
            steps: Steps::default(),
            reason,
            counts: server.counts(Some(connection), Some(&server.state()), Some(route), None),
        });
    };
    // Dropping the socket closes the connection; there is no other answer before TLS.
    if !route.policy.access.admits(connection.client.ip()) {
        return refused("forbidden");
    }
    if route.policy.authentication.is_demanded() || route.closed {
        // Nothing of a request is seen that could be authenticated.
        return refused("authentication_not_offered");
    }
    let Ok(_permit) = server.admit(route, connection.client.ip(), Unit::Connection) else {
        return refused("rate_limited");
    };
    let series = state.series.of(route).cloned();
    // One more is to come.
    if series.as_ref().is_some_and(|counts| server.edge().is_too_many(counts.under_way() + 1)) {
        server.metrics().exceeded().count(Limit::RequestsPerRoute);
        return refused("route_busy");
    }
    let mut timers = Timers::default();
    let Some((target, mut pod)) = Box::pin(connect(&client, connection, route, &state, server, &mut timers)).await
    else {
        // Nor has the miss policy.
        server.metrics().miss(MissPolicy::Reject, &route.pattern);
        return refused("no_endpoint");
    };
    // What was known at the start is not kept for as long as a tunnel may live.
    drop(state);
    let mut moved = Moved::default();
    let told = route.policy.proxy_protocol.map(|ToPods::V2| encode_v2(&connection.addresses()));
    let first = [told.unwrap_or_default().as_slice(), &hello].concat();
    let reason = match pod.write_all(&first).await {
        Ok(()) => {
            moved.to_pod += hello.len() as u64;
            match relay(&client, &pod, &patience(server, route), server.pipes(), &mut moved).await {
                Ok(()) => "done",
                Err(error) => error.reason(),
            }
        }
        Err(_) => "pod_failed",
    };
    server.metrics().passed_through(series.as_deref(), &target, moved.to_pod, moved.to_client);
    server.access_log().connection(&ConnectionLine {
        connection,
        route,
        target: Some(&target),
        received: moved.to_pod,
        sent: moved.to_client,
        duration: started.elapsed(),
        steps: timers.steps(Instant::now()),
        reason,
        counts: server.counts(Some(connection), Some(&server.state()), Some(route), Some(&target)),
    });
}

fn patience(server: &Server, route: &CompiledRoute) -> Patience {
    let router = server.timeouts();
    Patience {
        tunnel: route.policy.timeouts.passthrough().unwrap_or(router.tunnel),
        client_fin: router.client_fin,
        server_fin: router.server_fin,
        stall: router.client_stall,
    }
}

/// Connects to a local endpoint, and to another one if that fails. Nothing was sent yet, so trying again is safe.
async fn connect(
    client: &TcpStream,
    connection: &Connection,
    route: &CompiledRoute,
    state: &State,
    server: &Server,
    timers: &mut Timers,
) -> Option<(Target, TcpStream)> {
    let mut random = Random::fresh();
    let mut attempts = Attempts::default();
    let balance = state.balances.of(route);
    // There are no requests here whose parts a key could name.
    let method = balance.method(connection.client.ip(), |_| Vec::new());
    let whole = route.policy.timeouts.connect.unwrap_or_else(|| server.timeouts().connect);
    while attempts.may_go_on() {
        let demand = Demand { route, balance: &balance, method, tried: attempts.failed(), now: Instant::now() };
        let since = Instant::now();
        let target = match state.backends.pick(&demand, std::iter::empty(), &mut random) {
            Picked::Target(target) => target,
            Picked::Waiting(waiting) => {
                let _by_route = state.series.of(route).map(RouteCounts::waits);
                wait(client, waiting, whole, server).await?
            }
            Picked::Full => {
                server.metrics().queued(QueueEnd::Full);
                return None;
            }
            Picked::Nothing => return None,
        };
        timers.asked(since.elapsed());
        let target = target.counted(&state.series, route);
        let address = target.address;
        let tried = |other| other == address || attempts.failed().contains(&other);
        let last = !(attempts.may_lose_another() && state.backends.has_more(route, tried));
        let time = if last { whole } else { whole.min(CONNECT_ATTEMPT_TIME) };
        let started = Instant::now();
        match timeout(time, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                let now = Instant::now();
                let took = now.saturating_duration_since(started);
                server.metrics().connected(took);
                timers.connected(took, now);
                if let Some(exchanging) = target.exchanging() {
                    exchanging.connected(took);
                }
                target.health().succeeded();
                // Fails only on a socket that is gone already, and then the next write says so.
                drop(socket.set_nodelay(true));
                return Some((target, socket));
            }
            Ok(Err(error)) if error.kind() == ErrorKind::AddrNotAvailable => {
                server.no_local_port(&target);
                attempts.add(address, Failed::Otherwise);
            }
            Ok(Err(error)) => {
                server.connect_failed(&target, &mut random, &error);
                attempts.add(address, how(&error));
            }
            Err(elapsed) => {
                server.connect_failed(&target, &mut random, &elapsed);
                attempts.add(address, Failed::Otherwise);
            }
        }
    }
    None
}

/// As in `http` (`failure::to_connect`).
fn how(error: &io::Error) -> Failed {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::InvalidInput => Failed::Refused,
        _ => Failed::Otherwise,
    }
}

/// Waits for room at a pod as long as a connection to one may take, unless the client leaves.
async fn wait(client: &TcpStream, mut waiting: Waiting, patience: Duration, server: &Server) -> Option<Target> {
    let _counted = server.metrics().waiting();
    let gone = async {
        // Bytes that it sends meanwhile say that it is there; nothing more is learned from it then.
        if client.peek(&mut [0]).await.is_ok_and(|count| count > 0) {
            std::future::pending::<()>().await;
        }
    };
    let (target, end) = tokio::select! {
        biased;
        target = waiting.target() => (Some(target), QueueEnd::Served),
        () = gone => (None, QueueEnd::ClientGone),
        () = sleep(patience) => (None, QueueEnd::Timeout),
    };
    server.metrics().queued(end);
    target
}
