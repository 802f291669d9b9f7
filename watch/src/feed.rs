//! Objects that one process reads for another on the same machine: a cluster flows in at one end of a Unix socket ([`serve`]), what its
//! lists and watches say flows out at the other, as if it had been read there ([`Source::Feed`](crate::Source)). So a process that talks to
//! strangers needs no credentials of the API server.
//!
//! The end that reads the cluster decides what may be read: nothing but its own selections, and of single objects only Secrets that a
//! Route or an Ingress names.

mod frame;
mod named;
mod reader;
mod server;
mod socket;

pub(crate) use frame::WatchState;
pub use reader::Feed;
pub(crate) use reader::Follower;
pub use server::{FeedError, serve};
