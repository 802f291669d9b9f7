//! TLS that the kernel does: large answers over HTTP/1.1 with every version and cipher, what follows them on the same connection, and
//! how it ends. Most of this needs a kernel with the module `tls`; without it a test says so, and fails where
//! `NEARSIDE_REQUIRE_KERNEL_TLS` is set (`make test-kernel-tls`, which runs the tests of `byte_path` on such a kernel as well).

use super::byte_path::{HOST, served};
use super::support::bytes_pod::{answer, bytes_pod};
use super::support::manifests::Manifests;
use super::support::pods::{Scripted, read_header};
use super::support::tls_clients::VERSIONS;
use super::support::wire::{Numbers, ask, bytes, read_body, read_head, read_more, upload};
use super::support::{PATIENCE, Proxy, eventually, wanted_requests};
use nearside_loadtest::certificates::TestCa;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedCipherSuite};
use socket2::SockRef;
use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio::sync::mpsc::channel;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A proxy whose kernel encrypts; none, and a word about it, where the kernel cannot.
async fn sealing(manifests: &Manifests) -> Option<Proxy> {
    let proxy = Proxy::start(manifests, &["--kernel-tls=always"]);
    let able = proxy.metric("nearside_kernel_tls_suites", "").await.unwrap();
    if able == suites().len() as f64 {
        return Some(proxy);
    }
    assert!(std::env::var_os("NEARSIDE_REQUIRE_KERNEL_TLS").is_none(), "the kernel does no TLS:\n{}", proxy.log());
    drop(std::io::stderr().write_all(b"SKIPPED: needs a kernel that does TLS (module tls)\n"));
    None
}

/// Every version with every cipher.
fn suites() -> [SupportedCipherSuite; 6] {
    [
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ]
}

/// One for each version.
fn usual() -> [SupportedCipherSuite; 2] {
    let [first, .., last, _] = suites();
    [first, last]
}

/// A client that speaks nothing else. It remembers sessions.
fn client(ca: &TestCa, suite: SupportedCipherSuite) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.certificate().as_bytes()).unwrap()).unwrap();
    let provider = CryptoProvider { cipher_suites: vec![suite], ..default_provider() };
    let versions: Vec<_> = VERSIONS.into_iter().filter(|known| known.version == suite.version().version).collect();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

async fn connect(proxy: &Proxy, config: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
    over(TcpStream::connect(proxy.https).await.unwrap(), config).await
}

async fn over(socket: TcpStream, config: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let name = ServerName::try_from(HOST).unwrap();
    timeout(PATIENCE, TlsConnector::from(Arc::clone(config)).connect(name, socket)).await.unwrap().unwrap()
}

fn asking(path: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{more}\r\n").into_bytes()
}

/// One exchange, whose body is to be known bytes.
async fn gets(client: &mut TlsStream<TcpStream>, framing: &str, size: usize, piece: usize) {
    let (head, body) = ask(client, &asking(&format!("/{framing}/{size}/{piece}"), "")).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(body == bytes(size), "{framing} {size} in {piece}: {} came", body.len());
}

/// Connections that the kernel has taken over.
async fn moved(proxy: &Proxy) -> f64 {
    proxy.metric("nearside_kernel_tls_connections_total", "outcome=\"moved\"").await.unwrap_or_default()
}

#[tokio::test]
async fn every_byte_arrives_with_every_version_and_cipher() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    let Some(proxy) = sealing(&manifests).await else { return };
    for (done, suite) in suites().into_iter().enumerate() {
        let mut client = connect(&proxy, &client(&ca, suite)).await;
        let mut numbers = Numbers(done as u64);
        gets(&mut client, "length", 1000, 1000).await;
        assert_eq!(moved(&proxy).await, done as f64, "{suite:?}: nothing is large yet");
        for size in [(128 << 10) - 1, 128 << 10, (128 << 10) + 1, 1, 16_383, 16_384, 16_385, (1 << 20) + 7, 3_000_001] {
            for framing in ["length", "chunked", "close"] {
                gets(&mut client, framing, size, numbers.size().max(200)).await;
            }
        }
        for _ in 0..wanted_requests().unwrap_or_default() / 100 {
            let framing = ["length", "chunked", "close"][numbers.below(3)];
            gets(&mut client, framing, numbers.size(), numbers.size().max(200)).await;
        }
        assert_eq!(moved(&proxy).await, (done + 1) as f64, "{suite:?}");
    }
    let spliced = proxy.metric("nearside_spliced_bytes_total", "").await.unwrap();
    assert!(spliced > 6.0 * 3e6, "{spliced}");
    eventually("all are in the log", || async { (proxy.access_text().len() >= 6 * 28).then_some(()) }).await;
    let lines = proxy.access_log();
    assert!(lines.iter().all(|line| line["status"] == 200 && line["reason"] == lines[0]["reason"]));
}

