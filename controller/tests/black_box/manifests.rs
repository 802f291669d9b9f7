//! A directory of manifests instead of a cluster.

use crate::objects::{addresses, app_pod, cluster, ingress, route, service};
use crate::process::{BINARY, Controller, targets};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

const HOST: &str = "video.example.com";

struct Manifests {
    root: TempDir,
}

impl Manifests {
    fn new() -> Self {
        let manifests = Self { root: TempDir::new().unwrap() };
        fs::create_dir(manifests.root.path().join("in")).unwrap();
        manifests.write("cluster", &cluster());
        manifests.write("shop", &[service("shop", "web"), route("shop", "web", HOST, "web")]);
        manifests.write("pods", &[app_pod("shop", "web", 1, true)]);
        manifests
    }

    /// Replaces a file as a person's editor does.
    fn write(&self, name: &str, objects: &[Value]) {
        // JSON is YAML.
        let text: Vec<String> = objects.iter().map(ToString::to_string).collect();
        self.write_text(name, &text.join("\n---\n"));
    }

    fn write_text(&self, name: &str, text: &str) {
        let path = self.root.path().join("in").join(format!("{name}.yaml"));
        let partial = path.with_extension("new");
        fs::write(&partial, text).unwrap();
        fs::rename(partial, path).unwrap();
    }

    fn arguments(&self) -> [String; 2] {
        let directory = |name: &str| self.root.path().join(name).display().to_string();
        [format!("--manifests={}", directory("in")), format!("--out={}", directory("out"))]
    }

    async fn controller(&self, name: &str) -> Controller {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut controller = Controller::start(self.root.path(), name, &arguments, &[]);
        controller.ready().await;
        controller
    }

    fn out(&self, path: &str) -> PathBuf {
        self.root.path().join("out").join(path)
    }

    fn endpoint(&self, host: &str) -> Option<Value> {
        let entries = fs::read_dir(self.out("dnsendpoints")).ok()?;
        let files =
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "yaml"));
        let objects = files.filter_map(|path| serde_saphyr::from_str::<Value>(&fs::read_to_string(path).ok()?).ok());
        objects.into_iter().find(|object| object["metadata"]["annotations"]["nearside.dev/host"] == host)
    }

    fn published(&self, host: &str) -> Vec<String> {
        self.endpoint(host).map(|object| targets(&object, host)).unwrap_or_default()
    }

    fn status(&self, path: &str) -> Value {
        let text = fs::read_to_string(self.out(path)).unwrap_or_default();
        serde_saphyr::from_str::<Value>(&text).unwrap_or_default()["status"].clone()
    }
}

#[tokio::test]
async fn what_would_go_to_the_api_is_written_to_files() {
    let manifests = Manifests::new();
    let site = ingress("shop", "site", &[("site.example.com", "/", "web")]);
    manifests.write("site", &[site]);
    let controller = manifests.controller("controller").await;
    controller.until("published", addresses(&[1]), || manifests.published(HOST)).await;
    let endpoint = manifests.endpoint(HOST).unwrap();
    assert_eq!(endpoint["apiVersion"], "externaldns.k8s.io/v1alpha1");
    assert_eq!(endpoint["metadata"]["namespace"], "nearside");
    let admitted =
        || manifests.status("status/routes/shop.web.status")["ingress"][0]["conditions"][0]["status"].clone();
    controller.until("Route", Value::from("True"), admitted).await;
    let ip = || manifests.status("status/ingresses/shop.site.status")["loadBalancer"]["ingress"][0]["ip"].clone();
    controller.until("Ingress", Value::from("198.18.0.1"), ip).await;

    manifests.write("pods", &[app_pod("shop", "web", 1, false), app_pod("shop", "web", 2, true)]);
    controller.until("moved", addresses(&[2]), || manifests.published(HOST)).await;
    controller.until("moved", Value::from("198.18.0.2"), ip).await;
    fs::remove_file(manifests.root.path().join("in/site.yaml")).unwrap();
    controller.until("withdrawn", true, || manifests.endpoint("site.example.com").is_none()).await;
    controller.until("withdrawn", false, || manifests.out("status/ingresses/shop.site.status").exists()).await;
    assert_eq!(controller.terminate().await, Some(0));
    let left: Vec<String> = walk(&manifests.out(""));
    assert!(!left.iter().any(|path| path.ends_with(".partial")), "{left:?}");
}

#[tokio::test]
async fn a_broken_file_withdraws_nothing() {
    let manifests = Manifests::new();
    let controller = manifests.controller("controller").await;
    controller.until("published", addresses(&[1]), || manifests.published(HOST)).await;
    manifests.write_text("shop", "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {name: [");
    manifests.write("pods", &[app_pod("shop", "web", 3, true)]);
    controller.until("the other file counts", addresses(&[3]), || manifests.published(HOST)).await;
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_one_ended() {
    let manifests = Manifests::new();
    let controller = manifests.controller("first").await;
    controller.until("published", addresses(&[1]), || manifests.published(HOST)).await;
    let status = "status/routes/shop.web.status";
    controller.until("status", false, || manifests.status(status).is_null()).await;
    let before = (manifests.endpoint(HOST), manifests.status(status));
    manifests.write("gone", &[route("shop", "gone", "gone.example.com", "web")]);
    let gone = "status/routes/shop.gone.status";
    controller.until("another host", addresses(&[1]), || manifests.published("gone.example.com")).await;
    controller.until("another status", true, || manifests.out(gone).exists()).await;
    controller.kill().await;
    fs::remove_file(manifests.root.path().join("in/gone.yaml")).unwrap();
    manifests.write("more", &[route_to_web("more.example.com")]);
    let again = manifests.controller("second").await;
    again.until("the new host", addresses(&[1]), || manifests.published("more.example.com")).await;
    assert_eq!((manifests.endpoint(HOST), manifests.status(status)), before);
    again.until("what is gone", true, || manifests.endpoint("gone.example.com").is_none()).await;
    again.until("what is gone", false, || manifests.out(gone).exists()).await;
    manifests.write("pods", &[app_pod("shop", "web", 2, true)]);
    again.until("moved", addresses(&[2]), || manifests.published(HOST)).await;
    assert_eq!(manifests.endpoint(HOST).unwrap()["metadata"]["annotations"]["nearside.dev/gen"], "2");
}

#[tokio::test]
async fn a_directory_has_one_controller() {
    let manifests = Manifests::new();
    let controller = manifests.controller("first").await;
    controller.until("published", addresses(&[1]), || manifests.published(HOST)).await;
    let output = Command::new(BINARY).env_clear().args(manifests.arguments()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("another controller writes there") && text.lines().count() == 1, "{text}");
}

#[tokio::test]
async fn what_cannot_start_says_why_in_a_line_flags_with_exit_code_2_the_rest_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let manifests = Manifests::new();
    let [input, out] = manifests.arguments();
    for (arguments, code, lines, words) in [
        (vec!["--no-such-flag"], 2, 1, "--no-such-flag"),
        (vec![&input as &str], 2, 1, "needs --out"),
        (vec![&input, &out, "--record-ttl=4", "--max-addresses=101"], 2, 2, "--max-addresses"),
        (vec![&input, &out, "--admin-listen", &address], 1, 1, &address),
        (vec!["--log-format=text"], 1, 1, "no cluster is configured"),
    ] {
        let output = Command::new(BINARY)
            .env_clear()
            .args(&arguments)
            .env("KUBECONFIG", manifests.root.path().join("absent"))
            .env("HOME", manifests.root.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), lines, "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}

fn route_to_web(host: &str) -> Value {
    route("shop", "more", host, "web")
}

fn walk(directory: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}
