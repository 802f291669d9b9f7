//! The bytes themselves: what a pod sends is what its client gets, and the other way round, whatever way they take through the
//! proxy, at every length around the thresholds, and whoever breaks off. The ways differ in nothing that can be seen.

mod clients;
mod tunnels;
mod unmeasured;
mod uploads;

use super::support::bytes_pod::bytes_pod;
use super::support::manifests::{annotated, pod, route, service};
use super::support::pods::{Scripted, read_header};
use super::support::wire::{Numbers, ask, bytes, read_body, read_head, read_more};
use super::support::{Manifests, PATIENCE, Proxy, eventually, get, wanted_requests};
use clients::{Client, Transport};
pub(super) use clients::{Wire, connect};
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};
use socket2::SockRef;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

pub(super) const HOST: &str = "web.example.com";

/// Of how many random sizes bodies are of each framing.
fn sizes() -> usize {
    wanted_requests().map_or(30, |requests| requests.div_ceil(100))
}

/// The ways that bytes can take.
pub(super) const WAYS: [&[&str]; 3] = [&[], &["--splice=false"], &["--fast-path=false"]];

/// A Route that is served with and without TLS, and a pod behind it.
fn objects(ca: &TestCa, scripted: &Scripted) -> [Value; 3] {
    let identity = ca.identity(&[HOST]).unwrap();
    let tls = json!({ "termination": "edge", "certificate": identity.certificate, "key": identity.key,
                      "insecureEdgeTerminationPolicy": "Allow" });
    [route("web", HOST, json!({ "tls": tls })), service("web"), pod("web", "web-1", scripted.address)]
}

/// The same in a directory.
pub(super) fn served(scripted: &Scripted) -> (TestCa, Manifests) {
    let ca = TestCa::new("test").unwrap();
    let manifests = Manifests::with(&objects(&ca, scripted));
    (ca, manifests)
}

/// A request for a path.
fn asking(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes()
}

/// What clients get that ask a pod again and again over connections that live on, with and without TLS.
async fn gets_again_and_again(proxy: &Proxy, ca: &TestCa, times: usize, expected: &[u8]) {
    for over_tls in [false, true] {
        let mut client = connect(proxy, ca, over_tls).await;
        for _ in 0..times {
            let (_, body) = ask(&mut client, &asking("/")).await;
            assert!(body == expected, "{over_tls}: {} bytes", body.len());
        }
    }
}

/// A client whose socket has next to no room.
async fn narrow(proxy: &Proxy) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(proxy.http).await.unwrap()
}

#[tokio::test]
async fn bodies_of_every_size_and_framing_arrive_as_they_were_sent() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for transport in Transport::ALL {
            let mut client = Client::connect(&proxy, &ca, transport).await;
            let mut numbers = Numbers(7);
            for turn in 0..sizes() * 3 {
                let (size, piece) = (numbers.size(), numbers.size().max(200));
                let framing = ["length", "chunked", "close"][turn % 3];
                let body = client.download(&format!("/{framing}/{size}/{piece}")).await;
                let came = body.len();
                assert!(body == bytes(size), "{flags:?} {transport:?} {framing} {size} in {piece}: {came} came");
            }
        }
        eventually("the log tells the bytes", || async { (proxy.access_text().len() == sizes() * 9).then_some(()) })
            .await;
        assert!(proxy.access_log().iter().all(|line| line["status"] == 200));
    }
}

#[tokio::test]
async fn requests_of_every_size_and_framing_arrive_as_they_were_sent() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for transport in Transport::ALL {
            let mut client = Client::connect(&proxy, &ca, transport).await;
            let mut numbers = Numbers(11);
            for turn in 0..sizes() * 2 {
                let (size, piece) = (numbers.size() / 2, numbers.size().max(200));
                let mirrored = client.upload(bytes(size), (turn % 2 == 1).then_some(piece)).await;
                let came = mirrored.len();
                assert!(mirrored == bytes(size), "{flags:?} {transport:?} {size} in {piece}: {came} came");
            }
        }
    }
}

