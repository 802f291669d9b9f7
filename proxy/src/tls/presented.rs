//! What a client has shown on one connection to a host that asks for certificates: the chain of the handshake flows in, what
//! the host's CAs say of it now and the fields that tell a pod of it flow out, in the notation of ingress-nginx. `accept`
//! makes it, the requests of the connection ask it.

use super::host_authority::{HostAuthority, Verification};
use crate::limits::CLIENT_VERIFICATION_TIME;
use base64::Engine;
use http::HeaderValue;
use rustls::pki_types::CertificateDer;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use x509_parser::der_parser::asn1_rs::ToDer;
use x509_parser::x509::X509Name;

/// See the module.
#[derive(Debug)]
pub(crate) struct Presented {
    chain: Vec<CertificateDer<'static>>,
    leaf: Option<Leaf>,
    last: Mutex<Option<Verified>>,
}

/// What a leaf certificate says.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// The subject's distinguished name in the notation of RFC 2253.
    pub(crate) subject: HeaderValue,
    /// The issuer's.
    pub(crate) issuer: HeaderValue,
    /// The common names of the subject.
    pub(crate) common_names: Vec<Vec<u8>>,
    /// Whether it is of this time.
    valid_now: bool,
}

/// What was said last, so that the requests of a connection cost one look.
#[derive(Clone, Debug)]
struct Verified {
    authority: [u8; 32],
    depth: u8,
    at: Instant,
    verification: Verification,
}

impl Presented {
    /// The chain of a client, leaf first; empty or nothing where it showed none.
    pub(crate) fn new(chain: Option<&[CertificateDer<'_>]>) -> Self {
        let chain: Vec<_> = chain.unwrap_or_default().iter().map(|part| part.clone().into_owned()).collect();
        let leaf = chain.first().and_then(|leaf| Leaf::of(leaf));
        Self { chain, leaf, last: Mutex::new(None) }
    }

    /// What these CAs say of it.
    pub(crate) fn verify(&self, authority: &HostAuthority, depth: u8, now: Instant) -> Verification {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.as_ref().filter(|last| {
            last.authority == authority.fingerprint()
                && last.depth == depth
                && now.saturating_duration_since(last.at) < CLIENT_VERIFICATION_TIME
        });
        if let Some(known) = known {
            return known.verification.clone();
        }
        let mut verification = authority.verify(&self.chain, depth);
        if let Verification::Failed { unknown_ca, reason } = &mut verification
            && *unknown_ca
            && !self.leaf.as_ref().is_some_and(|leaf| leaf.valid_now)
        {
            // A verifier looks at times only once it has found the CA.
            (*unknown_ca, *reason) = (false, "certificate has expired");
        }
        let verified = Verified { authority: authority.fingerprint(), depth, at: now, verification };
        last.insert(verified).verification.clone()
    }

    /// What the certificate says, where one was shown and can be read.
    pub(crate) fn leaf(&self) -> Option<&Leaf> {
        self.leaf.as_ref()
    }

    /// The certificate in DER.
    pub(crate) fn der(&self) -> Option<&[u8]> {
        self.chain.first().map(AsRef::as_ref)
    }

    /// The certificate as PEM with every character escaped that has a meaning in a URL.
    pub(crate) fn escaped_pem(&self) -> Option<HeaderValue> {
        let encoded = base64::engine::general_purpose::STANDARD.encode(self.der()?);
        let mut text = escaped("-----BEGIN CERTIFICATE-----\n");
        for line in encoded.as_bytes().chunks(PEM_LINE) {
            text.push_str(&escaped(&String::from_utf8_lossy(line)));
            text.push_str("%0A");
        }
        text.push_str(&escaped("-----END CERTIFICATE-----\n"));
        HeaderValue::from_str(&text).ok()
    }
}

impl Leaf {
    fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let common_names = certificate.subject().iter_common_name().map(|name| name.attr_value().data.to_vec());
        Some(Self {
            subject: distinguished_name(certificate.subject()),
            issuer: distinguished_name(certificate.issuer()),
            common_names: common_names.collect(),
            valid_now: certificate.validity().is_valid(),
        })
    }
}

