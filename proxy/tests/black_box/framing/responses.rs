//! Odd answers of pods, one row each, and what the client gets of them. Whatever that is, the pod's connection is asked nothing more, and
//! the next client gets its own answer.

use crate::byte_path::{WAYS, Wire, connect, served};
use crate::support::wire::{read_body, read_head};
use crate::support::{PATIENCE, Proxy, Scripted};
use nearside_loadtest::certificates::TestCa;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

/// What a client gets.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// 502 of the proxy.
    Bad,
    /// An answer that breaks off before its end.
    Cut,
    /// This status and body, framed in one way.
    Whole(u16, &'static str),
    /// The same, and there is no doubt where it ends: the pod's connection may be used again.
    Clear(u16, &'static str),
}

use Expected::{Bad, Clear, Cut, Whole};

/// What a pod answers to this method, and what the client gets. After `{*}` the rest is repeated without end.
const ROWS: &[(&str, &str, &str, Expected)] = &[
    (
        "a second answer",
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        Whole(200, "ok"),
    ),
    ("a byte too much", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!", Whole(200, "ok")),
    (
        "a second answer after chunks",
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        Whole(200, "ok"),
    ),
    (
        "a body that is none",
        "GET",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        Whole(204, ""),
    ),
    ("a length of no body", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", Whole(204, "")),
    (
        "chunks of no body",
        "GET",
        "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        Whole(304, ""),
    ),
    ("a body to HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", Whole(200, "")),
    ("two lengths", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nokay", Bad),
    ("two lengths in a list", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2, 4\r\n\r\nokay", Bad),
    ("a length with a sign", "GET", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", Bad),
    ("a length of no digits", "GET", "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok", Bad),
    ("a length twice", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", Clear(200, "ok")),
    (
        "a length and chunks",
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Clear(200, "ok"),
    ),
    ("chunked twice", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Bad),
    (
        "chunked in two lines",
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Bad,
    ),
    (
        "a coding that is not known",
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Bad,
    ),
    ("a chunk without a size", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nx\r\n", Cut),
    (
        "a chunk beyond 64 bits",
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n10000000000000001\r\n",
        Cut,
    ),
    ("a folded field", "GET", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", Clear(200, "ok")),
    ("a blank before a colon", "GET", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", Clear(200, "ok")),
    ("a zero in a value", "GET", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok", Bad),
    ("another version", "GET", "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok", Bad),
    ("another protocol", "GET", "SSH-2.0-OpenSSH\r\n\r\n", Bad),
    (
        "protocols that nobody asked for",
        "GET",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        Bad,
    ),
    (
        "an interim answer that is none",
        "GET",
        "HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!",
        Whole(200, "ok"),
    ),
    (
        "a header without end",
        "GET",
        "HTTP/1.1 200 OK\r\n{*}X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n",
        Bad,
    ),
    (
        "a line without end",
        "GET",
        "HTTP/1.1 200 OK\r\nX: {*}yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
        Bad,
    ),
    ("interim answers without end", "GET", "{*}HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", Bad),
];

/// A pod that answers `/odd` with a row and anything else with the last part of its path, and counts what it is asked after the former.
async fn odd_pod() -> (Scripted, Arc<AtomicUsize>) {
    let again = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&again);
    let scripted = Scripted::start(move |mut stream| {
        let again = Arc::clone(&counted);
        async move {
            let mut read = Vec::new();
            while let Some(header) = read_head(&mut stream, &mut read).await {
                let path = header.split(' ').nth(1).unwrap_or_default();
                if let Some(row) = path.strip_prefix("/odd/").and_then(|row| row.parse::<usize>().ok()) {
                    answer(&mut stream, ROWS[row].2).await;
                    // Whether it is asked anything more.
                    let more = read_head(&mut stream, &mut read).await;
                    again.fetch_add(usize::from(more.is_some()), Ordering::Relaxed);
                    return;
                }
                let word = path.trim_start_matches('/');
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{word}", word.len());
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (scripted, again)
}

async fn answer(stream: &mut TcpStream, row: &str) {
    let (once, repeated) = row.split_once("{*}").unwrap_or((row, ""));
    let mut sent = stream.write_all(once.as_bytes()).await;
    let part = repeated.repeat(100);
    // Until the proxy has had enough.
    while sent.is_ok() && !part.is_empty() {
        sent = stream.write_all(part.as_bytes()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_pod_answers_its_client_gets_one_answer_and_the_next_client_its_own() {
    let (scripted, again) = odd_pod().await;
    let (ca, manifests) = served(&scripted);
    let mut wrong = Vec::new();
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for over_tls in [false, true] {
            for (number, (what, method, _, expected)) in ROWS.iter().enumerate() {
                let before = again.load(Ordering::Relaxed);
                if let Err(found) = row(&proxy, &ca, over_tls, (number, method, *expected)).await {
                    wrong.push(format!("{what} ({flags:?}, over TLS: {over_tls}): {found}"));
                }
                if again.load(Ordering::Relaxed) > before && !matches!(expected, Clear(..)) {
                    wrong
                        .push(format!("{what} ({flags:?}, over TLS: {over_tls}): the pod's connection was used again"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them: {wrong:#?}", wrong.len());
}

async fn row(proxy: &Proxy, ca: &TestCa, over_tls: bool, asked: (usize, &str, Expected)) -> Result<(), String> {
    let (number, method, expected) = asked;
    let mut client = connect(proxy, ca, over_tls).await;
    let host = crate::byte_path::HOST;
    let request = format!("{method} /odd/{number} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    client.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    client.flush().await.map_err(|error| error.to_string())?;
    let mut read = Vec::new();
    let header = loop {
        let header = timeout(PATIENCE, read_head(&mut client, &mut read)).await.map_err(|_| "no answer comes")?;
        let header = header.ok_or("the connection ends")?;
        if !header.starts_with("HTTP/1.1 1") {
            break header;
        }
    };
    let status: u16 = header.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
    let fields = header.to_ascii_lowercase();
    if fields.matches("\r\ncontent-length:").count() + fields.matches("\r\ntransfer-encoding:").count() > 1 {
        return Err(format!("framed in two ways: {header:?}"));
    }
    let bodiless = method == "HEAD" || matches!(status, 204 | 304);
    let body = match bodiless {
        true => Some(Vec::new()),
        false => timeout(PATIENCE, read_body(&mut client, &header, &mut read)).await.map_err(|_| "no end comes")?,
    };
    let text = body.as_deref().map(String::from_utf8_lossy);
    let fits = match expected {
        Bad => status == 502 && fields.contains("server: nearside"),
        Cut => status == 200 && text.is_none() || status == 502,
        Whole(expected, body) | Clear(expected, body) => status == expected && text.as_deref() == Some(body),
    };
    if !fits {
        return Err(format!("{header:?} {text:?}"));
    }
    own(&mut client, &mut read, "same").await?;
    let mut other = connect(proxy, ca, over_tls).await;
    if !own(&mut other, &mut Vec::new(), "other").await? {
        return Err("another client is not served".into());
    }
    Ok(())
}

/// Whether the connection lives on; if so it gets its own answer.
async fn own(client: &mut Box<dyn Wire>, read: &mut Vec<u8>, word: &str) -> Result<bool, String> {
    let request = format!("GET /{word} HTTP/1.1\r\nHost: {}\r\n\r\n", crate::byte_path::HOST);
    drop(client.write_all(request.as_bytes()).await);
    drop(client.flush().await);
    let header = timeout(PATIENCE, read_head(client, read)).await.map_err(|_| "neither an answer comes nor the end")?;
    let Some(header) = header else { return Ok(false) };
    let body = timeout(PATIENCE, read_body(client, &header, read)).await.map_err(|_| "no body comes")?;
    match body.as_deref() == Some(word.as_bytes()) && header.starts_with("HTTP/1.1 200 ") {
        true => Ok(true),
        false => Err(format!("{word} got {header:?} {body:?}")),
    }
}

/// A pod that says something while it is asked nothing.
#[tokio::test]
async fn what_a_pod_says_between_requests_is_nobodys_answer() {
    let (speak, spoken) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, telling) = (Arc::clone(&speak), Arc::clone(&spoken));
    let scripted = Scripted::start(move |mut stream| {
        let (told, telling) = (Arc::clone(&told), Arc::clone(&telling));
        async move {
            let mut read = Vec::new();
            while let Some(header) = read_head(&mut stream, &mut read).await {
                let word = header.split(['/', ' ']).nth(2).unwrap_or_default();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{word}", word.len());
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                if word == "first" {
                    told.notified().await;
                    drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").await);
                    // Nobody wants a connection on which such things are said.
                    let more = read_head(&mut stream, &mut read).await;
                    assert_eq!(more, None, "the connection is used again");
                    telling.notify_one();
                    return;
                }
            }
        }
    })
    .await;
    let (ca, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for over_tls in [false, true] {
            let mut client = connect(&proxy, &ca, over_tls).await;
            assert_eq!(own(&mut client, &mut Vec::new(), "first").await, Ok(true));
            speak.notify_one();
            timeout(PATIENCE, spoken.notified()).await.expect("the proxy closes the pod's connection");
            let mut other = connect(&proxy, &ca, over_tls).await;
            assert_eq!(own(&mut other, &mut Vec::new(), "second").await, Ok(true), "{flags:?} {over_tls}");
        }
    }
}

/// A pod that answers before it is asked: its word is the first request's at most.
#[tokio::test]
async fn a_pod_that_answers_before_it_is_asked_answers_nobody_else() {
    let scripted = Scripted::start(|mut stream| async move {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\neager").await);
        let mut read = Vec::new();
        while let Some(header) = read_head(&mut stream, &mut read).await {
            let word = header.split(['/', ' ']).nth(2).unwrap_or_default();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{word}", word.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
    let (ca, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for number in 0..20 {
            let mut client = connect(&proxy, &ca, number % 2 == 1).await;
            let request = format!("GET /w{number} HTTP/1.1\r\nHost: {}\r\n\r\n", crate::byte_path::HOST);
            client.write_all(request.as_bytes()).await.unwrap();
            client.flush().await.unwrap();
            let mut read = Vec::new();
            let header = timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().expect("an answer comes");
            let body = timeout(PATIENCE, read_body(&mut client, &header, &mut read)).await.unwrap().unwrap_or_default();
            let own = format!("w{number}");
            assert!(
                body == b"eager" || body == own.as_bytes(),
                "{flags:?}: {header} {}",
                String::from_utf8_lossy(&body)
            );
        }
    }
}

/// The request of a client that goes on sending after the pod's answer is not the pod's next one.
#[tokio::test]
async fn a_connection_whose_request_was_not_sent_to_its_end_is_not_used_again() {
    let again = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&again);
    let scripted = Scripted::start(move |mut stream| {
        let again = Arc::clone(&counted);
        async move {
            let mut read = Vec::new();
            while let Some(header) = read_head(&mut stream, &mut read).await {
                let word = if header.starts_with("POST ") { "early" } else { "own" };
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{word}", word.len());
                drop(stream.write_all(answer.as_bytes()).await);
                if word == "early" {
                    drop(stream.read_to_end(&mut read).await);
                    let used = read.windows(4).any(|part| part == b"GET ");
                    again.fetch_add(usize::from(used), Ordering::Relaxed);
                    return;
                }
            }
        }
    })
    .await;
    let (ca, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for over_tls in [false, true] {
            for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
                let mut client = connect(&proxy, &ca, over_tls).await;
                let host = crate::byte_path::HOST;
                let request = format!("POST / HTTP/1.1\r\nHost: {host}\r\n{framing}\r\n\r\n5\r\nabcde\r\n");
                client.write_all(request.as_bytes()).await.unwrap();
                client.flush().await.unwrap();
                let mut read = Vec::new();
                let header =
                    timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().expect("an answer comes");
                assert!(header.starts_with("HTTP/1.1 200 "), "{header}");
                drop(client);
                let mut other = connect(&proxy, &ca, over_tls).await;
                let request = format!("GET /own HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
                other.write_all(request.as_bytes()).await.unwrap();
                other.flush().await.unwrap();
                let header = timeout(PATIENCE, read_head(&mut other, &mut Vec::new())).await.unwrap();
                assert!(header.is_some_and(|header| header.starts_with("HTTP/1.1 200 ")));
            }
        }
    }
    assert_eq!(again.load(Ordering::Relaxed), 0);
}
