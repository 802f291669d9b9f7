//! Abuse of HTTP/2: whoever floods a connection is sent away, what it costs is bounded, and another client is served all the while.

use super::support::client::connect_tls;
use super::support::h2_wire::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, Wire, frame, get as header, integer,
};
use super::support::manifests::{pod, route, service};
use super::support::wire::read_head;
use super::support::{Manifests, Proxy, Scripted, echo_pod, eventually, get};
use nearside_loadtest::certificates::TestCa;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const HOST: &str = "web.example.com";
/// What an attack on one connection may cost for good. An answer that is held up costs its own size.
const GROWTH: u64 = 24 * 1024 * 1024;
/// Bytes that a stream may take whose client takes nothing of a large answer: one part of it, and what a request takes.
const STALLED: u64 = 128 * 1024;
const ENHANCE_YOUR_CALM: u32 = 11;
/// More of any frame than anybody may send.
const FLOOD: usize = 20_000;
/// Streams that are given up at a time.
const WAVE: u32 = 25;
/// SETTINGS_INITIAL_WINDOW_SIZE.
const WINDOW: u16 = 4;

/// A pod that answers nothing but `/`.
struct WaitingPod {
    scripted: Scripted,
    /// Requests that wait, or have.
    asked: Arc<AtomicUsize>,
    /// Those of them that were given up.
    left: Arc<AtomicUsize>,
}

impl WaitingPod {
    async fn start() -> Self {
        let (asked, left) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&asked), Arc::clone(&left));
        let scripted = Scripted::start(move |mut stream| {
            let (asked, left) = counts.clone();
            async move {
                let mut read = Vec::new();
                while let Some(header) = read_head(&mut stream, &mut read).await {
                    if !header.starts_with("GET / ") {
                        asked.fetch_add(1, Ordering::Relaxed);
                        // The end of the connection.
                        drop(stream.read_u8().await);
                        left.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await);
                }
            }
        })
        .await;
        Self { scripted, asked, left }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

fn served(scripted: &Scripted, flags: &[&str]) -> Proxy {
    let objects = [route("web", HOST, json!({})), service("web"), pod("web", "web-1", scripted.address)];
    Proxy::of(Manifests::with(&objects), flags)
}

/// A client that asks again and again, over connections of its own, until it is told to stop; each answer is right.
struct Canary {
    over: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Canary {
    fn begin(proxy: &Proxy) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (told, address) = (Arc::clone(&over), proxy.http);
        let task = tokio::spawn(async move {
            let mut served = 0;
            while !told.load(Ordering::Relaxed) {
                assert_eq!(get(address, HOST, "/").await.status, 200);
                served += 1;
            }
            served
        });
        Self { over, task }
    }

    async fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        assert!(self.task.await.unwrap() > 0, "others are served meanwhile");
    }
}

/// What a flood of frames gets: they are sent until the proxy has had enough.
async fn flooded(wire: &mut Wire<TcpStream>, mut part: impl FnMut(usize) -> Vec<u8>) -> Option<u32> {
    let mut goaway = None;
    for number in 0..FLOOD {
        if !wire.send(&part(number)).await {
            break;
        }
        // What the proxy says meanwhile is read, so that it never waits for its client.
        while let Ok(Some(frame)) = timeout(std::time::Duration::ZERO, wire.read()).await {
            if frame.kind == GOAWAY {
                goaway = goaway.or_else(|| Some(frame.code()));
            }
        }
        if goaway.is_some() {
            break;
        }
    }
    match goaway {
        Some(code) => Some(code),
        None => wire.end().await,
    }
}

/// One stream that waits for its pod, as a place for frames.
async fn with_stream(wire: &mut Wire<TcpStream>) {
    wire.send(&frame(HEADERS, END_HEADERS, 1, &header(HOST, "/wait", &[]))).await;
}

