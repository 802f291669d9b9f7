//! TLS on the admin port: a certificate and its key in files flow in, a configuration for each handshake flows out, with
//! what the files hold now. One of the few modules that name rustls.

use crate::file_stamp::{Stamp, stamp};
use rustls::crypto::ring;
use rustls::{ProtocolVersion, ServerConfig, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the certificate and its key stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) oldest: ProtocolVersion,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--{flag}: {message}")]
pub(crate) struct TlsFileError {
    pub(crate) flag: &'static str,
    pub(crate) message: String,
}

impl TlsFiles {
    /// Reads both files.
    ///
    /// # Errors
    /// [`TlsFileError`] names the flag of the one that cannot be used.
    pub(crate) fn read(&self) -> Result<Arc<ServerConfig>, TlsFileError> {
        let fault = |flag, path: &Path, error: &dyn std::fmt::Display| TlsFileError {
            flag,
            message: format!("{}: {error}", path.display()),
        };
        let certificate = |error: &dyn std::fmt::Display| fault("admin-tls-cert", &self.certificate, error);
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| certificate(&error))?;
        if chain.is_empty() {
            return Err(certificate(&"holds no certificate"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| fault("admin-tls-key", &self.key, &error))?;
        let versions: &[&SupportedProtocolVersion] = if self.oldest == ProtocolVersion::TLSv1_3 {
            &[&version::TLS13]
        } else {
            &[&version::TLS13, &version::TLS12]
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .map_err(|error| certificate(&error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| certificate(&error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// What tells one content of the files from another without reading them.
    fn stamps(&self) -> [Stamp; 2] {
        [&self.certificate, &self.key].map(|path| stamp(path))
    }
}

/// The files, followed.
#[derive(Debug)]
pub(crate) struct FollowedTls {
    files: TlsFiles,
    last: Mutex<([Stamp; 2], Arc<ServerConfig>)>,
}

impl FollowedTls {
    /// Begins with what the files hold.
    ///
    /// # Errors
    /// [`TlsFileError`] where they cannot be used.
    pub(crate) fn new(files: TlsFiles) -> Result<Self, TlsFileError> {
        let stamps = files.stamps();
        let config = files.read()?;
        Ok(Self { files, last: Mutex::new((stamps, config)) })
    }

    /// For the next handshake. A file that cannot be used leaves its last good content in use. Reads files.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let stamps = self.files.stamps();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != stamps {
            last.0 = stamps;
            match self.files.read() {
                Ok(config) => last.1 = config,
                Err(error) => tracing::error!(%error, "a file cannot be used; its last good content holds"),
            }
        }
        Arc::clone(&last.1)
    }
}
