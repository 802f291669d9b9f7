//! The sockets: listeners go in, each connection is served until it ends, the listeners close or the server stops.
//! A listener is closed and opened again on the same socket, so that one made in a network namespace stays there.

use super::response::AnswerBody;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use socket2::SockRef;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// What stands behind the sockets.
pub(crate) trait Answering: fmt::Debug + Send + Sync {
    /// Answers one request. Every refusal is an answer too.
    fn answer(&self, request: Request<Incoming>) -> Answered<'_>;
}

/// An answer that is on its way.
pub(crate) type Answered<'a> = Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send + 'a>>;

/// All listeners of one server.
pub(crate) struct Listeners {
    sockets: Vec<(TcpListener, SocketAddr)>,
    tls: Option<TlsAcceptor>,
    running: Mutex<Running>,
    /// Also reachable without the lock, for the end of the server.
    aborts: std::sync::Mutex<Vec<AbortHandle>>,
}

#[derive(Default)]
struct Running {
    /// What answers, and the runtime it was started on: whoever opens the sockets again may be on another one.
    service: Option<(Weak<dyn Answering>, Handle)>,
    tasks: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").field("sockets", &self.sockets).finish_non_exhaustive()
    }
}

impl Listeners {
    /// With `tls`, every connection begins with its handshake.
    pub(crate) fn new(sockets: Vec<TcpListener>, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let sockets = sockets
            .into_iter()
            .map(|socket| {
                socket.set_nonblocking(true)?;
                let address = socket.local_addr()?;
                Ok((socket, address))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { sockets, tls, running: Mutex::default(), aborts: std::sync::Mutex::default() })
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().map(|(_, address)| *address)
    }

    /// Serves for the first time; the sockets listen already.
    pub(crate) async fn start(&self, service: &Arc<dyn Answering>) -> io::Result<()> {
        let mut running = self.running.lock().await;
        running.service = Some((Arc::downgrade(service), Handle::current()));
        self.accept(&mut running)
    }

    fn accept(&self, running: &mut Running) -> io::Result<()> {
        let Some((service, runtime)) = running.service.clone() else { return Ok(()) };
        let Some(service) = service.upgrade() else { return Ok(()) };
        let _entered = runtime.enter();
        for (socket, _) in &self.sockets {
            let listener = tokio::net::TcpListener::from_std(socket.try_clone()?)?;
            running.tasks.push(tokio::spawn(accept(listener, self.tls.clone(), Arc::clone(&service))));
        }
        let mut aborts = self.aborts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *aborts = running.tasks.iter().map(JoinHandle::abort_handle).collect();
        Ok(())
    }

    /// Stops listening and cuts every connection.
    pub(crate) async fn close(&self) {
        let mut running = self.running.lock().await;
        if running.tasks.is_empty() {
            return;
        }
        for (socket, address) in &self.sockets {
            if let Err(error) = SockRef::from(socket).shutdown(Shutdown::Both) {
                tracing::warn!(%address, %error, "the API listener cannot be closed; connections are still accepted");
            }
        }
        for task in running.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
    }

    /// Listens again where it did.
    pub(crate) async fn open(&self) -> io::Result<()> {
        let mut running = self.running.lock().await;
        if !running.tasks.is_empty() {
            return Ok(());
        }
        for (socket, address) in &self.sockets {
            let listener = SockRef::from(socket);
            // The kernel takes back a port that it chose itself; one that was asked for is still bound (EINVAL).
            match listener.bind(&(*address).into()) {
                Err(error) if error.kind() != io::ErrorKind::InvalidInput => return Err(error),
                Ok(()) | Err(_) => {}
            }
            listener.listen(BACKLOG)?;
        }
        self.accept(&mut running)
    }

    /// Ends everything at once.
    pub(crate) fn stop(&self) {
        for task in self.aborts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

/// Serves connections; dropping the task drops them too.
async fn accept(listener: tokio::net::TcpListener, tls: Option<TlsAcceptor>, service: Arc<dyn Answering>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (service, tls) = (Arc::clone(&service), tls.clone());
                    connections.spawn(async move {
                        let _ = stream.set_nodelay(true);
                        match tls {
                            None => serve(stream, service).await,
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => serve(stream, service).await,
                                Err(error) => tracing::debug!(%error, "an API connection's handshake failed"),
                            },
                        }
                    });
                }
                // Out of descriptors, or the peer left already: neither lasts.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, service: Arc<dyn Answering>) {
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<Response<AnswerBody>, Infallible>(service.answer(request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().header_read_timeout(None);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!(%error, "an API connection ended early");
    }
}

const BACKLOG: i32 = 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
