//! How pods are checked: annotations flow in, the interval and the kind of the checks flow out. What is left open, the proxy's
//! flags decide.

use crate::annotation::grammar::time;
use crate::annotation::{Annotations, Spelling};
use std::sync::Arc;
use std::time::Duration;

/// Active checks of the pods of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Between two checks of a pod.
    pub interval: Option<Duration>,
    /// The path of an HTTP request that a healthy pod answers with 2xx or 3xx; `None`: a connection is enough.
    pub path: Option<Arc<str>>,
}

impl Health {
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        Self {
            interval: annotations.first(&[
                Spelling { name: "nearside.dev/health-check-interval", parse: time },
                Spelling { name: "router.openshift.io/haproxy.health.check.interval", parse: time },
            ]),
            path: annotations.first(&[Spelling { name: "nearside.dev/health-check-path", parse: path }]),
        }
    }
}

fn path(text: &str) -> Result<Arc<str>, String> {
    let valid = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if valid && text.len() <= PATH_BYTES { Ok(text.into()) } else { Err("is not a path such as /healthz".into()) }
}

/// Bytes of a path.
const PATH_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_that_a_request_line_can_carry() {
        assert_eq!(path("/healthz?full=1").as_deref(), Ok("/healthz?full=1"));
        for bad in ["", "healthz", "/a b", "/a\r\nHost: b", "/a#b", "/\u{e9}", &format!("/{}", "a".repeat(PATH_BYTES))]
        {
            assert!(path(bad).is_err(), "{bad:?}");
        }
    }
}
