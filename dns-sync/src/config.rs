//! The command line: flags and environment flow in, a configuration that cannot hold a wrong value flows out, or every
//! mistake at once. Called by `main` before any port is bound.

mod program;
mod publication;
mod status;

use crate::limits::{MAX_ANSWER_RECORDS, MAX_SECONDARIES, MAX_ZONES};
use crate::name::Name;
use crate::serve::Answering;
use crate::serve::rate_limit::{Network, RateLimit};
use crate::zone::build::{NameServer, ZoneSettings};
use clap::{Args, Parser, Subcommand};
pub use program::{ProgramArgs, ProgramConfig, SourceArgs, SourceConfig};
pub use publication::{ConfirmArgs, ConfirmConfig, PlanArgs, PlanConfig, PlanOutput, PublishArgs, PublishConfig};
pub use status::{StatusArgs, StatusConfig, StatusOutput};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "nearside-dns-sync",
    version,
    about = "Publishes the DNSEndpoint objects of Nearside as DNS records",
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The ways to publish.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the records from this process, as an authoritative name server
    #[command(long_about = SERVE_ABOUT, after_long_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Publish the records on name servers that others run, by signed updates (RFC 2136)
    #[command(long_about = publication::PUBLISH_ABOUT, after_long_help = publication::PUBLISH_EXAMPLES)]
    Publish(PublishArgs),
    /// Show how far the records of each host have come on each name server
    #[command(long_about = status::STATUS_ABOUT, after_long_help = status::STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Show what `publish` would change, and change nothing
    #[command(after_long_help = publication::PLAN_EXAMPLES)]
    Plan(PlanArgs),
    /// Let names go of which `publish` holds back that so many go at once
    #[command(after_long_help = publication::CONFIRM_EXAMPLES)]
    Confirm(ConfirmArgs),
}

/// Flags of `serve`, as typed.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A zone to answer for, such as apps.example.com; repeat it or separate several by commas. A name belongs to the
    /// longest zone it is within. Delegate the zone here: parent NS records (and glue) that name --name-server
    #[arg(long = "zone", env = "NEARSIDE_ZONE", value_name = "ZONE", value_delimiter = ',', required = true)]
    pub zones: Vec<String>,

    /// An address and port to answer on, over UDP and TCP; repeat it or separate several by commas. Bound only after
    /// the first complete list of objects, so a name is never denied just because it is not known yet
    #[arg(long, env = "NEARSIDE_LISTEN", value_name = "ADDRESS:PORT", value_delimiter = ',', required = true)]
    pub listen: Vec<SocketAddr>,

    /// A name server of every zone with the addresses to hand out for it: NAME or NAME=IP,IP… Repeat it, or separate
    /// several by spaces in the environment. Default: ns.ZONE at the --listen addresses
    #[arg(long = "name-server", env = "NEARSIDE_NAME_SERVER", value_name = "NAME[=IP,IP…]", value_delimiter = ' ')]
    pub name_servers: Vec<String>,

    /// Another name server of the zones, such as the other replica or a secondary; repeat it for each. An object is told as visible only
    /// once all of them serve it, too. Default: as soon as this one does
    #[arg(long, env = "NEARSIDE_VERIFY", value_name = "ADDRESS[:PORT]", value_delimiter = ',')]
    pub verify: Vec<String>,

    /// At most so many addresses of one name and type in one answer, from 1 to 100; each answer has other ones, in proportion to
    /// the pods behind them. Over UDP never more than fit. Default: as many as fit
    #[arg(long, env = "NEARSIDE_ANSWER_ADDRESSES", value_name = "NUMBER", default_value_t = MAX_ANSWER_RECORDS, hide_default_value = true)]
    pub answer_addresses: usize,

    /// Equal answers over UDP to one network (/24 or /56) a second, beyond which every second one is sent empty with TC and the
    /// others not at all, because the address may be forged; 0 for no limit. TCP is never limited
    #[arg(long, env = "NEARSIDE_RRL_RATE", value_name = "NUMBER", default_value_t = 20)]
    pub rrl_rate: u32,

    /// An address or network that --rrl-rate does not count for, such as that of own resolvers or nodes; repeat it or separate
    /// several by commas. Loopback addresses are never limited
    #[arg(long, env = "NEARSIDE_RRL_EXEMPT", value_name = "NETWORK", value_delimiter = ',')]
    pub rrl_exempt: Vec<String>,

    /// A secondary name server that is told of every change (NOTIFY) and may fetch the zones with --transfer-key; port 53 where
    /// none is given; repeat it or separate several by commas
    #[arg(long = "secondary", env = "NEARSIDE_SECONDARY", value_name = "ADDRESS[:PORT]", value_delimiter = ',')]
    pub secondaries: Vec<String>,

    /// A file with TSIG keys, as tsig-keygen writes them; whoever has one may fetch the zones (AXFR over TCP). Notices are signed with
    /// the first. Read again when it changes; repeat it or separate several by commas. Default: nobody may
    #[arg(long = "transfer-key", env = "NEARSIDE_TRANSFER_KEY", value_name = "FILE", value_delimiter = ',')]
    pub transfer_keys: Vec<PathBuf>,

    /// What every program takes.
    #[command(flatten)]
    pub program: ProgramArgs,
}

