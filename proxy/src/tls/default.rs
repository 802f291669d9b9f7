//! The certificate for names that have none, where the operator gives none: made anew at each start.

use nearside_routing::certificate::KeyPair;
use rcgen::{CertificateParams, DnType};

/// A self-signed certificate that is valid for no name that anyone asks for.
///
/// # Errors
/// A text that says what the TLS library objects to.
pub(crate) fn self_signed() -> Result<KeyPair, String> {
    let describe = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::new(vec!["nearside-default.invalid".to_owned()]).map_err(describe)?;
    params.distinguished_name.push(DnType::CommonName, "Nearside default certificate");
    let key = rcgen::KeyPair::generate().map_err(describe)?;
    let certificate = params.self_signed(&key).map_err(describe)?;
    KeyPair::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).map_err(|error| error.to_string())
}
