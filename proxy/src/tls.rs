//! TLS towards clients: key pairs of routes flow in, for each connection the rustls configuration that serves its name
//! flows out. A configuration is built once for each key pair and lives on while nothing about it changes.

pub(crate) mod agreement;
mod client_authority;
pub(crate) mod client_certificate;
mod default;
mod files;
mod following;
pub(crate) mod host_authority;
mod presented;
mod resumption;
mod tickets;

pub(crate) use agreement::Agreement;
pub(crate) use client_authority::{ClientAuthority, Demand};
pub(crate) use files::{TlsFiles, TlsMaterial, follow};
pub(crate) use following::Following;
pub(crate) use presented::Presented;
pub(crate) use resumption::{adopt_ticket_keys, ticket_keys};
pub(crate) use tickets::TicketKeys;

use host_authority::HostAuthority;
use nearside_routing::certificate::{CertificateNames, KeyPair};
use nearside_routing::policy::client_certificate::Demand as HostDemand;
use nearside_routing::table::{HostClients, RouteTable};
use nearside_routing::{HostPattern, Hostname, SharedMap};
use resumption::Resumption;
use rustls::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::sync::Arc;

/// A certificate, ready to serve.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// For handshakes.
    pub(crate) config: Arc<ServerConfig>,
    /// The names that it is valid for.
    pub(crate) names: CertificateNames,
    /// Whether the host asks for client certificates by rules of its own.
    pub(crate) asks: bool,
    key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Makes a key pair ready to serve.
    ///
    /// # Errors
    /// [`Unservable`] if the TLS library refuses it, although it was validated.
    fn new(pair: &KeyPair, agreement: &Agreement, clients: Asked<'_>) -> Result<Self, Unservable> {
        let key = CertifiedKey::from_der(pair.chain().to_vec(), pair.key().clone_key(), &agreement.provider);
        let names = pair.chain().first().map(CertificateNames::of).unwrap_or_default();
        Self::with_key(Arc::new(key?), names, agreement, clients)
    }

    /// That of the certificate itself (SHA-256), as its holder shows it.
    pub(crate) fn fingerprint(&self) -> Option<[u8; 32]> {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.key.cert.first()?);
        digest.as_ref().try_into().ok()
    }

    fn with_key(
        key: Arc<CertifiedKey>,
        names: CertificateNames,
        agreement: &Agreement,
        clients: Asked<'_>,
    ) -> Result<Self, Unservable> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&agreement.provider))
            .with_protocol_versions(&agreement.versions)?;
        let builder = match clients {
            Asked::ByRouter(authority) => builder.with_client_cert_verifier(Arc::clone(&authority.verifier)),
            Asked::ByHost(authority) => builder.with_client_cert_verifier(Arc::clone(&authority.asking) as _),
            Asked::Nothing => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&key))));
        // The kernel may take sessions over.
        config.enable_secret_extraction = true;
        config.alpn_protocols.clone_from(&agreement.protocols);
        match clients {
            Asked::ByRouter(authority) => authority.resumption.apply(&mut config),
            Asked::ByHost(authority) => authority.resumption.apply(&mut config),
            Asked::Nothing => Resumption::anonymous().apply(&mut config),
        }
        Ok(Self { config: Arc::new(config), names, asks: matches!(clients, Asked::ByHost(_)), key })
    }
}

