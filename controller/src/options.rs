//! The command line, in two steps: what was typed flows in, valid settings flow out, or every mistake at once, one line
//! each. Each flag can be given as environment variable `NEARSIDE_` and its name.

mod mistakes;

use clap::{ArgAction, Parser};
use mistakes::Mistakes;
use nearside_admin::{AdminArguments, AdminSecurity, LogFormat};
use nearside_routing::address_policy::AddressPolicy;
use nearside_routing::hostname::Hostname;
use nearside_routing::placement::{RecordPolicy, RouterSelector};
use nearside_watch::{AdmissionArguments, AdmissionSettings, UnusableFlag};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Publishes in DNS the nodes that hold ready pods of each host, and writes the status of Routes and Ingresses.
#[derive(Clone, Debug, Parser)]
#[command(name = "nearside-controller", version, about)]
pub(crate) struct Arguments {
    /// A directory of manifests to read instead of a cluster; may be given several times
    #[arg(long, value_name = "DIR", env = "NEARSIDE_MANIFESTS", value_delimiter = ',')]
    manifests: Vec<PathBuf>,
    /// Where to write what would go to the API; needed with --manifests
    #[arg(long, value_name = "DIR", env = "NEARSIDE_OUT")]
    out: Option<PathBuf>,
    /// Address of health, metrics and the page /placement
    #[arg(long, value_name = "ADDRESS:PORT", env = "NEARSIDE_ADMIN_LISTEN")]
    admin_listen: Option<String>,
    #[command(flatten)]
    admin_security: AdminArguments,
    /// Labels of the router pods: NAME=VALUE, several joined by commas
    #[arg(long, value_name = "LABELS", env = "NEARSIDE_ROUTER_SELECTOR", default_value = ROUTER_LABELS)]
    router_selector: String,
    /// Namespace of the router pods; any if not given
    #[arg(long, value_name = "NAMESPACE", env = "NEARSIDE_ROUTER_NAMESPACE")]
    router_namespace: Option<String>,
    /// Types of node addresses to publish; the first type that a node has counts
    #[arg(long, value_name = "TYPES", env = "NEARSIDE_NODE_ADDRESS_TYPE", default_value = "ExternalIP,InternalIP")]
    node_address_type: String,
    /// Time to live of the records in seconds, at least 5
    #[arg(long, value_name = "SECONDS", env = "NEARSIDE_RECORD_TTL", default_value = "30")]
    record_ttl: String,
    /// Most addresses of one family under one name, at most 100
    #[arg(long, value_name = "N", env = "NEARSIDE_MAX_ADDRESSES", default_value = "24")]
    max_addresses: String,
    /// Namespace of the DNSEndpoints and the Lease [default: $POD_NAMESPACE, else that of the service account, else nearside]
    #[arg(long, value_name = "NAMESPACE", env = "NEARSIDE_NAMESPACE")]
    namespace: Option<String>,
    /// Name of our entry in the status of Routes
    #[arg(long, value_name = "NAME", env = "NEARSIDE_ROUTER_NAME", default_value = "default")]
    router_name: String,
    /// Host that our entry in the status of Routes names as the target for CNAMEs
    #[arg(long, value_name = "HOST", env = "NEARSIDE_ROUTER_CANONICAL_HOSTNAME")]
    router_canonical_hostname: Option<String>,
    /// Write the status of Routes and Ingresses; false where another router's controller writes it
    #[arg(
        long, value_name = "true|false", env = "NEARSIDE_UPDATE_STATUS", default_value = "true",
        default_missing_value = "true", num_args = 0..=1, require_equals = false, action = ArgAction::Set
    )]
    update_status: String,
    #[command(flatten)]
    admission: AdmissionArguments,
    /// Endpoint addresses to allow although they look unsafe; must be the same for the proxies
    #[arg(long, value_name = "CIDR", env = "NEARSIDE_ALLOW_ENDPOINTS", value_delimiter = ',')]
    allow_endpoints: Vec<String>,
    /// Write only while holding the Lease; false where there is one controller for certain
    #[arg(
        long, value_name = "true|false", env = "NEARSIDE_LEADER_ELECT", default_value = "true",
        default_missing_value = "true", num_args = 0..=1, require_equals = false, action = ArgAction::Set
    )]
    leader_elect: String,
    /// Log lines for people or for machines
    #[arg(long, value_name = "text|json", env = "NEARSIDE_LOG_FORMAT", default_value = "text")]
    log_format: String,
}

/// What the process is to do.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) place: Place,
    pub(crate) admin_listen: Option<SocketAddr>,
    pub(crate) admin_security: AdminSecurity,
    pub(crate) router_selector: RouterSelector,
    pub(crate) records: RecordPolicy,
    pub(crate) namespace: String,
    pub(crate) router_name: String,
    pub(crate) router_canonical_hostname: String,
    pub(crate) update_status: bool,
    pub(crate) admission: AdmissionSettings,
    pub(crate) addresses: AddressPolicy,
    pub(crate) leader_elect: bool,
    pub(crate) log_format: LogFormat,
}

