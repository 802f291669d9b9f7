//! CAs whose certificates others show, clients or pods: PEM flows in, certificates and revocation lists that a verifier can be
//! made of flow out, or the reason why not.

use super::{CertificateError, read_bundle};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;

/// One set of CAs with the revocation lists that go with it.
#[derive(PartialEq, Eq)]
pub struct Authority {
    pem: Box<str>,
    cas: Vec<CertificateDer<'static>>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    fingerprint: [u8; 32],
}

impl Authority {
    /// Reads CAs and, where there are any, revocation lists from PEM.
    ///
    /// # Errors
    /// [`CertificateError::Authority`] says what is at fault.
    pub fn from_pem(cas: &[u8], lists: &[u8]) -> Result<Self, CertificateError> {
        let fault = |message: String| CertificateError::Authority(message);
        let pem = std::str::from_utf8(cas).map_err(|error| fault(error.to_string()))?;
        let mut digest = Sha256::new();
        for part in [cas, lists] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let cas = read_bundle(cas).map_err(|error| match error {
            CertificateError::Certificate(message) => fault(message),
            error => error,
        })?;
        let lists = read_lists(lists).map_err(fault)?;
        let mut roots = RootCertStore::empty();
        for ca in &cas {
            roots.add(ca.clone()).map_err(|error| fault(error.to_string()))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
        builder.with_crls(lists.iter().cloned()).build().map_err(|error| fault(error.to_string()))?;
        Ok(Self { pem: pem.into(), cas, lists, fingerprint: digest.finalize().into() })
    }

    /// The certificates of the CAs as they were written.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificates of the CAs in DER.
    pub fn cas(&self) -> &[CertificateDer<'static>] {
        &self.cas
    }

    /// The revocation lists in DER; empty where certificates are not revoked.
    pub fn lists(&self) -> &[CertificateRevocationListDer<'static>] {
        &self.lists
    }

    /// A hash over all of it: equal for equal material, and for nothing else.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cas, lists) = (self.cas.len(), self.lists.len());
        f.debug_struct("Authority").field("cas", &cas).field("lists", &lists).finish_non_exhaustive()
    }
}

fn read_lists(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    if pem.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let lists: Vec<CertificateRevocationListDer<'static>> = CertificateRevocationListDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the revocation lists cannot be read: {error}"))?;
    if lists.is_empty() {
        return Err("the revocation lists hold no PEM block of type X509 CRL".into());
    }
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyPair};

    fn ca() -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2090, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&Issuer::new(params, key)).unwrap().pem().unwrap();
        (pem, list)
    }

    #[test]
    fn cas_and_lists_are_read_and_what_is_neither_is_refused() {
        let (ca, list) = ca();
        let read = |cas: &str, lists: &str| Authority::from_pem(cas.as_bytes(), lists.as_bytes());
        let both = read(&ca, &list).unwrap();
        assert_eq!((both.cas().len(), both.lists().len(), both.pem()), (1, 1, &*ca));
        assert_ne!(both.fingerprint(), read(&ca, "").unwrap().fingerprint());
        for (cas, lists) in [("", ""), ("text", ""), (&*list, ""), (&*ca, "text"), (&*ca, &*ca)] {
            assert!(matches!(read(cas, lists), Err(CertificateError::Authority(_))), "{cas} {lists}");
        }
    }
}
