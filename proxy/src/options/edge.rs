//! Flags on what strangers may take of the proxy: words flow in, checked limits flow out. Those on time are in `timeouts`.

use super::Mistakes;
use crate::edge::BodyRate;
use std::num::NonZeroU32;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct EdgeArguments {
    /// Client connections at a time of one source, an IPv4 address or an IPv6 network of 64 bits; further ones are reset. A number, `off`,
    /// or `auto` for a quarter of all, but 1024 in any case. Sources in --trusted-proxies have no limit.
    #[arg(long, env = "NEARSIDE_MAX_CONNECTIONS_PER_SOURCE", value_name = "NUMBER", default_value = "auto")]
    max_connections_per_source: String,
    /// Requests for pods, and passed-through connections, at a time of one route; further ones get 503, or are closed. A number, `off`, or
    /// `auto` for nine tenths of the connections that there may be.
    #[arg(long, env = "NEARSIDE_MAX_REQUESTS_PER_ROUTE", value_name = "NUMBER", default_value = "auto")]
    max_requests_per_route: String,
    /// Bytes a second that a request body must come with on average while the proxy waits for it and the pod has not begun to answer;
    /// then 408. 0 for any speed.
    #[arg(long, env = "NEARSIDE_CLIENT_BODY_RATE", value_name = "BYTES", default_value = "240")]
    client_body_rate: String,
    /// For how long a request body may come more slowly, or not at all.
    #[arg(long, env = "NEARSIDE_CLIENT_BODY_GRACE", value_name = "DURATION", default_value = "30s")]
    client_body_grace: String,
    /// TLS handshakes that each thread computes before other work gets its turn; further ones wait.
    #[arg(long, env = "NEARSIDE_HANDSHAKES_PER_THREAD", value_name = "NUMBER", default_value = "8")]
    handshakes_per_thread: String,
    /// TLS handshakes that wait; further ones are closed.
    #[arg(long, env = "NEARSIDE_HANDSHAKES_WAITING", value_name = "NUMBER", default_value = "10000")]
    handshakes_waiting: String,
}

/// What strangers may take.
#[derive(Clone, Debug)]
pub(crate) struct EdgeConfig {
    /// Connections of a source.
    pub(crate) per_source: Most,
    /// Requests of a route.
    pub(crate) per_route: Most,
    /// How fast bodies must come, if that matters.
    pub(crate) body_rate: Option<BodyRate>,
    /// Handshakes that a thread computes at a time.
    pub(crate) handshakes_per_thread: usize,
    /// Handshakes that wait.
    pub(crate) handshakes_waiting: usize,
}

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Most {
    /// As many as the proxy finds right.
    Auto,
    /// Any number.
    Off,
    /// So many.
    Number(NonZeroU32),
}

impl EdgeArguments {
    /// Checks everything.
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> EdgeConfig {
        let grace = mistakes.timeout("client-body-grace", &self.client_body_grace);
        let least = number("client-body-rate", &self.client_body_rate, 0, mistakes);
        EdgeConfig {
            per_source: most("max-connections-per-source", &self.max_connections_per_source, mistakes),
            per_route: most("max-requests-per-route", &self.max_requests_per_route, mistakes),
            body_rate: NonZeroU32::new(least).map(|least| BodyRate { least, grace }),
            handshakes_per_thread: number("handshakes-per-thread", &self.handshakes_per_thread, 1, mistakes) as usize,
            handshakes_waiting: number("handshakes-waiting", &self.handshakes_waiting, 0, mistakes) as usize,
        }
    }
}

fn most(flag: &'static str, text: &str, mistakes: &mut Mistakes) -> Most {
    match text.trim() {
        "auto" => Most::Auto,
        "off" => Most::Off,
        text => match text.parse() {
            Ok(most) => Most::Number(most),
            Err(_) => {
                mistakes.add(flag, format!("{text:?} is not a number from 1 on, nor auto or off"));
                Most::Auto
            }
        },
    }
}

fn number(flag: &'static str, text: &str, least: u32, mistakes: &mut Mistakes) -> u32 {
    match text.trim().parse() {
        Ok(number @ ..=MOST) if number >= least => number,
        _ => {
            mistakes.add(flag, format!("{text:?} is not a number from {least} to {MOST}"));
            least
        }
    }
}

/// More than any of these numbers needs to be.
const MOST: u32 = 1_000_000;

#[cfg(test)]
impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            per_source: Most::Auto,
            per_route: Most::Auto,
            body_rate: None,
            handshakes_per_thread: 8,
            handshakes_waiting: 100,
        }
    }
}
