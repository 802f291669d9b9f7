//! The outside world of Nearside, for tests, load and the demo: the lab (a cluster on one machine), a fake Kubernetes API, pods,
//! clients, and the starter of the real programs. Programs under test are started as processes, never linked.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that fails here fails as it should"))]

pub mod api;
pub mod background;
pub mod bench;
pub mod certificates;
pub mod client;
pub mod cluster_commands;
pub mod corpus;
pub mod demo;
pub mod dns_lab;
pub mod lab;
pub mod name_servers;
pub mod pods;
pub mod programs;
mod report_directory;
pub mod rest;
pub mod wall_clock;
