//! From the listener to a served connection: sockets flow in, and each goes step by step to where it is served:
//! accept → PROXY header from load balancers → first bytes → passthrough, or TLS that ends here, or plain
//! HTTP → `http`. `main` starts one loop for each listener.

mod below;
mod client_hello;
pub(crate) mod client_stream;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod http1_stream;
mod http2_stream;
mod linger;
mod listener;
mod passthrough;
mod preface;
mod proxy_header;
mod requests;
mod tls_stream;

pub(crate) use listener::{BindError, Listeners, Listening, bind};

use crate::connection::{Arrival, Awaited, Connection, HeaderWatch, Hold, Sealing, Streams};
use crate::edge::{Limit, NoTurn};
use crate::http::direct::Handed;
use crate::lifecycle::Busy;
use crate::limits::{ACCEPT_PAUSE, LAST_HANDSHAKES, PROXY_HEADER_TIME, TLS_HANDSHAKE_TIME};
use crate::metrics::TlsFailure;
use crate::proxy_protocol::Addresses;
use crate::server::Server;
use crate::tls::Presented;
use crate::trailers::TrailerWatch;
use bytes::BytesMut;
use client_hello::HelloError;
use client_stream::{ClientStream, HEADER_TIMEOUT};
use http1_stream::Http1Stream;
use http2_stream::Http2Stream;
use linger::Parting;
use nearside_routing::Scheme;
use passthrough::PassedThrough;
use pingora::apps::ServerApp;
use pingora::protocols::{ALPN, IO, Stream};
use proxy_header::Expected;
pub(crate) use proxy_header::Refused;
use requests::End;
use socket2::SockRef;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// Accepts connections until the drain begins; where another proxy listens beside this one, also those that are on their way then.
/// While the socket rests they are left to the other process that has it.
pub(crate) async fn serve(listening: Listening, server: Arc<Server>) {
    let mut draining = server.lifecycle().draining();
    let drained = async { drop(draining.wait_for(|draining| *draining).await) };
    tokio::select! {
        () = accept_unless_resting(&listening, &server) => {}
        () = drained => {}
    }
    if server.config.ports.shared && !listening.is_resting() {
        hand_over(&listening, &server).await;
    }
}

/// The kernel resets what waits at a listener that closes. So it is told to give new connections to the other proxy's, those that
/// come all the same are served, and the end is when none comes any more.
async fn hand_over(listening: &Listening, server: &Arc<Server>) {
    // The older of two comes first, but who knows what was before.
    for place in [1, 0, 1, 0] {
        if let Err(error) = listener::prefer(&listening.socket, place) {
            tracing::warn!(%error, "connections cannot be given to the other proxy; some may be reset");
        }
        // The time limit is the usual end.
        drop(timeout(LAST_HANDSHAKES, accept(listening, server)).await);
        if timeout(LAST_HANDSHAKES, accept_one(listening, server)).await.is_err() {
            return;
        }
    }
}

async fn accept_unless_resting(listening: &Listening, server: &Arc<Server>) {
    loop {
        tokio::select! {
            biased;
            () = listening.rests(true) => {}
            () = accept(listening, server) => {}
        }
        listening.rests(false).await;
    }
}

async fn accept(listening: &Listening, server: &Arc<Server>) {
    loop {
        accept_one(listening, server).await;
    }
}

