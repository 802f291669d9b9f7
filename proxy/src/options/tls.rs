//! Flags on TLS: paths and words flow in, checked settings flow out, with the first content of every file.

use super::Mistakes;
use crate::tls::agreement::{Chosen, Version, groups, suites};
use crate::tls::{Agreement, Demand, TlsFiles, TlsMaterial};
use regex::bytes::Regex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct TlsArguments {
    /// The certificate for hosts without one of their own, PEM; a directory stands for its `tls.crt`, with the key there
    /// or in `tls.key`; PEM itself stands for itself. Read again when it changes. [default: one that the proxy makes for itself]
    #[arg(long, env = "NEARSIDE_DEFAULT_CERT", value_name = "PATH")]
    default_cert: Option<String>,
    /// The private key of the default certificate, PEM. [default: in the file of --default-cert]
    #[arg(long, env = "NEARSIDE_DEFAULT_KEY", value_name = "FILE")]
    default_key: Option<String>,
    /// Refuse TLS connections that name no host or an unknown one, instead of showing the default certificate.
    #[arg(long, env = "NEARSIDE_STRICT_SNI")]
    strict_sni: bool,
    /// The CAs of pods behind reencrypt routes that name none, PEM; the pod's certificate must then be valid for
    /// `SERVICE.NAMESPACE.svc`. Read again when it changes. [default: such pods are not verified]
    #[arg(long, env = "NEARSIDE_DESTINATION_CA", value_name = "FILE")]
    destination_ca: Option<String>,
    /// Speak only HTTP/1.1 with clients over TLS and with pods over TLS.
    #[arg(long, env = "NEARSIDE_DISABLE_HTTP2")]
    disable_http2: bool,
    /// The oldest TLS version: `1.2` or `1.3`. Older ones are understood and not offered.
    #[arg(long, env = "NEARSIDE_TLS_MIN_VERSION", value_name = "VERSION", default_value = "1.2")]
    tls_min_version: String,
    /// The newest TLS version: `1.2` or `1.3`.
    #[arg(long, env = "NEARSIDE_TLS_MAX_VERSION", value_name = "VERSION", default_value = "1.3")]
    tls_max_version: String,
    /// Cipher suites in the names of OpenSSL or IANA, separated by colons, or a profile: `modern`, `intermediate`, `old`.
    /// [default: every one that is offered]
    #[arg(long, env = "NEARSIDE_TLS_CIPHER_SUITES", value_name = "LIST")]
    tls_cipher_suites: Option<String>,
    /// Key exchange groups, separated by colons. [default: X25519:P-256:P-384]
    #[arg(long, env = "NEARSIDE_TLS_CURVES", value_name = "LIST")]
    tls_curves: Option<String>,
    /// From the start of a TLS connection to the end of its ClientHello.
    #[arg(long, env = "NEARSIDE_CLIENT_HELLO_TIMEOUT", value_name = "DURATION", default_value = "5s")]
    client_hello_timeout: String,
    /// Whether clients show a certificate where TLS ends at the proxy: `none`, `optional` or `required`.
    #[arg(long, env = "NEARSIDE_CLIENT_TLS", value_name = "DEMAND", default_value = "none")]
    client_tls: String,
    /// The CAs of clients, PEM. Read again when it changes. Required with --client-tls.
    #[arg(long, env = "NEARSIDE_CLIENT_TLS_CA", value_name = "FILE")]
    client_tls_ca: Option<String>,
    /// Revocation lists of these CAs and of those below them, PEM. Read again when it changes.
    #[arg(long, env = "NEARSIDE_CLIENT_TLS_CRL", value_name = "FILE")]
    client_tls_crl: Option<String>,
    /// A regular expression that the subject of a client's certificate, as `/C=DE/O=Shop/CN=client`, must match
    /// somewhere; others get 403.
    #[arg(long, env = "NEARSIDE_CLIENT_TLS_FILTER", value_name = "REGEX")]
    client_tls_filter: Option<String>,
    /// Whether `X-SSL-*` fields that a client sends are removed: `true` or `false`.
    #[arg(long, env = "NEARSIDE_CLIENT_TLS_HEADER_FILTER", value_name = "BOOLEAN", default_value = "true")]
    client_tls_header_filter: String,
}

/// How TLS connections are served.
#[derive(Clone, Debug)]
pub(crate) struct TlsConfig {
    /// What clients and proxy may agree on.
    pub(crate) agreement: Arc<Agreement>,
    /// The files to follow.
    pub(crate) files: TlsFiles,
    /// What they held at the start.
    pub(crate) material: TlsMaterial,
    /// Whether a connection must name a host that is served.
    pub(crate) strict_sni: bool,
    /// Whether pods over TLS may be asked over HTTP/2.
    pub(crate) http2: bool,
    /// For the ClientHello.
    pub(crate) hello_time: Duration,
    /// What the subject of a client's certificate must match.
    pub(crate) client_filter: Option<Regex>,
    /// Whether fields that tell of a client's certificate are removed from requests.
    pub(crate) header_filter: bool,
    /// What has no effect of the flags, for the log.
    pub(crate) notes: Vec<String>,
}

