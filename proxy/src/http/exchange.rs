//! How far one request and its response are: the phases of `http` say it, the pod's connection reads from it whose silence
//! counts now, for how long it may last, and whether the response is held back. Pure but for its flags.
//!
//! Only requests whose time limits change on the way have one: uploads that are not complete when the pod is asked,
//! upgrades, and responses with a bandwidth; and those with trailers to carry. Any other needs but one time limit, which Pingora
//! enforces.

use super::failure::{Failure, TOO_SLOW};
use crate::edge::BodyRate;
use crate::trailers::Trailers;
use nearside_routing::policy::bandwidth::Bandwidth;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

/// One request and its response.
#[derive(Debug)]
pub(super) struct Exchange {
    patience: Patience,
    bandwidth: Option<Bandwidth>,
    trailers: Option<Arc<Trailers>>,
    body_rate: Option<BodyRate>,
    connected: AtomicBool,
    request_sent: AtomicBool,
    answered: AtomicBool,
    upgraded: AtomicBool,
    expired: AtomicU8,
}

/// How long each silence may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// Of a client that still sends its request.
    pub(super) client: Duration,
    /// Of a pod that has the whole request.
    pub(super) pod: Duration,
    /// Of both, where both may speak at any time.
    pub(super) tunnel: Duration,
}

/// Who is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// The client, in the middle of its request.
    Client,
    /// The pod, with the whole request.
    Pod,
    /// Both sides of a tunnel, or of a response that comes while the request is still sent.
    Both,
    /// The client nearly: it sends less than it must.
    Trickle,
}

impl Exchange {
    /// An exchange that begins. `complete` says that nothing of the request is left to be sent later.
    pub(super) fn new(patience: Patience, bandwidth: Option<Bandwidth>, complete: bool) -> Self {
        Self {
            patience,
            bandwidth,
            trailers: None,
            body_rate: None,
            connected: AtomicBool::new(false),
            request_sent: AtomicBool::new(complete),
            answered: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
            expired: AtomicU8::new(0),
        }
    }

    /// The same, with trailers to carry to and from a pod that is asked over HTTP/1.
    pub(super) fn with_trailers(self, trailers: Option<Arc<Trailers>>) -> Self {
        Self { trailers, ..self }
    }

    /// The same, where the body of the request must come with some speed.
    pub(super) fn with_body_rate(self, body_rate: Option<BodyRate>) -> Self {
        Self { body_rate, ..self }
    }

    /// How fast the client must send, once the pod is connected and for as long as the client alone is waited for.
    pub(super) fn body_rate(&self) -> Option<BodyRate> {
        let demanded = self.connected.load(Ordering::Relaxed) && self.awaited().0 == Silence::Client;
        self.body_rate.filter(|_| demanded)
    }

    /// The trailers to carry.
    pub(super) fn trailers(&self) -> Option<&Trailers> {
        self.trailers.as_deref()
    }

    /// The pod is connected, TLS included: whatever it says from now on is the response.
    pub(super) fn connected(&self) {
        self.connected.store(true, Ordering::Relaxed);
    }

    /// How fast the pod's connection may be read, once it is the response that is read.
    pub(super) fn pace(&self) -> Option<Bandwidth> {
        self.bandwidth.filter(|_| self.connected.load(Ordering::Relaxed))
    }

    /// The last part of the request is on its way to the pod.
    pub(super) fn request_sent(&self) {
        self.request_sent.store(true, Ordering::Relaxed);
    }

    /// The response has begun; with 101 as a tunnel.
    pub(super) fn answered(&self, upgraded: bool) {
        self.upgraded.store(upgraded, Ordering::Relaxed);
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Whose silence counts now, and how long it may last.
    pub(super) fn awaited(&self) -> (Silence, Duration) {
        let [sent, answered, upgraded] =
            [&self.request_sent, &self.answered, &self.upgraded].map(|flag| flag.load(Ordering::Relaxed));
        if upgraded || (answered && !sent) {
            (Silence::Both, self.patience.tunnel)
        } else if sent {
            (Silence::Pod, self.patience.pod)
        } else {
            (Silence::Client, self.patience.client)
        }
    }

    /// It lasted too long.
    pub(super) fn expire(&self, silence: Silence) {
        let value = match silence {
            Silence::Client => 1,
            Silence::Pod => 2,
            Silence::Both => 3,
            Silence::Trickle => 4,
        };
        self.expired.store(value, Ordering::Relaxed);
    }

    /// What to tell the client after [`Self::expire`].
    pub(super) fn failure(&self) -> Option<Failure> {
        match self.expired.load(Ordering::Relaxed) {
            1 => Some(Failure { status: Some(408), reason: "client_timeout" }),
            2 => Some(Failure { status: Some(504), reason: "pod_timeout" }),
            3 => Some(Failure { status: None, reason: "idle" }),
            4 => Some(TOO_SLOW),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { client: Duration::from_secs(1), pod: Duration::from_secs(2), tunnel: Duration::from_secs(3) };

    #[test]
    fn the_pods_silence_counts_once_it_has_the_whole_request() {
        let exchange = Exchange::new(PATIENCE, None, false);
        assert_eq!(exchange.awaited(), (Silence::Client, PATIENCE.client));
        exchange.request_sent();
        assert_eq!(exchange.awaited(), (Silence::Pod, PATIENCE.pod));
        exchange.answered(false);
        assert_eq!(exchange.awaited(), (Silence::Pod, PATIENCE.pod));
    }

    #[test]
    fn a_tunnel_and_a_response_before_the_requests_end_may_be_silent_for_longer() {
        let upgrade = Exchange::new(PATIENCE, None, true);
        assert_eq!(upgrade.awaited(), (Silence::Pod, PATIENCE.pod));
        upgrade.answered(true);
        assert_eq!(upgrade.awaited(), (Silence::Both, PATIENCE.tunnel));
        let streaming = Exchange::new(PATIENCE, None, false);
        streaming.answered(false);
        assert_eq!(streaming.awaited(), (Silence::Both, PATIENCE.tunnel));
        streaming.request_sent();
        assert_eq!(streaming.awaited(), (Silence::Pod, PATIENCE.pod));
    }

    #[test]
    fn the_status_names_who_was_silent() {
        let statuses = [
            (Silence::Client, Some(408)),
            (Silence::Trickle, Some(408)),
            (Silence::Pod, Some(504)),
            (Silence::Both, None),
        ];
        for (silence, status) in statuses {
            let exchange = Exchange::new(PATIENCE, None, false);
            assert_eq!(exchange.failure(), None);
            exchange.expire(silence);
            assert_eq!(exchange.failure().unwrap().status, status);
        }
    }
}
