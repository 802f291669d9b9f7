//! Rules of this repository that no lint can hold: how sources are named and begin, which crate may use which, through which
//! door a foreign library comes in, and that documents speak of what exists.

#![allow(clippy::unwrap_used)]

mod bill_of_materials;
mod compatibility;
mod dependencies;
mod documents;
mod fuzzing;
mod sources;
mod tree;
