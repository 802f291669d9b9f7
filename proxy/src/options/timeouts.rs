//! Flags for how long things may take and how many connections there may be: text flows in, durations that can be used as
//! they are flow out. What a Route or Ingress sets for itself comes before these.

use super::Mistakes;
use clap::Args;
use std::time::Duration;

/// The flags.
#[derive(Debug, Args)]
pub(super) struct TimeoutArguments {
    /// For a connection to a pod; at most a second while another pod is left to try.
    #[arg(long, env = "NEARSIDE_CONNECT_TIMEOUT", value_name = "DURATION", default_value = "5s")]
    connect_timeout: String,
    /// Without any byte from the pod, from the end of the request to the end of the answer; then 504.
    #[arg(long, env = "NEARSIDE_READ_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    read_timeout: String,
    /// Without any byte of a request body from the client; then 408.
    #[arg(long, env = "NEARSIDE_CLIENT_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    client_timeout: String,
    /// Without the client taking any byte of an answer; then the connection is closed.
    #[arg(long, env = "NEARSIDE_CLIENT_STALL_TIMEOUT", value_name = "DURATION", default_value = "60s")]
    client_stall_timeout: String,
    /// Without any byte either way on an upgraded or passed-through connection.
    #[arg(long, env = "NEARSIDE_TUNNEL_TIMEOUT", value_name = "DURATION", default_value = "1h")]
    tunnel_timeout: String,
    /// Without any byte from the client on a passed-through connection that the pod has ended on its side.
    #[arg(long, env = "NEARSIDE_CLIENT_FIN_TIMEOUT", value_name = "DURATION", default_value = "1s")]
    client_fin_timeout: String,
    /// Without any byte from the pod on a passed-through connection that the client has ended on its side.
    #[arg(long, env = "NEARSIDE_SERVER_FIN_TIMEOUT", value_name = "DURATION", default_value = "1s")]
    server_fin_timeout: String,
    /// For a whole request header, from its first byte or from the connection's start; then 408 without TLS, and the
    /// connection is closed.
    #[arg(long, env = "NEARSIDE_HEADER_TIMEOUT", value_name = "DURATION", default_value = "10s")]
    header_timeout: String,
    /// Between two requests of one connection.
    #[arg(long, env = "NEARSIDE_KEEP_ALIVE_TIMEOUT", value_name = "DURATION", default_value = "300s")]
    keep_alive_timeout: String,
    /// Client connections at a time, further ones wait: a number, fewer where too few files may be open, or `auto` for
    /// as many as these allow.
    #[arg(long, env = "NEARSIDE_MAX_CONNECTIONS", value_name = "NUMBER", default_value = "50000")]
    max_connections: String,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) read: Duration,
    pub(crate) client: Duration,
    pub(crate) client_stall: Duration,
    pub(crate) tunnel: Duration,
    pub(crate) client_fin: Duration,
    pub(crate) server_fin: Duration,
    pub(crate) header: Duration,
    pub(crate) keep_alive: Duration,
}

impl TimeoutArguments {
    pub(super) fn timeouts(&self, mistakes: &mut Mistakes) -> Timeouts {
        Timeouts {
            connect: mistakes.timeout("connect-timeout", &self.connect_timeout),
            read: mistakes.timeout("read-timeout", &self.read_timeout),
            client: mistakes.timeout("client-timeout", &self.client_timeout),
            client_stall: mistakes.timeout("client-stall-timeout", &self.client_stall_timeout),
            tunnel: mistakes.timeout("tunnel-timeout", &self.tunnel_timeout),
            client_fin: mistakes.timeout("client-fin-timeout", &self.client_fin_timeout),
            server_fin: mistakes.timeout("server-fin-timeout", &self.server_fin_timeout),
            header: mistakes.timeout("header-timeout", &self.header_timeout),
            keep_alive: mistakes.timeout("keep-alive-timeout", &self.keep_alive_timeout),
        }
    }

    pub(super) fn max_connections(&self, mistakes: &mut Mistakes) -> u32 {
        if self.max_connections == "auto" {
            return MOST_CONNECTIONS;
        }
        match self.max_connections.parse() {
            Ok(most @ FEWEST_CONNECTIONS..=MOST_CONNECTIONS) => most,
            _ => {
                let message = format!(
                    "{:?} is not a number from {FEWEST_CONNECTIONS} to {MOST_CONNECTIONS}, nor `auto`",
                    self.max_connections
                );
                mistakes.add("max-connections", message);
                MOST_CONNECTIONS
            }
        }
    }
}

/// Each listener holds a place for the connection that it accepts next.
const FEWEST_CONNECTIONS: u32 = 8;
/// What the OpenShift router allows at most.
const MOST_CONNECTIONS: u32 = 2_000_000;
