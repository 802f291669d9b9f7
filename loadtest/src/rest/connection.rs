//! Connections to an API server that are kept: a request flows in, status and body flow out. They live on a thread of their own, so
//! that whoever calls may block.

use super::Kubeconfig;
use crate::background::Background;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// All connections to one server.
#[derive(Debug)]
pub(super) struct Connections {
    upstream: Arc<Upstream>,
    idle: Arc<Mutex<Vec<SendRequest<Full<Bytes>>>>>,
    authorization: Option<HeaderValue>,
    thread: Background,
}

/// Where a server is, and how it is reached.
#[derive(Debug)]
pub(crate) struct Upstream {
    host: String,
    port: u16,
    prefix: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Upstream {
    pub(crate) fn new(kubeconfig: &Kubeconfig) -> Result<Self> {
        let (host, port) = kubeconfig.authority()?;
        let name = kubeconfig.tls_server_name.clone().unwrap_or_else(|| host.clone());
        let name = ServerName::try_from(name).context("the server's name cannot be asked for by TLS")?;
        let prefix = kubeconfig.server.path().trim_end_matches('/').to_owned();
        Ok(Self { host, port, prefix, tls: kubeconfig.tls()?.map(|config| (config, name)) })
    }

    /// Opens a connection.
    pub(crate) async fn open(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.with_context(|| format!("cannot connect to {}:{}", self.host, self.port))?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => handshake(stream).await,
            Some((config, name)) => {
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
                handshake(connector.connect(name.clone(), stream).await.context("TLS handshake")?).await
            }
        }
    }

    /// The value of `Host`.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The path at the server for a path of the API.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

async fn handshake(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

impl Connections {
    pub(super) fn new(kubeconfig: &Kubeconfig) -> Result<Self> {
        let authorization = match &kubeconfig.credentials.token {
            None => None,
            Some(token) => Some(HeaderValue::try_from(format!("Bearer {token}")).context("the token is no header")?),
        };
        Ok(Self {
            upstream: Arc::new(Upstream::new(kubeconfig)?),
            idle: Arc::default(),
            authorization,
            thread: Background::start()?,
        })
    }

    /// Sends a request and waits for the whole answer.
    pub(super) fn send(&self, method: &str, path: &str, media_type: &str, body: String) -> Result<(u16, Bytes)> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.upstream.path(path))
            .header(HOST, self.upstream.authority())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, "nearside-lab");
        if !media_type.is_empty() {
            request = request.header(CONTENT_TYPE, media_type);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::from(body))?;
        let (upstream, idle) = (Arc::clone(&self.upstream), Arc::clone(&self.idle));
        self.thread.run(async move {
            let done = timeout(PATIENCE, exchange(&upstream, &idle, request)).await;
            done.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {PATIENCE:?}")))
        })?
    }
}

async fn exchange(
    upstream: &Upstream,
    idle: &Mutex<Vec<SendRequest<Full<Bytes>>>>,
    request: Request<Full<Bytes>>,
) -> Result<(u16, Bytes)> {
    let kept = || idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
    while let Some(mut sender) = kept() {
        if sender.ready().await.is_err() {
            continue;
        }
        // A server may close what it thinks is idle; what has not been answered is asked once more on a fresh connection.
        match sender.send_request(request.clone()).await {
            Ok(response) => return finish(idle, sender, response).await,
            Err(_) => break,
        }
    }
    let mut sender = upstream.open().await?;
    let response = sender.send_request(request).await?;
    finish(idle, sender, response).await
}

async fn finish(
    idle: &Mutex<Vec<SendRequest<Full<Bytes>>>>,
    sender: SendRequest<Full<Bytes>>,
    response: http::Response<Incoming>,
) -> Result<(u16, Bytes)> {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    Ok((status, body))
}

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(30);
