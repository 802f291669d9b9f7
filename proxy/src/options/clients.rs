//! Flags on what clients get beside the pod's answer: words flow in, checked settings flow out.

use super::{Mistakes, given};
use std::sync::Arc;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct ClientArguments {
    /// Compress responses with gzip for clients that accept it. Pages that repeat what a stranger sent beside a secret are
    /// not safe with it.
    #[arg(long, env = "NEARSIDE_COMPRESSION")]
    compression: bool,
    /// The media types that are compressed; `text/*` stands for all of its kind. Video and audio never are. May be repeated.
    #[arg(
        long,
        env = "NEARSIDE_COMPRESSION_TYPES",
        value_name = "TYPE",
        value_delimiter = ',',
        default_value = "text/html,text/plain,text/css"
    )]
    compression_types: Vec<String>,
    /// Give a request up when its HTTP/1 client has closed its side of the connection, instead of answering it.
    #[arg(long, env = "NEARSIDE_ABORT_ON_CLOSE")]
    abort_on_close: bool,
    /// What a connection without TLS gets that sends nothing within `--header-timeout`: `ignore` for nothing, or `respond`
    /// for 408.
    #[arg(long, env = "NEARSIDE_EMPTY_REQUESTS", value_name = "WHAT", default_value = "ignore")]
    empty_requests: String,
    /// Write a line into the program's log for each connection that sent nothing.
    #[arg(long, env = "NEARSIDE_LOG_EMPTY_REQUESTS", value_name = "BOOLEAN", default_value = "false")]
    log_empty_requests: String,
}

/// What clients get beside the pod's answer.
#[derive(Clone, Debug)]
pub(crate) struct ClientConfig {
    /// The media types that are compressed, in lower case; none where nothing is.
    pub(crate) compressed: Arc<[String]>,
    /// Whether a client that has closed its side is taken to have left.
    pub(crate) abort_on_close: bool,
    /// Whether connections that send nothing are answered.
    pub(crate) answer_empty: bool,
    /// Whether they are logged.
    pub(crate) log_empty: bool,
}

impl ClientArguments {
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> ClientConfig {
        let mut types = Vec::new();
        for text in given(&self.compression_types) {
            if is_media_type(text) {
                types.push(text.to_ascii_lowercase());
            } else {
                mistakes.add("compression-types", format!("{text:?} is not a media type such as text/html or text/*"));
            }
        }
        ClientConfig {
            compressed: if self.compression { types.into() } else { Arc::default() },
            abort_on_close: self.abort_on_close,
            answer_empty: mistakes.one_of(
                "empty-requests",
                &self.empty_requests,
                &[("ignore", false), ("respond", true)],
            ),
            log_empty: mistakes.one_of(
                "log-empty-requests",
                &self.log_empty_requests,
                &[("false", false), ("true", true)],
            ),
        }
    }
}

/// `type/subtype` or `type/*` (RFC 9110 §8.3.1), without parameters.
fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
    };
    text.split_once('/').is_some_and(|(kind, rest)| token(kind) && (rest == "*" || token(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_two_words() {
        for (text, expected) in [
            ("text/html", true),
            ("text/*", true),
            ("application/vnd.a+json", true),
            ("text", false),
            ("*/*", false),
            ("text/", false),
            ("text/html; q=1", false),
            ("text/a/b", false),
        ] {
            assert_eq!(is_media_type(text), expected, "{text}");
        }
    }
}
