//! The name server from outside: sockets, `dig`, Knot as a second opinion, and the program itself. One module a topic.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod client;
mod flood;
mod knot;
mod mutations;
mod program;
mod publish;
mod secondaries;
mod server;
mod transport;
mod visibility;
