//! Pods: the lab's echo server, and a server that does exactly what a test tells it to.

use super::NODE;
use nearside_loadtest::pods::{PodIdentity, PodServer, Socket};
use rustls::ServerConfig;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A pod that answers with the request as it saw it. Gone with the value.
pub(crate) fn echo_pod(name: &str) -> (PodServer, SocketAddr) {
    echo_pod_with(name, None)
}

/// The same over TLS.
pub(crate) fn echo_pod_with(name: &str, tls: Option<Arc<ServerConfig>>) -> (PodServer, SocketAddr) {
    let pod = start(TcpListener::bind("127.0.0.1:0").unwrap(), name, tls);
    let address = pod.addresses()[0];
    (pod, address)
}

/// The same at an address of the test's choice.
pub(crate) fn echo_pod_on(listener: TcpListener, name: &str) -> PodServer {
    start(listener, name, None)
}

fn start(listener: TcpListener, name: &str, tls: Option<Arc<ServerConfig>>) -> PodServer {
    let identity = PodIdentity { namespace: "shop".into(), name: name.into(), node: NODE.into() };
    PodServer::start(identity, vec![Socket { listener, tls }]).unwrap()
}

/// An address at which nothing listens. The listener is kept bound but not listening, so that nobody else gets the port.
pub(crate) struct Refusing(socket2::Socket);

impl Refusing {
    pub(crate) fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }
}

/// A pod that hands each connection to a script. With the value it stops accepting; scripts go on.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Scripted {
    pub(crate) async fn start<F>(script: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_on(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    /// The same at an address of the test's choice.
    pub(crate) fn start_on<F>(
        listener: tokio::net::TcpListener,
        script: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(script(stream));
            }
        });
        Self { address, task }
    }

    /// One that answers each request, which has no body, alike.
    pub(crate) async fn repeating(answer: Vec<u8>) -> Self {
        Self::repeating_on(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    /// The same at an address of the test's choice.
    pub(crate) fn repeating_on(listener: tokio::net::TcpListener, answer: Vec<u8>) -> Self {
        Self::start_on(listener, move |mut stream| {
            let answer = answer.clone();
            async move { while !read_header(&mut stream).await.is_empty() && stream.write_all(&answer).await.is_ok() {} }
        })
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one request header without a body.
pub(crate) async fn read_header(stream: &mut TcpStream) -> String {
    let mut header = Vec::new();
    while !header.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { break };
        header.push(byte);
    }
    String::from_utf8(header).unwrap()
}
