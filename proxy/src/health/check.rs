//! What a check is, and when its results change anything: the outcome of each check flows in, going down and coming up flows
//! out. Pure.

use nearside_routing::Scheme;
use nearside_routing::policy::backend::BackendProtocol;
use nearside_routing::table::{CompiledRoute, Termination};
use std::sync::Arc;

/// How an endpoint is checked: as its route's requests would reach it. Routes that reach it alike share one check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CheckKind {
    /// How the endpoint is known, where it is reached over TLS.
    pub(crate) tls: Option<CheckedTls>,
    /// What is asked for over HTTP; `None`: a connection is enough.
    pub(crate) path: Option<Arc<str>>,
}

/// What a route says of the TLS of its pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CheckedTls {
    ca: Option<Arc<str>>,
    verify: Option<bool>,
    /// The name that the pod is told, and must have where names are verified; `None`: that of its Service.
    pub(super) name: Option<Arc<str>>,
}

impl CheckKind {
    /// That of a route.
    pub(crate) fn of(route: &CompiledRoute) -> Self {
        let backend = &route.policy.backend;
        if route.policy.proxy_protocol.is_some() {
            // Such a pod takes no byte before it was told who is connected, and a check is nobody's connection.
            return Self { tls: None, path: None };
        }
        let ca = match &route.termination {
            // What is passed through is TLS with a key that is not the proxy's: only the port can be tried.
            Termination::Passthrough => return Self { tls: None, path: None },
            Termination::Reencrypt { destination_ca } => Some(destination_ca.clone()),
            // Pods that are spoken to as the client speaks answer without TLS, too.
            Termination::None | Termination::Edge => {
                backend.protocol.is_some_and(|protocol| protocol.tls(Scheme::Http)).then_some(None)
            }
        };
        let name = backend.server_name.as_ref().map(|name| name.as_str().into());
        let only_http2 = backend.protocol.is_some_and(BackendProtocol::only_http2);
        Self {
            tls: ca.map(|ca| CheckedTls { ca, verify: backend.verify, name }),
            // Paths are asked for over HTTP/1.1.
            path: route.policy.health.path.clone().filter(|_| !only_http2),
        }
    }

    /// In one word.
    pub(crate) fn name(&self) -> &'static str {
        match (&self.tls, &self.path) {
            (None, None) => "tcp",
            (Some(_), None) => "tls",
            (None, Some(_)) => "http",
            (Some(_), Some(_)) => "https",
        }
    }
}

/// What the last checks of an endpoint say; it is up until they say otherwise.
#[derive(Debug, Default)]
pub(super) struct Tally {
    down: bool,
    /// Results in succession that speak against the present state.
    against: u32,
}

impl Tally {
    /// Whether the endpoint is up.
    pub(super) fn is_up(&self) -> bool {
        !self.down
    }

    /// Notes a result; `Some` if the endpoint went up (`true`) or down by it.
    pub(super) fn note(&mut self, passed: bool) -> Option<bool> {
        if passed != self.down {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < if self.down { RISE } else { FALL } {
            return None;
        }
        *self = Self { down: !self.down, against: 0 };
        Some(!self.down)
    }
}

/// Failures in succession after which an endpoint is down (HAProxy's default in the OpenShift router).
const FALL: u32 = 3;
/// Successes in succession after which it is up again.
const RISE: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_succession_are_down_and_two_successes_up() {
        let mut tally = Tally::default();
        let changes: String = "--+---+-++-+---"
            .chars()
            .map(|result| match tally.note(result == '+') {
                None => '.',
                Some(true) => 'U',
                Some(false) => 'D',
            })
            .collect();
        assert_eq!(changes, ".....D...U....D");
    }
}
