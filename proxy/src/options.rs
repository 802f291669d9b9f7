//! Command line and environment: raw text flows in, a valid [`Config`] or every mistake at once flows out. Called by
//! `main` before any port is bound.

mod access_log;
mod balance;
mod byte_path;
mod clients;
mod duration;
mod edge;
mod error_pages;
pub(crate) mod headers;
mod health;
mod memory;
mod metrics;
mod namespace;
mod objects;
mod ports;
mod proxy_protocol;
mod relay;
mod sandbox;
mod timeouts;
mod tls;
mod trace;
mod trusted_proxies;

use crate::access_log::AccessLogConfig;
use crate::balance::BalanceDefaults;
use crate::error_pages::ErrorPages;
use crate::handover::Place;
use crate::memory::MemoryLimit;
use crate::relay::RelayConfig;
use crate::sandbox::{Reach, Sandbox};
use crate::trace::TraceConfig;
use access_log::AccessLogArguments;
use balance::BalanceArguments;
use byte_path::BytePathArguments;
pub(crate) use byte_path::{BytePathConfig, KernelTlsUse};
use clap::Parser;
use clients::{ClientArguments, ClientConfig};
use duration::parse_duration;
use edge::EdgeArguments;
pub(crate) use edge::{EdgeConfig, Most};
use error_pages::ErrorPageArguments;
use headers::{HeaderArguments, HeaderConfig};
use ipnet::IpNet;
use memory::MemoryArguments;
use metrics::MetricsArguments;
pub(crate) use metrics::MetricsConfig;
use nearside_admin::{AdminArguments, AdminSecurity, LogFormat};
use nearside_routing::address_policy::AddressPolicy;
use nearside_routing::table::MissPolicy;
use nearside_watch::{AdmissionArguments, AdmissionSettings, SnapshotArguments, SnapshotSettings, UnusableFlag};
use objects::ObjectArguments;
pub(crate) use objects::ObjectPassing;
use ports::PortArguments;
pub(crate) use ports::PortSharing;
pub(crate) use proxy_protocol::ProxyProtocol;
use proxy_protocol::ProxyProtocolArguments;
use relay::RelayArguments;
use sandbox::SandboxArguments;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use timeouts::TimeoutArguments;
pub(crate) use timeouts::Timeouts;
use tls::TlsArguments;
pub(crate) use tls::TlsConfig;
use trace::TraceArguments;
use trusted_proxies::TrustedProxyArguments;

