//! Large uploads: their bytes, what is counted of them, and what becomes of the connections and of those that break off.

use super::{HOST, WAYS, connect, served};
use crate::support::bytes_pod::bytes_pod;
use crate::support::pods::{Scripted, read_header};
use crate::support::wire::{ask, bytes, upload};
use crate::support::{PATIENCE, Proxy, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn large_uploads_arrive_are_counted_and_leave_the_connection_of_use() {
    let scripted = bytes_pod().await;
    let (ca, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        let mut sizes = Vec::new();
        let mut spliced = 0.0;
        for over_tls in [false, true] {
            let mut client = connect(&proxy, &ca, over_tls).await;
            for size in [100_000, 200_000, 1 << 20, 5_000_001, 3] {
                let (head, body) = ask(&mut client, &upload(HOST, &bytes(size), None)).await;
                assert!(head.starts_with("HTTP/1.1 200 "), "{flags:?} {over_tls} {size}: {head}");
                assert!(body == bytes(size), "{flags:?} {over_tls} {size}: {}", body.len());
                sizes.push(size);
            }
            if !over_tls {
                spliced = proxy.metric("nearside_spliced_bytes_total", "").await.unwrap_or_default();
            }
        }
        let received: Vec<u64> = eventually("all uploads are in the log", || async {
            let lines = proxy.access_log();
            (lines.len() == sizes.len()).then(|| lines.iter().map(|line| line["received"].as_u64().unwrap()).collect())
        })
        .await;
        assert_eq!(received, sizes.iter().map(|size| *size as u64).collect::<Vec<_>>(), "{flags:?}");
        assert_eq!(spliced > 5e6, flags.is_empty(), "{flags:?} {spliced}");
    }
}

#[tokio::test]
async fn a_pod_that_hears_half_of_an_upload_knows_that_it_is_half() {
    let scripted = Scripted::start(|mut stream| async move {
        read_header(&mut stream).await;
        let mut heard = Vec::new();
        // A reset is an end too.
        drop(stream.read_to_end(&mut heard).await);
        assert!(heard.len() < 4_000_000 && heard == bytes(heard.len()));
    })
    .await;
    let (_, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        let mut client = TcpStream::connect(proxy.http).await.unwrap();
        let whole = upload(HOST, &bytes(4_000_000), None);
        client.write_all(&whole[..2_000_000]).await.unwrap();
        drop(client);
        let line = proxy.access_line(HOST).await;
        assert_eq!((&line["status"], &line["reason"]), (&0.into(), &"client_gone".into()), "{flags:?} {line}");
    }
}

#[tokio::test]
async fn a_pod_that_has_heard_enough_is_heard_and_the_rest_of_the_upload_is_no_request() {
    let scripted = Scripted::start(|mut stream| async move {
        read_header(&mut stream).await;
        let mut part = vec![0; 500_000];
        stream.read_exact(&mut part).await.unwrap();
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        // Until the proxy gives up on it.
        while stream.read(&mut part).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let (_, manifests) = served(&scripted);
    for flags in WAYS {
        let proxy = Proxy::start(&manifests, flags);
        let client = TcpStream::connect(proxy.http).await.unwrap();
        let (mut reader, mut writer) = client.into_split();
        let whole = upload(HOST, &bytes(1_000_000), None);
        writer.write_all(&whole[..700_000]).await.unwrap();
        let mut answer = vec![0; 13];
        timeout(PATIENCE, reader.read_exact(&mut answer)).await.expect("the answer comes at once").unwrap();
        assert_eq!(answer, b"HTTP/1.1 413 ", "{flags:?}");
        writer.write_all(&whole[700_000..]).await.unwrap();
        let mut rest = Vec::new();
        timeout(PATIENCE, reader.read_to_end(&mut rest)).await.expect("the connection ends").unwrap();
        assert!(rest.ends_with(b"no"), "{flags:?}");
    }
}
