//! Whether the API server is alive while nothing comes from it: every byte that a watch hears flows in, the word that silent
//! watches are dead flows out. While nobody hears anything, one small request asks; whatever answers, even a refusal, is alive.
//! It costs at most one request each `PROBE_AFTER`, and none while any watch of the program is busy.

use super::failure::Failure;
use crate::limits::{PROBE_AFTER, PROBE_TIMEOUT};
use kube::Client;
use kube::client::Body;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// What the watches of one source know of their server. Cloning it is cheap.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    epoch: Instant,
    /// When anything was heard last, in milliseconds since the epoch.
    heard: Arc<AtomicU64>,
    /// When the server was found dead last, in the same count.
    dead: watch::Sender<u64>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { epoch: Instant::now(), heard: Arc::default(), dead: watch::Sender::new(0) }
    }

    /// Notes that the server is alive.
    pub(super) fn heard(&self) {
        self.heard.fetch_max(self.now(), Ordering::Relaxed);
    }

    /// Whether anything was heard of the server within the time that it is given to answer.
    pub(super) fn is_beating(&self) -> bool {
        let silent_since = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.epoch.elapsed().saturating_sub(silent_since) < PROBE_AFTER + PROBE_TIMEOUT
    }

    /// Waits for an answer, unless the server dies over it.
    pub(super) async fn alive<T>(&self, answer: impl Future<Output = T>) -> Result<T, Failure> {
        let asked = self.now();
        let mut dead = self.dead.subscribe();
        tokio::select! {
            answer = answer => {
                self.heard();
                Ok(answer)
            }
            // The sender lives as long as this.
            _ = dead.wait_for(|died| *died > asked) => {
                let silence = (PROBE_AFTER + PROBE_TIMEOUT).as_secs();
                Err(Failure::Unreachable(format!("it has sent nothing for {silence} s, and does not answer either")))
            }
        }
    }

    /// Asks the server for ever, whenever nothing was heard for a while.
    pub(super) async fn watch_over(self, client: Client) {
        loop {
            let silent_since = Duration::from_millis(self.heard.load(Ordering::Relaxed));
            let due = self.epoch + silent_since + PROBE_AFTER;
            if Instant::now() < due {
                sleep_until(due).await;
                continue;
            }
            let asked = Instant::now();
            let request = http::Request::get("/version").body(Body::empty());
            let answered = match request {
                Ok(request) => timeout(PROBE_TIMEOUT, ask(&client, request)).await,
                // The path is fixed and right.
                Err(_) => return,
            };
            match answered {
                Ok(Ok(())) => self.heard(),
                // Refused at once, or not answered in time: watches that heard nothing meanwhile are gone.
                Ok(Err(_)) | Err(_) => {
                    if self.heard.load(Ordering::Relaxed) < self.since_epoch(asked) {
                        self.dead.send_replace(self.now());
                    }
                    sleep_until(asked + PROBE_AFTER).await;
                }
            }
        }
    }

    fn now(&self) -> u64 {
        self.since_epoch(Instant::now())
    }

    fn since_epoch(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Reads the answer to its end, so that the next question needs no new connection.
async fn ask(client: &Client, request: http::Request<Body>) -> Result<(), kube::Error> {
    let answer = client.send(request).await?;
    answer.into_body().collect_bytes().await.map(drop)
}
