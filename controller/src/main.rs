//! `nearside-controller`: reads the options, builds the parts and joins them. Snapshots flow from the source to the
//! placement task, desired content from there to the reconciler, and writes from the reconciler to the API or to a
//! directory; leader election says when the reconciler may write. Its commands, `explain` and `check`, answer one question
//! about the same objects and end.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod check;
mod clock;
mod command;
mod contention;
mod desired;
mod drain;
mod explain;
mod handover;
mod leader;
mod limits;
mod liveness;
mod metrics;
mod options;
mod out;
mod output;
mod page;
mod placement;
mod prober;
mod reconcile;
mod writer;

use command::{Command, command};
use desired::{Planner, RouterIdentity};
use leader::{Candidate, Fence};
use metrics::Metrics;
use nearside_admin::{AdminError, AdminServer, LogThread, Page, Readiness, Shutdown, configure_from, init_logging};
use nearside_watch::{SnapshotError, Source, SourceError, register_metrics, snapshots, token_reviews};
use options::{Arguments, Options, Place, Surroundings};
use out::{LockError, OutDirectory, OutLock};
use page::Shown;
use prometheus::Registry;
use reconcile::{Reconciler, Term};
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};
use writer::{ApiWriter, Writer};

fn main() -> ExitCode {
    let arguments = match command(std::env::args_os().collect()) {
        Command::Run(arguments) => arguments,
        Command::Answered(code) => return code,
    };
    let check = |arguments: Arguments| Options::new(arguments, Surroundings::read());
    let configured = match configure_from(PROGRAM, arguments, check) {
        Ok(configured) => configured,
        Err(code) => return code,
    };
    init_logging(configured.config.log_format);
    configured.log_environment();
    let options = configured.config;
    let log = match LogThread::start() {
        Ok(log) => log,
        Err(error) => {
            tracing::error!(%error, "the log cannot be started");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot be started");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(options, &log));
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Out(#[from] LockError),
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("signals cannot be taken: {0}")]
    Signals(std::io::Error),
}

async fn run(options: Options, log: &LogThread) -> Result<(), StartError> {
    let shutdown = Shutdown::on_signals().map_err(StartError::Signals)?;
    let registry = Registry::new();
    log.register(&registry)?;
    let metrics = Metrics::register(&registry)?;
    let readiness = Readiness::default();
    let first_sync = readiness.block("first sync");
    let (desired_sender, desired) = watch::channel(None);
    let admin = match options.admin_listen {
        Some(address) => Some(AdminServer::bind(address, readiness.clone(), registry.clone()).await?),
        None => None,
    };
    let router = RouterIdentity {
        name: options.reading.router_name.clone(),
        canonical_hostname: options.router_canonical_hostname.clone(),
        writes_status: options.update_status,
    };
    let identity = identity();
    let instance = router.instance();
    let elects = options.leader_elect && matches!(options.place, Place::Cluster);
    let fence = if elects { Fence::closed() } else { Fence::open() };
    let (source, writer) = match &options.place {
        Place::Cluster => {
            let source = Source::from_options(&[]).await?.with_snapshot(options.snapshot.as_ref())?;
            let client = source.client().expect("a source without manifests is a cluster");
            (
                source,
                Writer::Api(Box::new(ApiWriter::new(client, &options.reading.namespace, router, &identity, &fence))),
            )
        }
        Place::Directories { manifests, out } => {
            let out = OutDirectory::new(OutLock::take(out)?, &options.reading.namespace, router);
            (Source::from_options(manifests).await?, Writer::Directory(out))
        }
    };
    let snapshots = snapshots(
        source.clone(),
        placement::selections(&source, &options.reading, &instance),
        placement::index_config(&source, &options.reading),
    );
    let (term_sender, term) = watch::channel::<Term>(None);
    let sources = snapshots.state();
    register_metrics(&sources, &registry)?;
    if let Some(admin) = admin {
        let admin = admin.secured(options.admin_security.clone(), token_reviews(&source))?;
        let shown = Shown {
            snapshots: snapshots.clone(),
            desired: desired.clone(),
            term: term.clone(),
            router: options.reading.router_name.clone(),
        };
        let desired = desired.clone();
        let placement = move || Page::json(placement::page(desired.borrow().as_deref()).to_string());
        let admin = admin.page("/sources", move || Page::json(sources.page().to_string()));
        page::pages(admin.page("/placement", placement), shown).spawn();
    }
    // Nodes in a directory are what somebody wrote about them.
    let probe_port = options.probe_port.filter(|_| matches!(options.place, Place::Cluster));
    let planner = Planner::new(options.reading.records.clone());
    tokio::spawn(placement::run(snapshots, planner, probe_port, desired_sender, metrics.clone(), first_sync));

    let (stop, stopped) = oneshot::channel();
    let election = match source.client().filter(|_| elects) {
        Some(client) => {
            let candidate =
                Candidate::new(client, &options.reading.namespace, &instance, &identity, fence, metrics.clone());
            tokio::spawn(candidate.run(term_sender, stopped))
        }
        None => {
            metrics.leads(true);
            term_sender.send_replace(Some(1));
            tokio::spawn(async move {
                drop(stopped.await);
                drop(term_sender);
            })
        }
    };
    Reconciler::new(Arc::new(writer), metrics).run(desired, term, shutdown.clone()).await;
    source.save_snapshot().await;
    // Only now: a Lease given back with writes in flight would let two processes write.
    drop(stop);
    if let Err(error) = election.await {
        tracing::warn!(%error, "leader election ended badly");
    }
    tracing::info!("ended");
    Ok(())
}

/// A name that no other process has: the pod's or host's name and a random part.
fn identity() -> String {
    let named = ["POD_NAME", "HOSTNAME"].into_iter().find_map(|variable| std::env::var(variable).ok());
    let name = named.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let name = name.as_deref().map(str::trim).filter(|name| !name.is_empty()).unwrap_or("controller");
    format!("{name}_{:016x}", RandomState::new().hash_one(std::process::id()))
}

const PROGRAM: &str = "nearside-controller";
