//! Flags for proxies in front of this one: ranges flow in, whose `X-Forwarded-*` is believed flows out.

use super::{Mistakes, given};
use ipnet::IpNet;
use std::net::IpAddr;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct TrustedProxyArguments {
    /// Believe `X-Forwarded-For` and `X-Forwarded-Proto` of connections from this range: the client is the nearest address
    /// that is in no such range, and `https` means that TLS was ended there. May be repeated. [default: nobody is believed]
    #[arg(long, env = "NEARSIDE_TRUSTED_PROXIES", value_name = "CIDR", value_delimiter = ',')]
    trusted_proxies: Vec<String>,
}

impl TrustedProxyArguments {
    /// Checks everything.
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> Vec<IpNet> {
        let range = |text: &str| {
            let range = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            if range.is_err() {
                let message = format!("{text:?} is not a range such as 192.0.2.0/24 or 2001:db8::/32");
                mistakes.add("trusted-proxies", message);
            }
            range.ok()
        };
        given(&self.trusted_proxies).filter_map(range).collect()
    }
}
