//! The environment of an OpenShift router, pasted in: the proxy starts, does what the variables say, and tells of the rest.

use super::support::client::{connect_tls, get_tls, raw};
use super::support::manifests::{pod, route, service};
use super::support::pods::read_header;
use super::support::{Manifests, Proxy, Scripted, echo_pod, get};
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const HOST: &str = "web.example.com";
const ALLOWED: &str = "--allow-endpoints=127.0.0.0/8";

fn web(address: std::net::SocketAddr, more: Value) -> Manifests {
    Manifests::with(&[route("web", HOST, more), service("web"), pod("web", "web-1", address)])
}

/// The variables that the log tells of with this message.
fn told(proxy: &Proxy, message: &str) -> BTreeSet<String> {
    let lines: Vec<Value> = proxy.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let told = lines.iter().filter(|line| line["message"] == message);
    told.map(|line| line["variable"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_environment_of_a_router_deployment_can_be_pasted_in() {
    let (_pod, address) = echo_pod("web-1");
    let ca = TestCa::new("operator").unwrap();
    let default = ca.identity(&["*.example.com"]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("tls.crt"), &default.certificate).unwrap();
    std::fs::write(directory.path().join("tls.key"), &default.key).unwrap();
    let manifests = web(address, json!({ "tls": { "termination": "edge", "insecureEdgeTerminationPolicy": "Allow" } }));
    let service_ca = directory.path().join("service-ca.crt");
    std::fs::write(&service_ca, ca.certificate()).unwrap();
    let mut environment = PASTED.to_vec();
    environment.push(("DEFAULT_CERTIFICATE_DIR", directory.path().to_str().unwrap()));
    environment.push(("DEFAULT_DESTINATION_CA_PATH", service_ca.to_str().unwrap()));
    let mounted: Vec<String> = ["user", "password", "tls.crt", "tls.key"]
        .map(|name| directory.path().join(name).to_str().unwrap().to_owned())
        .into();
    std::fs::write(&mounted[0], "reader").unwrap();
    std::fs::write(&mounted[1], "secret").unwrap();
    environment.push(("STATS_USERNAME_FILE", &mounted[0]));
    environment.push(("STATS_PASSWORD_FILE", &mounted[1]));
    environment.push(("ROUTER_METRICS_TLS_CERT_FILE", &mounted[2]));
    environment.push(("ROUTER_METRICS_TLS_KEY_FILE", &mounted[3]));
    let proxy = Proxy::start_in(&environment, &manifests, &[ALLOWED]);
    assert_eq!(proxy.page("/metrics").await.0, 401, "the metrics have a password");

    let reply = get_tls(proxy.https, &ca, HOST, "/").await.expect("the default certificate is that of the variable");
    let stream = connect_tls(proxy.https, &ca, HOST, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]), "HTTP/2 is switched off");
    let seen = reply.echo().headers;
    assert_eq!(seen["x-added"], ["by the router"]);
    assert_eq!(seen["x-request-start"].len(), 1);
    let ignored: BTreeSet<String> = IGNORED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(told(&proxy, "a variable of the OpenShift router has no effect"), ignored);
    assert_eq!(told(&proxy, "a variable of the OpenShift router cannot be used"), BTreeSet::new());
    assert_eq!(told(&proxy, "this is no variable of the OpenShift router and has no effect"), BTreeSet::new());
}

#[tokio::test]
async fn variables_have_the_effect_of_their_flags() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = web(address, json!({}));
    let start = |variable: &str, value: &str| Proxy::start_in(&[(variable, value)], &manifests, &[ALLOWED]);
    let named = get(start("ROUTER_COOKIE_NAME", "mine").http, HOST, "/").await;
    assert!(named.header("set-cookie").is_some_and(|cookie| cookie.starts_with("mine=")), "{:?}", named.headers);
    let told = get(start("ROUTER_SET_FORWARDED_HEADERS", "never").http, HOST, "/").await.echo().headers;
    assert!(!told.contains_key("x-forwarded-for"), "{told:?}");
    let added = get(start("ROUTER_HTTP_RESPONSE_HEADERS", "X-Added:here:Set").http, HOST, "/").await;
    assert_eq!(added.header("x-added"), Some("here"));
    let whole = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for (variable, value, sent, answer) in [
        (
            "ROUTER_H1_CASE_ADJUST",
            "Content-Length",
            whole.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
            "Content-Length: ",
        ),
        ("ROUTER_SLOWLORIS_TIMEOUT", "300ms", format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n"), "HTTP/1.1 408 "),
        ("ROUTER_SLOWLORIS_HTTP_KEEPALIVE", "1s", whole.clone(), "HTTP/1.1 200 "),
        (
            "ROUTER_DEFAULT_CLIENT_TIMEOUT",
            "300ms",
            format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\na"),
            "HTTP/1.1 408 ",
        ),
    ] {
        // Reads until the connection is closed.
        let seen = raw(start(variable, value).http, sent.as_bytes()).await;
        assert!(seen.contains(answer), "{variable}: {seen}");
    }
    let silent = Scripted::start(|mut stream| async move {
        read_header(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    manifests.put(&pod("web", "web-1", silent.address));
    assert_eq!(get(start("ROUTER_DEFAULT_SERVER_TIMEOUT", "300ms").http, HOST, "/").await.status, 504);
}

#[tokio::test]
async fn a_flag_counts_more_than_our_variable_and_that_more_than_the_routers() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = web(address, json!({}));
    let routers = ("ROUTER_HTTP_REQUEST_HEADERS", "X-From:router:Set");
    let ours = ("NEARSIDE_REQUEST_HEADER", "X-From:ours:Set");
    let from = async |environment: &[(&str, &str)], flags: &[&str]| {
        let proxy = Proxy::start_in(environment, &manifests, &[&[ALLOWED], flags].concat());
        get(proxy.http, HOST, "/").await.echo().headers["x-from"].clone()
    };
    assert_eq!(from(&[routers], &[]).await, ["router"]);
    assert_eq!(from(&[routers, ours], &[]).await, ["ours"]);
    assert_eq!(from(&[routers, ours], &["--request-header=X-From:flag:Set"]).await, ["flag"]);
}

#[tokio::test]
async fn what_cannot_be_used_leaves_the_default_and_is_told() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = web(address, json!({}));
    let unusable = [
        ("ROUTER_DEFAULT_CONNECT_TIMEOUT", "05s"),
        ("ROUTER_STRICT_SNI", "perhaps"),
        ("ROUTER_LOAD_BALANCE_ALGORITHM", "best\r\n"),
        ("ROUTER_SERVICE_HTTP_PORT", "99999999999999999999"),
        ("ROUTER_SET_FORWARDED_HEADERS", "\u{2028}"),
        ("ROUTER_HTTP_REQUEST_HEADERS", "no-action,%zz"),
        ("ROUTER_UNIQUE_ID_HEADER_NAME", "X-Id"),
        ("DEFAULT_CERTIFICATE_PATH", "/nowhere/at/all.pem"),
    ];
    let mut environment = unusable.to_vec();
    environment.push(("ROUTER_DEFALT_SERVER_TIMEOUT", "30s"));
    environment.push(("ROUTER_INTERNAL_DEFAULT_SERVICE_PORT", "80"));
    let proxy = Proxy::start_in(&environment, &manifests, &[ALLOWED]);
    assert_eq!(get(proxy.http, HOST, "/").await.status, 200);
    let names: BTreeSet<String> = unusable.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(told(&proxy, "a variable of the OpenShift router cannot be used"), names);
    let unknown = told(&proxy, "this is no variable of the OpenShift router and has no effect");
    assert_eq!(unknown, BTreeSet::from(["ROUTER_DEFALT_SERVER_TIMEOUT".to_owned()]));
}

#[test]
fn a_guard_that_cannot_be_used_keeps_the_proxy_from_starting() {
    let run = |environment: &[(&str, &str)]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_nearside-proxy"));
        command.env_clear().envs(environment.iter().copied()).args(["--node-name=n1", "--manifests=/nowhere"]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (variables, named) in [
        (&[("ROUTER_MUTUAL_TLS_AUTH", "Always")][..], "ROUTER_MUTUAL_TLS_AUTH"),
        (
            &[("ROUTER_MUTUAL_TLS_AUTH", "required"), ("ROUTER_MUTUAL_TLS_AUTH_CA", "/nowhere/ca.pem")],
            "ROUTER_MUTUAL_TLS_AUTH_CA",
        ),
        (&[("ROUTER_MUTUAL_TLS_AUTH_FILTER", "("), ("ROUTER_STRICT_SNI", "what")], "ROUTER_MUTUAL_TLS_AUTH_FILTER"),
    ] {
        let (code, error) = run(variables);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.lines().count() >= 1 && error.contains(&format!("({named})")), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_may_stand_in_the_variable_itself_and_never_in_the_log() {
    let (_pod, address) = echo_pod("web-1");
    let ca = TestCa::new("operator").unwrap();
    let default = ca.identity(&["*.example.com"]).unwrap();
    let pem = format!("{}\n{}", default.certificate, default.key);
    let manifests = web(address, json!({ "tls": { "termination": "edge" } }));
    let environment = [("DEFAULT_CERTIFICATE", &*pem), ("ROUTER_STRICT_SNI", "true")];
    let proxy = Proxy::start_in(&environment, &manifests, &[ALLOWED]);
    assert_eq!(get_tls(proxy.https, &ca, HOST, "/").await.unwrap().pod(), Some("web-1"));
    assert!(get_tls(proxy.https, &ca, "unknown.example.com", "/").await.is_err(), "strict");
    assert!(!proxy.log().contains("PRIVATE KEY"), "{}", proxy.log());

    let broken = pem.replace("-----END", "-----BEND");
    let proxy = Proxy::start_in(&[("DEFAULT_CERTIFICATE", &*broken)], &manifests, &[ALLOWED]);
    assert_eq!(
        told(&proxy, "a variable of the OpenShift router cannot be used"),
        BTreeSet::from(["DEFAULT_CERTIFICATE".to_owned()])
    );
    assert!(!proxy.log().contains("BEGIN"), "{}", proxy.log());
}

/// What the ingress operator of an OpenShift cluster gives to a router, with a few settings that administrators make.
const PASTED: &[(&str, &str)] = &[
    ("RELOAD_INTERVAL", "5s"),
    ("ROUTER_ALLOW_WILDCARD_ROUTES", "false"),
    ("ROUTER_CANONICAL_HOSTNAME", "router-default.apps.example.com"),
    (
        "ROUTER_CIPHERS",
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
         ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:\
         DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305",
    ),
    ("ROUTER_CIPHERSUITES", "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"),
    ("ROUTER_CURVES", "X25519MLKEM768:X25519:P-256:P-384:P-521"),
    ("ROUTER_DEFAULT_CLIENT_TIMEOUT", "30s"),
    ("ROUTER_DEFAULT_CONNECT_TIMEOUT", "5s"),
    ("ROUTER_DEFAULT_SERVER_TIMEOUT", "30s"),
    ("ROUTER_DEFAULT_TUNNEL_TIMEOUT", "1h"),
    ("ROUTER_DISABLE_HTTP2", "true"),
    ("ROUTER_DISABLE_NAMESPACE_OWNERSHIP_CHECK", "false"),
    ("ROUTER_DOMAIN", "apps.example.com"),
    ("ROUTER_ENABLE_EXTERNAL_CERTIFICATE", "true"),
    ("ROUTER_HTTP_REQUEST_HEADERS", "X-Added:by+the+router:Set"),
    ("ROUTER_IDLE_CLOSE_ON_RESPONSE", "true"),
    ("ROUTER_IP_V4_V6_MODE", "v4"),
    ("ROUTER_LOAD_BALANCE_ALGORITHM", "random"),
    ("ROUTER_MAX_CONNECTIONS", "50000"),
    ("ROUTER_METRICS_TYPE", "haproxy"),
    ("ROUTER_SERVICE_HTTPS_PORT", "443"),
    ("ROUTER_SERVICE_HTTP_PORT", "80"),
    ("ROUTER_SERVICE_NAME", "default"),
    ("ROUTER_SERVICE_NAMESPACE", "openshift-ingress"),
    ("ROUTER_SET_FORWARDED_HEADERS", "append"),
    ("ROUTER_TCP_BALANCE_SCHEME", "source"),
    ("ROUTER_THREADS", "4"),
    ("ROUTER_UNIQUE_ID_FORMAT", "%{+X}o %ci:%cp_%fi:%fp_%Ts_%rt:%pid"),
    ("ROUTER_UNIQUE_ID_HEADER_NAME", "X-Request-Start"),
    ("ROUTER_USE_PROXY_PROTOCOL", "false"),
    ("SSL_MIN_VERSION", "TLSv1.2"),
    ("STATS_PORT", "1936"),
];

/// Those of [`PASTED`] that mean nothing to the proxy.
const IGNORED: &[&str] =
    &["RELOAD_INTERVAL", "ROUTER_CANONICAL_HOSTNAME", "ROUTER_IDLE_CLOSE_ON_RESPONSE", "ROUTER_SERVICE_NAMESPACE"];
