//! Pods: HTTP servers that say who they are and serve media of any size. `server` runs one on given sockets, `handler` answers
//! its requests, `media` is the content, `websocket` the echo. Called by `lab::cluster` and by tests that need an upstream.

mod handler;
pub mod media;
pub mod server;
pub mod websocket;

pub use handler::{Echo, NODE_HEADER, POD_HEADER};
pub use server::{PodServer, Socket};

/// Who a pod is; part of each of its answers.
#[derive(Clone, Debug)]
pub struct PodIdentity {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `spec.nodeName`.
    pub node: String,
}
