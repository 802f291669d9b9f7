//! What a process has to do with those before and after it: what it has inherited flows in and is answered for, its sockets are there for
//! the next one, and at the end it lets go of both. Called by `main` and `ending`.

use super::Event;
use super::channel::HandoverError;
use super::give::Giver;
use super::place::Place;
use super::take::{Inherited, Link, ask};
use crate::accept::Listening;
use crate::metrics::Metrics;
use crate::server::Server;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinHandle;

/// See the module head. With no place to meet there are none.
#[derive(Default)]
pub(crate) struct Neighbours {
    giving: Option<JoinHandle<()>>,
    /// Whether the process before would take its sockets back.
    returnable: Arc<AtomicBool>,
}

/// What the process at this place hands over; `None` where this one has to open its own sockets, which is told.
pub(crate) async fn inherit(place: Option<&Place>, metrics: &Metrics) -> Option<Inherited> {
    let place = place?;
    ask(place).await.unwrap_or_else(|error| {
        metrics.handover(Event::Failed);
        tracing::warn!(%place, %error, "no sockets are taken over; this proxy opens its own");
        None
    })
}

impl Neighbours {
    /// Tells the process before that this one serves, and is there for the one after.
    pub(crate) async fn meet(server: &Server, listening: Vec<Listening>, inherited: Option<Inherited>) -> Self {
        let Some(place) = server.config.ports.handover.clone() else { return Self::default() };
        let metrics = server.metrics().clone();
        let predecessor = match inherited {
            Some(inherited) => answered(inherited.ready().await, &metrics),
            None => None,
        };
        let returnable = Arc::new(AtomicBool::new(predecessor.is_some()));
        let giver = Giver {
            place,
            sockets: listening.into(),
            lifecycle: server.lifecycle().clone(),
            metrics,
            returnable: Arc::clone(&returnable),
        };
        // Whoever knows that this process is ready may ask it.
        let listener = giver.bind();
        Self { giving: Some(tokio::spawn(giver.run(listener, predecessor))), returnable }
    }

    /// Has the process before take its sockets back, where it would.
    pub(crate) async fn give_back(&mut self) -> bool {
        let returned = self.returnable.load(Ordering::Relaxed);
        if returned {
            self.part().await;
        }
        returned
    }

    /// Nothing is handed over any more, and nothing taken back.
    pub(crate) async fn part(&mut self) {
        if let Some(giving) = self.giving.take() {
            giving.abort();
            // That it was aborted is all that it says.
            drop(giving.await);
        }
    }
}

fn answered(answer: Result<Link, HandoverError>, metrics: &Metrics) -> Option<Link> {
    match answer {
        Ok(link) => {
            metrics.handover(Event::Taken);
            tracing::info!("the sockets of the other proxy are taken over");
            Some(link)
        }
        Err(error) => {
            metrics.handover(Event::Failed);
            tracing::warn!(%error, "the other proxy does not say that it leaves the sockets to this one; both serve");
            None
        }
    }
}
