//! The lab: a cluster on one machine. `network` lays the wires, `place` puts sockets and programs on them, `counters` reads what
//! crossed them, `cluster` plays kubelet, scheduler and endpoint controllers. Called by the demo and by tests of every crate.

pub mod cluster;
pub mod counters;
pub mod namespace;
pub mod network;
pub mod place;

pub use cluster::Cluster;
pub use network::{Network, Node};
pub use place::Place;