/// Percent-encoding of all but unreserved characters (RFC 3986 §2.3).
fn escaped(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// RFC 2253: the last part first, parts of one set joined by plus signs, what is not printable ASCII in hexadecimal.
fn distinguished_name(name: &X509Name<'_>) -> HeaderValue {
    let sets: Vec<String> = name
        .iter_rdn()
        .map(|set| {
            let parts: Vec<String> = set
                .iter()
                .map(|part| {
                    let oid = part.attr_type().to_id_string();
                    match super::client_certificate::SHORT_NAMES.iter().find(|(known, _)| *known == oid) {
                        Some((_, short)) => format!("{short}={}", escaped_part(part.attr_value().data)),
                        None => {
                            let der = part.attr_value().to_der_vec().unwrap_or_default();
                            format!("{oid}=#{}", super::client_certificate::hex(&der))
                        }
                    }
                })
                .collect();
            parts.join("+")
        })
        .collect();
    let text = sets.into_iter().rev().collect::<Vec<_>>().join(",");
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn escaped_part(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for (place, byte) in value.iter().enumerate() {
        let at_edge = place == 0 || place + 1 == value.len();
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => text.extend(['\\', char::from(*byte)]),
            b' ' if at_edge => text.push_str("\\ "),
            b'#' if place == 0 => text.push_str("\\#"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
    text
}

/// Characters of a line of PEM (RFC 7468 §2).
const PEM_LINE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use nearside_routing::certificate::Authority;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    fn presented(name: &[(DnType, &str)]) -> (Presented, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        name.iter().for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), *value));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        (Presented::new(Some(&[certificate.der().clone()])), certificate.pem())
    }

    #[test]
    fn names_are_written_as_openssl_writes_them() {
        let (shown, _) = presented(&[
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, " a,b+c\"#;"),
            (DnType::CustomDnType(vec![1, 2, 3, 4]), "own"),
            (DnType::CommonName, "ä\n=x "),
        ]);
        let subject = &shown.leaf().unwrap().subject;
        assert_eq!(subject, "CN=\\C3\\A4\\0A=x\\ ,1.2.3.4=#0C036F776E,O=\\ a\\,b\\+c\\\"#\\;,C=DE");
        assert_eq!(*subject, shown.leaf().unwrap().issuer);
        assert_eq!(shown.leaf().unwrap().common_names, ["ä\n=x ".as_bytes()]);
    }

    #[test]
    fn the_certificate_is_told_as_pem_that_a_url_can_hold() {
        let (shown, pem) = presented(&[(DnType::CommonName, "a")]);
        let told = shown.escaped_pem().unwrap();
        let told = told.to_str().unwrap();
        assert!(told.starts_with("-----BEGIN%20CERTIFICATE-----%0A") && !told.contains(['+', '/', '=', ' ']));
        let decoded: Vec<u8> = told.split('%').enumerate().fold(Vec::new(), |mut bytes, (place, part)| {
            let (hex, rest) = if place == 0 { ("", part) } else { part.split_at(2) };
            bytes.extend(u8::from_str_radix(hex, 16).ok());
            bytes.extend(rest.as_bytes());
            bytes
        });
        assert_eq!(String::from_utf8(decoded).unwrap(), pem.replace('\r', ""));
        assert!(Presented::new(None).escaped_pem().is_none());
    }

    #[test]
    fn other_cas_are_asked_anew_and_the_same_ones_after_a_while() {
        let authority = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let pem = params.self_signed(&key).unwrap().pem();
            let read = Authority::from_pem(pem.as_bytes(), b"").unwrap();
            (HostAuthority::new(&read, true).unwrap(), Issuer::new(params, key))
        };
        let ((own, issuer), (other, _)) = (authority("own"), authority("other"));
        let leaf = CertificateParams::new(Vec::new()).unwrap();
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let shown = Presented::new(Some(&[leaf.der().clone()]));
        let now = Instant::now();
        assert_eq!(shown.verify(&own, 1, now), Verification::Success);
        assert!(matches!(shown.verify(&other, 1, now), Verification::Failed { unknown_ca: true, .. }));
        assert_eq!(shown.verify(&own, 1, now + CLIENT_VERIFICATION_TIME), Verification::Success);
        assert_eq!(Presented::new(Some(&[])).verify(&own, 1, now), Verification::None);
    }
}
