//! The command lines of `publish` and `plan`: flags flow in, settings with the file of the publication flow out, or every
//! mistake at once.

use super::{ProgramArgs, ProgramConfig, SourceArgs, SourceConfig, UsageError};
use crate::name::Name;
use crate::publish::config::{Publication, read};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Flags of `publish`, as typed.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The file that names zones, servers and keys
    #[arg(long, env = "NEARSIDE_CONFIG", value_name = "FILE")]
    pub config: PathBuf,

    /// Look whether the flags and the file can be used, say so, and end
    #[arg(long)]
    pub check: bool,

    /// Read everything and plan, and send no update. What would change is in the log and on the page /publication
    #[arg(long, env = "NEARSIDE_DRY_RUN")]
    pub dry_run: bool,

    /// What every program takes.
    #[command(flatten)]
    pub program: ProgramArgs,
}

/// Flags of `plan`, as typed.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The file that names zones, servers and keys
    #[arg(long, env = "NEARSIDE_CONFIG", value_name = "FILE")]
    pub config: PathBuf,

    /// Which objects are read.
    #[command(flatten)]
    pub source: SourceArgs,

    /// How long reading the objects may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,

    /// How the plan is written; `-o` for short
    #[arg(long, short, value_enum, default_value = "text")]
    pub output: PlanOutput,
}

/// Flags of `confirm`, as typed.
#[derive(Debug, Args)]
pub struct ConfirmArgs {
    /// The file that names zones, servers and keys
    #[arg(long, env = "NEARSIDE_CONFIG", value_name = "FILE")]
    pub config: PathBuf,

    /// The zone whose names may go
    #[arg(long, value_name = "ZONE")]
    pub zone: String,

    /// How long that counts, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
}

/// How a plan is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanOutput {
    /// A diff for people.
    Text,
    /// One JSON document.
    Json,
}

/// What `publish` runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishConfig {
    /// What the file says.
    pub publication: Publication,
    /// Whether everything was only to be checked.
    pub check: bool,
    /// Whether no update may be sent.
    pub dry_run: bool,
    /// What every program runs with.
    pub program: ProgramConfig,
}

/// What `plan` runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanConfig {
    /// What the file says.
    pub publication: Publication,
    /// Which objects are read.
    pub source: SourceConfig,
    /// How long reading them may take.
    pub timeout: Duration,
    /// How the plan is written.
    pub output: PlanOutput,
}

/// What `confirm` runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmConfig {
    /// Where the publisher looks for the word.
    pub state_dir: PathBuf,
    /// The zone whose names may go.
    pub zone: Name,
    /// How long that counts.
    pub time: Duration,
}

impl TryFrom<PublishArgs> for PublishConfig {
    type Error = UsageError;

    fn try_from(args: PublishArgs) -> Result<Self, UsageError> {
        let mut mistakes = Vec::new();
        let program = args.program.into_config(&mut mistakes);
        let publication = publication(&args.config, mistakes)?;
        Ok(Self { publication, check: args.check, dry_run: args.dry_run, program })
    }
}

impl TryFrom<PlanArgs> for PlanConfig {
    type Error = UsageError;

    fn try_from(args: PlanArgs) -> Result<Self, UsageError> {
        let mut mistakes = Vec::new();
        let source = args.source.into_config(&mut mistakes);
        let publication = publication(&args.config, mistakes)?;
        Ok(Self { publication, source, timeout: Duration::from_secs(args.timeout), output: args.output })
    }
}

impl TryFrom<ConfirmArgs> for ConfirmConfig {
    type Error = UsageError;

    fn try_from(args: ConfirmArgs) -> Result<Self, UsageError> {
        let publication = publication(&args.config, Vec::new())?;
        let known = |zone: &Name| publication.zones.iter().any(|known| known.origin == *zone);
        let zone = args.zone.parse::<Name>().ok().filter(known);
        let file = args.config.display();
        let (Some(zone), Some(state_dir)) = (zone.clone(), publication.state_dir.clone()) else {
            let mut mistakes = Vec::new();
            if zone.is_none() {
                mistakes.push(format!("--zone \"{}\" is none of the zones in {file}", args.zone));
            }
            if publication.state_dir.is_none() {
                mistakes.push(format!("--config {file}: stateDir: is missing; the publisher looks there for the word"));
            }
            return Err(UsageError(mistakes));
        };
        Ok(Self { state_dir, zone, time: Duration::from_secs(args.seconds) })
    }
}

/// What the file says, unless it or something before it is wrong.
fn publication(file: &std::path::Path, mut mistakes: Vec<String>) -> Result<Publication, UsageError> {
    match read(file) {
        Ok(publication) if mistakes.is_empty() => Ok(publication),
        Ok(_) => Err(UsageError(mistakes)),
        Err(error) => {
            mistakes.extend(error.lines().into_iter().map(|line| format!("--config {line}")));
            Err(UsageError(mistakes))
        }
    }
}

pub(super) const PUBLISH_ABOUT: &str = "Publish the records on name servers that others run, by signed updates (RFC 2136).

Reads DNSEndpoint objects (externaldns.k8s.io/v1alpha1) from the cluster of KUBECONFIG, from the cluster it runs in, or \
from --manifests, and keeps their A, AAAA, CNAME, TXT and HTTPS records on every server of every zone that the file names. Each \
name that it writes has a marker beside it (TXT, NAME._nearside.ZONE); what has none, or that of another, is never touched. \
Nothing is withdrawn because something could not be read.";

pub(super) const PUBLISH_EXAMPLES: &str = "Examples:
  See whether a file can be used:
    nearside-dns-sync publish --config publish.yaml --check
  Publish:
    nearside-dns-sync publish --config publish.yaml

  The file:
    cluster: prod-1
    zones:
      - zone: apps.example.com
        servers:
          - address: 192.0.2.53
            keys: [{name: nearside, algorithm: hmac-sha256, secretFile: /etc/nearside/tsig}]

Exit codes: 0 after SIGTERM or SIGINT, 1 when something that is needed to run cannot be had, 2 for flags or a file that cannot \
be used.";

pub(super) const PLAN_EXAMPLES: &str = "Example:
  nearside-dns-sync plan --config publish.yaml --manifests ./objects

Of each server, a line for each name that is not as desired: + is created, ~ changed, - withdrawn; ! is a conflict and = is held, \
with the reason.

Exit codes, as of diff: 0 when nothing would change, 1 when something would, 2 for flags or a file that cannot be used and when \
objects or a server could not be read.";

pub(super) const CONFIRM_EXAMPLES: &str = "Example:
  kubectl -n nearside exec deploy/nearside-dns-sync -- nearside-dns-sync confirm --zone apps.example.com

When more than 30 % of the names of a zone, and at least 10, would go within a minute, publish holds them back until somebody says that \
this is right. The word is a file in stateDir that the running publisher takes within a second. It counts for the time that is given, and \
once.";
