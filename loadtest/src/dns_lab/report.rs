//! The end of the DNS lab: tallies, what DNS answered and the counters of the links come in; a table for the terminal, Markdown and
//! JSON for the report directory, and the verdict go out. Called by `dns_lab`.

use super::explanation;
use super::load::Tallies;
use super::stage::Stage;
use super::times::Times;
use super::watcher::Seen;
use crate::client::Habit;
use crate::demo::view::{Event, View, amount};
use crate::lab::counters::{self, Crossing};
use anyhow::{Context as _, Result};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// All that the lab found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    times: Times,
    seconds: f64,
    /// Counted on the links; `None` where there are none.
    bytes_between_nodes: Option<u64>,
    tallies: Tallies,
    names: Seen,
    checks: Vec<Check>,
    events: Vec<Event>,
    links: Vec<Crossing>,
}

/// One thing that had to be so.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    passed: bool,
    found: String,
}

impl Report {
    pub(super) fn new(
        stage: &Stage,
        tallies: Tallies,
        names: Seen,
        links: Vec<Crossing>,
        view: &View,
        stuck: Option<&anyhow::Error>,
    ) -> Self {
        let bytes_between_nodes = stage.network.has_links().then(|| counters::between_nodes(&links));
        let mut report = Self {
            times: stage.times,
            seconds: view.elapsed().as_secs_f64(),
            bytes_between_nodes,
            tallies,
            names,
            checks: Vec::new(),
            events: view.events(),
            links,
        };
        report.check(stuck);
        report
    }

    /// With what the routers' logs in this directory say of the first requests that failed.
    pub(super) fn explained(mut self, directory: &Path) -> Self {
        for fault in self.tallies.faults.iter_mut().take(FAULTS_SHOWN) {
            fault.log = explanation::log_lines(directory, &fault.record.url);
        }
        self
    }

    /// Whether all was as it must be.
    pub(super) fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    fn check(&mut self, stuck: Option<&anyhow::Error>) {
        let sum = |meant: fn(Habit) -> bool, count: fn(&super::tally::Tally) -> u64| -> u64 {
            self.tallies.clients.iter().filter(|(manner, _)| meant(manner.habit)).map(|(_, tally)| count(tally)).sum()
        };
        let forgetful = |habit| habit != Habit::Forever;
        let never_asks_again = |habit| habit == Habit::Forever;
        let (requests, failed) = (sum(forgetful, |tally| tally.requests), sum(forgetful, |tally| tally.failed));
        let old_requests = sum(never_asks_again, |tally| tally.requests);
        let (old_failed, redirected) =
            (sum(never_asks_again, |tally| tally.failed), sum(never_asks_again, |tally| tally.redirected));
        let idle = self.tallies.clients.iter().filter(|(_, tally)| tally.requests == 0).count();
        let mut checks = vec![
            check(
                "the script was played to its end",
                stuck.is_none(),
                stuck.map_or_else(String::new, |e| format!("{e:#}")),
            ),
            check("every client asked", idle == 0, format!("{idle} kinds of clients did not")),
            check(
                "every request of a client that asks DNS again was answered",
                failed == 0,
                format!("{requests} requests, {failed} failed"),
            ),
            check(
                "every request of a client that never asks again was answered, after a redirect where its pod had moved",
                old_failed == 0 && redirected > 0,
                format!("{old_requests} requests, {redirected} redirected, {old_failed} failed"),
            ),
            check(
                "every name had an address at every moment",
                self.names.empty.is_empty() && self.names.answers > 0,
                format!("{} look-ups, {} without an address", self.names.answers, self.names.empty.len()),
            ),
        ];
        if let Some(bytes) = self.bytes_between_nodes {
            checks.push(check("no byte went from node to node", bytes == 0, format!("{bytes} bytes")));
            let outside = counters::to_outside(&self.links);
            checks.push(check(
                "the counters count",
                outside > 0,
                format!("{} to clients and control plane", amount(outside)),
            ));
        }
        self.checks = checks;
    }

