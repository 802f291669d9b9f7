//! What the tests share: the proxy as a process, manifests, pods and a client.

pub(crate) mod bytes_pod;
pub(crate) mod canary;
pub(crate) mod client;
pub(crate) mod grpc;
pub(crate) mod h2_wire;
pub(crate) mod manifests;
pub(crate) mod nodes;
pub(crate) mod pods;
pub(crate) mod proxy;
pub(crate) mod tls_clients;
pub(crate) mod wire;

pub(crate) use client::{get, request};
pub(crate) use manifests::Manifests;
pub(crate) use pods::{Scripted, echo_pod};
pub(crate) use proxy::Proxy;

use std::future::Future;
use std::time::Duration;

/// Asks again until the answer is there; panics with `what` if it never comes.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many requests a test is to send of whose number more can be found out; `None` where the usual number will do. See
/// `docs/testing.md`.
pub(crate) fn wanted_requests() -> Option<usize> {
    let wanted = std::env::var("NEARSIDE_TEST_REQUESTS").ok()?;
    Some(wanted.parse().expect("NEARSIDE_TEST_REQUESTS is a number"))
}

/// What cannot happen within this does not happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The node that every proxy under test runs on.
pub(crate) const NODE: &str = "n1";
