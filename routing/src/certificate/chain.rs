//! What a chain of certificates must hold to be served: parsed certificates flow in, the first rule that is broken flows
//! out. The clock plays no part: a client decides for itself whether a certificate has expired.

use rustls::crypto::ring;
use rustls_pki_types::CertificateDer;

use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::ToDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::x509::AlgorithmIdentifier;

/// Parses each certificate.
///
/// # Errors
/// Names the place of the first one that is not X.509.
pub(super) fn parse<'c>(chain: &'c [CertificateDer<'_>]) -> Result<Vec<X509Certificate<'c>>, String> {
    let parse = |(place, der): (usize, &'c CertificateDer<'_>)| match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(format!("certificate {} is not X.509: bytes are left over", place + 1)),
        Err(error) => Err(format!("certificate {} is not X.509: {error}", place + 1)),
    };
    chain.iter().enumerate().map(parse).collect()
}

/// Refuses signatures by a CA with a hash that can be forged. What signs itself proves nothing by its signature, so old
/// roots stay usable.
///
/// # Errors
/// Names the hash.
pub(super) fn refuse_weak_signatures(chain: &[X509Certificate<'_>]) -> Result<(), String> {
    for (place, certificate) in chain.iter().enumerate() {
        let oid = certificate.signature_algorithm.algorithm.to_id_string();
        if let Some((_, hash)) = WEAK.iter().find(|(weak, _)| *weak == oid)
            && !signs_itself(certificate)
        {
            return Err(format!("certificate {} is signed by a CA with {hash}, which is not safe", place + 1));
        }
    }
    Ok(())
}

/// Whether `chain`, leaf first, leads to one of `authorities`: over its own further certificates, or at once. One of
/// `authorities` itself is fine as a leaf too.
pub(super) fn leads_to(chain: &[X509Certificate<'_>], authorities: &[X509Certificate<'_>]) -> bool {
    let Some((mut last, rest)) = chain.split_first() else { return false };
    let mut rest: Vec<&X509Certificate<'_>> = rest.iter().collect();
    loop {
        let trusted = |authority: &X509Certificate<'_>| {
            authority.tbs_certificate.as_ref() == last.tbs_certificate.as_ref() || signs(authority, last)
        };
        if authorities.iter().any(trusted) {
            return true;
        }
        let Some(place) = rest.iter().position(|issuer| signs(issuer, last)) else { return false };
        last = rest.swap_remove(place);
    }
}

/// Whether a CA signed a certificate. Where the algorithm is not known here, the names have to do.
fn signs(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    if issuer.subject().as_raw() != certificate.issuer().as_raw() || !is_authority(issuer) {
        return false;
    }
    let key = &issuer.tbs_certificate.subject_pki;
    let (Some(key_id), Some(signature_id)) = (identifier(&key.algorithm), identifier(&certificate.signature_algorithm))
    else {
        return false;
    };
    let known = ring::default_provider().signature_verification_algorithms;
    let mut fitting = known
        .all
        .iter()
        .filter(|known| known.public_key_alg_id().as_ref() == key_id)
        .filter(|known| known.signature_alg_id().as_ref() == signature_id)
        .peekable();
    fitting.peek().is_none()
        || fitting.any(|algorithm| {
            let (message, signature) = (certificate.tbs_certificate.as_ref(), &certificate.signature_value.data);
            algorithm.verify_signature(&key.subject_public_key.data, message, signature).is_ok()
        })
}

/// Version 3 says by an extension whether a certificate may sign others; older ones cannot say.
fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    let constraints = certificate.basic_constraints().ok().flatten();
    constraints.map_or(certificate.version.0 < 2, |constraints| constraints.value.ca)
}

/// As OpenSSL decides: equal names, key identifiers that do not contradict, and a signature of the kind of the own key.
fn signs_itself(certificate: &X509Certificate<'_>) -> bool {
    let extensions = certificate.extensions().iter().map(|extension| extension.parsed_extension());
    let (mut own, mut issuers) = (None, None);
    for extension in extensions {
        match extension {
            ParsedExtension::SubjectKeyIdentifier(id) => own = Some(id),
            ParsedExtension::AuthorityKeyIdentifier(id) => issuers = id.key_identifier.as_ref(),
            _ => {}
        }
    }
    let key = certificate.tbs_certificate.subject_pki.algorithm.algorithm.to_id_string();
    let signature = certificate.signature_algorithm.algorithm.to_id_string();
    certificate.subject().as_raw() == certificate.issuer().as_raw()
        && issuers.is_none_or(|issuer| own == Some(issuer))
        && signature.starts_with(KINDS.iter().find(|(kind, _)| *kind == key).map_or("none", |(_, prefix)| prefix))
}

/// The content of an AlgorithmIdentifier (RFC 5280 §4.1.1.2) in DER, as the TLS library writes it.
fn identifier(algorithm: &AlgorithmIdentifier<'_>) -> Option<Vec<u8>> {
    let mut der = algorithm.algorithm.to_der_vec().ok()?;
    if let Some(parameters) = &algorithm.parameters {
        der.extend(parameters.to_der_vec().ok()?);
    }
    Some(der)
}

/// Signature algorithms whose hash can be forged.
const WEAK: [(&str, &str); 6] = [
    ("1.2.840.113549.1.1.2", "MD2"),
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.3.14.3.2.29", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
    ("1.2.840.10040.4.3", "SHA-1"),
];
/// Kinds of keys, and how the names of their signatures begin.
const KINDS: [(&str, &str); 4] = [
    ("1.2.840.113549.1.1.1", "1.2.840.113549.1.1."),
    ("1.2.840.10045.2.1", "1.2.840.10045.4."),
    ("1.2.840.10040.4.1", "1.2.840.10040.4."),
    ("1.3.101.112", "1.3.101.112"),
];
