//! TLS material in files: paths flow in, certificates and CAs flow out, and again when a file changes. A file that cannot
//! be used at the start is a mistake in the flags; later the last good content holds and the log says so.

use super::client_authority::{ClientAuthority, Demand};
use super::default::self_signed;
use crate::limits::TLS_FILE_CHECK;
use nearside_admin::file_stamp::{Stamp, stamp};
use nearside_routing::certificate::{KeyPair, read_bundle};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// The files that flags name.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    /// The default certificate and its key; the key may stand in the first file.
    pub(crate) default: Option<(PathBuf, PathBuf)>,
    /// What clients must show, and who signed it; revocation lists where there are any.
    pub(crate) clients: Option<(Demand, PathBuf, Option<PathBuf>)>,
    /// The CAs of pods behind reencrypt routes that name none.
    pub(crate) destination_ca: Option<PathBuf>,
}

/// What the files hold.
#[derive(Clone, Debug)]
pub(crate) struct TlsMaterial {
    /// The certificate for names that have none.
    pub(crate) default: Arc<KeyPair>,
    /// Whose certificates clients show; `None` where they are not asked.
    pub(crate) clients: Option<Arc<ClientAuthority>>,
    /// PEM of the CAs of pods.
    pub(crate) destination_ca: Option<Arc<str>>,
}

/// A file that cannot be used, by the flag that names it.
#[derive(Debug, thiserror::Error)]
#[error("--{flag}: {message}")]
pub(crate) struct TlsFileError {
    /// The flag.
    pub(crate) flag: &'static str,
    /// What is wrong.
    pub(crate) message: String,
}

impl TlsFiles {
    /// Reads every file.
    ///
    /// # Errors
    /// Every one that cannot be used.
    pub(crate) fn read(&self) -> Result<TlsMaterial, Vec<TlsFileError>> {
        let mut errors = Vec::new();
        let mut keep = |error| errors.push(error);
        let default = self.read_default().map_err(&mut keep).ok();
        let clients = self.read_clients().map_err(&mut keep).ok();
        let destination_ca = self.read_destination_ca().map_err(&mut keep).ok();
        match (default, clients, destination_ca) {
            (Some(default), Some(clients), Some(destination_ca)) => {
                Ok(TlsMaterial { default, clients, destination_ca })
            }
            _ => Err(errors),
        }
    }

    /// Reads every file again. What cannot be used, and what has the same content as before, stays as it was.
    fn refresh(&self, last: &TlsMaterial) -> (TlsMaterial, Vec<TlsFileError>) {
        let (mut next, mut errors) = (last.clone(), Vec::new());
        if self.default.is_some() {
            match self.read_default() {
                Ok(pair) if pair == last.default => {}
                Ok(pair) => next.default = pair,
                Err(error) => errors.push(error),
            }
        }
        match self.read_clients() {
            Ok(Some(authority)) if last.clients.as_ref().is_some_and(|last| last.is(&authority)) => {}
            Ok(authority) => next.clients = authority,
            Err(error) => errors.push(error),
        }
        match self.read_destination_ca() {
            Ok(ca) => next.destination_ca = ca,
            Err(error) => errors.push(error),
        }
        (next, errors)
    }

    fn read_default(&self) -> Result<Arc<KeyPair>, TlsFileError> {
        let fault = |message| TlsFileError { flag: "default-cert", message };
        let Some((certificate, key)) = &self.default else {
            return self_signed().map(Arc::new).map_err(fault);
        };
        let (certificate, key) = (read("default-cert", certificate)?, read("default-key", key)?);
        KeyPair::from_pem(&certificate, &key).map(Arc::new).map_err(|error| fault(error.to_string()))
    }

    fn read_clients(&self) -> Result<Option<Arc<ClientAuthority>>, TlsFileError> {
        let Some((demand, ca, lists)) = &self.clients else { return Ok(None) };
        let cas = read("client-tls-ca", ca)?;
        let lists = lists.as_ref().map(|lists| read("client-tls-crl", lists)).transpose()?;
        let authority = ClientAuthority::new(*demand, &cas, lists.as_deref());
        let authority = authority.map_err(|message| TlsFileError { flag: "client-tls-ca", message })?;
        Ok(Some(Arc::new(authority)))
    }

    fn read_destination_ca(&self) -> Result<Option<Arc<str>>, TlsFileError> {
        let Some(path) = &self.destination_ca else { return Ok(None) };
        let fault = |message| TlsFileError { flag: "destination-ca", message };
        let pem = read("destination-ca", path)?;
        read_bundle(&pem).map_err(|error| fault(error.to_string()))?;
        let pem = String::from_utf8(pem).map_err(|error| fault(error.to_string()))?;
        Ok(Some(pem.into()))
    }

    /// All of them.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        let default = self.default.iter().flat_map(|(certificate, key)| [certificate, key]);
        let clients = self.clients.iter().flat_map(|(_, ca, lists)| [Some(ca), lists.as_ref()]).flatten();
        default.chain(clients).chain(&self.destination_ca).map(PathBuf::as_path).collect()
    }

    /// What tells one content of the files from another without reading them.
    fn stamps(&self) -> Vec<Stamp> {
        self.paths().into_iter().map(stamp).collect()
    }
}

/// Follows the files for ever. The receiver sees each new content; it ends where there are no files to follow.
pub(crate) fn follow(files: TlsFiles, first: TlsMaterial) -> watch::Receiver<TlsMaterial> {
    let (sender, receiver) = watch::channel(first);
    if files.paths().is_empty() {
        return receiver;
    }
    tokio::spawn(async move {
        let mut last = (Arc::new(files), sender.borrow().clone(), None);
        loop {
            tokio::time::sleep(TLS_FILE_CHECK).await;
            let (files, material, stamps) = last.clone();
            let checked = spawn_blocking(move || {
                let now = Some(files.stamps());
                if now == stamps {
                    return (files, material, now);
                }
                let (next, errors) = files.refresh(&material);
                for error in errors {
                    tracing::error!(%error, "a file cannot be used; its last good content holds");
                }
                (files, next, now)
            });
            // A panic while reading: what was read before holds.
            let Ok(next) = checked.await else { continue };
            let changed = !next.1.is(&last.1);
            last = next;
            if changed {
                tracing::info!("TLS files have changed");
                sender.send_replace(last.1.clone());
            }
        }
    });
    receiver
}

impl TlsMaterial {
    /// Whether nothing has changed.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let clients = match (&self.clients, &other.clients) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        clients && self.default == other.default && self.destination_ca == other.destination_ca
    }
}

/// The content of a file, or the text itself where it is PEM: the OpenShift router's certificate may stand in a variable.
fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsFileError> {
    if let Some(text) = path.to_str().filter(|text| text.trim_start().starts_with("-----BEGIN ")) {
        return Ok(text.as_bytes().to_vec());
    }
    std::fs::read(path).map_err(|error| TlsFileError { flag, message: format!("{}: {error}", path.display()) })
}
