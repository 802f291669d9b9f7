//! What is known of a client connection from its accept to its end: `accept` makes it, the phases of `http` read it.

mod arrival;
mod streams;

pub(crate) use arrival::{Arrival, Arrived};
pub(crate) use streams::{Stream, Streams};

use crate::edge::Place;
use crate::http::direct::Handed;
use crate::proxy_protocol::Addresses;
use crate::tls::Presented;
use crate::tls::client_certificate::ClientCertificate;
use crate::trailers::TrailerWatch;
use nearside_routing::Scheme;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use tokio::sync::Notify;

/// One client connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The client.
    pub(crate) client: SocketAddr,
    /// The address that the client connected to.
    pub(crate) local: SocketAddr,
    /// Whether it is TLS that ends here.
    pub(crate) scheme: Scheme,
    /// The server name of the ClientHello, canonical.
    pub(crate) server_name: Option<Box<str>>,
    /// When it came, and when its requests did.
    pub(crate) arrival: Arrival,
    /// Whether the client is in the middle of a request header.
    pub(crate) header: HeaderWatch,
    /// Whether the answer waits for more of itself, over HTTP/1.
    pub(crate) hold: Hold,
    /// Whether the kernel is to encrypt, over HTTP/1.
    pub(crate) sealing: Sealing,
    /// The trailers of the present request and its response, over HTTP/1.
    pub(crate) trailers: TrailerWatch,
    /// The client's certificate, once the handshake is over; not set where none was asked for, nothing where none was
    /// shown.
    pub(crate) certificate: OnceLock<Option<ClientCertificate>>,
    /// What the client has shown to a host that asks by rules of its own, once the handshake is over; not set where it was
    /// not asked that way.
    pub(crate) presented: OnceLock<Presented>,
    /// The exchange that goes on after Pingora's part in it, over HTTP/1.
    pub(crate) lasting: Handed,
    /// The wish that the client makes another connection for its next request; over HTTP/2, where no response can say it.
    pub(crate) parting: Notify,
    /// Its streams, over HTTP/2.
    pub(crate) streams: Streams,
    /// Its place among those of its source, if they are counted.
    pub(crate) _place: Option<Place>,
}

impl Connection {
    /// Its two ends, as a pod may be told.
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses { source: self.client, destination: self.local }
    }
}

/// Whether a request header is awaited, so that the socket can enforce a deadline on the whole of it. The phases of
/// `http` write it, `accept::client_stream` reads it.
#[derive(Debug, Default)]
pub(crate) struct HeaderWatch(AtomicU8);

/// What the client is expected to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The rest of a request header.
    Header,
    /// The first byte of another request; there is time.
    NextRequest,
    /// The end of the connection at most: the request is complete, and its answer is not. What comes belongs to the next request.
    Nothing,
    /// Anything else, such as a request body.
    Other,
}

impl HeaderWatch {
    /// What is awaited now; a new connection awaits its first request header.
    pub(crate) fn awaited(&self) -> Awaited {
        match self.0.load(Ordering::Relaxed) {
            0 => Awaited::Header,
            1 => Awaited::NextRequest,
            2 => Awaited::Nothing,
            _ => Awaited::Other,
        }
    }

    /// Says what is awaited from now on.
    pub(crate) fn set(&self, awaited: Awaited) {
        let value = match awaited {
            Awaited::Header => 0,
            Awaited::NextRequest => 1,
            Awaited::Nothing => 2,
            Awaited::Other => 3,
        };
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Whether what the client is sent waits for what follows at once, so that both go out together. The phases of `http` write it,
/// `accept::http1_stream` reads it.
#[derive(Debug, Default)]
pub(crate) struct Hold(AtomicBool);

impl Hold {
    /// More follows, unless the next thing that happens is that something is awaited.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Nothing waits any longer.
    pub(crate) fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether more follows.
    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether the kernel is to encrypt what the client gets from now on, and how much it has. The phases of `http` write it,
/// `accept::tls_stream` reads it.
#[derive(Debug, Default)]
pub(crate) struct Sealing {
    wanted: AtomicBool,
    bytes: AtomicU64,
}

impl Sealing {
    /// The kernel is to, if it can at the next occasion.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// The occasion is over.
    pub(crate) fn unwant(&self) {
        self.wanted.store(false, Ordering::Relaxed);
    }

    /// Whether it is to.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// It has encrypted so many bytes; gives all of them.
    pub(crate) fn add(&self, bytes: u64) -> u64 {
        self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes)
    }
}
