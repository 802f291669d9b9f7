//! The figures: samples come in as they are measured; lines on the terminal, `report.json`, `report.md` and plots go out. A case that
//! could not be measured is told with its reason, and does not end the run.

use super::Group;
use super::cores::Cores;
use super::peers::{NEARSIDE, Peer};
use super::plot;
use super::size::Size;
use crate::bench::machine;
use crate::bench::statistics::Samples;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// What a sample says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    SecondsPerGigabyte,
    MegabytesPerSecond,
    AnswersPerProcessorSecond,
    AnswersPerSecond,
    Median,
    P99,
    P999,
    ConnectionsPerProcessorSecond,
    ConnectionsPerSecond,
    Kilobytes,
    Milliseconds,
    LongestMilliseconds,
    Megabytes,
    Seconds,
    MicrosecondsOfProcessor,
}

/// See the module head.
#[derive(Debug)]
pub(super) struct Report {
    head: Value,
    peers: Vec<String>,
    missing: Vec<String>,
    rows: Vec<Row>,
    failures: Vec<Failure>,
}

/// All samples of one figure.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) group: Group,
    pub(super) case: String,
    pub(super) metric: Metric,
    pub(super) peer: String,
    pub(super) samples: Vec<f64>,
}

#[derive(Debug)]
struct Failure {
    group: Group,
    case: String,
    peer: String,
    reason: String,
}

impl Metric {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SecondsPerGigabyte => "processor seconds per GB",
            Self::MegabytesPerSecond => "MB a second",
            Self::AnswersPerProcessorSecond => "answers per processor second",
            Self::AnswersPerSecond => "answers a second",
            Self::Median => "median latency, µs",
            Self::P99 => "99th percentile, µs",
            Self::P999 => "99.9th percentile, µs",
            Self::ConnectionsPerProcessorSecond => "connections per processor second",
            Self::ConnectionsPerSecond => "connections a second",
            Self::Kilobytes => "KiB of memory each",
            Self::Milliseconds => "median time, ms",
            Self::LongestMilliseconds => "longest time, ms",
            Self::Megabytes => "MB of memory",
            Self::Seconds => "s",
            Self::MicrosecondsOfProcessor => "µs of processor time",
        }
    }

    /// Whether less of it is better.
    fn is_cost(self) -> bool {
        !matches!(
            self,
            Self::MegabytesPerSecond
                | Self::AnswersPerProcessorSecond
                | Self::AnswersPerSecond
                | Self::ConnectionsPerProcessorSecond
                | Self::ConnectionsPerSecond
        )
    }

    /// What a figure is about, and not merely how fast the machine was while it was taken.
    pub(super) fn is_plotted(self) -> bool {
        !matches!(self, Self::MegabytesPerSecond | Self::AnswersPerSecond | Self::ConnectionsPerSecond)
    }
}

impl Group {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Downloads => "downloads",
            Self::Answers => "answers",
            Self::Connections => "connections",
            Self::Memory => "memory",
            Self::Tables => "tables",
        }
    }
}

impl Report {
    pub(super) fn new(peers: &[Peer], missing: &[String], size: &Size, cores: Cores) -> Self {
        let machine = machine();
        let report = Self {
            head: json!({
                "machine": machine, "kernel": kernel(), "rounds": size.rounds, "windowMilliseconds": size.window.as_millis(),
                "processorOfProxies": cores.proxy, "processorOfClients": cores.client, "processorOfBackend": cores.backend,
                "rate": size.rate, "idle": size.idle, "stalled": size.stalled, "routes": size.routes, "hosts": size.hosts,
                "changes": size.changes,
            }),
            peers: peers.iter().map(|peer| peer.name.clone()).collect(),
            missing: missing.to_vec(),
            rows: Vec::new(),
            failures: Vec::new(),
        };
        report.say(&format!("{machine}; beside Nearside: {}", report.peers[1..].join("; ")));
        for name in missing {
            report.say(&format!("left out, as it is not installed: {name}"));
        }
        report
    }

    /// A line for whoever watches.
    pub(super) fn say(&self, line: &str) {
        let _ = writeln!(std::io::stdout(), "{line}");
    }

