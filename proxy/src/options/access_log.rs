//! Flags for the access log: raw text flows in, a valid [`AccessLogConfig`] flows out.

use super::{Mistakes, given};
use crate::access_log::capture::{Captures, CookieCapture, FieldCapture};
use crate::access_log::haproxy::HaproxyFormat;
use crate::access_log::syslog::{Severity, Syslog, SyslogAddress};
use crate::access_log::{AccessLogConfig, AccessLogFormat, Destination};
use http::HeaderName;
use nearside_admin::LogFormat;
use std::sync::Arc;

/// Flags for the access log.
#[derive(Debug, clap::Args)]
pub(crate) struct AccessLogArguments {
    /// Where one line per request goes: `stdout`, `off`, `syslog://HOST:PORT` (UDP) or `syslog:///PATH` (a datagram socket
    /// of this host).
    #[arg(long, env = "NEARSIDE_ACCESS_LOG", value_name = "WHERE", default_value = "stdout")]
    access_log: String,
    /// How its lines look: `text`, `json`, `haproxy` (httplog and tcplog), or a log format of HAProxy with `%` variables.
    /// [default: as --log-format]
    #[arg(long, env = "NEARSIDE_ACCESS_LOG_FORMAT", value_name = "FORMAT")]
    access_log_format: Option<String>,
    /// Show this field of requests, as the client sent it, in the access log. May be repeated.
    #[arg(long, env = "NEARSIDE_CAPTURE_REQUEST_HEADERS", value_name = "NAME:BYTES", value_delimiter = ',')]
    capture_request_headers: Vec<String>,
    /// Show this field of responses, as the pod sent it, in the access log. May be repeated.
    #[arg(long, env = "NEARSIDE_CAPTURE_RESPONSE_HEADERS", value_name = "NAME:BYTES", value_delimiter = ',')]
    capture_response_headers: Vec<String>,
    /// Show the cookie of this name (`NAME=`), or the last one whose name begins so, in the access log.
    #[arg(long, env = "NEARSIDE_CAPTURE_COOKIE", value_name = "NAME[=]:BYTES")]
    capture_cookie: Option<String>,
    /// The syslog facility of lines: `local0` to `local7`, `daemon`, `user` and the others of RFC 5424.
    #[arg(long, env = "NEARSIDE_SYSLOG_FACILITY", value_name = "NAME", default_value = "local1")]
    syslog_facility: String,
    /// The least important lines that are sent to syslog: requests that fail are `err`, all others `info`.
    #[arg(long, env = "NEARSIDE_SYSLOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    syslog_level: String,
    /// Bytes of a syslog line, header included; longer ones are cut.
    #[arg(long, env = "NEARSIDE_SYSLOG_MAX_LENGTH", value_name = "BYTES", default_value = "1024")]
    syslog_max_length: String,
}

impl AccessLogArguments {
    /// Checks everything. `log_format` is that of the program's own log.
    pub(super) fn check(&self, log_format: LogFormat, node: &str, mistakes: &mut Mistakes) -> AccessLogConfig {
        let facility = mistakes.one_of("syslog-facility", &self.syslog_facility, &FACILITIES);
        let level = mistakes.one_of("syslog-level", &self.syslog_level, &Severity::WORDS);
        let length = number(&self.syslog_max_length, LENGTHS.0, LENGTHS.1).unwrap_or_else(|message| {
            mistakes.add("syslog-max-length", message);
            LENGTHS.0
        });
        let syslog = |address| Syslog { address, facility, level, length, host: Arc::from(node) };
        let destination = destination(&self.access_log, syslog).unwrap_or_else(|message| {
            mistakes.add("access-log", message);
            Destination::Off
        });
        let format = self.access_log_format.as_deref().filter(|format| !format.trim().is_empty());
        let format = format.map_or(Ok(AccessLogFormat::Own(log_format)), format_of).unwrap_or_else(|message| {
            mistakes.add("access-log-format", message);
            AccessLogFormat::Own(log_format)
        });
        let mut fields = |flag, values: &[String]| {
            let fields = given(values).filter_map(|text| field(text).map_err(|error| mistakes.add(flag, error)).ok());
            fields.collect::<Vec<_>>()
        };
        let request = fields("capture-request-headers", &self.capture_request_headers);
        let response = fields("capture-response-headers", &self.capture_response_headers);
        let cookie = self.capture_cookie.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let cookie =
            cookie.and_then(|text| cookie_of(text).map_err(|error| mistakes.add("capture-cookie", error)).ok());
        AccessLogConfig { destination, format, captures: Captures { request, response, cookie } }
    }
}

fn destination(text: &str, syslog: impl FnOnce(SyslogAddress) -> Syslog) -> Result<Destination, String> {
    match text {
        "stdout" => return Ok(Destination::Stdout),
        "off" => return Ok(Destination::Off),
        _ => {}
    }
    let wrong = || format!("{text:?} is not one of stdout, off, syslog://HOST:PORT, syslog:///PATH");
    let address = text.strip_prefix("syslog://").ok_or_else(wrong)?;
    if address.starts_with('/') {
        return Ok(Destination::Syslog(syslog(SyslogAddress::Unix(address.into()))));
    }
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) })
        }
        None => match address.split_once(':') {
            // An IPv6 address without brackets has no port.
            Some((_, rest)) if rest.contains(':') => (address, None),
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let known = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:%".contains(&byte));
    let port = port.map_or(Some(SYSLOG_PORT), |port| port.parse().ok().filter(|port| *port > 0));
    match port {
        Some(port) if known && !host.is_empty() => {
            Ok(Destination::Syslog(syslog(SyslogAddress::Udp { host: host.into(), port })))
        }
        _ => Err(wrong()),
    }
}

