//! What commands say: a value flows in, text, JSON or YAML flows out to standard output. Commands that answer one question
//! share it, and their exit codes.

use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;
use std::str::FromStr;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON value.
    Json,
    /// One YAML document.
    Yaml,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            _ => Err("is not one of text, json, yaml".into()),
        }
    }
}

/// The answer as it is to be written; `text` makes it for people.
pub(crate) fn render<T: Serialize>(value: &T, format: Format, text: impl FnOnce(&T) -> String) -> String {
    match format {
        Format::Text => text(value),
        Format::Json => serde_json::to_string_pretty(value).map(|json| json + "\n").unwrap_or_default(),
        // By way of JSON, so that both say the same.
        Format::Yaml => {
            serde_json::to_value(value).ok().and_then(|value| serde_saphyr::to_string(&value).ok()).unwrap_or_default()
        }
    }
}

/// Writes to standard output. A reader that went away wants no more.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Writes why a command cannot do its work, in one line, to standard error.
pub(crate) fn complain(command: &str, message: impl std::fmt::Display) -> ExitCode {
    let mut out = std::io::stderr().lock();
    drop(writeln!(out, "{command}: {message}"));
    ExitCode::from(NOT_POSSIBLE)
}

/// What was asked could not be found out.
const NOT_POSSIBLE: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_and_yaml_say_the_same() {
        let value = json!({"a": [1, "x: y"], "b": null});
        let text = |format| render(&value, format, |_| "text".into());
        let read: serde_json::Value = serde_saphyr::from_str(&text(Format::Yaml)).unwrap();
        assert_eq!(read, value);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text(Format::Json)).unwrap(), value);
        assert_eq!(text(Format::Text), "text");
    }
}
