//! Publishes names on name servers that others run, by RFC 2136: what objects desire and what a server holds flow in, signed
//! updates flow out, each bound to what was read before by prerequisites.
//!
//! [`guard`] makes intents of what the source tells, and of what was [`last_good`] before it tells anything; [`cap`] bounds them.
//! The unit is an owner name. For each, [`intent`] says what should stand there, [`observed`] what a server holds, [`marker`]
//! whose it is, [`update`] what a message changes and on which condition, [`failure`] how a server may refuse. [`plan`](mod@plan)
//! makes writes of the first three, [`fence`] says when a newer view may be overwritten, [`batch`] makes messages, [`isolation`]
//! finds the names at fault, [`backoff`] says how long to wait.
//! Servers are spoken to by a [`connection`], by which [`reading`] learns what they hold and [`transfer`] a whole zone.

pub mod backoff;
pub mod batch;
pub mod cap;
pub mod config;
pub mod connection;
pub mod failure;
pub mod fence;
pub mod guard;
pub mod intent;
pub mod isolation;
pub mod key;
pub mod last_good;
pub mod marker;
pub mod observed;
pub mod plan;
pub mod reading;
pub mod transfer;
pub mod update;
