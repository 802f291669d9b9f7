//! The file of `publish` and `plan`: YAML flows in, zones with their servers and keys flow out, or every mistake at once, each with
//! its path. Read once at start; a changed file needs a restart, a changed secret does not.

mod document;

use crate::limits::{MAX_KEYS, MAX_SERVERS, MAX_ZONES};
use crate::name::Name;
use crate::wire::tsig::{Algorithm, UnknownAlgorithm};
use document::{Entry, Mistakes};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// What is to be published where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Who writes: part of every marker. Must differ between clusters that share a zone.
    pub cluster: String,
    /// Where the last known good is kept, if anywhere.
    pub state_dir: Option<PathBuf>,
    /// At least one, no two with the same origin. A name belongs to the longest zone that it is within.
    pub zones: Vec<PublishedZone>,
}

impl Publication {
    /// What it comes down to, in one line.
    pub fn summary(&self) -> String {
        let updated = |zone: &PublishedZone| zone.servers.iter().filter(|server| server.update).count();
        let zone = |zone: &PublishedZone| format!("{} on {} of {}", zone.origin, updated(zone), zone.servers.len());
        let zones: Vec<String> = self.zones.iter().map(zone).collect();
        format!(
            "cluster {}; zones with the servers that are updated, of those that are asked: {}",
            self.cluster,
            zones.join(", ")
        )
    }
}

/// A zone on the servers of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedZone {
    /// The name of the apex.
    pub origin: Name,
    /// Nobody else writes there: what nobody desires is garbage.
    pub dedicated: bool,
    /// Names that may be taken over though nobody has marked them; all of them within the zone.
    pub adopt: BTreeSet<Name>,
    /// At least one, no two with the same address, at least one that is updated.
    pub servers: Vec<Server>,
}

/// A name server of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it is asked and told, over UDP and TCP.
    pub address: SocketAddr,
    /// With which keys; the first that the server knows is used.
    pub keys: Vec<KeySource>,
    /// Whether it takes updates; else it is only looked at, as a secondary.
    pub update: bool,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file as BIND and `tsig-keygen` write it.
    File(PathBuf),
    /// A secret in base64 in a file of its own.
    Secret {
        /// The name of the key.
        name: Name,
        /// Its algorithm.
        algorithm: Algorithm,
        /// The file of the secret.
        file: PathBuf,
    },
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableFile {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML.
    #[error("{}: {message}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What is wrong, with its place.
        message: String,
    },
    /// What it says cannot be.
    #[error("{}: {}", file.display(), mistakes.join("; "))]
    Content {
        /// The file.
        file: PathBuf,
        /// Each mistake with its path.
        mistakes: Vec<String>,
    },
}

impl UnusableFile {
    /// A line for each mistake, each with the file.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Content { file, mistakes } => {
                mistakes.iter().map(|mistake| format!("{}: {mistake}", file.display())).collect()
            }
            _ => vec![self.to_string()],
        }
    }
}

/// Reads a file.
///
/// # Errors
/// Every mistake.
pub fn read(file: &Path) -> Result<Publication, UnusableFile> {
    let text = std::fs::read_to_string(file).map_err(|source| UnusableFile::Read { file: file.to_owned(), source })?;
    let value = document::parse(&text).map_err(|message| UnusableFile::Syntax { file: file.to_owned(), message })?;
    let mistakes = Mistakes::default();
    let publication = publication(&Entry::root(&value, &mistakes));
    let mistakes = mistakes.into_all();
    match publication {
        Some(publication) if mistakes.is_empty() => Ok(publication),
        _ => Err(UnusableFile::Content { file: file.to_owned(), mistakes }),
    }
}

/// What can be made of it; what cannot has been noted as a mistake.
fn publication(file: &Entry<'_>) -> Option<Publication> {
    file.allow(&["cluster", "stateDir", "zones"]);
    let cluster = file.required("cluster").and_then(|entry| entry.parsed(cluster));
    let state_dir = file.optional("stateDir").and_then(|entry| entry.parsed(path));
    let entries = file.list("zones", 1, MAX_ZONES);
    let zones: Vec<Option<PublishedZone>> = entries.iter().map(zone).collect();
    for (index, zone) in zones.iter().enumerate() {
        let origin = |zone: &Option<PublishedZone>| zone.as_ref().map(|zone| zone.origin.clone());
        if zone.is_some() && zones[..index].iter().any(|other| origin(other) == origin(zone)) {
            entries[index].field("zone").mistake("this zone is listed twice; list all its servers in one entry");
        }
    }
    Some(Publication { cluster: cluster?, state_dir, zones: zones.into_iter().collect::<Option<_>>()? })
}

