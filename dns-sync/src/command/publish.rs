//! `publish`: the parts of the publisher, built and joined.

use super::RunError;
use nearside_admin::{AdminServer, LogThread, Page, Readiness, Shutdown};
use nearside_dns_sync::config::PublishConfig;
use nearside_dns_sync::overview::html;
use nearside_dns_sync::publish::Publisher;
use nearside_dns_sync::publish::account::Account;
use nearside_dns_sync::publish::fact::Facts;
use nearside_dns_sync::publish::metrics::PublishMetrics;
use nearside_dns_sync::reporter::{self, SharedReports};
use nearside_dns_sync::source::Endpoints;
use nearside_watch::{Observations, Source, register_metrics, token_reviews};
use prometheus::Registry;
use tracing::{error, info};

/// Publishes until the end is asked for.
pub(crate) async fn run(config: PublishConfig, log: &LogThread) -> Result<(), RunError> {
    let program = &config.program;
    let shutdown = Shutdown::on_signals()?;
    let registry = Registry::new();
    log.register(&registry)?;
    let readiness = Readiness::default();
    let unsynced = readiness.block("the first complete list of DNSEndpoints");
    let source = Source::from_options(&program.source.manifests).await?.with_snapshot(program.snapshot.as_ref())?;
    let reports = SharedReports::noting();
    let endpoints = Endpoints::open(source.clone(), &program.source, reports.clone());
    register_metrics(&endpoints.state(), &registry)?;
    let metrics = PublishMetrics::register(&registry)?;
    if let Some(observations) = Observations::of(&source).filter(|_| !config.dry_run) {
        tokio::spawn(reporter::run(reports.clone(), observations, metrics.reports.clone()));
    }
    let account = Account::start(&config.publication, reports, metrics)?;
    if let Some(address) = program.admin_listen {
        let server = AdminServer::bind(address, readiness.clone(), registry).await?;
        let sources = endpoints.state();
        let server = server.secured(program.admin_security.clone(), token_reviews(&source))?;
        let page = account.page();
        let server = server.page("/sources", move || Page::json(sources.page().to_string()));
        let (of_browsers, style) = (page.clone(), "text/css; charset=utf-8");
        // What is serialised is plain data, which cannot fail.
        server
            .page("/publication", move || Page::json(serde_json::to_vec(&page.overview()).unwrap_or_default()))
            .page("/", move || Page::html(html::page(&of_browsers.overview())))
            .page("/page.css", move || Page { content_type: style, ..Page::html(html::STYLE) })
            .spawn();
    }
    info!("publishing: {}", config.publication.summary());
    let started = Publisher::start(&config.publication, endpoints, Facts::default(), account, config.dry_run);
    let (publisher, mut synced) = started;
    let watching = async {
        if synced.wait_for(|synced| *synced).await.is_ok() {
            drop(unsynced);
            info!("every DNSEndpoint is known");
            while synced.changed().await.is_ok() {}
        }
        error!("{}", RunError::SourceEnded);
        let _not_ready = readiness.block("DNSEndpoints are no longer read");
        std::future::pending::<()>().await
    };
    tokio::select! {
        () = shutdown.requested() => {}
        () = watching => {}
    }
    publisher.stop().await;
    source.save_snapshot().await;
    info!("no message is on its way, ending");
    Ok(())
}
