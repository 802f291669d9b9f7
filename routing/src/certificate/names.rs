//! What clients see of a certificate: a leaf certificate flows in; the names that it is valid for, and from when until when
//! it is, flow out. The miss policy asks before it sends a client to an alias.

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

/// The DNS names of a certificate's subjectAltName, in lower case. The common name does not count (RFC 9525 §2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames(Box<[Box<str>]>);

impl CertificateNames {
    /// The names of a leaf certificate; none if it cannot be read.
    pub fn of(leaf: &CertificateDer<'_>) -> Self {
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
    pub fn cover(&self, host: &str) -> bool {
        self.0.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == domain),
            None => **name == *host,
        })
    }
}

impl CertificateNames {
    /// The names, as they stand in the certificate but in lower case.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

/// From when until when a certificate is valid, in seconds since 1970 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last one.
    pub not_after: i64,
}

impl Validity {
    /// That of a certificate; `None` if it cannot be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let validity = certificate.validity();
        Some(Self { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
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
    fn a_certificate_says_how_long_it_is_valid() {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2001, 9, 9);
        parameters.not_after = rcgen::date_time_ymd(2033, 5, 18);
        let certificate = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let expected = Validity { not_before: 999_993_600, not_after: 1_999_987_200 };
        assert_eq!(Validity::of(certificate.der()), Some(expected));
        assert_eq!(Validity::of(&CertificateDer::from(vec![0_u8])), None);
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
