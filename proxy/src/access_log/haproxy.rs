//! The log format of HAProxy (configuration manual, "Custom log format"): text with `%` variables flows in, a typed format
//! flows out, and with the record of a request or connection a line. Pure. A variable that has no meaning here is a mistake
//! when the format is read, never a hole in a line.

mod record;
mod write;

pub(super) use record::Record;

use std::str::FromStr;

/// What a line is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HaproxyFormat(Box<[Part]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    /// Blanks, of which one is left, and none after another.
    Space,
    Variable(Variable, Flags),
}

/// How a variable is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags {
    /// In quotes, and `-` is left out where there is no value.
    quote: bool,
    /// Numbers and addresses.
    hexadecimal: bool,
    /// With a backslash before quotes, backslashes and closing brackets.
    escape: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    ActiveConnections,
    BackendConnections,
    BackendName,
    BackendQueue,
    BytesRead,
    BytesUploaded,
    ClientAddress,
    ClientPort,
    Date(Date),
    FrontendAddress,
    FrontendConnections,
    FrontendName,
    FrontendNameTls,
    FrontendPort,
    Host,
    Method,
    Path,
    Process,
    Query,
    RequestCookie,
    RequestHeader(usize),
    RequestHeaders,
    RequestLine,
    ResponseCookie,
    ResponseHeader(usize),
    ResponseHeaders,
    Retries,
    ServerAddress,
    ServerConnections,
    ServerName,
    ServerNameIndication,
    ServerPort,
    ServerQueue,
    Status,
    Target,
    Termination { cookies: bool },
    Timer(Timer),
    TlsCipher,
    TlsVersion,
    UniqueId,
    Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Date {
    /// `27/Nov/2026:04:48:37.123`, of the accept.
    Accept,
    /// The same of the request's first byte.
    Request,
    /// `27/Nov/2026:04:48:37 +0000`, of the accept.
    Zoned,
    /// The same of the request's first byte.
    ZonedRequest,
    /// Seconds since 1970, of the accept.
    Seconds,
    /// The milliseconds of that second.
    Milliseconds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    Active,
    Connect,
    Data,
    Handshake,
    Idle,
    Header,
    Response,
    Total,
    User,
    UntilHeader,
    Wait,
}

impl HaproxyFormat {
    /// `option httplog`, for requests.
    pub(crate) fn http() -> Self {
        Self::known(HTTPLOG)
    }

    /// `option tcplog`, for passed-through connections.
    pub(crate) fn tcp() -> Self {
        Self::known(TCPLOG)
    }

    fn known(text: &str) -> Self {
        text.parse().expect("a test reads the formats of this module")
    }

    /// The line of a record, without line feed.
    pub(super) fn line(&self, record: &Record<'_>) -> String {
        write::line(&self.0, record)
    }
}

impl FromStr for HaproxyFormat {
    type Err = String;

    /// Reads a format. `%{+Q}r` writes one variable in quotes, `%{+Q}o` all that follow; `+X` is hexadecimal, `+E` escapes;
    /// `%%` is a percent sign, and a backslash makes the next character text.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > FORMAT_BYTES || text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(format!("must have 1 to {FORMAT_BYTES} bytes without control characters"));
        }
        let (mut parts, mut literal, mut defaults) = (Vec::new(), String::new(), Flags::default());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let here = rest;
            rest = &rest[first.len_utf8()..];
            match first {
                '\\' => {
                    let next = rest.chars().next().ok_or("ends with a backslash")?;
                    rest = &rest[next.len_utf8()..];
                    if next == ' ' { space(&mut parts, &mut literal) } else { literal.push(next) }
                }
                ' ' | '\t' => space(&mut parts, &mut literal),
                '%' if rest.starts_with('%') => {
                    literal.push('%');
                    rest = &rest[1..];
                }
                '%' => {
                    let (part, after) = variable(rest, &mut defaults).ok_or_else(|| {
                        let shown: String = here.chars().take(SHOWN).collect();
                        format!("at {shown:?}: is no variable of this format (docs/operations.md lists them)")
                    })?;
                    if let Some(part) = part {
                        flush(&mut parts, &mut literal);
                        parts.push(part);
                    }
                    rest = after;
                }
                other => literal.push(other),
            }
        }
        flush(&mut parts, &mut literal);
        Ok(Self(parts.into()))
    }
}

/// One variable after its percent sign, and what follows it; no part where it only sets the flags of those that follow.
fn variable<'t>(text: &'t str, defaults: &mut Flags) -> Option<(Option<Part>, &'t str)> {
    let (flags, text) = match text.strip_prefix('{') {
        Some(written) => {
            let (written, after) = written.split_once('}')?;
            (changed(written, *defaults)?, after)
        }
        None => (*defaults, text),
    };
    if let Some(expression) = text.strip_prefix('[') {
        let (expression, after) = expression.split_once(']')?;
        return Some((Some(Part::Variable(sample(expression)?, flags)), after));
    }
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (name, after) = text.split_at(letters);
    if name == "o" {
        *defaults = flags;
        return Some((None, after));
    }
    let (_, variable) = VARIABLES.iter().find(|(known, _)| *known == name)?;
    Some((Some(Part::Variable(*variable, flags)), after))
}

