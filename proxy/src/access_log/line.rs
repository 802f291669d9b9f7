//! The form of a line: fields flow in, one line of text or JSON flows out. Whatever a client sends, a line stays one line
//! and of bounded length.

use super::capture::{Captures, FieldCapture};
use super::timestamp::Timestamp;
use super::{ConnectionLine, RequestLine};
use crate::limits::ACCESS_LOG_FIELD;
use http::header::{REFERER, USER_AGENT};
use http::{HeaderName, Version};
use nearside_admin::LogFormat;
use nearside_routing::Scheme;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

/// The fields, in the order in which they are written.
#[derive(Debug, Serialize)]
pub(super) struct Line<'l> {
    time: Timestamp,
    #[serde(serialize_with = "text")]
    client: String,
    scheme: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'l str,
    #[serde(serialize_with = "cut")]
    host: Cow<'l, str>,
    #[serde(serialize_with = "cut", skip_serializing_if = "is_empty")]
    path: Cow<'l, str>,
    protocol: &'static str,
    status: u16,
    received: u64,
    sent: u64,
    #[serde(serialize_with = "milliseconds", rename = "ms")]
    duration: Duration,
    #[serde(serialize_with = "cut", skip_serializing_if = "is_empty")]
    user: Cow<'l, str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    route: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pod: &'l str,
    #[serde(skip_serializing_if = "String::is_empty")]
    address: String,
    #[serde(skip_serializing_if = "is_zero")]
    retries: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(serialize_with = "cut", skip_serializing_if = "is_empty")]
    referer: Cow<'l, str>,
    #[serde(serialize_with = "cut", skip_serializing_if = "is_empty")]
    user_agent: Cow<'l, str>,
    #[serde(serialize_with = "maybe_milliseconds", rename = "wait_ms", skip_serializing_if = "Option::is_none")]
    wait: Option<Duration>,
    #[serde(serialize_with = "maybe_milliseconds", rename = "connect_ms", skip_serializing_if = "Option::is_none")]
    connect: Option<Duration>,
    #[serde(serialize_with = "maybe_milliseconds", rename = "response_ms", skip_serializing_if = "Option::is_none")]
    response: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    request_headers: Captured<'l>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    response_headers: Captured<'l>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_cookie: Option<Cow<'l, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_cookie: Option<Cow<'l, str>>,
}

/// Captured fields that were there, by their names.
type Captured<'l> = BTreeMap<&'l str, Cow<'l, str>>;

impl<'l> Line<'l> {
    /// The line of a request.
    pub(super) fn request(line: &RequestLine<'l>, captures: &'l Captures) -> Self {
        let RequestLine { header, ctx, .. } = line;
        let connection = ctx.connection.as_deref();
        let field = |name: HeaderName| {
            header.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default()
        };
        let target = ctx.target.as_ref().or(ctx.failed.as_ref());
        let relayed = ctx.relay.as_ref().map(|relay| relay.address);
        let address = target.map(|target| target.address).or(relayed);
        let steps = ctx.timers.steps(Instant::now());
        let names = |fields: &'l [FieldCapture]| fields.iter().map(|field| field.name.as_str());
        let sent = names(&captures.request).zip(captures.of_request(&header.headers));
        let answered = ctx.captured.as_ref();
        let answered_fields = answered.map_or(&[][..], |captured| &captured.fields);
        let answered_fields = names(&captures.response).zip(answered_fields.iter().map(Option::as_deref));
        Self {
            time: Timestamp(SystemTime::now()),
            client: connection.map(|connection| client(connection.client, ctx.origin.client)).unwrap_or_default(),
            scheme: scheme(ctx.origin.scheme),
            method: header.method.as_str(),
            host: Cow::Borrowed(&ctx.host),
            path: header.uri.path_and_query().map_or(Cow::Borrowed("/"), |target| Cow::Borrowed(target.as_str())),
            protocol: protocol(header.version),
            status: line.status,
            received: line.received,
            sent: line.sent,
            duration: ctx.started.elapsed(),
            user: Cow::Borrowed(ctx.user.as_deref().unwrap_or_default()),
            route: ctx.route.as_ref().map(|route| route.source.to_string()).unwrap_or_default(),
            pod: target.map_or("", |target| &target.pod),
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            retries: ctx.attempts.count(),
            reason: ctx.reason,
            referer: field(REFERER),
            user_agent: field(USER_AGENT),
            wait: steps.wait.filter(|wait| !wait.is_zero()),
            connect: steps.connect,
            response: steps.response,
            trace_id: ctx.trace.as_ref().map(|trace| trace.id()),
            request_headers: sent.filter_map(there).collect(),
            response_headers: answered_fields.filter_map(there).collect(),
            request_cookie: captures.request_cookie(&header.headers).map(String::from_utf8_lossy),
            response_cookie: answered.and_then(|captured| captured.cookie.as_deref()).map(String::from_utf8_lossy),
        }
    }