/// Where objects are read and written.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// The cluster that the environment names.
    Cluster,
    /// Directories of manifests to read, and one to write.
    Directories { manifests: Vec<PathBuf>, out: PathBuf },
}

/// What the surroundings say of the namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// `POD_NAMESPACE`.
    pub(crate) pod_namespace: Option<String>,
    /// The namespace of the mounted service account.
    pub(crate) service_account_namespace: Option<String>,
}

impl Surroundings {
    /// Reads them.
    pub(crate) fn read() -> Self {
        let non_empty = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Self {
            pod_namespace: std::env::var("POD_NAMESPACE").ok().and_then(non_empty),
            service_account_namespace: std::fs::read_to_string(SERVICE_ACCOUNT).ok().and_then(non_empty),
        }
    }
}

impl Options {
    /// Settings from what was typed.
    ///
    /// # Errors
    /// Every mistake, one line each, naming the flag.
    pub(crate) fn new(arguments: Arguments, surroundings: Surroundings) -> Result<Self, Vec<String>> {
        let mut mistakes = Mistakes::default();
        let place = match (arguments.manifests.as_slice(), &arguments.out) {
            ([], None) => Place::Cluster,
            ([], Some(_)) => {
                mistakes.add("--out", "is for --manifests; with a cluster, objects are written to its API");
                Place::Cluster
            }
            (_, None) => {
                mistakes.add("--manifests", "needs --out, the directory to write to");
                Place::Cluster
            }
            (manifests, Some(out)) => Place::Directories { manifests: manifests.to_vec(), out: out.clone() },
        };
        for directory in &arguments.manifests {
            if !directory.exists() {
                mistakes.add("--manifests", format!("{} does not exist", directory.display()));
            }
            if arguments.out.as_ref().is_some_and(|out| out.starts_with(directory)) {
                let message = "must not be inside a --manifests directory, or its files would be read as input";
                mistakes.add("--out", message);
            }
        }
        let namespace = arguments.namespace.or(surroundings.pod_namespace).or(surroundings.service_account_namespace);
        let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        mistakes.check_label("--namespace", &namespace);
        if let Some(namespace) = &arguments.router_namespace {
            mistakes.check_label("--router-namespace", namespace);
        }
        if arguments.router_name.is_empty() {
            mistakes.add("--router-name", "must not be empty");
        }
        let canonical = arguments.router_canonical_hostname.unwrap_or_default();
        match Hostname::parse(&canonical) {
            Err(error) if !canonical.is_empty() => mistakes.add("--router-canonical-hostname", error),
            Ok(_) if canonical.parse::<IpAddr>().is_ok() => {
                mistakes.add("--router-canonical-hostname", format!("{canonical} is an address; a name is needed"));
            }
            _ => {}
        }
        let labels = mistakes.labels(&arguments.router_selector);
        let ttl: u32 = mistakes.parse("--record-ttl", &arguments.record_ttl).unwrap_or(MIN_TTL);
        if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
            mistakes.add("--record-ttl", format!("{ttl}: from {MIN_TTL} to {MAX_TTL} seconds"));
        }
        let max_addresses: usize = mistakes.parse("--max-addresses", &arguments.max_addresses).unwrap_or(1);
        if !(1..=MAX_ADDRESSES).contains(&max_addresses) {
            let message = format!("{max_addresses}: from 1 to {MAX_ADDRESSES}; resolvers answer SERVFAIL beyond");
            mistakes.add("--max-addresses", message);
        }
        let address_types = mistakes.address_types(&arguments.node_address_type);
        let admission = arguments.admission.into_settings().unwrap_or_else(|unusable| {
            for UnusableFlag { flag, message } in unusable {
                mistakes.add(&format!("--{flag}"), message);
            }
            AdmissionSettings::default()
        });
        let update_status =
            mistakes.choose("--update-status", &arguments.update_status, &[("true", true), ("false", false)]);
        let leader_elect =
            mistakes.choose("--leader-elect", &arguments.leader_elect, &[("true", true), ("false", false)]);
        let log_format = mistakes.choose(
            "--log-format",
            &arguments.log_format,
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
        );
        let allowed = arguments.allow_endpoints.iter().filter(|range| !range.is_empty());
        let allowed = allowed.filter_map(|range| mistakes.parse("--allow-endpoints", range)).collect();
        let in_cluster = matches!(place, Place::Cluster);
        let admin_security = arguments.admin_security.into_security(in_cluster).unwrap_or_else(|unusable| {
            for mistake in unusable {
                mistakes.add(&format!("--{}", mistake.flag), mistake.message);
            }
            AdminSecurity::default()
        });
        let admin_listen = arguments.admin_listen.and_then(|address| mistakes.parse("--admin-listen", &address));
        mistakes.none()?;
        Ok(Self {
            place,
            admin_listen,
            admin_security,
            router_selector: RouterSelector { labels, namespace: arguments.router_namespace },
            records: RecordPolicy { address_types, ttl, max_addresses },
            namespace,
            router_name: arguments.router_name,
            router_canonical_hostname: canonical,
            update_status,
            admission,
            addresses: AddressPolicy { allowed },
            leader_elect,
            log_format,
        })
    }
}