    /// A proxy that is there and does not do what it should.
    pub(super) fn left_out(&mut self, peer: &str, error: &anyhow::Error) {
        self.say(&format!("left out: {peer}: {error:#}"));
        self.missing.push(format!("{peer} ({error:#})"));
    }

    /// What one round of one case has given.
    pub(super) fn note(&mut self, group: Group, case: &str, peer: &str, measured: Result<Vec<(Metric, f64)>>) {
        match measured {
            Ok(figures) => {
                for (metric, value) in figures {
                    self.sample(group, case, peer, metric, value);
                }
            }
            Err(error) => {
                let reason = format!("{error:#}");
                self.say(&format!("{}: {case}: {peer}: not measured: {reason}", group.name()));
                self.failures.push(Failure { group, case: case.to_owned(), peer: peer.to_owned(), reason });
            }
        }
    }

    pub(super) fn sample(&mut self, group: Group, case: &str, peer: &str, metric: Metric, value: f64) {
        let same = |row: &&mut Row| row.group == group && row.case == case && row.peer == peer && row.metric == metric;
        match self.rows.iter_mut().find(same) {
            Some(row) => row.samples.push(value),
            None => self.rows.push(Row {
                group,
                case: case.to_owned(),
                metric,
                peer: peer.to_owned(),
                samples: vec![value],
            }),
        }
    }

    /// Tells what a case has given so far.
    pub(super) fn progress(&self, group: Group, case: &str) {
        for metric in self.metrics(group, case) {
            let figures: Vec<String> = self
                .of(group, case, metric)
                .map(|row| format!("{} {}", row.peer, number(Samples::new(row.samples.clone()).median())))
                .collect();
            self.say(&format!("{}: {case}: {}: {}", group.name(), metric.name(), figures.join("; ")));
        }
    }

    /// The same for all cases whose names begin so.
    pub(super) fn progress_all(&self, group: Group, beginning: &str) {
        let mut told: Vec<&str> = Vec::new();
        for row in self.rows.iter().filter(|row| row.group == group && row.case.starts_with(beginning)) {
            if !told.contains(&row.case.as_str()) {
                told.push(&row.case);
                self.progress(group, &row.case);
            }
        }
    }

