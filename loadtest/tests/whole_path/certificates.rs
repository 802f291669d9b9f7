//! A certificate is replaced while clients are connected: open connections go on, new ones see the new certificate.

use crate::objects::{ingress, route, secret, service, with_tls};
use crate::stage::{PORTS, Source, Stage};
use nearside_loadtest::certificates::Identity;
use nearside_loadtest::client::raw;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::json;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_connection_goes_on_and_a_new_one_sees_the_new_certificate_from_the_api() {
    a_certificate_is_replaced(Source::Api).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_connection_goes_on_and_a_new_one_sees_the_new_certificate_from_manifests() {
    a_certificate_is_replaced(Source::Manifests).await;
}

async fn a_certificate_is_replaced(source: Source) {
    let mut identities = Vec::new();
    let stage = Stage::start(source, 1, |stage| {
        identities = (0..2).map(|_| stage.ca.identity(&["*.apps.example.com"]).unwrap()).collect();
        stage.put_all(&[service("web"), tls_secret(&identities[0])]);
        let external = json!({"termination": "edge", "externalCertificate": {"name": "tls"}});
        stage.put(&with_tls(route("web", HOSTS[0], "web"), external));
        let mut site = ingress("site", HOSTS[1], &[("/", "Prefix", "web")]);
        site["spec"]["tls"] = json!([{"hosts": [HOSTS[1]], "secretName": "tls"}]);
        stage.put(&site);
        stage.run_pod("web", 1, "n1");
    })
    .await;
    let mut open = Vec::new();
    for host in HOSTS {
        stage.until_served("n1", &format!("https://{host}/")).await;
        let mut connection = connect(&stage, host).await;
        assert_eq!(shown(&connection), der(&identities[0]), "{host}");
        assert_eq!(get(&mut connection, host).await, 200, "{host}");
        open.push((host, connection));
    }

    stage.put(&tls_secret(&identities[1]));
    for host in HOSTS {
        let look = async || shown(&connect(&stage, host).await) == der(&identities[1]);
        stage.until("a new connection sees the new certificate", look, |seen| *seen).await;
    }
    for (host, connection) in &mut open {
        for _ in 0..3 {
            assert_eq!(get(connection, host).await, 200, "{host}: the connection from before the change");
        }
    }
}

fn tls_secret(identity: &Identity) -> serde_json::Value {
    secret("tls", &identity.certificate, &identity.key)
}

async fn connect(stage: &Stage, host: &str) -> TlsStream<TcpStream> {
    let address = SocketAddr::new(stage.address("n1"), PORTS.https);
    let stream = raw::connect(&stage.network.clients()[0], address).await.unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    TlsConnector::from(stage.ca.client(&["http/1.1"]).unwrap()).connect(name, stream).await.unwrap()
}

/// One request on a connection that stays open; its status.
async fn get(connection: &mut TlsStream<TcpStream>, host: &str) -> u16 {
    connection.write_all(format!("GET /media/10 HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Ten bytes of body after the head.
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") || answer.len() < end_of_head(&answer) + 10 {
        let byte = connection
            .read_u8()
            .await
            .unwrap_or_else(|error| panic!("the connection was closed: {error}: {}", String::from_utf8_lossy(&answer)));
        answer.push(byte);
    }
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}

fn end_of_head(answer: &[u8]) -> usize {
    answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(usize::MAX - 10, |at| at + 4)
}

fn shown(connection: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    connection.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn der(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()
}

const HOSTS: [&str; 2] = ["web.apps.example.com", "site.apps.example.com"];
