//! The command line of `status`: flags flow in, where to ask and how to show it flow out, or every mistake at once.

use super::UsageError;
use crate::status::{Access, Place};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Flags of `status`, as typed.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The --admin-listen of the publisher
    #[arg(long, env = "NEARSIDE_ADMIN", value_name = "http://HOST:PORT", default_value = "http://127.0.0.1:1938")]
    pub admin: String,

    /// A file with the token that lets in there, where one is needed
    #[arg(long, env = "NEARSIDE_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// The name that lets in there, where one is needed (`--admin-username` of the publisher); with --password-file
    #[arg(long, env = "NEARSIDE_ADMIN_USERNAME", value_name = "NAME")]
    pub username: Option<String>,

    /// A file with its password
    #[arg(long, env = "NEARSIDE_ADMIN_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,

    /// Only this host
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,

    /// How it is shown; `-o` for short. `wide` shows each name on each name server
    #[arg(long, short, value_enum, default_value = "table")]
    pub output: StatusOutput,

    /// Ask until all is visible, for so many seconds at most, and show the last answer
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub wait: Option<u64>,
}

/// How the status is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatusOutput {
    /// A line for each name.
    Table,
    /// The same, with a line for each name and name server.
    Wide,
    /// One JSON document.
    Json,
}

/// What `status` runs with.
#[derive(Clone, Debug)]
pub struct StatusConfig {
    /// Where the publisher shows its pages.
    pub place: Place,
    /// What lets in there.
    pub access: Access,
    /// The only name to show, if any.
    pub host: Option<String>,
    /// How it is shown.
    pub output: StatusOutput,
    /// How long to wait until all is visible.
    pub wait: Option<Duration>,
}

impl TryFrom<StatusArgs> for StatusConfig {
    type Error = UsageError;

    fn try_from(args: StatusArgs) -> Result<Self, UsageError> {
        let mut mistakes = Vec::new();
        let place = args.admin.parse::<Place>();
        if let Err(error) = &place {
            mistakes.push(format!("--admin {error}"));
        }
        let mut content = |flag: &str, file: Option<PathBuf>| match std::fs::read_to_string(file.as_ref()?) {
            Ok(content) => Some(content.trim().to_owned()),
            Err(error) => {
                mistakes.push(format!("{flag} {}: {error}", file.unwrap_or_default().display()));
                None
            }
        };
        let (token, password) =
            (content("--token-file", args.token_file), content("--password-file", args.password_file));
        if token.as_ref().is_some_and(|token| !token.chars().all(|c| c.is_ascii_graphic())) {
            mistakes.push("--token-file: what is in it is no token".to_owned());
        }
        let access = match (token, args.username, password) {
            (Some(token), _, _) => Access::Token(token),
            (None, Some(name), Some(password)) => Access::Password { name, password },
            _ => Access::Open,
        };
        let wait = args.wait.map(Duration::from_secs);
        match place {
            Ok(place) if mistakes.is_empty() => Ok(Self { place, access, host: args.host, output: args.output, wait }),
            _ => Err(UsageError(mistakes)),
        }
    }
}

pub(super) const STATUS_ABOUT: &str = "Show how far the records of each host have come on each name server.

Asks a running `publish` for its page /publication. A host is Applied when every name server that takes updates has taken its \
records, Visible when every name server was seen to answer with them, and Settled when nobody can hold an older answer any more.";

pub(super) const STATUS_EXAMPLES: &str = "Examples:
  kubectl port-forward -n nearside deploy/nearside-dns-sync 1938 &
  nearside-dns-sync status
  Each name server by itself, of one host:
    nearside-dns-sync status --host video.apps.example.com -o wide
  In a script: wait until a host is visible everywhere:
    nearside-dns-sync status --host video.apps.example.com --wait 60

Exit codes: 0 where all that is shown is visible, 1 where it is not or the publisher cannot be asked, 2 for flags that cannot be \
used.";
