//! A relay between one client and the API server: connections come in and go on to the server, and the bytes that the server
//! sent are counted.

use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// See the module head. Ends with its value.
#[derive(Debug)]
pub(super) struct Meter {
    address: SocketAddr,
    received: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Meter {
    pub(super) async fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let received = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(accept(listener, server, Arc::clone(&received)));
        Ok(Self { address, received, task })
    }

    /// Where the client finds the server.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that the client was sent so far, with the heads of the answers.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, received: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        let received = Arc::clone(&received);
        // Either side may leave whenever it likes.
        tokio::spawn(async move { relay(client, server, &received).await.ok() });
    }
}

async fn relay(mut client: TcpStream, server: SocketAddr, received: &AtomicU64) -> Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let asked = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let answered = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = from_server.read(&mut buffer).await?;
            if length == 0 {
                return to_client.shutdown().await;
            }
            received.fetch_add(length as u64, Ordering::Relaxed);
            to_client.write_all(&buffer[..length]).await?;
        }
    };
    tokio::try_join!(asked, answered)?;
    Ok(())
}
