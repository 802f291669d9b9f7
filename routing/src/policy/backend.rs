//! How pods are spoken to: annotations flow in, the protocol and what is asked of a pod's certificate flow out.

use super::client_certificate::{secret, strict};
use crate::annotation::{Annotations, Spelling};
use crate::hostname::Hostname;
use crate::table::Scheme;

/// What an object says of the connection to its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// What pods speak. `None` means HTTP, over TLS where a Route says reencrypt.
    pub protocol: Option<BackendProtocol>,
    /// Whether a pod's certificate must be signed by a known CA. `None` means where a Route says reencrypt and a CA is
    /// known.
    pub verify: Option<bool>,
    /// The name that a pod is asked for and that its certificate is for; `None` means `SERVICE.NAMESPACE.svc`.
    pub server_name: Option<Hostname>,
    /// The Secret of the object's namespace with what pods over TLS are shown and who vouches for them. The inner `None`: it
    /// is not understood which, and no pod is asked.
    pub(crate) secret: Option<Option<Box<str>>>,
}

/// What pods speak (`backend-protocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendProtocol {
    /// HTTP/1.1, or HTTP/2 where the Service's port says so.
    Http,
    /// HTTP over TLS.
    Https,
    /// HTTP/2 without TLS, by prior knowledge.
    Grpc,
    /// HTTP/2 over TLS.
    Grpcs,
    /// What the client speaks: TLS where it came over TLS.
    Auto,
}

impl BackendProtocol {
    /// Whether a pod is spoken to over TLS, for a request that came in this way.
    pub fn tls(self, scheme: Scheme) -> bool {
        match self {
            Self::Http | Self::Grpc => false,
            Self::Https | Self::Grpcs => true,
            Self::Auto => scheme == Scheme::Https,
        }
    }

    /// Whether pods speak nothing but HTTP/2.
    pub fn only_http2(self) -> bool {
        matches!(self, Self::Grpc | Self::Grpcs)
    }
}

impl Backend {
    pub(super) fn read(annotations: &mut Annotations<'_>) -> Self {
        let namespace = annotations.namespace();
        let backend = Self {
            secret: strict(annotations, &SECRET, |text| secret(text, namespace)),
            protocol: annotations.first(&[
                Spelling { name: "nearside.dev/backend-protocol", parse: protocol },
                Spelling { name: "nginx.ingress.kubernetes.io/backend-protocol", parse: protocol },
            ]),
            verify: annotations.first(&[
                Spelling { name: "nearside.dev/backend-tls-verify", parse: crate::annotation::grammar::boolean },
                Spelling { name: "nginx.ingress.kubernetes.io/proxy-ssl-verify", parse: switch },
            ]),
            server_name: annotations.first(&[
                Spelling { name: "nearside.dev/backend-tls-name", parse: server_name },
                Spelling { name: "nginx.ingress.kubernetes.io/proxy-ssl-name", parse: server_name },
            ]),
        };
        let sent = "nginx.ingress.kubernetes.io/proxy-ssl-server-name";
        if annotations.first(&[Spelling { name: sent, parse: switch }]) == Some(false) {
            annotations.problem(sent, "\"off\" has no effect: pods are always told which name is meant");
        }
        backend
    }
}

/// For problems with the Secret.
pub(crate) const SECRET: [&str; 2] =
    ["nearside.dev/backend-tls-secret", "nginx.ingress.kubernetes.io/proxy-ssl-secret"];

fn protocol(text: &str) -> Result<BackendProtocol, String> {
    match text.trim().to_ascii_uppercase().as_str() {
        "HTTP" => Ok(BackendProtocol::Http),
        "HTTPS" => Ok(BackendProtocol::Https),
        "GRPC" => Ok(BackendProtocol::Grpc),
        "GRPCS" => Ok(BackendProtocol::Grpcs),
        "AUTO_HTTP" => Ok(BackendProtocol::Auto),
        "FCGI" => Err("is not offered: put a web server that speaks FastCGI into the pod".into()),
        _ => Err("is not one of HTTP, HTTPS, GRPC, GRPCS, AUTO_HTTP".into()),
    }
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("is not one of on, off".into()),
    }
}

fn server_name(text: &str) -> Result<Hostname, String> {
    Hostname::parse(text).map_err(|error| format!("is no name of a host: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing;

    fn read(written: &[(&str, &str)]) -> (Backend, usize) {
        (testing::read(written, Backend::read), testing::problems(written, Backend::read).len())
    }

    #[test]
    fn protocols_are_those_of_ingress_nginx_and_what_is_not_offered_is_told() {
        let (own, nginx) = ("nearside.dev/backend-protocol", "nginx.ingress.kubernetes.io/backend-protocol");
        for (text, expected) in [
            ("HTTP", Some(BackendProtocol::Http)),
            ("https", Some(BackendProtocol::Https)),
            ("GRPC", Some(BackendProtocol::Grpc)),
            ("GRPCS", Some(BackendProtocol::Grpcs)),
            ("AUTO_HTTP", Some(BackendProtocol::Auto)),
            ("FCGI", None),
            ("SPDY", None),
            ("", None),
        ] {
            for name in [own, nginx] {
                let (backend, problems) = read(&[(name, text)]);
                assert_eq!((backend.protocol, problems), (expected, usize::from(expected.is_none())), "{name}: {text}");
            }
        }
        let (backend, problems) = read(&[(nginx, "HTTPS"), (own, "GRPC")]);
        assert_eq!((backend.protocol, problems), (Some(BackendProtocol::Grpc), 0), "our own spelling counts");
    }

    #[test]
    fn tls_to_pods_follows_the_protocol_and_for_auto_the_client() {
        let tls = |protocol: BackendProtocol| [Scheme::Http, Scheme::Https].map(|scheme| protocol.tls(scheme));
        assert_eq!(tls(BackendProtocol::Http), [false, false]);
        assert_eq!(tls(BackendProtocol::Grpc), [false, false]);
        assert_eq!(tls(BackendProtocol::Https), [true, true]);
        assert_eq!(tls(BackendProtocol::Grpcs), [true, true]);
        assert_eq!(tls(BackendProtocol::Auto), [false, true]);
    }

    #[test]
    fn what_is_asked_of_certificates_is_read_in_each_spelling() {
        let (backend, problems) = read(&[
            ("nginx.ingress.kubernetes.io/proxy-ssl-verify", "on"),
            ("nginx.ingress.kubernetes.io/proxy-ssl-name", "pods.example.com"),
            ("nginx.ingress.kubernetes.io/proxy-ssl-server-name", "on"),
        ]);
        assert_eq!((backend.verify, problems), (Some(true), 0));
        assert_eq!(backend.server_name.unwrap().as_str(), "pods.example.com");
        let (backend, problems) =
            read(&[("nearside.dev/backend-tls-verify", "false"), ("nearside.dev/backend-tls-name", "a_b")]);
        assert_eq!((backend.verify, backend.server_name, problems), (Some(false), None, 1));
        assert_eq!(read(&[("nginx.ingress.kubernetes.io/proxy-ssl-server-name", "off")]).1, 1);
        for (text, expected, told) in [
            ("pods", Some(Some("pods")), 0),
            ("shop/pods", Some(Some("pods")), 0),
            ("other/pods", Some(None), 1),
            ("", None, 0),
        ] {
            for name in SECRET {
                let (backend, problems) = read(&[(name, text)]);
                let secret = backend.secret.as_ref().map(|secret| secret.as_deref());
                assert_eq!((secret, problems), (expected, told), "{name}: {text}");
            }
        }
    }
}
