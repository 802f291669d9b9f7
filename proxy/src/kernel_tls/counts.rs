//! How often the kernel encrypts: what became of connections flows in, Prometheus series flow out. Made by `kernel_tls`.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// What became of a connection over which a large answer was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The kernel encrypts it from now on.
    Moved,
    /// Something of its client was on its way just then; the proxy encrypts on.
    Busy,
    /// The kernel did not take it; the proxy encrypts on.
    Refused,
    /// The kernel took it and then not its keys; it is closed.
    Broken,
}

/// The series.
#[derive(Clone, Debug)]
pub(super) struct KernelTlsCounts {
    suites: IntGauge,
    connections: IntCounterVec,
}

impl KernelTlsCounts {
    /// Series of their own.
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counts = Self {
            suites: IntGauge::new(
                "nearside_kernel_tls_suites",
                "Versions of TLS and ciphers that the kernel encrypts with; 0 where it does not.",
            )?,
            connections: IntCounterVec::new(
                Opts::new(
                    "nearside_kernel_tls_connections_total",
                    "Connections whose encryption was to be left to the kernel, by what became of it.",
                ),
                &["outcome"],
            )?,
        };
        registry.register(Box::new(counts.suites.clone()))?;
        registry.register(Box::new(counts.connections.clone()))?;
        Ok(counts)
    }

    /// So many suites can be used.
    pub(super) fn available(&self, suites: usize) {
        self.suites.set(i64::try_from(suites).unwrap_or(i64::MAX));
    }

    /// Counts a connection.
    pub(super) fn count(&self, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Moved => "moved",
            Outcome::Busy => "busy",
            Outcome::Refused => "refused",
            Outcome::Broken => "broken",
        };
        self.connections.with_label_values(&[outcome]).inc();
    }
}
