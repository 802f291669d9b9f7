//! Certificates and keys as PEM: text of a Route, a Secret or a file flows in, a chain and a key in DER that can be served
//! flow out, or the reason why they cannot. The rules are those of the OpenShift router's extended validation. One of the
//! few modules that name rustls: what is accepted here must be what the server can serve.

mod authority;
mod chain;
mod names;
mod pem;

pub use authority::Authority;
pub use names::{CertificateNames, Validity};

use pem::Block;
use rustls::crypto::ring;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use sha2::{Digest, Sha256};
use std::fmt;
use x509_parser::certificate::X509Certificate;

/// A certificate chain, leaf first, and its private key.
#[derive(PartialEq, Eq)]
pub struct KeyPair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    fingerprint: [u8; 32],
}

impl KeyPair {
    /// Reads a chain and a key from PEM. The key may also stand among the certificates.
    ///
    /// # Errors
    /// [`CertificateError`] says what is at fault.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        Self::with_authority(certificate, key, b"")
    }

    /// The same with the CA that must have signed the certificate, directly or over the chain; it continues the chain.
    /// Empty means that anybody may have signed.
    ///
    /// # Errors
    /// [`CertificateError`] says what is at fault.
    pub fn with_authority(certificate: &[u8], key: &[u8], authority: &[u8]) -> Result<Self, CertificateError> {
        let authorities = if authority.is_empty() {
            Vec::new()
        } else {
            read_bundle(authority).map_err(|error| CertificateError::Authority(error.to_string()))?
        };
        Self::read(certificate, key, authorities, check)
    }

    /// The same without a look at who signed, and how. A CA that cannot be read is left out.
    ///
    /// # Errors
    /// [`CertificateError`] says why it cannot be served.
    pub fn without_validation(certificate: &[u8], key: &[u8], authority: &[u8]) -> Result<Self, CertificateError> {
        Self::read(certificate, key, read_bundle(authority).unwrap_or_default(), |chain, _| parsed(chain).map(drop))
    }

    fn read(
        certificate: &[u8],
        key: &[u8],
        authorities: Vec<CertificateDer<'static>>,
        check: impl FnOnce(&[CertificateDer<'_>], &[CertificateDer<'_>]) -> Result<(), CertificateError>,
    ) -> Result<Self, CertificateError> {
        let blocks = pem::blocks(certificate).map_err(CertificateError::Certificate)?;
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut chain: Vec<CertificateDer<'static>> = Vec::new();
        for block in blocks {
            match block {
                Block::Certificate(der) => chain.push(der.into()),
                Block::PrivateKey(der) => keys.push(der),
                Block::PublicKey => {}
            }
        }
        check(&chain, &authorities)?;
        let blocks = pem::blocks(key).map_err(CertificateError::Key)?;
        keys.extend(blocks.into_iter().filter_map(|block| match block {
            Block::PrivateKey(der) => Some(der),
            Block::Certificate(_) | Block::PublicKey => None,
        }));
        let key = key_of(&chain, keys)?;
        for authority in authorities {
            if !chain.contains(&authority) {
                chain.push(authority);
            }
        }
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

/// Reads the first certificate of a PEM text that may hold keys and more certificates, as the file of a server does.
///
/// # Errors
/// [`CertificateError::Certificate`] where there is none.
pub fn read_leaf(pem: &[u8]) -> Result<CertificateDer<'static>, CertificateError> {
    let blocks = pem::blocks(pem).map_err(CertificateError::Certificate)?;
    let mut certificates = blocks.into_iter().filter_map(|block| match block {
        Block::Certificate(der) => Some(der.into()),
        Block::PrivateKey(_) | Block::PublicKey => None,
    });
    certificates.next().ok_or_else(|| CertificateError::Certificate("it holds none".into()))
}

/// Reads a bundle of CA certificates.
///
/// # Errors
/// [`CertificateError::Certificate`] as for a chain.
pub fn read_bundle(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let blocks = pem::blocks(pem).map_err(CertificateError::Certificate)?;
    let bundle: Vec<CertificateDer<'static>> = blocks
        .into_iter()
        .filter_map(|block| match block {
            Block::Certificate(der) => Some(der.into()),
            Block::PrivateKey(_) | Block::PublicKey => None,
        })
        .collect();
    check(&bundle, &[])?;
    Ok(bundle)
}

/// Why TLS material cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The certificate, or one of its chain.
    #[error("the certificate cannot be used: {0}")]
    Certificate(String),
    /// The CA that must have signed the certificate.
    #[error("the CA certificate cannot be used: {0}")]
    Authority(String),
    /// The private key.
    #[error("the private key cannot be used: {0}")]
    Key(String),
}

fn parsed<'c>(chain: &'c [CertificateDer<'_>]) -> Result<Vec<X509Certificate<'c>>, CertificateError> {
    if chain.is_empty() {
        return Err(CertificateError::Certificate("there is no PEM block of type CERTIFICATE".into()));
    }
    chain::parse(chain).map_err(CertificateError::Certificate)
}

fn check(chain: &[CertificateDer<'_>], authorities: &[CertificateDer<'_>]) -> Result<(), CertificateError> {
    let chain = parsed(chain)?;
    chain::refuse_weak_signatures(&chain).map_err(CertificateError::Certificate)?;
    if authorities.is_empty() {
        return Ok(());
    }
    let authorities = chain::parse(authorities).map_err(CertificateError::Authority)?;
    if chain::leads_to(&chain, &authorities) {
        Ok(())
    } else {
        Err(CertificateError::Authority("it did not sign the certificate".into()))
    }
}

/// The key that belongs to the leaf.
fn key_of(chain: &[CertificateDer<'_>], keys: Vec<Vec<u8>>) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let fault = |message: &str| CertificateError::Key(message.into());
    if keys.is_empty() {
        return Err(fault("there is no PEM block of a private key"));
    }
    let certificates = chain::parse(chain).map_err(CertificateError::Certificate)?;
    let public: Vec<&[u8]> = certificates.iter().map(|one| one.tbs_certificate.subject_pki.raw).collect();
    let mut refused = fault(KINDS);
    for der in keys {
        let Some((key, own)) = read_key(der) else { continue };
        match public.iter().position(|public| *public == own.as_ref()) {
            Some(0) => return Ok(key),
            Some(place) => {
                let message = format!(
                    "it belongs to certificate {}, which must come first: a chain begins with its leaf",
                    place + 1
                );
                refused = CertificateError::Key(message);
            }
            None => refused = fault("it does not belong to the certificate"),
        }
    }
    Err(refused)
}

/// A private key in one of the forms that the server can use, and its public key.
fn read_key(der: Vec<u8>) -> Option<(PrivateKeyDer<'static>, SubjectPublicKeyInfoDer<'static>)> {
    let key = PrivateKeyDer::try_from(der).ok()?;
    let public = ring::sign::any_supported_type(&key).ok()?.public_key()?.into_owned();
    Some((key, public))
}

const KINDS: &str = "it is none of RSA of at least 2048 bits, ECDSA over P-256 or P-384, Ed25519";

#[cfg(test)]
mod tests;
