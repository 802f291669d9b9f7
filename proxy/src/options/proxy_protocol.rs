//! Flags for load balancers in front of the proxy: words flow in, whose PROXY headers are believed flows out.

use super::{Mistakes, given};
use ipnet::IpNet;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct ProxyProtocolArguments {
    /// Connections from this range begin with a PROXY header (version 1 or 2) that tells who the client is. May be repeated.
    #[arg(long, env = "NEARSIDE_PROXY_PROTOCOL_FROM", value_name = "CIDR", value_delimiter = ',')]
    proxy_protocol_from: Vec<String>,
    /// Other connections: `trusted` serves them as they are, `required` refuses them; without any range `required` expects
    /// the header from everybody.
    #[arg(long, env = "NEARSIDE_PROXY_PROTOCOL", value_name = "MODE", default_value = "trusted")]
    proxy_protocol: String,
}

/// Whose PROXY headers are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyProtocol {
    /// Whether every connection must have one.
    pub(crate) required: bool,
    /// Where load balancers are.
    pub(crate) from: Vec<IpNet>,
}

impl ProxyProtocolArguments {
    /// Checks everything.
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> ProxyProtocol {
        let range = |text: &str| {
            let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
            let range = text.parse::<IpNet>().or_else(|_| address());
            if range.is_err() {
                let message = format!("{text:?} is not a range such as 192.0.2.0/24 or 2001:db8::/32");
                mistakes.add("proxy-protocol-from", message);
            }
            range.ok()
        };
        let from = given(&self.proxy_protocol_from).filter_map(range).collect();
        let modes = [("trusted", false), ("required", true)];
        ProxyProtocol { required: mistakes.one_of("proxy-protocol", &self.proxy_protocol, &modes), from }
    }
}