#[tokio::test]
async fn whatever_follows_on_the_connection_is_served_as_before() {
    let scripted = Scripted::start(|mut stream| async move {
        let mut read = Vec::new();
        while let Some(header) = read_head(&mut stream, &mut read).await {
            if header.to_lowercase().contains("\r\nexpect: 100-continue\r\n") {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            }
            if answer(&mut stream, &header, &mut read).await.is_none() {
                return;
            }
        }
    })
    .await;
    let (ca, manifests) = served(&scripted);
    let Some(proxy) = sealing(&manifests).await else { return };
    for suite in usual() {
        let mut client = connect(&proxy, &client(&ca, suite)).await;
        gets(&mut client, "length", 500_000, 500_000).await;
        // Without waiting for answers.
        let sizes = [10, 300_000, 0, 70_000, 1_000_000];
        let asked: Vec<u8> = sizes.iter().flat_map(|size| asking(&format!("/length/{size}/9000"), "")).collect();
        client.write_all(&asked).await.unwrap();
        client.flush().await.unwrap();
        let mut read = Vec::new();
        for size in sizes {
            let head = timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().expect("a header comes");
            let body =
                timeout(PATIENCE, read_body(&mut client, &head, &mut read)).await.unwrap().expect("a body comes");
            assert!(body == bytes(size), "{suite:?} {size}: {}", body.len());
        }
        assert!(read.is_empty());
        for (size, chunk) in [(10, None), (700_000, None), (700_000, Some(30_000))] {
            let (_, body) = ask(&mut client, &upload(HOST, &bytes(size), chunk)).await;
            assert!(body == bytes(size), "{suite:?} {size}: {}", body.len());
        }
        let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 300000\r\nExpect: 100-continue\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let interim = timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().expect("an interim answer");
        assert!(interim.starts_with("HTTP/1.1 100 "), "{interim}");
        let (_, body) = ask(&mut client, &bytes(300_000)).await;
        assert!(body == bytes(300_000), "{suite:?}: {}", body.len());
        let (head, _) = ask(&mut client, &asking("/length/5/5", "Connection: close\r\n")).await;
        assert!(head.starts_with("HTTP/1.1 200 "));
        // With the word that nothing follows: without it this is an error.
        assert_eq!(timeout(PATIENCE, client.read(&mut [0])).await.unwrap().unwrap(), 0);
    }
    assert_eq!(moved(&proxy).await, 2.0);
}

#[tokio::test]
async fn a_websocket_can_follow_a_large_answer() {
    let scripted = Scripted::start(|mut stream| async move {
        let mut read = Vec::new();
        while let Some(header) = read_head(&mut stream, &mut read).await {
            if header.to_lowercase().contains("\r\nupgrade: websocket\r\n") {
                let word = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                stream.write_all(word).await.unwrap();
                let (mut from, mut to) = stream.split();
                drop(tokio::io::copy(&mut from, &mut to).await);
                return;
            }
            if answer(&mut stream, &header, &mut read).await.is_none() {
                return;
            }
        }
    })
    .await;
    let (ca, manifests) = served(&scripted);
    let Some(proxy) = sealing(&manifests).await else { return };
    let mut client = connect(&proxy, &client(&ca, suites()[0])).await;
    gets(&mut client, "length", 500_000, 500_000).await;
    assert_eq!(moved(&proxy).await, 1.0);
    client.write_all(&asking("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n")).await.unwrap();
    let mut read = Vec::new();
    let head = timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().expect("the pod agrees");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let sent = bytes(1_000_000);
    let (mut reader, mut writer) = tokio::io::split(client);
    let writing = async {
        writer.write_all(&sent).await.unwrap();
        writer.flush().await.unwrap();
    };
    let reading = async {
        while read.len() < sent.len() {
            read_more(&mut reader, &mut read, 100_000).await;
        }
    };
    tokio::join!(writing, reading);
    assert!(read == sent);
}