/// Waits for room and for a connection, and serves it in a task of its own.
async fn accept_one(listening: &Listening, server: &Arc<Server>) {
    let busy = match server.lifecycle().try_admit() {
        Some(busy) => busy,
        None => {
            server.metrics().exceeded().count(Limit::Connections);
            server.edge().crowd().look();
            server.lifecycle().admit().await
        }
    };
    server.edge().crowd().look();
    server.memory().room(|| server.lifecycle().connections()).await;
    match listening.socket.accept().await {
        Ok((socket, client)) => {
            drop(tokio::spawn(connection(socket, client, listening.scheme, Arc::clone(server), busy)));
        }
        Err(error) => {
            // Out of descriptors or memory, or a client that left early: the listener itself is sound.
            tracing::warn!(%error, "accept failed; connections wait");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn connection(socket: TcpStream, client: SocketAddr, scheme: Scheme, server: Arc<Server>, _busy: Busy) {
    let arrival = Arrival::now();
    // Fails only on a socket that is gone already, and then the next read says so.
    drop(socket.set_nodelay(true));
    server.memory().fit(&socket);
    let _open = server.metrics().connection(scheme);
    // In a box of its own, so that an idle connection does not keep the room that its handshake took.
    let ready = Box::pin(prepare(socket, client, scheme, arrival, &server)).await;
    match ready {
        Some(Ready::Http { stream, connection, parting }) => {
            let end = serve_http(stream, &connection, &server).await;
            if end == End::Lingering {
                Box::pin(parting.linger()).await;
            }
        }
        Some(Ready::PassThrough(connection)) => Box::pin(passthrough::serve(*connection, &server)).await,
        None => {}
    }
}

/// A connection of which it is known who serves it.
enum Ready {
    /// HTTP can be spoken on it.
    Http { stream: Stream, connection: Arc<Connection>, parting: Parting },
    /// The pod speaks TLS itself.
    PassThrough(Box<PassedThrough>),
}

/// All that comes before HTTP or the pod; nothing is left to be done for what was refused.
async fn prepare(
    mut socket: TcpStream,
    client: SocketAddr,
    scheme: Scheme,
    arrival: Arrival,
    server: &Server,
) -> Option<Ready> {
    let direct = Addresses { source: client, destination: socket.local_addr().ok()? };
    let addresses = match proxied(&mut socket, direct.source.ip().to_canonical(), server).await {
        Ok(told) => told.unwrap_or(direct),
        Err(refused) => {
            server.metrics().proxy_header_refused(&refused);
            return None;
        }
    };
    let Ok(place) = server.edge().enter(addresses.source.ip(), &server.config.trusted_proxies) else {
        server.metrics().exceeded().count(Limit::ConnectionsPerSource);
        reset(&socket);
        return None;
    };
    let connection = Connection {
        client: canonical(addresses.source),
        local: canonical(addresses.destination),
        scheme,
        server_name: None,
        arrival,
        header: HeaderWatch::default(),
        hold: Hold::default(),
        sealing: Sealing::default(),
        trailers: TrailerWatch::default(),
        certificate: OnceLock::new(),
        presented: OnceLock::new(),
        lasting: Handed::default(),
        parting: Notify::new(),
        streams: Streams::default(),
        _place: place,
    };
    match scheme {
        Scheme::Http => plain(socket, connection, server).await,
        Scheme::Https => match tls(socket, connection, server).await {
            Ok(ready) => ready,
            Err(failure) => {
                server.metrics().tls_failure(failure);
                None
            }
        },
    }
}

/// Plain HTTP: HTTP/1 or, by prior knowledge (RFC 9113 §3.3), HTTP/2.
async fn plain(socket: TcpStream, connection: Connection, server: &Server) -> Option<Ready> {
    let mut bytes = BytesMut::new();
    connection.arrival.ready();
    let first = async {
        if !begins(&socket, server).await {
            return None;
        }
        connection.arrival.begin();
        preface::is_h2(&socket, &mut bytes).await.ok()
    };
    let h2 = match timeout(server.timeouts().header, first).await {
        Ok(Some(h2)) => h2,
        ended => {
            if ended.is_err() {
                server.metrics().exceeded().count(Limit::HeaderTime);
            }
            if bytes.is_empty() && !*server.lifecycle().draining().borrow() {
                empty(&socket, &connection, ended.is_err(), server);
            }
            return None;
        }
    };
    let connection = Arc::new(connection);
    let exceeded = server.metrics().exceeded();
    let stream = ClientStream::new(socket, bytes.freeze(), Arc::clone(&connection), h2, server.timeouts(), exceeded);
    let parting = stream.parting();
    Some(Ready::Http { stream: over_http(stream, Arc::clone(&connection), server), connection, parting })
}

/// Port 443: the ClientHello decides whether TLS ends here.
async fn tls(mut socket: TcpStream, mut connection: Connection, server: &Server) -> Result<Option<Ready>, TlsFailure> {
    let mut bytes = BytesMut::new();
    let first = async {
        if begins(&socket, server).await {
            client_hello::read(&mut socket, &mut bytes).await
        } else {
            Err(HelloError::Closed)
        }
    };
    let hello = match timeout(server.config.tls.hello_time, first).await {
        Ok(Ok(hello)) => hello,
        // A port probe, not a client.
        Ok(Err(HelloError::Closed)) => {
            if !*server.lifecycle().draining().borrow() {
                log_empty(&connection, server);
            }
            return Ok(None);
        }
        Ok(Err(error)) => return Err(error.failure()),
        Err(_) => return Err(TlsFailure::Timeout),
    };
    connection.server_name = hello.server_name.map(Into::into);
    let state = server.state();
    let name = connection.server_name.as_deref();
    if let Some(route) = name.and_then(|name| state.routes().passthrough(name)) {
        let route = Arc::clone(route);
        let hello = bytes.freeze();
        return Ok(Some(Ready::PassThrough(Box::new(PassedThrough {
            client: socket,
            hello,
            connection,
            route,
            state,
        }))));
    }
    if server.strict_sni() && !name.is_some_and(|name| state.routes().knows(name)) {
        server.metrics().tls_failure(TlsFailure::UnknownName);
        // The client may be gone; there is nobody else to tell.
        drop(socket.write_all(&client_hello::UNRECOGNIZED_NAME).await);
        return Ok(None);
    }
    let certificate = state.certificates.serving(state.routes(), name).ok_or(TlsFailure::Handshake)?;
    let config = Arc::clone(&certificate.config);
    // A host's own rules come in the place of what the router would like to see, and on top of what it demands.
    let asks = certificate.asks;
    let clients = state.certificates.clients().filter(|router| !asks || router.is_required()).cloned();
    drop(state);
    // The handshake has a deadline of its own; that of the request header begins after it.
    connection.header.set(Awaited::Other);
    let connection = Arc::new(connection);
    let exceeded = server.metrics().exceeded();
    let stream = ClientStream::new(socket, bytes.freeze(), Arc::clone(&connection), false, server.timeouts(), exceeded);
    let parting = stream.parting();
    // From here on a client costs more than it pays.
    let handshake = server.edge().turns().take(tls_stream::accept(config, stream, server.kernel_tls()));
    let Ok(shaken) = timeout(TLS_HANDSHAKE_TIME, handshake).await else {
        return Err(TlsFailure::Timeout);
    };
    let stream = shaken.map_err(|NoTurn| TlsFailure::Busy)?.map_err(|_| TlsFailure::Handshake)?;
    let chain = stream.chain();
    if asks {
        // Nothing else sets it.
        drop(connection.presented.set(Presented::new(chain)));
    }
    if let Some(clients) = clients {
        let shown = clients.verified(chain).ok_or(TlsFailure::Handshake)?;
        // Nothing else sets it.
        drop(connection.certificate.set(shown));
    }
    connection.arrival.ready();
    connection.header.set(Awaited::Header);
    Ok(Some(Ready::Http { stream: over_http(stream, Arc::clone(&connection), server), connection, parting }))
}

/// A connection that sent nothing. `waiting` says that the client is still there.
fn empty(socket: &TcpStream, connection: &Connection, waiting: bool, server: &Server) {
    if waiting && server.config.clients.answer_empty {
        // What finds no room in the socket finds no reader either.
        drop(socket.try_write(HEADER_TIMEOUT));
    }
    log_empty(connection, server);
}

fn log_empty(connection: &Connection, server: &Server) {
    if server.config.clients.log_empty {
        tracing::info!(client = %connection.client, local = %connection.local, "a connection sent nothing");
    }
}

/// The addresses that a load balancer tells, where the connection comes from one.
async fn proxied(socket: &mut TcpStream, peer: IpAddr, server: &Server) -> Result<Option<Addresses>, Refused> {
    match proxy_header::expected(&server.config.proxy_protocol, peer) {
        Expected::Client => Ok(None),
        Expected::Nothing => Err(Refused::Source),
        Expected::Header => match timeout(PROXY_HEADER_TIME, begins(socket, server)).await {
            Ok(true) => proxy_header::read(socket).await,
            Ok(false) => Err(Refused::Ended(std::io::ErrorKind::UnexpectedEof.into())),
            Err(_) => Err(Refused::Timeout),
        },
    }
}

/// Waits for the client's first byte; `false` where those that have nothing to ask for are closed before. Until then its request may
/// be on the way.
async fn begins(socket: &TcpStream, server: &Server) -> bool {
    let mut first = [0];
    tokio::select! {
        biased;
        peeked = socket.peek(&mut first) => peeked.is_ok_and(|bytes| bytes > 0),
        () = server.lifecycle().idle_closed() => false,
    }
}

async fn serve_http(stream: Stream, connection: &Connection, server: &Server) -> End {
    match stream.selected_alpn_proto() {
        // In a box of its own, so that an idle connection over HTTP/1 does not keep the room for it.
        Some(ALPN::H2) => {
            Box::pin(serve_http2(stream, connection, server)).await;
            End::Lingering
        }
        _ => requests::serve(stream, connection, &server.lifecycle().draining(), server).await,
    }
}

/// The client is told to go (GOAWAY) when another process serves or the drain begins, when an answer on this connection wants it to look
/// for another node, or when it asks for nothing while others find hardly room.
/// What it has begun is served to the end.
async fn serve_http2(stream: Stream, connection: &Connection, server: &Server) {
    let mut all = server.lifecycle().going();
    let (going, go) = watch::channel(false);
    let gone = async {
        drop(all.wait_for(|going| *going).await);
        // Whoever has just come has its first request on the way, and would take it for lost.
        tokio::select! {
            () = connection.streams.begun() => {}
            () = server.lifecycle().idle_closed() => {}
        }
    };
    let told = async {
        tokio::select! {
            () = gone => {}
            () = connection.parting.notified() => {}
            () = server.edge().crowd().idled(|| connection.streams.idle_since()) => {
                server.metrics().exceeded().count(Limit::IdleInCrowd);
            }
        }
        going.send_replace(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // Pingora hands a stream back that could serve on; it never does for HTTP/2.
        _ = server.http().process_new(stream, &go) => {}
        () = told => {}
    }
}

/// Closes a connection at once, with a reset: no state of it is left, not even in the kernel.
fn reset(socket: &TcpStream) {
    // Otherwise it is closed in order.
    drop(SockRef::from(socket).set_linger(Some(Duration::ZERO)));
}

/// Over HTTP/1 the stream carries trailers and bounds the size of headers, over HTTP/2 it looks for floods.
fn over_http(stream: impl IO + 'static, connection: Arc<Connection>, server: &Server) -> Stream {
    match stream.selected_alpn_proto() {
        Some(ALPN::H2) => {
            let counted = server.metrics().http2_abuse();
            Box::new(Http2Stream::new(stream, server.timeouts().header, counted))
        }
        _ => Box::new(Http1Stream::new(stream, connection, server.metrics().exceeded().clone())),
    }
}

/// An IPv4 client of an IPv6 socket is an IPv4 client.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
