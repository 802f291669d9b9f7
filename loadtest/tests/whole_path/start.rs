//! How programs start: without an API server they wait, unready and with closed ports; what can never work ends them with a code.

use crate::objects::{route, service};
use crate::stage::{PATIENCE, PORTS, Source, Stage};
use nearside_loadtest::client::raw;
use nearside_loadtest::programs::{self, Launch, Program};
use std::net::SocketAddr;
use std::process::ExitStatus;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_wait_for_an_api_server_that_is_not_there_yet() {
    let mut stage = Stage::lay(Source::Api, 1).await;
    stage.put_all(&[service("web"), route("web", "web.apps.example.com", "web")]);
    stage.run_pod("web", 1, "n1");
    stage.objects.api().faults().refuse_connections().await;
    stage.start_programs();
    for program in ["proxy-n1", "dns-sync", "controller"] {
        let look = async || stage.admin_page(program, "/healthz").await.0;
        stage.until(&format!("{program} runs"), look, |status| *status == 200).await;
        let (status, reason) = stage.admin_page(program, "/healthz/ready").await;
        assert_eq!(status, 503, "{program} is ready without having read anything: {reason}");
    }
    // Their admin ports are open by now; the others must not be before the first list is complete.
    let place = &stage.network.clients()[0];
    for port in [PORTS.http, PORTS.https] {
        let address = SocketAddr::new(stage.address("n1"), port);
        assert!(raw::connect(place, address).await.is_err(), "port {port} is open before the first sync");
    }
    assert!(stage.published("web.apps.example.com").await.is_empty());

    stage.objects.api().faults().accept_connections().await.unwrap();
    stage.ready().await;
    stage.until_published("web.apps.example.com", &["n1"]).await;
    let record = stage.fetch("http://web.apps.example.com/").await;
    assert!(record.status == Some(200) && record.by_own_node(), "{record:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_ends_a_program_with_code_1_and_the_address() {
    let stage = Stage::start(Source::Manifests, 1, |_| {}).await;
    let place = stage.network.nodes()[0].place().clone();
    let admin = |port: u16| format!("--admin-listen={}", SocketAddr::new(place.address(), port));
    let http = SocketAddr::new(place.address(), PORTS.http);
    let taken = stage.admin("proxy-n1");

    let mut arguments = stage.proxy_arguments("n1");
    arguments.push(admin(9950));
    let (status, log) = end_of(stage.start_as("nearside-proxy", "second", &place, &arguments)).await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains(&http.to_string()), "the message names {http}: {log}");

    let directory = stage.objects.manifests().display().to_string();
    let out = stage.directory.path().join("other").display().to_string();
    let manifests = format!("--manifests={directory}");
    let controller = [manifests.clone(), format!("--out={out}"), format!("--admin-listen={taken}")];
    let (status, log) = end_of(stage.start_as("nearside-controller", "second-controller", &place, &controller)).await;
    assert!(status.code() == Some(1) && log.contains(&taken.to_string()), "{status}: {log}");

    let dns = SocketAddr::new(stage.network.control().address(), 5353);
    let dns_sync = ["serve".to_owned(), "--zone=apps.example.com".to_owned(), format!("--listen={dns}"), manifests];
    let (status, log) = end_of(stage.start_as("nearside-dns-sync", "second-dns-sync", &place, &dns_sync)).await;
    assert!(status.code() == Some(1) && log.contains(&dns.to_string()), "{status}: {log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusable_flags_end_a_program_with_code_2_and_one_line() {
    let stage = Stage::lay(Source::Manifests, 1).await;
    let place = stage.network.control().clone();
    let manifests = format!("--manifests={}", stage.objects.manifests().display());
    let cases: [(&str, Vec<&str>, &str); 5] = [
        ("nearside-proxy", vec!["--node-name=n1", "--on-miss=bounce", &manifests], "--on-miss"),
        ("nearside-proxy", vec!["--node-name=n1", "--http-listen=nowhere", &manifests], "--http-listen"),
        ("nearside-proxy", vec![&manifests], "--node-name"),
        ("nearside-controller", vec![&manifests], "--out"),
        ("nearside-dns-sync", vec!["serve", "--zone=apps.example.com", "--listen=53", &manifests], "--listen"),
    ];
    for (number, (binary, arguments, flag)) in cases.into_iter().enumerate() {
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let (status, log) = end_of(stage.start_as(binary, &format!("flags-{number}"), &place, &arguments)).await;
        assert_eq!(status.code(), Some(2), "{binary} {arguments:?}: {log}");
        assert_eq!(log.lines().count(), 1, "{binary} {arguments:?}: {log}");
        assert!(log.contains(flag), "{binary} {arguments:?}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_machine_reads_health_and_nothing_else_of_an_admin_port_without_credentials() {
    let stage = Stage::lay(Source::Manifests, 1).await;
    let (node, other) = (stage.network.nodes()[0].place().clone(), stage.network.control().clone());
    let admin = SocketAddr::new(stage.address("n1"), 9960);
    let mut arguments = stage.proxy_arguments("n1");
    arguments.push(format!("--admin-listen={admin}"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let launch =
        Launch::new("nearside-proxy", "guarded", &node, &arguments).unwrap().env("NEARSIDE_ADMIN_OPEN", "false");
    let mut proxy = launch.start(stage.directory.path()).unwrap();
    proxy.ready(admin, "/healthz/ready", PATIENCE).await.unwrap();
    if !stage.network.is_loopback() {
        for page in ["/metrics", "/routes", "/"] {
            let (status, text) = programs::get(&other, admin, page).await.unwrap();
            assert!(status == 403 && text.contains("--admin-open"), "{page}: {status} {text}");
        }
    }
    assert_eq!(programs::get(&other, admin, "/healthz").await.unwrap().0, 200);
}

/// Waits until a program ends by itself; its status and what it wrote.
async fn end_of(mut program: Program) -> (ExitStatus, String) {
    let log = program.log().to_owned();
    let status = program.ended(PATIENCE).await.unwrap();
    (status, std::fs::read_to_string(log).unwrap())
}