#[tokio::test]
async fn what_has_come_is_not_held_back_for_more() {
    const PART: usize = 700_001;
    for chunked in [false, true] {
        let (arrived, more) = channel::<()>(1);
        let more = Arc::new(Mutex::new(more));
        let scripted = Scripted::start(move |mut stream| {
            let more = Arc::clone(&more);
            async move {
                read_header(&mut stream).await;
                let framing = match chunked {
                    true => "Transfer-Encoding: chunked".to_owned(),
                    false => format!("Content-Length: {}", PART * 3),
                };
                stream.write_all(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes()).await.unwrap();
                for part in bytes(PART * 3).chunks(PART) {
                    if chunked {
                        stream.write_all(format!("{PART:x}\r\n").as_bytes()).await.unwrap();
                    }
                    stream.write_all(part).await.unwrap();
                    if chunked {
                        stream.write_all(b"\r\n").await.unwrap();
                    }
                    more.lock().await.recv().await;
                }
                drop(stream.write_all(if chunked { b"0\r\n\r\n" } else { b"" }).await);
                read_header(&mut stream).await;
            }
        })
        .await;
        let (ca, manifests) = served(&scripted);
        let Some(proxy) = sealing(&manifests).await else { return };
        let mut client = connect(&proxy, &client(&ca, suites()[0])).await;
        client.write_all(&asking("/", "")).await.unwrap();
        let mut read = Vec::new();
        let head = timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().expect("a header comes");
        for part in 1..=3 {
            // The framing of chunks is beside them.
            while read.len() < part * PART {
                read_more(&mut client, &mut read, 5000).await;
            }
            arrived.send(()).await.unwrap();
        }
        let body = timeout(PATIENCE, read_body(&mut client, &head, &mut read)).await.unwrap().expect("all comes");
        assert!(body == bytes(PART * 3), "{chunked}: {}", body.len());
        assert_eq!(moved(&proxy).await, 1.0);
    }
}

#[tokio::test]
async fn a_client_that_takes_its_time_gets_every_byte_and_the_end() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    let Some(proxy) = sealing(&manifests).await else { return };
    for suite in usual() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut client = over(socket.connect(proxy.https).await.unwrap(), &client(&ca, suite)).await;
        let length = 3 << 20;
        client.write_all(&asking(&format!("/length/{length}/1000000"), "Connection: close\r\n")).await.unwrap();
        let mut read = Vec::new();
        timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().expect("a header comes");
        while read.len() < length {
            tokio::task::yield_now().await;
            read_more(&mut client, &mut read, 3000).await;
        }
        assert!(read == bytes(length));
        assert_eq!(timeout(PATIENCE, client.read(&mut [0])).await.unwrap().unwrap(), 0, "the end is said");
    }
    assert_eq!(moved(&proxy).await, 2.0);
}

#[tokio::test]
async fn what_a_pod_breaks_off_has_no_end_that_could_be_taken_for_one() {
    for (head, framed) in [("Content-Length: 900000", false), ("Transfer-Encoding: chunked", true)] {
        let scripted = Scripted::start(move |mut stream| async move {
            read_header(&mut stream).await;
            let mut sent = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").into_bytes();
            for part in bytes(600_000).chunks(200_000) {
                if framed {
                    sent.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                }
                sent.extend_from_slice(part);
                if framed {
                    sent.extend_from_slice(b"\r\n");
                }
            }
            drop(stream.write_all(&sent).await);
        })
        .await;
        let (ca, manifests) = served(&scripted);
        let Some(proxy) = sealing(&manifests).await else { return };
        for (done, suite) in usual().into_iter().enumerate() {
            let mut client = connect(&proxy, &client(&ca, suite)).await;
            client.write_all(&asking("/", "")).await.unwrap();
            let mut read = Vec::new();
            let head = timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().expect("a header comes");
            assert!(head.starts_with("HTTP/1.1 200 "));
            let end = timeout(PATIENCE, client.read_to_end(&mut read)).await.expect("the proxy closes");
            assert_eq!(end.unwrap_err().kind(), ErrorKind::UnexpectedEof, "{suite:?}: nobody says that this is all");
            let body = if framed { data(&read) } else { read };
            assert!(body == bytes(600_000), "{suite:?} {framed}: {}", body.len());
            assert_eq!(proxy.access_line(HOST).await["reason"], "pod_failed");
            assert_eq!(moved(&proxy).await, (done + 1) as f64);
        }
    }
}

/// The data of chunks, which have no last one.
fn data(mut wire: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some(line) = wire.windows(2).position(|end| end == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&wire[..line]).unwrap(), 16).unwrap();
        assert!(size > 0, "a last chunk");
        data.extend_from_slice(&wire[line + 2..line + 2 + size]);
        wire = &wire[(line + 2 + size + 2).min(wire.len())..];
    }
    data
}