/// A pod that promises so many bytes, sends so many, and closes.
async fn promising_pod(promised: usize, sent: usize) -> Scripted {
    Scripted::start(move |mut stream| async move {
        read_header(&mut stream).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {promised}\r\n\r\n");
        drop(stream.write_all(&[head.as_bytes(), &bytes(sent)].concat()).await);
    })
    .await
}

/// Everything until the end of the connection.
async fn to_end(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut read = Vec::new();
    // A reset is an end too.
    drop(timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("the proxy closes"));
    read
}

#[tokio::test]
async fn a_body_that_a_pod_breaks_off_ends_there_and_nothing_is_put_in_its_place() {
    for (promised, sent) in [(2000, 1000), (100_000, 70_000), (1 << 20, 10), (1 << 20, 500_000)] {
        let scripted = promising_pod(promised, sent).await;
        let (ca, manifests) = served(&scripted);
        for flags in WAYS {
            let proxy = Proxy::start(&manifests, flags);
            for over_tls in [false, true] {
                let mut client = connect(&proxy, &ca, over_tls).await;
                client.write_all(&asking("/")).await.unwrap();
                let answer = to_end(&mut client).await;
                let end = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
                assert!(answer.starts_with(b"HTTP/1.1 200 "));
                assert!(answer[end..] == bytes(sent), "{flags:?} {sent} of {promised}: {}", answer.len() - end);
                assert_eq!(proxy.access_line(HOST).await["reason"], "pod_failed");
            }
        }
    }
}

#[tokio::test]
async fn what_a_pod_sends_beyond_its_answer_reaches_nobody() {
    for length in [1000, 300_000] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
        let scripted = Scripted::repeating([head.as_bytes(), &bytes(length), smuggled].concat()).await;
        let (ca, manifests) = served(&scripted);
        gets_again_and_again(&Proxy::start(&manifests, &[]), &ca, 5, &bytes(length)).await;
    }
}