type Part = Box<dyn FnMut(usize) -> Vec<u8>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_any_kind_ends_its_connection_and_nothing_else() {
    let pod = WaitingPod::start().await;
    let proxy = served(&pod.scripted, &[]);
    let of_stream = |number: usize| u32::try_from(number).unwrap() * 2 + 3;
    let parts: [(&str, &str, Part); 12] = [
        (
            "rapid reset",
            "reset",
            Box::new(move |number| {
                let stream = of_stream(number);
                let begin = frame(HEADERS, END_HEADERS | END_STREAM, stream, &header(HOST, "/wait", &[]));
                [begin, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
            }),
        ),
        // Each makes the proxy reset the stream.
        (
            "made you reset by a window of nothing",
            "provoked_reset",
            Box::new(move |number| {
                let stream = of_stream(number);
                let begin = frame(HEADERS, END_HEADERS | END_STREAM, stream, &header(HOST, "/wait", &[]));
                [begin, frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 0])].concat()
            }),
        ),
        (
            "made you reset by a window that overflows",
            "provoked_reset",
            Box::new(move |number| {
                let stream = of_stream(number);
                let begin = frame(HEADERS, END_HEADERS | END_STREAM, stream, &header(HOST, "/wait", &[]));
                [begin, frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])].concat()
            }),
        ),
        (
            "made you reset by more than the end",
            "provoked_reset",
            Box::new(move |number| {
                let stream = of_stream(number);
                let begin = frame(HEADERS, END_HEADERS | END_STREAM, stream, &header(HOST, "/wait", &[]));
                [begin, frame(DATA, 0, stream, b"more")].concat()
            }),
        ),
        ("empty DATA", "empty", Box::new(|_| frame(DATA, 0, 1, &[]))),
        ("SETTINGS", "settings", Box::new(|_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))),
        ("SETTINGS that say yes", "settings", Box::new(|_| frame(SETTINGS, ACK, 0, &[]))),
        ("PING", "ping", Box::new(|_| frame(PING, 0, 0, &[7; 8]))),
        (
            "PRIORITY",
            "priority",
            Box::new(move |number| {
                let [a, b, c, d] = (u32::try_from(number).unwrap() % 50 * 2 + 101).to_be_bytes();
                frame(PRIORITY, 0, of_stream(number % 90), &[a, b, c, d, 16])
            }),
        ),
        ("WINDOW_UPDATE", "window_update", Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        ("frames that mean nothing", "unknown", Box::new(|_| frame(0xbe, 0, 0, b"grease"))),
        (
            "a header without end",
            "",
            Box::new(|number| match number {
                0 => frame(HEADERS, END_STREAM, 3, &header(HOST, "/wait", &[])),
                _ => frame(CONTINUATION, 0, 3, &[]),
            }),
        ),
    ];
    let canary = Canary::begin(&proxy);
    // The first attack finds pools and buffers that are not there yet.
    get(proxy.http, HOST, "/").await;
    let before = proxy.resident_bytes();
    for (what, kind, part) in parts {
        let mut wire = Wire::begin(TcpStream::connect(proxy.http).await.unwrap(), &[]).await;
        with_stream(&mut wire).await;
        let code = flooded(&mut wire, part).await;
        assert!(code.is_none_or(|code| code != 0), "{what}: {code:?}");
        if !kind.is_empty() {
            let label = format!("kind=\"{kind}\"");
            let counted = proxy.metric("nearside_http2_abuse_total", &label).await;
            assert!(counted.is_some_and(|count| count >= 1.0) || code.is_some(), "{what}: {counted:?}, {code:?}");
        }
        let after = proxy.resident_bytes();
        assert!(after < before + GROWTH, "{what}: {before} bytes, then {after}");
    }
    canary.end().await;
    // The others are the library's.
    for kind in ["settings", "ping", "priority", "window_update", "unknown"] {
        let counted = proxy.metric("nearside_http2_abuse_total", &format!("kind=\"{kind}\"")).await;
        assert!(counted.is_some_and(|count| count >= 1.0), "{kind}: {counted:?}");
    }
}

#[tokio::test]
async fn requests_that_are_given_up_at_once_are_given_up_at_the_pod_too() {
    let pod = WaitingPod::start().await;
    let proxy = served(&pod.scripted, &[]);
    let mut wire = Wire::begin(TcpStream::connect(proxy.http).await.unwrap(), &[]).await;
    let (mut stream, mut code) = (1, None);
    while code.is_none() {
        let wave: Vec<u32> = (0..WAVE).map(|number| stream + number * 2).collect();
        stream += WAVE * 2;
        assert!(stream < 10_000, "the client is never sent away");
        let asked = pod.asked() + wave.len();
        let begun = wave
            .iter()
            .flat_map(|stream| frame(HEADERS, END_HEADERS | END_STREAM, *stream, &header(HOST, "/wait", &[])));
        wire.send(&begun.collect::<Vec<_>>()).await;
        eventually("the pod is asked", || async { (pod.asked() == asked).then_some(()) }).await;
        let given_up = wave.iter().flat_map(|stream| frame(RST_STREAM, 0, *stream, &[0, 0, 0, 8]));
        // What is said after that was heard.
        wire.send(&given_up.chain(frame(PING, 0, 0, &[9; 8])).collect::<Vec<_>>()).await;
        loop {
            match wire.next().await {
                Some(Frame { kind: PING, flags: ACK, .. }) => break,
                Some(frame) if frame.kind == GOAWAY => code = Some(frame.code()),
                Some(_) => {}
                None => break,
            }
        }
    }
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
    assert_eq!(proxy.metric("nearside_http2_abuse_total", "kind=\"reset\"").await, Some(1.0));
    eventually("no request is left", || async {
        let (_, page) = proxy.page("/metrics").await;
        let mut busy = page.lines().filter(|line| line.starts_with("nearside_pod_current_requests{"));
        (pod.left() == pod.asked() && busy.all(|line| line.ends_with(" 0"))).then_some(())
    })
    .await;
}

