//! Whether a request that one pod failed is given to another: annotations flow in, what counts as a failure flows out. Never
//! after the response began, and never for methods that may not be repeated (RFC 9110 §9.2.2), whatever is written.

use crate::annotation::grammar::{count, seconds, time};
use crate::annotation::{Annotations, Spelling};
use std::time::Duration;

/// When another pod is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// After what; `None`: after a failure to connect only.
    pub on: Option<RetryOn>,
    /// Pods that are asked for one request, the first included; 0 means as many as the router tries at most.
    pub tries: Option<u32>,
    /// From the request's header until no other pod is asked any more; zero means no limit.
    pub timeout: Option<Duration>,
}

/// What counts as a failure of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// It cannot be connected to, or breaks off or breaks the protocol before its response begins.
    pub error: bool,
    /// It says nothing in time.
    pub timeout: bool,
    /// It answers 502.
    pub status_502: bool,
    /// It answers 503.
    pub status_503: bool,
    /// It answers 504.
    pub status_504: bool,
}

impl RetryOn {
    /// Whether a response with this status is not the client's.
    pub fn status(self, status: u16) -> bool {
        match status {
            502 => self.status_502,
            503 => self.status_503,
            504 => self.status_504,
            _ => false,
        }
    }
}

impl Retry {
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        Self {
            on: annotations.first(&[
                Spelling { name: "nearside.dev/retry-on", parse: retry_on },
                Spelling { name: "nginx.ingress.kubernetes.io/proxy-next-upstream", parse: retry_on },
            ]),
            tries: annotations.first(&[
                Spelling { name: "nearside.dev/retry-tries", parse: count },
                Spelling { name: "nginx.ingress.kubernetes.io/proxy-next-upstream-tries", parse: count },
            ]),
            timeout: annotations.first(&[
                Spelling { name: "nearside.dev/retry-timeout", parse: time },
                Spelling { name: "nginx.ingress.kubernetes.io/proxy-next-upstream-timeout", parse: seconds },
            ]),
        }
    }
}

fn retry_on(text: &str) -> Result<RetryOn, String> {
    let mut on = RetryOn::default();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match word {
            "error" => on.error = true,
            "timeout" => on.timeout = true,
            "http_502" => on.status_502 = true,
            "http_503" => on.status_503 = true,
            "http_504" => on.status_504 = true,
            "off" => return Ok(RetryOn::default()),
            _ => return Err("is not a list of error, timeout, http_502, http_503, http_504, or off".into()),
        }
    }
    if on == RetryOn::default() { Err("is an empty list".into()) } else { Ok(on) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_listed_by_their_words() {
        let on = retry_on("error  timeout http_503").unwrap();
        assert!(on.error && on.timeout && on.status(503) && !on.status(502) && !on.status(500));
        assert_eq!(retry_on("error off"), Ok(RetryOn::default()));
        for bad in ["", "  ", "http_500", "error non_idempotent", "Error", "error,timeout"] {
            assert!(retry_on(bad).is_err(), "{bad:?}");
        }
    }
}
