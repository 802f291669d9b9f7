//! Upgraded connections: many bytes both ways, whatever way they take, and how they begin and end.

use super::{HOST, WAYS, connect, served};
use crate::support::pods::{Scripted, read_header};
use crate::support::wire::{ask, bytes, read_head, read_more};
use crate::support::{PATIENCE, Proxy, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn request() -> String {
    format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
}

/// A pod that agrees, sends `first` with its word, and then everything back that comes.
async fn mirror(first: &'static [u8]) -> Scripted {
    Scripted::start(move |mut stream| async move {
        let header = read_header(&mut stream).await.to_lowercase();
        assert!(
            header.contains("\r\nconnection: upgrade\r\n") && header.contains("\r\nupgrade: websocket\r\n"),
            "{header}"
        );
        stream.write_all(&[SWITCHING.as_bytes(), first].concat()).await.unwrap();
        let (mut read, mut write) = stream.split();
        drop(tokio::io::copy(&mut read, &mut write).await);
    })
    .await
}

#[tokio::test]
async fn all_bytes_pass_a_tunnel_both_ways_and_are_counted() {
    const LENGTH: usize = 5_000_000;
    let scripted = mirror(b"first").await;
    let (ca, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for over_tls in [false, true] {
            let mut client = connect(&proxy, &ca, over_tls).await;
            client.write_all(request().as_bytes()).await.unwrap();
            let mut read = Vec::new();
            let head = read_head(&mut client, &mut read).await.unwrap().to_lowercase();
            assert!(head.starts_with("http/1.1 101 ") && head.contains("\r\nupgrade: websocket\r\n"), "{head}");
            let sent = bytes(LENGTH);
            let (mut reader, mut writer) = tokio::io::split(client);
            let writing = async { writer.write_all(&sent).await };
            let reading = async {
                while read.len() < LENGTH + 5 {
                    read_more(&mut reader, &mut read, 100_000).await;
                }
            };
            let (written, ()) = tokio::join!(writing, reading);
            written.unwrap();
            assert!(&read[..5] == b"first" && read[5..] == sent, "{flags:?} {over_tls}");
            drop((reader, writer));
        }
        let lines = eventually("both tunnels are in the log", || async {
            let lines = proxy.access_log();
            (lines.len() == 2).then_some(lines)
        })
        .await;
        for line in lines {
            assert_eq!((&line["status"], &line["sent"]), (&101.into(), &(LENGTH + 5).into()), "{flags:?}");
            assert_eq!(line["received"], LENGTH, "{flags:?}");
        }
        let spliced = proxy.metric("nearside_spliced_bytes_total", "").await.unwrap_or_default();
        let expected = if flags.is_empty() { 2 * LENGTH } else { 0 };
        assert!(spliced as usize >= expected && (spliced > 0.0) == (expected > 0), "{flags:?} {spliced}");
    }
}

#[tokio::test]
async fn what_a_client_says_before_it_may_is_the_first_that_the_pod_hears() {
    let scripted = mirror(b"").await;
    let (_, manifests) = served(&scripted);
    let proxy = Proxy::start(&manifests, &[]);
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    client.write_all(format!("{}early ", request()).as_bytes()).await.unwrap();
    let mut read = Vec::new();
    read_head(&mut client, &mut read).await.unwrap();
    client.write_all(b"and late").await.unwrap();
    let mut rest = vec![0; b"early and late".len() - read.len()];
    timeout(PATIENCE, client.read_exact(&mut rest)).await.expect("both come back").unwrap();
    read.extend(rest);
    assert_eq!(String::from_utf8_lossy(&read), "early and late");
}

#[tokio::test]
async fn a_client_that_ends_its_half_of_a_tunnel_hears_the_pod_out() {
    let scripted = Scripted::start(|mut stream| async move {
        read_header(&mut stream).await;
        stream.write_all(SWITCHING.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        stream.write_all(&[b"heard ", &*heard].concat()).await.unwrap();
    })
    .await;
    let (_, manifests) = served(&scripted);
    let proxy = Proxy::start(&manifests, &[]);
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    client.write_all(request().as_bytes()).await.unwrap();
    let mut read = Vec::new();
    read_head(&mut client, &mut read).await.unwrap();
    client.write_all(b"everything").await.unwrap();
    client.shutdown().await.unwrap();
    timeout(PATIENCE, client.read_to_end(&mut read)).await.expect("the tunnel ends").unwrap();
    assert_eq!(String::from_utf8_lossy(&read), "heard everything");
    assert_eq!(proxy.access_line(HOST).await["status"], 101);
}

#[tokio::test]
async fn a_pod_that_does_not_agree_answers_as_any_other_and_the_connection_lives_on() {
    let answer = b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno";
    let scripted = Scripted::repeating(answer.to_vec()).await;
    let (_, manifests) = served(&scripted);
    let proxy = Proxy::start(&manifests, &[]);
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    for _ in 0..3 {
        let (head, body) = ask(&mut client, request().as_bytes()).await;
        assert!(head.starts_with("HTTP/1.1 426 ") && body == b"no", "{head}");
    }
}

#[tokio::test]
async fn nothing_but_websocket_becomes_a_tunnel() {
    let scripted = Scripted::start(|mut stream| async move {
        let header = read_header(&mut stream).await.to_lowercase();
        let answer = if header.contains("upgrade: websocket") {
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        } else if header.contains("upgrade") {
            "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        };
        drop(stream.write_all(answer.as_bytes()).await);
        drop(stream.read_u8().await);
    })
    .await;
    let (ca, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for over_tls in [false, true] {
            for (protocol, status) in [("h2c", "200"), ("websocket, h2c", "200"), ("websocket", "502")] {
                let mut client = connect(&proxy, &ca, over_tls).await;
                let request = request().replace("Upgrade: websocket", &format!("Upgrade: {protocol}"));
                let (head, _) = ask(&mut client, request.as_bytes()).await;
                assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{flags:?} {over_tls} {protocol}: {head}");
            }
        }
    }
}
