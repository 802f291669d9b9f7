//! Secrets as rules use them: a trimmed Secret flows in, its material, read once, flows out. The index keeps it;
//! [`crate::compile`] looks it up for the rules that name it.

use crate::certificate::{Authority, CertificateError, KeyPair, read_bundle};
use crate::credentials::PasswordSecret;
use crate::object::Secret;
use std::sync::Arc;

/// What of a Secret is used.
#[derive(Debug, PartialEq)]
pub struct KnownSecret {
    /// Whether its type says that it holds a certificate to serve.
    pub serves: bool,
    /// The chain in `tls.crt` with the key in `tls.key`, or why they cannot be used.
    pub pair: Result<Arc<KeyPair>, CertificateError>,
    /// The certificates in `tls.crt` as PEM, whether there is a key or not, or why they cannot be used.
    pub bundle: Result<Arc<str>, CertificateError>,
    /// The CAs in `ca.crt` with the revocation lists in `ca.crl`, or why they cannot be used.
    pub authority: Result<Arc<Authority>, CertificateError>,
    /// Users and the hashes of their passwords.
    pub passwords: PasswordSecret,
}

impl KnownSecret {
    /// Reads a Secret; `None` if it holds nothing that a rule reads.
    pub fn of(secret: &Secret) -> Option<Self> {
        let serves = secret.kind == Secret::TLS;
        if !serves && secret.is_empty() {
            return None;
        }
        let bundle = read_bundle(&secret.certificate).and_then(|_| {
            let text = String::from_utf8(secret.certificate.clone());
            text.map(Into::into).map_err(|error| CertificateError::Certificate(error.utf8_error().to_string()))
        });
        Some(Self {
            serves,
            pair: KeyPair::from_pem(&secret.certificate, &secret.key).map(Arc::new),
            bundle,
            authority: Authority::from_pem(&secret.authority, &secret.revocations).map(Arc::new),
            passwords: PasswordSecret::new(secret),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(kind: &str, certificate: &str, authority: &str) -> Option<KnownSecret> {
        let (certificate, authority) = (certificate.as_bytes().to_vec(), authority.as_bytes().to_vec());
        KnownSecret::of(&Secret { kind: kind.into(), certificate, authority, ..Secret::default() })
    }

    #[test]
    fn a_secret_is_kept_for_what_is_in_it_and_only_one_of_tls_serves() {
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem();
        assert_eq!(secret("Opaque", "", ""), None);
        assert!(secret(Secret::TLS, "", "").unwrap().serves, "a broken certificate is told as one");
        let known = secret("Opaque", &pem, "").unwrap();
        assert!(!known.serves && known.pair.is_err() && known.bundle.is_ok() && known.authority.is_err());
        let known = secret("Opaque", "", &pem).unwrap();
        assert!(known.bundle.is_err() && known.authority.is_ok());
    }
}