/// Answers requests for Routes and Ingresses from the pods of its own node.
#[derive(Debug, Parser)]
#[command(name = "nearside-proxy", version, max_term_width = 120)]
pub(crate) struct Arguments {
    /// The name of the node that this proxy runs on, as its Node object is called. Required.
    #[arg(long, env = "NEARSIDE_NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,
    /// Read objects from this directory of YAML files instead of from a cluster. May be repeated.
    #[arg(long, env = "NEARSIDE_MANIFESTS", value_name = "DIR", value_delimiter = ',')]
    manifests: Vec<String>,
    #[command(flatten)]
    objects: ObjectArguments,
    #[command(flatten)]
    sandbox: SandboxArguments,
    #[command(flatten)]
    snapshot: SnapshotArguments,
    /// Where plain HTTP is served. May be repeated. Port 0 takes any free port. [default: port 80 on every address]
    #[arg(long, env = "NEARSIDE_HTTP_LISTEN", value_name = "ADDRESS:PORT", value_delimiter = ',')]
    http_listen: Vec<String>,
    /// Where TLS is served. May be repeated. [default: port 443 on every address]
    #[arg(long, env = "NEARSIDE_HTTPS_LISTEN", value_name = "ADDRESS:PORT", value_delimiter = ',')]
    https_listen: Vec<String>,
    /// Where health, metrics and pages for the operator are served.
    #[arg(long, env = "NEARSIDE_ADMIN_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:1936")]
    admin_listen: String,
    #[command(flatten)]
    ports: PortArguments,
    #[command(flatten)]
    admin_security: AdminArguments,
    #[command(flatten)]
    metrics: MetricsArguments,
    #[command(flatten)]
    admission: AdmissionArguments,
    /// The name under which this router reports in the status of Routes.
    #[arg(long, env = "NEARSIDE_ROUTER_NAME", value_name = "NAME", default_value = "default")]
    router_name: String,
    /// Namespace of the DNSEndpoints that the controller of this router writes; no others are believed. [default:
    /// $POD_NAMESPACE, else that of the service account, else nearside]
    #[arg(long, env = "NEARSIDE_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// What a request gets whose host has no ready pod on this node: `redirect` or `reject`.
    #[arg(long, env = "NEARSIDE_ON_MISS", value_name = "POLICY", default_value = "redirect")]
    on_miss: String,
    /// Tell clients by `Alt-Svc` of a node that holds ready pods where DNS does not name this node for their host, so that
    /// their next requests go there under the same name.
    #[arg(long, env = "NEARSIDE_ALT_SVC", value_name = "BOOLEAN", default_value = "true")]
    alt_svc: String,
    #[command(flatten)]
    relay: RelayArguments,
    /// Allow endpoints in this range that would be refused (loopback, link-local, the node itself). May be repeated.
    #[arg(long, env = "NEARSIDE_ALLOW_ENDPOINTS", value_name = "CIDR", value_delimiter = ',')]
    allow_endpoints: Vec<String>,
    /// The status of requests that no route matches: `404`, or `503` as the OpenShift router has it.
    #[arg(long, env = "NEARSIDE_NO_ROUTE_STATUS", value_name = "STATUS", default_value = "404")]
    no_route_status: String,
    #[command(flatten)]
    error_pages: ErrorPageArguments,
    /// The path of plain HTTP at which a load balancer asks whether new clients are welcome, for any host: 200, or 503 from
    /// SIGTERM on. Routes cannot have it. `off` for none.
    #[arg(
        long,
        env = "NEARSIDE_PUBLIC_HEALTH_PATH",
        value_name = "PATH",
        default_value = "/_______internal_router_healthz"
    )]
    public_health_path: String,
    /// Threads that work on connections. [default: one for each CPU]
    #[arg(long, env = "NEARSIDE_THREADS", value_name = "NUMBER")]
    threads: Option<String>,
    #[command(flatten)]
    byte_path: BytePathArguments,
    #[command(flatten)]
    proxy_protocol: ProxyProtocolArguments,
    #[command(flatten)]
    trusted_proxies: TrustedProxyArguments,
    #[command(flatten)]
    timeouts: TimeoutArguments,
    #[command(flatten)]
    edge: EdgeArguments,
    #[command(flatten)]
    memory: MemoryArguments,
    #[command(flatten)]
    balance: BalanceArguments,
    #[command(flatten)]
    health: health::HealthArguments,
    /// From SIGTERM, with readiness off, until no new connection is accepted. `auto`: until the DNSEndpoints do not name this
    /// node any more, and the time to live of the records and 65 seconds more; 45 seconds where there are none.
    #[arg(long, env = "NEARSIDE_SHUTDOWN_DELAY", value_name = "DURATION", default_value = "auto")]
    shutdown_delay: String,
    /// The longest that `--shutdown-delay=auto` waits.
    #[arg(long, env = "NEARSIDE_SHUTDOWN_DELAY_MAX", value_name = "DURATION", default_value = "5m")]
    shutdown_delay_max: String,
    /// From then on until connections that are still busy are cut.
    #[arg(long, env = "NEARSIDE_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "1h")]
    drain_timeout: String,
    #[command(flatten)]
    access_log: AccessLogArguments,
    /// How log lines are written: `text` or `json`.
    #[arg(long, env = "NEARSIDE_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: String,
    #[command(flatten)]
    trace: TraceArguments,
    #[command(flatten)]
    headers: HeaderArguments,
    #[command(flatten)]
    clients: ClientArguments,
    #[command(flatten)]
    tls: TlsArguments,
}

