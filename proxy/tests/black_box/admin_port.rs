//! Who may read the admin port, and over what.

use super::support::client::{get_tls, request};
use super::support::{Manifests, Proxy, eventually, get};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use nearside_loadtest::certificates::TestCa;
use std::path::Path;

/// The status of a page for who shows these credentials, and what the answer asks for.
async fn read(proxy: &Proxy, path: &str, credentials: &str) -> (u16, Option<String>) {
    let shown = format!("Basic {}", STANDARD.encode(credentials));
    let asked = Request::get(path).header("host", "admin").header("authorization", shown);
    let reply = request(proxy.admin, asked).await;
    (reply.status, reply.headers.get("www-authenticate").map(|value| value.to_str().unwrap().to_owned()))
}

#[tokio::test]
async fn pages_need_the_credentials_and_probes_none() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "one\n").unwrap();
    let environment = [("STATS_USERNAME", "reader"), ("STATS_PASSWORD_FILE", password.to_str().unwrap())];
    let manifests = Manifests::with(&[]);
    let proxy = Proxy::start_in(&environment, &manifests, &[]);
    for path in ["/healthz", "/healthz/ready"] {
        assert_eq!(get(proxy.admin, "admin", path).await.status, 200, "{path}");
    }
    let refused = (401, Some(r#"Basic realm="nearside", charset="UTF-8""#.to_owned()));
    for path in ["/metrics", "/routes", "/listeners", "/", "/nothing"] {
        let reply = get(proxy.admin, "admin", path).await;
        assert_eq!(reply.status, 401, "{path}");
        assert!(!reply.text().contains("nearside_"), "{path}: {}", reply.text());
        assert_eq!(read(&proxy, path, "reader:two").await, refused, "{path}");
    }
    assert_eq!(read(&proxy, "/metrics", "reader:one").await, (200, None));
    assert_eq!(read(&proxy, "/nothing", "reader:one").await, (404, None));
    std::fs::write(&password, "two").unwrap();
    assert_eq!(read(&proxy, "/metrics", "reader:two").await, (200, None), "the file is followed");
    assert_eq!(read(&proxy, "/metrics", "reader:one").await, refused);
    std::fs::remove_file(&password).unwrap();
    assert_eq!(read(&proxy, "/metrics", "reader:two").await.0, 503, "without the file nobody is let in");
    assert_eq!(get(proxy.admin, "admin", "/healthz").await.status, 200);
}

#[tokio::test]
async fn half_of_the_credentials_keep_the_proxy_from_starting() {
    let manifests = Manifests::with(&[]);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_nearside-proxy"));
    command.env_clear().env("STATS_USERNAME", "reader").args(["--node-name=n1", "--manifests"]).arg(manifests.path());
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("--admin-username") && error.contains("STATS_USERNAME"), "{error}");
}

#[tokio::test]
async fn one_port_speaks_http_and_https_and_follows_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (TestCa::new("first").unwrap(), TestCa::new("second").unwrap());
    let write = |path: &Path, ca: &TestCa| {
        let identity = ca.identity(&["admin.example.com"]).unwrap();
        std::fs::write(path, format!("{}{}", identity.certificate, identity.key)).unwrap();
    };
    let file = folder.path().join("admin.pem");
    write(&file, &first);
    let manifests = Manifests::with(&[]);
    let flags = [format!("--admin-tls-cert={}", file.display())];
    let proxy = Proxy::start(&manifests, &[&flags[0], "--admin-tls-min-version=1.3"]);
    let over_tls = async |ca: &TestCa| get_tls(proxy.admin, ca, "admin.example.com", "/metrics").await;
    assert_eq!(over_tls(&first).await.unwrap().status, 200);
    assert!(over_tls(&second).await.is_err());
    assert_eq!(proxy.page("/metrics").await.0, 200, "and without TLS");
    write(&file, &second);
    eventually("the new certificate", || async { over_tls(&second).await.ok() }).await;
    std::fs::write(&file, "nothing").unwrap();
    assert!(over_tls(&second).await.is_ok(), "the last good certificate holds");
}
