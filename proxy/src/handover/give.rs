//! The side of the old process: its listening sockets flow in, and to every process that asks for them. Once one of these says that it
//! serves, this one rests: its sockets stay open, so that nothing is reset and they can be taken back. Run by `neighbours`
//! from when this process serves until it drains.

use super::Event;
use super::channel::{Channel, HandoverError};
use super::message::{Described, Hello, Offer, Ready, Word};
use super::place::{Place, known};
use super::take::Link;
use crate::accept::Listening;
use crate::lifecycle::Lifecycle;
use crate::limits::{ACCEPT_PAUSE, HANDOVER_READY_TIME, HANDOVER_RETRY, HANDOVER_SUCCESSORS};
use crate::metrics::Metrics;
use crate::tls;
use std::os::fd::AsFd as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// See the module head.
#[derive(Clone)]
pub(super) struct Giver {
    /// Where this process can be asked.
    pub(super) place: Place,
    /// What it listens on.
    pub(super) sockets: Arc<[Listening]>,
    pub(super) lifecycle: Lifecycle,
    pub(super) metrics: Metrics,
    /// Whether the process before takes the sockets back when this one lets go of them.
    pub(super) returnable: Arc<AtomicBool>,
}

/// A process that serves in the place of this one.
struct Successor {
    channel: Channel,
    /// The places of the sockets that it uses.
    used: Vec<usize>,
}

impl Giver {
    /// Never ends; where it is dropped, nothing more is handed over or taken back. `predecessor` is the process that this one has its
    /// sockets from.
    pub(super) async fn run(self, mut bound: Option<UnixListener>, mut predecessor: Option<Link>) {
        loop {
            let listener = match bound.take() {
                Some(listener) => listener,
                None => self.listen().await,
            };
            let Successor { mut channel, used } = {
                let mut successor = pin!(self.successor(&listener));
                loop {
                    self.returnable.store(predecessor.is_some(), Ordering::Relaxed);
                    tokio::select! {
                        successor = &mut successor => break successor,
                        () = ended(&mut predecessor) => predecessor = None,
                    }
                }
            };
            // The next one is asked now.
            drop(listener);
            self.returnable.store(false, Ordering::Relaxed);
            self.rest(&used, true);
            self.lifecycle.hand_over();
            self.metrics.handover(Event::Given);
            tracing::info!(sockets = used.len(), "another proxy of this node serves; this one asks its clients to go");
            let said = channel.send(&Word::Resting, &[]).await;
            if let Some(link) = predecessor.take() {
                link.pass_on().await;
            }
            if said.is_ok() && matches!(channel.next::<Word>().await, Ok((Word::PassedOn, _))) {
                tracing::info!("a third proxy of this node serves");
                return std::future::pending().await;
            }
            self.rest(&used, false);
            self.lifecycle.take_back();
            self.metrics.handover(Event::TakenBack);
            tracing::warn!(
                "the proxy that served in the place of this one is gone; this one accepts connections again"
            );
        }
    }

    /// Listens at the place; `None` where that cannot be, which is told.
    pub(super) fn bind(&self) -> Option<UnixListener> {
        let failed = |error| {
            self.metrics.handover(Event::Failed);
            tracing::warn!(
                place = %self.place, %error,
                "no other process can take the sockets over (--handover-socket); this is tried again"
            );
        };
        self.place.bind().map_err(failed).ok()
    }

    /// Tries until it can.
    async fn listen(&self) -> UnixListener {
        loop {
            if let Ok(listener) = self.place.bind() {
                return listener;
            }
            sleep(HANDOVER_RETRY).await;
        }
    }

    /// Waits for a process that serves with these sockets. Several may ask; the first that is ready has them.
    async fn successor(&self, listener: &UnixListener) -> Successor {
        let mut asking = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if asking.len() < HANDOVER_SUCCESSORS => match accepted {
                    Ok((stream, _)) => drop(asking.spawn(offer(stream, Arc::clone(&self.sockets)))),
                    Err(error) => {
                        tracing::warn!(%error, "handover: accept failed");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = asking.join_next() => match ended {
                    Ok(Ok(successor)) => return successor,
                    Ok(Err(error)) => {
                        self.metrics.handover(Event::Failed);
                        tracing::warn!(%error, "the sockets are not handed over; this proxy serves on");
                    }
                    Err(error) => tracing::error!(%error, "handover: a task has failed"),
                },
            }
        }
    }

    fn rest(&self, places: &[usize], resting: bool) {
        for socket in places.iter().filter_map(|place| self.sockets.get(*place)) {
            socket.rest(resting);
        }
    }
}

async fn ended(predecessor: &mut Option<Link>) {
    match predecessor {
        Some(link) => link.ended().await,
        None => std::future::pending().await,
    }
}

async fn offer(stream: UnixStream, sockets: Arc<[Listening]>) -> Result<Successor, HandoverError> {
    let mut channel = Channel::new(known(stream)?);
    let (hello, _) = channel.receive::<Hello>().await?;
    if !hello.is_understood() {
        return Err(HandoverError::OtherProtocol(hello.version));
    }
    let described = sockets.iter().map(|socket| Described { scheme: socket.scheme, address: socket.address }).collect();
    let descriptors: Vec<_> = sockets.iter().map(|socket| socket.socket.as_fd()).collect();
    channel.send(&Offer::of(described, tls::ticket_keys()), &descriptors).await?;
    tracing::info!(version = hello.version, "another proxy of this node is starting");
    let ready = timeout(HANDOVER_READY_TIME, channel.next::<Ready>()).await.map_err(|_| HandoverError::Silence)?;
    let Ready { ready: used } = ready?.0;
    if used.iter().any(|place| *place >= sockets.len()) {
        return Err(HandoverError::Mismatch);
    }
    Ok(Successor { channel, used })
}
