//! What the cluster is told while records are published on real name servers: the program, BIND and Knot, and an API server that is
//! as strict as a real one. What a name server has taken and what every name server answers are told apart.

mod objects;
mod restart;
mod seen;
mod silence;

use crate::client::{PATIENCE, eventually};
use nearside_loadtest::api::{ApiServer, ObjectRef, Options};
use nearside_loadtest::lab::Place;
use nearside_loadtest::name_servers::{NameServer, Setup, Software, TsigKey, Zone, free_address, zone_text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const ZONE: &str = "apps.test";
const OBJECT: ObjectRef<'static> =
    ObjectRef { api_version: "externaldns.k8s.io/v1alpha1", kind: "DNSEndpoint", namespace: "router", name: "a" };
const DEFINITION: &str = include_str!("../../../deploy/manifests/crd-dnsendpoint.yaml");

/// `publish` for servers, on a cluster.
struct Publisher {
    process: Child,
    directory: tempfile::TempDir,
    admin: SocketAddr,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Best effort: the test is over either way.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Publisher {
    /// Each server with whether it is updated.
    fn start(api: &ApiServer, key: &TsigKey, servers: &[(SocketAddr, bool)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("state")).unwrap();
        std::fs::write(path("kubeconfig"), api.kubeconfig_yaml()).unwrap();
        std::fs::write(path("key"), key.clause()).unwrap();
        let server = |(address, update): &(SocketAddr, bool)| match update {
            true => json!({"address": address, "keys": [{"file": path("key")}]}),
            false => json!({"address": address, "update": false}),
        };
        let servers: Vec<Value> = servers.iter().map(server).collect();
        let config =
            json!({"cluster": "prod-1", "stateDir": path("state"), "zones": [{"zone": ZONE, "servers": servers}]});
        std::fs::write(path("config.yaml"), config.to_string()).unwrap();
        let admin = free_address(&Place::host(), IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
        let process = Self::command(directory.path(), admin).spawn().unwrap();
        Self { process, directory, admin }
    }

    fn command(directory: &Path, admin: SocketAddr) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .env_clear()
            .env("KUBECONFIG", directory.join("kubeconfig"))
            .args(["publish", "--config", directory.join("config.yaml").to_str().unwrap()])
            .args(["--admin-listen", &admin.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Ends it in order.
    fn stop(&mut self) {
        end(&mut self.process);
    }

    /// Starts it again with what it has on disk.
    fn start_again(&mut self) {
        self.process = Self::command(self.directory.path(), self.admin).spawn().unwrap();
    }

    /// `status` with more arguments.
    fn status(&self, arguments: &[&str]) -> Output {
        assert!(self.directory.path().exists());
        let admin = format!("http://{}", self.admin);
        Command::new(PROGRAM).env_clear().args(["status", "--admin", &admin]).args(arguments).output().unwrap()
    }

    fn page(&self) -> Option<Value> {
        serde_json::from_slice(&self.status(&["-o", "json"]).stdout).ok()
    }
}

/// Ends a program in order.
fn end(process: &mut Child) {
    kill_process(Pid::from_raw(process.id().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
    eventually("the program ends", || process.try_wait().unwrap().is_some());
}

async fn cluster(definition: &str) -> ApiServer {
    let api = ApiServer::start(Options { custom_kinds: false, ..Options::default() }).await.unwrap();
    api.seed_manifest("apiVersion: v1\nkind: Namespace\nmetadata: {name: router}\n").unwrap();
    api.seed_manifest(definition).unwrap();
    api
}

fn ask_for(api: &ApiServer, target: &str) {
    ask(api, "a", &[("a.apps.test", "A", &[target])]);
}

/// Makes an object, or gives it other records.
fn ask(api: &ApiServer, name: &str, records: &[(&str, &str, &[&str])]) {
    let endpoint = |(host, record_type, targets): &(&str, &str, &[&str])| json!({"dnsName": host, "recordType": record_type, "recordTTL": 30, "targets": targets});
    let endpoints: Vec<Value> = records.iter().map(endpoint).collect();
    api.apply(json!({
        "apiVersion": OBJECT.api_version, "kind": OBJECT.kind,
        "metadata": {"namespace": OBJECT.namespace, "name": name}, "spec": {"endpoints": endpoints},
    }))
    .unwrap();
}

fn status(api: &ApiServer) -> Value {
    api.get(OBJECT).unwrap()["status"].clone()
}

/// A condition as `True Visible`, empty where there is none.
fn condition(api: &ApiServer, kind: &str) -> String {
    condition_of(api, OBJECT.name, kind).0
}

/// A condition of an object as `True Visible`, and its message.
fn condition_of(api: &ApiServer, name: &str, kind: &str) -> (String, String) {
    let status = api.get(ObjectRef { name, ..OBJECT }).unwrap()["status"].clone();
    let found = status["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == kind);
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let short = |found: &Value| format!("{} {}", text(found, "status"), text(found, "reason"));
    found.map(|found| (short(found), text(found, "message"))).unwrap_or_default()
}

/// One of each, with the same zone.
fn all_three(key: &TsigKey) -> Vec<NameServer> {
    Software::ALL.into_iter().map(|software| NameServer::start(software, &primary(key)).unwrap()).collect()
}

fn updated(servers: &[NameServer]) -> Vec<(SocketAddr, bool)> {
    servers.iter().map(|server| (server.address(), true)).collect()
}

fn records(server: &NameServer, name: &str) -> BTreeSet<String> {
    server.ask(name, "A").map(|answer| answer.records).unwrap_or_default()
}

fn primary(key: &TsigKey) -> Setup {
    Setup { zones: vec![Zone::primary(ZONE, &zone_text(ZONE, ""), key)], keys: vec![key.clone()] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_visible_once_a_secondary_that_was_silent_answers_with_it() {
    let key = TsigKey::new("nearside", "hmac-sha256", "visible");
    let directory = tempfile::tempdir().unwrap();
    let address = free_address(&Place::host(), IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
    let mut setup = primary(&key);
    setup.zones[0].notify = vec![address];
    let one = NameServer::start(Software::Bind, &setup).unwrap();
    let secondary = Setup { zones: vec![Zone::secondary(ZONE, one.address(), &key)], keys: vec![key.clone()] };
    let other = NameServer::start_at(Software::Knot, &secondary, &Place::host(), address, directory.path()).unwrap();
    eventually("the secondary has the zone", || other.serial(ZONE).is_ok());
    other.pause();

    let api = cluster(DEFINITION).await;
    ask_for(&api, "192.0.2.1");
    let publisher = Publisher::start(&api, &key, &[(one.address(), true), (other.address(), false)]);
    eventually("the primary has taken it", || condition(&api, "Applied") == "True Applied");
    assert_eq!(one.ask("a.apps.test", "A").unwrap().records, ["192.0.2.1".to_owned()].into());
    eventually("the silent server is told", || condition(&api, "Visible") == "False ServerDown");
    assert_eq!(status(&api)["observedGeneration"], Value::Null);
    let shown = publisher.status(&[]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert_eq!(shown.status.code(), Some(1), "{text}");
    assert!(text.contains("ServerDown") && text.contains("a.apps.test") && text.contains("router/a"), "{text}");

    other.resume();
    let shown = publisher.status(&["--wait", &PATIENCE.as_secs().to_string(), "--host", "a.apps.test"]);
    assert_eq!(shown.status.code(), Some(0), "{}", String::from_utf8_lossy(&shown.stdout));
    assert_eq!(other.ask("a.apps.test", "A").unwrap().records, ["192.0.2.1".to_owned()].into());
    eventually("it is told", || condition(&api, "Visible") == "True Visible");
    assert_eq!(status(&api)["observedGeneration"], 1);
    assert_eq!(condition(&api, "Settled"), "False Waiting");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_that_answers_something_else_keeps_a_host_from_being_visible() {
    let key = TsigKey::new("nearside", "hmac-sha256", "lagging");
    let (one, other) = (
        NameServer::start(Software::Bind, &primary(&key)).unwrap(),
        NameServer::start(Software::Knot, &primary(&key)).unwrap(),
    );
    let api = cluster(DEFINITION).await;
    ask_for(&api, "192.0.2.1");
    // A secondary whose transfers have ended: it has the zone, and not what is new in it.
    let publisher = Publisher::start(&api, &key, &[(one.address(), true), (other.address(), false)]);
    eventually("it is told", || condition(&api, "Visible") == "False Differs");
    assert_eq!(condition(&api, "Applied"), "True Applied");
    // The first look at a server may come before the update has reached it.
    let stage = |server: SocketAddr| {
        let page = publisher.page().unwrap();
        let places = page["names"][0]["servers"].as_array().unwrap().clone();
        places.iter().find(|place| place["server"] == server.to_string()).unwrap()["stage"].clone()
    };
    eventually("it is seen where it was written", || stage(one.address()) == "Visible");
    assert_eq!(stage(other.address()), json!("Differs"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_without_conditions_gets_the_generation_alone() {
    let mut definition: Value = serde_saphyr::from_str(DEFINITION).unwrap();
    let status_fields = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    definition.pointer_mut(status_fields).unwrap().as_object_mut().unwrap().remove("conditions");
    let api = cluster(&definition.to_string()).await;
    let key = TsigKey::new("nearside", "hmac-sha256", "pruned");
    let server = NameServer::start(Software::Bind, &primary(&key)).unwrap();
    ask_for(&api, "192.0.2.1");
    let publisher = Publisher::start(&api, &key, &[(server.address(), true)]);
    eventually("it is told", || status(&api)["observedGeneration"] == 1);
    assert_eq!(status(&api)["conditions"], Value::Null);
    // Long enough for a second write, which there must not be.
    let version = || api.get(OBJECT).unwrap()["metadata"]["resourceVersion"].clone();
    let written = version();
    let deadline = std::time::Instant::now() + Duration::from_secs(3);
    while std::time::Instant::now() < deadline {
        assert!(publisher.page().is_some());
        assert_eq!(version(), written);
    }
}

/// `serve` on a cluster, at an address, with another name server to verify.
fn serve(api: &ApiServer, directory: &Path, listen: SocketAddr, other: SocketAddr) -> Child {
    let kubeconfig = directory.join(listen.port().to_string());
    std::fs::write(&kubeconfig, api.kubeconfig_yaml()).unwrap();
    let (listen, other) = (listen.to_string(), other.to_string());
    Command::new(PROGRAM)
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .args(["serve", "--zone", ZONE, "--listen", &listen, "--verify", &other])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_visible_once_the_other_replica_serves_it() {
    let api = cluster(DEFINITION).await;
    ask_for(&api, "192.0.2.1");
    let free = || free_address(&Place::host(), IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
    let (one, other) = (free(), free());
    let directory = tempfile::tempdir().unwrap();
    let mut first = serve(&api, directory.path(), one, other);
    eventually("it is told", || condition(&api, "Visible") == "False Waiting");
    assert_eq!(condition(&api, "Applied"), "True Served");
    assert_eq!(status(&api)["observedGeneration"], Value::Null);
    let mut second = serve(&api, directory.path(), other, one);
    eventually("both serve it", || condition(&api, "Visible") == "True Served");
    assert_eq!(status(&api)["observedGeneration"], 1);
    for process in [&mut first, &mut second] {
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_nearside-dns-sync");
