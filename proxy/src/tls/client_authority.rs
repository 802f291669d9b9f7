//! Whose certificates clients may show: a CA and revocation lists flow in, the verifier of handshakes flows out, with a
//! second look at every connection. A resumed session carries the certificate of the handshake before it, so sessions are
//! kept apart for each authority, and what they bring back is verified again as if it were new.

use super::client_certificate::ClientCertificate;
use super::resumption::Resumption;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::sync::Arc;

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// They may; one that cannot be verified ends the handshake.
    Optional,
    /// They must.
    Required,
}

/// One set of CAs and revocation lists.
#[derive(Debug)]
pub(crate) struct ClientAuthority {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) resumption: Resumption,
    demand: Demand,
    identity: Vec<u8>,
}

impl ClientAuthority {
    /// From PEM: certificates of CAs, and revocation lists where certificates may be revoked. With lists, every
    /// certificate below a CA needs one that is not out of date.
    ///
    /// # Errors
    /// What cannot be used.
    pub(crate) fn new(demand: Demand, cas: &[u8], lists: Option<&[u8]>) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for ca in nearside_routing::certificate::read_bundle(cas).map_err(|error| error.to_string())? {
            roots.add(ca).map_err(|error| error.to_string())?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if let Some(lists) = lists {
            let lists: Vec<CertificateRevocationListDer<'static>> = CertificateRevocationListDer::pem_slice_iter(lists)
                .collect::<Result<_, _>>()
                .map_err(|error| format!("the revocation lists cannot be read: {error}"))?;
            if lists.is_empty() {
                return Err("the revocation lists hold no PEM block of type X509 CRL".into());
            }
            builder = builder.with_crls(lists).enforce_revocation_expiration();
        }
        if demand == Demand::Optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(|error| error.to_string())?;
        let identity = [cas, b"\0", lists.unwrap_or_default()].concat();
        Ok(Self { verifier, resumption: Resumption::new(), demand, identity })
    }

    /// Whether clients must show a certificate, whatever a host asks for besides.
    pub(crate) fn is_required(&self) -> bool {
        self.demand == Demand::Required
    }

    /// Whether two authorities accept the same certificates.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.demand == other.demand && self.identity == other.identity
    }

    /// The certificate of a connection, given the chain of its client: leaf first, nothing where it showed nothing. `None`
    /// where the connection must not be served.
    pub(crate) fn verified(&self, chain: Option<&[CertificateDer<'_>]>) -> Option<Option<ClientCertificate>> {
        let Some((leaf, rest)) = chain.and_then(<[_]>::split_first) else {
            return (self.demand == Demand::Optional).then_some(None);
        };
        self.verifier.verify_client_cert(leaf, rest, UnixTime::now()).ok()?;
        Some(Some(ClientCertificate::of(leaf)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    fn ca() -> (String, Issuer<'static, KeyPair>) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
    }

    fn leaf(issuer: &Issuer<'static, KeyPair>, until: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
    }

    #[test]
    fn what_a_session_brings_back_is_verified_as_if_it_were_new() {
        let ((pem, issuer), (_, stranger)) = (ca(), ca());
        for (demand, without) in [(Demand::Optional, true), (Demand::Required, false)] {
            let authority = ClientAuthority::new(demand, pem.as_bytes(), None).unwrap();
            assert!(authority.verified(Some(&[leaf(&issuer, 2090)])).is_some_and(|shown| shown.is_some()));
            assert!(authority.verified(Some(&[leaf(&issuer, 2001)])).is_none(), "expired since");
            assert!(authority.verified(Some(&[leaf(&stranger, 2090)])).is_none());
            for nothing in [None, Some(&[][..])] {
                assert_eq!(authority.verified(nothing).is_some(), without, "{demand:?}");
            }
        }
    }

    #[test]
    fn an_authority_is_the_same_while_all_that_it_was_made_of_is() {
        let (pem, other) = (ca().0, ca().0);
        let make = |demand, pem: &str| ClientAuthority::new(demand, pem.as_bytes(), None).unwrap();
        assert!(make(Demand::Optional, &pem).is(&make(Demand::Optional, &pem)));
        assert!(!make(Demand::Optional, &pem).is(&make(Demand::Required, &pem)));
        assert!(!make(Demand::Optional, &pem).is(&make(Demand::Optional, &other)));
        for (cas, lists) in [("", None), ("text", None), (&*pem, Some("text"))] {
            let made = ClientAuthority::new(Demand::Optional, cas.as_bytes(), lists.map(str::as_bytes));
            assert!(made.is_err(), "{cas} {lists:?}");
        }
    }
}
