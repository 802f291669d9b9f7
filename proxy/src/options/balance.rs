//! Flags on how routes choose pods that say nothing themselves: words flow in, checked settings flow out.

use super::Mistakes;
use crate::balance::BalanceDefaults;
use nearside_routing::policy::balance::Algorithm;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct BalanceArguments {
    /// How pods are chosen: `random` (the less busy of two), `roundrobin`, `leastconn` or `source`. [default: random;
    /// roundrobin where several Services have weight]
    #[arg(long, env = "NEARSIDE_BALANCE", value_name = "ALGORITHM")]
    balance: Option<String>,
    /// The same for TLS that ends at the pod. [default: the value of --balance, else source]
    #[arg(long, env = "NEARSIDE_TCP_BALANCE", value_name = "ALGORITHM")]
    tcp_balance: Option<String>,
}

impl BalanceArguments {
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> BalanceDefaults {
        let mut algorithm = |flag: &'static str, text: &Option<String>| {
            let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty())?;
            let parsed = Algorithm::parse(text);
            parsed.map_err(|message| mistakes.add(flag, format!("{text:?} {message}"))).ok()
        };
        let http = algorithm("balance", &self.balance);
        let passthrough = algorithm("tcp-balance", &self.tcp_balance);
        let defaults = BalanceDefaults::default();
        BalanceDefaults {
            passthrough: passthrough.or_else(|| http.clone()).unwrap_or(defaults.passthrough),
            http: http.unwrap_or(defaults.http),
        }
    }
}
