//! The writer for a source of manifests: what would be written to the API is written to a directory (`--out`), each file
//! whole or not at all, and only when it changes.
//!
//! `dnsendpoints/NAME.yaml` are complete objects that other programs read as manifests. `status/routes/NAMESPACE.NAME.status`
//! and `status/ingresses/…` hold the status alone, in YAML too, but under a name that no program takes for a manifest.

mod lock;

pub(crate) use lock::{LockError, OutLock};

use crate::clock;
use crate::desired::{
    DnsEndpointIntent, EventIntent, Intent, NO_READY_PODS, Records, RouterIdentity, Target, is_ours, next_addresses,
    next_entries, next_object, summary,
};
use crate::writer::{WriteError, Written};
use nearside_routing::{Kind, ObjectKey};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{fs, mem};

/// A directory that this process alone writes.
pub(crate) struct OutDirectory {
    root: PathBuf,
    namespace: String,
    router: RouterIdentity,
    told: Mutex<BTreeMap<ObjectKey, BTreeSet<EventIntent>>>,
    _lock: OutLock,
}

impl OutDirectory {
    /// `namespace` is written into the DNSEndpoints.
    pub(crate) fn new(lock: OutLock, namespace: &str, router: RouterIdentity) -> Self {
        Self {
            root: lock.directory().to_owned(),
            namespace: namespace.to_owned(),
            router,
            told: Mutex::default(),
            _lock: lock,
        }
    }

    /// What earlier runs have left: the DNSEndpoints of ours, and the status of objects that may be gone.
    pub(crate) fn refresh(&self) -> Result<Vec<Target>, WriteError> {
        let mut found = Vec::new();
        for path in files(&self.root.join(ENDPOINTS), "yaml")? {
            if let Some(name) = path.file_stem().and_then(|name| name.to_str())
                && read(&path)?.is_some_and(|object| {
                    is_ours(&object, &self.router.instance()).is_some_and(|target| *target == *name)
                })
            {
                found.push(Target::DnsEndpoint(name.into()));
            }
        }
        for (kind, directory) in [(Kind::Route, ROUTES), (Kind::Ingress, INGRESSES)] {
            for path in files(&self.root.join(directory), STATUS)? {
                let object = read(&path)?.unwrap_or_default();
                let text = |field: &str| object["object"][field].as_str().unwrap_or_default().to_owned();
                let key = ObjectKey::new(kind, &text("namespace"), &text("name"));
                if self.status_path(&key) == path {
                    found.push(Target::Status(key));
                }
            }
        }
        Ok(found)
    }

    /// Makes a file what it should be.
    pub(crate) fn write(&self, target: &Target, intent: Option<&Intent>) -> Result<Written, WriteError> {
        match (target, intent) {
            (Target::DnsEndpoint(name), Some(Intent::DnsEndpoint(intent))) => self.put_endpoint(name, intent),
            (Target::DnsEndpoint(name), _) => {
                let path = self.endpoint_path(name);
                let ours = |object: &Value| is_ours(object, &self.router.instance()).is_some();
                let Some(object) = read(&path)?.filter(ours) else { return Ok(Written::Unchanged) };
                tracing::info!(host = summary(&object).0, name = &**name, "records withdrawn: nothing claims the host");
                remove(&path)
            }
            (Target::Status(key), Some(intent)) => self.put_status(key, intent),
            (Target::Status(key), None) => {
                self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
                remove(&self.status_path(key))
            }
        }
    }

    fn put_endpoint(&self, name: &str, intent: &DnsEndpointIntent) -> Result<Written, WriteError> {
        let Records::Publish { spec, basis, weights } = &intent.records else {
            return Ok(Written::Unchanged);
        };
        let path = self.endpoint_path(name);
        let current = read(&path)?;
        let Some(next) = next_object(
            current.as_ref(),
            &self.namespace,
            &self.router.instance(),
            &intent.pattern,
            spec,
            *basis,
            weights,
        ) else {
            return Ok(Written::Unchanged);
        };
        replace(&path, &next)?;
        let (host, generation) = summary(&next);
        tracing::info!(host, generation, name, "records written");
        Ok(if current.is_some() { Written::Updated } else { Written::Created })
    }

