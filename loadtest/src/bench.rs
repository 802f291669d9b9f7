//! Benchmarks: options come in from `main`, the figures of a run go out, to the terminal and to a directory. Each benchmark
//! is a module of its own.

pub mod dns;
mod free_addresses;
pub mod proxy;
pub mod scale;
mod statistics;
pub mod upgrades;
mod usage;

use std::fs;

/// The processor and how many of it there are.
fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    // Not those that this thread may use, which may be fewer.
    let processors = text.lines().filter(|line| line.starts_with("processor")).count().max(1);
    format!("{processors} × {}", model.trim_start_matches([' ', '\t', ':']))
}
