//! The figures: values come in as they are measured, lines on the terminal, `scale.json` and `scale.md` go out.

use super::Options;
use super::stage::{Actor, megabytes};
use crate::bench::machine;
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
    figures: Vec<Figure>,
    is_silent: bool,
}

#[derive(Debug)]
struct Figure {
    section: &'static str,
    name: String,
    value: f64,
    unit: &'static str,
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        Self { options: options.clone(), figures: Vec::new(), is_silent: false }
    }

    /// One that nobody reads.
    pub(super) fn silent(options: &Options) -> Self {
        Self { is_silent: true, ..Self::new(options) }
    }

    /// A line for whoever watches.
    pub(super) fn say(&self, line: &str) {
        if !self.is_silent {
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }

    pub(super) fn value(&mut self, section: &'static str, name: &str, value: f64, unit: &'static str) {
        self.say(&format!("{name}: {value:.2} {unit}"));
        self.figures.push(Figure { section, name: name.to_owned(), value, unit });
    }

    /// A program is ready.
    pub(super) fn start(&mut self, name: &str, took: Duration, actor: &Actor, of: &str) -> Result<()> {
        self.value("start", &format!("{name}: ready after"), took.as_secs_f64(), "s");
        let usage = actor.usage()?;
        self.value("start", &format!("{name}: processor time by then"), usage.processor.as_secs_f64(), "s");
        self.value("start", &format!("{name}: resident, with {of}"), megabytes(usage.resident), "MB");
        self.value("start", &format!("{name}: received"), megabytes(actor.meter.received()), "MB");
        Ok(())
    }

    /// A distribution of times.
    pub(super) fn times(&mut self, section: &'static str, name: &str, times: &mut [Duration]) {
        times.sort_unstable();
        let Some(last) = times.len().checked_sub(1) else { return };
        for (share, word) in [(0.5, "p50"), (0.99, "p99"), (1.0, "longest")] {
            let place = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1).min(last);
            let value = times[place].as_secs_f64() * 1e3;
            self.value(section, &format!("{name} ({} samples): {word}", times.len()), value, "ms");
        }
    }

    /// Leaves the figures in a directory.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| json!({ "section": figure.section, "name": figure.name, "value": figure.value, "unit": figure.unit }))
            .collect();
        let Options { nodes, pods, services, routes, events, rate, .. } = &self.options;
        let machine = machine();
        let document = json!({ "machine": machine, "nodes": nodes, "pods": pods, "services": services, "routes": routes,
            "events": events, "rate": rate, "figures": figures });
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("scale.json", format!("{document:#}\n"))?;
        let mut text = format!(
            "# Control plane at scale\n\n{machine}. {nodes} nodes, {pods} pods, {services} Services, {routes} Routes and Ingresses; \
             {events} events of each kind at {rate} a second.\n"
        );
        let mut section = "";
        for figure in &self.figures {
            if figure.section != section {
                section = figure.section;
                let _ = write!(text, "\n## {section}\n\n| figure | value |\n|---|---|\n");
            }
            let _ = writeln!(text, "| {} | {:.2} {} |", figure.name, figure.value, figure.unit);
        }
        write("scale.md", text)?;
        self.say(&format!("the figures are in {}", directory.display()));
        Ok(())
    }
}
