//! From a decision to what shows it: DNSEndpoints are written to an API, as the controller writes them, for one host or for many at
//! once. When the API has each is one moment; when the name server acknowledges its update is another, where one is updated; when a
//! query sees its new addresses is the last. The distributions of the times between go to the report. Called by `dns`.

use super::Options;
use super::peers::PATIENCE;
use super::publishers::{Publisher, Publishing};
use super::report::Report;
use super::sight::Sight;
use super::zone::{NAMESPACE, endpoint, host_name};
use crate::api::{ApiServer, Options as ApiOptions};
use crate::bench::statistics::Samples;
use anyhow::{Context as _, Result};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// Measures every way of publishing.
pub(super) async fn measure(options: &Options, directory: &Path, report: &mut Report) -> Result<()> {
    for publisher in Publisher::ALL {
        let api = ApiServer::start(ApiOptions::default()).await?;
        api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))?;
        // What the others show is worth having without this one.
        if let Err(error) = one(publisher, &api, options, directory, report).await {
            report.unmeasured(publisher.name(), &error);
        }
    }
    report.all_measured()
}

async fn one(
    publisher: Publisher,
    api: &ApiServer,
    options: &Options,
    directory: &Path,
    report: &mut Report,
) -> Result<()> {
    let hosts = options.changes.iter().copied().max().unwrap_or(1);
    write(api, hosts, 0).await?;
    let publishing = publisher.start(api, directory).await?;
    let sight = Sight::start(publishing.server(), hosts, 0)?;
    sight.end(PATIENCE).await.context("the first records are not answered")?;
    let mut turn = 0;
    for &changes in &options.changes {
        let mut times = Times::default();
        for _ in 0..options.samples {
            turn += 1;
            let sight = Sight::start(publishing.server(), changes, turn)?;
            let written = write(api, changes, turn).await?;
            let seen = sight.end(PATIENCE).await?;
            times.add(&publishing, &written, &seen);
        }
        times.report(publisher.name(), changes, report);
    }
    Ok(())
}

/// In milliseconds.
#[derive(Debug, Default)]
struct Times {
    applied: Vec<f64>,
    visible: Vec<f64>,
    all_visible: Vec<f64>,
}

impl Times {
    fn add(&mut self, publishing: &Publishing, written: &[Instant], seen: &[Instant]) {
        for ((host, written), seen) in (0..).zip(written).zip(seen) {
            self.visible.push(milliseconds(seen.duration_since(*written)));
            self.applied
                .extend(publishing.applied(&host_name(host)).map(|at| milliseconds(at.duration_since(*written))));
        }
        if let (Some(first), Some(last)) = (written.first(), seen.iter().max()) {
            self.all_visible.push(milliseconds(last.duration_since(*first)));
        }
    }

    fn report(self, name: &str, changes: u32, report: &mut Report) {
        if !self.applied.is_empty() {
            report.latency(name, changes, "written to acknowledged, each host", &Samples::new(self.applied));
        }
        report.latency(name, changes, "written to visible, each host", &Samples::new(self.visible));
        report.latency(name, changes, "first written to last visible", &Samples::new(self.all_visible));
    }
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

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
