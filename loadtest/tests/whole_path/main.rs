//! Black-box tests of the whole path: the three real programs on a lab cluster, against the fake Kubernetes API and against a directory of
//! manifests. Each test has its own cluster on loopback addresses; what it checks is what a client gets, what DNS answers, or what
//! the API holds.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod api_server;
mod bad_input;
mod certificates;
mod claims;
mod matching;
mod objects;
mod pods;
mod redirect;
mod shutdown;
mod stage;
mod start;
mod tls;
