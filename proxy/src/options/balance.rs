//! Flags on how routes choose pods that say nothing themselves: words flow in, checked settings flow out.

use super::Mistakes;
use crate::balance::BalanceDefaults;
use nearside_routing::NodeId;
use nearside_routing::policy::affinity::{CookieName, Sticky};
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
    /// The name of the cookie by which clients keep their pod. [default: one for each route, made from its name]
    #[arg(long, env = "NEARSIDE_COOKIE_NAME", value_name = "NAME")]
    cookie_name: Option<String>,
    /// What a client gets that comes to a node with ready pods while its cookie names a pod of another node: `stay` for a
    /// pod of this node, or `return` for a redirect to the node of its pod.
    #[arg(long, env = "NEARSIDE_STICKY", value_name = "WHAT", default_value = "stay")]
    sticky: String,
}

impl BalanceArguments {
    pub(super) fn check(&self, node: &str, mistakes: &mut Mistakes) -> BalanceDefaults {
        let http = optional("balance", &self.balance, Algorithm::parse, mistakes);
        let passthrough = optional("tcp-balance", &self.tcp_balance, Algorithm::parse, mistakes);
        let cookie_name = optional("cookie-name", &self.cookie_name, CookieName::parse, mistakes);
        let defaults = BalanceDefaults::default();
        BalanceDefaults {
            passthrough: passthrough.or_else(|| http.clone()).unwrap_or(defaults.passthrough),
            http: http.unwrap_or(defaults.http),
            cookie_name,
            sticky: mistakes.one_of("sticky", &self.sticky, &[("stay", Sticky::Stay), ("return", Sticky::Return)]),
            node: NodeId::of(node),
        }
    }
}

/// The value of a flag that may be left out; an empty environment variable leaves it out.
fn optional<T>(
    flag: &'static str,
    text: &Option<String>,
    parse: fn(&str) -> Result<T, String>,
    mistakes: &mut Mistakes,
) -> Option<T> {
    let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty())?;
    parse(text).map_err(|message| mistakes.add(flag, format!("{text:?} {message}"))).ok()
}
