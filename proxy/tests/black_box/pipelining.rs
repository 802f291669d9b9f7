//! Requests that a client sends without waiting for answers (RFC 9112 §9.3.2): they are answered in their order, each as if it had come
//! alone, whatever parts they come in and whatever way the bytes take.

use super::byte_path::{HOST, WAYS, connect, served};
use super::support::bytes_pod::bytes_pod;
use super::support::pods::{Scripted, read_header};
use super::support::wire::{Numbers, bytes, read_body, read_head, upload};
use super::support::{PATIENCE, Proxy};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

fn get(size: usize, more: &str) -> String {
    format!("GET /length/{size}/50000 HTTP/1.1\r\nHost: {HOST}\r\n{more}\r\n")
}

/// Reads answers of these sizes, and the end of the connection after them.
async fn answered(client: &mut (impl AsyncRead + Unpin), sizes: &[usize]) {
    let mut read = Vec::new();
    for size in sizes {
        let header = timeout(PATIENCE, read_head(client, &mut read)).await.unwrap().expect("a header comes");
        assert!(header.starts_with("HTTP/1.1 200 "), "{header}");
        let body = timeout(PATIENCE, read_body(client, &header, &mut read)).await.unwrap().expect("a body comes");
        assert!(body == bytes(*size), "{size}: {}", body.len());
    }
    timeout(PATIENCE, client.read_to_end(&mut read)).await.unwrap().unwrap();
    assert!(read.is_empty(), "nothing follows");
}

#[tokio::test]
async fn requests_that_are_sent_at_once_are_answered_in_their_order() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for over_tls in [false, true] {
            let mut numbers = Numbers(13);
            for turn in 0..8 {
                let mut sizes: Vec<usize> = (0..2 + numbers.below(8)).map(|_| numbers.below(3000)).collect();
                // One that is moved by the kernel where it may be.
                sizes.insert(1, 300_000 + turn);
                let last = sizes.len() - 1;
                let requests = sizes
                    .iter()
                    .enumerate()
                    .map(|(at, size)| get(*size, if at == last { "Connection: close\r\n" } else { "" }));
                let sent = requests.collect::<String>().into_bytes();
                let mut client = connect(&proxy, &ca, over_tls).await;
                // At once, or cut anywhere.
                let part = if turn % 2 == 0 { sent.len() } else { 1 + numbers.below(150) };
                for part in sent.chunks(part) {
                    client.write_all(part).await.unwrap();
                    client.flush().await.unwrap();
                    tokio::task::yield_now().await;
                }
                answered(&mut client, &sizes).await;
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_comes_while_another_one_is_answered_waits_for_its_turn() {
    let (asked, answer) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (telling, told) = (Arc::clone(&asked), Arc::clone(&answer));
    let scripted = Scripted::start(move |mut stream| {
        let (telling, told) = (Arc::clone(&telling), Arc::clone(&told));
        async move {
            while !read_header(&mut stream).await.is_empty() {
                telling.add_permits(1);
                told.acquire().await.unwrap().forget();
                if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").await.is_err() {
                    return;
                }
                drop(stream.write_all(&bytes(4)).await);
            }
        }
    })
    .await;
    let (ca, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for over_tls in [false, true] {
            let mut client = connect(&proxy, &ca, over_tls).await;
            client.write_all(get(4, "").as_bytes()).await.unwrap();
            client.flush().await.unwrap();
            timeout(PATIENCE, asked.acquire()).await.unwrap().unwrap().forget();
            let others = [get(4, ""), get(4, "Connection: close\r\n")].concat();
            client.write_all(others.as_bytes()).await.unwrap();
            client.flush().await.unwrap();
            // Whether the proxy has read it by now must make no difference.
            answer.add_permits(3);
            answered(&mut client, &[4, 4, 4]).await;
            timeout(PATIENCE, asked.acquire_many(2)).await.unwrap().unwrap().forget();
        }
    }
}

#[tokio::test]
async fn a_client_that_closes_its_side_after_its_last_request_gets_every_answer() {
    let scripted = bytes_pod().await;
    let (_, manifests) = served(&scripted);
    let proxy = Proxy::of(manifests, &[]);
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    client.write_all([get(10, ""), get(20, ""), get(30, "")].concat().as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    answered(&mut client, &[10, 20, 30]).await;
}

#[tokio::test]
async fn a_request_after_one_with_a_body_is_answered_or_the_connection_ends_between_them() {
    let scripted = bytes_pod().await;
    let (_, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for (length, chunk) in [(0, None), (10, None), (100_000, None), (10, Some(3)), (100_000, Some(1000))] {
            let mut client = TcpStream::connect(proxy.http).await.unwrap();
            let sent = [upload(HOST, &bytes(length), chunk), get(20, "Connection: close\r\n").into_bytes()].concat();
            client.write_all(&sent).await.unwrap();
            let mut read = Vec::new();
            let header = timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().expect("a header comes");
            let body = timeout(PATIENCE, read_body(&mut client, &header, &mut read)).await.unwrap().unwrap();
            assert!(body == bytes(length), "{flags:?} {length}: {}, {header}", body.len());
            if let Some(header) = timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap() {
                assert!(header.starts_with("HTTP/1.1 200 "), "{header}");
                let body = timeout(PATIENCE, read_body(&mut client, &header, &mut read)).await.unwrap().unwrap();
                assert!(body == bytes(20));
            }
            assert!(read.is_empty(), "nothing follows");
        }
    }
}
