//! The connection to other name servers, against real ones and against one that misbehaves by a script. One module a topic.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod collecting;
mod misbehaviour;
mod mistakes;
mod reading;
mod script;
mod stage;
mod updates;
