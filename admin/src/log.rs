//! Logs: the program's tracing events flow in, lines on standard error flow out, as text for people or JSON for machines. Once
//! [`LogThread::start`] was called nobody waits for their reader: lines that find no room are dropped and counted.

use prometheus::{IntCounter, Registry};
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;

/// How log lines are written (`--log-format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per event.
    Json,
}

/// Starts logging to standard error. `NEARSIDE_LOG` sets levels (such as `debug` or `info,nearside_proxy=debug`);
/// without it, `info`. A second call changes nothing.
pub fn init_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_env("NEARSIDE_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Line);
    // The error means that a subscriber is set already, and that one stays.
    drop(match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    });
}

/// The thread that writes lines, which alone waits for their reader. Kept until the program ends: dropping it gives the reader a
/// moment for what is still to be written.
#[derive(Debug)]
pub struct LogThread {
    lines: SyncSender<Entry>,
    dropped: IntCounter,
}

impl LogThread {
    /// Starts it. Until then whoever logs writes, and waits: so it is started once the process has shut itself in, and before
    /// there is anything that must not wait.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let help = "Lines of the program's own log that were dropped because nobody reads fast enough.";
        let dropped = IntCounter::new("nearside_log_dropped_total", help).map_err(io::Error::other)?;
        let (lines, queue) = sync_channel(LINES);
        thread::Builder::new().name("log".into()).spawn(move || write(&queue, &mut io::stderr()))?;
        // A second one, in a test, writes nothing.
        drop(WRITER.set(Writer { lines: lines.clone(), dropped: dropped.clone() }));
        Ok(Self { lines, dropped })
    }

    /// Adds the number of lines that were dropped to a registry.
    ///
    /// # Errors
    /// Prometheus', if two series of the registry have one name.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.dropped.clone()))
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_LINES;
        let (written, end) = sync_channel(1);
        while let Err(TrySendError::Full(_)) = self.lines.try_send(Entry::End(written.clone())) {
            if Instant::now() > deadline {
                return;
            }
            thread::sleep(PAUSE);
        }
        // Without an answer the reader stands still, and the program ends without it.
        let _ = end.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Where an event is written; all of it comes at once.
struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Some(writer) = WRITER.get() else { return io::stderr().write(line) };
        if writer.lines.try_send(Entry::Line(line.into())).is_err() {
            writer.dropped.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Writer {
    lines: SyncSender<Entry>,
    dropped: IntCounter,
}

#[derive(Debug)]
enum Entry {
    Line(Box<[u8]>),
    /// Everything before it is to be written, and then to be answered.
    End(SyncSender<()>),
}

fn write(queue: &Receiver<Entry>, out: &mut impl Write) {
    while let Ok(entry) = queue.recv() {
        match entry {
            // Nobody reads any more, or the disk is full: what the program does matters more than what it says.
            Entry::Line(line) => drop(out.write_all(&line)),
            Entry::End(written) => {
                let _ = written.try_send(());
            }
        }
    }
}

static WRITER: OnceLock<Writer> = OnceLock::new();
/// Lines that wait for the writer.
const LINES: usize = 4 * 1024;
/// At the end of the program, for what is not written yet.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Before another look whether there is room.
const PAUSE: Duration = Duration::from_millis(5);
/// The libraries below speak of their own matters, several lines for each connection. The client of kube logs every failed
/// attempt and, of an answer that is not JSON, the whole body, which can hold a Secret; our own lines say what failed.
const DEFAULT_FILTER: &str =
    "info,kube_client=off,kube=warn,pingora=warn,pingora_core=warn,pingora_proxy=warn,hyper=warn,rustls=warn";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_in_their_order_and_the_end_is_answered_after_them() {
        let (lines, queue) = sync_channel(LINES);
        let (written, end) = sync_channel(1);
        for line in ["one\n", "two\n"] {
            lines.try_send(Entry::Line(line.as_bytes().into())).unwrap();
        }
        lines.try_send(Entry::End(written)).unwrap();
        drop(lines);
        let mut out = Vec::new();
        write(&queue, &mut out);
        assert_eq!((end.try_recv(), out.as_slice()), (Ok(()), &b"one\ntwo\n"[..]));
    }
}
