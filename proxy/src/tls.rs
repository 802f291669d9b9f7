//! TLS towards clients: key pairs of routes flow in, for each connection the rustls configuration that serves its name
//! flows out. A configuration is built once for each key pair and lives on while nothing about it changes.

pub(crate) mod agreement;
mod client_authority;
pub(crate) mod client_certificate;
mod default;
mod files;
mod names;
mod resumption;

pub(crate) use agreement::Agreement;
pub(crate) use client_authority::{ClientAuthority, Demand};
pub(crate) use files::{TlsFiles, TlsMaterial, follow};
pub(crate) use names::CertificateNames;

use nearside_routing::certificate::KeyPair;
use nearside_routing::table::RouteTable;
use resumption::Resumption;
use rustls::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::collections::HashMap;
use std::sync::Arc;

/// A certificate, ready to serve.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// For handshakes.
    pub(crate) config: Arc<ServerConfig>,
    /// The names that it is valid for.
    pub(crate) names: CertificateNames,
    key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Makes a key pair ready to serve.
    ///
    /// # Errors
    /// [`Unservable`] if the TLS library refuses it, although it was validated.
    fn new(pair: &KeyPair, agreement: &Agreement, clients: Option<&ClientAuthority>) -> Result<Self, Unservable> {
        let key = CertifiedKey::from_der(pair.chain().to_vec(), pair.key().clone_key(), &agreement.provider);
        let names = pair.chain().first().map(CertificateNames::of).unwrap_or_default();
        Self::with_key(Arc::new(key?), names, agreement, clients)
    }

    fn with_key(
        key: Arc<CertifiedKey>,
        names: CertificateNames,
        agreement: &Agreement,
        clients: Option<&ClientAuthority>,
    ) -> Result<Self, Unservable> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&agreement.provider))
            .with_protocol_versions(&agreement.versions)?;
        let builder = match clients {
            Some(authority) => builder.with_client_cert_verifier(Arc::clone(&authority.verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&key))));
        config.alpn_protocols.clone_from(&agreement.protocols);
        match clients {
            Some(authority) => authority.resumption.apply(&mut config),
            None => Resumption::anonymous().apply(&mut config),
        }
        Ok(Self { config: Arc::new(config), names, key })
    }
}

/// A key pair that cannot serve.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the certificate cannot be served: {0}")]
pub(crate) struct Unservable(#[from] rustls::Error);

/// The certificates of a route table.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    agreement: Arc<Agreement>,
    material: TlsMaterial,
    by_fingerprint: Arc<HashMap<[u8; 32], Option<Arc<Certificate>>>>,
    default: Arc<Certificate>,
}

impl Certificates {
    /// Only the default certificate.
    ///
    /// # Errors
    /// [`Unservable`] for the default certificate.
    pub(crate) fn new(agreement: Arc<Agreement>, material: TlsMaterial) -> Result<Self, Unservable> {
        let default = Arc::new(Certificate::new(&material.default, &agreement, material.clients.as_deref())?);
        Ok(Self { agreement, material, by_fingerprint: Arc::default(), default })
    }

    /// Other files: every configuration is made anew, of the same keys.
    ///
    /// # Errors
    /// [`Unservable`] for the default certificate.
    pub(crate) fn with_material(&self, material: &TlsMaterial) -> Result<Self, Unservable> {
        let mut next = Self::new(Arc::clone(&self.agreement), material.clone())?;
        let again = |(fingerprint, known): (&[u8; 32], &Option<Arc<Certificate>>)| {
            let known = known.as_ref()?;
            let (key, names, clients) = (Arc::clone(&known.key), known.names.clone(), material.clients.as_deref());
            let certificate = Certificate::with_key(key, names, &self.agreement, clients).ok()?;
            Some((*fingerprint, Some(Arc::new(certificate))))
        };
        next.by_fingerprint = Arc::new(self.by_fingerprint.iter().filter_map(again).collect());
        Ok(next)
    }

    /// The certificates of a table; those that were there already are kept.
    #[must_use]
    pub(crate) fn follow(&self, routes: &RouteTable) -> Self {
        let mut by_fingerprint = HashMap::new();
        let pairs = routes.hosts().flat_map(|host| host.certificates().map(move |pair| (host, pair)));
        for (host, pair) in pairs {
            by_fingerprint.entry(pair.fingerprint()).or_insert_with(|| {
                if let Some(known) = self.by_fingerprint.get(&pair.fingerprint()) {
                    return known.clone();
                }
                match Certificate::new(pair, &self.agreement, self.material.clients.as_deref()) {
                    Ok(certificate) => Some(Arc::new(certificate)),
                    Err(error) => {
                        let object = host.routes.first().map(|route| route.source.to_string()).unwrap_or_default();
                        tracing::error!(host = %host.pattern, object, %error, "TLS for this host is refused");
                        None
                    }
                }
            });
        }
        Self { by_fingerprint: Arc::new(by_fingerprint), ..self.clone() }
    }

    /// The certificate that a client sees that asks for this name; `None` where the name has one that cannot be served:
    /// the default certificate would be a wrong one.
    pub(crate) fn serving(&self, routes: &RouteTable, server_name: Option<&str>) -> Option<&Arc<Certificate>> {
        match server_name.and_then(|name| routes.certificate(name)) {
            Some(pair) => self.by_fingerprint.get(&pair.fingerprint())?.as_ref(),
            None => Some(&self.default),
        }
    }

    /// The files that these are made with.
    pub(crate) fn material(&self) -> &TlsMaterial {
        &self.material
    }

    /// Whose certificates clients show; `None` where they are not asked.
    pub(crate) fn clients(&self) -> Option<&Arc<ClientAuthority>> {
        self.material.clients.as_ref()
    }
}
