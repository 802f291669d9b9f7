//! The names that a certificate is valid for: a leaf certificate flows in, an answer for one host flows out. The miss
//! policy asks before it sends a client to an alias.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

/// The DNS names of a certificate's subjectAltName, in lower case. The common name does not count (RFC 9525 §2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CertificateNames(Box<[Box<str>]>);

impl CertificateNames {
    /// The names of a leaf certificate; none if it cannot be read.
    pub(crate) fn of(leaf: &CertificateDer<'_>) -> Self {
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) else { return Self::default() };
        let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Self::default() };
        let dns = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
            _ => None,
        };
        Self(extension.value.general_names.iter().filter_map(dns).collect())
    }

    /// Whether the certificate is valid for a canonical host. A `*` stands for exactly one whole first label (RFC 9525
    /// §6.3).
    pub(crate) fn cover(&self, host: &str) -> bool {
        self.0.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == domain),
            None => **name == *host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> CertificateNames {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        CertificateNames::of(certificate.der())
    }

    #[test]
    fn a_wildcard_covers_the_aliases_of_its_hosts() {
        let names = names(&["Video.example.com", "*.example.com"]);
        assert!(names.cover("video.example.com") && names.cover("video--k3x7a.example.com"));
        assert!(!names.cover("example.com") && !names.cover("a.b.example.com") && !names.cover(".example.com"));
    }

    #[test]
    fn a_certificate_for_one_host_does_not_cover_its_alias() {
        let names = names(&["video.example.com"]);
        assert!(names.cover("video.example.com") && !names.cover("video--k3x7a.example.com"));
        assert_eq!(CertificateNames::of(&CertificateDer::from(vec![0_u8])), CertificateNames::default());
    }
}