#[tokio::test]
async fn clients_that_leave_in_the_middle_leave_nothing_behind() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    let proxy = Proxy::of(manifests, &[]);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", proxy.process())).unwrap().count();
    let mut client = connect(&proxy, &ca, false).await;
    ask(&mut client, &asking("/length/10/10")).await;
    let before = descriptors();
    for turn in 0..20 {
        let request = asking("/length/41943040/100000");
        let mut over_tls = connect(&proxy, &ca, true).await;
        over_tls.write_all(&request).await.unwrap();
        let mut leaving = TcpStream::connect(proxy.http).await.unwrap();
        leaving.write_all(&request).await.unwrap();
        let mut some = vec![0; 1 + turn * 20_000];
        timeout(PATIENCE, over_tls.read_exact(&mut some)).await.unwrap().unwrap();
        timeout(PATIENCE, leaving.read_exact(&mut some)).await.unwrap().unwrap();
        if turn % 2 == 0 {
            SockRef::from(&leaving).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    ask(&mut client, &asking("/length/10/10")).await;
    // Pipes and connections to pods may be kept for the next ones, but not for each that left.
    eventually("their connections are closed", || async { (descriptors() <= before + 8).then_some(()) }).await;
}

#[tokio::test]
async fn a_slow_reader_gets_every_byte() {
    let scripted = bytes_pod().await;
    let (_, manifests) = served(&scripted);
    let proxy = Proxy::of(manifests, &[]);
    let mut client = narrow(&proxy).await;
    let length = 6 << 20;
    client.write_all(&asking(&format!("/length/{length}/1000000"))).await.unwrap();
    let mut read = Vec::new();
    read_head(&mut client, &mut read).await.unwrap();
    while read.len() < length {
        tokio::task::yield_now().await;
        read_more(&mut client, &mut read, 3000).await;
    }
    assert!(read == bytes(length));
}

#[tokio::test]
async fn what_a_pod_has_sent_arrives_before_it_sends_more() {
    const PART: usize = 700_001;
    let (arrived, more) = tokio::sync::mpsc::channel::<()>(1);
    let more = std::sync::Arc::new(tokio::sync::Mutex::new(more));
    let scripted = Scripted::start(move |mut stream| {
        let more = std::sync::Arc::clone(&more);
        async move {
            read_header(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PART * 3);
            stream.write_all(head.as_bytes()).await.unwrap();
            for part in bytes(PART * 3).chunks(PART) {
                stream.write_all(part).await.unwrap();
                more.lock().await.recv().await;
            }
        }
    })
    .await;
    let (ca, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for over_tls in [false, true] {
            let mut client = connect(&proxy, &ca, over_tls).await;
            client.write_all(&asking("/")).await.unwrap();
            let mut read = Vec::new();
            read_head(&mut client, &mut read).await.unwrap();
            for part in 1..=3 {
                while read.len() < part * PART {
                    read_more(&mut client, &mut read, 5000).await;
                }
                arrived.send(()).await.unwrap();
            }
            assert!(read == bytes(PART * 3));
        }
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_is_sent_reaches_the_client() {
    let scripted = Scripted::start(|mut stream| async move {
        read_header(&mut stream).await;
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nmuch").await.unwrap();
        // Goes on reading, as servers do that want their answer to be read.
        let mut buffer = vec![0; 64 << 10];
        while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    let (_, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        let mut client = TcpStream::connect(proxy.http).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n", 1 << 30);
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&bytes(100_000)).await.unwrap();
        let mut read = Vec::new();
        let header = timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().expect("an answer comes");
        assert!(header.starts_with("HTTP/1.1 413 "), "{flags:?} {header}");
        let body = timeout(PATIENCE, read_body(&mut client, &header, &mut read)).await.unwrap().unwrap();
        assert_eq!(body, b"much");
    }
}

/// What a client sees of an answer, interim ones included, without what differs from moment to moment or from proxy to proxy.
fn seen(answer: &[u8]) -> Vec<Vec<u8>> {
    let differs = |line: &[u8]| {
        let line = line.to_ascii_lowercase();
        line.starts_with(b"date:") || line.starts_with(b"set-cookie:")
    };
    answer.split(|byte| *byte == b'\n').filter(|line| !differs(line)).map(<[u8]>::to_vec).collect()
}

/// A pod that says in its answer what it was asked, with fields for every rule on answers.
async fn telling_pod() -> Scripted {
    Scripted::start(|mut stream| async move {
        let header = read_header(&mut stream).await;
        let body = read_body(&mut stream, &header, &mut Vec::new()).await.unwrap_or_default();
        let mut lines: Vec<&str> = header.lines().collect();
        // Ports of the moment.
        let differs = ["forwarded:", "x-forwarded-port:"];
        lines.retain(|line| !differs.iter().any(|name| line.to_ascii_lowercase().starts_with(name)));
        // Only the order of fields of one name says anything (RFC 9110 §5.3).
        let fields = lines.get_mut(1..).unwrap_or_default();
        fields.sort_by_key(|line| line.split(':').next().unwrap_or_default().to_ascii_lowercase());
        let told = [lines.join("\n").as_bytes(), &body].concat();
        let path = header.split(' ').nth(1).unwrap_or_default();
        let fields = "X-Secret: of the pod\r\nX-Kept: yes\r\nContent-Type: text/plain\r\nETag: \"a\"";
        let answer = match path.rsplit('/').next() {
            Some("none") => format!("HTTP/1.1 204 No Content\r\n{fields}\r\n\r\n").into_bytes(),
            Some("same") => format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n\r\n").into_bytes(),
            Some("missing") => format!("HTTP/1.1 404 Not Found\r\n{fields}\r\nContent-Length: 0\r\n\r\n").into_bytes(),
            Some("hints") => {
                format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: 2\r\n\r\nok")
                    .into_bytes()
            }
            Some("old") => [format!("HTTP/1.0 200 OK\r\n{fields}\r\n\r\n").as_bytes(), &told].concat(),
            Some("large") => {
                [format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: 300000\r\n\r\n").as_bytes(), &bytes(300_000)].concat()
            }
            Some("broken") => b"HTTP/1.1 two hundred\r\n\r\n".to_vec(),
            Some("silent") => Vec::new(),
            _ if header.starts_with("HEAD") => {
                format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: 300000\r\n\r\n").into_bytes()
            }
            _ => [format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {}\r\n\r\n", told.len()).as_bytes(), &told].concat(),
        };
        drop(stream.write_all(&answer).await);
    })
    .await
}

#[tokio::test]
async fn no_rule_of_a_route_depends_on_the_way_that_bytes_take() {
    let (ca, scripted) = (TestCa::new("test").unwrap(), telling_pod().await);
    let [mut web, service, pod] = objects(&ca, &scripted);
    web["spec"]["path"] = json!("/app");
    web["spec"]["httpHeaders"] = json!({ "actions": {
        "request": [{ "name": "X-Asked", "action": { "type": "Set", "set": { "value": "by the route" } } }],
        "response": [{ "name": "X-Secret", "action": { "type": "Delete" } },
                     { "name": "X-Added", "action": { "type": "Set", "set": { "value": "by the route" } } }]
    } });
    let web = annotated(
        web,
        &[
            ("haproxy.router.openshift.io/rewrite-target", "/inner"),
            ("haproxy.router.openshift.io/hsts_header", "max-age=60"),
            ("haproxy.router.openshift.io/disable_cookies", "false"),
            ("router.openshift.io/cookie_name", "kept"),
        ],
    );
    let manifests = Manifests::with(&[web, service, pod]);
    let mut requests = Vec::new();
    for path in ["", "none", "same", "missing", "hints", "old", "large", "broken", "silent", "../up", "x?y=z"] {
        for method in ["GET", "HEAD", "POST"] {
            let fields = "X-Client: a\r\nX-Forwarded-For: 192.0.2.1\r\nTE: gzip\r\nKeep-Alive: timeout=5";
            let body = if method == "POST" { "Content-Length: 5\r\n\r\nhello" } else { "\r\n" };
            requests.push(format!(
                "{method} /app/{path} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\nConnection: close, X-Client\r\n{body}"
            ));
        }
    }
    requests.push(format!("GET /app/ HTTP/1.1\r\nHost: {HOST}\r\nConnection: close, X-Forwarded-For\r\n\r\n"));
    requests.push(format!("GET http://{HOST}/app/a HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"));
    requests.push(format!("GET /app/ HTTP/1.0\r\nHost: {HOST}\r\n\r\n"));
    requests.push(format!("GET /app/ HTTP/1.1\r\nHost: {HOST}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"));
    let mut ways = Vec::new();
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, &[flags, &["--compression", "--compression-types=text/html"]].concat());
        let mut answers = Vec::new();
        for request in &requests {
            let mut client = TcpStream::connect(proxy.http).await.unwrap();
            client.write_all(request.as_bytes()).await.unwrap();
            answers.push(seen(&to_end(&mut client).await));
        }
        let logged = eventually("the log has all", || async {
            let lines = proxy.access_log();
            (lines.len() >= requests.len()).then_some(lines)
        })
        .await;
        let logged: Vec<Value> = logged
            .iter()
            .map(|line| json!([line["status"], line["reason"], line["sent"], line["received"], line["pod"]]))
            .collect();
        ways.push((flags, answers, logged));
    }
    let (_, answers, logged) = ways.pop().unwrap();
    for (flags, others, other_lines) in ways {
        for (at, request) in requests.iter().enumerate() {
            let [one, other] =
                [&others[at], &answers[at]].map(|lines| String::from_utf8_lossy(&lines.join(&b'\n')).into_owned());
            assert!(one == other, "{flags:?} {request}: {one} instead of {other}");
            assert_eq!(other_lines[at], logged[at], "{flags:?} {request}");
        }
    }
}

#[tokio::test]
async fn a_pod_that_switches_to_what_nobody_asked_for_is_not_followed() {
    let scripted = Scripted::start(|mut stream| async move {
        read_header(&mut stream).await;
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
        drop(stream.write_all(switch).await);
    })
    .await;
    let (_, manifests) = served(&scripted);
    let proxy = Proxy::of(manifests, &[]);
    assert_eq!(get(proxy.http, HOST, "/").await.status, 502);
}
