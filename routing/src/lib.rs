//! The pure core of Nearside: trimmed Kubernetes objects flow in, and who owns a host, the route table, the endpoints
//! and the placement flow out. No IO, no clock, no async, no randomness: what two programs must decide identically is
//! decided here, and nothing else.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod address_policy;
pub mod admission;
mod annotation;
mod bounded_regex;
pub mod certificate;
pub mod claim;
pub mod compile;
pub mod credentials;
pub mod endpoints;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod header_value;
pub mod hostname;
pub mod index;
mod instance;
pub mod known_secret;
pub mod miss;
pub mod node_id;
pub mod object;
pub mod path;
pub mod placement;
pub mod policy;
pub mod published;
pub mod shared_map;
pub mod table;
pub mod verdict;

#[cfg(test)]
mod testing;

pub use hostname::{HostPattern, Hostname, HostnameError};
pub use index::{Change, EndpointSource, Index, IndexConfig, Notice, Snapshot};
pub use instance::{Instance, ROUTER_LABEL};
pub use node_id::NodeId;
pub use object::{Kind, Object, ObjectKey};
pub use path::{NormalPath, PathError, PathRule};
pub use placement::{Placement, place};
pub use shared_map::SharedMap;
pub use table::{CompiledRoute, Decision, RouteTable, Scheme};
pub use verdict::{Outcome, Problem, Reason, Verdict};
