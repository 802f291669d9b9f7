//! The admin port: GET requests of probes, Prometheus and people flow in; health, metrics and pages flow out, the last two to
//! those alone that `access` lets in. Serves only HTTP/1.1, on request over TLS as well, bounded in connections and time, and
//! never touches the data path.

use crate::access::{Access, TokenReview, Verdict};
use crate::arguments::AdminSecurity;
use crate::handover::{self, Port};
use crate::readiness::Readiness;
use crate::signal::Shutdown;
use crate::socket;
use crate::tls::FollowedTls;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// A bound admin port. Add pages, then [`AdminServer::spawn`] it.
pub struct AdminServer {
    port: Port,
    address: SocketAddr,
    socket: Option<UnixListener>,
    pages: Pages,
    tls: Option<Arc<FollowedTls>>,
}

impl AdminServer {
    /// Binds the port and offers `/healthz`, `/healthz/ready` and `/metrics`.
    ///
    /// # Errors
    /// [`AdminError`] names the address that cannot be bound.
    pub async fn bind(address: SocketAddr, readiness: Readiness, registry: Registry) -> Result<Self, AdminError> {
        let failed = |source| AdminError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self::new(Port::Own(listener), address, readiness, registry))
    }

    /// The same on a port that another process may hold: it is taken once that one leaves it, and left when the end of this
    /// one is asked for. So the port always tells of the newest process of a node.
    pub fn shared(address: SocketAddr, shutdown: Shutdown, readiness: Readiness, registry: Registry) -> Self {
        Self::new(Port::Shared(shutdown), address, readiness, registry)
    }

    fn new(port: Port, address: SocketAddr, readiness: Readiness, registry: Registry) -> Self {
        let pages = Pages { readiness, registry, by_path: BTreeMap::new(), access: Access::default() };
        Self { port, address, socket: None, pages, tls: None }
    }

    /// Offers the pages on a Unix socket as well, until the process ends.
    ///
    /// # Errors
    /// [`AdminError::Socket`] names the path that cannot be bound.
    pub fn socket(mut self, path: &Path) -> Result<Self, AdminError> {
        let bound = socket::bind(path).map_err(|source| AdminError::Socket { path: path.to_owned(), source })?;
        self.socket = Some(bound);
        Ok(self)
    }

    /// Lets in only those whom `security` knows, and offers TLS where it says so. Where tokens let in, `ask` tells whether the
    /// user of one may read, or `None` for an unknown one; an error means that it cannot be decided now, and is logged.
    ///
    /// # Errors
    /// [`AdminError::Tls`] where the certificate cannot be used any more.
    pub fn secured<F, A, E>(mut self, security: AdminSecurity, ask: Option<F>) -> Result<Self, AdminError>
    where
        F: Fn(String) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Option<bool>, E>> + Send + 'static,
        E: fmt::Display,
    {
        let review = ask.filter(|_| security.tokens).map(TokenReview::new);
        self.pages.access = Access::new(security.credentials, review, security.open);
        self.tls = match security.tls.map(FollowedTls::new).transpose() {
            Ok(tls) => tls.map(Arc::new),
            Err(error) => return Err(AdminError::Tls { flag: error.flag, message: error.message }),
        };
        if self.pages.access.is_open() && !self.address.ip().is_loopback() {
            tracing::warn!(
                address = %self.address,
                "anybody who reaches the admin port can read its pages (--admin-open); --admin-username or --admin-tokens guards them"
            );
        }
        Ok(self)
    }

    /// The address that was bound; differs from the one asked for where that had port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a page. The path is exact, such as `/routes`; the page is made anew for each request.
    #[must_use]
    pub fn page(self, path: &'static str, page: impl Fn() -> Page + Send + Sync + 'static) -> Self {
        self.asked_page(path, move |_| page())
    }

    /// Adds a page that depends on the query: the raw text behind the question mark, empty where there is none. `/` takes the
    /// place of the list of pages.
    #[must_use]
    pub fn asked_page(mut self, path: &'static str, page: impl Fn(&str) -> Page + Send + Sync + 'static) -> Self {
        self.pages.by_path.insert(path, Box::new(page));
        self
    }

    /// Serves in tasks of their own until the runtime ends.
    pub fn spawn(self) {
        let pages = Arc::new(self.pages);
        if let Some(socket) = self.socket {
            tokio::spawn(serve_socket(socket, Arc::clone(&pages)));
        }
        let address = self.address;
        match self.port {
            Port::Own(listener) => {
                tracing::info!(%address, "admin port open");
                tokio::spawn(serve(listener, pages, self.tls));
            }
            Port::Shared(shutdown) => drop(tokio::spawn(serve_shared(address, shutdown, pages, self.tls))),
        }
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

    /// A page for browsers, or a part of one. It may load scripts and styles of this port, and nothing from anywhere else.
    pub fn html(body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type: "text/html; charset=utf-8", body: body.into() }
    }

    /// A page of plain text.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// The admin port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Its address cannot be had.
    #[error("the admin port {address} cannot be opened: {source}; another program may use it (--admin-listen)")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Its Unix socket cannot be had.
    #[error("the admin socket {} cannot be opened: {source} (--admin-socket)", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its certificate or key cannot be used.
    #[error("--{flag}: {message}")]
    Tls {
        /// The flag that names the file.
        flag: &'static str,
        /// What is wrong.
        message: String,
    },
}

/// Makes a page from the query.
type MakePage = Box<dyn Fn(&str) -> Page + Send + Sync>;

struct Pages {
    readiness: Readiness,
    registry: Registry,
    by_path: BTreeMap<&'static str, MakePage>,
    access: Access,
}

