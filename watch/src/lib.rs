//! Objects from a cluster or from a directory of manifests flow in, trimmed at the door; [`Change`]s or whole
//! [`Snapshot`]s flow out. The only crate that lists kinds: the proxy, the controller and dns-sync call it, and nothing
//! behind it can tell the two sources apart.
//!
//! [`changes`] is the plain stream; [`snapshots`] owns a `nearside_routing::Index` on top of it. Both spawn their tasks
//! on the Tokio runtime of the caller and stop them when dropped.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod backoff;
mod changes;
mod cluster;
mod feed;
mod following;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hold;
mod last_known;
mod limits;
mod manifests;
mod merge;
mod pace;
mod reading;
pub mod sealed;
mod selection;
mod selector;
mod snapshots;
mod source;
mod state;
mod verdict_log;

pub use admission::{AdmissionArguments, AdmissionSettings, UnusableFlag};
pub use changes::{Batch, Changes, Trust, changes};
pub use cluster::{Asked, Observation, Observations, ObserveError, ReviewError, TokenReviews, Told, token_reviews};
pub use feed::{Feed, FeedError, serve as serve_objects};
pub use last_known::{SnapshotArguments, SnapshotError, SnapshotProblem, SnapshotSettings};
pub use manifests::{ManifestPart, manifest_parts};
pub use merge::Standing;
pub use nearside_routing::{Change, IndexConfig, Kind, Object, ObjectKey, Snapshot};
pub use pace::Pace;
pub use reading::{Reading, ReadingError, read_once};
pub use selection::Selection;
pub use snapshots::{Snapshots, snapshots};
pub use source::{ClusterConfig, Source, SourceError};
pub use state::{Counts, KindState, SyncState, register as register_metrics};

/// The objects as `nearside-routing` trims them, so that dns-sync needs no dependency on it.
pub mod object {
    pub use nearside_routing::object::{
        DnsEndpoint, DnsEndpointSpec, DnsEndpointStatus, ObjectMeta, PublicationCondition, RecordSet,
    };
}
