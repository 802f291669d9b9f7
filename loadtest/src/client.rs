//! A client of the cluster, as a browser is one: resolves a host through a given name server, connects to one of the addresses
//! (the next when it cannot), follows redirects, checks the body. `Client::fetch` makes one request and tells all of it in a [`Record`].
//! Called by the demo, the load generator and tests.

mod connection;
mod fetch;
mod habit;
mod kept;
pub mod raw;
pub mod resolver;

pub use connection::Protocol;
pub use habit::Habit;
pub use kept::Kept;
pub use resolver::Resolver;

use crate::lab::{Network, Place};
use bytes::Bytes;
use http::{HeaderMap, Method};
use rustls::ClientConfig;
use serde::Serialize;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where requests come from and how they find their way; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where its sockets are.
    pub place: Place,
    /// Names to addresses.
    pub resolver: Arc<Resolver>,
    /// Whom it trusts; its ALPN is replaced by what each request asks.
    pub tls: Arc<ClientConfig>,
    /// The ports that `http://` and `https://` mean in this network.
    pub ports: Ports,
    /// Node names by address, to tell whom it contacted.
    pub nodes: Arc<HashMap<IpAddr, String>>,
    /// The address to contact whatever the host is, as with `curl --connect-to`; `None` asks the name server.
    pub address: Option<IpAddr>,
    /// Connections that are kept for further requests; with `None` each is closed after its answer.
    pub kept: Option<Arc<Kept>>,
    /// Whether the addresses of an answer are tried in its order, as browsers and curl do, and not from any one on.
    pub in_order: bool,
}

/// Ports of the routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named by scheme")]
pub struct Ports {
    pub http: u16,
    pub https: u16,
}

/// One request to make.
#[derive(Clone, Debug)]
pub struct Call {
    /// `http` or `https`, host, optional port, path and query.
    pub url: String,
    /// GET unless set.
    pub method: Method,
    /// Besides Host.
    pub headers: HeaderMap,
    /// Sent whole.
    pub body: Bytes,
    /// What to speak.
    pub protocol: Protocol,
    /// How many redirects to follow.
    pub redirects: u8,
    /// How often the whole list of addresses may be tried again after a fresh look-up, for requests that may be repeated.
    pub rounds: u8,
}

/// One request as it went.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Record {
    /// The URL that was asked first.
    pub url: String,
    /// Its host.
    pub host: String,
    /// Status of the last response.
    pub status: Option<u16>,
    /// The node whose address the last response came from.
    pub contacted: Option<String>,
    /// The node of the pod that answered, by its own word.
    pub answered: Option<String>,
    /// The pod that answered, by its own word.
    pub pod: Option<String>,
    /// Redirects followed between nodes, to a node's alias.
    pub redirects: u8,
    /// The redirects that were followed, in order.
    pub hops: Vec<Hop>,
    /// Nodes that did not answer, and why the client went on to another address.
    pub retries: Vec<Retry>,
    /// Kept connections that turned out to be closed, after which the client opened another.
    pub reconnects: u8,
    /// Bytes of the last response's body.
    pub bytes: u64,
    /// From the call to the last byte.
    #[serde(serialize_with = "milliseconds")]
    pub duration: Duration,
    /// Why there is no good answer, if there is none. A response with an unwanted status is an answer.
    pub failure: Option<String>,
    /// Header fields of the last response.
    #[serde(skip)]
    pub headers: HeaderMap,
    /// The last response's body, unless it is media (which is checked as it comes and dropped).
    #[serde(skip)]
    pub body: Bytes,
}

/// One redirect that was followed.
#[derive(Clone, Debug, Serialize)]
pub struct Hop {
    /// What was asked.
    pub url: String,
    /// The node that answered with the redirect.
    pub node: Option<String>,
    /// Its status.
    pub status: u16,
    /// Where it led.
    pub location: String,
}

/// One address that did not answer.
#[derive(Clone, Debug, Serialize)]
pub struct Retry {
    /// Its node, or the address when it is no node's.
    pub node: String,
    /// What went wrong.
    pub reason: String,
}

impl Client {
    /// A client at `place` of a lab network.
    #[must_use]
    pub fn new(
        network: &Network,
        place: &Place,
        server: std::net::SocketAddr,
        tls: Arc<ClientConfig>,
        ports: Ports,
    ) -> Self {
        let addresses = network
            .nodes()
            .iter()
            .flat_map(|node| node.place().addresses().iter().map(|address| (*address, node.name().to_owned())));
        Self {
            place: place.clone(),
            resolver: Arc::new(Resolver::new(place.clone(), server)),
            tls,
            ports,
            nodes: Arc::new(addresses.collect()),
            address: None,
            kept: None,
            in_order: false,
        }
    }

    /// Makes one request. Never fails: what went wrong is in the record.
    pub async fn fetch(&self, call: &Call) -> Record {
        fetch::fetch(self, call).await
    }
}

impl Call {
    /// A GET over HTTP/1.1 that follows redirects and tries each address.
    #[must_use]
    pub fn get(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            method: Method::GET,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            protocol: Protocol::Http1,
            redirects: 3,
            rounds: 2,
        }
    }
}

impl Record {
    /// Whether the answer came whole, with a status below 400.
    #[must_use]
    pub fn good(&self) -> bool {
        self.failure.is_none() && self.status.is_some_and(|status| (100..400).contains(&status))
    }

    /// Whether the pod that answered is on the node that was contacted.
    #[must_use]
    pub fn by_own_node(&self) -> bool {
        self.answered.is_some() && self.answered == self.contacted
    }
}

fn milliseconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1000.0)
}
