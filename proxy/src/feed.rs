//! The one seam by which objects reach the proxy: a source flows in, snapshots flow out. The source may be another process that reads
//! the cluster for this one; that is this program, too ([`offer`]). Called by `main`.

use crate::limits::RETIRED_KEPT;
use crate::options::{Config, ObjectPassing};
use crate::state::{CurrentState, Retired, State, StateBuilder};
use crate::tls::TlsMaterial;
use nearside_routing::object::{MANAGED_BY, SLICE_CONTROLLER, Secret};
use nearside_routing::{EndpointSource, IndexConfig, Instance, Kind};
use nearside_watch::{FeedError, Pace, Selection, Snapshots, Source, SourceError, serve_objects, snapshots};
use prometheus::Histogram;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// Reads the source.
pub(crate) fn open(source: Source, config: &Config) -> Snapshots {
    let index = IndexConfig {
        admission: config.admission.rules(&source),
        endpoints: EndpointSource::Pods { node: Some(Arc::clone(&config.node)) },
        addresses: config.addresses.clone(),
        ..IndexConfig::default()
    };
    let selections = config.admission.narrow(selections(&source, config));
    snapshots(source, selections, index)
}

/// The source that the flags name.
///
/// # Errors
/// [`SourceError`] if it is a cluster, and no configuration of one can be read.
pub(crate) async fn source(config: &Config) -> Result<Source, SourceError> {
    match &config.objects {
        ObjectPassing::From(path) => Ok(Source::at_socket(path.clone())),
        ObjectPassing::None | ObjectPassing::At(_) => Source::from_options(&config.manifests).await,
    }
}

/// Offers what a proxy with this configuration reads, at a Unix socket, until the end is asked for and nobody reads any more.
///
/// # Errors
/// [`FeedError`] where the socket cannot be had.
pub(crate) async fn offer(
    source: &Source,
    config: &Config,
    path: &Path,
    end: impl Future<Output = ()>,
) -> Result<(), FeedError> {
    let selections = config.admission.narrow(selections(source, config));
    serve_objects(source, selections, config.admission.rules(source), path, end).await
}

/// Keeps the state up to date for ever. `builder` made the present state; `fresh` makes another one that knows nothing
/// yet; `after` sees each new state; `material` is what files hold at the time. How long each takes is observed in `times`.
pub(crate) async fn follow(
    mut snapshots: Snapshots,
    mut material: watch::Receiver<TlsMaterial>,
    mut builder: StateBuilder,
    fresh: impl Fn() -> StateBuilder + Send,
    current: CurrentState,
    after: impl Fn(&State) + Send,
    times: Histogram,
) {
    let (mut pace, mut retired) = (Pace::new(Instant::now()), Retired::default());
    loop {
        let snapshot = tokio::select! {
            snapshot = snapshots.next() => snapshot,
            () = tokio::time::sleep(RETIRED_KEPT), if !retired.is_empty() => {
                drop_elsewhere(&mut retired);
                continue;
            }
            Ok(()) = material.changed() => match snapshots.latest() {
                Some(snapshot) => snapshot,
                None => continue,
            },
        };
        let (files, begin) = (material.borrow_and_update().clone(), Instant::now());
        let built = spawn_blocking(move || {
            let state = builder.build(snapshot, &files);
            (builder, state)
        });
        match built.await {
            Ok((kept, state)) => {
                builder = kept;
                after(&state);
                retired.push(current.replace(state));
                times.observe(begin.elapsed().as_secs_f64());
                drop_elsewhere(&mut retired);
                // Of the snapshots of a flood that come meanwhile only the last one is built.
                tokio::time::sleep(pace.rest(begin, Instant::now())).await;
            }
            Err(error) => {
                // The builder is lost with what it knew; the next snapshot is built from nothing.
                tracing::error!(%error, "a change of the routes was not taken in; the last good state is served");
                builder = fresh();
            }
        }
    }
}

/// Drops what nobody has pinned any more: what no other state shares of it may be a large table.
fn drop_elsewhere(retired: &mut Retired) {
    let free = retired.free();
    if !free.is_empty() {
        drop(spawn_blocking(move || drop(free)));
    }
}

/// What the proxy reads: of pods and nodes its own, of EndpointSlices those that no controller derives from pods, of Secrets
/// those with certificates, of DNSEndpoints those of its own controller. Secrets that objects name for passwords are followed
/// besides; of manifests, all are read.
fn selections(source: &Source, config: &Config) -> Vec<Selection> {
    let node = &config.node;
    let secrets = Selection::all(Kind::Secret);
    vec![
        Selection::all(Kind::Route),
        Selection::all(Kind::Ingress),
        Selection::all(Kind::IngressClass),
        Selection::all(Kind::Service),
        Selection::all(Kind::Pod).fields(format!("spec.nodeName={node}")),
        Selection::all(Kind::EndpointSlice).labels(format!("{MANAGED_BY}!={SLICE_CONTROLLER}")),
        match source {
            Source::Cluster(_) | Source::Feed(_) => secrets.fields(format!("type={}", Secret::TLS)),
            Source::Manifests(_) => secrets,
        },
        Selection::all(Kind::Node).fields(format!("metadata.name={node}")),
        published(config),
    ]
}

/// The DNSEndpoints that are believed: whoever may create others could send clients anywhere.
pub(crate) fn published(config: &Config) -> Selection {
    let labels = Instance::of(&config.router_name).selector();
    Selection::all(Kind::DnsEndpoint).labels(labels).namespace(config.namespace.as_str())
}
