//! The language of header values (Route API, `spec.httpHeaders.actions`): text flows in, typed segments flow out, and back to
//! the same text. Called by [`crate::policy`] for objects and by the proxy for its flags; the proxy fills the segments in.
//!
//! Text stands for itself, `%%` for a percent sign, and `%[f,conv…]` or `%{flags}[f,conv…]` for what a request says: `f` is
//! `req.hdr(NAME)` in request values, `res.hdr(NAME)` in response values, or `ssl_c_der`; `conv` is `lower` or `base64`.

use std::fmt;

/// The value of a header action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueTemplate {
    segments: Box<[Segment]>,
}

/// One part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Text; never empty, and never two in a row.
    Literal(Box<str>),
    /// Something that a request or response says.
    Sample(Sample),
}

/// What is taken from a request or response, and what is done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// In the order written.
    pub flags: Box<[SignedFlag]>,
    /// Where it comes from.
    pub source: SampleSource,
    /// In the order in which they are done.
    pub converters: Box<[Converter]>,
}

impl Sample {
    /// Whether a flag is on: the last one with a sign decides, and one without a sign says nothing (as in HAProxy).
    pub fn has(&self, flag: Flag) -> bool {
        let signed = self.flags.iter().rev().find(|signed| signed.flag == flag && signed.on.is_some());
        signed.is_some_and(|signed| signed.on == Some(true))
    }
}

/// Where a sample comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SampleSource {
    /// `req.hdr(NAME)`: the last value of a list field of the request, with the name as it is written.
    RequestHeader(Box<str>),
    /// `res.hdr(NAME)`: the same of the response.
    ResponseHeader(Box<str>),
    /// `ssl_c_der`: the client's certificate in DER.
    ClientCertificate,
}

/// A flag and its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedFlag {
    /// `+`, `-` or no sign.
    pub on: Option<bool>,
    /// The flag.
    pub flag: Flag,
}

/// How a sample is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `Q`: in quotation marks.
    Quote,
    /// `X`: numbers in hexadecimal; no sample of this language is a number.
    Hexadecimal,
    /// `E`: quotation marks, backslashes and `]` after a backslash.
    Escape,
}

/// What is done with a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Converter {
    /// ASCII letters in lower case.
    Lower,
    /// Base64 with padding (RFC 4648 §4).
    Base64,
}

/// Whose header a value is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The request for the pod.
    Request,
    /// The response for the client.
    Response,
}

/// Why a value is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says it")]
pub enum ValueError {
    #[error("the value is empty")]
    Empty,
    #[error("the value is longer than {VALUE_CHARACTERS} characters")]
    TooLong,
    #[error("the value holds a control character")]
    Control,
    #[error(
        "at byte {0} of the value: a percent sign begins neither %% nor one of %[req.hdr(NAME)] (requests), \
         %[res.hdr(NAME)] (responses), %[ssl_c_der], each with ,lower or ,base64 as wanted"
    )]
    Percent(usize),
}

impl ValueTemplate {
    /// Reads a value.
    ///
    /// # Errors
    /// [`ValueError`], with the place of a percent sign that begins nothing.
    pub fn parse(text: &str, side: Side) -> Result<Self, ValueError> {
        if text.is_empty() {
            return Err(ValueError::Empty);
        }
        if text.chars().count() > VALUE_CHARACTERS {
            return Err(ValueError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(ValueError::Control);
        }
        let mut segments = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            let place = text.len() - rest.len() + at;
            let (sample, after) = sample(after, side).ok_or(ValueError::Percent(place))?;
            if !literal.is_empty() {
                segments.push(Segment::Literal(std::mem::take(&mut literal).into()));
            }
            segments.push(Segment::Sample(sample));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            segments.push(Segment::Literal(literal.into()));
        }
        Ok(Self { segments: segments.into() })
    }

