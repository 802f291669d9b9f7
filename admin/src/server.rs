//! The admin port: GET requests of probes, Prometheus and people flow in; health, metrics and pages flow out. Serves only
//! HTTP/1.1, bounded in connections and time, and never touches the data path.

use crate::readiness::Readiness;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// A bound admin port. Add pages, then [`AdminServer::spawn`] it.
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
    pages: Pages,
}

impl AdminServer {
    /// Binds the port and offers `/healthz`, `/healthz/ready` and `/metrics`.
    ///
    /// # Errors
    /// [`AdminError`] names the address that cannot be bound.
    pub async fn bind(address: SocketAddr, readiness: Readiness, registry: Registry) -> Result<Self, AdminError> {
        let failed = |source| AdminError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, pages: Pages { readiness, registry, by_path: BTreeMap::new() } })
    }

    /// The address that was bound; differs from the one asked for where that had port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a page. The path is exact, such as `/routes`; the page is made anew for each request.
    #[must_use]
    pub fn page(mut self, path: &'static str, page: impl Fn() -> Page + Send + Sync + 'static) -> Self {
        self.pages.by_path.insert(path, Box::new(page));
        self
    }

    /// Serves in a task of its own until the runtime ends.
    pub fn spawn(self) {
        tracing::info!(address = %self.address, "admin port open");
        tokio::spawn(serve(self.listener, Arc::new(self.pages)));
    }
}

/// What an admin page shows.
#[derive(Clone, Debug)]
pub struct Page {
    /// The status.
    pub status: StatusCode,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Page {
    /// A JSON page.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type: "application/json", body: body.into() }
    }

    /// A page of plain text.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// The admin port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the admin port {address} cannot be opened: {source}; another program may use it (--admin-listen)")]
pub struct AdminError {
    address: SocketAddr,
    source: io::Error,
}

struct Pages {
    readiness: Readiness,
    registry: Registry,
    by_path: BTreeMap<&'static str, Box<dyn Fn() -> Page + Send + Sync>>,
}

impl Pages {
    fn answer(&self, method: &Method, path: &str) -> Page {
        if method != Method::GET && method != Method::HEAD {
            return Page::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        }
        match path {
            "/healthz" => Page::text(StatusCode::OK, "ok\n"),
            "/healthz/ready" => self.ready(),
            "/metrics" => self.metrics(),
            "/" => self.contents(),
            _ => match self.by_path.get(path) {
                Some(page) => page(),
                None => Page::text(StatusCode::NOT_FOUND, "no such page; / lists them\n"),
            },
        }
    }

    fn ready(&self) -> Page {
        let reasons = self.readiness.reasons();
        if reasons.is_empty() {
            return Page::text(StatusCode::OK, "ok\n");
        }
        Page::text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", reasons.join(", ")))
    }

    fn metrics(&self) -> Page {
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(text) => Page {
                status: StatusCode::OK,
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                body: text.into(),
            },
            Err(error) => Page::text(StatusCode::INTERNAL_SERVER_ERROR, format!("metrics: {error}\n")),
        }
    }

    fn contents(&self) -> Page {
        let built_in = ["/healthz", "/healthz/ready", "/metrics"];
        let all: Vec<&str> = built_in.into_iter().chain(self.by_path.keys().copied()).collect();
        Page::text(StatusCode::OK, all.join("\n") + "\n")
    }
}

async fn serve(listener: TcpListener, pages: Arc<Pages>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // A semaphore that is never closed always gives a permit in the end.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "admin port: accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let pages = Arc::clone(&pages);
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(|request: Request<Incoming>| {
                let page = pages.answer(request.method(), request.uri().path());
                async move { Ok::<_, Infallible>(response(page)) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MAX_HEADER)
                .serve_connection(TokioIo::new(stream), service);
            // A probe that goes away early is no event.
            drop(connection.await);
        });
    }
}

fn response(page: Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(page.body));
    *response.status_mut() = page.status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    response
}

/// Connections at a time; further ones wait in the backlog.
const MAX_CONNECTIONS: usize = 64;
/// For a whole request header, and for an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request header.
const MAX_HEADER: usize = 16 * 1024;
/// After an accept that failed, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn pages_health_and_metrics_are_served() {
        let readiness = Readiness::default();
        let registry = Registry::new();
        let counter = prometheus::IntCounter::new("nearside_test_total", "test").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc();
        let blocker = readiness.block("first sync");
        let server = AdminServer::bind("127.0.0.1:0".parse().unwrap(), readiness, registry).await.unwrap();
        let address = server.address();
        server.page("/routes", || Page::json("{}")).spawn();
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let waiting = get(address, "/healthz/ready").await;
        assert!(waiting.starts_with("HTTP/1.1 503") && waiting.ends_with("not ready: first sync\n"), "{waiting}");
        drop(blocker);
        assert!(get(address, "/healthz/ready").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/metrics").await.contains("nearside_test_total 1"));
        assert!(get(address, "/routes").await.contains("application/json"));
        assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));
        assert!(get(address, "/").await.ends_with("/routes\n"));
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = AdminServer::bind(address, Readiness::default(), Registry::new()).await.err().unwrap();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