    fn put_status(&self, key: &ObjectKey, intent: &Intent) -> Result<Written, WriteError> {
        let path = self.status_path(key);
        let current = read(&path)?;
        let list = |pointer: &str| {
            let known = current.as_ref().and_then(|object| object.pointer(pointer));
            known.and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let (status, events) = match intent {
            Intent::Route(route) => {
                let next = next_entries(&list("/status/ingress"), Some(route), &self.router, &clock::now());
                (next.map(|entries| json!({ "ingress": entries })), &route.events)
            }
            Intent::Ingress(ingress) => {
                let next = next_addresses(&list("/status/loadBalancer/ingress"), Some(ingress), None);
                // An Ingress without address has a file too: it says that the Ingress was seen.
                let next = next.or_else(|| current.is_none().then(Vec::new));
                (next.map(|addresses| json!({"loadBalancer": {"ingress": addresses}})), &ingress.events)
            }
            Intent::DnsEndpoint(_) => return Ok(Written::Unchanged),
        };
        self.tell(key, events);
        let Some(status) = status.filter(|_| self.router.writes_status) else { return Ok(Written::Unchanged) };
        let object = json!({
            "object": {"kind": key.kind.name(), "namespace": &*key.namespace, "name": &*key.name},
            "status": status,
        });
        replace(&path, &object)?;
        Ok(if current.is_some() { Written::Updated } else { Written::Created })
    }

    /// Without an API there are no Events; the log says it once per change. Verdicts are logged where they are read.
    fn tell(&self, key: &ObjectKey, events: &BTreeSet<EventIntent>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let known = mem::replace(told.entry(key.clone()).or_default(), events.clone());
        for event in events.difference(&known).filter(|event| event.reason == NO_READY_PODS) {
            tracing::warn!(object = %key, reason = event.reason, "{}", event.message);
        }
    }

    fn endpoint_path(&self, name: &str) -> PathBuf {
        self.root.join(ENDPOINTS).join(format!("{name}.yaml"))
    }

    fn status_path(&self, key: &ObjectKey) -> PathBuf {
        let directory = if key.kind == Kind::Route { ROUTES } else { INGRESSES };
        self.root.join(directory).join(format!("{}.{}.{STATUS}", file_name(&key.namespace), file_name(&key.name)))
    }
}

/// A name as part of a file name: whatever the API would not allow is escaped, so that no manifest names a path elsewhere.
fn file_name(name: &str) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    name.bytes().map(|byte| if allowed(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The files of a directory that have an extension; none where there is no directory.
fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, WriteError> {
    let failed = |source: io::Error| WriteError::File { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let has_extension = |path: &PathBuf| path.extension().is_some_and(|found| found == extension);
    paths.filter(|path| path.as_ref().map_or(true, has_extension)).collect::<io::Result<_>>().map_err(failed)
}

/// The content of a YAML file; `None` where there is none, or where it is not YAML and is to be written anew.
fn read(path: &Path) -> Result<Option<Value>, WriteError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(serde_saphyr::from_str(&text)
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "not readable, written anew"))
            .ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(WriteError::File { path: path.to_owned(), source }),
    }
}

/// Readers see the old content or the new one.
fn replace(path: &Path, content: &Value) -> Result<(), WriteError> {
    let failed = |source: io::Error| WriteError::File { path: path.to_owned(), source };
    let text = serde_saphyr::to_string(content).map_err(|error| failed(io::Error::other(error.to_string())))?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    // The extension keeps readers of manifests off, the lock keeps other writers off.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".partial");
    fs::write(&temporary, text).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)
}

fn remove(path: &Path) -> Result<Written, WriteError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(Written::Deleted),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Written::Unchanged),
        Err(source) => Err(WriteError::File { path: path.to_owned(), source }),
    }
}

const ENDPOINTS: &str = "dnsendpoints";
const ROUTES: &str = "status/routes";
const INGRESSES: &str = "status/ingresses";
/// The extension of status files.
const STATUS: &str = "status";

#[cfg(test)]
mod tests {
    use super::*;
    use nearside_routing::object::{DnsEndpointSpec, RecordSet};
    use nearside_routing::placement::{Basis, dns_endpoint_name};
    use nearside_routing::{HostPattern, Instance};

    fn directory(root: &Path) -> OutDirectory {
        let router = RouterIdentity { name: "default".into(), canonical_hostname: String::new(), writes_status: true };
        OutDirectory::new(OutLock::take(root).unwrap(), "nearside", router)
    }

    fn intent(address: &str) -> (Target, Intent) {
        let pattern = HostPattern::parse("*.example.com").unwrap();
        let set = RecordSet {
            dns_name: "*.example.com".into(),
            record_type: "A".into(),
            targets: vec![address.into()],
            record_ttl: Some(30),
        };
        let spec = DnsEndpointSpec { endpoints: vec![set] };
        let target = Target::DnsEndpoint(dns_endpoint_name(&pattern));
        let records = Records::Publish { spec, basis: Basis::AllServices, weights: String::new() };
        (target, Intent::DnsEndpoint(DnsEndpointIntent { pattern, owner: None, records }))
    }

    #[test]
    fn a_file_is_written_when_it_changes_and_found_again() {
        let root = tempfile::tempdir().unwrap();
        let out = directory(root.path());
        let (target, first) = intent("198.18.0.1");
        assert_eq!(out.write(&target, Some(&first)).unwrap(), Written::Created);
        assert_eq!(out.write(&target, Some(&first)).unwrap(), Written::Unchanged);
        let (_, moved) = intent("198.18.0.2");
        assert_eq!(out.write(&target, Some(&moved)).unwrap(), Written::Updated);
        assert_eq!(out.refresh().unwrap(), vec![target.clone()]);
        let Target::DnsEndpoint(name) = &target else { panic!("not a DNSEndpoint") };
        let object = read(&out.endpoint_path(name)).unwrap().unwrap();
        assert_eq!(summary(&object), ("*.example.com".into(), 2));
        assert_eq!(object["spec"]["endpoints"][0]["targets"], json!(["198.18.0.2"]));
        assert_eq!(out.write(&target, None).unwrap(), Written::Deleted);
        assert!(out.refresh().unwrap().is_empty());
    }

    #[test]
    fn a_file_that_was_cut_is_written_anew() {
        let root = tempfile::tempdir().unwrap();
        let out = directory(root.path());
        let (target, wanted) = intent("198.18.0.1");
        let Target::DnsEndpoint(name) = &target else { panic!("not a DNSEndpoint") };
        fs::create_dir_all(root.path().join(ENDPOINTS)).unwrap();
        fs::write(out.endpoint_path(name), "metadata: {name: [").unwrap();
        out.write(&target, Some(&wanted)).unwrap();
        assert!(is_ours(&read(&out.endpoint_path(name)).unwrap().unwrap(), &Instance::default()).is_some());
    }

    #[test]
    fn a_name_cannot_leave_the_directory() {
        assert_eq!(file_name("../../etc/passwd"), "..%2F..%2Fetc%2Fpasswd");
        assert_eq!(file_name("web-1.example"), "web-1.example");
    }
}
