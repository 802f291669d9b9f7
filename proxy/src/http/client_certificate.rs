//! Client certificates in requests: the certificate of the connection flows in, whether the request is let in and what the
//! pod is told of it flow out. Called by `decision` and `upstream_header`.

use super::fields::Fields;
use crate::connection::Connection;
use crate::options::TlsConfig;
use crate::tls::client_certificate::fields;
use http::HeaderName;

/// Whether a filter on subjects keeps the request out. Who showed no certificate has no subject that could match.
pub(super) fn is_refused(tls: &TlsConfig, connection: &Connection) -> bool {
    let (Some(filter), Some(shown)) = (&tls.client_filter, connection.certificate.get()) else { return false };
    !shown.as_ref().is_some_and(|certificate| filter.is_match(&certificate.subject))
}

/// Removes what a client says of certificates, and says what was verified where the router asks for them.
pub(super) fn write(tls: &TlsConfig, connection: Option<&Connection>, header: &mut impl Fields) {
    if tls.header_filter {
        let told: Vec<HeaderName> =
            header.all().keys().filter(|name| name.as_str().starts_with("x-ssl")).cloned().collect();
        for name in told {
            header.remove(&name);
        }
    }
    if let Some(shown) = connection.and_then(|connection| connection.certificate.get()) {
        for (name, value) in fields(shown.as_ref()) {
            header.set(&name, value);
        }
    }
}