/// What `serve` runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// The zones; at least one, no two with the same origin.
    pub zones: Vec<ZoneSettings>,
    /// Where to answer; at least one.
    pub listen: Vec<SocketAddr>,
    /// The other name servers of the zones.
    pub verify: Vec<SocketAddr>,
    /// How the answers are to be.
    pub answering: Answering,
    /// Who is told of changes.
    pub secondaries: Vec<SocketAddr>,
    /// The files of the keys with which zones may be fetched.
    pub transfer_keys: Vec<PathBuf>,
    /// What every program runs with.
    pub program: ProgramConfig,
}

/// Flags that cannot be used, all of them in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct UsageError(Vec<String>);

impl UsageError {
    /// Each mistake by itself.
    pub fn mistakes(&self) -> &[String] {
        &self.0
    }
}

impl TryFrom<ServeArgs> for ServeConfig {
    type Error = UsageError;

    fn try_from(args: ServeArgs) -> Result<Self, UsageError> {
        let mut mistakes = Vec::new();
        let origins = origins(&args.zones, &mut mistakes);
        let servers = name_servers(&args.name_servers, &origins, &mut mistakes);
        let verify = args.verify.iter().filter_map(|text| other_server("--verify", text, &mut mistakes)).collect();
        let answering = answering(&args, &mut mistakes);
        let secondaries = secondaries(&args, &mut mistakes);
        let program = args.program.into_config(&mut mistakes);
        let zones = origins.into_iter().map(|origin| {
            let name_servers = if servers.is_empty() { default_server(&origin, &args.listen) } else { servers.clone() };
            ZoneSettings { origin, name_servers }
        });
        let (zones, listen) = (zones.collect(), args.listen);
        let config = Self { zones, listen, verify, answering, secondaries, transfer_keys: args.transfer_keys, program };
        if mistakes.is_empty() { Ok(config) } else { Err(UsageError(mistakes)) }
    }
}

fn answering(args: &ServeArgs, mistakes: &mut Vec<String>) -> Answering {
    let addresses = args.answer_addresses;
    if !(1..=MAX_ANSWER_RECORDS).contains(&addresses) {
        mistakes.push(format!("--answer-addresses {addresses} is not within 1 to {MAX_ANSWER_RECORDS}"));
    }
    let mut exempt = Vec::new();
    for text in LOOPBACK.into_iter().chain(args.rrl_exempt.iter().map(String::as_str)) {
        match text.trim().parse::<Network>() {
            Ok(network) => exempt.push(network),
            Err(error) => mistakes.push(format!("--rrl-exempt \"{text}\" {error}")),
        }
    }
    let rate_limit = (args.rrl_rate > 0).then_some(RateLimit { per_second: args.rrl_rate, exempt });
    Answering { addresses, rate_limit }
}

