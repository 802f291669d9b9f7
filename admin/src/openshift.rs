//! The environment of an OpenShift router: its variables flow in, values for our own flags and a report for the operator flow
//! out, so that the environment of an existing deployment can be pasted in. Called before the command line is read, where
//! such a value counts less than the flag and its own variable, and more than the default.

mod combined;
mod grammar;
mod settings;
mod translation;

pub use grammar::Grammar;
pub use settings::{Meaning, Program, SETTINGS, Setting};
pub(crate) use translation::{Environment, Taken, Translation};

#[cfg(test)]
mod documented;
