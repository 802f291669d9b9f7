//! The commands about a cluster that the lab shares: `api` serves one for as long as it is wanted, `clean` removes what the lab has left
//! in one. Flags flow in; a kubeconfig, or what was removed, flows out.

use crate::api::{ApiServer, Options, ServerTls, random};
use crate::certificates::TestCa;
use crate::lab::cluster::remove_leftovers;
use crate::rest::{Kubeconfig, Rest};
use anyhow::{Context as _, Result};
use clap::Args;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// Flags of `nearside-loadtest api`.
#[derive(Clone, Debug, Args)]
pub struct ApiOptions {
    /// Where to serve; port 0 for any that is free
    #[arg(long, env = "NEARSIDE_API_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:6443")]
    pub listen: SocketAddr,
    /// Where to write the administrator's kubeconfig, once connections are accepted
    #[arg(long, env = "NEARSIDE_API_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: PathBuf,
}

/// Flags of `nearside-loadtest clean`.
#[derive(Clone, Debug, Args)]
pub struct CleanOptions {
    /// The cluster
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: PathBuf,
    /// Only what this run has left, as the label `nearside.dev/lab-run` names it. Default: all runs
    #[arg(long, env = "NEARSIDE_RUN", value_name = "RUN")]
    pub run: Option<String>,
}

/// Serves an empty cluster until SIGINT or SIGTERM.
///
/// # Errors
/// When the address or the file cannot be used.
pub async fn serve(options: &ApiOptions) -> Result<()> {
    let listener = TcpListener::bind(options.listen).with_context(|| format!("cannot listen on {}", options.listen))?;
    let ca = TestCa::new("nearside-loadtest api")?;
    let tls = ServerTls {
        server: ca.identity(&[&options.listen.ip().to_string(), "localhost"])?.server()?,
        authority: ca.certificate().to_owned(),
    };
    let token = format!("{:016x}{:016x}", random(), random());
    let server = ApiServer::start_on(vec![listener], Options { tls: Some(tls), ..Options::strict(&token) }).await?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    write_secret(&options.kubeconfig, &server.kubeconfig_yaml())
        .with_context(|| format!("cannot write {}", options.kubeconfig.display()))?;
    let line = format!("serving {}; KUBECONFIG={}\n", server.url(), options.kubeconfig.display());
    std::io::stdout().write_all(line.as_bytes())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Removes what is left, and says how much.
///
/// # Errors
/// When the cluster cannot be asked or refuses.
pub fn clean(options: &CleanOptions) -> Result<()> {
    let rest = Rest::new(&Kubeconfig::read(&options.kubeconfig)?)?;
    let removed = remove_leftovers(&rest, options.run.as_deref())?;
    let line = format!("removed {removed} objects, and what was in their namespaces\n");
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(())
}

/// Whole or not at all: whoever waits for the file may read it as soon as it is there.
fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    fs::rename(new, path)
}
