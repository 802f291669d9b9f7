//! The figures as a page of tables, for people: a report comes in, Markdown goes out. Pure.

use super::{Report, Row, number};
use crate::bench::proxy::Group;
use crate::bench::proxy::metric::Metric;
use crate::bench::statistics::Samples;
use std::fmt::Write as _;

impl Report {
    pub(super) fn markdown(&self, plots: &[(Group, String)]) -> String {
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
            if shown.contains(&(row.group, row.metric)) || row.metric.is_remark() {
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
        let peers: Vec<&String> = self
            .peers
            .iter()
            .filter(|peer| {
                self.rows.iter().filter(of_table).any(|row| row.peer == **peer)
                    || self.failures.iter().any(|failure| failure.group == group && failure.peer == **peer)
            })
            .collect();
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
                        let remarks = self.remarks(group, case, peer);
                        let _ = write!(out, " {} ({least}–{most}){remarks} |", number(samples.median()));
                    }
                    None if self.failed(group, case, peer) => out.push_str(" not measured |"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::proxy::peers::NEARSIDE;
    use crate::bench::proxy::progress::Progress;
    use serde_json::Value;
    use std::time::Instant;

    #[test]
    fn what_was_not_measured_or_not_steady_stands_in_the_table() {
        let mut report = Report {
            head: Value::Null,
            peers: [NEARSIDE, "a", "b"].map(str::to_owned).to_vec(),
            missing: Vec::new(),
            rows: Vec::new(),
            failures: Vec::new(),
            progress: Progress::default(),
            begin: Instant::now(),
        };
        let figures = |seconds, unserved, sent| {
            Ok(vec![(Metric::SecondsPerGigabyte, seconds), (Metric::Unserved, unserved), (Metric::Sent, sent)])
        };
        report.note(Group::Downloads, "case", NEARSIDE, figures(0.5, 0.0, 1.01));
        report.note(Group::Downloads, "case", "a", figures(0.25, 3.0, 1.5));
        report.note(Group::Downloads, "case", "a", Err(anyhow::anyhow!("closed")));
        report.note(Group::Downloads, "case", "b", Err(anyhow::anyhow!("refused")));
        let text = report.markdown(&[]);
        let told =
            "0.250 (0.250–0.250) [nothing came to 3 clients; the pod sent 1.50 times what came; not in every round]";
        assert!(text.contains(&format!("| case | 0.500 (0.500–0.500) | {told} | not measured | 2.00 (a) |")), "{text}");
        assert!(text.contains("| downloads | case | b | refused |"));
        assert_eq!(report.json()["failures"].as_array().map(Vec::len), Some(2));
    }
}
