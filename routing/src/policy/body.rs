//! Bodies: annotations flow in, the largest request body flows out. Bodies are always streamed, both ways; annotations
//! that say so are understood, those that ask for something else are told that they have no effect.

use crate::annotation::grammar::{boolean, bytes, count};
use crate::annotation::{Annotations, Spelling};

/// What an object says of request bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Bytes of a request body; any number where it is `None`.
    pub largest: Option<u64>,
}

impl Body {
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        for name in SWITCHES {
            if annotations.first(&[Spelling { name, parse: on_or_off }]) == Some(true) {
                annotations.problem(name, "bodies are always streamed; there is no buffer to wait for");
            }
        }
        for (name, parse) in SIZES {
            // Without buffers their sizes mean nothing; they are read so that a mistake in them is told.
            let _ = annotations.first(&[Spelling { name, parse }]);
        }
        let largest = annotations.first(&[
            Spelling { name: "nearside.dev/max-body-size", parse: bytes },
            Spelling { name: "nginx.ingress.kubernetes.io/proxy-body-size", parse: bytes },
        ]);
        Self { largest: largest.filter(|largest| *largest > 0) }
    }
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        other => boolean(other).map_err(|_| "is not on or off".into()),
    }
}

const SWITCHES: [&str; 2] =
    ["nginx.ingress.kubernetes.io/proxy-request-buffering", "nginx.ingress.kubernetes.io/proxy-buffering"];
type Parse = fn(&str) -> Result<u64, String>;
const SIZES: [(&str, Parse); 5] = [
    ("nginx.ingress.kubernetes.io/client-body-buffer-size", bytes),
    ("nginx.ingress.kubernetes.io/proxy-buffer-size", bytes),
    ("nginx.ingress.kubernetes.io/proxy-buffers-number", |text| count(text).map(u64::from)),
    ("nginx.ingress.kubernetes.io/proxy-busy-buffers-size", bytes),
    ("nginx.ingress.kubernetes.io/proxy-max-temp-file-size", bytes),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    #[test]
    fn zero_means_any_size() {
        let largest = |text| read(&[("nginx.ingress.kubernetes.io/proxy-body-size", text)], Body::read).largest;
        assert_eq!((largest("8m"), largest("0"), largest("many")), (Some(8 << 20), None, None));
        let both = [("nginx.ingress.kubernetes.io/proxy-body-size", "1m"), ("nearside.dev/max-body-size", "1k")];
        assert_eq!(read(&both, Body::read).largest, Some(1024));
    }

    #[test]
    fn only_what_asks_for_buffers_is_told_that_there_are_none() {
        let name = "nginx.ingress.kubernetes.io/proxy-buffering";
        let request = "nginx.ingress.kubernetes.io/proxy-request-buffering";
        let size = "nginx.ingress.kubernetes.io/proxy-buffer-size";
        for (written, expected) in [
            ((name, "off"), 0),
            ((request, "off"), 0),
            ((size, "16k"), 0),
            ((name, "on"), 1),
            ((request, "on"), 1),
            ((request, "maybe"), 1),
            ((size, "big"), 1),
        ] {
            assert_eq!(problems(&[written], Body::read).len(), expected, "{written:?}");
        }
    }
}
