//! Wires the program: flags in, parts built and joined, an exit code out. Decides nothing itself.

use nearside_admin::{
    AdminError, AdminServer, Page, Readiness, Shutdown, init_logging, parse_arguments, unusable_flags,
};
use nearside_dns_sync::config::{Cli, Command, ServeConfig};
use nearside_dns_sync::metrics::Metrics;
use nearside_dns_sync::reporter::{self, SharedReports};
use nearside_dns_sync::serve::{BindError, Listeners, Responder, serve};
use nearside_dns_sync::source::{Endpoints, follow};
use nearside_dns_sync::zone_store::ZoneStore;
use nearside_watch::{Observations, SnapshotError, Source, SourceError, register_metrics, token_reviews};
use prometheus::Registry;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::{error, info, warn};

fn main() -> ExitCode {
    let cli: Cli = match parse_arguments(PROGRAM) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let Command::Serve(args) = cli.command;
    let config = match ServeConfig::try_from(args) {
        Ok(config) => config,
        Err(error) => return unusable_flags(PROGRAM, &[error]),
    };
    init_logging(config.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the threads of the program cannot be started");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Why the program ends without having been asked to.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("reading DNSEndpoints has ended, which is a defect of this program")]
    SourceEnded,
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("signals cannot be received: {0}")]
    Signals(#[from] std::io::Error),
}

async fn run(config: ServeConfig) -> Result<(), RunError> {
    let shutdown = Shutdown::on_signals()?;
    let registry = Registry::new();
    let metrics = Arc::new(Metrics::register(&registry)?);
    let readiness = Readiness::default();
    let unsynced = readiness.block("the first complete list of DNSEndpoints");
    let source = Source::from_options(&config.manifests).await?.with_snapshot(config.snapshot.as_ref())?;
    let reports = SharedReports::default();
    let endpoints = Endpoints::open(source.clone(), &config, reports.clone());
    register_metrics(&endpoints.state(), &registry)?;
    if let Some(address) = config.admin_listen {
        let server = AdminServer::bind(address, readiness.clone(), registry).await?;
        let sources = endpoints.state();
        let server = server.secured(config.admin_security.clone(), token_reviews(&source))?;
        server.page("/sources", move || Page::json(sources.page().to_string())).spawn();
    }
    for zone in &config.zones {
        for server in zone.name_servers.iter().filter(|server| server.addresses.is_empty()) {
            warn!(zone = %zone.origin, name_server = %server.name, "no address is handed out for this name server");
        }
    }

    let store = ZoneStore::new(config.zones.clone(), Arc::clone(&metrics));
    let responder = Arc::new(Responder::new(store.zones(), Arc::clone(&metrics)));
    if let Some(observations) = Observations::of(&source) {
        tokio::spawn(reporter::run(reports, observations, metrics));
    }
    let (synced, mut first_sync) = watch::channel(false);
    let follower = tokio::spawn(follow(store, endpoints, synced));
    tokio::select! {
        () = shutdown.requested() => return Ok(()),
        // The sender goes only with the follower, which ends only with its source.
        result = first_sync.wait_for(|synced| *synced) => if result.is_err() { return Err(RunError::SourceEnded) },
    }

    let listeners = Listeners::bind(&config.listen)?;
    for address in listeners.addresses() {
        info!(%address, "answering queries");
    }
    drop(unsynced);
    let (stop, stopped) = watch::channel(false);
    let ending = async {
        shutdown.requested().await;
        stop.send_replace(true);
        readiness.block("shutting down")
    };
    // The last zones stay in service: stale addresses are better than none.
    let watching = async {
        tokio::select! {
            () = shutdown.requested() => None,
            () = closed(&mut first_sync) => {
                error!("{}; the last zones stay", RunError::SourceEnded);
                Some(readiness.block("DNSEndpoints are no longer read"))
            }
        }
    };
    let (_not_ready, _ended, ()) = tokio::join!(ending, watching, serve(listeners, responder, stopped));
    source.save_snapshot().await;
    follower.abort();
    info!("all queries answered, ending");
    Ok(())
}

/// Completes when the sender is gone.
async fn closed(receiver: &mut watch::Receiver<bool>) {
    while receiver.changed().await.is_ok() {}
}

const PROGRAM: &str = "nearside-dns-sync";