    /// The parts in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The value where it is the same for every request.
    pub fn literal(&self) -> Option<&str> {
        match &*self.segments {
            [Segment::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

/// A sample after its percent sign, and what comes after it.
fn sample(text: &str, side: Side) -> Option<(Sample, &str)> {
    let (flags, text) = match text.strip_prefix('{') {
        Some(rest) => {
            let (flags, rest) = rest.split_once('}')?;
            (flags.split(',').map(signed_flag).collect::<Option<_>>()?, rest)
        }
        None => (Box::default(), text),
    };
    let (expression, rest) = text.strip_prefix('[')?.split_once(']')?;
    let mut words = expression.split(',');
    let source = source(words.next()?, side)?;
    let converter = |word: &str| match word {
        "lower" => Some(Converter::Lower),
        "base64" => Some(Converter::Base64),
        _ => None,
    };
    let converters = words.map(converter).collect::<Option<_>>()?;
    Some((Sample { flags, source, converters }, rest))
}

fn signed_flag(text: &str) -> Option<SignedFlag> {
    let (on, letter) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(letter), _) => (Some(true), letter),
        (_, Some(letter)) => (Some(false), letter),
        _ => (None, text),
    };
    let flag = match letter {
        "Q" => Flag::Quote,
        "X" => Flag::Hexadecimal,
        "E" => Flag::Escape,
        _ => return None,
    };
    Some(SignedFlag { on, flag })
}

fn source(text: &str, side: Side) -> Option<SampleSource> {
    if text == "ssl_c_der" {
        return Some(SampleSource::ClientCertificate);
    }
    let (fetch, of): (_, fn(Box<str>) -> SampleSource) = match side {
        Side::Request => ("req.hdr(", SampleSource::RequestHeader),
        Side::Response => ("res.hdr(", SampleSource::ResponseHeader),
    };
    let name = text.strip_prefix(fetch)?.strip_suffix(')')?;
    let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    valid.then(|| of(name.into()))
}

impl fmt::Display for ValueTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|segment| match segment {
            Segment::Literal(text) => f.write_str(&text.replace('%', "%%")),
            Segment::Sample(sample) => write!(f, "{sample}"),
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("%")?;
        for (place, signed) in self.flags.iter().enumerate() {
            let sign = match signed.on {
                Some(true) => "+",
                Some(false) => "-",
                None => "",
            };
            let letter = match signed.flag {
                Flag::Quote => 'Q',
                Flag::Hexadecimal => 'X',
                Flag::Escape => 'E',
            };
            write!(f, "{}{sign}{letter}", if place == 0 { '{' } else { ',' })?;
        }
        if !self.flags.is_empty() {
            f.write_str("}")?;
        }
        match &self.source {
            SampleSource::RequestHeader(name) => write!(f, "[req.hdr({name})")?,
            SampleSource::ResponseHeader(name) => write!(f, "[res.hdr({name})")?,
            SampleSource::ClientCertificate => f.write_str("[ssl_c_der")?,
        }
        for converter in &self.converters {
            f.write_str(match converter {
                Converter::Lower => ",lower",
                Converter::Base64 => ",base64",
            })?;
        }
        f.write_str("]")
    }
}

/// The API's own limit.
const VALUE_CHARACTERS: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(text: &str) -> Result<ValueTemplate, ValueError> {
        ValueTemplate::parse(text, Side::Request)
    }

    #[test]
    fn values_are_taken_apart() {
        let value = request("100%% of %{+Q,-E}[req.hdr(X-User),lower,base64]!").unwrap();
        let [Segment::Literal(before), Segment::Sample(sample), Segment::Literal(after)] = value.segments() else {
            panic!("{value:?}")
        };
        assert_eq!((&**before, &**after), ("100% of ", "!"));
        assert_eq!(sample.source, SampleSource::RequestHeader("X-User".into()));
        assert!(sample.has(Flag::Quote) && !sample.has(Flag::Escape));
        assert_eq!(*sample.converters, [Converter::Lower, Converter::Base64]);
        assert_eq!(request("50%% off").unwrap().literal(), Some("50% off"));
    }

    #[test]
    fn any_other_percent_sign_is_refused_at_its_place() {
        for text in [
            "ab%",
            "ab%x",
            "ab%[",
            "ab%[req.hdr(host)",
            "ab%[req.hdr()]",
            "ab%[req.hdr(a b)]",
            "ab%[req.hdr(host,1)]",
            "ab%[res.hdr(host)]",
            "ab%[ssl_c_der,hex]",
            "ab%[ssl_c_der,]",
            "ab%[]",
            "ab%[env(PATH)]",
            "ab%[src]",
            "ab%{}[ssl_c_der]",
            "ab%{+Z}[ssl_c_der]",
            "ab%{+Q, -X}[ssl_c_der]",
            "ab%{+Q}ssl_c_der",
            "ab%ci",
        ] {
            assert_eq!(request(text), Err(ValueError::Percent(2)), "{text}");
        }
        assert_eq!(ValueTemplate::parse("%[req.hdr(a)]", Side::Response), Err(ValueError::Percent(0)));
        assert!(ValueTemplate::parse("%[res.hdr(a)]", Side::Response).is_ok());
    }

    #[test]
    fn values_have_limits() {
        assert_eq!(request(""), Err(ValueError::Empty));
        assert!(request(&"ü".repeat(VALUE_CHARACTERS)).is_ok());
        assert_eq!(request(&"ü".repeat(VALUE_CHARACTERS + 1)), Err(ValueError::TooLong));
        for control in ["a\r\nSet-Cookie: b", "a\nb", "a\0b", "a\tb", "a\u{7f}b", "a\u{85}b"] {
            assert_eq!(request(control), Err(ValueError::Control), "{control:?}");
        }
    }

    /// Values as the Route API's own pattern allows them.
    const VALID: &str = "([^%\\pC]|%%|%(\\{[+-]?[QXE](,[+-]?[QXE]){0,2}\\})?\\[(req\\.hdr\\([0-9A-Za-z-]{1,8}\\)|ssl_c_der)(,(lower|base64)){0,2}\\]){1,8}";

    proptest! {
        #[test]
        fn what_is_read_is_written_as_it_was(text in VALID) {
            prop_assert_eq!(request(&text).unwrap().to_string(), text);
        }

        #[test]
        fn hostile_text_gives_an_answer_and_never_a_control_character(
            text in "(\\PC|[%\\[\\]{}(),+QXE\"'\\\\;#]|req\\.hdr\\(|res\\.hdr\\(|ssl_c_der|,lower|\r|\n|\0|\u{2028}){0,40}",
        ) {
            for side in [Side::Request, Side::Response] {
                if let Ok(value) = ValueTemplate::parse(&text, side) {
                    prop_assert!(!text.chars().any(char::is_control));
                    prop_assert_eq!(value.to_string(), &*text);
                }
            }
        }
    }
}
