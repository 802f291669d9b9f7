//! TLS towards clients: key pairs of routes flow in, for each connection the rustls configuration that serves its name
//! flows out. A configuration is built once for each key pair and lives on while nothing about it changes.

mod default;
mod names;

pub(crate) use default::self_signed;
pub(crate) use names::CertificateNames;

use nearside_routing::certificate::KeyPair;
use nearside_routing::table::RouteTable;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::ProducesTickets;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// A certificate, ready to serve.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// For handshakes.
    pub(crate) config: Arc<ServerConfig>,
    /// The names that it is valid for.
    pub(crate) names: CertificateNames,
}

impl Certificate {
    /// Makes a key pair ready to serve.
    ///
    /// # Errors
    /// [`CertificateMismatch`] if certificate and key do not belong together.
    pub(crate) fn new(pair: &KeyPair) -> Result<Self, CertificateMismatch> {
        let names = pair.chain().first().map(CertificateNames::of).unwrap_or_default();
        Ok(Self { config: server_config(pair)?, names })
    }
}

/// A key pair that cannot serve.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the certificate and the private key cannot be used together: {0}")]
pub(crate) struct CertificateMismatch(rustls::Error);

/// The configuration for one key pair.
///
/// # Errors
/// [`CertificateMismatch`] if certificate and key do not belong together.
pub(crate) fn server_config(pair: &KeyPair) -> Result<Arc<ServerConfig>, CertificateMismatch> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(pair.chain().to_vec(), pair.key().clone_key())
        })
        .map_err(CertificateMismatch)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if let Some(ticketer) = ticketer() {
        config.ticketer = ticketer;
    }
    Ok(Arc::new(config))
}

/// One ticketer for all names, so that sessions resume whatever is rebuilt. Without client certificates a session proves
/// nothing that another name would grant more for.
fn ticketer() -> Option<Arc<dyn ProducesTickets>> {
    static TICKETER: OnceLock<Option<Arc<dyn ProducesTickets>>> = OnceLock::new();
    TICKETER.get_or_init(|| ring::Ticketer::new().ok()).clone()
}

/// The certificates of a route table.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    by_fingerprint: Arc<HashMap<[u8; 32], Option<Arc<Certificate>>>>,
    default: Arc<Certificate>,
}

impl Certificates {
    /// Only the default certificate.
    pub(crate) fn new(default: Arc<Certificate>) -> Self {
        Self { by_fingerprint: Arc::default(), default }
    }

    /// The certificates of a table; those that were there already are kept.
    #[must_use]
    pub(crate) fn follow(&self, routes: &RouteTable) -> Self {
        let mut by_fingerprint = HashMap::new();
        for host in routes.hosts() {
            let Some(pair) = &host.certificate else { continue };
            by_fingerprint.entry(pair.fingerprint()).or_insert_with(|| {
                if let Some(known) = self.by_fingerprint.get(&pair.fingerprint()) {
                    return known.clone();
                }
                match Certificate::new(pair) {
                    Ok(certificate) => Some(Arc::new(certificate)),
                    Err(error) => {
                        let object = host.routes.first().map(|route| route.source.to_string()).unwrap_or_default();
                        tracing::error!(
                            host = %host.pattern, object, %error,
                            "the default certificate is served instead; check the certificate and key of this object"
                        );
                        None
                    }
                }
            });
        }
        Self { by_fingerprint: Arc::new(by_fingerprint), default: Arc::clone(&self.default) }
    }

    /// The certificate that a client sees that asks for this name.
    pub(crate) fn serving(&self, routes: &RouteTable, server_name: Option<&str>) -> &Arc<Certificate> {
        let own = server_name.and_then(|name| routes.certificate(name));
        own.and_then(|pair| self.by_fingerprint.get(&pair.fingerprint())?.as_ref()).unwrap_or(&self.default)
    }
}