fn secondaries(args: &ServeArgs, mistakes: &mut Vec<String>) -> Vec<SocketAddr> {
    let given = args.secondaries.iter().filter_map(|text| other_server("--secondary", text, mistakes));
    let secondaries: Vec<SocketAddr> = given.collect();
    if !secondaries.is_empty() && args.transfer_keys.is_empty() {
        mistakes.push("--secondary needs --transfer-key, without which no zone is given away".to_owned());
    }
    if secondaries.len() > MAX_SECONDARIES {
        mistakes.push(format!("--secondary is given {} times; at most {MAX_SECONDARIES} are told", secondaries.len()));
    }
    secondaries
}

fn origins(zones: &[String], mistakes: &mut Vec<String>) -> Vec<Name> {
    let mut origins: Vec<Name> = Vec::new();
    for zone in zones {
        match zone.trim().parse::<Name>() {
            Ok(origin) if origin.is_wildcard() => {
                mistakes.push(format!("--zone \"{zone}\" is a wildcard; give the zone it is in"));
            }
            Ok(origin) if origins.contains(&origin) => mistakes.push(format!("--zone \"{zone}\" is given twice")),
            Ok(origin) => origins.push(origin),
            Err(error) => mistakes.push(format!("--zone \"{zone}\" {error}")),
        }
    }
    if origins.len() > MAX_ZONES {
        mistakes.push(format!("--zone is given {} times; at most {MAX_ZONES} zones are served", origins.len()));
    }
    origins
}

fn other_server(flag: &str, text: &str, mistakes: &mut Vec<String>) -> Option<SocketAddr> {
    let text = text.trim();
    let address = text.parse().ok().or_else(|| text.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, DNS_PORT)));
    if address.is_none() {
        mistakes.push(format!("{flag} \"{text}\" is not an IP address, with or without a port"));
    }
    address
}

fn name_servers(given: &[String], origins: &[Name], mistakes: &mut Vec<String>) -> Vec<NameServer> {
    let mut servers: Vec<NameServer> = Vec::new();
    for text in given.iter().filter(|text| !text.is_empty()) {
        let (name, addresses) = text.split_once('=').unwrap_or((text, ""));
        let name = match name.parse::<Name>() {
            Ok(name) if !name.is_wildcard() => name,
            Ok(_) => {
                mistakes.push(format!("--name-server \"{text}\": the name is a wildcard"));
                continue;
            }
            Err(error) => {
                mistakes.push(format!("--name-server \"{text}\": the name {error}"));
                continue;
            }
        };
        let mut parsed = Vec::new();
        for address in addresses.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            match address.parse::<IpAddr>() {
                Ok(address) => parsed.push(address),
                Err(_) => mistakes.push(format!("--name-server \"{text}\": \"{address}\" is not an IP address")),
            }
        }
        if parsed.is_empty() && origins.iter().any(|origin| name.is_within(origin)) {
            mistakes.push(format!("--name-server \"{text}\" is inside a served zone and needs addresses: {name}=IP"));
        }
        if servers.iter().any(|server| server.name == name) {
            mistakes.push(format!("--name-server \"{name}\" is given twice"));
        }
        servers.push(NameServer { name, addresses: parsed });
    }
    servers
}

/// `ns.<zone>` at the addresses that are listened on, where these are addresses that a client could use.
fn default_server(origin: &Name, listen: &[SocketAddr]) -> Vec<NameServer> {
    let name = origin.child("ns").unwrap_or_else(|| origin.clone());
    let addresses = listen.iter().map(SocketAddr::ip).filter(|address| !address.is_unspecified());
    vec![NameServer { name, addresses: addresses.collect() }]
}

/// No datagram from elsewhere has these addresses.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];

const SERVE_ABOUT: &str = "Serve the records from this process, as an authoritative name server.

Reads DNSEndpoint objects (externaldns.k8s.io/v1alpha1) from the cluster of KUBECONFIG, from the cluster it runs in, or \
from --manifests, and answers for the given zones over UDP and TCP. A, AAAA, CNAME, TXT and HTTPS records are published; a bad \
object costs only itself and is named in the log. Changes are visible at once and as a whole. No recursion, no \
updates; whole zones go only to secondaries that have a key (--transfer-key).";

