//! The fake API server as a person sees it: the real `kubectl`, where it is installed. Elsewhere these tests say so, and
//! fail only with `NEARSIDE_REQUIRE_KUBECTL=1`.

use nearside_loadtest::api::{ApiServer, ObjectRef, Options, ServerTls};
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

struct Person {
    server: ApiServer,
    home: TempDir,
}

impl Person {
    /// A server and a home with its kubeconfig; `None` without `kubectl`.
    async fn new() -> Option<Self> {
        Self::at(Options::default()).await
    }

    /// The same with a server that behaves so.
    async fn at(options: Options) -> Option<Self> {
        let installed =
            Command::new("kubectl").args(["version", "--client"]).output().await.is_ok_and(|out| out.status.success());
        if !installed {
            assert!(
                std::env::var("NEARSIDE_REQUIRE_KUBECTL").as_deref() != Ok("1"),
                "kubectl is required and not installed"
            );
            say_not_run();
            return None;
        }
        let server = ApiServer::start(options).await.expect("a free port");
        let home = TempDir::new().expect("a directory");
        std::fs::write(home.path().join("config"), server.kubeconfig_yaml()).expect("writable");
        Some(Self { server, home })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(arguments)
            .env("KUBECONFIG", self.home.path().join("config"))
            .env("HOME", self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str], input: &str) -> (bool, String, String) {
        let mut child = self.command(arguments).spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).await.expect("read");
        drop(stdin);
        let output = child.wait_with_output().await.expect("kubectl ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    /// What a command that must succeed, and without a warning, prints.
    async fn ok(&self, arguments: &[&str], input: &str) -> String {
        let (success, stdout, stderr) = self.run(arguments, input).await;
        assert!(success && stderr.is_empty(), "kubectl {arguments:?}\n{stdout}\n{stderr}");
        stdout
    }

    /// What a command that must fail complains.
    async fn refused(&self, arguments: &[&str], input: &str) -> String {
        let (success, stdout, stderr) = self.run(arguments, input).await;
        assert!(!success, "kubectl {arguments:?}\n{stdout}");
        stderr
    }

    fn file(&self, name: &str, object: &Value) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, object.to_string()).expect("writable");
        path
    }
}

#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
fn say_not_run() {
    eprintln!("not run: kubectl is not installed (NEARSIDE_REQUIRE_KUBECTL=1 makes this a failure)");
}

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"selector": {"app": "a"}, "ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}]}})
}

fn route() -> Value {
    json!({"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "r"},
        "spec": {"host": "a.example.com", "to": {"kind": "Service", "name": "s"}}})
}

#[tokio::test]
async fn objects_are_applied_changed_and_deleted() {
    let Some(person) = Person::new().await else { return };
    for object in [service(), route()] {
        let name = object["metadata"]["name"].as_str().expect("named");
        let text = object.to_string();
        assert!(person.ok(&["apply", "-f", "-"], &text).await.contains("created"));
        assert!(person.ok(&["apply", "-f", "-"], &text).await.contains("unchanged"));
        let mut changed = object.clone();
        changed["metadata"]["labels"] = json!({"tier": "front"});
        assert!(person.ok(&["apply", "-f", "-"], &changed.to_string()).await.contains("configured"));
        let kind = object["kind"].as_str().expect("a kind").to_lowercase();
        let target = format!("{kind}/{name}");
        person.ok(&["label", &target, "more=1"], "").await;
        person.ok(&["annotate", &target, "example.com/note=x"], "").await;
        let labels = person.ok(&["get", &target, "-o", "jsonpath={.metadata.labels}"], "").await;
        assert_eq!(serde_json::from_str::<Value>(&labels).expect("JSON"), json!({"tier": "front", "more": "1"}));
        assert!(person.ok(&["get", &target, "-o", "yaml"], "").await.contains("resourceVersion:"));
        assert!(person.ok(&["delete", &target], "").await.contains("deleted"));
        assert!(person.refused(&["get", &target], "").await.contains("NotFound"));
    }
}

