//! `nearside-proxy`: the data plane. Options flow in, requests are answered from the pods of the own node until the
//! process is told to end. Only wires the parts: reads options, waits for the first complete snapshot, binds the ports,
//! serves, drains. Exit codes: 0 ended in order, 1 cannot serve (such as a port in use), 2 unusable flags.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accept;
mod access_log;
mod admin;
mod attempts;
mod authentication;
mod backends;
mod background;
mod balance;
mod chunked;
mod connection;
mod counted;
mod deadline;
mod departure;
mod descriptors;
mod edge;
mod ending;
mod error_pages;
mod feed;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod handover;
mod health;
mod http;
mod http2_abuse;
mod kernel_tls;
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
mod retry_budget;
mod rules;
mod sandbox;
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
use departure::Named;
use ending::Ending;
use handover::Neighbours;
use kernel_tls::KernelTls;
use lifecycle::Lifecycle;
use memory::Memory;
use metrics::Metrics;
use nearside_admin::{AdminError, AdminServer, LogThread, Readiness, Shutdown, configure, init_logging};
use nearside_routing::Scheme;
use nearside_watch::{FeedError, SnapshotError, SourceError, register_metrics, token_reviews};
use options::{Arguments, Config, ObjectPassing};
use prometheus::{IntCounter, Registry};
use server::{Parts, Server, Shared};
use splice::{PipePool, SpliceCounts};
use state::{CurrentState, State, StateBuilder};
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use tls::{Certificates, Unservable};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use trace::Tracer;

/// Runs the program.
pub fn main() -> ExitCode {
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
    // Before there are other threads, which it would not hold for.
    if let Err(error) = config.sandbox.enter(&config.reach()) {
        tracing::error!("{error}");
        return ExitCode::FAILURE;
    }
    let log = match LogThread::start() {
        Ok(log) => log,
        Err(error) => {
            tracing::error!("{}", Failure::Log(error));
            return ExitCode::FAILURE;
        }
    };
    // An error means that a provider is installed already; there is only this one in the program.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.threads {
        runtime.worker_threads(threads.get());
    }
    let served = runtime.enable_all().build().and_then(|runtime| Ok((runtime, background::runtime()?)));
    let served = served.map_err(Failure::Runtime).and_then(|(runtime, background)| {
        let served = runtime.block_on(run(config, background.handle(), &log));
        // What it is at is of no use any more.
        background.shutdown_background();
        served
    });
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
    #[error("the log cannot be started: {0}")]
    Log(#[source] io::Error),
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
    Feed(#[from] FeedError),
    #[error(transparent)]
    Bind(#[from] BindError),
}

async fn run(config: Config, background: &Handle, log: &LogThread) -> Result<(), Failure> {
    let shutdown = Shutdown::on_signals().map_err(Failure::Runtime)?;
    if let ObjectPassing::At(path) = &config.objects {
        let source = feed::source(&config).await?;
        return Ok(feed::offer(&source, &config, path, shutdown.requested()).await?);
    }
    let registry = Registry::new();
    // The value lives on in the registry.
    drop(panics::count(&registry)?);
    log.register(&registry)?;
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
    let admin_server = match config.ports.expects_another() {
        true => AdminServer::shared(config.admin, shutdown.clone(), readiness.clone(), registry.clone()),
        false => AdminServer::bind(config.admin, readiness.clone(), registry.clone()).await?,
    };
    let admin_server = match &config.ports.socket {
        Some(path) => admin_server.socket(path)?,
        None => admin_server,
    };
    let source = feed::source(&config).await?.with_snapshot(config.snapshot.as_ref())?;
    let admin_server = admin_server.secured(config.admin_security.clone(), token_reviews(&source))?;
    let mut snapshots = {
        let _entered = background.enter();
        let snapshots = feed::open(source.clone(), &config);
        admin::pages(admin_server, &started, settings, snapshots.state()).spawn();
        snapshots
    };
    register_metrics(&snapshots.state(), &registry)?;

    let published = feed::published(&config);
    let first = tokio::select! {
        snapshot = snapshots.next() => snapshot,
        () = shutdown.requested() => return Ok(()),
    };
    let kernel_tls = KernelTls::detect(config.byte_path.kernel_tls, &registry)?;
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
    background.spawn(health::keep_planned(current.clone(), config.check_interval, plans));

    let mut inherited = handover::inherit(config.ports.handover.as_ref(), &metrics).await;
    let (mut bound, shared) = (Listeners::default(), config.ports.shared);
    let mut listening = accept::bind(Scheme::Http, &config.http, shared, inherited.as_mut(), &mut bound)?;
    listening.extend(accept::bind(Scheme::Https, &config.https, shared, inherited.as_mut(), &mut bound)?);
    drop(started.set((current.clone(), bound)));
    let followed = metrics.clone();
    let named = Named::new(&config.node);
    let seen = named.clone();
    seen.look(&current.load().snapshot);
    let after = move |state: &State| {
        seen.look(&state.snapshot);
        followed.follow(state);
    };
    background.spawn(feed::follow(
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
        kernel_tls,
        memory,
    }));
    let server = Arc::new(Server::new(shared));
    let mut accepting = JoinSet::new();
    for listening in listening.iter().cloned() {
        accepting.spawn(accept::serve(listening, Arc::clone(&server)));
    }
    // Whoever is told to end once this one is ready knows by then that it is succeeded.
    let neighbours = Neighbours::meet(&server, listening, inherited).await;
    drop(not_synced);
    metrics.ready(true);
    tracing::info!(node = %server.config.node, node_id = %server.node_id, "ready");

    shutdown.requested().await;
    let _leaving = readiness.block("shutting down");
    metrics.ready(false);
    source.save_snapshot().await;
    Ending { server: &server, neighbours, accepting }.run(source, published, named.left()).await;
    // What is not sent by then is not worth a longer end.
    drop(timeout(limits::TRACE_TIME, tracer.flush()).await);
    Ok(())
}

fn access_log(config: &Config, registry: &Registry) -> Result<AccessLog, Failure> {
    let help = "Lines of the access log that were dropped because nobody reads fast enough.";
    let dropped = IntCounter::new("nearside_access_log_dropped_total", help)?;
    registry.register(Box::new(dropped.clone()))?;
    AccessLog::start(config.access_log.clone(), Arc::clone(&config.node), dropped).map_err(Failure::AccessLog)
}

const PROGRAM: &str = "nearside-proxy";
