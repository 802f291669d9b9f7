//! A kubeconfig: the file flows in, the server of its current context and how to talk to it flow out.

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore, crypto};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::{env, fs};

/// The server of a context, and who asks.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    /// `clusters[].cluster.server`.
    pub server: http::Uri,
    /// The name in the server's certificate, where it is not that of the URL.
    pub tls_server_name: Option<String>,
    /// The authorities that the server's certificate may be signed by, PEM.
    pub authorities: Option<Vec<u8>>,
    /// Who asks.
    pub credentials: Credentials,
}

/// How a client says who it is.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Bearer token.
    pub token: Option<String>,
    /// Certificate chain and key, PEM.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl Kubeconfig {
    /// The file that the environment variable `KUBECONFIG` names; `None` when it is not set.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn from_environment() -> Result<Option<Self>> {
        let Some(path) = env::var_os("KUBECONFIG").filter(|path| !path.is_empty()) else { return Ok(None) };
        Self::read(Path::new(&path)).map(Some)
    }

    /// Reads one file.
    ///
    /// # Errors
    /// When it cannot be read, or asks for what is not known here.
    pub fn read(path: &Path) -> Result<Self> {
        let told = || format!("kubeconfig {}", path.display());
        let text = fs::read_to_string(path).with_context(told)?;
        let document: Value = serde_saphyr::from_str(&text).with_context(told)?;
        Self::parse(&document, path.parent().unwrap_or_else(|| Path::new("."))).with_context(told)
    }

    fn parse(document: &Value, folder: &Path) -> Result<Self> {
        let named = |list: &str, name: &Value, field: &str| -> Result<Value> {
            let found = document[list].as_array().into_iter().flatten().find(|entry| entry["name"] == *name);
            Ok(found.with_context(|| format!("no {name} in {list}"))?[field].clone())
        };
        let context = named("contexts", &document["current-context"], "context")?;
        let cluster = named("clusters", &context["cluster"], "cluster")?;
        let user = named("users", &context["user"], "user")?;
        if cluster["insecure-skip-tls-verify"] == true {
            bail!("insecure-skip-tls-verify is not supported: name the authority of the server's certificate");
        }
        let data = |object: &Value, field: &str| -> Result<Option<Vec<u8>>> {
            if let Some(data) = object[format!("{field}-data")].as_str() {
                return Ok(Some(STANDARD.decode(data).with_context(|| format!("{field}-data"))?));
            }
            let Some(file) = object[field].as_str() else { return Ok(None) };
            Ok(Some(fs::read(folder.join(file)).with_context(|| format!("{field} {file}"))?))
        };
        let mut credentials = Credentials {
            token: user["token"].as_str().map(str::to_owned),
            certificate: data(&user, "client-certificate")?.zip(data(&user, "client-key")?),
        };
        if let Some(file) = user["tokenFile"].as_str() {
            let token = fs::read_to_string(folder.join(file)).with_context(|| format!("tokenFile {file}"))?;
            credentials.token = Some(token.trim().to_owned());
        }
        if user["exec"].is_object() {
            credentials = from_program(&user["exec"])?;
        }
        let server = cluster["server"].as_str().context("the cluster has no server")?;
        Ok(Self {
            server: server.parse().with_context(|| format!("server {server}"))?,
            tls_server_name: cluster["tls-server-name"].as_str().map(str::to_owned),
            authorities: data(&cluster, "certificate-authority")?,
            credentials,
        })
    }

    /// What the client's side of TLS needs; `None` for a server without.
    ///
    /// # Errors
    /// When a certificate cannot be read.
    pub fn tls(&self) -> Result<Option<Arc<ClientConfig>>> {
        if self.server.scheme_str() != Some("https") {
            return Ok(None);
        }
        let mut roots = RootCertStore::empty();
        let authorities = self.authorities.as_ref().context("the cluster names no certificate-authority")?;
        for certificate in CertificateDer::pem_slice_iter(authorities) {
            roots.add(certificate?)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match &self.credentials.certificate {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>()?;
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Arc::new(config)))
    }

    /// Host and port of the server.
    ///
    /// # Errors
    /// When the URL has no host.
    pub fn authority(&self) -> Result<(String, u16)> {
        let host = self.server.host().context("the server's URL has no host")?;
        let usual = if self.server.scheme_str() == Some("https") { 443 } else { 80 };
        Ok((host.trim_matches(['[', ']']).to_owned(), self.server.port_u16().unwrap_or(usual)))
    }
}

/// What a credential plugin (`client.authentication.k8s.io`) prints.
fn from_program(exec: &Value) -> Result<Credentials> {
    let program = exec["command"].as_str().context("users[].user.exec has no command")?;
    let mut command = Command::new(program);
    let words = |field: &str| exec[field].as_array().into_iter().flatten().cloned().collect::<Vec<_>>();
    command.args(words("args").iter().filter_map(Value::as_str));
    for variable in words("env") {
        if let (Some(name), Some(value)) = (variable["name"].as_str(), variable["value"].as_str()) {
            command.env(name, value);
        }
    }
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!("{program} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let answer: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{program} printed no JSON"))?;
    let text = |field: &str| answer["status"][field].as_str().map(str::to_owned);
    let pem = |field: &str| text(field).map(String::into_bytes);
    Ok(Credentials { token: text("token"), certificate: pem("clientCertificateData").zip(pem("clientKeyData")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_current_context_counts() {
        let document = json!({
            "current-context": "b",
            "contexts": [
                {"name": "a", "context": {"cluster": "a", "user": "a"}}, {"name": "b", "context": {"cluster": "b", "user": "b"}},
            ],
            "clusters": [
                {"name": "a", "cluster": {"server": "http://a"}},
                {"name": "b", "cluster": {"server": "https://[fd00::1]:6443", "tls-server-name": "kubernetes"}},
            ],
            "users": [{"name": "b", "user": {"token": "secret"}}],
        });
        let config = Kubeconfig::parse(&document, Path::new(".")).expect("a good file");
        assert_eq!(config.authority().expect("an authority"), ("fd00::1".to_owned(), 6443));
        assert_eq!(config.credentials.token.as_deref(), Some("secret"));
        assert_eq!(config.tls_server_name.as_deref(), Some("kubernetes"));
        let mut other = document;
        other["current-context"] = json!("c");
        let error = Kubeconfig::parse(&other, Path::new(".")).expect_err("no such context");
        assert!(error.to_string().contains("\"c\" in contexts"), "{error}");
    }
}