/// Flags such as `+Q,-X`, on top of those that hold.
fn changed(text: &str, mut flags: Flags) -> Option<Flags> {
    for flag in text.split(',').filter(|flag| !flag.is_empty()) {
        let (on, letters) = match flag.split_at_checked(1)? {
            ("+", letters) => (true, letters),
            ("-", letters) => (false, letters),
            _ => return None,
        };
        for letter in letters.chars() {
            match letter {
                'Q' => flags.quote = on,
                'X' => flags.hexadecimal = on,
                'E' => flags.escape = on,
                _ => return None,
            }
        }
    }
    Some(flags)
}

/// The sample expressions that are known.
fn sample(text: &str) -> Option<Variable> {
    let number = |text: &str, name: &str| {
        let digits = text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')?;
        digits.parse::<usize>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if let Some(number) = number(text, "capture.req.hdr") {
        return Some(Variable::RequestHeader(number));
    }
    if let Some(number) = number(text, "capture.res.hdr") {
        return Some(Variable::ResponseHeader(number));
    }
    SAMPLES.iter().find(|(known, _)| *known == text).map(|(_, variable)| *variable)
}

fn space(parts: &mut Vec<Part>, literal: &mut String) {
    flush(parts, literal);
    parts.push(Part::Space);
}

fn flush(parts: &mut Vec<Part>, literal: &mut String) {
    if !literal.is_empty() {
        parts.push(Part::Text(std::mem::take(literal).into()));
    }
}

const HTTPLOG: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs \
                       %{+Q}r";
const TCPLOG: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";

/// Longer ones are no useful ones.
const FORMAT_BYTES: usize = 4096;
/// Characters of a format that a message repeats.
const SHOWN: usize = 24;

/// By their names in HAProxy.
const VARIABLES: [(&str, Variable); 57] = [
    ("B", Variable::BytesRead),
    ("CC", Variable::RequestCookie),
    ("CS", Variable::ResponseCookie),
    ("H", Variable::Host),
    ("HM", Variable::Method),
    ("HP", Variable::Path),
    ("HPO", Variable::Path),
    ("HQ", Variable::Query),
    ("HU", Variable::Target),
    ("HV", Variable::Version),
    ("ID", Variable::UniqueId),
    ("ST", Variable::Status),
    ("T", Variable::Date(Date::Zoned)),
    ("Ta", Variable::Timer(Timer::Active)),
    ("Tc", Variable::Timer(Timer::Connect)),
    ("Td", Variable::Timer(Timer::Data)),
    ("Th", Variable::Timer(Timer::Handshake)),
    ("Ti", Variable::Timer(Timer::Idle)),
    ("Tl", Variable::Date(Date::Zoned)),
    ("Tq", Variable::Timer(Timer::UntilHeader)),
    ("TR", Variable::Timer(Timer::Header)),
    ("Tr", Variable::Timer(Timer::Response)),
    ("Ts", Variable::Date(Date::Seconds)),
    ("Tt", Variable::Timer(Timer::Total)),
    ("Tu", Variable::Timer(Timer::User)),
    ("Tw", Variable::Timer(Timer::Wait)),
    ("U", Variable::BytesUploaded),
    ("ac", Variable::ActiveConnections),
    ("b", Variable::BackendName),
    ("bc", Variable::BackendConnections),
    ("bq", Variable::BackendQueue),
    ("ci", Variable::ClientAddress),
    ("cp", Variable::ClientPort),
    ("f", Variable::FrontendName),
    ("fc", Variable::FrontendConnections),
    ("fi", Variable::FrontendAddress),
    ("fp", Variable::FrontendPort),
    ("ft", Variable::FrontendNameTls),
    ("hr", Variable::RequestHeaders),
    ("hs", Variable::ResponseHeaders),
    ("ms", Variable::Date(Date::Milliseconds)),
    ("pid", Variable::Process),
    ("r", Variable::RequestLine),
    ("rc", Variable::Retries),
    ("s", Variable::ServerName),
    ("sc", Variable::ServerConnections),
    ("si", Variable::ServerAddress),
    ("sp", Variable::ServerPort),
    ("sq", Variable::ServerQueue),
    ("sslc", Variable::TlsCipher),
    ("sslv", Variable::TlsVersion),
    ("t", Variable::Date(Date::Accept)),
    ("tr", Variable::Date(Date::Request)),
    ("trg", Variable::Date(Date::ZonedRequest)),
    ("trl", Variable::Date(Date::ZonedRequest)),
    ("ts", Variable::Termination { cookies: false }),
    ("tsc", Variable::Termination { cookies: true }),
];

/// Sample expressions.
const SAMPLES: [(&str, Variable); 8] = [
    ("src", Variable::ClientAddress),
    ("src_port", Variable::ClientPort),
    ("dst", Variable::FrontendAddress),
    ("dst_port", Variable::FrontendPort),
    ("ssl_fc_sni", Variable::ServerNameIndication),
    ("ssl_fc_cipher", Variable::TlsCipher),
    ("ssl_fc_protocol", Variable::TlsVersion),
    ("unique-id", Variable::UniqueId),
];

#[cfg(test)]
mod tests;