const ROUTER_LABELS: &str = "app.kubernetes.io/name=nearside-proxy";
const DEFAULT_NAMESPACE: &str = "nearside";
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
const MIN_TTL: u32 = 5;
const MAX_TTL: u32 = 86_400;
/// BIND's `max-records-per-type`.
const MAX_ADDRESSES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Result<Options, Vec<String>> {
        let arguments = Arguments::try_parse_from(std::iter::once(&"nearside-controller").chain(arguments)).unwrap();
        Options::new(arguments, Surroundings::default())
    }

    #[test]
    fn every_flag_that_the_openshift_environment_names_exists() {
        use nearside_admin::openshift::{Meaning, Program, SETTINGS};
        let command = <Arguments as clap::CommandFactory>::command();
        for setting in SETTINGS {
            if let Meaning::Flag(flag, Program::Controller | Program::Both, _) = setting.meaning {
                assert!(command.get_arguments().any(|argument| argument.get_long() == Some(flag)), "{flag}");
            }
        }
    }

    #[test]
    fn the_defaults_are_valid() {
        let options = options(&[]).unwrap();
        assert_eq!(options.namespace, "nearside");
        assert_eq!(options.router_selector, RouterSelector::default());
        assert_eq!(options.records, RecordPolicy::default());
        assert!(options.leader_elect);
    }

    #[test]
    fn every_mistake_is_told_and_names_its_flag() {
        let mistakes = options(&[
            "--manifests=/nowhere",
            "--record-ttl=4",
            "--max-addresses=101",
            "--router-selector=app",
            "--node-address-type=Hostname",
            "--namespace-ownership=all",
            "--allow-endpoints=10.0.0.0/33",
            "--admin-listen=here",
            "--leader-elect=maybe",
            "--update-status=perhaps",
            "--denied-domains=a_b",
            "--log-format=xml",
            "--namespace=a.b",
            "--router-canonical-hostname=a_b",
            "--router-name=",
        ])
        .unwrap_err();
        for flag in [
            "--manifests: needs --out",
            "--manifests: /nowhere",
            "--record-ttl: 4",
            "--max-addresses: 101",
            "--router-selector: \"app\"",
            "--node-address-type: \"Hostname\"",
            "--namespace-ownership: \"all\"",
            "--allow-endpoints: \"10.0.0.0/33\"",
            "--admin-listen: \"here\"",
            "--leader-elect: \"maybe\"",
            "--update-status: \"perhaps\"",
            "--denied-domains: \"a_b\"",
            "--log-format: \"xml\"",
            "--namespace: \"a.b\"",
            "--router-canonical-hostname: ",
            "--router-name: ",
        ] {
            assert!(mistakes.iter().any(|mistake| mistake.starts_with(flag)), "{flag} not in {mistakes:#?}");
        }
        assert!(mistakes.iter().all(|mistake| !mistake.contains('\n')));
    }

    #[test]
    fn the_namespace_comes_from_the_flag_then_the_pod_then_the_account() {
        let arguments = |flag: Option<&str>| {
            let flag = flag.map(|namespace| format!("--namespace={namespace}"));
            Arguments::try_parse_from(std::iter::once("nearside-controller".to_owned()).chain(flag)).unwrap()
        };
        let surroundings =
            Surroundings { pod_namespace: Some("pod".into()), service_account_namespace: Some("account".into()) };
        let namespace =
            |flag, surroundings: &Surroundings| Options::new(arguments(flag), surroundings.clone()).unwrap().namespace;
        assert_eq!(namespace(Some("flag"), &surroundings), "flag");
        assert_eq!(namespace(None, &surroundings), "pod");
        let account = Surroundings { pod_namespace: None, ..surroundings };
        assert_eq!(namespace(None, &account), "account");
    }

    #[test]
    fn out_must_not_be_read_as_input() {
        let root = tempfile::tempdir().unwrap();
        let manifests = format!("--manifests={}", root.path().display());
        let out = format!("--out={}", root.path().join("out").display());
        assert!(options(&[&manifests, &out]).unwrap_err()[0].starts_with("--out: must not be inside"));
    }
}