impl TlsArguments {
    /// `None` only with a mistake.
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> Option<TlsConfig> {
        let mut notes = Vec::new();
        let files = TlsFiles {
            default: self.default_files(mistakes),
            clients: self.clients(mistakes),
            destination_ca: path(&self.destination_ca).map(PathBuf::from),
        };
        let material = files
            .read()
            .map_err(|errors| errors.into_iter().for_each(|error| mistakes.add(error.flag, error.message)))
            .ok();
        let versions = self.versions(mistakes, &mut notes);
        let suites = chosen(mistakes, &mut notes, "tls-cipher-suites", &self.tls_cipher_suites, suites);
        let groups = chosen(mistakes, &mut notes, "tls-curves", &self.tls_curves, groups);
        let agreement = Agreement::new(versions, suites, groups, !self.disable_http2)
            .map_err(|message| mistakes.add("tls-max-version", message))
            .ok();
        let client_filter = path(&self.client_tls_filter).and_then(|text| {
            Regex::new(text).map_err(|error| mistakes.add("client-tls-filter", error.to_string())).ok()
        });
        let hello_time = mistakes.timeout("client-hello-timeout", &self.client_hello_timeout);
        let header_filter = mistakes.one_of(
            "client-tls-header-filter",
            &self.client_tls_header_filter,
            &[("true", true), ("false", false)],
        );
        Some(TlsConfig {
            agreement: Arc::new(agreement?),
            files,
            material: material?,
            strict_sni: self.strict_sni,
            http2: !self.disable_http2,
            hello_time,
            client_filter,
            header_filter,
            notes,
        })
    }

    fn default_files(&self, mistakes: &mut Mistakes) -> Option<(PathBuf, PathBuf)> {
        let (certificate, key) = (path(&self.default_cert), path(&self.default_key));
        let Some(certificate) = certificate.map(Path::new) else {
            if key.is_some() {
                mistakes.add("default-cert", "is required with --default-key");
            }
            return None;
        };
        if !certificate.is_dir() {
            return Some((certificate.into(), key.map_or(certificate, Path::new).into()));
        }
        let (file, beside) = (certificate.join("tls.crt"), certificate.join("tls.key"));
        let key = match key {
            Some(key) => key.into(),
            None if beside.is_file() => beside,
            None => file.clone(),
        };
        Some((file, key))
    }

    fn clients(&self, mistakes: &mut Mistakes) -> Option<(Demand, PathBuf, Option<PathBuf>)> {
        let demand = mistakes.one_of(
            "client-tls",
            &self.client_tls,
            &[("none", None), ("optional", Some(Demand::Optional)), ("required", Some(Demand::Required))],
        )?;
        let Some(ca) = path(&self.client_tls_ca) else {
            mistakes.add("client-tls-ca", "is required with --client-tls: the CAs whose certificates clients show");
            return None;
        };
        Some((demand, ca.into(), path(&self.client_tls_crl).map(PathBuf::from)))
    }

    fn versions(&self, mistakes: &mut Mistakes, notes: &mut Vec<String>) -> (Version, Version) {
        let mut version = |flag: &'static str, text: &str, instead: Version| {
            Version::parse(text.trim()).unwrap_or_else(|| {
                mistakes.add(flag, format!("{text:?} is not one of 1.2, 1.3"));
                instead
            })
        };
        let oldest = version("tls-min-version", &self.tls_min_version, Version::Tls12);
        let newest = version("tls-max-version", &self.tls_max_version, Version::Tls13);
        if oldest == Version::Old {
            notes.push(format!("--tls-min-version: {} is not offered; TLS 1.2 is the oldest", self.tls_min_version));
        }
        (oldest, newest)
    }
}

/// An empty environment variable means that nothing is given.
fn path(text: &Option<String>) -> Option<&str> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

fn chosen<T>(
    mistakes: &mut Mistakes,
    notes: &mut Vec<String>,
    flag: &'static str,
    text: &Option<String>,
    parse: impl Fn(&str) -> Result<Chosen<T>, String>,
) -> Vec<T> {
    let Some(text) = path(text) else { return Vec::new() };
    match parse(text) {
        Ok(chosen) => {
            if !chosen.left_out.is_empty() {
                notes.push(format!("--{flag}: not offered here and left out: {}", chosen.left_out.join(" ")));
            }
            chosen.offered
        }
        Err(message) => {
            mistakes.add(flag, message);
            Vec::new()
        }
    }
}