/// What the proxy is to do; every value can be used as it is.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) node: Arc<str>,
    pub(crate) manifests: Vec<PathBuf>,
    /// Whether objects are taken from another process, or offered to one.
    pub(crate) objects: ObjectPassing,
    /// How far the process shuts itself in.
    pub(crate) sandbox: Sandbox,
    /// Where what is known is kept on disk, if anywhere.
    pub(crate) snapshot: Option<SnapshotSettings>,
    pub(crate) http: Vec<ListenAddress>,
    pub(crate) https: Vec<ListenAddress>,
    pub(crate) admin: SocketAddr,
    pub(crate) ports: PortSharing,
    pub(crate) admin_security: AdminSecurity,
    pub(crate) metrics: MetricsConfig,
    pub(crate) admission: AdmissionSettings,
    pub(crate) router_name: String,
    /// Where the DNSEndpoints of this router are.
    pub(crate) namespace: String,
    pub(crate) addresses: AddressPolicy,
    pub(crate) on_miss: MissPolicy,
    /// Whether clients are told of alternative services where an object does not say.
    pub(crate) alt_svc: bool,
    /// How much may be relayed; `None` for nothing.
    pub(crate) relay: Option<RelayConfig>,
    pub(crate) no_route_status: u16,
    pub(crate) error_pages: ErrorPages,
    /// Where load balancers ask for health on the public port.
    pub(crate) public_health_path: Option<Box<str>>,
    /// Threads that work on connections; one for each CPU where the operator says nothing.
    pub(crate) threads: Option<NonZeroUsize>,
    pub(crate) byte_path: BytePathConfig,
    pub(crate) proxy_protocol: ProxyProtocol,
    /// Whose `X-Forwarded-*` is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) timeouts: Timeouts,
    pub(crate) max_connections: u32,
    /// What strangers may take.
    pub(crate) edge: EdgeConfig,
    /// Memory that it may take.
    pub(crate) memory: MemoryLimit,
    pub(crate) balance: BalanceDefaults,
    /// Zero for no checks.
    pub(crate) check_interval: Duration,
    pub(crate) shutdown_delay: ShutdownDelay,
    pub(crate) drain_timeout: Duration,
    pub(crate) access_log: AccessLogConfig,
    pub(crate) log_format: LogFormat,
    pub(crate) trace: TraceConfig,
    pub(crate) headers: HeaderConfig,
    pub(crate) clients: ClientConfig,
    pub(crate) tls: TlsConfig,
}

impl Config {
    /// The files that it names.
    pub(crate) fn reach(&self) -> Reach {
        let mut reach = Reach::default();
        let files =
            self.tls.files.paths().into_iter().chain(self.error_pages.paths()).chain(self.admin_security.files());
        let files = files.chain(self.relay.iter().map(|relay| relay.keys.path()));
        files.chain(self.manifests.iter().map(PathBuf::as_path)).for_each(|path| reach.read(path));
        if let Some(snapshot) = &self.snapshot {
            reach.write(snapshot.directory());
        }
        if let Some(socket) = &self.ports.socket {
            reach.socket(socket);
        }
        if let Some(Place::File(socket)) = &self.ports.handover {
            reach.socket(socket);
        }
        reach
    }
}

/// How long a router that is to end accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShutdownDelay {
    /// This long.
    Fixed(Duration),
    /// As long as DNS leads clients here, but not longer than this.
    ByDns(Duration),
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddress {
    /// The address; port 0 takes any free port.
    pub(crate) address: SocketAddr,
    /// Whether it may be left out where the host does not have its address family.
    pub(crate) optional: bool,
}

/// One unusable flag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{flag}: {message}")]
pub(crate) struct Mistake {
    flag: &'static str,
    message: String,
}