fn zone(entry: &Entry<'_>) -> Option<PublishedZone> {
    entry.allow(&["zone", "dedicated", "adopt", "servers"]);
    let origin = entry.required("zone").and_then(|entry| entry.parsed(name_without_wildcard));
    let dedicated = entry.optional("dedicated").and_then(|entry| entry.boolean()).unwrap_or(false);
    let mut adopt = BTreeSet::new();
    for entry in entry.list("adopt", 0, usize::MAX) {
        let Some(name) = entry.parsed(|text| text.parse::<Name>().map_err(|error| error.to_string())) else { continue };
        match &origin {
            Some(origin) if !name.is_within(origin) => {
                entry.mistake(&format!("\"{name}\" is outside of the zone {origin}; write the whole name"));
            }
            _ if !adopt.insert(name) => entry.mistake("this name is listed twice"),
            _ => {}
        }
    }
    let entries = entry.list("servers", 1, MAX_SERVERS);
    let servers: Vec<Option<Server>> = entries.iter().map(server).collect();
    for (index, server) in servers.iter().enumerate() {
        let address = |server: &Option<Server>| server.as_ref().map(|server| server.address);
        if server.is_some() && servers[..index].iter().any(|other| address(other) == address(server)) {
            entries[index].field("address").mistake("this server is listed twice");
        }
    }
    let servers = servers.into_iter().collect::<Option<Vec<Server>>>()?;
    if !servers.is_empty() && !servers.iter().any(|server| server.update) {
        entry.field("servers").mistake("none of them takes updates (update: false); nothing could be published");
    }
    Some(PublishedZone { origin: origin?, dedicated, adopt, servers })
}

fn server(entry: &Entry<'_>) -> Option<Server> {
    entry.allow(&["address", "keys", "update"]);
    let address = entry.required("address").and_then(|entry| entry.parsed(socket_address));
    let update = entry.optional("update").and_then(|entry| entry.boolean()).unwrap_or(true);
    // Two while one is replaced by the other; a server that is only asked needs none.
    let entries = entry.list("keys", usize::from(update), MAX_KEYS);
    let keys: Vec<Option<KeySource>> = entries.iter().map(key).collect();
    for (index, key) in keys.iter().enumerate() {
        if key.is_some() && keys[..index].contains(key) {
            entries[index].mistake("this key is listed twice");
        }
    }
    Some(Server { address: address?, keys: keys.into_iter().collect::<Option<_>>()?, update })
}

fn key(entry: &Entry<'_>) -> Option<KeySource> {
    entry.allow(&["file", "name", "algorithm", "secretFile"]);
    let Some(file) = entry.optional("file") else {
        let name = entry.required("name").and_then(|entry| entry.parsed(name_without_wildcard));
        let algorithm = entry.required("algorithm").and_then(|entry| entry.parsed(algorithm_of));
        let file = entry.required("secretFile").and_then(|entry| entry.parsed(path));
        return Some(KeySource::Secret { name: name?, algorithm: algorithm?, file: file? });
    };
    for field in ["name", "algorithm", "secretFile"] {
        if let Some(field) = entry.optional(field) {
            field.mistake("is said by the file; give either `file` or the three others");
        }
    }
    file.parsed(path).map(KeySource::File)
}

fn cluster(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if (1..=MAX_CLUSTER).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(format!("\"{text}\" is not one to {MAX_CLUSTER} letters, digits, '.', '-' and '_'"))
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn name_without_wildcard(text: &str) -> Result<Name, String> {
    match text.parse::<Name>() {
        Ok(name) if name.is_wildcard() => Err(format!("\"{text}\" is a wildcard")),
        Ok(name) => Ok(name),
        Err(error) => Err(format!("\"{text}\" {error}")),
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let bare = || text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let address = text.parse().ok().or_else(|| bare().map(|ip| SocketAddr::new(ip, DNS_PORT)));
    match address {
        Some(address) if address.ip().is_unspecified() || address.port() == 0 || address.ip().is_multicast() => {
            Err(format!("\"{text}\" is no address at which a server can be reached"))
        }
        Some(address) => Ok(address),
        None => Err(format!("\"{text}\" is no IP address, with or without a port: IP, IP:PORT or [IPV6]:PORT")),
    }
}

fn algorithm_of(text: &str) -> Result<Algorithm, String> {
    text.trim_end_matches('.').parse().map_err(|error: UnknownAlgorithm| format!("\"{text}\" {error}"))
}

/// Characters of the name of a cluster: a marker is one string of a TXT record.
const MAX_CLUSTER: usize = 63;

const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests;
