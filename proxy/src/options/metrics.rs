//! Flags on what is counted: text flows in, checked settings flow out.

use super::Mistakes;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct MetricsArguments {
    /// Show the series of an OpenShift router (`haproxy_*`, `template_router_*`) beside our own.
    #[arg(long, env = "NEARSIDE_OPENSHIFT_METRICS")]
    openshift_metrics: bool,
    /// Pods that have series of their own, for each route that they are behind; the others are counted together.
    #[arg(long, env = "NEARSIDE_POD_SERIES", value_name = "NUMBER", default_value = "1000")]
    pod_series: String,
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetricsConfig {
    /// Whether the names of an OpenShift router are shown.
    pub(crate) openshift: bool,
    /// Pods behind routes that have series of their own.
    pub(crate) pod_series: usize,
}

impl MetricsArguments {
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> MetricsConfig {
        let pod_series = self.pod_series.trim().parse().ok().filter(|number| *number <= MOST_POD_SERIES);
        if pod_series.is_none() {
            mistakes.add("pod-series", format!("{:?} is not a number from 0 to {MOST_POD_SERIES}", self.pod_series));
        }
        MetricsConfig { openshift: self.openshift_metrics, pod_series: pod_series.unwrap_or_default() }
    }
}

/// More would make a scrape larger than Prometheus likes.
const MOST_POD_SERIES: usize = 20_000;
