//! The load: where to ask comes in, every kind of client runs until it is told to end, and what became of it all goes out. Requests begin
//! when they are due, whether others are answered or not (open loop); a client that keeps its connection has one request at a time.

use super::Options;
use super::clients::{self, Target};
use super::tally::{Kind, Tally};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Clients that run.
#[derive(Debug)]
pub(super) struct Load {
    tally: Arc<Tally>,
    end: watch::Sender<bool>,
    clients: JoinSet<()>,
}

/// When requests are due, until the end is asked for.
#[derive(Debug)]
pub(super) struct Schedule {
    next: Instant,
    interval: Duration,
    ended: watch::Receiver<bool>,
}

impl Schedule {
    /// Waits for the time of the next one; `false` where there is none any more.
    pub(super) async fn due(&mut self) -> bool {
        let due = self.next;
        self.next += self.interval;
        tokio::select! {
            biased;
            _ = self.ended.wait_for(|ended| *ended) => false,
            () = sleep_until(due) => true,
        }
    }
}

impl Load {
    pub(super) fn start(target: Target, options: &Options) -> Self {
        let (end, ended) = watch::channel(false);
        let tally = Arc::new(Tally::new());
        let mut load = Self { tally, end, clients: JoinSet::new() };
        let quarter = Duration::from_secs(4) / options.rate;
        let target = Arc::new(target);
        let every = |interval| Schedule { next: Instant::now(), interval, ended: ended.clone() };
        load.clients.spawn(clients::new_connections(Arc::clone(&target), Arc::clone(&load.tally), every(quarter)));
        for client in 0..options.clients {
            // Two kinds of clients, of which one asks ten times for each time of the other, make up the rate together.
            let slow = client % 2 == 1;
            let interval = quarter * options.clients.div_ceil(2) * if slow { 10 } else { 1 };
            for kind in [Kind::Kept, Kind::KeptTls, Kind::Http2] {
                load.spawn(&target, kind, every(interval), clients::kept);
            }
        }
        for _ in 0..LASTING {
            for kind in [Kind::WebSocket, Kind::Download] {
                load.spawn(&target, kind, every(Duration::from_millis(100)), clients::lasting);
            }
        }
        load
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        target: &Arc<Target>,
        kind: Kind,
        schedule: Schedule,
        client: impl FnOnce(Kind, Arc<Target>, Arc<Tally>, Schedule) -> F,
    ) {
        self.clients.spawn(client(kind, Arc::clone(target), Arc::clone(&self.tally), schedule));
    }

    /// Lets every client finish what it has begun.
    pub(super) async fn end(mut self) -> Arc<Tally> {
        self.end.send_replace(true);
        while let Some(ended) = self.clients.join_next().await {
            if let Err(error) = ended {
                self.tally.note(Kind::New, Err(format!("a client has failed itself: {error}")));
            }
        }
        self.tally
    }
}

/// WebSockets, and downloads, at a time.
const LASTING: usize = 4;
