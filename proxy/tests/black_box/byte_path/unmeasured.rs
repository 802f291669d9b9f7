//! Answers whose length nobody knows, in chunks or until the pod closes: their bytes, what is counted of them, when they arrive, and what
//! becomes of the connections and of those that are broken off. That their bytes arrive at every size is tested with the others.

use super::{HOST, WAYS, asking, connect, gets_again_and_again, narrow, served};
use crate::support::bytes_pod::{answer, bytes_pod};
use crate::support::pods::{Scripted, read_header};
use crate::support::wire::{ask, bytes, read_head, read_more};
use crate::support::{PATIENCE, Proxy, eventually};
use socket2::SockRef;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::sync::mpsc::channel;
use tokio::time::timeout;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const UNTIL_CLOSED: &str = "HTTP/1.1 200 OK\r\n\r\n";

/// What somebody has got of a body, by another reader than the proxy's, and whether that is all.
fn decoded(mut wire: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let line = wire.windows(2).position(|end| end == b"\r\n").unwrap_or_default();
        let size = std::str::from_utf8(&wire[..line]).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let Some(size) = size else { return (body, false) };
        wire = &wire[line + 2..];
        let here = size.min(wire.len());
        body.extend_from_slice(&wire[..here]);
        wire = &wire[here..];
        let Some(next) = wire.strip_prefix(b"\r\n").filter(|_| size > 0) else {
            return (body, size == 0 && wire == b"\r\n");
        };
        wire = next;
    }
}

#[tokio::test]
async fn large_ones_are_moved_in_the_kernel_counted_and_leave_both_connections_of_use() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let scripted = Scripted::start(move |mut stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            let mut read = Vec::new();
            while let Some(header) = read_head(&mut stream, &mut read).await {
                if answer(&mut stream, &header, &mut read).await.is_none() {
                    return;
                }
            }
        }
    })
    .await;
    let (_, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        let mut client = TcpStream::connect(proxy.http).await.unwrap();
        let before = connections.load(Ordering::Relaxed);
        let mut sent = Vec::new();
        for (size, piece) in [(8_000_000, 200_000), (3_000_000, 65_536), (500_000, 700), (131_072, 131_072), (5, 5)] {
            let (head, body) = ask(&mut client, &asking(&format!("/chunked/{size}/{piece}"))).await;
            assert!(head.starts_with("HTTP/1.1 200 ") && head.to_lowercase().contains("transfer-encoding: chunked"));
            assert!(body == bytes(size), "{flags:?} {size} in {piece}: {}", body.len());
            sent.push(size);
        }
        assert_eq!(connections.load(Ordering::Relaxed), before + 1, "{flags:?}: one connection to the pod serves all");
        let chunked = proxy.metric("nearside_spliced_bytes_total", "").await.unwrap_or_default();
        assert_eq!(chunked > 5e6, flags.is_empty(), "{flags:?} {chunked}");
        for (size, piece) in [(8_000_000, 1_000_000), (300_000, 1000), (1, 1)] {
            let (_, body) = ask(&mut client, &asking(&format!("/close/{size}/{piece}"))).await;
            assert!(body == bytes(size), "{flags:?} {size} in {piece}: {}", body.len());
            sent.push(size);
        }
        let closed = proxy.metric("nearside_spliced_bytes_total", "").await.unwrap_or_default() - chunked;
        assert_eq!(closed > 3e6, flags.is_empty(), "{flags:?} {closed}");
        let logged: Vec<u64> = eventually("all are in the log", || async {
            let lines = proxy.access_log();
            (lines.len() == sent.len()).then(|| lines.iter().map(|line| line["sent"].as_u64().unwrap()).collect())
        })
        .await;
        assert_eq!(logged, sent.iter().map(|size| *size as u64).collect::<Vec<_>>(), "{flags:?}");
    }
}

