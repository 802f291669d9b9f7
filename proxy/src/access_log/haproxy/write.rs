//! Variables written: the parts of a format and a record flow in, one line flows out. What a client chose is written in
//! printable ASCII alone, everything else as `#XX` as in HAProxy, so that no value ends a line or a quoted text.

use super::super::timestamp::{AcceptDate, ZonedDate, since_epoch};
use super::record::Record;
use super::{Date, Flags, Part, Timer, Variable};
use crate::limits::ACCESS_LOG_FIELD;
use http::Version;
use std::fmt::{Display, Write};
use std::net::IpAddr;
use std::time::Duration;

/// The line, without line feed.
pub(super) fn line(parts: &[Part], record: &Record<'_>) -> String {
    let mut out = String::with_capacity(256);
    // Blanks at the beginning are left out, too.
    let mut after_space = true;
    for part in parts {
        match part {
            Part::Text(text) => {
                out.push_str(text);
                after_space = false;
            }
            Part::Space => {
                if !after_space {
                    out.push(' ');
                    after_space = true;
                }
            }
            Part::Variable(variable, flags) => {
                let before = out.len();
                write(*variable, *flags, record, &mut out);
                after_space &= out.len() == before;
            }
        }
    }
    out
}

fn write(variable: Variable, flags: Flags, record: &Record<'_>, out: &mut String) {
    let request = record.request.as_ref();
    match variable {
        Variable::ActiveConnections => number(record.counts.process, flags, out),
        Variable::FrontendConnections => number(record.counts.frontend, flags, out),
        Variable::BackendConnections => number(record.counts.backend, flags, out),
        Variable::ServerConnections => number(record.counts.server, flags, out),
        Variable::Retries => {
            // Another attempt always asks another pod, which HAProxy marks with a plus sign.
            if record.retries > 0 {
                out.push('+');
            }
            number(record.retries as u64, flags, out);
        }
        // Whoever had to wait is served by now; how many were before it is not kept.
        Variable::ServerQueue | Variable::BackendQueue => number(0, flags, out),
        Variable::BytesRead => number(record.sent, flags, out),
        Variable::BytesUploaded => number(record.received, flags, out),
        Variable::Status if record.status == 0 => out.push_str("-1"),
        Variable::Status => number(record.status.into(), flags, out),
        Variable::Process => number(std::process::id().into(), flags, out),
        Variable::ClientAddress => address(record.client.ip(), flags, out),
        Variable::ClientPort => number(record.client.port().into(), flags, out),
        Variable::FrontendAddress => address(record.local.ip(), flags, out),
        Variable::FrontendPort => number(record.local.port().into(), flags, out),
        Variable::ServerAddress => match record.server_address {
            Some(server) => address(server.ip(), flags, out),
            None => out.push('-'),
        },
        Variable::ServerPort => match record.server_address {
            Some(server) => number(server.port().into(), flags, out),
            None => out.push('-'),
        },
        Variable::BackendName => text(record.backend.as_bytes(), flags, out),
        Variable::ServerName => text(record.server.as_bytes(), flags, out),
        Variable::FrontendName => text(record.frontend.as_bytes(), flags, out),
        Variable::FrontendNameTls => {
            let tls = record.frontend.starts_with("fe_");
            text([record.frontend, if tls { "~" } else { "" }].concat().as_bytes(), flags, out);
        }
        Variable::ServerNameIndication => text(record.server_name.as_bytes(), flags, out),
        Variable::TlsVersion => text(record.tls.as_ref().map_or(&[], |(version, _)| version.as_bytes()), flags, out),
        Variable::TlsCipher => text(record.tls.as_ref().map_or(&[], |(_, cipher)| cipher.as_bytes()), flags, out),
        Variable::UniqueId => text(record.unique_id.as_bytes(), flags, out),
        Variable::Host => text(record.host.as_bytes(), flags, out),
        Variable::Method => text(request.map_or("<BADREQ>", |request| request.method.as_str()).as_bytes(), flags, out),
        Variable::Path => text(request.map_or("", |request| request.path).as_bytes(), flags, out),
        Variable::Query => text(query(record).as_bytes(), flags, out),
        Variable::Target => text(target(record).as_bytes(), flags, out),
        Variable::Version => text(version(record).as_bytes(), flags, out),
        Variable::RequestLine => {
            let method = request.map_or("<BADREQ>", |request| request.method.as_str());
            text(format!("{method} {} {}", target(record), version(record)).as_bytes(), flags, out);
        }
        Variable::RequestCookie => text(record.request_cookie.unwrap_or_default(), flags, out),
        Variable::ResponseCookie => text(record.response_cookie.unwrap_or_default(), flags, out),
        Variable::RequestHeaders => fields(&record.request_fields, flags, out),
        Variable::ResponseHeaders => fields(&record.response_fields, flags, out),
        Variable::RequestHeader(at) => one_field(&record.request_fields, at, flags, out),
        Variable::ResponseHeader(at) => one_field(&record.response_fields, at, flags, out),
        Variable::Termination { cookies } => {
            let letters = if cookies { &record.termination[..] } else { &record.termination[..2] };
            text(letters, flags, out);
        }
        Variable::Date(date) => push(out, written_date(date, record)),
        Variable::Timer(timer) => match written_timer(timer, record) {
            Some(time) => number(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), flags, out),
            None => out.push_str("-1"),
        },
    }
}

