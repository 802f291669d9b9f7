//! Certificates and keys as PEM: text of a Route or a Secret flows in, a chain and a key in DER flow out, or the reason
//! why they cannot be used. Whether key and certificate belong together is for the TLS library to say.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::fmt;

/// A certificate chain, leaf first, and its private key.
#[derive(PartialEq, Eq)]
pub struct KeyPair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    fingerprint: [u8; 32],
}

impl KeyPair {
    /// Reads a chain and a key from PEM.
    ///
    /// # Errors
    /// [`CertificateError`] says whether the certificate or the key is at fault.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain = read_chain(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| CertificateError::Key(error.to_string()))?;
        let mut digest = Sha256::new();
        for part in chain.iter().map(AsRef::as_ref).chain([key.secret_der()]) {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Ok(Self { chain, key, fingerprint: digest.finalize().into() })
    }

    /// The chain in DER, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The private key in DER.
    pub fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// A hash over chain and key: equal for equal material, and for nothing else.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

impl fmt::Debug for KeyPair {
    /// Leaves the private key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// Reads a bundle of CA certificates, and says why it cannot be used.
///
/// # Errors
/// [`CertificateError::Certificate`] as for a chain.
pub fn read_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| CertificateError::Certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(CertificateError::Certificate("no PEM block of type CERTIFICATE".into()));
    }
    for (place, certificate) in chain.iter().enumerate() {
        x509_parser::parse_x509_certificate(certificate).map_err(|error| {
            CertificateError::Certificate(format!("certificate {} is not X.509: {error}", place + 1))
        })?;
    }
    Ok(chain)
}

/// Why TLS material cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The certificate, or one of its chain.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// The private key.
    #[error("the private key cannot be read: {0}")]
    Key(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_pem_is_refused_with_the_part_at_fault() {
        assert!(matches!(KeyPair::from_pem(b"", b""), Err(CertificateError::Certificate(_))));
        let not_x509 = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let error = KeyPair::from_pem(not_x509, b"").unwrap_err();
        assert!(error.to_string().contains("certificate 1 is not X.509"), "{error}");
    }
}
