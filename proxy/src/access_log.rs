//! One line for each request and each passed-through connection: what is known at its end flows in, a line in the
//! operator's format flows out to standard output or a syslog server. Serving never waits for the reader: lines that find
//! no room are dropped and counted.

pub(crate) mod capture;
pub(crate) mod haproxy;
mod line;
mod sink;
pub(crate) mod syslog;
mod termination;
mod timestamp;

use crate::backends::Target;
use crate::connection::Connection;
use crate::http::context::RequestContext;
use crate::http::timers::Steps;
use capture::Captures;
use haproxy::{HaproxyFormat, Record};
use http::request::Parts;
use line::Line;
use nearside_admin::LogFormat;
use nearside_routing::table::CompiledRoute;
use prometheus::IntCounter;
pub(crate) use sink::Destination;
use sink::Finished;
use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use syslog::Severity;

/// What is logged, how, and where to.
#[derive(Clone, Debug)]
pub(crate) struct AccessLogConfig {
    pub(crate) destination: Destination,
    pub(crate) format: AccessLogFormat,
    pub(crate) captures: Captures,
}

/// How a line looks.
#[derive(Clone, Debug)]
pub(crate) enum AccessLogFormat {
    /// Our own.
    Own(LogFormat),
    /// As HAProxy writes requests; connections as its `tcplog`.
    Haproxy(HaproxyFormat),
}

/// Where lines go. Clones share it.
#[derive(Clone)]
pub(crate) struct AccessLog {
    writer: Option<Arc<Writer>>,
}

struct Writer {
    lines: SyncSender<Finished>,
    form: Form,
    captures: Captures,
    /// The least important lines that go anywhere.
    level: Severity,
    host: Arc<str>,
    dropped: IntCounter,
}

enum Form {
    Own(LogFormat),
    Haproxy { requests: HaproxyFormat, connections: HaproxyFormat },
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
    /// Version and cipher suite of the client's TLS.
    pub(crate) tls: Option<(Cow<'l, str>, Cow<'l, str>)>,
    /// Zero where the format does not show them.
    pub(crate) counts: Counts,
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
    /// How long it took to reach the pod.
    pub(crate) steps: Steps,
    /// How it ended, in one word.
    pub(crate) reason: &'static str,
    /// Zero where the format does not show them.
    pub(crate) counts: Counts,
}

/// How busy the proxy was when the line was written, the request itself included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Client connections.
    pub(crate) process: u64,
    /// Client connections of the same kind, plain or TLS.
    pub(crate) frontend: u64,
    /// Requests and connections at the pods of the route.
    pub(crate) backend: u64,
    /// Requests and connections at the pod.
    pub(crate) server: u64,
}

impl AccessLog {
    /// Starts the thread that writes. `dropped` counts the lines that found no room.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(config: AccessLogConfig, host: Arc<str>, dropped: IntCounter) -> io::Result<Self> {
        let level = match &config.destination {
            Destination::Syslog(syslog) => syslog.level,
            Destination::Off | Destination::Stdout => Severity::Debug,
        };
        let form = match config.format {
            AccessLogFormat::Own(format) => Form::Own(format),
            AccessLogFormat::Haproxy(requests) => Form::Haproxy { requests, connections: HaproxyFormat::tcp() },
        };
        let lines = sink::start(config.destination, dropped.clone())?;
        let writer =
            lines.map(|lines| Arc::new(Writer { lines, form, captures: config.captures, level, host, dropped }));
        Ok(Self { writer })
    }

    /// What is to be kept of a pod's response; nothing where nothing is logged.
    pub(crate) fn captures(&self) -> Option<&Captures> {
        self.writer.as_ref().map(|writer| &writer.captures)
    }

    /// Whether lines show how busy the proxy is.
    pub(crate) fn shows_counts(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| matches!(writer.form, Form::Haproxy { .. }))
    }

    /// Writes the line of a request, unless its object wants none.
    pub(crate) fn request(&self, line: &RequestLine<'_>) {
        let severity = if line.status == 0 || line.status >= 500 { Severity::Error } else { Severity::Info };
        self.write(line.ctx.route.as_deref(), severity, |writer| match &writer.form {
            Form::Own(format) => Line::request(line, &writer.captures).format(*format),
            Form::Haproxy { requests, .. } => {
                requests.line(&Record::request(line, &writer.captures, &writer.host)) + "\n"
            }
        });
    }

    /// Writes the line of a passed-through connection, unless its object wants none.
    pub(crate) fn connection(&self, line: &ConnectionLine<'_>) {
        let severity = if line.reason == "done" { Severity::Info } else { Severity::Error };
        self.write(Some(line.route), severity, |writer| match &writer.form {
            Form::Own(format) => Line::connection(line).format(*format),
            Form::Haproxy { connections, .. } => connections.line(&Record::connection(line, &writer.host)) + "\n",
        });
    }

    fn write(&self, route: Option<&CompiledRoute>, severity: Severity, text: impl FnOnce(&Writer) -> String) {
        let Some(writer) = &self.writer else { return };
        if severity > writer.level || route.is_some_and(|route| route.policy.observability.no_access_log) {
            return;
        }
        if writer.lines.try_send(Finished { severity, text: text(writer) }).is_err() {
            writer.dropped.inc();
        }
    }
}
