//! The flags that say what is read and what is made of it, the same for the controller and for its commands that answer one
//! question: text flows in, valid settings flow out, and every mistake is noted.

use super::Surroundings;
use super::mistakes::Mistakes;
use nearside_routing::address_policy::AddressPolicy;
use nearside_routing::placement::{RecordPolicy, RouterSelector};
use nearside_watch::{AdmissionArguments, AdmissionSettings, UnusableFlag};
use std::path::PathBuf;

/// The flags as they were typed.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReadingArguments {
    /// A directory of manifests to read instead of a cluster; may be given several times
    #[arg(long, value_name = "DIR", env = "NEARSIDE_MANIFESTS", value_delimiter = ',')]
    pub(super) manifests: Vec<PathBuf>,
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
    /// Give wildcard hosts per-node aliases, too; only the name server of nearside-dns-sync answers by them
    #[arg(long, env = "NEARSIDE_WILDCARD_ALIASES")]
    wildcard_aliases: bool,
    /// Namespace of the DNSEndpoints and the Lease [default: $POD_NAMESPACE, else that of the service account, else nearside]
    #[arg(long, value_name = "NAMESPACE", env = "NEARSIDE_NAMESPACE")]
    namespace: Option<String>,
    /// Name of our entry in the status of Routes
    #[arg(long, value_name = "NAME", env = "NEARSIDE_ROUTER_NAME", default_value = "default")]
    router_name: String,
    #[command(flatten)]
    admission: AdmissionArguments,
    /// Endpoint addresses to allow although they look unsafe; must be the same for the proxies
    #[arg(long, value_name = "CIDR", env = "NEARSIDE_ALLOW_ENDPOINTS", value_delimiter = ',')]
    allow_endpoints: Vec<String>,
}

/// What is read, and what is made of it.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// Empty for a cluster.
    pub(crate) manifests: Vec<PathBuf>,
    pub(crate) router_selector: RouterSelector,
    pub(crate) records: RecordPolicy,
    pub(crate) namespace: String,
    /// Which installation it is, of several beside each other.
    pub(crate) router_name: String,
    pub(crate) admission: AdmissionSettings,
    pub(crate) addresses: AddressPolicy,
}

impl ReadingArguments {
    /// Checks everything.
    pub(crate) fn into_settings(self, surroundings: Surroundings, mistakes: &mut Mistakes) -> Reading {
        for directory in self.manifests.iter().filter(|directory| !directory.exists()) {
            mistakes.add("--manifests", format!("{} does not exist", directory.display()));
        }
        let namespace = self.namespace.or(surroundings.pod_namespace).or(surroundings.service_account_namespace);
        let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        mistakes.check_label("--namespace", &namespace);
        if let Some(namespace) = &self.router_namespace {
            mistakes.check_label("--router-namespace", namespace);
        }
        if self.router_name.is_empty() {
            mistakes.add("--router-name", "must not be empty");
        }
        let labels = mistakes.labels(&self.router_selector);
        let ttl: u32 = mistakes.parse("--record-ttl", &self.record_ttl).unwrap_or(MIN_TTL);
        if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
            mistakes.add("--record-ttl", format!("{ttl}: from {MIN_TTL} to {MAX_TTL} seconds"));
        }
        let max_addresses: usize = mistakes.parse("--max-addresses", &self.max_addresses).unwrap_or(1);
        if !(1..=MAX_ADDRESSES).contains(&max_addresses) {
            let message = format!("{max_addresses}: from 1 to {MAX_ADDRESSES}; resolvers answer SERVFAIL beyond");
            mistakes.add("--max-addresses", message);
        }
        let address_types = mistakes.address_types(&self.node_address_type);
        let admission = self.admission.into_settings().unwrap_or_else(|unusable| {
            for UnusableFlag { flag, message } in unusable {
                mistakes.add(&format!("--{flag}"), message);
            }
            AdmissionSettings::default()
        });
        let allowed = self.allow_endpoints.iter().filter(|range| !range.is_empty());
        let allowed = allowed.filter_map(|range| mistakes.parse("--allow-endpoints", range)).collect();
        Reading {
            manifests: self.manifests,
            router_selector: RouterSelector { labels, namespace: self.router_namespace },
            records: RecordPolicy { address_types, ttl, max_addresses, wildcard_aliases: self.wildcard_aliases },
            namespace,
            router_name: self.router_name,
            admission,
            addresses: AddressPolicy { allowed },
        }
    }
}

const ROUTER_LABELS: &str = "app.kubernetes.io/name=nearside-proxy";
const DEFAULT_NAMESPACE: &str = "nearside";
const MIN_TTL: u32 = 5;
const MAX_TTL: u32 = 86_400;
/// BIND's `max-records-per-type`.
const MAX_ADDRESSES: usize = 100;
