//! The figures: samples come in as they are measured, lines on the terminal, `dns.json` and `dns.md` go out.

use super::Options;
use crate::bench::machine;
use crate::bench::statistics::Samples;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// See the module head.
#[derive(Debug)]
pub(super) struct Report {
    options: Options,
    throughput: Vec<Value>,
    latency: Vec<Value>,
    unmeasured: Vec<String>,
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        Self { options: options.clone(), throughput: Vec::new(), latency: Vec::new(), unmeasured: Vec::new() }
    }

    /// What one server did at one pace, over all rounds.
    pub(super) fn throughput(
        &mut self,
        pace: &str,
        server: &str,
        per_processor: &Samples,
        per_second: &Samples,
        octets: f64,
    ) {
        say(&format!(
            "{pace}, {server}: {:.0} queries per processor second ({:.0} to {:.0}), {:.0} a second, {octets:.0} octets each",
            per_processor.median(),
            per_processor.least(),
            per_processor.most(),
            per_second.median()
        ));
        self.throughput.push(json!({
            "pace": pace, "server": server, "octets": octets.round(), "perSecond": per_second.median().round(),
            "perProcessorSecond": {
                "median": per_processor.median().round(), "least": per_processor.least().round(),
                "most": per_processor.most().round(), "rounds": per_processor.count(),
            },
        }));
    }

    /// A distribution of times in milliseconds.
    pub(super) fn latency(&mut self, server: &str, changes: u32, what: &str, times: &Samples) {
        let (median, p99, most) = (times.median(), times.quantile(0.99), times.most());
        say(&format!(
            "{server}, {changes} at once, {what}: p50 {median:.2} ms, p99 {p99:.2} ms, longest {most:.2} ms ({} samples)",
            times.count()
        ));
        self.latency.push(json!({
            "server": server, "changes": changes, "what": what, "samples": times.count(),
            "least": times.least(), "p50": median, "p99": p99, "longest": most,
        }));
    }

    /// A server of which there are no latencies.
    pub(super) fn unmeasured(&mut self, server: &str, error: &anyhow::Error) {
        say(&format!("{server}: not measured: {error:#}"));
        self.unmeasured.push(server.to_owned());
    }

    /// Fails if one was not measured.
    pub(super) fn all_measured(&self) -> Result<()> {
        ensure!(self.unmeasured.is_empty(), "not measured: {}", self.unmeasured.join(", "));
        Ok(())
    }

    /// Leaves the figures in a directory.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        let Options { hosts, rounds, seconds, rate, samples, .. } = &self.options;
        let document = json!({
            "machine": machine(), "hosts": hosts, "rounds": rounds, "seconds": seconds, "rate": rate, "samples": samples,
            "throughput": self.throughput, "latency": self.latency,
        });
        write("dns.json", format!("{document:#}\n"))?;
        write("dns.md", self.markdown())?;
        say(&format!("the figures are in {}", directory.display()));
        Ok(())
    }

    fn markdown(&self) -> String {
        let Options { hosts, rounds, seconds, rate, .. } = &self.options;
        let mut text = format!(
            "# DNS\n\n{}. A zone of {hosts} hosts with four addresses of each family; {rounds} rounds of {seconds} s for each server in \
             turn; steady rate {rate} a second.\n\n## Queries per processor second\n\n\
             | pace | server | median | least | most | queries a second | octets of an answer |\n|---|---|--:|--:|--:|--:|--:|\n",
            machine()
        );
        for row in &self.throughput {
            let each = &row["perProcessorSecond"];
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                word(&row["pace"]),
                word(&row["server"]),
                each["median"],
                each["least"],
                each["most"],
                row["perSecond"],
                row["octets"]
            );
        }
        text += "\n## From a written DNSEndpoint\n\nMilliseconds.\n\n| server | hosts at once | what | p50 | p99 | longest | samples |\n\
                 |---|--:|---|--:|--:|--:|--:|\n";
        for row in &self.latency {
            let time = |key: &str| row[key].as_f64().unwrap_or_default();
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {} |",
                word(&row["server"]),
                row["changes"],
                word(&row["what"]),
                time("p50"),
                time("p99"),
                time("longest"),
                row["samples"]
            );
        }
        text
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A line for whoever watches.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