    /// The line of a passed-through connection.
    pub(super) fn connection(line: &ConnectionLine<'l>) -> Self {
        Self {
            time: Timestamp(SystemTime::now()),
            client: line.connection.client.to_string(),
            scheme: "tls",
            method: "",
            host: Cow::Borrowed(line.connection.server_name.as_deref().unwrap_or_default()),
            path: Cow::Borrowed(""),
            protocol: "TLS",
            status: 0,
            received: line.received,
            sent: line.sent,
            duration: line.duration,
            user: Cow::Borrowed(""),
            route: line.route.source.to_string(),
            pod: line.target.map_or("", |target| &target.pod),
            address: line.target.map(|target| target.address.to_string()).unwrap_or_default(),
            retries: 0,
            reason: Some(line.reason),
            referer: Cow::Borrowed(""),
            user_agent: Cow::Borrowed(""),
            wait: line.steps.wait.filter(|wait| !wait.is_zero()),
            connect: line.steps.connect,
            response: None,
            trace_id: None,
            request_headers: Captured::new(),
            response_headers: Captured::new(),
            request_cookie: None,
            response_cookie: None,
        }
    }

    /// The line with its line feed.
    pub(super) fn format(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Text => self.as_text(),
            // Maps with text keys always serialize.
            LogFormat::Json => serde_json::to_string(self).unwrap_or_default() + "\n",
        }
    }

    fn as_text(&self) -> String {
        let mut out = String::with_capacity(256);
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "{} {} {} \"{} {}{} {}\" {} {} {}ms",
            self.time,
            escaped(&self.client),
            self.scheme,
            escaped(self.method),
            escaped(&self.host),
            escaped(&self.path),
            self.protocol,
            self.status,
            self.sent,
            self.duration.as_millis(),
        );
        let mut field = |name: &str, value: &str| {
            if !value.is_empty() {
                let _ = write!(out, " {name}={}", escaped(value));
            }
        };
        field("user", &self.user);
        field("route", &self.route);
        field("pod", self.pod);
        field("address", &self.address);
        field("reason", self.reason.unwrap_or_default());
        field("trace_id", self.trace_id.as_deref().unwrap_or_default());
        if self.retries > 0 {
            field("retries", &self.retries.to_string());
        }
        for (side, captured) in [("request", &self.request_headers), ("response", &self.response_headers)] {
            for (name, value) in captured {
                let _ = write!(out, " {side}.{name}=\"{}\"", escaped(value));
            }
        }
        for (side, cookie) in [("request", &self.request_cookie), ("response", &self.response_cookie)] {
            if let Some(cookie) = cookie {
                let _ = write!(out, " {side}.cookie=\"{}\"", escaped(cookie));
            }
        }
        out.push('\n');
        out
    }
}

fn there<'l>((name, value): (&'l str, Option<&'l [u8]>)) -> Option<(&'l str, Cow<'l, str>)> {
    Some((name, String::from_utf8_lossy(value?)))
}

/// Control characters, quotes and what lies beyond ASCII are written as escapes, so that no client forges a line.
fn escaped(text: &str) -> impl Display + '_ {
    bounded(text).escape_default()
}

/// The text, cut at the limit of a field.
fn bounded(text: &str) -> &str {
    let mut end = text.len().min(ACCESS_LOG_FIELD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The port is known of who is connected alone.
fn client(connected: SocketAddr, client: IpAddr) -> String {
    if connected.ip() == client { connected.to_string() } else { client.to_string() }
}

fn scheme(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn text<S: Serializer>(value: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value)
}

fn cut<S: Serializer>(value: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(bounded(value))
}

fn milliseconds<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value.as_secs_f64() * 1e6).round() / 1e3)
}

#[expect(clippy::ref_option, reason = "serde passes the field as it is")]
fn maybe_milliseconds<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    milliseconds(&value.unwrap_or_default(), serializer)
}

#[expect(clippy::ptr_arg, reason = "serde passes the field as it is")]
fn is_empty(value: &Cow<'_, str>) -> bool {
    value.is_empty()
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::Counts;
    use crate::http::context::RequestContext;
    use http::Request;

    fn line(host: &str, agent: &[u8], format: LogFormat) -> String {
        let mut ctx = RequestContext::new();
        ctx.host = host.into();
        let header = Request::get("/a?b")
            .header(USER_AGENT, agent)
            .header("x-a", "\" a\u{85}b")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let captures = Captures {
            request: vec![FieldCapture { name: HeaderName::from_static("x-a"), length: 20 }],
            ..Captures::default()
        };
        let line = RequestLine {
            header: &header,
            ctx: &ctx,
            status: 404,
            received: 0,
            sent: 7,
            tls: None,
            counts: Counts::default(),
        };
        Line::request(&line, &captures).format(format)
    }

    #[test]
    fn a_line_stays_one_line_of_bounded_length() {
        let text = line("a\n\"b", b"x", LogFormat::Text);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(text.contains(r#"a\n\"b/a?b"#), "{text}");
        assert!(text.contains(r#" request.x-a="\" a\u{85}b""#), "{text}");
        let agent = vec![b'z'; 5000];
        let json = line("a", &agent, LogFormat::Json);
        assert!(json.len() < ACCESS_LOG_FIELD + 500 && json.ends_with("}\n"), "{}", json.len());
    }

    #[test]
    fn json_names_its_fields() {
        let json: serde_json::Value = serde_json::from_str(&line("a.example.com", b"t", LogFormat::Json)).unwrap();
        assert_eq!(json["host"], "a.example.com");
        assert_eq!(json["status"], 404);
        assert_eq!(json["sent"], 7);
        assert_eq!(json["request_headers"]["x-a"], "\" a\u{85}b");
        assert!(json["time"].as_str().unwrap().ends_with('Z'));
    }
}
