//! The controller's metrics: counts and states flow in from its tasks, Prometheus reads them on the admin port.

use crate::desired::Desired;
use crate::drain::Letting;
use crate::liveness::Keeping;
use nearside_routing::{Kind, Reason};
use prometheus::{
    Error, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, exponential_buckets,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Handles of every metric; clones count into the same.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    leader: IntGauge,
    generation: IntGauge,
    hosts: IntGaugeVec,
    held: IntGauge,
    kept: IntGaugeVec,
    withdrawn: IntGaugeVec,
    problems: IntGaugeVec,
    /// Of which there is a series.
    told: Arc<Mutex<BTreeSet<(Kind, Reason)>>>,
    writes: IntCounterVec,
    placement: Histogram,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn register(registry: &Registry) -> Result<Self, Error> {
        let metrics = Self {
            leader: IntGauge::new("nearside_controller_leader", "1 while this process writes.")?,
            generation: IntGauge::new(
                "nearside_controller_generation",
                "Generation of the snapshot that was placed last; 0 before the first sync.",
            )?,
            hosts: IntGaugeVec::new(
                Opts::new("nearside_controller_hosts", "Hosts by the basis on which their nodes were chosen."),
                &["basis"],
            )?,
            held: IntGauge::new(
                "nearside_controller_held_hosts",
                "Hosts whose published records are kept because the snapshot gives none.",
            )?,
            kept: IntGaugeVec::new(
                Opts::new(
                    "nearside_controller_kept_nodes",
                    "Nodes that are not Ready and stay published because their routers answer: for a bounded time, or held because they are many.",
                ),
                &["keeping"],
            )?,
            withdrawn: IntGaugeVec::new(
                Opts::new(
                    "nearside_controller_withdrawn_nodes",
                    "Nodes that are taken out, by how far DNS has let go of them: named, settling, drained.",
                ),
                &["dns"],
            )?,
            problems: IntGaugeVec::new(
                Opts::new(
                    "nearside_controller_problems",
                    "Parts of Routes and Ingresses that are not served, or not as written, by the reason in their status.",
                ),
                &["kind", "reason"],
            )?,
            told: Arc::default(),
            writes: IntCounterVec::new(
                Opts::new("nearside_controller_writes_total", "Attempts to bring an object up to date, by result."),
                &["kind", "result"],
            )?,
            placement: Histogram::with_opts(
                HistogramOpts::new(
                    "nearside_controller_placement_seconds",
                    "Time to place what changed with a snapshot.",
                )
                .buckets(exponential_buckets(0.000_1, 4.0, 9)?),
            )?,
        };
        registry.register(Box::new(metrics.leader.clone()))?;
        registry.register(Box::new(metrics.generation.clone()))?;
        registry.register(Box::new(metrics.hosts.clone()))?;
        registry.register(Box::new(metrics.held.clone()))?;
        registry.register(Box::new(metrics.kept.clone()))?;
        registry.register(Box::new(metrics.withdrawn.clone()))?;
        registry.register(Box::new(metrics.problems.clone()))?;
        registry.register(Box::new(metrics.writes.clone()))?;
        registry.register(Box::new(metrics.placement.clone()))?;
        Ok(metrics)
    }

    /// Whether this process writes.
    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// A snapshot was placed.
    pub(crate) fn placed(&self, desired: &Desired, took: Duration) {
        self.placement.observe(took.as_secs_f64());
        self.generation.set(desired.generation.try_into().unwrap_or(i64::MAX));
        self.set_problems(&desired.problems);
        self.held.set(desired.held.len().try_into().unwrap_or(i64::MAX));
        for (word, keeping) in [("bounded", Keeping::Bounded), ("held", Keeping::Held)] {
            let nodes = if desired.keeping == keeping { desired.kept.len() } else { 0 };
            self.kept.with_label_values(&[word]).set(nodes.try_into().unwrap_or(i64::MAX));
        }
        for letting in Letting::ALL {
            let nodes = desired.withdrawn.values().filter(|of| **of == letting).count();
            self.withdrawn.with_label_values(&[letting.as_str()]).set(nodes.try_into().unwrap_or(i64::MAX));
        }
        for basis in BASES {
            let hosts = desired.bases.get(basis).copied().unwrap_or_default();
            self.hosts.with_label_values(&[basis]).set(hosts.try_into().unwrap_or(i64::MAX));
        }
    }

    /// A series that is there once stays, at 0 where nothing is wrong any more.
    fn set_problems(&self, problems: &BTreeMap<(Kind, Reason), usize>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend(problems.keys());
        for (kind, reason) in &*told {
            let count = problems.get(&(*kind, *reason)).copied().unwrap_or_default();
            let series = self.problems.with_label_values(&[kind.name(), reason.as_str()]);
            series.set(count.try_into().unwrap_or(i64::MAX));
        }
    }

    /// An object was brought up to date, or not.
    pub(crate) fn wrote(&self, kind: &str, result: &str) {
        self.writes.with_label_values(&[kind, result]).inc();
    }
}

const BASES: [&str; 5] = ["AllServices", "MostServices", "Terminating", "NoReadyPods", "NoReadyRouter"];