impl Arguments {
    /// Checks everything.
    ///
    /// # Errors
    /// Every mistake, in the order of the flags in the help text.
    pub(crate) fn into_config(self) -> Result<Config, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        let node = self.node(&mut mistakes);
        let log_format =
            mistakes.one_of("log-format", &self.log_format, &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        let manifests = given(&self.manifests).next().is_some();
        let objects = self.objects.check(manifests, &mut mistakes);
        let config = Config {
            access_log: self.access_log.check(log_format, &node, &mut mistakes),
            manifests: given(&self.manifests).map(PathBuf::from).collect(),
            sandbox: self.sandbox.check(manifests, &objects, &mut mistakes),
            objects,
            snapshot: self.snapshot.clone().into_settings().map(SnapshotSettings::used_at_once),
            http: listen("http-listen", &self.http_listen, 80, &mut mistakes),
            https: listen("https-listen", &self.https_listen, 443, &mut mistakes),
            admin: address("admin-listen", &self.admin_listen, &mut mistakes).unwrap_or(UNSPECIFIED),
            ports: self.ports.check(&mut mistakes),
            admin_security: mistakes.admin_security(self.admin_security.clone(), !manifests),
            metrics: self.metrics.check(&mut mistakes),
            on_miss: mistakes.one_of(
                "on-miss",
                &self.on_miss,
                &[("redirect", MissPolicy::Redirect), ("reject", MissPolicy::Reject)],
            ),
            alt_svc: mistakes.one_of("alt-svc", &self.alt_svc, &[("true", true), ("false", false)]),
            relay: self.relay.check(&mut mistakes),
            addresses: AddressPolicy { allowed: self.allowed(&mut mistakes) },
            no_route_status: mistakes.one_of("no-route-status", &self.no_route_status, &[("404", 404), ("503", 503)]),
            error_pages: self.error_pages.check(&mut mistakes),
            public_health_path: self.public_health_path(&mut mistakes),
            threads: self.threads(&mut mistakes),
            byte_path: self.byte_path.check(&mut mistakes),
            proxy_protocol: self.proxy_protocol.check(&mut mistakes),
            trusted_proxies: self.trusted_proxies.check(&mut mistakes),
            timeouts: self.timeouts.timeouts(&mut mistakes),
            max_connections: self.timeouts.max_connections(&mut mistakes),
            edge: self.edge.check(&mut mistakes),
            memory: self.memory.check(&mut mistakes),
            balance: self.balance.check(&node, &mut mistakes),
            check_interval: self.health.check(&mut mistakes),
            shutdown_delay: match self.shutdown_delay.trim() {
                "auto" => ShutdownDelay::ByDns(mistakes.duration("shutdown-delay-max", &self.shutdown_delay_max)),
                fixed => ShutdownDelay::Fixed(mistakes.duration("shutdown-delay", fixed)),
            },
            drain_timeout: mistakes.duration("drain-timeout", &self.drain_timeout),
            node: node.into(),
            log_format,
            trace: self.trace.check(&mut mistakes),
            headers: self.headers.into_config(&mut mistakes),
            clients: self.clients.check(&mut mistakes),
            admission: mistakes.admission(self.admission),
            namespace: namespace::namespace(self.namespace.as_deref(), &mut mistakes),
            router_name: self.router_name,
            // Last: without it there is no configuration, and every other mistake has been found by now.
            tls: match self.tls.check(&mut mistakes) {
                Some(tls) => tls,
                None => return Err(mistakes.0),
            },
        };
        if mistakes.0.is_empty() { Ok(config) } else { Err(mistakes.0) }
    }

