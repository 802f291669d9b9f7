//! Publishes names on name servers that others run, by RFC 2136: what objects desire and what a server holds flow in, signed
//! updates flow out, each bound to what was read before by prerequisites.
//!
//! The unit is an owner name. For each, [`intent`] says what should stand there, [`observed`] what a server holds, [`marker`]
//! whose it is, [`update`] what a message changes and on which condition, [`failure`] how a server may refuse.
//! Servers are spoken to by a [`connection`], by which [`reading`] learns what they hold and [`transfer`] a whole zone.

pub mod config;
pub mod connection;
pub mod failure;
pub mod intent;
pub mod marker;
pub mod observed;
pub mod reading;
pub mod transfer;
pub mod update;
