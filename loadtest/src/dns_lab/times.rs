//! The times of a run: whether they are those of production comes in; how long records live, clients believe them and routers wait
//! goes out. Called by `dns_lab`.

use serde::Serialize;
use std::time::Duration;

/// The times that hang together.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Times {
    /// Of A and AAAA records.
    pub(super) ttl: Duration,
    /// The least time for which browsers keep an answer.
    pub(super) browser: Duration,
    /// How long a router goes on serving after SIGTERM; `None` leaves it to the router (`--shutdown-delay=auto`).
    pub(super) shutdown_delay: Option<Duration>,
    /// How long a pod that is deleted goes on listening: its preStop hook.
    pub(super) notice: Duration,
}

impl Times {
    pub(super) fn new(real: bool) -> Self {
        let seconds = Duration::from_secs;
        if real {
            return Self { ttl: seconds(30), browser: seconds(60), shutdown_delay: None, notice: seconds(5) };
        }
        let (ttl, browser) = (seconds(5), seconds(10));
        // As the routers' own rule, with the shorter minute: until every cache has the new answer, and five seconds more.
        Self { ttl, browser, shutdown_delay: Some(ttl + browser + seconds(5)), notice: seconds(3) }
    }

    /// After this, everybody but those who never ask again knows what DNS says now.
    pub(super) fn known(&self) -> Duration {
        self.ttl + self.browser
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let delay = self.shutdown_delay.map_or_else(|| "auto".to_owned(), |delay| format!("{} s", delay.as_secs()));
        write!(
            f,
            "records live {} s, browsers keep them at least {} s, routers wait {delay} after SIGTERM",
            self.ttl.as_secs(),
            self.browser.as_secs()
        )
    }
}
