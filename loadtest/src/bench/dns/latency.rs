//! From a decision to what shows it: DNSEndpoints are written to an API, as the controller writes them, for one host or for many at
//! once; when the API has each is one moment, when a query to the name server sees its new addresses is another. The distribution of
//! the time between goes to the report. Called by `dns`.

use super::Options;
use super::peers::{PATIENCE, free_address};
use super::report::Report;
use super::sight::Sight;
use super::statistics::Samples;
use super::zone::{NAMESPACE, ORIGIN, endpoint, host_name};
use crate::api::{ApiServer, Options as ApiOptions};
use crate::lab::Place;
use crate::programs::{Launch, Program};
use anyhow::{Context as _, Result};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// Measures every way of publishing.
pub(super) async fn measure(options: &Options, directory: &Path, report: &mut Report) -> Result<()> {
    let hosts = options.changes.iter().copied().max().unwrap_or(1);
    let api = ApiServer::start(ApiOptions::default()).await?;
    api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))?;
    write(&api, hosts, 0).await?;
    let (_program, server) = embedded(&api, directory).await?;
    wait_for(server, hosts, 0).await?;
    let mut turn = 0;
    for &changes in &options.changes {
        let (mut each, mut last) = (Vec::new(), Vec::new());
        for _ in 0..options.samples {
            turn += 1;
            let sight = Sight::start(server, changes, turn)?;
            let written = write(&api, changes, turn).await?;
            let seen = sight.end(PATIENCE).await?;
            each.extend(written.iter().zip(&seen).map(|(written, seen)| milliseconds(seen.duration_since(*written))));
            let first = written.first().copied().context("at least one host changes")?;
            last.extend(seen.iter().max().map(|seen| milliseconds(seen.duration_since(first))));
        }
        report.latency("embedded", changes, "written to visible, each host", &Samples::new(each));
        report.latency("embedded", changes, "first written to last visible", &Samples::new(last));
    }
    Ok(())
}

/// Writes the DNSEndpoints of the first `hosts`; the moments at which the API had them.
async fn write(api: &ApiServer, hosts: u32, turn: u32) -> Result<Vec<Instant>> {
    let api = api.clone();
    let write = move |host| -> Result<Instant> {
        api.apply(endpoint(host, turn))?;
        Ok(Instant::now())
    };
    tokio::task::spawn_blocking(move || (0..hosts).map(write).collect()).await?
}

async fn wait_for(server: SocketAddr, hosts: u32, turn: u32) -> Result<()> {
    let sight = Sight::start(server, hosts, turn)?;
    let missing = format!("DNS has no {}", host_name(hosts - 1));
    sight.end(PATIENCE).await.map(drop).context(missing)
}

async fn embedded(api: &ApiServer, directory: &Path) -> Result<(Program, SocketAddr)> {
    let directory = directory.join("embedded-latency");
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let kubeconfig = directory.join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig_yaml())?;
    let (address, admin) = (free_address()?, free_address()?);
    let arguments = [
        "serve".to_owned(),
        format!("--zone={ORIGIN}"),
        format!("--listen={address}"),
        format!("--admin-listen={admin}"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let launch = Launch::new("nearside-dns-sync", "dns-sync", &Place::host(), &arguments)?;
    let mut program = launch.env("KUBECONFIG", &kubeconfig.display().to_string()).start(&directory)?;
    program.ready(admin, "/healthz/ready", PATIENCE).await?;
    Ok((program, address))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
