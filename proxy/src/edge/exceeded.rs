//! How often each limit was met: limits flow in, one counter for each flows out. Those that other metrics count by themselves are not
//! here; `table` says which.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use std::sync::Arc;

/// What was more than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The time of a request header.
    HeaderTime,
    /// The size of a request header, or the number of its fields.
    HeaderSize,
    /// The size of a request target.
    TargetSize,
    /// The silence of a client in the middle of its request.
    BodySilence,
    /// The slowness of a request body.
    BodyRate,
    /// The time in which a client takes nothing of its answer.
    ClientStall,
    /// Connections.
    Connections,
    /// Connections of a source.
    ConnectionsPerSource,
    /// Requests for pods.
    Requests,
    /// Requests, or passed-through connections, of a route.
    RequestsPerRoute,
    /// Requests of a rule that are sent to another pod after one has had them.
    Retries,
    /// The time that a connection may wait for a request while there is hardly room for others.
    IdleInCrowd,
}

/// The counters. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Exceeded(Arc<[IntCounter; Limit::ALL.len()]>);

impl Limit {
    pub(super) const ALL: [Self; 12] = [
        Self::HeaderTime,
        Self::HeaderSize,
        Self::TargetSize,
        Self::BodySilence,
        Self::BodyRate,
        Self::ClientStall,
        Self::Connections,
        Self::ConnectionsPerSource,
        Self::Requests,
        Self::RequestsPerRoute,
        Self::Retries,
        Self::IdleInCrowd,
    ];

    /// For the metric.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::HeaderTime => "header_time",
            Self::HeaderSize => "header_size",
            Self::TargetSize => "target_size",
            Self::BodySilence => "body_silence",
            Self::BodyRate => "body_rate",
            Self::ClientStall => "client_stall",
            Self::Connections => "connections",
            Self::ConnectionsPerSource => "connections_per_source",
            Self::Requests => "requests",
            Self::RequestsPerRoute => "requests_per_route",
            Self::Retries => "retries",
            Self::IdleInCrowd => "idle_in_crowd",
        }
    }

    /// The limit that the end of a request tells of, by the word of the access log.
    fn of_reason(reason: &str) -> Option<Self> {
        Some(match reason {
            "header_size" => Self::HeaderSize,
            "target_size" => Self::TargetSize,
            "client_timeout" => Self::BodySilence,
            "client_rate" => Self::BodyRate,
            "client_stall" => Self::ClientStall,
            "proxy_busy" => Self::Requests,
            "route_busy" => Self::RequestsPerRoute,
            _ => return None,
        })
    }
}

impl Exceeded {
    /// Every counter at 0.
    ///
    /// # Errors
    /// Prometheus', if two series of the registry have one name.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let help = "Times that a limit of docs/limits.md was met.";
        let family = IntCounterVec::new(Opts::new("nearside_limit_exceeded_total", help), &["limit"])?;
        registry.register(Box::new(family.clone()))?;
        Ok(Self(Arc::new(Limit::ALL.map(|limit| family.with_label_values(&[limit.name()])))))
    }

    /// It was met once more.
    pub(crate) fn count(&self, limit: Limit) {
        if let Some(counter) = self.0.get(limit as usize) {
            counter.inc();
        }
    }

    /// A request ended for this reason.
    pub(crate) fn ended(&self, reason: Option<&str>) {
        reason.and_then(Limit::of_reason).into_iter().for_each(|limit| self.count(limit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_counter_of_its_own() {
        let registry = Registry::new();
        let exceeded = Exceeded::new(&registry).unwrap();
        for (place, limit) in Limit::ALL.into_iter().enumerate() {
            (0..=place).for_each(|_| exceeded.count(limit));
        }
        exceeded.ended(Some("client_rate"));
        exceeded.ended(Some("pod_timeout"));
        let counted = |limit: Limit| {
            let family = registry.gather().remove(0);
            let of_limit = |metric: &&prometheus::proto::Metric| metric.get_label()[0].value() == limit.name();
            family.get_metric().iter().find(of_limit).unwrap().get_counter().get_value()
        };
        for (place, limit) in Limit::ALL.into_iter().enumerate() {
            let more = if limit == Limit::BodyRate { 2 } else { 1 };
            assert_eq!(counted(limit), (place + more) as f64, "{limit:?}");
        }
    }
}
