//! `publish`: the parts of the publisher, built and joined.

use super::RunError;
use nearside_admin::{AdminServer, Page, Readiness, Shutdown};
use nearside_dns_sync::config::PublishConfig;
use nearside_dns_sync::reporter::SharedReports;
use nearside_dns_sync::source::Endpoints;
use nearside_watch::{Source, register_metrics, token_reviews};
use prometheus::Registry;

/// Publishes until the end is asked for.
pub(crate) async fn run(config: PublishConfig) -> Result<(), RunError> {
    let program = &config.program;
    let shutdown = Shutdown::on_signals()?;
    let registry = Registry::new();
    let readiness = Readiness::default();
    let _unsynced = readiness.block("the first complete list of DNSEndpoints");
    let source = Source::from_options(&program.source.manifests).await?.with_snapshot(program.snapshot.as_ref())?;
    let endpoints = Endpoints::open(source.clone(), &program.source, SharedReports::default());
    register_metrics(&endpoints.state(), &registry)?;
    if let Some(address) = program.admin_listen {
        let server = AdminServer::bind(address, readiness.clone(), registry).await?;
        let sources = endpoints.state();
        let server = server.secured(program.admin_security.clone(), token_reviews(&source))?;
        server.page("/sources", move || Page::json(sources.page().to_string())).spawn();
    }
    shutdown.requested().await;
    source.save_snapshot().await;
    Ok(())
}
