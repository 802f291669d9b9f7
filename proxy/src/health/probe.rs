//! One check of one endpoint: where and how flows in, whether it passed flows out. Reaches the pod as a request would, on a
//! connection that is used for nothing else. One of the few modules that name Pingora types.

use super::check::{CheckKind, CheckedTls};
use super::plan::Planned;
use crate::limits::CHECK_TIME;
use http::header::{CONNECTION, HOST, USER_AGENT};
use pingora::connectors::TransportConnector;
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{ErrorType, Result};
use std::io::ErrorKind;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Does checks.
pub(super) struct Probe(TransportConnector);

impl Probe {
    pub(super) fn new() -> Self {
        Self(TransportConnector::new(None))
    }

    /// Whether the endpoint passes, within the time that a check has. `None` where nothing was learned of it, because this host
    /// has no port left to ask it from.
    pub(super) async fn passes(&self, kind: &CheckKind, planned: &Planned) -> Option<bool> {
        let check = async {
            match (&kind.tls, kind.path.as_deref().filter(|_| !planned.h2c)) {
                (None, None) => match TcpStream::connect(planned.address).await {
                    Err(error) if error.kind() == ErrorKind::AddrNotAvailable => None,
                    connected => Some(connected.is_ok()),
                },
                (_, path) => match (self.connect(kind, planned).await, path) {
                    (Ok(_), None) => Some(true),
                    (Ok(stream), Some(path)) => {
                        Some(ask(stream, path, planned).await.is_ok_and(|status| (200..400).contains(&status)))
                    }
                    (Err(error), _) if *error.root_etype() == ErrorType::BindError => None,
                    (Err(_), _) => Some(false),
                },
            }
        };
        timeout(CHECK_TIME, check).await.unwrap_or(Some(false))
    }

    async fn connect(&self, kind: &CheckKind, planned: &Planned) -> Result<Stream> {
        let tls = kind.tls.is_some();
        let server_name = match &kind.tls {
            None => String::new(),
            Some(CheckedTls { name: Some(name), .. }) => name.to_string(),
            Some(_) => format!("{}.{}.svc", planned.service.name, planned.service.namespace),
        };
        let mut peer = HttpPeer::new(planned.address, tls, server_name);
        peer.options.verify_cert = planned.ca.is_some();
        peer.options.verify_hostname = planned.ca.as_ref().is_some_and(|ca| ca.names);
        peer.options.ca = planned.ca.as_ref().map(|ca| ca.bundle.clone());
        peer.options.set_http_version(1, 1);
        self.0.new_stream(&peer).await
    }
}

/// The status of the answer. `Host` is the pod's address, as in the probes of Kubernetes.
async fn ask(stream: Stream, path: &str, planned: &Planned) -> Result<u16> {
    let mut session = HttpSession::new(stream);
    let mut request = RequestHeader::build("GET", path.as_bytes(), Some(3))?;
    request.insert_header(HOST, planned.address.to_string())?;
    request.insert_header(USER_AGENT, "nearside-health-check")?;
    request.insert_header(CONNECTION, "close")?;
    session.write_request_header(Box::new(request)).await?;
    session.read_response().await?;
    let status = session.resp_header().map_or(0, |response| response.status.as_u16());
    session.shutdown().await;
    Ok(status)
}
