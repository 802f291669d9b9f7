//! What a run leaves: the counts of each phase come in, a table goes to the terminal, figures for programs and people to files.

use super::Options;
use super::node::Succession;
use super::tally::{Counts, Kind, Tally};
use crate::bench::machine;
use crate::bench::statistics::Samples;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// See the module head.
#[derive(Debug)]
pub(super) struct Report {
    options: Options,
    phases: Vec<Phase>,
    listening: Vec<f64>,
}

#[derive(Debug)]
struct Phase {
    name: &'static str,
    times: u32,
    counts: Vec<(Kind, Counts)>,
    failures: Vec<String>,
}

impl Phase {
    fn failed(&self) -> u64 {
        self.counts.iter().map(|(_, counts)| counts.failed).sum()
    }

    fn done(&self) -> u64 {
        self.counts.iter().map(|(_, counts)| counts.done).sum()
    }

    fn table(&self) -> String {
        let mut out = format!(
            "\n## {}: {} times\n\n| clients | done | failed | told to go | handshakes | resumed |\n|---|--:|--:|--:|--:|--:|\n",
            self.name, self.times
        );
        for (kind, counts) in &self.counts {
            let Counts { done, failed, told, handshakes, resumed } = counts;
            let _ = writeln!(out, "| {} | {done} | {failed} | {told} | {handshakes} | {resumed} |", kind.name());
        }
        let _ = writeln!(out, "| all | {} | {} | | | |", self.done(), self.failed());
        if !self.failures.is_empty() {
            out.push_str("\nThe first failures:\n\n");
            for failure in &self.failures {
                let _ = writeln!(out, "* {failure}");
            }
        }
        out
    }

    fn json(&self) -> Value {
        let counts: Vec<Value> =
            self.counts.iter().map(|(kind, counts)| json!({ "clients": kind.name(), "counts": counts })).collect();
        json!({
            "phase": self.name, "times": self.times, "done": self.done(), "failed": self.failed(), "clients": counts,
            "failures": self.failures,
        })
    }
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        Self { options: options.clone(), phases: Vec::new(), listening: Vec::new() }
    }

    pub(super) fn phase(&mut self, name: &'static str, times: u32, tally: &Tally) {
        let counts = Kind::ALL.map(|kind| (kind, tally.of(kind))).to_vec();
        let phase = Phase { name, times, counts, failures: tally.failures() };
        say(&phase.table());
        self.phases.push(phase);
    }

    /// From the start of a proxy after a crash until it accepts connections.
    pub(super) fn listening(&mut self, times: &[Duration]) {
        self.listening = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        say(&self.crashes());
    }

    /// Whether nothing failed during handovers.
    pub(super) fn is_good(&self) -> bool {
        self.phases.iter().filter(|phase| phase.name == Succession::Handover.name()).all(|phase| phase.failed() == 0)
    }

    fn crashes(&self) -> String {
        if self.listening.is_empty() {
            return String::new();
        }
        let samples = Samples::new(self.listening.clone());
        format!(
            "\nFrom the start of a proxy after SIGKILL until it accepts connections ({} build): median {:.0} ms, longest {:.0} ms \
             ({} times).\n",
            if cfg!(debug_assertions) { "debug" } else { "optimised" },
            samples.median(),
            samples.most(),
            samples.count()
        )
    }

    /// Leaves the figures in a directory.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let machine = machine();
        let Options { rate, clients, .. } = &self.options;
        let phases: Vec<Value> = self.phases.iter().map(Phase::json).collect();
        let document = json!({
            "machine": machine, "rate": rate, "clients": clients, "phases": phases, "listening_ms": self.listening,
        });
        let mut text =
            format!("# Upgrades under load\n\n{machine}. {rate} requests a second, {clients} clients of each kind.\n");
        self.phases.iter().for_each(|phase| text.push_str(&phase.table()));
        text.push_str(&self.crashes());
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("upgrades.json", format!("{document:#}\n"))?;
        write("upgrades.md", text)?;
        say(&format!("\nthe figures are in {}", directory.display()));
        Ok(())
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