fn written_date(date: Date, record: &Record<'_>) -> String {
    match date {
        Date::Accept => AcceptDate(record.accepted).to_string(),
        Date::Request => AcceptDate(record.begun).to_string(),
        Date::Zoned => ZonedDate(record.accepted).to_string(),
        Date::ZonedRequest => ZonedDate(record.begun).to_string(),
        Date::Seconds => since_epoch(record.accepted).as_secs().to_string(),
        Date::Milliseconds => format!("{:03}", since_epoch(record.accepted).subsec_millis()),
    }
}

fn written_timer(timer: Timer, record: &Record<'_>) -> Option<Duration> {
    let (arrived, steps) = (&record.arrived, &record.steps);
    match timer {
        Timer::Active => Some(record.active),
        Timer::Handshake => Some(arrived.handshake),
        Timer::Idle => Some(arrived.idle),
        Timer::Header => Some(arrived.header),
        Timer::UntilHeader => Some(arrived.handshake + arrived.idle + arrived.header),
        Timer::Total => Some(arrived.handshake + arrived.idle + record.active),
        Timer::User => Some(arrived.idle + record.active),
        Timer::Wait => steps.wait,
        Timer::Connect => steps.connect,
        Timer::Response => steps.response,
        Timer::Data => steps.data,
    }
}

fn query(record: &Record<'_>) -> String {
    let query = record.request.as_ref().and_then(|request| request.query);
    query.map(|query| format!("?{query}")).unwrap_or_default()
}

fn target(record: &Record<'_>) -> String {
    let path = record.request.as_ref().map_or("", |request| request.path);
    format!("{path}{}", query(record))
}

fn version(record: &Record<'_>) -> &'static str {
    match record.request.as_ref().map(|request| request.version) {
        Some(Version::HTTP_2) => "HTTP/2.0",
        Some(Version::HTTP_10) => "HTTP/1.0",
        Some(_) => "HTTP/1.1",
        None => "",
    }
}

fn push(out: &mut String, text: impl Display) {
    // Writing to a String does not fail.
    let _ = write!(out, "{text}");
}

fn number(number: u64, flags: Flags, out: &mut String) {
    if flags.hexadecimal {
        push(out, format_args!("{number:X}"));
    } else {
        push(out, number);
    }
}

fn address(address: IpAddr, flags: Flags, out: &mut String) {
    match (flags.hexadecimal, address) {
        (false, address) => push(out, address),
        (true, IpAddr::V4(address)) => push(out, format_args!("{:08X}", u32::from(address))),
        (true, IpAddr::V6(address)) => push(out, format_args!("{:032X}", u128::from(address))),
    }
}

/// `{a|b}`, and nothing where nothing is captured.
fn fields(values: &[Option<&[u8]>], flags: Flags, out: &mut String) {
    if values.is_empty() {
        return;
    }
    let quote = flags.quote.then_some('"');
    out.extend(quote);
    out.push('{');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push('|');
        }
        encode(value.unwrap_or_default(), b"{|}", flags, out);
    }
    out.push('}');
    out.extend(quote);
}

fn one_field(values: &[Option<&[u8]>], at: usize, flags: Flags, out: &mut String) {
    text(values.get(at).copied().flatten().unwrap_or_default(), flags, out);
}

/// A text; `-` where it is empty and not quoted.
fn text(value: &[u8], flags: Flags, out: &mut String) {
    if flags.quote {
        out.push('"');
        encode(value, b"", flags, out);
        out.push('"');
    } else if value.is_empty() {
        out.push('-');
    } else {
        encode(value, b"", flags, out);
    }
}

fn encode(value: &[u8], besides: &[u8], flags: Flags, out: &mut String) {
    for &byte in &value[..value.len().min(ACCESS_LOG_FIELD)] {
        match byte {
            b'"' | b'\\' | b']' if flags.escape => out.extend(['\\', char::from(byte)]),
            b'"' | b'#' | 0..=31 | 127.. => push(out, format_args!("#{byte:02X}")),
            _ if besides.contains(&byte) => push(out, format_args!("#{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
    }
}