#[tokio::test]
async fn clients_that_leave_leave_nothing_behind_and_disturb_nobody() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    let Some(proxy) = sealing(&manifests).await else { return };
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", proxy.process())).unwrap().count();
    let config = client(&ca, suites()[0]);
    let mut staying = connect(&proxy, &config).await;
    gets(&mut staying, "length", 500_000, 500_000).await;
    let before = descriptors();
    for turn in 0..12 {
        let mut leaving = connect(&proxy, &config).await;
        leaving.write_all(&asking("/length/41943040/100000", "")).await.unwrap();
        let mut some = vec![0; 1 + turn * 50_000];
        timeout(PATIENCE, leaving.read_exact(&mut some)).await.unwrap().unwrap();
        match turn % 3 {
            0 => SockRef::from(leaving.get_ref().0).set_linger(Some(Duration::ZERO)).unwrap(),
            1 => leaving.shutdown().await.unwrap(),
            _ => {}
        }
        drop(leaving);
        gets(&mut staying, "length", 300_000, 100_000).await;
    }
    // Pipes and connections to pods may be kept for the next ones, but not for each that left.
    eventually("their connections are closed", || async { (descriptors() <= before + 8).then_some(()) }).await;
    assert_eq!(moved(&proxy).await, 13.0);
}

#[tokio::test]
async fn the_word_of_a_client_that_it_ends_ends_the_connection() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    let Some(proxy) = sealing(&manifests).await else { return };
    for suite in usual() {
        let mut client = connect(&proxy, &client(&ca, suite)).await;
        gets(&mut client, "length", 500_000, 500_000).await;
        let before = proxy.metric("nearside_connections", "").await.unwrap();
        // The socket stays open.
        client.get_mut().1.send_close_notify();
        client.flush().await.unwrap();
        let mut rest = Vec::new();
        drop(timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("the proxy closes"));
        assert!(rest.is_empty());
        drop(client);
        eventually("it is counted no more", || async {
            (proxy.metric("nearside_connections", "").await.unwrap() < before).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn keys_that_a_client_has_changed_before_are_the_ones_that_the_kernel_gets() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    let Some(proxy) = sealing(&manifests).await else { return };
    let mut client = connect(&proxy, &client(&ca, suites()[0])).await;
    for size in [1000, 500_000] {
        // The proxy has to answer with new keys of its own before the next data.
        client.get_mut().1.refresh_traffic_keys().unwrap();
        gets(&mut client, "length", size, size).await;
    }
    gets(&mut client, "chunked", 500_000, 90_000).await;
    assert_eq!(moved(&proxy).await, 1.0);
}

#[tokio::test]
async fn keys_that_a_client_changes_afterwards_end_the_connection_when_its_answer_is_whole() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    let Some(proxy) = sealing(&manifests).await else { return };
    let config = client(&ca, suites()[0]);
    let mut client = connect(&proxy, &config).await;
    let length = 4 << 20;
    client.write_all(&asking(&format!("/length/{length}/1000000"), "")).await.unwrap();
    let mut read = Vec::new();
    timeout(PATIENCE, read_head(&mut client, &mut read)).await.unwrap().expect("a header comes");
    read_more(&mut client, &mut read, 5000).await;
    client.get_mut().1.refresh_traffic_keys().unwrap();
    client.flush().await.unwrap();
    while read.len() < length {
        read_more(&mut client, &mut read, 100_000).await;
    }
    assert!(read == bytes(length));
    let mut rest = Vec::new();
    drop(timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("the proxy closes"));
    assert!(rest.is_empty());
    assert_eq!(moved(&proxy).await, 1.0);
    gets(&mut connect(&proxy, &config).await, "length", 500_000, 500_000).await;
    assert!(!proxy.log().contains("panicked"));
}

#[tokio::test]
async fn a_session_is_resumed_whatever_became_of_the_connection_that_it_is_from() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    let Some(proxy) = sealing(&manifests).await else { return };
    for suite in usual() {
        let config = client(&ca, suite);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = connect(&proxy, &config).await;
            assert_eq!(client.get_ref().1.handshake_kind(), Some(expected), "{suite:?}");
            gets(&mut client, "length", 500_000, 500_000).await;
        }
    }
    assert_eq!(moved(&proxy).await, 4.0);
}

#[tokio::test]
async fn where_the_kernel_is_not_to_encrypt_it_does_not() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    for flags in [&["--kernel-tls=never"][..], &["--kernel-tls=always", "--splice=false"]] {
        let proxy = Proxy::start(&manifests, flags);
        let mut client = connect(&proxy, &client(&ca, suites()[0])).await;
        gets(&mut client, "length", 500_000, 500_000).await;
        gets(&mut client, "chunked", 500_000, 90_000).await;
        assert_eq!(proxy.metric("nearside_kernel_tls_suites", "").await, Some(0.0), "{flags:?}");
        assert_eq!(moved(&proxy).await, 0.0, "{flags:?}");
        assert_eq!(proxy.metric("nearside_spliced_bytes_total", "").await, Some(0.0), "{flags:?}");
    }
}
