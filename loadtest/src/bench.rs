//! Benchmarks: options come in from `main`, the figures of a run go out, to the terminal and to a directory. Each benchmark
//! is a module of its own.

pub mod scale;