    /// The probe that is asked for instead of serving.
    pub(crate) fn probe(&self) -> Option<Result<(nearside_admin::Probe, PathBuf), &'static str>> {
        self.ports.probe()
    }

    fn node(&self, mistakes: &mut Mistakes) -> String {
        let name = self.node_name.as_deref().unwrap_or_default().trim();
        if name.is_empty() {
            mistakes.add("node-name", "is required: the name of the Node object of this node (or NEARSIDE_NODE_NAME)");
        }
        name.to_owned()
    }

    fn public_health_path(&self, mistakes: &mut Mistakes) -> Option<Box<str>> {
        let path = self.public_health_path.trim();
        if path.is_empty() || path == "off" {
            return None;
        }
        // What a client writes is compared as it is, so it must be what clients write.
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#%\\".contains(&byte);
        if !path.starts_with('/') || path.len() < 2 || !path.bytes().all(plain) {
            mistakes.add("public-health-path", format!("{path:?} is not a path such as /healthz, nor off"));
            return None;
        }
        Some(path.into())
    }

    fn threads(&self, mistakes: &mut Mistakes) -> Option<NonZeroUsize> {
        let text = self.threads.as_deref().map(str::trim).filter(|text| !text.is_empty())?;
        let threads = text.parse::<NonZeroUsize>().ok().filter(|threads| threads.get() <= MAX_THREADS);
        if threads.is_none() {
            mistakes.add("threads", format!("{text:?} is not a number from 1 to {MAX_THREADS}"));
        }
        threads
    }

    fn allowed(&self, mistakes: &mut Mistakes) -> Vec<IpNet> {
        let range = |text: &str| match text.parse::<IpNet>() {
            Ok(range) => Some(range),
            Err(_) => {
                mistakes.add("allow-endpoints", format!("{text:?} is not a range such as 127.0.0.0/8 or fd00::/8"));
                None
            }
        };
        given(&self.allow_endpoints).filter_map(range).collect()
    }
}

#[derive(Debug, Default)]
struct Mistakes(Vec<Mistake>);

impl Mistakes {
    fn add(&mut self, flag: &'static str, message: impl Into<String>) {
        self.0.push(Mistake { flag, message: message.into() });
    }

    /// The value of a word; the first one where the word is none of them.
    fn one_of<T: Copy>(&mut self, flag: &'static str, word: &str, words: &[(&str, T)]) -> T {
        if let Some((_, value)) = words.iter().find(|(known, _)| *known == word) {
            return *value;
        }
        let known: Vec<&str> = words.iter().map(|(known, _)| *known).collect();
        self.add(flag, format!("{word:?} is not one of {}", known.join(", ")));
        words[0].1
    }

    fn admin_security(&mut self, arguments: AdminArguments, in_cluster: bool) -> AdminSecurity {
        arguments.into_security(in_cluster).unwrap_or_else(|unusable| {
            self.0.extend(unusable.into_iter().map(|mistake| Mistake { flag: mistake.flag, message: mistake.message }));
            AdminSecurity::default()
        })
    }

    fn admission(&mut self, arguments: AdmissionArguments) -> AdmissionSettings {
        arguments.into_settings().unwrap_or_else(|unusable| {
            self.0.extend(unusable.into_iter().map(|UnusableFlag { flag, message }| Mistake { flag, message }));
            AdmissionSettings::default()
        })
    }

    fn duration(&mut self, flag: &'static str, text: &str) -> Duration {
        parse_duration(text).unwrap_or_else(|error| {
            self.add(flag, error.to_string());
            Duration::ZERO
        })
    }

    fn timeout(&mut self, flag: &'static str, text: &str) -> Duration {
        let duration = parse_duration(text);
        if duration == Ok(Duration::ZERO) {
            self.add(flag, "must be more than 0");
        }
        duration.unwrap_or_else(|error| {
            self.add(flag, error.to_string());
            Duration::ZERO
        })
    }
}

/// An empty environment variable means that nothing is given.
fn given(values: &[String]) -> impl Iterator<Item = &str> {
    values.iter().map(|value| value.trim()).filter(|value| !value.is_empty())
}

