//! One line for each request and each passed-through connection: what is known at its end flows in, text for people or
//! JSON for machines flows out on standard output. Serving never waits for the reader: lines that find no room are
//! dropped and counted.

mod line;
mod timestamp;

use crate::backends::Target;
use crate::connection::Connection;
use crate::http::context::RequestContext;
use crate::limits::ACCESS_LOG_LINES;
use http::request::Parts;
use line::Line;
use nearside_admin::LogFormat;
use nearside_routing::table::CompiledRoute;
use prometheus::IntCounter;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

/// Where lines go. Clones share it.
#[derive(Clone)]
pub(crate) struct AccessLog {
    writer: Option<Arc<Writer>>,
}

struct Writer {
    lines: SyncSender<String>,
    format: LogFormat,
    dropped: IntCounter,
}

/// A request that is over.
pub(crate) struct RequestLine<'l> {
    pub(crate) header: &'l Parts,
    pub(crate) ctx: &'l RequestContext,
    /// 0 where no response was begun.
    pub(crate) status: u16,
    /// Bytes of the request's body.
    pub(crate) received: u64,
    /// Bytes of the response's body.
    pub(crate) sent: u64,
}

/// A passed-through connection that is over.
pub(crate) struct ConnectionLine<'l> {
    pub(crate) connection: &'l Connection,
    pub(crate) route: &'l CompiledRoute,
    pub(crate) target: Option<&'l Target>,
    /// Bytes to the pod.
    pub(crate) received: u64,
    /// Bytes to the client.
    pub(crate) sent: u64,
    pub(crate) duration: Duration,
    /// How it ended, in one word.
    pub(crate) reason: &'static str,
}

impl AccessLog {
    /// No log.
    pub(crate) fn off() -> Self {
        Self { writer: None }
    }

    /// On standard output, by a thread of its own. `dropped` counts the lines that found no room.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn stdout(format: LogFormat, dropped: IntCounter) -> io::Result<Self> {
        let (lines, queue) = sync_channel(ACCESS_LOG_LINES);
        thread::Builder::new().name("access-log".into()).spawn(move || write(&queue, &mut io::stdout().lock()))?;
        Ok(Self { writer: Some(Arc::new(Writer { lines, format, dropped })) })
    }

    /// Writes the line of a request.
    pub(crate) fn request(&self, line: &RequestLine<'_>) {
        self.write(|| Line::request(line));
    }

    /// Writes the line of a passed-through connection.
    pub(crate) fn connection(&self, line: &ConnectionLine<'_>) {
        self.write(|| Line::connection(line));
    }

    fn write<'l>(&self, line: impl FnOnce() -> Line<'l>) {
        if let Some(writer) = &self.writer
            && writer.lines.try_send(line().format(writer.format)).is_err()
        {
            writer.dropped.inc();
        }
    }
}

/// Writes until no sender is left. What is there is written at once; a flush follows when nothing more waits.
fn write(queue: &Receiver<String>, out: &mut impl Write) {
    while let Ok(first) = queue.recv() {
        let mut batch = first;
        loop {
            match queue.try_recv() {
                Ok(line) if batch.len() < BATCH => batch.push_str(&line),
                Ok(line) => {
                    batch.push_str(&line);
                    break;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        // Nobody reads any more, or the disk is full: the requests matter more than their lines.
        drop(out.write_all(batch.as_bytes()).and_then(|()| out.flush()));
    }
}

/// Bytes that are written at once.
const BATCH: usize = 64 * 1024;