fn format_of(text: &str) -> Result<AccessLogFormat, String> {
    match text {
        "text" => Ok(AccessLogFormat::Own(LogFormat::Text)),
        "json" => Ok(AccessLogFormat::Own(LogFormat::Json)),
        "haproxy" => Ok(AccessLogFormat::Haproxy(HaproxyFormat::http())),
        text if text.contains('%') => text.parse().map(AccessLogFormat::Haproxy),
        _ => Err(format!("{text:?} is none of text, json, haproxy and no log format of HAProxy")),
    }
}

fn field(text: &str) -> Result<FieldCapture, String> {
    let (name, length) = named(text, "NAME:BYTES")?;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is not the name of a field"))?;
    Ok(FieldCapture { name, length })
}

fn cookie_of(text: &str) -> Result<CookieCapture, String> {
    let (start, length) = named(text, "NAME:BYTES or NAME=:BYTES")?;
    let name = start.strip_suffix('=').unwrap_or(start);
    // A token (RFC 9110 §5.6.2), as cookies are named (RFC 6265 §4.1.1).
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!("{name:?} is not the name of a cookie"));
    }
    Ok(CookieCapture { start: start.into(), length })
}

fn named<'t>(text: &'t str, form: &str) -> Result<(&'t str, usize), String> {
    let (name, length) = text.rsplit_once(':').ok_or_else(|| format!("{text:?} is not {form}"))?;
    Ok((name, number(length, 1, CAPTURE_BYTES).map_err(|message| format!("{text:?}: {message}"))?))
}

fn number(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| text.bytes().all(|b| b.is_ascii_digit()) && *number >= least);
    number.filter(|number| *number <= most).ok_or_else(|| format!("{text:?} is not a number from {least} to {most}"))
}

/// Bytes of one captured value; further ones would be cut anyway.
const CAPTURE_BYTES: usize = crate::limits::ACCESS_LOG_FIELD;
/// Bytes of a syslog line, as in HAProxy.
const LENGTHS: (usize, usize) = (80, 65_535);
/// RFC 5426 §3.3.
const SYSLOG_PORT: u16 = 514;

/// By HAProxy's names, with their numbers in RFC 5424.
const FACILITIES: [(&str, u8); 24] = [
    ("local1", 17),
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("auth2", 10),
    ("ftp", 11),
    ("ntp", 12),
    ("audit", 13),
    ("alert", 14),
    ("cron2", 15),
    ("local0", 16),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        access_log: AccessLogArguments,
    }

    fn checked(flags: &[&str]) -> (AccessLogConfig, Vec<String>) {
        let arguments = Arguments::parse_from(["program"].iter().chain(flags));
        let mut mistakes = Mistakes::default();
        let config = arguments.access_log.check(LogFormat::Json, "n1", &mut mistakes);
        (config, mistakes.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_destination_is_an_address_or_a_path() {
        let udp = |host: &str, port| Some(SyslogAddress::Udp { host: host.into(), port });
        for (text, expected) in [
            ("syslog://10.0.0.1:5514", udp("10.0.0.1", 5514)),
            ("syslog://logs.example.com", udp("logs.example.com", 514)),
            ("syslog://[fd00::1]:515", udp("fd00::1", 515)),
            ("syslog://fd00::1", udp("fd00::1", 514)),
            (
                "syslog:///var/lib/rsyslog/rsyslog.sock",
                Some(SyslogAddress::Unix("/var/lib/rsyslog/rsyslog.sock".into())),
            ),
            ("stdout", None),
            ("off", None),
        ] {
            let (config, mistakes) = checked(&[&format!("--access-log={text}")]);
            let address = match config.destination {
                Destination::Syslog(syslog) => Some(syslog.address),
                _ => None,
            };
            assert_eq!((address, mistakes), (expected, vec![]), "{text}");
        }
        for text in ["syslog://", "syslog://a:0", "syslog://a:x", "syslog://a b", "syslog://[a", "tcp://a:1", "x"] {
            assert!(checked(&[&format!("--access-log={text}")]).1[0].starts_with("--access-log: "), "{text}");
        }
    }

    #[test]
    fn captures_are_names_with_a_length() {
        let (config, mistakes) = checked(&["--capture-request-headers=Host:15,X-A:1", "--capture-cookie=session=:32"]);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let names: Vec<(&str, usize)> =
            config.captures.request.iter().map(|field| (field.name.as_str(), field.length)).collect();
        assert_eq!(names, [("host", 15), ("x-a", 1)]);
        assert_eq!(config.captures.cookie, Some(CookieCapture { start: "session=".into(), length: 32 }));
        for flag in [
            "--capture-request-headers=Host",
            "--capture-request-headers=Host:0",
            "--capture-request-headers=Host:+1",
            "--capture-response-headers=a b:1",
            "--capture-response-headers=:1",
            "--capture-response-headers=a:99999999999999999999",
            "--capture-cookie=a==:1",
            "--capture-cookie=:1",
            "--capture-cookie=a;b:1",
            "--syslog-facility=local8",
            "--syslog-level=loud",
            "--syslog-max-length=79",
            "--access-log-format=xml",
            "--access-log-format=%nothing",
        ] {
            let name = flag.split('=').next().unwrap();
            assert!(checked(&[flag]).1[0].starts_with(&format!("{name}: ")), "{flag}");
        }
    }
}