/// A GET whose header is full of references to one field, which takes one byte each.
fn bomb(references: usize) -> Vec<u8> {
    let mut block = header(HOST, "/wait", &[]);
    // With incremental indexing: the newest field of the dynamic table, 62.
    block.push(0x40);
    integer(&mut block, 1, 7, 0);
    block.push(b'a');
    integer(&mut block, 1, 7, 0);
    block.push(b'b');
    block.extend(std::iter::repeat_n(0x80 | 62, references));
    block
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_unfold_cost_no_more_than_they_may() {
    let pod = WaitingPod::start().await;
    let proxy = served(&pod.scripted, &[]);
    let canary = Canary::begin(&proxy);
    get(proxy.http, HOST, "/").await;
    let before = proxy.resident_bytes();
    for references in [200, 450, 900, 1900] {
        let mut wires = Vec::new();
        for _ in 0..8 {
            // No answer has any room.
            let mut wire = Wire::begin(TcpStream::connect(proxy.http).await.unwrap(), &[(WINDOW, 0)]).await;
            let block = bomb(references);
            let streams = (0..100).map(|number| frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &block));
            wire.send(&streams.collect::<Vec<_>>().concat()).await;
            // What it is told of the first says that all of them are read.
            wire.answer(199).await;
            wires.push(wire);
        }
        let after = proxy.resident_bytes();
        assert!(after < before + GROWTH, "{references}: {before} bytes, then {after}");
    }
    canary.end().await;
    assert_eq!(pod.asked(), 0, "none of them reached the pod");
}

#[tokio::test]
async fn many_cookies_of_http_2_count_as_fields_and_a_few_reach_the_pod_as_one() {
    let (_pod, address) = echo_pod("web-1");
    let objects = [route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)];
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    let mut wire = Wire::begin(TcpStream::connect(proxy.http).await.unwrap(), &[]).await;
    for (stream, crumbs, expected) in [(1, 100, true), (3, 130, false)] {
        let cookies: Vec<(String, String)> =
            (0..crumbs).map(|crumb| ("cookie".into(), format!("c{crumb}=1"))).collect();
        let cookies: Vec<(&str, &str)> = cookies.iter().map(|(name, value)| (&**name, &**value)).collect();
        wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &header(HOST, "/", &cookies))).await;
        assert_eq!(wire.answer(stream).await == Some(200), expected, "{crumbs}");
    }
}

/// A pod that answers anything but `/` with so many bytes, and counts the connections that ended after that.
async fn generous_pod(bytes: usize) -> (Scripted, Arc<AtomicUsize>) {
    let over = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&over);
    let scripted = Scripted::start(move |mut stream| {
        let over = Arc::clone(&counted);
        async move {
            let (mut read, mut large) = (Vec::new(), false);
            while let Some(header) = read_head(&mut stream, &mut read).await {
                let length = if header.starts_with("GET / ") { 2 } else { bytes };
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                let answer = [head.into_bytes(), vec![b'x'; length]].concat();
                large |= length > 2;
                if stream.write_all(&answer).await.is_err() {
                    break;
                }
            }
            over.fetch_add(usize::from(large), Ordering::Relaxed);
        }
    })
    .await;
    (scripted, over)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_streams_whose_windows_stay_shut_are_given_up_and_cost_little() {
    let (scripted, over) = generous_pod(8 * 1024 * 1024).await;
    let proxy = served(&scripted, &["--client-stall-timeout=1s"]);
    let canary = Canary::begin(&proxy);
    get(proxy.http, HOST, "/").await;
    let before = proxy.resident_bytes();
    let mut wire = Wire::begin(TcpStream::connect(proxy.http).await.unwrap(), &[(WINDOW, 1)]).await;
    let begin = |number: u32| frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &header(HOST, "/large", &[]));
    wire.send(&(0..100).flat_map(begin).collect::<Vec<u8>>()).await;
    let (mut reset, mut most) = (0, 0);
    while reset < 100 {
        let frame = wire.next().await.expect("the connection lives on");
        most = most.max(proxy.resident_bytes());
        if frame.kind == RST_STREAM {
            reset += 1;
        }
    }
    assert!(most < before + 100 * STALLED, "{before} bytes, then {most}");
    eventually("no pod is left waiting", || async { (over.load(Ordering::Relaxed) == 100).then_some(()) }).await;
    // The connection itself has done nothing wrong.
    wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, 301, &header(HOST, "/", &[]))).await;
    assert_eq!(wire.answer(301).await, Some(200));
    canary.end().await;
}

