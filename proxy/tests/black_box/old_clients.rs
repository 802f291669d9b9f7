//! Clients over HTTP/1.0: they know no transfer coding (RFC 9112 §6.1), so that a body whose length the pod does not say ends with the
//! connection.

use super::byte_path::{HOST, WAYS, connect, served};
use super::support::bytes_pod::bytes_pod;
use super::support::wire::{ask, bytes, read_head};
use super::support::{PATIENCE, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

#[tokio::test]
async fn an_old_client_gets_every_answer_without_a_transfer_coding() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for over_tls in [false, true] {
            for framing in ["length", "chunked", "close"] {
                for (size, more) in [(0, ""), (10, ""), (300_001, ""), (300_000, "Connection: keep-alive\r\n")] {
                    let request = format!("GET /{framing}/{size}/50000 HTTP/1.0\r\nHost: {HOST}\r\n{more}\r\n");
                    let mut client = connect(&proxy, &ca, over_tls).await;
                    client.write_all(request.as_bytes()).await.unwrap();
                    client.flush().await.unwrap();
                    let mut read = Vec::new();
                    let header = timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().unwrap();
                    let fields = header.to_ascii_lowercase();
                    assert!(fields.starts_with("http/1.1 200 ") && !fields.contains("transfer-encoding"), "{header}");
                    if !(framing == "length" && more.contains("keep-alive")) {
                        assert!(fields.contains("connection: close"), "{flags:?} {request}{header}");
                        timeout(PATIENCE, client.read_to_end(&mut read)).await.unwrap().unwrap();
                    }
                    while read.len() < size {
                        let more = timeout(PATIENCE, client.read_buf(&mut read)).await.unwrap().unwrap();
                        assert!(more > 0, "{flags:?} {request}{header}: {}", read.len());
                    }
                    assert!(read == bytes(size), "{flags:?} {request}{header}: {}", read.len());
                }
            }
        }
    }
}

#[tokio::test]
async fn an_old_client_that_asks_for_it_keeps_its_connection_while_lengths_are_known() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    let proxy = Proxy::of(manifests, &[]);
    let mut client = connect(&proxy, &ca, false).await;
    for size in [10, 300_000, 0] {
        let request = format!("GET /length/{size}/50000 HTTP/1.0\r\nHost: {HOST}\r\nConnection: keep-alive\r\n\r\n");
        let (header, body) = ask(&mut client, request.as_bytes()).await;
        assert!(header.to_ascii_lowercase().contains("connection: keep-alive") && body == bytes(size), "{header}");
    }
}
