//! Whose certificates clients of one host may show: CAs and revocation lists of a Secret flow in, what asks for a certificate
//! in handshakes flows out, and what looks at it afterwards. The handshake proves only that the client holds the key of what
//! it shows. Whether the CAs vouch for it is said to each request, with the CAs and lists of that moment, so that a browser
//! gets a page and a revoked certificate ends also where its connection or session goes on.

use super::resumption::Resumption;
use nearside_routing::certificate::Authority;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// One set of CAs and revocation lists.
#[derive(Debug)]
pub(crate) struct HostAuthority {
    pub(super) asking: Arc<Asking>,
    pub(super) resumption: Resumption,
    verifier: Arc<dyn ClientCertVerifier>,
    fingerprint: [u8; 32],
}

/// What the CAs say of what a client has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verification {
    /// Nothing was shown.
    None,
    /// They vouch for it.
    Success,
    /// They do not.
    Failed {
        /// Why, in the words of OpenSSL.
        reason: &'static str,
        /// Whether nothing is wrong with it but that its CA is none of them.
        unknown_ca: bool,
    },
}

impl HostAuthority {
    /// Of a Secret. `hints` says whether clients are told which CAs are meant: where any is let in, they are not.
    pub(super) fn new(authority: &Authority, hints: bool) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for ca in authority.cas() {
            roots.add(ca.clone()).map_err(|error| error.to_string())?;
        }
        let provider = Arc::new(ring::default_provider());
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if !authority.lists().is_empty() {
            builder = builder.with_crls(authority.lists().iter().cloned()).enforce_revocation_expiration();
        }
        let verifier = builder.build().map_err(|error| error.to_string())?;
        let asking = Arc::new(Asking { verifier: Arc::clone(&verifier), hints });
        Ok(Self { asking, resumption: Resumption::new(), verifier, fingerprint: authority.fingerprint() })
    }

    /// Equal for equal CAs and lists.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Looks at a chain, leaf first, with at most `depth` CAs between the leaf and ours.
    pub(crate) fn verify(&self, chain: &[CertificateDer<'_>], depth: u8) -> Verification {
        let Some((leaf, rest)) = chain.split_first() else { return Verification::None };
        // A client sends its chain in order (RFC 5246 §7.4.2), so that a longer path has no part in what is left.
        let rest = &rest[..rest.len().min(usize::from(depth))];
        match self.verifier.verify_client_cert(leaf, rest, UnixTime::now()) {
            Ok(_) => Verification::Success,
            Err(error) => failed(&error),
        }
    }
}

fn failed(error: &Error) -> Verification {
    let Error::InvalidCertificate(error) = error else {
        return Verification::Failed { reason: OTHERWISE, unknown_ca: false };
    };
    let reason = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate is not yet valid",
        CertificateError::Revoked => "certificate revoked",
        CertificateError::UnknownIssuer => "unable to get local issuer certificate",
        CertificateError::UnknownRevocationStatus => "unable to get certificate CRL",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "CRL has expired"
        }
        _ => OTHERWISE,
    };
    Verification::Failed { reason, unknown_ca: *error == CertificateError::UnknownIssuer }
}

/// Asks for a certificate and has the client prove that it holds the key; nothing else.
#[derive(Debug)]
pub(super) struct Asking {
    verifier: Arc<dyn ClientCertVerifier>,
    hints: bool,
}

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        if self.hints { self.verifier.root_hint_subjects() } else { &[] }
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // See [`HostAuthority::verify`], which every request asks.
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

const OTHERWISE: &str = "certificate verify failed";

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    struct Ca(CertificateDer<'static>, String, Issuer<'static, KeyPair>);

    fn ca(name: &str, above: Option<&Ca>) -> Ca {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = match above {
            Some(above) => params.signed_by(&key, &above.2).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        Ca(certificate.der().clone(), certificate.pem(), Issuer::new(params, key))
    }

    fn leaf(ca: &Ca, until: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.signed_by(&KeyPair::generate().unwrap(), &ca.2).unwrap().der().clone()
    }

    fn unknown(verification: &Verification) -> Option<bool> {
        match verification {
            Verification::Failed { unknown_ca, .. } => Some(*unknown_ca),
            Verification::None | Verification::Success => None,
        }
    }

    #[test]
    fn a_chain_is_followed_as_deep_as_is_allowed() {
        let root = ca("root", None);
        let one = ca("one", Some(&root));
        let two = ca("two", Some(&one));
        let authority = HostAuthority::new(&Authority::from_pem(root.1.as_bytes(), b"").unwrap(), true).unwrap();
        let cases = [
            (vec![leaf(&root, 2090)], 0),
            (vec![leaf(&one, 2090), one.0.clone()], 1),
            (vec![leaf(&two, 2090), two.0.clone(), one.0.clone()], 2),
        ];
        for (chain, needed) in cases {
            for depth in 0..4 {
                let verified = authority.verify(&chain, depth) == Verification::Success;
                assert_eq!(verified, depth >= needed, "{needed} intermediates at depth {depth}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told_and_only_an_unknown_ca_is_forgivable() {
        let (root, stranger) = (ca("root", None), ca("stranger", None));
        let authority = HostAuthority::new(&Authority::from_pem(root.1.as_bytes(), b"").unwrap(), true).unwrap();
        assert_eq!(authority.verify(&[], 1), Verification::None);
        assert_eq!(unknown(&authority.verify(&[leaf(&root, 2001)], 1)), Some(false), "expired");
        assert_eq!(unknown(&authority.verify(&[leaf(&stranger, 2090)], 1)), Some(true));
        assert_eq!(unknown(&authority.verify(&[CertificateDer::from(vec![0_u8; 9])], 1)), Some(false), "no DER");
    }
}
