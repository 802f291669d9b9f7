//! From the wish to end to the last connection: whether another process serves, what DNS says and the connections that are busy flow in;
//! the end flows out when nobody loses anything by it, or time is over. Called by `main`. One of the few modules that name Pingora types.

use crate::departure::{self, Departure, Left, Names};
use crate::handover::Neighbours;
use crate::limits::{LAST_HANDSHAKES, SUCCESSOR_PATIENCE};
use crate::options::ShutdownDelay;
use crate::server::Server;
use nearside_watch::{Selection, Source};
use pingora::apps::ServerApp;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// What ends.
pub(crate) struct Ending<'s> {
    pub(crate) server: &'s Server,
    pub(crate) neighbours: Neighbours,
    /// The loops that accept connections.
    pub(crate) accepting: JoinSet<()>,
}

impl Ending<'_> {
    /// See the module head. `left` says for how long DNS has not named the node any more.
    pub(crate) async fn run(self, source: Source, published: Selection, left: Option<Left>) {
        let Self { server, mut neighbours, accepting } = self;
        if !server.lifecycle().is_succeeded() && neighbours.give_back().await {
            tracing::info!("the proxy before this one takes its sockets back");
            server.lifecycle().hand_over();
        }
        leave(server, source, published, left).await;
        drain(server, neighbours, accepting).await;
    }
}

/// Serves on while DNS still names this node, unless another process of the node does.
async fn leave(server: &Server, source: Source, published: Selection, left: Option<Left>) {
    let lifecycle = server.lifecycle();
    lifecycle.leave();
    if lifecycle.is_succeeded() {
        tracing::info!("not ready any more; another proxy of this node serves");
        return;
    }
    let succeeded = async {
        let neighbour = async {
            match server.config.ports.shared {
                true => departure::succeeded(server.config.admin).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = neighbour => lifecycle.hand_over(),
            () = lifecycle.succeeded() => {}
        }
    };
    match server.config.shutdown_delay {
        ShutdownDelay::Fixed(delay) => {
            tracing::info!(delay = ?delay, "not ready any more; serving on");
            // A proxy that shares the ports may be there, and is known only once it has been asked.
            let least = if server.config.ports.shared { SUCCESSOR_PATIENCE } else { Duration::ZERO };
            let begin = Instant::now();
            drop(timeout(delay.max(least), succeeded).await);
            if begin.elapsed() < delay && server.config.ports.shared {
                sleep(delay.saturating_sub(begin.elapsed())).await;
            }
        }
        ShutdownDelay::ByDns(most) => {
            tracing::info!(most = ?most, "not ready any more; serving on until DNS does not name this node");
            let state = server.state();
            let node = state.snapshot.nodes.get(&*server.config.node);
            let addresses = node.into_iter().flat_map(|node| &node.addresses);
            let addresses = addresses.filter_map(|entry| entry.address.parse().ok()).collect();
            let departure = Departure::new(Names { id: server.node_id, addresses }, left);
            tokio::select! {
                () = departure::gone(source, published, departure, most) => {}
                () = succeeded => {}
            }
        }
    }
}

/// Lets the connections that are busy end.
async fn drain(server: &Server, mut neighbours: Neighbours, mut accepting: JoinSet<()>) {
    let (lifecycle, timeout) = (server.lifecycle(), server.config.drain_timeout);
    let begin = Instant::now();
    lifecycle.drain();
    while accepting.join_next().await.is_some() {}
    let succeeded = lifecycle.is_succeeded();
    // With it go the last of the sockets.
    neighbours.part().await;
    tracing::info!(connections = lifecycle.connections(), timeout = ?timeout, "draining");
    if succeeded {
        // A client may be asking at this very moment on a connection that waits, and its next connection finds the other proxy: so it
        // has its answer, with which it is told. Who asks nothing is closed when it would have been anyhow.
        lifecycle.drained(server.timeouts().keep_alive.min(timeout)).await;
    } else if server.config.ports.shared {
        // From the clean-up on a connection may be closed unread; those that the listeners took last have their requests first.
        sleep(LAST_HANDSHAKES).await;
    }
    lifecycle.close_idle();
    // Wakes connections that wait for the rest of a header.
    server.http().cleanup().await;
    match lifecycle.drained(timeout.saturating_sub(begin.elapsed())).await {
        0 => tracing::info!("drained"),
        left => tracing::warn!(connections = left, "the drain took too long; these connections are cut"),
    }
}
