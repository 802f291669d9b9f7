//! What a pod is told of a request: annotations flow in, [`ToPod`] flows out.

use super::header_actions::is_host_and_port;
use crate::annotation::grammar::boolean;
use crate::annotation::{Annotations, Spelling};
use http::HeaderValue;

/// The settings of the header for the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToPod {
    /// How `X-Forwarded-*` and `Forwarded` are written; `None` means the router's default.
    pub forwarded: Option<ForwardedHeaders>,
    /// `Host` for the pod, instead of the client's.
    pub host: Option<HeaderValue>,
    /// Whether the pod is asked to close the connection after each response (HTTP/1.1).
    pub close: bool,
    /// Whether the router's list of header names in their peculiar case holds for the pod as well.
    pub adjust_case: bool,
}

/// How `X-Forwarded-*` and `Forwarded` are written (`set-forwarded-headers`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeaders {
    /// What the client sent in the lists stays, and ours comes after it.
    Append,
    /// What the client sent is dropped.
    Replace,
    /// Only fields that the client did not send are written.
    IfNone,
    /// Nothing is written.
    Never,
}

impl ForwardedHeaders {
    /// Every policy by the word for it.
    pub const WORDS: [(&str, Self); 4] =
        [("append", Self::Append), ("replace", Self::Replace), ("if-none", Self::IfNone), ("never", Self::Never)];
}

impl ToPod {
    /// Reads the annotations.
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        let forwarded = annotations.first(&[
            Spelling { name: "nearside.dev/forwarded-headers", parse: forwarded },
            Spelling { name: "haproxy.router.openshift.io/set-forwarded-headers", parse: forwarded },
        ]);
        let host = annotations.first(&[
            Spelling { name: "nearside.dev/upstream-vhost", parse: host },
            Spelling { name: "nginx.ingress.kubernetes.io/upstream-vhost", parse: host },
        ]);
        let close = annotations.first(&[
            Spelling { name: "nearside.dev/connection-proxy-header", parse: connection },
            Spelling { name: "nginx.ingress.kubernetes.io/connection-proxy-header", parse: connection },
        ]);
        let adjust_case = annotations.first(&[
            Spelling { name: "nearside.dev/h1-adjust-case", parse: boolean },
            Spelling { name: "haproxy.router.openshift.io/h1-adjust-case", parse: boolean },
        ]);
        Self { forwarded, host, close: close.unwrap_or_default(), adjust_case: adjust_case.unwrap_or_default() }
    }
}

fn forwarded(text: &str) -> Result<ForwardedHeaders, String> {
    let word = ForwardedHeaders::WORDS.iter().find(|(word, _)| *word == text);
    word.map(|(_, policy)| *policy).ok_or_else(|| "is not one of append, replace, if-none, never".into())
}

fn host(text: &str) -> Result<HeaderValue, String> {
    let host = Some(text).filter(|text| is_host_and_port(text)).and_then(|text| HeaderValue::from_str(text).ok());
    host.ok_or_else(|| "is not a host with or without port".into())
}

/// Whether the connection is to be closed. To keep it is what HTTP/1.1 does without being told.
fn connection(text: &str) -> Result<bool, String> {
    match text {
        _ if text.eq_ignore_ascii_case("close") => Ok(true),
        _ if text.eq_ignore_ascii_case("keep-alive") => Ok(false),
        _ => Err("is not one of close, keep-alive".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_matched_whole() {
        assert_eq!(forwarded("if-none"), Ok(ForwardedHeaders::IfNone));
        assert!(["", "Append", " never", "append\n"].iter().all(|text| forwarded(text).is_err()));
        assert_eq!((connection("close"), connection("Keep-Alive")), (Ok(true), Ok(false)));
        assert!(connection("upgrade").is_err());
    }

    #[test]
    fn a_host_for_the_pod_is_a_host() {
        assert!(["a.example.com", "a.example.com:8080", "[::1]:80", "10.0.0.1"].iter().all(|text| host(text).is_ok()));
        for text in ["", "a b", "a\r\nX: y", "user@a", "http://a", "a/b", "$host"] {
            assert!(host(text).is_err(), "{text:?}");
        }
    }
}
