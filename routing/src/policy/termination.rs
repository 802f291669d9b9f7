//! Where the TLS of an Ingress ends: annotations flow in, a word and the Secret of the pods' CA flow out. A Route says both in
//! fields of its own.

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

/// The Secret whose `tls.crt` holds the CA of the pods. What cannot be a name is kept: no Secret has it, and a pod that
/// cannot be verified is not asked.
pub(crate) fn destination_ca(annotations: &mut Annotations<'_>) -> Option<Box<str>> {
    let names = [DESTINATION_CA, "route.openshift.io/destination-ca-certificate-secret"];
    let texts = names.map(|name| (annotations.is_written(name), annotations.text(name)));
    let (_, text) = texts.into_iter().find(|(is_written, _)| *is_written)?;
    Some(text.filter(|name| name.len() <= NAME_BYTES).unwrap_or_default().into())
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
pub(crate) const DESTINATION_CA: &str = "nearside.dev/destination-ca-certificate-secret";
/// Of a Secret's name.
const NAME_BYTES: usize = 253;

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