    /// Leaves the figures in a directory.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("report.json", &format!("{:#}\n", self.json()))?;
        let mut plots = Vec::new();
        for (group, metric) in self.plotted() {
            let name = format!("{}-{}.svg", group.name(), metric.file());
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.group == group && row.metric == metric).collect();
            write(&name, &plot::bars(&format!("{}: {}", group.name(), metric.name()), &self.peers, &rows))?;
            plots.push((group, name));
        }
        write("report.md", &self.markdown(&plots))
    }

    /// Fails where Nearside could not be measured; other proxies are told of in the report.
    pub(super) fn all_measured(&self) -> Result<()> {
        let failed: Vec<&str> = self
            .failures
            .iter()
            .filter(|failure| failure.peer == NEARSIDE)
            .map(|failure| failure.case.as_str())
            .collect();
        ensure!(failed.is_empty(), "Nearside was not measured in: {}", failed.join("; "));
        Ok(())
    }

    fn of(&self, group: Group, case: &str, metric: Metric) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.group == group && row.case == case && row.metric == metric)
    }

    fn metrics(&self, group: Group, case: &str) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for row in self.rows.iter().filter(|row| row.group == group && row.case == case) {
            if !metrics.contains(&row.metric) {
                metrics.push(row.metric);
            }
        }
        metrics
    }

    fn plotted(&self) -> Vec<(Group, Metric)> {
        let mut pairs = Vec::new();
        for row in self.rows.iter().filter(|row| row.metric.is_plotted()) {
            if !pairs.contains(&(row.group, row.metric)) {
                pairs.push((row.group, row.metric));
            }
        }
        pairs
    }

    /// The median of Nearside over that of the best other proxy.
    fn ratio(&self, group: Group, case: &str, metric: Metric) -> Option<(f64, &str)> {
        let median = |row: &Row| Samples::new(row.samples.clone()).median();
        let own = self.of(group, case, metric).find(|row| row.peer == NEARSIDE).map(median)?;
        let others = self.of(group, case, metric).filter(|row| row.peer != NEARSIDE);
        let sign = if metric.is_cost() { 1.0 } else { -1.0 };
        let best = others.min_by(|a, b| (median(a) * sign).total_cmp(&(median(b) * sign)))?;
        Some((own / median(best), &best.peer))
    }

    fn json(&self) -> Value {
        let figures: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let samples = Samples::new(row.samples.clone());
                json!({
                    "group": row.group.name(), "case": row.case, "metric": row.metric.name(), "proxy": row.peer,
                    "median": samples.median(), "least": samples.least(), "most": samples.most(), "rounds": row.samples,
                })
            })
            .collect();
        let failures: Vec<Value> = self
            .failures
            .iter()
            .map(|failure| {
                json!({ "group": failure.group.name(), "case": failure.case, "proxy": failure.peer, "reason": failure.reason })
            })
            .collect();
        json!({ "run": self.head, "proxies": self.peers, "missing": self.missing, "figures": figures, "failures": failures })
    }

    fn markdown(&self, plots: &[(Group, String)]) -> String {
        let text = |key: &str| self.head[key].as_str().unwrap_or_default().to_owned();
        let mut out = format!(
            "# Proxies side by side\n\n{}, Linux {}. {} rounds of {} ms for each proxy in turn. Medians, in brackets the least and the \
             most of the rounds; the ratio is Nearside's median over that of the best other proxy.\n",
            text("machine"),
            text("kernel"),
            self.head["rounds"],
            self.head["windowMilliseconds"],
        );
        for name in &self.missing {
            let _ = write!(out, "\nLeft out: {name}.\n");
        }
        let mut shown: Vec<(Group, Metric)> = Vec::new();
        for row in &self.rows {
            if shown.contains(&(row.group, row.metric)) {
                continue;
            }
            if shown.last().is_none_or(|(group, _)| *group != row.group) {
                let _ = write!(out, "\n## {}\n", row.group.name());
                for (_, name) in plots.iter().filter(|(group, _)| *group == row.group) {
                    let _ = write!(out, "\n![{name}]({name})\n");
                }
            }
            shown.push((row.group, row.metric));
            self.table(row.group, row.metric, &mut out);
        }
        if !self.failures.is_empty() {
            out += "\n## Not measured\n\n| group | case | proxy | reason |\n|---|---|---|---|\n";
            for failure in &self.failures {
                let reason = failure.reason.replace(['\n', '|'], " ");
                let _ = writeln!(out, "| {} | {} | {} | {reason} |", failure.group.name(), failure.case, failure.peer);
            }
        }
        out
    }

    fn table(&self, group: Group, metric: Metric, out: &mut String) {
        let of_table = |row: &&Row| row.group == group && row.metric == metric;
        let peers: Vec<&String> =
            self.peers.iter().filter(|peer| self.rows.iter().filter(of_table).any(|row| row.peer == **peer)).collect();
        let _ = write!(out, "\n### {}\n\n| case |", metric.name());
        for peer in &peers {
            let _ = write!(out, " {peer} |");
        }
        out.push_str(" ratio |\n|---|");
        out.push_str(&"--:|".repeat(peers.len() + 1));
        out.push('\n');
        let mut cases: Vec<&str> = Vec::new();
        for row in self.rows.iter().filter(of_table) {
            if !cases.contains(&row.case.as_str()) {
                cases.push(&row.case);
            }
        }
        for case in cases {
            let _ = write!(out, "| {case} |");
            for peer in &peers {
                match self.of(group, case, metric).find(|row| row.peer == **peer) {
                    Some(row) => {
                        let samples = Samples::new(row.samples.clone());
                        let (least, most) = (number(samples.least()), number(samples.most()));
                        let _ = write!(out, " {} ({least}–{most}) |", number(samples.median()));
                    }
                    None => out.push_str(" – |"),
                }
            }
            match self.ratio(group, case, metric) {
                Some((ratio, peer)) => {
                    let _ = writeln!(out, " {ratio:.2} ({peer}) |");
                }
                None => out.push_str(" |\n"),
            }
        }
    }
}

impl Metric {
    /// Its name in that of a file.
    fn file(self) -> String {
        let words = self.name().replace('µ', "u").replace(['.', ','], "");
        words.to_lowercase().replace(' ', "-")
    }
}

/// Three digits, and as many as there are in large numbers.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}
