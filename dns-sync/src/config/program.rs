//! The flags that the programs of this crate share: where objects come from, the admin port, the log. Raw text flows in, settings
//! flow out. Part of the command line of `serve` and `publish`, the source alone of `plan`.

use clap::Args;
use nearside_admin::{AdminArguments, AdminSecurity, LogFormat};
use nearside_watch::{SnapshotArguments, SnapshotSettings};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Which DNSEndpoints are read, as typed.
#[derive(Clone, Debug, Default, Args)]
pub struct SourceArgs {
    /// Read objects from this directory of YAML files instead of a cluster, and again when they change; repeatable
    #[arg(long, env = "NEARSIDE_MANIFESTS", value_name = "DIR", value_delimiter = ',')]
    pub manifests: Vec<PathBuf>,

    /// Read only the DNSEndpoints of this namespace. Default: all namespaces
    #[arg(long, env = "NEARSIDE_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}

/// What every program takes, as typed.
#[derive(Clone, Debug, Args)]
pub struct ProgramArgs {
    /// Which objects are read.
    #[command(flatten)]
    pub source: SourceArgs,

    /// Where what is known is kept on disk.
    #[command(flatten)]
    pub snapshot: SnapshotArguments,

    /// Where to offer /healthz, /healthz/ready and /metrics. Default: nowhere
    #[arg(long, env = "NEARSIDE_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<SocketAddr>,

    /// What guards the admin port.
    #[command(flatten)]
    pub admin_security: AdminArguments,

    /// How log lines look
    #[arg(long, env = "NEARSIDE_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

/// Which DNSEndpoints are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceConfig {
    /// Directories to read instead of a cluster.
    pub manifests: Vec<PathBuf>,
    /// The only namespace to read, if any.
    pub namespace: Option<String>,
}

/// What every program runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramConfig {
    /// Which objects are read.
    pub source: SourceConfig,
    /// Where what is known is kept on disk, if anywhere.
    pub snapshot: Option<SnapshotSettings>,
    /// Where the admin port is, if anywhere.
    pub admin_listen: Option<SocketAddr>,
    /// What the admin port demands of its readers.
    pub admin_security: AdminSecurity,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl SourceArgs {
    /// Checks everything; adds what is wrong.
    pub(super) fn into_config(self, mistakes: &mut Vec<String>) -> SourceConfig {
        if let Some(namespace) = self.namespace.as_deref().filter(|namespace| !is_dns_label(namespace)) {
            mistakes.push(format!("--namespace \"{namespace}\" is not a namespace name"));
        }
        for directory in self.manifests.iter().filter(|directory| !directory.is_dir()) {
            mistakes.push(format!("--manifests {} is not a directory", directory.display()));
        }
        SourceConfig { manifests: self.manifests, namespace: self.namespace }
    }
}

impl ProgramArgs {
    /// Checks everything; adds what is wrong.
    pub(super) fn into_config(self, mistakes: &mut Vec<String>) -> ProgramConfig {
        let source = self.source.into_config(mistakes);
        let admin_security =
            self.admin_security.into_security(source.manifests.is_empty()).unwrap_or_else(|unusable| {
                mistakes.extend(unusable.iter().map(ToString::to_string));
                AdminSecurity::default()
            });
        ProgramConfig {
            source,
            snapshot: self.snapshot.into_settings(),
            admin_listen: self.admin_listen,
            admin_security,
            log_format: self.log_format,
        }
    }
}

fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
}