#[tokio::test]
async fn patches_of_every_type_are_taken() {
    let Some(person) = Person::new().await else { return };
    person.ok(&["apply", "-f", "-"], &service().to_string()).await;
    let port = r#"{"spec":{"ports":[{"port":443,"targetPort":8443}]}}"#;
    person.ok(&["patch", "service/s", "-p", port], "").await;
    let ports = "jsonpath={.spec.ports[*].targetPort}";
    assert_eq!(person.ok(&["get", "service/s", "-o", ports], "").await, "80 8443", "merged by port");
    let selector = r#"{"spec":{"selector":{"app":null,"b":"1"}}}"#;
    person.ok(&["patch", "service/s", "--type=merge", "-p", selector], "").await;
    let operations = r#"[{"op":"replace","path":"/spec/ports/0/port","value":8080}]"#;
    person.ok(&["patch", "service/s", "--type=json", "-p", operations], "").await;
    let stored = person.server.get(ObjectRef::new("v1", "Service", "default", "s")).expect("stored");
    assert_eq!((&stored["spec"]["selector"], &stored["spec"]["ports"][0]["port"]), (&json!({"b": "1"}), &json!(8080)));
    let status = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}"#;
    person.ok(&["patch", "service/s", "--subresource=status", "--type=merge", "-p", status], "").await;
    let stored = person.server.get(ObjectRef::new("v1", "Service", "default", "s")).expect("stored");
    assert_eq!(stored["status"]["loadBalancer"]["ingress"][0]["ip"], "192.0.2.1");
}

#[tokio::test]
async fn server_side_apply_reports_conflicts() {
    let Some(person) = Person::new().await else { return };
    let file = person.file(
        "map.json",
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "1"}}),
    );
    let file = file.to_str().expect("UTF-8");
    person.ok(&["apply", "--server-side", "-f", file], "").await;
    let other =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "2"}}).to_string();
    let arguments = ["apply", "--server-side", "--field-manager=other", "-f", "-"];
    let complaint = person.refused(&arguments, &other).await;
    assert!(complaint.contains("conflict with \"kubectl\"") && complaint.contains(".data.k"), "{complaint}");
    person.ok(&["apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-"], &other).await;
    let dry = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dry"}}).to_string();
    person.ok(&["apply", "--server-side", "--dry-run=server", "-f", "-"], &dry).await;
    assert_eq!(person.server.get(ObjectRef::new("v1", "ConfigMap", "default", "dry")), None);
}

#[tokio::test]
async fn kinds_and_tables_are_shown() {
    let Some(person) = Person::new().await else { return };
    let kinds = person.ok(&["api-resources", "-o", "name"], "").await;
    for kind in [
        "pods",
        "routes.route.openshift.io",
        "dnsendpoints.externaldns.k8s.io",
        "ingresses.networking.k8s.io",
        "leases.coordination.k8s.io",
    ] {
        assert!(kinds.lines().any(|line| line == kind), "{kind} in\n{kinds}");
    }
    // `kubectl` of another minor version warns, so standard error may say something.
    assert!(person.run(&["version"], "").await.1.contains("Server Version: v1.34"));
    person.server.seed(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "198.18.0.1"}]}})).expect("valid");
    person.server.seed(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default", "labels": {"app": "a"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "podIP": "198.18.1.1", "conditions": [{"type": "Ready", "status": "True"}]}})).expect("valid");
    let pods = person
        .ok(&["get", "pods", "-A", "-o", "wide", "-l", "app in (a,b)", "--field-selector=spec.nodeName=n1"], "")
        .await;
    let row: Vec<_> = pods.lines().nth(1).expect("a row").split_whitespace().collect();
    assert_eq!((&row[..4], row[5], row[6]), (&["default", "p", "1/1", "Running"][..], "198.18.1.1", "n1"));
    assert!(person.ok(&["get", "no"], "").await.contains("Ready"));
    person.ok(&["apply", "-f", "-"], &route().to_string()).await;
    assert!(person.ok(&["get", "routes"], "").await.contains("a.example.com"));
    let all = person.ok(&["get", "pods,routes,ns", "-o", "json", "--chunk-size=1"], "").await;
    assert_eq!(serde_json::from_str::<Value>(&all).expect("JSON")["items"].as_array().map(Vec::len), Some(6));
    assert!(person.ok(&["describe", "pod", "p"], "").await.contains("198.18.1.1"));
    assert!(person.ok(&["describe", "route", "r"], "").await.contains("a.example.com"));
    let complaint = person.refused(&["get", "pods", "--field-selector=spec.image=x"], "").await;
    assert!(complaint.contains("field label not supported"), "{complaint}");
}

