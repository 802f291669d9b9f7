//! Black-box tests of the whole path: the three real programs on a lab cluster, against a Kubernetes API and against a directory of
//! manifests. Each test has its own cluster, as root in a network namespace, else on loopback addresses, and its own API server, which
//! refuses what a real one refuses; or all share the cluster that `KUBECONFIG` names (docs/testing.md). What a test checks is what a
//! client gets, what DNS answers, or what the API holds.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod api_server;
mod bad_input;
mod black_hole;
mod certificates;
mod claims;
mod clock;
mod credentials;
mod explained;
mod faults;
mod floods;
mod ipv6;
mod local_ports;
mod lossy_paths;
mod matching;
mod objects;
mod odd_objects;
mod pods;
mod publication;
mod redirect;
mod separated;
mod shared_cluster;
mod shutdown;
mod soak;
mod sources;
mod stage;
mod start;
mod tls;
mod traffic;
