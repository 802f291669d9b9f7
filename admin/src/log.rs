//! Logs: the program's tracing events flow in, lines on standard error flow out, as text for people or JSON for machines.

use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

/// How log lines are written (`--log-format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per event.
    Json,
}

/// Starts logging to standard error. `NEARSIDE_LOG` sets levels (such as `debug` or `info,nearside_proxy=debug`);
/// without it, `info`. A second call changes nothing.
pub fn init_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_env("NEARSIDE_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // The error means that a subscriber is set already, and that one stays.
    drop(match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    });
}

/// The libraries below speak of their own matters, several lines for each connection. The client of kube logs every failed
/// attempt and, of an answer that is not JSON, the whole body, which can hold a Secret; our own lines say what failed.
const DEFAULT_FILTER: &str =
    "info,kube_client=off,kube=warn,pingora=warn,pingora_core=warn,pingora_proxy=warn,hyper=warn,rustls=warn";
