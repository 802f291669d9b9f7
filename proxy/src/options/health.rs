//! Flags on checks of pods: text flows in, checked settings flow out.

use super::Mistakes;
use std::time::Duration;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct HealthArguments {
    /// Between two checks of a pod, where a route has more than one; 0s for no checks.
    #[arg(long, env = "NEARSIDE_CHECK_INTERVAL", value_name = "DURATION", default_value = "5s")]
    check_interval: String,
}

impl HealthArguments {
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> Duration {
        mistakes.duration("check-interval", &self.check_interval)
    }
}
