//! `nearside-proxy`: the data plane. Options flow in, requests are answered from the pods of the own node until the
//! process is told to end. Only wires the parts: reads options, waits for the first complete snapshot, binds the ports,
//! serves, drains. Exit codes: 0 ended in order, 1 cannot serve (such as a port in use), 2 unusable flags.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accept;
mod access_log;
mod admin;
mod authentication;
mod backends;
mod balance;
mod chunked;
mod connection;
mod counted;
mod deadline;
mod departure;
mod descriptors;
mod edge;
mod error_pages;
mod feed;
mod health;
mod http;
mod lifecycle;
mod limits;
mod memory;
mod metrics;
mod options;
mod panics;
mod probe;
mod proxy_protocol;
mod rate;
mod relay;
mod rules;
mod server;
mod splice;
mod state;
mod tls;
mod trace;
mod trailers;
mod upstream_tls;

use accept::{BindError, Listeners};
use access_log::AccessLog;
use authentication::{NoRandomness, Verifier};
use departure::{Departure, Left, Named, Names};
use lifecycle::Lifecycle;
use memory::Memory;
use metrics::Metrics;
use nearside_admin::{AdminError, AdminServer, Readiness, Shutdown, configure, init_logging};
use nearside_routing::Scheme;
use nearside_watch::{Selection, SnapshotError, Source, SourceError, register_metrics, token_reviews};
use options::{Arguments, Config, ShutdownDelay};
use pingora::apps::ServerApp;
use prometheus::{IntCounter, Registry};
use server::{Parts, Server, Shared};
use splice::{PipePool, SpliceCounts};
use state::{CurrentState, State, StateBuilder};
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use tls::{Certificates, Unservable};
use tokio::sync::watch;
use tokio::task::JoinSet;
use trace::Tracer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(answer) = probe::asked(PROGRAM) {
        return answer;
    }
    let configured = match configure(PROGRAM, Arguments::into_config) {
        Ok(configured) => configured,
        Err(code) => return code,
    };
    init_logging(configured.config.log_format);
    configured.log_environment();
    let config = configured.config;
    // An error means that a provider is installed already; there is only this one in the program.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.threads {
        runtime.worker_threads(threads.get());
    }
    let served =
        runtime.enable_all().build().map_err(Failure::Runtime).and_then(|runtime| runtime.block_on(run(config)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Why the proxy cannot serve.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[source] io::Error),
    #[error("the metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the access log cannot be started: {0}")]
    AccessLog(#[source] io::Error),
    #[error("the default certificate cannot be used: {0}")]
    DefaultCertificate(#[from] Unservable),
    #[error("passwords cannot be verified: {0}")]
    Verifier(#[from] NoRandomness),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Bind(#[from] BindError),
}

async fn run(config: Config) -> Result<(), Failure> {
    let shutdown = Shutdown::on_signals().map_err(Failure::Runtime)?;
    let registry = Registry::new();
    // The value lives on in the registry.
    drop(panics::count(&registry)?);
    let metrics = Metrics::new(
        Arc::clone(&config.node),
        config.metrics.pod_series,
        config.metrics.openshift.then(|| descriptors::connections(config.max_connections)),
        &registry,
    )?;
    let access_log = access_log(&config, &registry)?;
    let pipes = PipePool::new(SpliceCounts::new(&registry)?, config.byte_path.splice);
    let memory = Memory::watched(config.memory, &registry)?;
    let tracer = Tracer::start(&config.trace, &config.node, &registry)?;
    let readiness = Readiness::default();
    let not_synced = readiness.block("the objects are not read completely yet");
    let started = admin::Started::default();
    let settings =
        admin::Settings { node: Arc::clone(&config.node), router: config.router_name.clone(), on_miss: config.on_miss };
    let admin_server = match config.ports.shared {
        true => AdminServer::shared(config.admin, shutdown.clone(), readiness.clone(), registry.clone()),
        false => AdminServer::bind(config.admin, readiness.clone(), registry.clone()).await?,
    };
    let admin_server = match &config.ports.socket {
        Some(path) => admin_server.socket(path)?,
        None => admin_server,
    };
    let source = Source::from_options(&config.manifests).await?.with_snapshot(config.snapshot.as_ref())?;
    let admin_server = admin_server.secured(config.admin_security.clone(), token_reviews(&source))?;
    let mut snapshots = feed::open(source.clone(), &config);
    register_metrics(&snapshots.state(), &registry)?;
    admin::pages(admin_server, &started, settings, snapshots.state()).spawn();

    let published = feed::published(&config);
    let first = tokio::select! {
        snapshot = snapshots.next() => snapshot,
        () = shutdown.requested() => return Ok(()),
    };
    for note in &config.tls.notes {
        tracing::warn!("{note}");
    }
    let material = config.tls.material.clone();
    let certificates = Certificates::new(Arc::clone(&config.tls.agreement), material.clone())?;
    let node = Arc::clone(&config.node);
    let balance = config.balance.clone();
    let series = metrics.series().clone();
    let fresh = move || StateBuilder::new(Arc::clone(&node), certificates.clone(), balance.clone(), series.clone());
    let mut builder = fresh();
    let state = builder.build(first, &material);
    metrics.follow(&state);
    let (plans, followed_plans) = watch::channel(health::plan(&state, config.check_interval));
    tokio::spawn(health::run(followed_plans, metrics.clone()));
    let current = CurrentState::new(state);
    tokio::spawn(health::keep_planned(current.clone(), config.check_interval, plans));

    let mut bound = Listeners::default();
    let http = accept::bind(Scheme::Http, &config.http, config.ports.shared, &mut bound)?;
    let https = accept::bind(Scheme::Https, &config.https, config.ports.shared, &mut bound)?;
    drop(started.set((current.clone(), bound)));
    let followed = metrics.clone();
    let named = Named::new(&config.node);
    let seen = named.clone();
    seen.look(&current.load().snapshot);
    let after = move |state: &State| {
        seen.look(&state.snapshot);
        followed.follow(state);
    };
    tokio::spawn(feed::follow(
        snapshots,
        tls::follow(config.tls.files.clone(), material),
        builder,
        fresh,
        current.clone(),
        after,
        metrics.table_updates(),
    ));

    tokio::spawn(config.error_pages.clone().follow());
    if let Some(relay) = &config.relay {
        tokio::spawn(relay.keys.clone().follow());
    }
    let lifecycle = Lifecycle::serving(descriptors::connections(config.max_connections));
    let verifier = Verifier::new()?;
    let shared = Arc::new(Shared::new(Parts {
        config,
        current,
        lifecycle: lifecycle.clone(),
        metrics: metrics.clone(),
        access_log,
        tracer: tracer.clone(),
        verifier,
        pipes,
        memory,
    }));
    let server = Arc::new(Server::new(shared));
    let mut accepting = JoinSet::new();
    for (listeners, scheme) in [(http, Scheme::Http), (https, Scheme::Https)] {
        for listener in listeners {
            accepting.spawn(accept::serve(listener, scheme, Arc::clone(&server)));
        }
    }
    drop(not_synced);
    metrics.ready(true);
    tracing::info!(node = %server.config.node, node_id = %server.node_id, "ready");

    shutdown.requested().await;
    let _leaving = readiness.block("shutting down");
    metrics.ready(false);
    source.save_snapshot().await;
    leave(&server, &lifecycle, source, published, named.left()).await;
    drain(&server, &lifecycle, accepting).await;
    // What is not sent by then is not worth a longer end.
    drop(tokio::time::timeout(limits::TRACE_TIME, tracer.flush()).await);
    Ok(())
}

/// Serves on while DNS still names this node.
async fn leave(server: &Server, lifecycle: &Lifecycle, source: Source, published: Selection, left: Option<Left>) {
    lifecycle.leave();
    match server.config.shutdown_delay {
        ShutdownDelay::Fixed(delay) => {
            tracing::info!(delay = ?delay, "not ready any more; serving on");
            tokio::time::sleep(delay).await;
        }
        ShutdownDelay::ByDns(most) => {
            tracing::info!(most = ?most, "not ready any more; serving on until DNS does not name this node");
            let state = server.state();
            let node = state.snapshot.nodes.get(&*server.config.node);
            let addresses = node.into_iter().flat_map(|node| &node.addresses);
            let addresses = addresses.filter_map(|entry| entry.address.parse().ok()).collect();
            let departure = Departure::new(Names { id: server.node_id, addresses }, left);
            let gone = departure::gone(source, published, departure, most);
            match server.config.ports.shared {
                true => tokio::select! {
                    () = gone => {}
                    () = departure::succeeded(server.config.admin) => {}
                },
                false => gone.await,
            }
        }
    }
}

/// Lets the connections that are busy end.
async fn drain(server: &Server, lifecycle: &Lifecycle, mut accepting: JoinSet<()>) {
    let timeout = server.config.drain_timeout;
    lifecycle.drain();
    while accepting.join_next().await.is_some() {}
    if server.config.ports.shared {
        // From the clean-up on a connection may be closed unread; those that the listeners took last have their requests first.
        tokio::time::sleep(limits::LAST_HANDSHAKES).await;
    }
    lifecycle.close_idle();
    // Wakes connections that wait for the rest of a header.
    server.http().cleanup().await;
    tracing::info!(connections = lifecycle.connections(), timeout = ?timeout, "draining");
    match lifecycle.drained(timeout).await {
        0 => tracing::info!("drained"),
        left => tracing::warn!(connections = left, "the drain took too long; these connections are cut"),
    }
}

fn access_log(config: &Config, registry: &Registry) -> Result<AccessLog, Failure> {
    let help = "Lines of the access log that were dropped because nobody reads fast enough.";
    let dropped = IntCounter::new("nearside_access_log_dropped_total", help)?;
    registry.register(Box::new(dropped.clone()))?;
    AccessLog::start(config.access_log.clone(), Arc::clone(&config.node), dropped).map_err(Failure::AccessLog)
}

const PROGRAM: &str = "nearside-proxy";
