//! Black-box tests of the real `nearside-controller`: objects go in through a fake Kubernetes API or a directory of
//! manifests, what the controller writes is compared. One file per topic.

#![expect(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

mod admin_tokens;
mod admission;
mod browser;
mod bursts;
mod check;
mod command;
mod conflicts;
mod explain;
mod handover;
mod instances;
mod leadership;
mod manifests;
mod not_ready;
mod objects;
mod odd_objects;
mod permissions;
mod placement;
mod process;
mod publication;
mod status;
mod status_page;
mod unavailable;