/// A pod that sends so much and then closes its connection, or breaks it.
async fn breaking_pod(sent: Vec<u8>, breaks: bool) -> (Scripted, tokio::sync::mpsc::Sender<()>) {
    let (seen, wait) = channel::<()>(1);
    let wait = Arc::new(Mutex::new(wait));
    let scripted = Scripted::start(move |mut stream| {
        let (sent, wait) = (sent.clone(), Arc::clone(&wait));
        async move {
            read_header(&mut stream).await;
            stream.write_all(&sent).await.unwrap();
            if breaks {
                wait.lock().await.recv().await;
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
    })
    .await;
    (scripted, seen)
}

#[tokio::test]
async fn one_that_a_pod_breaks_off_or_garbles_never_looks_complete() {
    let chunk =
        |size: usize, from: usize| [format!("{size:x}\r\n").as_bytes(), &bytes(from + size)[from..], b"\r\n"].concat();
    let coded = [chunk(100_000, 0), chunk(200_000, 100_000), chunk(700, 300_000)].concat();
    let end = coded.len();
    let large = 400_000;
    for (head, sent, whole, breaks) in [
        // In a chunk, in its end, before and in the last one; near the beginning and where much has passed.
        (CHUNKED, coded[..50].to_vec(), true, false),
        (CHUNKED, coded[..250_000].to_vec(), true, false),
        (CHUNKED, coded[..end - 1].to_vec(), true, false),
        (CHUNKED, coded.clone(), true, false),
        (CHUNKED, [&coded, &b"0\r\n"[..]].concat(), true, false),
        (CHUNKED, [&coded, &b"0\r\nX-Sum: 1\r\n"[..]].concat(), true, false),
        (CHUNKED, coded[..250_000].to_vec(), true, true),
        (CHUNKED, coded.clone(), true, true),
        // What is no chunk.
        (CHUNKED, [&coded[..200_007], &b"xx\r\n0\r\n\r\n"[..]].concat(), false, false),
        (CHUNKED, [&coded, &b"-1\r\n0\r\n\r\n"[..]].concat(), false, false),
        (CHUNKED, [&coded, &b"5\nhello\r\n0\r\n\r\n"[..]].concat(), false, false),
        (CHUNKED, [&coded, &b"10000000000000000\r\nhello\r\n0\r\n\r\n"[..]].concat(), false, false),
        (
            CHUNKED,
            [coded.clone(), format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000)).into_bytes()].concat(),
            false,
            false,
        ),
        // Only a connection that is closed ends such a body.
        (UNTIL_CLOSED, bytes(100), true, true),
        (UNTIL_CLOSED, bytes(large), true, true),
    ] {
        let sent = [head.as_bytes(), &sent].concat();
        let (scripted, seen) = breaking_pod(sent.clone(), breaks).await;
        let (ca, manifests) = served(&scripted);
        let said = String::from_utf8_lossy(&sent[sent.len() - 20..]).into_owned();
        for flags in WAYS {
            let proxy = Proxy::start(&manifests, flags);
            for over_tls in [false, true] {
                let mut client = connect(&proxy, &ca, over_tls).await;
                client.write_all(&asking("/")).await.unwrap();
                let mut read = Vec::new();
                let header = timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().unwrap();
                assert!(header.starts_with("HTTP/1.1 200 "), "{header}");
                let body = if head == CHUNKED { decoded(&sent[head.len()..]).0 } else { sent[head.len()..].to_vec() };
                if breaks {
                    while decoded(&read).0.len() < body.len() {
                        read_more(&mut client, &mut read, 100_000).await;
                    }
                    seen.send(()).await.unwrap();
                }
                // A reset is an end too.
                let ended = timeout(PATIENCE, client.read_to_end(&mut read)).await;
                assert!(ended.is_ok(), "{flags:?} {over_tls} {said:?}: the connection is not closed");
                let (came, complete) = decoded(&read);
                assert!(!complete, "{flags:?} {over_tls} {said:?}");
                assert!(body.starts_with(&came), "{flags:?} {over_tls} {said:?}");
                assert!(!whole || came.len() == body.len(), "{flags:?} {over_tls} {said:?}: {}", came.len());
                assert_eq!(proxy.access_line(HOST).await["reason"], "pod_failed", "{flags:?} {over_tls} {said:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_pod_says_beyond_its_last_chunk_reaches_nobody() {
    for length in [1000, 300_000] {
        let smuggled = b"0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
        let head = format!("{CHUNKED}{length:x}\r\n");
        let scripted = Scripted::repeating([head.as_bytes(), &bytes(length), b"\r\n", smuggled].concat()).await;
        let (ca, manifests) = served(&scripted);
        for flags in WAYS {
            gets_again_and_again(&Proxy::start(&manifests, flags), &ca, 5, &bytes(length)).await;
        }
    }
}

#[tokio::test]
async fn extensions_and_trailers_of_a_pod_are_its_own_business() {
    let first = [format!("{CHUNKED}000{:X} ;a=\"b\"\r\n", 300_000).as_bytes(), &bytes(300_000), b"\r\n"].concat();
    let last = [b"5;x\r\n", &bytes(300_005)[300_000..], b"\r\n000;y\r\nX-Sum: 1\r\nY: 2\r\n\r\n"].concat();
    let scripted = Scripted::repeating([first, last].concat()).await;
    let (ca, manifests) = served(&scripted);
    for flags in WAYS {
        gets_again_and_again(&Proxy::start(&manifests, flags), &ca, 2, &bytes(300_005)).await;
    }
}

#[tokio::test]
async fn events_arrive_one_by_one_however_many_there_were() {
    let (arrived, more) = channel::<()>(1);
    let more = Arc::new(Mutex::new(more));
    // Small ones, as much as makes the answer a large one, and small ones again.
    let events = [100, 20, 150_000, 7, 300, 65_536, 1, 400_000, 12];
    let scripted = Scripted::start(move |mut stream| {
        let more = Arc::clone(&more);
        async move {
            let header = read_header(&mut stream).await;
            let chunked = header.starts_with("GET /chunked");
            stream.write_all(if chunked { CHUNKED } else { UNTIL_CLOSED }.as_bytes()).await.unwrap();
            for size in events {
                if chunked {
                    let chunk = [format!("{size:x}\r\n").as_bytes(), &bytes(size), b"\r\n"].concat();
                    stream.write_all(&chunk).await.unwrap();
                } else {
                    stream.write_all(&bytes(size)).await.unwrap();
                }
                more.lock().await.recv().await;
            }
            if chunked {
                stream.write_all(b"0\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    let (ca, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for (path, over_tls) in [("/chunked", false), ("/close", false), ("/chunked", true), ("/close", true)] {
            let mut client = connect(&proxy, &ca, over_tls).await;
            client.write_all(&asking(path)).await.unwrap();
            let mut read = Vec::new();
            read_head(&mut client, &mut read).await.unwrap();
            let mut expected = Vec::new();
            for size in events {
                expected.extend_from_slice(&bytes(size));
                // Whole chunks, so that whoever reads them one by one has all of it.
                while decoded(&read).0.len() < expected.len() || !read.ends_with(b"\r\n") {
                    read_more(&mut client, &mut read, 50_000).await;
                }
                arrived.send(()).await.unwrap();
            }
            while !decoded(&read).1 {
                read_more(&mut client, &mut read, 50_000).await;
            }
            assert!(decoded(&read).0 == expected, "{flags:?} {path}");
        }
    }
}

#[tokio::test]
async fn clients_that_leave_such_an_answer_leave_nothing_behind() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    let proxy = Proxy::of(manifests, &[]);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", proxy.process())).unwrap().count();
    let mut client = connect(&proxy, &ca, false).await;
    ask(&mut client, &asking("/length/10/10")).await;
    let before = descriptors();
    for turn in 0..16 {
        let path = ["/chunked/41943040/100000", "/close/41943040/100000", "/chunked/41943040/5000"][turn % 3];
        let mut leaving = TcpStream::connect(proxy.http).await.unwrap();
        leaving.write_all(&asking(path)).await.unwrap();
        let mut some = vec![0; 1 + turn * 30_000];
        timeout(PATIENCE, leaving.read_exact(&mut some)).await.unwrap().unwrap();
        if turn % 2 == 0 {
            SockRef::from(&leaving).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    eventually("their connections are closed", || async { (descriptors() <= before + 8).then_some(()) }).await;
    ask(&mut client, &asking("/chunked/300000/1000")).await;
    let reasons = || {
        let lines = proxy.access_log();
        (lines.len() == 18).then(|| lines.iter().filter(|line| line["reason"] == "client_gone").count())
    };
    assert_eq!(eventually("all are in the log", || async { reasons() }).await, 16);
}

#[tokio::test]
async fn a_slow_reader_gets_every_byte_of_such_an_answer() {
    let scripted = bytes_pod().await;
    let (_, manifests) = served(&scripted);
    let proxy = Proxy::of(manifests, &[]);
    let length = 3 << 20;
    for path in
        [format!("/chunked/{length}/150000"), format!("/chunked/{length}/900"), format!("/close/{length}/100000")]
    {
        let mut client = narrow(&proxy).await;
        client.write_all(&asking(&path)).await.unwrap();
        let mut read = Vec::new();
        read_head(&mut client, &mut read).await.unwrap();
        while !read.ends_with(b"\r\n0\r\n\r\n") {
            tokio::task::yield_now().await;
            read_more(&mut client, &mut read, 3000).await;
        }
        let (body, complete) = decoded(&read);
        assert!(complete && body == bytes(length), "{path}");
    }
}