#[tokio::test]
async fn a_header_that_dribbles_ends_its_connection_in_the_time_of_a_header() {
    let pod = WaitingPod::start().await;
    let proxy = served(&pod.scripted, &["--header-timeout=1s"]);
    let block = header(HOST, "/", &[]);
    let whole = frame(HEADERS, END_HEADERS | END_STREAM, 3, &block);
    let unfinished = frame(HEADERS, END_STREAM, 3, &block);
    for (what, part) in [("half a frame", &whole[..20]), ("a header without its end", &unfinished[..])] {
        let mut wire = Wire::begin(TcpStream::connect(proxy.http).await.unwrap(), &[]).await;
        wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).await;
        assert_eq!(wire.answer(1).await, Some(200), "{what}");
        wire.send(part).await;
        assert_eq!(wire.end().await, Some(ENHANCE_YOUR_CALM), "{what}");
    }
    assert_eq!(proxy.metric("nearside_http2_abuse_total", "kind=\"slow_header\"").await, Some(2.0));
}

/// A client over TLS is looked at as one without.
#[tokio::test]
async fn floods_end_over_tls_too_and_the_client_is_told() {
    let waiting = WaitingPod::start().await;
    let ca = TestCa::new("test").unwrap();
    let identity = ca.identity(&[HOST]).unwrap();
    let tls = json!({ "tls": { "termination": "edge", "certificate": identity.certificate, "key": identity.key } });
    let objects = [route("web", HOST, tls), service("web"), pod("web", "web-1", waiting.scripted.address)];
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    let stream = connect_tls(proxy.https, &ca, HOST, &["h2"]).await.unwrap();
    let mut wire = Wire::begin(stream, &[]).await;
    wire.send(&frame(PING, 0, 0, &[0; 8]).repeat(200)).await;
    assert_eq!(wire.end().await, Some(ENHANCE_YOUR_CALM));
}

/// What browsers and gRPC do in a busy hour is no flood.
#[tokio::test]
async fn a_busy_client_is_never_sent_away() {
    let (scripted, _) = generous_pod(200_000).await;
    let proxy = served(&scripted, &[]);
    let mut wire = Wire::begin(TcpStream::connect(proxy.http).await.unwrap(), &[(WINDOW, 1 << 20)]).await;
    wire.send(&frame(WINDOW_UPDATE, 0, 0, &[0x10, 0, 0, 0])).await;
    for number in 0..300 {
        let stream = number * 2 + 1;
        let begin = frame(HEADERS, END_HEADERS | END_STREAM, stream, &header(HOST, "/large", &[]));
        wire.send(&[begin, frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 16])].concat()).await;
        loop {
            let Frame { kind, flags, stream: of, content } = wire.next().await.expect("the connection lives on");
            assert_ne!(kind, GOAWAY, "{number}");
            if kind == DATA {
                // Each part is acknowledged twice and measured once.
                let [a, b, c, d] = u32::try_from(content.len().max(1)).unwrap().to_be_bytes();
                let update = |stream| frame(WINDOW_UPDATE, 0, stream, &[a, b, c, d]);
                wire.send(&[update(0), update(of), frame(PING, 0, 0, &[1; 8])].concat()).await;
            }
            if of == stream && flags & END_STREAM != 0 {
                break;
            }
            if number % 3 == 0 && kind == HEADERS && of == stream {
                // It has seen enough.
                wire.send(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])).await;
                break;
            }
        }
    }
    assert_eq!(proxy.metric("nearside_http2_abuse_total", "").await, None);
}
