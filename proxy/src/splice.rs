//! Bytes from one TCP socket to another, as they are, through a pipe in the kernel: two sockets, how much is to be moved and how long each
//! side may keep still flow in, what was moved and who failed flow out. Called for large bodies of HTTP/1.1, of
//! known length (`relay`) or not (`chunks`), and for tunnels.
//!
//! No more is fetched from the source than the sink has room for, so a sink that stops leaves next to nothing here, and a transfer
//! that waits holds no pipe at all: a few pipes serve any number of transfers.

pub(crate) mod both_ways;
mod buffer;
mod chunks;
mod counts;
mod gathering;
mod lot;
mod pool;
mod relay;
mod room;
mod sending;
mod sink;
mod transfer;
mod vessel;

pub(crate) use buffer::Buffer;
pub(crate) use chunks::{Coding, Unmeasured, relay_chunks};
pub(crate) use counts::SpliceCounts;
pub(crate) use lot::Lot;
pub(crate) use pool::PipePool;
pub(crate) use relay::{Length, RelayError, Side, Terms, relay};
pub(crate) use room::{room, unacknowledged};
pub(crate) use sending::send_all;
pub(crate) use sink::Sink;
pub(crate) use transfer::Patience;

#[cfg(test)]
mod tests;