fn listen(flag: &'static str, values: &[String], port: u16, mistakes: &mut Mistakes) -> Vec<ListenAddress> {
    let addresses: Vec<ListenAddress> = given(values)
        .filter_map(|text| address(flag, text, mistakes))
        .map(|address| ListenAddress { address, optional: false })
        .collect();
    if given(values).next().is_some() {
        return addresses;
    }
    vec![
        ListenAddress { address: (Ipv4Addr::UNSPECIFIED, port).into(), optional: false },
        ListenAddress { address: (Ipv6Addr::UNSPECIFIED, port).into(), optional: true },
    ]
}

fn address(flag: &'static str, text: &str, mistakes: &mut Mistakes) -> Option<SocketAddr> {
    let address = text.trim().parse().ok();
    if address.is_none() {
        mistakes.add(flag, format!("{text:?} is not an address and port such as 0.0.0.0:80 or [::]:80"));
    }
    address
}

/// More would cost memory and switches and serve nobody.
const MAX_THREADS: usize = 1024;
/// Stands for an address that could not be read; its mistake keeps it from being used.
const UNSPECIFIED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

#[cfg(test)]
mod tests {
    use super::*;

    fn config(arguments: &[&str]) -> Result<Config, Vec<String>> {
        let all = ["nearside-proxy"].iter().chain(arguments);
        let arguments = Arguments::try_parse_from(all).unwrap();
        arguments.into_config().map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn defaults_need_only_the_node() {
        let config = config(&["--node-name", "n1"]).unwrap();
        assert_eq!(&*config.node, "n1");
        assert_eq!(config.http[0].address.to_string(), "0.0.0.0:80");
        assert!(config.https[1].optional && config.https[1].address.to_string() == "[::]:443");
        assert_eq!(config.shutdown_delay, ShutdownDelay::ByDns(Duration::from_secs(300)));
        assert_eq!(config.on_miss, MissPolicy::Redirect);
        assert_eq!(config.timeouts.connect, Duration::from_secs(5));
    }

    #[test]
    fn every_flag_that_the_openshift_environment_names_exists() {
        use nearside_admin::openshift::{Meaning, Program, SETTINGS};
        let command = <Arguments as clap::CommandFactory>::command();
        let exists = |flag: &str| command.get_arguments().any(|argument| argument.get_long() == Some(flag));
        for setting in SETTINGS {
            match setting.meaning {
                Meaning::Flag(flag, Program::Proxy | Program::Both, _) => assert!(exists(flag), "{flag}"),
                Meaning::Together(flags, Program::Proxy | Program::Both) => {
                    flags.iter().for_each(|flag| assert!(exists(flag), "{flag}"));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let mistakes = config(&[
            "--http-listen=here",
            "--on-miss=relay",
            "--allow-endpoints=10.0.0.0/8,ten",
            "--default-cert=/nowhere.pem",
            "--no-route-status=500",
            "--read-timeout=0s",
            "--max-connections=0",
            "--drain-timeout=soon",
        ])
        .unwrap_err();
        let flags: Vec<&str> = mistakes.iter().map(|mistake| mistake.split(':').next().unwrap()).collect();
        assert_eq!(
            flags,
            [
                "--node-name",
                "--http-listen",
                "--on-miss",
                "--allow-endpoints",
                "--no-route-status",
                "--read-timeout",
                "--max-connections",
                "--drain-timeout",
                "--default-cert"
            ]
        );
        assert!(mistakes[2].contains("\"relay\" is not one of redirect, reject"), "{mistakes:?}");
    }

    #[test]
    fn lists_take_several_flags_and_commas() {
        let config =
            config(&["--node-name=n", "--manifests=a,b", "--manifests=c", "--http-listen=127.0.0.1:0"]).unwrap();
        assert_eq!(config.manifests, [PathBuf::from("a"), "b".into(), "c".into()]);
        assert_eq!(config.http.len(), 1);
    }
}
