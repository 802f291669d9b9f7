//! What the kernel moved and what was copied: counts of `pool` and `relay` flow in, Prometheus series flow out. Made by `main`.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The series of the byte path. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct SpliceCounts {
    /// Bytes that went through a pipe.
    pub(super) spliced: IntCounter,
    /// Bytes that were copied, for want of a pipe or because they came in small parts.
    pub(super) copied: IntCounter,
    /// Pipes that there are, in use or not.
    pub(super) pipes: IntGauge,
    /// What they can hold.
    pub(super) capacity: IntGauge,
    fallbacks: IntCounterVec,
}

impl SpliceCounts {
    /// Series of their own.
    ///
    /// # Errors
    /// Prometheus', if two series of the registry have one name.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counts = Self {
            spliced: IntCounter::new("nearside_spliced_bytes_total", "Bytes that were moved in the kernel.")?,
            copied: IntCounter::new(
                "nearside_splice_copied_bytes_total",
                "Bytes that were copied, for want of a pipe or because they came in small parts.",
            )?,
            pipes: IntGauge::new("nearside_splice_pipes", "Pipes, in use or not.")?,
            capacity: IntGauge::new("nearside_splice_pipe_bytes", "What the pipes can hold.")?,
            fallbacks: IntCounterVec::new(
                Opts::new(
                    "nearside_splice_fallbacks_total",
                    "Times that a pipe was smaller than wanted, or that there was none.",
                ),
                &["to"],
            )?,
        };
        registry.register(Box::new(counts.spliced.clone()))?;
        registry.register(Box::new(counts.copied.clone()))?;
        registry.register(Box::new(counts.pipes.clone()))?;
        registry.register(Box::new(counts.capacity.clone()))?;
        registry.register(Box::new(counts.fallbacks.clone()))?;
        Ok(counts)
    }

    /// A pipe is smaller than wanted.
    pub(super) fn smaller(&self) {
        self.fallbacks.with_label_values(&["smaller"]).inc();
    }

    /// There is no pipe.
    pub(super) fn none(&self) {
        self.fallbacks.with_label_values(&["copy"]).inc();
    }
}