#[tokio::test]
async fn changes_are_watched_and_waited_for() {
    let Some(person) = Person::new().await else { return };
    let pod = ObjectRef::new("v1", "Pod", "default", "p");
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Pending"}});
    person.server.seed(object).expect("valid");
    let mut watch = person.command(&["get", "pods", "-w", "--no-headers"]).spawn().expect("kubectl starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let first = lines.next_line().await.expect("readable").expect("a line");
    assert!(first.contains("Pending"), "{first}");
    let mut wait =
        person.command(&["wait", "--for=condition=Ready", "pod/p", "--timeout=60s"]).spawn().expect("kubectl starts");
    person
        .server
        .set_status(pod, json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}))
        .expect("valid");
    let second = lines.next_line().await.expect("readable").expect("a line");
    assert!(second.contains("Running") && second.contains("1/1"), "{second}");
    assert!(wait.wait().await.expect("ends").success());
    watch.kill().await.expect("killed");
    let mut gone = person.command(&["wait", "--for=delete", "pod/p", "--timeout=60s"]).spawn().expect("kubectl starts");
    person.server.delete(pod).expect("exists");
    assert!(gone.wait().await.expect("ends").success());
}

#[tokio::test]
async fn what_a_real_server_refuses_is_refused() {
    let Some(person) = Person::new().await else { return };
    let mut wrong = service();
    wrong["metadata"]["name"] = json!("1s");
    let complaint = person.refused(&["apply", "-f", "-"], &wrong.to_string()).await;
    assert!(complaint.contains("metadata.name: Invalid value"), "{complaint}");
    let mut nowhere = service();
    nowhere["metadata"]["namespace"] = json!("nowhere");
    let complaint = person.refused(&["apply", "-f", "-"], &nowhere.to_string()).await;
    assert!(complaint.contains("namespaces \"nowhere\" not found"), "{complaint}");
    person.server.faults().disable_kind("routes");
    // `kubectl` remembers the kinds of a server for minutes.
    let forgetful = person.home.path().join("fresh").to_string_lossy().into_owned();
    let complaint = person.refused(&["--cache-dir", &forgetful, "apply", "-f", "-"], &route().to_string()).await;
    assert!(complaint.contains("no matches for kind \"Route\""), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_server_takes_the_manifests_and_gives_accounts_what_they_say() {
    let ca = TestCa::new("API server").expect("an authority");
    let identity = ca.identity(&["127.0.0.1"]).expect("a certificate");
    let tls = ServerTls { server: identity.server().expect("usable"), authority: ca.certificate().to_owned() };
    let Some(person) = Person::at(Options { tls: Some(tls), ..Options::strict("of-the-administrator") }).await else {
        return;
    };
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/manifests");
    for file in ["namespace.yaml", "crd-route.yaml", "crd-dnsendpoint.yaml", "rbac-proxy.yaml"] {
        person.ok(&["apply", "--server-side", "-f", &format!("{manifests}/{file}")], "").await;
    }
    // By hand: `kubectl create token` speaks protocol buffers, which this server does not.
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}});
    let path = "/api/v1/namespaces/nearside/serviceaccounts/nearside-proxy/token";
    let answer = person.ok(&["create", "--raw", path, "-f", "-"], &request.to_string()).await;
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let proxy = format!("--token={}", answer["status"]["token"].as_str().expect("a token"));
    person.ok(&[&proxy, "get", "routes.route.openshift.io", "-A", "-o", "name"], "").await;
    let refused = person.refused(&[&proxy, "delete", "namespace", "nearside"], "").await;
    assert!(
        refused
            .contains("User \"system:serviceaccount:nearside:nearside-proxy\" cannot delete resource \"namespaces\""),
        "{refused}"
    );
}
