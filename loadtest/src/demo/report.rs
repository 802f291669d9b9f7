//! The end of the demo: tallies and counters in; a table for the terminal, Markdown and JSON for the report directory, and the
//! verdict out. Called by `demo`.

use super::hosts::MOVING;
use super::stage::Stage;
use super::traffic::{Fault, Tallies, Tally};
use super::view::{Event, View, amount};
use crate::lab::counters::{self, Crossing};
use crate::programs;
use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// All that the demo found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    nodes: usize,
    /// Whether `bytes_between_nodes` was counted on links; otherwise it is what clients could see.
    counted_on_links: bool,
    seconds: f64,
    bytes_between_nodes: u64,
    /// Bytes that left the nodes for clients and the control plane: the proof that the counters count.
    bytes_to_clients: Option<u64>,
    killed: Option<String>,
    total: Tally,
    hosts: Vec<Row>,
    checks: Vec<Check>,
    events: Vec<Event>,
    links: Vec<Crossing>,
    pods: std::collections::BTreeMap<String, u64>,
    faults: Vec<Fault>,
}

/// One host.
#[derive(Debug, Serialize)]
struct Row {
    host: String,
    kind: &'static str,
    #[serde(flatten)]
    tally: Tally,
}

/// One thing that had to be so.
#[derive(Debug, Serialize)]
struct Check {
    what: String,
    passed: bool,
    found: String,
}

impl Report {
    pub(super) async fn new(stage: &Stage, tallies: Tallies, links: Vec<Crossing>, view: &View) -> Result<Self> {
        let hosts: Vec<Row> = stage
            .hosts
            .iter()
            .map(|host| Row {
                host: host.name.clone(),
                kind: host.kind,
                tally: tallies.hosts.get(&host.name).cloned().unwrap_or_default(),
            })
            .collect();
        let total = tallies.total();
        let counted_on_links = stage.network.has_links();
        let mut report = Self {
            nodes: stage.network.nodes().len(),
            counted_on_links,
            seconds: view.elapsed().as_secs_f64(),
            bytes_between_nodes: if counted_on_links { counters::between_nodes(&links) } else { tallies.foreign_bytes },
            bytes_to_clients: counted_on_links.then(|| counters::to_outside(&links)),
            checks: Vec::new(),
            events: view.events(),
            total,
            hosts,
            links,
            killed: tallies.killed.clone(),
            pods: tallies.pods,
            faults: tallies.faults,
        };
        report.checks = report.check(stage).await?;
        Ok(report)
    }

