//! What every program of Nearside offers its operator: an admin port with health, readiness, metrics and pages, one log
//! format, command lines that take over the environment of an OpenShift router, and an orderly reaction to signals. The programs pass their state in; people, probes and Prometheus read it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod arguments;
mod command_line;
pub mod file_stamp;
mod handover;
pub mod html;
mod log;
pub mod openshift;
mod printable;
mod readiness;
mod server;
mod signal;
mod socket;
mod tls;

pub use arguments::{AdminArguments, AdminMistake, AdminSecurity};
pub use command_line::{Configured, configure, configure_from, parse_arguments, unusable_flags};
pub use log::{LogFormat, LogThread, init_logging};
pub use printable::printable;
pub use readiness::{Blocker, Readiness};
pub use server::{AdminError, AdminServer, Page};
pub use signal::Shutdown;
pub use socket::{Probe, ProbeFailure};
