//! What pods do: answer as they should, or break off in the way that a request names. The objects that lead to them flow out as well.

use super::super::support::Scripted;
use super::super::support::bytes_pod::answer;
use super::super::support::manifests::{annotated, pod, route, service};
use super::super::support::pods::Refusing;
use super::super::support::wire::{bytes, read_head};
use super::clients::{self, REFUSED, RUDE, SURPLUS, TUNNEL, WEB};
use nearside_loadtest::certificates::TestCa;
use rustls::ClientConfig;
use serde_json::{Value, json};
use socket2::SockRef;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch::{Sender, channel};

/// One pod for each host. Gone with the value.
pub(super) struct Pods {
    ca: TestCa,
    /// For clients.
    pub(super) tls: Arc<ClientConfig>,
    /// Answers what it is asked for, and echoes what comes after an upgrade.
    web: Scripted,
    /// Breaks off as its requests say.
    rude: Scripted,
    /// Says more than it announced. What comes too late to be seen may be taken for the next answer, so nobody else asks it.
    surplus: Scripted,
    /// Echoes what comes after a ClientHello.
    tunnel: Scripted,
    refused: Refusing,
    closing: Sender<()>,
}

impl Pods {
    pub(super) async fn start() -> Self {
        let (closing, _) = channel(());
        let ca = TestCa::new("test").unwrap();
        let tls = ca.client(&["http/1.1"]).unwrap();
        let hello = clients::hello(&tls).len();
        Self {
            web: start(&closing, well).await,
            rude: start(&closing, rudely).await,
            surplus: start(&closing, too_much).await,
            tunnel: start(&closing, move |stream| echo_after(stream, hello)).await,
            refused: Refusing::new(),
            ca,
            tls,
            closing,
        }
    }

    /// Closes every connection to a pod.
    pub(super) fn close_all(&self) {
        self.closing.send_replace(());
    }

    /// A Route, a Service and a pod for each.
    pub(super) fn objects(&self) -> Vec<Value> {
        let identity = self.ca.identity(&[WEB]).unwrap();
        let edge = json!({ "termination": "edge", "certificate": identity.certificate, "key": identity.key,
                           "insecureEdgeTerminationPolicy": "Allow" });
        let hosts = [
            ("web", WEB, self.web.address, json!({ "tls": edge })),
            ("rude", RUDE, self.rude.address, json!({})),
            ("surplus", SURPLUS, self.surplus.address, json!({})),
            ("tunnel", TUNNEL, self.tunnel.address, json!({ "tls": { "termination": "passthrough" } })),
            ("refused", REFUSED, self.refused.address(), json!({})),
        ];
        let objects = hosts.into_iter().flat_map(|(name, host, address, more)| {
            // Pods that never answer are not waited for long.
            let timeout: &[(&str, &str)] =
                if name == "rude" { &[("haproxy.router.openshift.io/timeout", "200ms")] } else { &[] };
            [annotated(route(name, host, more), timeout), service(name), pod(name, name, address)]
        });
        objects.collect()
    }
}

/// A pod whose connections live until the script ends, or all are to be closed.
async fn start<F>(closing: &Sender<()>, script: impl Fn(TcpStream) -> F + Send + Clone + 'static) -> Scripted
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    let closing = closing.clone();
    Scripted::start(move |stream| {
        let (script, mut closed) = (script.clone(), closing.subscribe());
        async move {
            tokio::select! {
                _ = script(stream) => {}
                _ = closed.changed() => {}
            }
        }
    })
    .await
}

async fn well(mut stream: TcpStream) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let header = read_head(&mut stream, &mut read).await?;
        if header.to_ascii_lowercase().contains("\r\nupgrade: ") {
            stream.write_all(SWITCH).await.ok()?;
            stream.write_all(&read).await.ok()?;
            return echo(stream).await;
        }
        answer(&mut stream, &header, &mut read).await?;
    }
}

async fn rudely(mut stream: TcpStream) -> Option<()> {
    let mut read = Vec::new();
    let header = read_head(&mut stream, &mut read).await?;
    let mut path = header.split(' ').nth(1)?.split('/').skip(1);
    let (habit, length): (&str, usize) = (path.next()?, path.next()?.parse().ok()?);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let half = [head.as_bytes(), &bytes(length / 2)].concat();
    match habit {
        "short" => stream.write_all(&half).await.ok(),
        "reset" => {
            stream.write_all(&half).await.ok()?;
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok()
        }
        "torn" => stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhal").await.ok(),
        "garbage" => stream.write_all(b"there is no such protocol\r\n\r\n").await.ok(),
        "early" => stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nmuch").await.ok(),
        "stalled" => {
            stream.write_all(&half).await.ok()?;
            until_end(&mut stream).await
        }
        "silent" => until_end(&mut stream).await,
        _ => None,
    }
}

async fn too_much(mut stream: TcpStream) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let header = read_head(&mut stream, &mut read).await?;
        let length: usize = header.split(' ').nth(1)?.rsplit('/').next()?.parse().ok()?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let more = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
        stream.write_all(&[head.as_bytes(), &bytes(length), more].concat()).await.ok()?;
    }
}

/// After the ClientHello one byte says whether all that follows is echoed or the connection reset.
async fn echo_after(mut stream: TcpStream, hello: usize) -> Option<()> {
    stream.read_exact(&mut vec![0; hello]).await.ok()?;
    match stream.read_u8().await.ok()? {
        0 => echo(stream).await,
        _ => SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok(),
    }
}

async fn echo(mut stream: TcpStream) -> Option<()> {
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await.ok()?;
    to.shutdown().await.ok()
}

async fn until_end(stream: &mut TcpStream) -> Option<()> {
    let mut buffer = vec![0; 4096];
    while stream.read(&mut buffer).await.ok()? > 0 {}
    Some(())
}

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