impl Pages {
    async fn answer(self: &Arc<Self>, request: &Request<Incoming>, here: bool) -> Response<Full<Bytes>> {
        let method = request.method();
        if method != Method::GET && method != Method::HEAD {
            return response(Page::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"));
        }
        match request.uri().path() {
            // Probes come without credentials, and learn nothing else.
            "/healthz" => response(Page::text(StatusCode::OK, "ok\n")),
            "/healthz/ready" => response(self.ready()),
            _ => match self.access.decide(request.headers().get(header::AUTHORIZATION), here).await {
                Verdict::Allowed => response(self.page(request.uri().clone()).await),
                refused => self.refusal(refused),
            },
        }
    }

    /// Made where nobody waits for a turn: the metrics of a hundred thousand routes take a second.
    async fn page(self: &Arc<Self>, uri: Uri) -> Page {
        let pages = Arc::clone(self);
        let made = spawn_blocking(move || pages.make(uri.path(), uri.query().unwrap_or_default())).await;
        made.unwrap_or_else(|_| Page::text(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be made\n"))
    }

    fn make(&self, path: &str, query: &str) -> Page {
        match path {
            "/metrics" => self.metrics(),
            _ => match self.by_path.get(path) {
                Some(page) => page(query),
                None if path == "/" => self.contents(),
                None => Page::text(StatusCode::NOT_FOUND, "no such page; / lists them\n"),
            },
        }
    }

    fn refusal(&self, verdict: Verdict) -> Response<Full<Bytes>> {
        let (status, text) = match verdict {
            Verdict::Forbidden => (StatusCode::FORBIDDEN, "not for this user\n"),
            Verdict::Elsewhere => (
                StatusCode::FORBIDDEN,
                "only for processes of this machine; --admin-username, --admin-tokens or --admin-open let others in\n",
            ),
            Verdict::Undecided => (StatusCode::SERVICE_UNAVAILABLE, "credentials cannot be checked now\n"),
            Verdict::Unknown | Verdict::Allowed => (StatusCode::UNAUTHORIZED, "credentials are needed\n"),
        };
        let mut response = response(Page::text(status, text));
        if status == StatusCode::UNAUTHORIZED {
            for challenge in self.access.challenges() {
                response.headers_mut().append(header::WWW_AUTHENTICATE, challenge);
            }
        }
        response
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

async fn serve(listener: TcpListener, pages: Arc<Pages>, tls: Option<Arc<FollowedTls>>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // A semaphore that is never closed always gives a permit in the end.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let (stream, here) = match listener.accept().await {
            Ok((stream, reader)) => (stream, reader.ip().to_canonical().is_loopback()),
            Err(error) => {
                tracing::warn!(%error, "admin port: accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (pages, tls) = (Arc::clone(&pages), tls.clone());
        tokio::spawn(async move {
            let _permit = permit;
            match tls {
                Some(tls) => either(stream, pages, tls, here).await,
                None => connection(stream, pages, here).await,
            }
        });
    }
}

/// Serves from when the port is free until the end is asked for; connections that are open then go on.
async fn serve_shared(address: SocketAddr, shutdown: Shutdown, pages: Arc<Pages>, tls: Option<Arc<FollowedTls>>) {
    let Some(listener) = handover::take(address, &shutdown).await else { return };
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "admin port open");
    tokio::select! {
        () = serve(listener, pages, tls) => {}
        () = shutdown.requested() => tracing::info!(%address, "admin port left to the next process"),
    }
}

/// Plain HTTP for processes of the same place; few ask, each in its turn.
async fn serve_socket(listener: UnixListener, pages: Arc<Pages>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, Arc::clone(&pages), true))),
            Err(error) => {
                tracing::warn!(%error, "admin socket: accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// HTTP or HTTPS: the first byte of TLS is none of HTTP. Both are served on one port, as by the OpenShift router.
async fn either(stream: TcpStream, pages: Arc<Pages>, tls: Arc<FollowedTls>, here: bool) {
    let mut first = [0];
    match timeout(HEADER_TIMEOUT, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first[0] == TLS_HANDSHAKE => {}
        Ok(Ok(1)) => return connection(stream, pages, here).await,
        _ => return,
    }
    let Ok(config) = spawn_blocking(move || tls.config()).await else { return };
    // Who does not speak TLS to the end is told by TLS itself.
    if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await {
        connection(stream, pages, here).await;
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send, pages: Arc<Pages>, here: bool) {
    let service = service_fn(|request: Request<Incoming>| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(&request, here).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(stream), service);
    // A probe that goes away early is no event.
    drop(connection.await);
}

fn response(page: Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(page.body));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    for (name, value) in SECURITY {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What browsers are told with every page: what an object says must not become a script, no other site may show a page in a
/// frame, and nobody keeps one.
const SECURITY: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];
/// Connections at a time; further ones wait in the backlog.
const MAX_CONNECTIONS: usize = 64;
/// For a whole request header, and for an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// For a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The content type of a handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;
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
    async fn a_page_may_depend_on_the_query_and_browsers_are_told_what_it_may_do() {
        let server = AdminServer::bind("127.0.0.1:0".parse().unwrap(), Readiness::default(), Registry::new());
        let server = server.await.unwrap();
        let address = server.address();
        server.asked_page("/", |query| Page::html(format!("<p>{}", query.len()))).spawn();
        let page = get(address, "/?a=b&c").await.to_ascii_lowercase();
        assert!(page.contains("text/html") && page.ends_with("<p>5"), "{page}");
        for wanted in ["content-security-policy: default-src 'none'", "nosniff", "no-store", "frame-ancestors 'none'"] {
            assert!(page.contains(wanted), "{wanted} not in {page}");
        }
        assert!(get(address, "/").await.ends_with("<p>0"));
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = AdminServer::bind(address, Readiness::default(), Registry::new()).await.err().unwrap();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