/// Who asks clients for certificates.
#[derive(Clone, Copy, Debug)]
enum Asked<'a> {
    Nothing,
    ByRouter(&'a ClientAuthority),
    ByHost(&'a HostAuthority),
}

/// Which certificate is shown, by its fingerprint (`None` is the default certificate), and which CAs of a host are asked
/// about what the client shows.
type Served = (Option<[u8; 32]>, Option<AuthorityKey>);

/// The fingerprint of a host's CAs, and whether clients are told which they are.
type AuthorityKey = ([u8; 32], bool);

/// A key pair that cannot serve.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the certificate cannot be served: {0}")]
pub(crate) struct Unservable(#[from] rustls::Error);

/// The certificates of a route table.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    agreement: Arc<Agreement>,
    material: TlsMaterial,
    served: SharedMap<Served, Option<Arc<Certificate>>>,
    authorities: SharedMap<AuthorityKey, HostAuthority>,
    default: Arc<Certificate>,
}

impl Certificates {
    /// Only the default certificate.
    ///
    /// # Errors
    /// [`Unservable`] for the default certificate.
    pub(crate) fn new(agreement: Arc<Agreement>, material: TlsMaterial) -> Result<Self, Unservable> {
        let default = Arc::new(Certificate::new(&material.default, &agreement, by_router(&material))?);
        Ok(Self { agreement, material, served: SharedMap::default(), authorities: SharedMap::default(), default })
    }

    /// Other files: every configuration is made anew, of the same keys.
    ///
    /// # Errors
    /// [`Unservable`] for the default certificate.
    pub(crate) fn with_material(&self, material: &TlsMaterial) -> Result<Self, Unservable> {
        let mut next = Self::new(Arc::clone(&self.agreement), material.clone())?;
        next.authorities = self.authorities.clone();
        let again = |(served, known): (&Served, &Arc<Option<Arc<Certificate>>>)| {
            let known = if served.0.is_some() { Option::as_ref(known)? } else { &next.default };
            let certificate = next.with_key(Arc::clone(&known.key), known.names.clone(), served.1.as_ref()).ok()?;
            Some((*served, Arc::new(Some(Arc::new(certificate)))))
        };
        next.served = self.served.iter().filter_map(again).collect();
        Ok(next)
    }

    /// The certificate that a client sees that asks for this name; `None` where the name has one that cannot be served, or
    /// asks clients for what it cannot verify: any other would be a wrong one.
    pub(crate) fn serving(&self, routes: &RouteTable, server_name: Option<&str>) -> Option<&Arc<Certificate>> {
        let pair = server_name.and_then(|name| routes.certificate(name));
        let clients = server_name.and_then(|name| routes.clients(name)).and_then(|clients| authority_key(clients));
        match (pair.map(|pair| pair.fingerprint()), clients) {
            (None, None) => Some(&self.default),
            served => Option::as_ref(self.served.get(&served)?),
        }
    }

    /// What looks at the certificates of a host's clients; `None` where nobody is let in.
    pub(crate) fn authority(&self, clients: &HostClients) -> Option<&Arc<HostAuthority>> {
        self.authorities.get(&authority_key(clients)?)
    }

    /// What is served, by what tells it from others.
    #[cfg(test)]
    pub(crate) fn told(&self) -> std::collections::BTreeSet<String> {
        let served = self.served.iter().map(|(key, made)| format!("{key:?} {}", made.is_some()));
        served.chain(self.authorities.keys().map(|key| format!("{key:?}"))).collect()
    }

    /// The files that these are made with.
    pub(crate) fn material(&self) -> &TlsMaterial {
        &self.material
    }

    /// Whose certificates clients show; `None` where they are not asked.
    pub(crate) fn clients(&self) -> Option<&Arc<ClientAuthority>> {
        self.material.clients.as_ref()
    }

    fn make(&self, pair: Option<&Arc<KeyPair>>, clients: Option<&AuthorityKey>) -> Result<Certificate, Unservable> {
        match pair {
            Some(pair) => Certificate::new(pair, &self.agreement, self.asked(clients)?),
            None => self.with_key(Arc::clone(&self.default.key), self.default.names.clone(), clients),
        }
    }

    fn with_key(
        &self,
        key: Arc<CertifiedKey>,
        names: CertificateNames,
        clients: Option<&AuthorityKey>,
    ) -> Result<Certificate, Unservable> {
        Certificate::with_key(key, names, &self.agreement, self.asked(clients)?)
    }

    fn asked(&self, clients: Option<&AuthorityKey>) -> Result<Asked<'_>, Unservable> {
        match clients {
            Some(key) => match self.authorities.get(key) {
                Some(authority) => Ok(Asked::ByHost(authority)),
                None => Err(rustls::Error::General("the CAs of clients cannot be used".into()).into()),
            },
            None => Ok(by_router(&self.material)),
        }
    }
}

fn by_router(material: &TlsMaterial) -> Asked<'_> {
    material.clients.as_deref().map_or(Asked::Nothing, Asked::ByRouter)
}

/// `None` where nobody is let in: then nobody is asked.
fn authority_key(clients: &HostClients) -> Option<AuthorityKey> {
    let hints = clients.guard.demand != HostDemand::OptionalOfAnyCa;
    clients.authority.as_ref().map(|authority| (authority.fingerprint(), hints))
}

/// A certificate, `None` for the default one, and what clients are asked for with it.
type Asking<'t> = (Option<&'t Arc<KeyPair>>, Option<&'t Arc<HostClients>>);

/// The certificates that may go with what a host asks clients for. A per-node alias of an exact host may show the certificate
/// of the wildcard above it.
fn guarded<'t>(routes: &'t RouteTable, pattern: &'t HostPattern) -> Vec<Asking<'t>> {
    let (name, domain) = match pattern {
        HostPattern::Exact(name) => (Some(name.as_str()), name.split_first_label().1),
        HostPattern::Wildcard(domain) => (None, Some(domain.as_str())),
        HostPattern::Any => return Vec::new(),
    };
    let wildcard = domain.and_then(|domain| Hostname::parse(domain).ok());
    let wildcard = wildcard.and_then(|domain| routes.host(&HostPattern::Wildcard(domain)));
    let clients = match name {
        Some(name) => routes.clients(name),
        None => wildcard.and_then(|host| host.clients.as_ref()),
    };
    let Some(clients) = clients else { return Vec::new() };
    let own = name.and_then(|name| routes.certificate(name));
    let above = wildcard.into_iter().flat_map(|host| host.certificates()).map(Some);
    above.chain([own, None]).map(|pair| (pair, Some(clients))).collect()
}