    /// What the terminal shows.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("\n");
        let row = |text: &mut String, cells: [String; 9]| {
            let [client, requests, redirected, passed, reconnected, dead_ends, failed, bytes, longest] = cells;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{client:<34} {requests:>8} {redirected:>10} {passed:>11} {reconnected:>11} {dead_ends:>9} {failed:>6} {bytes:>9} {longest:>10}"
            );
        };
        row(&mut text, COLUMNS.map(str::to_owned));
        self.rows().into_iter().for_each(|cells| row(&mut text, cells));
        text += "\npassed over: a node did not answer, and the client went on to the next address of the same answer\n";
        text += "reconnected: a kept connection was closed before a response began, and the client opened another\n";
        text += "dead ends: redirected to a node that had just died, the only one of its alias\n";
        for fault in self.tallies.faults.iter().take(FAULTS_SHOWN) {
            let client = name(fault.manner.habit, fault.manner.keeps_connections);
            let _ = writeln!(text, "failed at {:.1} s ({}): {client}: {}", fault.at, fault.phase, fault.what);
            for line in explanation::course(&fault.record).iter().chain(&fault.log) {
                let _ = writeln!(text, "    {line}");
            }
        }
        text.push('\n');
        for check in &self.checks {
            let _ = writeln!(text, "{} {}: {}", if check.passed { "ok  " } else { "FAIL" }, check.what, check.found);
        }
        match self.bytes_between_nodes {
            Some(bytes) => {
                let _ = writeln!(text, "\nresponse bytes between nodes: {bytes}");
            }
            None => text += "\nno links to count on loopback addresses\n",
        }
        text
    }

    /// Writes `dns-lab.md` and `dns-lab.json`.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("dns-lab.json", serde_json::to_string_pretty(self)? + "\n")?;
        write("dns-lab.md", self.markdown())
    }

    fn markdown(&self) -> String {
        let verdict = if self.passed() { "passed" } else { "FAILED" };
        let mut text = format!("# DNS lab: {verdict}\n\n{:.0} s; {}.\n\n", self.seconds, self.times);
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        text += &line(&COLUMNS.map(str::to_owned));
        text += &format!("|---{}|\n", "|--:".repeat(COLUMNS.len() - 1));
        self.rows().iter().for_each(|cells| text += &line(cells));
        text += "\n## Checks\n\n| | what | found |\n|---|---|---|\n";
        for check in &self.checks {
            let passed = if check.passed { "ok" } else { "**FAIL**" };
            let _ = writeln!(text, "| {passed} | {} | {} |", check.what, check.found);
        }
        text += "\n## Events\n\n| s | | |\n|--:|---|---|\n";
        for event in &self.events {
            let _ = writeln!(text, "| {:.1} | {} | {} |", event.at, event.subject, event.text);
        }
        if !self.tallies.faults.is_empty() {
            text += "\n## Failed requests\n\n| s | during | client | request | what |\n|--:|---|---|---|---|\n";
            for fault in &self.tallies.faults {
                let client = name(fault.manner.habit, fault.manner.keeps_connections);
                let _ = writeln!(
                    text,
                    "| {:.1} | {} | {client} | `{}` | {} |",
                    fault.at, fault.phase, fault.record.url, fault.what
                );
            }
            text += "\n## How they went\n\n";
            for fault in self.tallies.faults.iter().take(FAULTS_SHOWN) {
                for line in explanation::course(&fault.record).iter().chain(&fault.log) {
                    let _ = writeln!(text, "    {line}");
                }
                text.push('\n');
            }
        }
        text
    }

    fn rows(&self) -> Vec<[String; 9]> {
        let cells = |(manner, tally): &(super::tally::Manner, super::tally::Tally)| {
            [
                name(manner.habit, manner.keeps_connections),
                tally.requests.to_string(),
                tally.redirected.to_string(),
                tally.passed_over.to_string(),
                tally.reconnected.to_string(),
                tally.dead_ends.to_string(),
                tally.failed.to_string(),
                amount(tally.bytes),
                format!("{} ms", tally.longest),
            ]
        };
        self.tallies.clients.iter().map(cells).collect()
    }
}

fn check(what: &'static str, passed: bool, found: String) -> Check {
    Check { what, passed, found }
}

fn name(habit: Habit, keeps_connections: bool) -> String {
    format!("{habit}, {}", if keeps_connections { "keeps connections" } else { "one connection each" })
}

const COLUMNS: [&str; 9] = [
    "DNS answers are kept",
    "requests",
    "redirected",
    "passed over",
    "reconnected",
    "dead ends",
    "failed",
    "bytes",
    "longest",
];
const FAULTS_SHOWN: usize = 20;
