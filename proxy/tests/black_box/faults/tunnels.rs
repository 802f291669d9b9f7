//! Visits whose bytes follow no HTTP: connections that are passed through, and upgraded ones. `clients` makes them. What was sent comes
//! back byte by byte, until somebody leaves.

use super::super::support::PATIENCE;
use super::super::support::wire::{Numbers, bytes, read_head};
use super::clients::{Site, WEB, get, hello, leave, to_end};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Sends bytes and reads them again, and leaves before or after they are all there.
async fn echoed(client: &mut TcpStream, numbers: &mut Numbers) {
    let sent = bytes(numbers.below(300_000));
    let wanted = if numbers.below(2) == 0 { sent.len() } else { numbers.below(sent.len() + 1) };
    let mut read = vec![0; wanted];
    let (mut from, mut to) = client.split();
    let (written, back) =
        timeout(PATIENCE, async { tokio::join!(to.write_all(&sent), from.read_exact(&mut read)) }).await.unwrap();
    written.unwrap();
    back.unwrap();
    assert!(read == sent[..wanted]);
}

pub(super) async fn tunnel(site: &Site, numbers: &mut Numbers) -> usize {
    let mut client = TcpStream::connect(site.https).await.unwrap();
    client.write_all(&hello(&site.tls)).await.unwrap();
    if numbers.below(4) == 0 {
        client.write_all(&[1]).await.unwrap();
        to_end(&mut client).await;
        return 1;
    }
    client.write_all(&[0]).await.unwrap();
    echoed(&mut client, numbers).await;
    if numbers.below(3) == 0 {
        client.shutdown().await.unwrap();
        to_end(&mut client).await;
    } else {
        leave(&client, numbers);
    }
    1
}

pub(super) async fn upgrade(site: &Site, numbers: &mut Numbers) -> usize {
    let mut client = site.connect().await;
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    client.write_all(get(WEB, "chat", fields).as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let header = timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().expect("a header comes");
    assert!(header.starts_with("HTTP/1.1 101 ") && read.is_empty(), "{header}");
    echoed(&mut client, numbers).await;
    leave(&client, numbers);
    1
}
