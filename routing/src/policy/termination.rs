//! Where the TLS of an Ingress ends: annotations flow in, a word flows out. A Route says it in a field of its own.

use crate::annotation::grammar::boolean;
use crate::annotation::{Annotations, Spelling};

/// Where the TLS of an Ingress ends, if it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngressTermination {
    /// At the proxy.
    Edge,
    /// At the proxy, and again at the pod.
    Reencrypt,
    /// At the pod.
    Passthrough,
}

impl IngressTermination {
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Option<Self> {
        let word = annotations.first(&[
            Spelling { name: TERMINATION, parse: word },
            Spelling { name: "route.openshift.io/termination", parse: word },
        ]);
        let through = annotations.first(&[
            Spelling { name: "nearside.dev/ssl-passthrough", parse: boolean },
            Spelling { name: "nginx.ingress.kubernetes.io/ssl-passthrough", parse: boolean },
        ]);
        word.or_else(|| (through == Some(true)).then_some(Self::Passthrough))
    }
}

fn word(text: &str) -> Result<IngressTermination, String> {
    match text {
        "edge" => Ok(IngressTermination::Edge),
        "reencrypt" => Ok(IngressTermination::Reencrypt),
        "passthrough" => Ok(IngressTermination::Passthrough),
        _ => Err("is not one of edge, reencrypt, passthrough".into()),
    }
}

/// For the claims, which name their reason.
pub(crate) const TERMINATION: &str = "nearside.dev/termination";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    #[test]
    fn a_word_of_openshift_or_the_switch_of_ingress_nginx_says_where_tls_ends() {
        let (word, switch) = ("route.openshift.io/termination", "nginx.ingress.kubernetes.io/ssl-passthrough");
        for (written, expected, told) in [
            (&[][..], None, 0),
            (&[(word, "edge")], Some(IngressTermination::Edge), 0),
            (&[(word, "reencrypt")], Some(IngressTermination::Reencrypt), 0),
            (&[(word, "passthrough")], Some(IngressTermination::Passthrough), 0),
            (&[(word, "Edge")], None, 1),
            (&[(switch, "true")], Some(IngressTermination::Passthrough), 0),
            (&[(switch, "false")], None, 0),
            (&[(switch, "yes")], None, 1),
            (&[(word, "edge"), (switch, "true")], Some(IngressTermination::Edge), 0),
        ] {
            assert_eq!(read(written, IngressTermination::read), expected, "{written:?}");
            assert_eq!(problems(written, IngressTermination::read).len(), told, "{written:?}");
        }
    }
}