    /// Whether all was as it must be.
    pub(super) fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    /// What the terminal shows.
    pub(super) fn table(&self) -> String {
        let mut text = String::from("\n");
        let width = self.hosts.iter().map(|row| row.host.len()).max().unwrap_or(0);
        let mut line = |host: &str, kind: &str, cells: [&str; 6]| {
            let [requests, own, redirected, retried, failed, bytes] = cells;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{host:<width$}  {kind:<30} {requests:>8} {own:>8} {redirected:>10} {retried:>8} {failed:>7} {bytes:>10}"
            );
        };
        line("host", "routed by", ["requests", "own node", "redirected", "retried", "failed", "bytes"]);
        for row in &self.hosts {
            row.tally.cells(|cells| line(&row.host, row.kind, cells));
        }
        self.total.cells(|cells| line("all", "", cells));
        if let Some(killed) = &self.killed {
            let _ = writeln!(
                text,
                "\nretried: node {killed}, dead, did not answer, and the client went on to another address of the host, as browsers do"
            );
        }
        for fault in self.faults.iter().take(FAULTS_SHOWN) {
            let _ = writeln!(text, "failed: {}: {}", fault.record.url, fault.what);
        }
        text.push('\n');
        for check in &self.checks {
            let _ = writeln!(text, "{} {}: {}", if check.passed { "ok  " } else { "FAIL" }, check.what, check.found);
        }
        if let Some(bytes) = self.bytes_to_clients {
            let _ = writeln!(text, "\nbytes from nodes to clients and control plane: {bytes} ({})", amount(bytes));
        } else {
            let _ = writeln!(text, "\nno links to count on loopback addresses: the next line is what the clients saw");
        }
        let _ = writeln!(text, "response bytes between nodes: {}", self.bytes_between_nodes);
        text
    }

    /// Writes `report.md` and `report.json`.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("report.json", serde_json::to_string_pretty(self)? + "\n")?;
        write("report.md", self.markdown())
    }

    fn markdown(&self) -> String {
        let verdict = if self.passed() { "passed" } else { "FAILED" };
        let mut text = format!(
            "# Nearside demo: {verdict}\n\n{} nodes, {:.0} s, {} requests.\n\n**response bytes between nodes: {}**\n\n",
            self.nodes, self.seconds, self.total.requests, self.bytes_between_nodes
        );
        text += "| host | routed by | requests | own node | redirected | retried | failed | bytes |\n|---|---|--:|--:|--:|--:|--:|--:|\n";
        for row in &self.hosts {
            row.tally.cells(|cells| {
                let _ = writeln!(text, "| `{}` | {} | {} |", row.host, row.kind, cells.join(" | "));
            });
        }
        text += "\n## Checks\n\n| | what | found |\n|---|---|---|\n";
        for check in &self.checks {
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                if check.passed { "ok" } else { "**FAIL**" },
                check.what,
                check.found
            );
        }
        text += "\n## Events\n\n| s | | |\n|--:|---|---|\n";
        for event in &self.events {
            let _ = writeln!(text, "| {:.1} | {} | {} |", event.at, event.subject, event.text);
        }
        if !self.links.is_empty() {
            text += "\n## Links\n\nIP bytes on each node's link, headers included.\n\n| node | direction | peer | bytes | packets |\n|---|---|---|--:|--:|\n";
            for link in &self.links {
                let peer = match &link.peer {
                    counters::Peer::Node(name) => name.as_str(),
                    counters::Peer::Outside => "clients, control plane",
                };
                let _ = writeln!(
                    text,
                    "| {} | {:?} | {peer} | {} | {} |",
                    link.node, link.direction, link.bytes, link.packets
                );
            }
        }
        if !self.faults.is_empty() {
            text += "\n## Failed requests\n\n";
            for fault in &self.faults {
                let _ = writeln!(text, "- `{}`: {}", fault.record.url, fault.what);
            }
        }
        text
    }

    async fn check(&self, stage: &Stage) -> Result<Vec<Check>> {
        let mut checks = Vec::new();
        let mut check =
            |what: &str, passed: bool, found: String| checks.push(Check { what: what.to_owned(), passed, found });
        let failed = self.total.failed + u64::from(self.total.failed == 0 && !self.faults.is_empty());
        check("every request was answered", failed == 0, format!("{} requests, {failed} failed", self.total.requests));
        let silent: Vec<&str> =
            self.hosts.iter().filter(|row| row.tally.requests == 0).map(|row| row.host.as_str()).collect();
        check(
            "every host was asked",
            silent.is_empty(),
            format!("{} hosts, without requests: {silent:?}", self.hosts.len()),
        );
        let own = self.total.own_node + self.total.failed;
        check(
            "every answer came from a pod of the node that was asked",
            own >= self.total.requests,
            format!("{} of {}", self.total.own_node, self.total.requests),
        );
        if let Some(bytes) = self.bytes_to_clients {
            check(
                "the link counters saw the answers",
                bytes >= self.total.bytes,
                format!("{} on the links, {} of bodies", amount(bytes), amount(self.total.bytes)),
            );
        }
        check(
            "no byte crossed from node to node",
            self.bytes_between_nodes == 0,
            format!("{} bytes", self.bytes_between_nodes),
        );
        let (before, after) = (self.answers("mover-1"), self.answers("mover-2"));
        check(
            &format!("{MOVING} was answered before and after its pod moved"),
            before > 0 && after > 0,
            format!("{before} answers by mover-1, {after} by mover-2"),
        );
        check(
            "the later claim of a host got nothing",
            self.answers("rival-1") == 0,
            format!("{} answers by rival-1", self.answers("rival-1")),
        );
        let (admitted, rival) = (self.admitted(stage, "demo"), self.admitted(stage, "rival"));
        check(
            "its status tells both owners",
            admitted.starts_with("True") && rival.starts_with("False"),
            format!("demo/claimed is Admitted={admitted}, rival/claimed is Admitted={rival}"),
        );
        let mut crossed = 0.0;
        for (place, address) in stage.admin_ports() {
            let (_, page) = programs::get(&place, address, "/metrics").await?;
            crossed += page
                .lines()
                .filter(|line| line.starts_with("nearside_cross_node_response_bytes_total"))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum::<f64>();
        }
        check(
            "the proxies say the same",
            crossed == 0.0,
            format!("nearside_cross_node_response_bytes_total is {crossed}"),
        );
        Ok(checks)
    }

    fn answers(&self, pod: &str) -> u64 {
        self.pods.get(pod).copied().unwrap_or(0)
    }

    /// `status` and `reason` of the Admitted condition of the Route `claimed`.
    fn admitted(&self, stage: &Stage, namespace: &str) -> String {
        let route = stage.control.get("route.openshift.io/v1", "Route", namespace, "claimed");
        let conditions = route.as_ref().and_then(|route| route.pointer("/status/ingress/0/conditions")?.as_array());
        let admitted = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == "Admitted"));
        let word = |key: &str| admitted.and_then(|condition| condition[key].as_str()).unwrap_or("unknown").to_owned();
        match admitted.map(|condition| &condition["reason"]) {
            Some(Value::String(reason)) => format!("{} ({reason})", word("status")),
            _ => word("status"),
        }
    }
}

impl Tally {
    fn cells(&self, mut with: impl FnMut([&str; 6])) {
        let texts =
            [self.requests, self.own_node, self.redirected, self.retried, self.failed].map(|number| number.to_string());
        let bytes = amount(self.bytes);
        let [requests, own, redirected, retried, failed] = &texts;
        with([requests, own, redirected, retried, failed, &bytes]);
    }
}

const FAULTS_SHOWN: usize = 10;
