//! What a person sees while the demo runs: events on their own lines, and a status line that is rewritten in place on a terminal and
//! written now and then elsewhere. Called by all of the demo.

use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The demo's output.
#[derive(Debug)]
pub(crate) struct View {
    start: Instant,
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    line_open: bool,
    last_status: Option<Instant>,
}

/// Something that happened, for the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Event {
    /// Seconds since the start.
    pub(crate) at: f64,
    pub(crate) subject: String,
    pub(crate) text: String,
}

impl View {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), terminal: io::stdout().is_terminal(), state: Mutex::default() }
    }

    /// An event, on a line of its own.
    pub(crate) fn event(&self, subject: &str, text: &str) {
        let mut state = self.lock();
        let at = self.start.elapsed().as_secs_f64();
        close_line(&mut state);
        write(&format!("{at:7.1} s  {subject:<9} {text}\n"));
        state.events.push(Event { at, subject: subject.to_owned(), text: text.to_owned() });
    }

    /// The state of the traffic; shown each time on a terminal, every few seconds elsewhere.
    pub(crate) fn status(&self, text: &str) {
        let mut state = self.lock();
        let at = self.start.elapsed().as_secs_f64();
        if self.terminal {
            write(&format!("\r\x1b[2K{at:7.1} s  {text}"));
            state.line_open = true;
        } else if state.last_status.is_none_or(|last| last.elapsed() >= SPARSE) {
            state.last_status = Some(Instant::now());
            write(&format!("{at:7.1} s  {text}\n"));
        }
    }

    /// Any text, below what is there.
    pub(crate) fn print(&self, text: &str) {
        close_line(&mut self.lock());
        write(text);
    }

    /// Ends the status line.
    pub(crate) fn finish(&self) {
        close_line(&mut self.lock());
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn close_line(state: &mut State) {
    if std::mem::take(&mut state.line_open) {
        write("\n");
    }
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    // Nobody reads any more: the demo goes on, its exit code still counts.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Bytes in a unit that a person reads at a glance.
pub(crate) fn amount(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

const SPARSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_read_well() {
        for (bytes, text) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (67_108_864, "67.1 MB"), (2_500_000_000, "2.5 GB")]
        {
            assert_eq!(amount(bytes), text);
        }
    }
}