const SERVE_EXAMPLES: &str = "Examples:
  Serve a zone from a cluster on the node's own address:
    nearside-dns-sync serve --zone apps.example.com --listen 192.0.2.53:53 --name-server ns1.apps.example.com=192.0.2.53
  Try it with files and a free port:
    nearside-dns-sync serve --manifests ./objects --zone apps.example.com --listen 127.0.0.1:5353
    dig @127.0.0.1 -p 5353 video.apps.example.com

Exit codes: 0 after SIGTERM or SIGINT, 1 when an address cannot be bound, 2 for unusable flags.";

/// Where name servers answer.
const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    fn config(flags: &[&str]) -> Result<ServeConfig, String> {
        let line = ["nearside-dns-sync", "serve"].iter().chain(flags);
        let command = Cli::try_parse_from(line).map_err(|error| error.to_string())?.command;
        let Command::Serve(args) = command else { unreachable!("the line says serve") };
        ServeConfig::try_from(args).map_err(|error| error.to_string())
    }

    #[test]
    fn a_zone_and_an_address_suffice() {
        let config =
            config(&["--zone", "Apps.Example.COM.", "--listen", "192.0.2.53:53", "--listen", "[::]:53"]).unwrap();
        assert_eq!(config.zones[0].origin.to_string(), "apps.example.com");
        let server = &config.zones[0].name_servers[0];
        assert_eq!(server.name.to_string(), "ns.apps.example.com");
        assert_eq!(server.addresses, ["192.0.2.53".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_zone_inside_another_is_fine_and_the_same_zone_twice_is_not() {
        let listen = ["--listen", "127.0.0.1:0", "--zone"];
        assert_eq!(config(&[&listen[..], &["example.com,apps.example.com"]].concat()).unwrap().zones.len(), 2);
        let error = config(&[&listen[..], &["example.com,EXAMPLE.com."]].concat()).unwrap_err();
        assert_eq!(error, "--zone \"EXAMPLE.com.\" is given twice");
    }

    #[test]
    fn all_mistakes_are_told_in_one_line() {
        let error = config(&[
            "--zone",
            "a..b,*.example.com,example.org",
            "--listen",
            "127.0.0.1:0",
            "--manifests",
            "/nowhere/at/all",
            "--name-server",
            "ns1.example.org",
            "--name-server",
            "ns.example.net=one",
            "--namespace",
            "A_b",
            "--secondary",
            "192.0.2.1,here",
            "--answer-addresses",
            "101",
            "--rrl-exempt",
            "10.0.0.0/40",
        ])
        .unwrap_err();
        assert_eq!(error.lines().count(), 1);
        for part in [
            "--zone \"a..b\" has an empty label",
            "--zone \"*.example.com\" is a wildcard",
            "--name-server \"ns1.example.org\" is inside a served zone and needs addresses",
            "\"one\" is not an IP address",
            "--manifests /nowhere/at/all is not a directory",
            "--namespace \"A_b\"",
            "--secondary \"here\" is not an IP address",
            "--secondary needs --transfer-key",
            "--answer-addresses 101 is not within 1 to 100",
            "--rrl-exempt \"10.0.0.0/40\" has a prefix length above 32",
        ] {
            assert!(error.contains(part), "{part} not in {error}");
        }
    }

    #[test]
    fn name_servers_come_with_addresses_or_from_elsewhere() {
        let flags =
            ["--zone", "example.com", "--listen", "[::]:53", "--name-server", "ns1.example.com=192.0.2.1,2001:db8::1"];
        let config = config(&[&flags[..], &["--name-server", "ns.example.net"]].concat()).unwrap();
        let servers = &config.zones[0].name_servers;
        assert_eq!(servers[0].addresses.len(), 2);
        assert_eq!(servers[1], NameServer { name: "ns.example.net".parse().unwrap(), addresses: Vec::new() });
    }
}
