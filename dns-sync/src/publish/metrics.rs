//! What the publisher counts: names and labels of every series. Labels are zones, servers and words of ours, so their number is
//! bounded by the configuration. Filled in by [`account`](super::account).

use super::fact::{Event, Fact};
use super::failure::{Failure, SignatureFault};
use super::progress::{Drift, Sample};
use crate::overview::{Overview, Stage};
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use std::collections::BTreeMap;

/// The series of the publisher.
#[derive(Clone, Debug)]
pub struct PublishMetrics {
    desired: IntGaugeVec,
    published: IntGaugeVec,
    blocked: IntGaugeVec,
    updates: IntCounterVec,
    update_seconds: HistogramVec,
    converge_seconds: HistogramVec,
    drift: IntCounterVec,
    server_up: IntGaugeVec,
    backoff: GaugeVec,
    clock_skew: IntGaugeVec,
    unusable_keys: IntGaugeVec,
    /// `nearside_dns_reports_total`.
    pub reports: IntCounterVec,
}

impl PublishMetrics {
    /// Creates and registers every series, once per registry.
    ///
    /// # Errors
    /// Where one is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
        let counter = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)
        };
        let place = ["zone", "server"];
        let metrics = Self {
            desired: gauge("nearside_dns_desired_names", "Names that should be published.", &["zone"])?,
            published: gauge(
                "nearside_dns_published_names",
                "Names that the name server was seen to answer as they should be.",
                &place,
            )?,
            blocked: gauge(
                "nearside_dns_blocked_names",
                "Names that do not become visible, by reason, as in the conditions of their objects.",
                &["zone", "reason"],
            )?,
            updates: counter(
                "nearside_dns_updates_total",
                "Update messages by what the name server said.",
                &["zone", "server", "result"],
            )?,
            update_seconds: histogram(
                "nearside_dns_update_seconds",
                "From sending an update message to its reply.",
                &place,
                &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0],
            )?,
            converge_seconds: histogram(
                "nearside_dns_converge_seconds",
                "From a change that is desired until every name server has come so far with it.",
                &["stage"],
                &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0],
            )?,
            drift: counter(
                "nearside_dns_drift_total",
                "Times that what was as desired was not any more, by what has found it.",
                &["kind"],
            )?,
            server_up: gauge("nearside_dns_server_up", "Whether the name server answers questions.", &place)?,
            backoff: GaugeVec::new(
                Opts::new("nearside_dns_backoff_seconds", "Pause before the next exchange after one that failed."),
                &place,
            )?,
            clock_skew: gauge(
                "nearside_dns_clock_skew_seconds",
                "What the name server's clock shows less what ours shows, when it refused a signature for that.",
                &place,
            )?,
            unusable_keys: gauge(
                "nearside_dns_unusable_key_files",
                "Files of keys for the name server that cannot be read now; the last keys of each are used.",
                &place,
            )?,
            reports: counter(
                "nearside_dns_reports_total",
                "Attempts to tell the cluster what became of a DNSEndpoint, by result.",
                &["result"],
            )?,
        };
        for gauge in [
            &metrics.desired,
            &metrics.published,
            &metrics.blocked,
            &metrics.server_up,
            &metrics.clock_skew,
            &metrics.unusable_keys,
        ] {
            registry.register(Box::new(gauge.clone()))?;
        }
        for counter in [&metrics.updates, &metrics.drift, &metrics.reports] {
            registry.register(Box::new(counter.clone()))?;
        }
        for histogram in [&metrics.update_seconds, &metrics.converge_seconds] {
            registry.register(Box::new(histogram.clone()))?;
        }
        registry.register(Box::new(metrics.backoff.clone()))?;
        Ok(metrics)
    }

    /// Counts a fact.
    pub fn hear(&self, fact: &Fact) {
        let (zone, server) = (fact.place.zone.to_string(), fact.place.server.to_string());
        let place = [zone.as_str(), server.as_str()];
        match &fact.event {
            Event::Reached => {
                self.backoff.with_label_values(&place).set(0.0);
                self.clock_skew.with_label_values(&place).set(0);
            }
            Event::Failed { failure, pause } => {
                self.backoff.with_label_values(&place).set(pause.as_secs_f64());
                if let Failure::Signature(SignatureFault::BadTime(skew)) = failure {
                    self.clock_skew.with_label_values(&place).set(*skew);
                }
            }
            Event::Updated { took, outcome, .. } => {
                let result = outcome.as_ref().err().map_or("NoError", Failure::word);
                self.updates.with_label_values(&[&zone, &server, result]).inc();
                self.update_seconds.with_label_values(&place).observe(took.as_secs_f64());
            }
            Event::UnusableKeys(count) => {
                self.unusable_keys.with_label_values(&place).set(i64::try_from(*count).unwrap_or(i64::MAX));
            }
            Event::Name(..) | Event::Found(_) => {}
        }
    }

    /// Counts a sample.
    pub fn sample(&self, sample: &Sample) {
        match sample {
            Sample::Reached(stage, after) => {
                let stage = match stage {
                    Stage::Settled => "settled",
                    Stage::Visible => "visible",
                    _ => "applied",
                };
                self.converge_seconds.with_label_values(&[stage]).observe(after.as_secs_f64());
            }
            Sample::Drift(Drift::Repaired) => self.drift.with_label_values(&["repaired"]).inc(),
            Sample::Drift(Drift::Seen) => self.drift.with_label_values(&["seen"]).inc(),
        }
    }

    /// Sets the gauges.
    pub fn show(&self, overview: &Overview) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.blocked.reset();
        let mut blocked: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let reasons = overview.names.iter().filter_map(|name| name.reason.as_deref().map(|reason| (name, reason)));
        for (name, reason) in reasons.filter(|(_, reason)| *reason != "Waiting") {
            *blocked.entry((&name.zone, reason)).or_default() += 1;
        }
        for ((zone, reason), count) in blocked {
            self.blocked.with_label_values(&[zone, reason]).set(gauge(count));
        }
        let mut desired: BTreeMap<&str, usize> = BTreeMap::new();
        let mut published: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for name in &overview.names {
            *desired.entry(&name.zone).or_default() += 1;
            for place in name.servers.iter().filter(|place| place.stage >= Stage::Visible) {
                *published.entry((&name.zone, &place.server)).or_default() += 1;
            }
        }
        for server in &overview.servers {
            let place = [server.zone.as_str(), server.server.as_str()];
            let count = published.get(&(place[0], place[1])).copied().unwrap_or(0);
            self.published.with_label_values(&place).set(gauge(count));
            self.desired.with_label_values(&[place[0]]).set(gauge(desired.get(place[0]).copied().unwrap_or(0)));
            if let Some(up) = server.up {
                self.server_up.with_label_values(&place).set(i64::from(up));
            }
        }
    }
}
