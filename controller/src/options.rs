//! The command line, in two steps: what was typed flows in, valid settings flow out, or every mistake at once, one line
//! each. Each flag can be given as environment variable `NEARSIDE_` and its name.

mod mistakes;
mod reading;

pub(crate) use mistakes::Mistakes;
pub(crate) use reading::{Reading, ReadingArguments};

use clap::{ArgAction, Parser};
use nearside_admin::{AdminArguments, AdminSecurity, LogFormat};
use nearside_routing::hostname::Hostname;
use nearside_watch::{SnapshotArguments, SnapshotSettings};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;

/// Publishes in DNS the nodes that hold ready pods of each host, and writes the status of Routes and Ingresses.
///
/// Commands, each with a --help of its own:
///   explain URL    what happens to a request, and why
///   check -f FILE  what is wrong with manifests, before they are applied
///   run            the controller itself, as without a command
#[derive(Clone, Debug, Parser)]
#[command(name = "nearside-controller", version, about, verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    reading: ReadingArguments,
    #[command(flatten)]
    snapshot: SnapshotArguments,
    /// Where to write what would go to the API; needed with --manifests
    #[arg(long, value_name = "DIR", env = "NEARSIDE_OUT")]
    out: Option<PathBuf>,
    /// Address of health, metrics, the status page and /placement
    #[arg(long, value_name = "ADDRESS:PORT", env = "NEARSIDE_ADMIN_LISTEN")]
    admin_listen: Option<String>,
    #[command(flatten)]
    admin_security: AdminArguments,
    /// Host that our entry in the status of Routes names as the target for CNAMEs
    #[arg(long, value_name = "HOST", env = "NEARSIDE_ROUTER_CANONICAL_HOSTNAME")]
    router_canonical_hostname: Option<String>,
    /// Write the status of Routes and Ingresses; false where another router's controller writes it
    #[arg(
        long, value_name = "true|false", env = "NEARSIDE_UPDATE_STATUS", default_value = "true",
        default_missing_value = "true", num_args = 0..=1, require_equals = false, action = ArgAction::Set
    )]
    update_status: String,
    /// Port of the routers at which nodes that are not Ready are probed, or `off`: what still answers stays published for a while
    #[arg(long, value_name = "PORT", env = "NEARSIDE_PROBE_PORT", default_value = "80")]
    probe_port: String,
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
    pub(crate) reading: Reading,
    /// Where what is known is kept on disk, if anywhere.
    pub(crate) snapshot: Option<SnapshotSettings>,
    pub(crate) router_canonical_hostname: String,
    pub(crate) update_status: bool,
    pub(crate) leader_elect: bool,
    /// Where routers take connections, as probes look for it; `None` for no probes.
    pub(crate) probe_port: Option<u16>,
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
        let place = match (arguments.reading.manifests.as_slice(), &arguments.out) {
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
        for directory in &arguments.reading.manifests {
            if arguments.out.as_ref().is_some_and(|out| out.starts_with(directory)) {
                let message = "must not be inside a --manifests directory, or its files would be read as input";
                mistakes.add("--out", message);
            }
        }
        let reading = arguments.reading.into_settings(surroundings, &mut mistakes);
        let canonical = arguments.router_canonical_hostname.unwrap_or_default();
        match Hostname::parse(&canonical) {
            Err(error) if !canonical.is_empty() => mistakes.add("--router-canonical-hostname", error),
            Ok(_) if canonical.parse::<IpAddr>().is_ok() => {
                mistakes.add("--router-canonical-hostname", format!("{canonical} is an address; a name is needed"));
            }
            _ => {}
        }
        let update_status =
            mistakes.choose("--update-status", &arguments.update_status, &[("true", true), ("false", false)]);
        let probe_port = match arguments.probe_port.as_str() {
            "off" => None,
            port => mistakes.parse::<NonZeroU16>("--probe-port", port).map(NonZeroU16::get),
        };
        let leader_elect =
            mistakes.choose("--leader-elect", &arguments.leader_elect, &[("true", true), ("false", false)]);
        let log_format = mistakes.choose(
            "--log-format",
            &arguments.log_format,
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
        );
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
            reading,
            snapshot: arguments.snapshot.into_settings(),
            router_canonical_hostname: canonical,
            update_status,
            leader_elect,
            probe_port,
            log_format,
        })
    }
}

const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

#[cfg(test)]
mod tests {
    use super::*;
    use nearside_routing::placement::{RecordPolicy, RouterSelector};

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
        assert_eq!(options.reading.namespace, "nearside");
        assert_eq!(options.reading.router_selector, RouterSelector::default());
        assert_eq!(options.reading.records, RecordPolicy::default());
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
            "--probe-port=0",
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
        let namespace = |flag, surroundings: &Surroundings| {
            Options::new(arguments(flag), surroundings.clone()).unwrap().reading.namespace
        };
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
