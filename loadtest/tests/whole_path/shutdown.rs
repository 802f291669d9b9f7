//! SIGTERM to a proxy: its node leaves DNS, what it is sending is sent to the end, and it exits in order.

use crate::objects::{route, service};
use crate::stage::{PATIENCE, PORTS, Source, Stage};
use nearside_loadtest::api::ObjectRef;
use nearside_loadtest::client::raw;
use nearside_loadtest::lab::cluster::ROUTER_NAMESPACE;
use nearside_loadtest::pods::media;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_proxy_leaves_dns_and_ends_its_downloads() {
    let mut stage = Stage::start(Source::Api, 2, |stage| {
        stage.put_all(&[service("web"), route("web", HOST, "web")]);
        stage.run_pod("web", 1, "n1");
        stage.run_pod("web", 2, "n2");
    })
    .await;
    stage.until_published(HOST, &["n1", "n2"]).await;
    stage.until_served("n1", &format!("http://{HOST}/")).await;

    // More than fits into any buffer on the way, so it is in flight until it is read.
    let address = SocketAddr::new(stage.address("n1"), PORTS.http);
    let mut download = raw::connect(&stage.network.clients()[0], address).await.unwrap();
    let request = format!("GET /media/{SIZE} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    download.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(download.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));

    let end = tokio::spawn(stage.programs.remove("proxy-n1").unwrap().terminate(PATIENCE));
    let router = async || {
        let pod = ObjectRef::new("v1", "Pod", ROUTER_NAMESPACE, "nearside-proxy-n1");
        let pod = stage.objects.api().get(pod).unwrap();
        let conditions = pod["status"]["conditions"].as_array().unwrap().clone();
        conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap()["status"].clone()
    };
    stage.until("the router's pod is unready", router, |status| status == "False").await;
    stage.until_published(HOST, &["n2"]).await;
    assert!(!end.is_finished(), "the proxy has ended with a download in flight");
    let fetched = stage.fetch(&format!("http://{HOST}/")).await;
    assert_eq!((fetched.status, fetched.pod.as_deref()), (Some(200), Some("web-2")), "{fetched:?}");

    let (mut received, mut buffer) = (0, vec![0; 1 << 16]);
    while received < SIZE {
        let length = download.read(&mut buffer).await.unwrap();
        assert!(length > 0, "the download broke off after {received} bytes");
        assert!(media::verify(received, &buffer[..length]), "wrong content after byte {received}");
        received += length as u64;
    }
    let status = end.await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controller_and_name_server_end_in_order() {
    let mut stage = Stage::start(Source::Api, 1, |stage| {
        stage.put_all(&[service("web"), route("web", HOST, "web")]);
        stage.run_pod("web", 1, "n1");
    })
    .await;
    stage.until_published(HOST, &["n1"]).await;
    for name in ["controller", "dns-sync"] {
        let status = stage.programs.remove(name).unwrap().terminate(PATIENCE).await.unwrap();
        assert_eq!(status.code(), Some(0), "{name}: {status}");
    }
    stage.until_served("n1", &format!("http://{HOST}/")).await;
}

const HOST: &str = "web.apps.example.com";
const SIZE: u64 = 64 << 20;
