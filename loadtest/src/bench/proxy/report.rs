//! The figures: samples come in as they are measured; lines on the terminal, `report.json`, `report.md` and plots go out. A case that
//! could not be measured is told with its reason, and does not end the run.

mod markdown;

use super::Group;
use super::cores::Cores;
use super::metric::Metric;
use super::peers::{NEARSIDE, Peer};
use super::plot;
use super::progress::Progress;
use super::size::Size;
use crate::bench::machine;
use crate::bench::statistics::Samples;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// See the module head.
#[derive(Debug)]
pub(super) struct Report {
    head: Value,
    peers: Vec<String>,
    missing: Vec<String>,
    rows: Vec<Row>,
    failures: Vec<Failure>,
    progress: Progress,
    begin: Instant,
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
            progress: Progress::default(),
            begin: Instant::now(),
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

    /// A case that is going to be measured, and how long that should take.
    pub(super) fn expect(&mut self, group: Group, case: &str, expected: Duration) {
        self.progress.expect(group, case, expected);
    }

    /// Tells how much is going to be measured.
    pub(super) fn begin(&self) {
        self.say(&self.progress.whole());
    }

    /// Tells what is measured now, and what is left.
    pub(super) fn begin_case(&mut self, group: Group, case: &str) {
        let line = self.progress.begin(group, case, self.begin.elapsed());
        self.say(&line);
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
        for metric in self.metrics(group, case).into_iter().filter(|metric| !metric.is_remark()) {
            let figures: Vec<String> = self
                .of(group, case, metric)
                .map(|row| {
                    let median = number(Samples::new(row.samples.clone()).median());
                    format!("{} {median}{}", row.peer, self.remarks(group, case, &row.peer))
                })
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

    /// What must be known beside a figure of this case: that not every client was served, or that what was measured was not steady.
    fn remarks(&self, group: Group, case: &str, peer: &str) -> String {
        let most = |metric| {
            let row = self.of(group, case, metric).find(|row| row.peer == peer);
            row.map(|row| Samples::new(row.samples.clone()).most()).unwrap_or_default()
        };
        let (unserved, sent) = (most(Metric::Unserved), most(Metric::Sent));
        let mut said = Vec::new();
        if unserved > 0.0 {
            said.push(format!("nothing came to {unserved} clients"));
        }
        if sent > STEADY {
            said.push(format!("the pod sent {sent:.2} times what came"));
        }
        if self.failed(group, case, peer) {
            said.push("not in every round".to_owned());
        }
        if said.is_empty() { String::new() } else { format!(" [{}]", said.join("; ")) }
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

    fn failed(&self, group: Group, case: &str, peer: &str) -> bool {
        self.failures.iter().any(|failure| failure.group == group && failure.case == case && failure.peer == peer)
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
}

/// More than this is told beside the figure: as much was done for bytes that have come to nobody.
const STEADY: f64 = 1.1;

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
