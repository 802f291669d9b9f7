//! Runs one pod: listening sockets in, answered connections out, until it is stopped gently or killed. Called by `lab::cluster`
//! and by tests.

use super::PodIdentity;
use super::handler::{self, Exchange};
use anyhow::Result;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use socket2::SockRef;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A listening socket and how to speak on it.
#[derive(Debug)]
pub struct Socket {
    /// Not blocking.
    pub listener: TcpListener,
    /// TLS when there is a configuration, else plain HTTP/1.1 and HTTP/2 by prior knowledge.
    pub tls: Option<Arc<ServerConfig>>,
}

/// A running pod. Dropping it kills it.
#[derive(Debug)]
pub struct PodServer {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    identity: PodIdentity,
    ready: AtomicBool,
    requests: AtomicU64,
}

impl PodServer {
    /// Serves on `sockets` from now on. Needs a tokio runtime.
    ///
    /// # Errors
    /// When a socket cannot be used by the runtime.
    pub fn start(identity: PodIdentity, sockets: Vec<Socket>) -> Result<Self> {
        let shared = Arc::new(Shared { identity, ready: AtomicBool::new(true), requests: AtomicU64::new(0) });
        let (stop, stopped) = watch::channel(false);
        let mut addresses = Vec::new();
        let mut tasks = Vec::new();
        for socket in sockets {
            socket.listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(socket.listener)?;
            addresses.push(listener.local_addr()?);
            tasks.push(tokio::spawn(accept(listener, socket.tls, shared.clone(), stopped.clone())));
        }
        Ok(Self { shared, addresses, stop, tasks })
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &PodIdentity {
        &self.shared.identity
    }

    /// The addresses it listens on, in the order of its sockets.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Requests received so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// What `/healthz` says from now on.
    pub fn set_ready(&self, ready: bool) {
        self.shared.ready.store(ready, Ordering::Relaxed);
    }

    /// Stops accepting, lets running exchanges end for at most `grace`, then closes what is left.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        let deadline = tokio::time::Instant::now() + grace;
        for task in &mut self.tasks {
            if tokio::time::timeout_at(deadline, task).await.is_err() {
                break;
            }
        }
    }
}

impl Drop for PodServer {
    /// Connections are closed in the middle of whatever they carry.
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Owns the connections: dropping this future closes them all.
async fn accept(
    listener: tokio::net::TcpListener,
    tls: Option<Arc<ServerConfig>>,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopped.wait_for(|stop| *stop) => break,
        };
        let Ok((stream, remote)) = accepted else {
            // Out of descriptors: others may close some meanwhile.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (shared, stopped, tls) = (shared.clone(), stopped.clone(), tls.clone());
        connections.spawn(async move {
            let kept = SockRef::from(&stream).try_clone();
            let upgraded = match tls {
                None => serve(stream, remote, false, shared, stopped).await,
                Some(config) => match tokio_rustls::TlsAcceptor::from(config).accept(stream).await {
                    Ok(stream) => serve(stream, remote, true, shared, stopped).await,
                    Err(_) => false,
                },
            };
            if let (false, Ok(socket)) = (upgraded, kept) {
                until_closed(socket.into()).await;
            }
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Whether the connection lives on as a WebSocket.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    remote: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) -> bool {
    let upgraded = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&upgraded);
    let service = service_fn(move |request: http::Request<Incoming>| {
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let ready = shared.ready.load(Ordering::Relaxed);
        let exchange = Exchange { identity: shared.identity.clone(), ready, remote, tls };
        let upgraded = Arc::clone(&seen);
        async move {
            let answer = handler::answer(exchange, request).await;
            upgraded.fetch_or(answer.status() == StatusCode::SWITCHING_PROTOCOLS, Ordering::Relaxed);
            Ok::<_, Infallible>(answer)
        }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return upgraded.load(Ordering::Relaxed),
        _ = stopped.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
    upgraded.load(Ordering::Relaxed)
}

/// A pod that has stopped loses its address, and with it what its sockets have not sent yet. Who stops gently waits
/// until the other side has taken everything and closed too.
async fn until_closed(socket: std::net::TcpStream) {
    let Ok(mut socket) = tokio::net::TcpStream::from_std(socket) else { return };
    if socket.shutdown().await.is_ok() {
        drop(tokio::io::copy(&mut socket, &mut tokio::io::sink()).await);
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn a_pod_that_stops_gently_ends_after_its_client_has_taken_everything() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let identity = PodIdentity { namespace: "shop".into(), name: "web-1".into(), node: "n1".into() };
        let pod = PodServer::start(identity, vec![Socket { listener, tls: None }]).unwrap();
        let mut client = tokio::net::TcpStream::connect(pod.addresses()[0]).await.unwrap();
        // Fits the sockets' buffers, so that the pod itself is done at once.
        let request = "GET /media/30000 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        client.readable().await.unwrap();
        let taken = AtomicU64::new(0);
        let take = async {
            // Slow, which only shows what the pod waits for.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            taken.store(answer.len() as u64, Ordering::Relaxed);
            drop(client);
        };
        let stop = async {
            pod.stop(Duration::from_secs(30)).await;
            assert!(taken.load(Ordering::Relaxed) > 30_000, "the pod was gone before its answer was");
        };
        tokio::join!(stop, take);
    }
}
