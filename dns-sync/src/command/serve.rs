//! `serve`: the parts of the embedded name server, built and joined.

use super::RunError;
use nearside_admin::{AdminServer, LogThread, Page, Readiness, Shutdown};
use nearside_dns_sync::config::ServeConfig;
use nearside_dns_sync::metrics::Metrics;
use nearside_dns_sync::peer_watch::PeerWatch;
use nearside_dns_sync::reporter::{self, SharedReports};
use nearside_dns_sync::serve::{Listeners, Responder, TransferKeys, follow_keys, notify, serve};
use nearside_dns_sync::source::{Endpoints, follow};
use nearside_dns_sync::zone_store::ZoneStore;
use nearside_watch::{Observations, Source, register_metrics, token_reviews};
use prometheus::Registry;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::{error, info, warn};

/// Serves until the end is asked for.
pub(crate) async fn run(config: ServeConfig, log: &LogThread) -> Result<(), RunError> {
    let program = &config.program;
    let shutdown = Shutdown::on_signals()?;
    let registry = Registry::new();
    log.register(&registry)?;
    let metrics = Arc::new(Metrics::register(&registry)?);
    let readiness = Readiness::default();
    let unsynced = readiness.block("the first complete list of DNSEndpoints");
    let source = Source::from_options(&program.source.manifests).await?.with_snapshot(program.snapshot.as_ref())?;
    let reports = SharedReports::default();
    let endpoints = Endpoints::open(source.clone(), &program.source, reports.clone());
    register_metrics(&endpoints.state(), &registry)?;
    if let Some(address) = program.admin_listen {
        let server = AdminServer::bind(address, readiness.clone(), registry).await?;
        let sources = endpoints.state();
        let server = server.secured(program.admin_security.clone(), token_reviews(&source))?;
        server.page("/sources", move || Page::json(sources.page().to_string())).spawn();
    }
    for zone in &config.zones {
        for server in zone.name_servers.iter().filter(|server| server.addresses.is_empty()) {
            warn!(zone = %zone.origin, name_server = %server.name, "no address is handed out for this name server");
        }
    }

    let store = ZoneStore::new(config.zones.clone(), Arc::clone(&metrics));
    let keys = TransferKeys::default();
    let (zones, swaps) = (store.zones(), store.swaps());
    let responder = Responder::new(store.zones(), Arc::clone(&metrics), &config.answering, Arc::clone(&keys));
    let responder = Arc::new(responder);
    let others = match config.verify.as_slice() {
        [] => None,
        servers => Some(PeerWatch::start(servers, reports.clone())?),
    };
    if let Some(observations) = Observations::of(&source) {
        tokio::spawn(reporter::run(reports, observations, metrics.reports.clone()));
    }
    let (synced, mut first_sync) = watch::channel(false);
    let follower = tokio::spawn(follow(store, endpoints, others, synced));
    tokio::select! {
        () = shutdown.requested() => return Ok(()),
        // The sender goes only with the follower, which ends only with its source.
        result = first_sync.wait_for(|synced| *synced) => if result.is_err() { return Err(RunError::SourceEnded) },
    }

    let listeners = Listeners::bind(&config.listen)?;
    for address in listeners.addresses() {
        info!(%address, "answering queries");
    }
    if !config.transfer_keys.is_empty() {
        tokio::spawn(follow_keys(config.transfer_keys.clone(), Arc::clone(&keys)));
    }
    // Once there is somebody to answer the transfers that follow.
    for secondary in &config.secondaries {
        let (zones, keys, metrics) = (Arc::clone(&zones), Arc::clone(&keys), Arc::clone(&metrics));
        tokio::spawn(notify(*secondary, zones, swaps.clone(), keys, metrics));
    }
    drop(unsynced);
    let (stop, stopped) = watch::channel(false);
    let ending = async {
        shutdown.requested().await;
        stop.send_replace(true);
        Ok(readiness.block("shutting down"))
    };
    // The last zones stay in service: stale addresses are better than none.
    let watching = async {
        tokio::select! {
            () = shutdown.requested() => Ok(None),
            () = closed(&mut first_sync) => {
                error!("{}; the last zones stay", RunError::SourceEnded);
                Ok(Some(readiness.block("DNSEndpoints are no longer read")))
            }
        }
    };
    let serving = async { serve(listeners, responder, stopped).await.map_err(RunError::from) };
    let (_not_ready, _ended, ()) = tokio::try_join!(ending, watching, serving)?;
    source.save_snapshot().await;
    follower.abort();
    info!("all queries answered, ending");
    Ok(())
}

/// Completes when the sender is gone.
async fn closed(receiver: &mut watch::Receiver<bool>) {
    while receiver.changed().await.is_ok() {}
}
