//! Where lines end: a bounded queue flows in, a thread writes what is in it to standard output or sends it to a syslog
//! server. The thread may wait for its reader; serving never does.

use super::syslog::{Sender, Severity, Syslog};
use crate::limits::ACCESS_LOG_LINES;
use prometheus::IntCounter;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::SystemTime;

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A syslog server.
    Syslog(Syslog),
}

/// A finished line.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) severity: Severity,
    /// With its line feed.
    pub(super) text: String,
}

/// Starts the thread. `dropped` counts lines that could not be sent.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn start(destination: Destination, dropped: IntCounter) -> io::Result<Option<SyncSender<Finished>>> {
    let (lines, queue) = sync_channel(ACCESS_LOG_LINES);
    let thread = thread::Builder::new().name("access-log".into());
    match destination {
        Destination::Off => return Ok(None),
        Destination::Stdout => thread.spawn(move || write(&queue, &mut io::stdout().lock()))?,
        Destination::Syslog(syslog) => thread.spawn(move || send(&queue, &syslog, &dropped))?,
    };
    Ok(Some(lines))
}

/// Writes until no sender is left. What is there is written at once; a flush follows when nothing more waits.
fn write(queue: &Receiver<Finished>, out: &mut impl Write) {
    while let Ok(first) = queue.recv() {
        let mut batch = first.text;
        while batch.len() < BATCH
            && let Ok(line) = queue.try_recv()
        {
            batch.push_str(&line.text);
        }
        // Nobody reads any more, or the disk is full: the requests matter more than their lines.
        drop(out.write_all(batch.as_bytes()).and_then(|()| out.flush()));
    }
}

fn send(queue: &Receiver<Finished>, syslog: &Syslog, dropped: &IntCounter) {
    let mut sender = Sender::new(syslog.address.clone());
    while let Ok(line) = queue.recv() {
        if !sender.send(&syslog.datagram(line.severity, &line.text, SystemTime::now())) {
            dropped.inc();
        }
    }
}

/// Bytes that are written at once.
const BATCH: usize = 64 * 1024;
