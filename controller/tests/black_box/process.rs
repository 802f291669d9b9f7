//! A controller as a process and what surrounds it: starts it against a fake API server or a directory, waits for what it
//! writes, and shows its log when a wait fails.

use crate::objects;
use nearside_loadtest::api::{ApiServer, ObjectRef, Options};
use nearside_loadtest::lab::Place;
use nearside_loadtest::programs::{Launch, Program, get};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

/// The executable under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_nearside-controller");

/// A fake cluster of three nodes with ready routers, and a directory for logs.
pub(crate) struct Cluster {
    pub(crate) api: ApiServer,
    pub(crate) directory: TempDir,
}

impl Cluster {
    /// Without any Route or Ingress yet.
    pub(crate) async fn new() -> Self {
        Self::with(Options::default()).await
    }

    /// The same with an API server that behaves so. The controller has the token of its own ServiceAccount and the rights that the
    /// manifests give it, unless the server has accounts of its own.
    pub(crate) async fn with(options: Options) -> Self {
        let rbac = options.accounts.is_empty();
        let token = if rbac { Some("of-the-administrator".to_owned()) } else { None };
        let api = ApiServer::start(Options { rbac, token, ..options }).await.unwrap();
        let cluster = Self { api, directory: TempDir::new().unwrap() };
        cluster.api.seed_manifest(include_str!("../../../deploy/manifests/rbac-controller.yaml")).unwrap();
        cluster.seed(objects::cluster());
        cluster
    }

    /// Makes objects exist.
    pub(crate) fn seed(&self, objects: impl IntoIterator<Item = Value>) {
        for object in objects {
            self.api.seed(object).unwrap();
        }
    }

    /// Starts a controller that is ready.
    pub(crate) async fn controller(&self, name: &str) -> Controller {
        self.controller_with(name, &[]).await
    }

    /// Starts a controller with more flags, and waits until it is ready.
    pub(crate) async fn controller_with(&self, name: &str, flags: &[&str]) -> Controller {
        let mut controller = self.start(name, flags);
        controller.ready().await;
        controller
    }

    /// Starts a controller.
    pub(crate) fn unready_controller(&self, name: &str) -> Controller {
        self.start(name, &[])
    }

    /// A file that tells an administrator how to reach the API server.
    pub(crate) fn kubeconfig(&self) -> String {
        let path = self.directory.path().join("kubeconfig");
        std::fs::write(&path, self.api.kubeconfig_yaml()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn start(&self, name: &str, flags: &[&str]) -> Controller {
        let kubeconfig = self.directory.path().join(format!("{name}.kubeconfig"));
        std::fs::write(&kubeconfig, self.api.kubeconfig_yaml_of("nearside", "nearside-controller").unwrap()).unwrap();
        let environment = [("KUBECONFIG", kubeconfig.to_str().unwrap())];
        // The addresses of the nodes are nobody's; what answers for them is the matter of the network that the test runs in.
        let probes: &[&str] = if flags.contains(&"--probe-port") { &[] } else { &["--probe-port", "off"] };
        let flags = [&["--namespace", "nearside"], probes, flags].concat();
        Controller::start(self.directory.path(), name, &flags, &environment)
    }

    /// The DNSEndpoint of a host.
    pub(crate) fn endpoint(&self, host: &str) -> Option<Value> {
        let all = self.api.list("externaldns.k8s.io/v1alpha1", "DNSEndpoint", "nearside");
        all.into_iter().find(|object| object["metadata"]["annotations"]["nearside.dev/host"] == host)
    }

    /// The addresses published for a host, by name; empty without DNSEndpoint.
    pub(crate) fn published(&self, host: &str) -> Vec<String> {
        self.endpoint(host).map(|object| targets(&object, host)).unwrap_or_default()
    }

    /// Acts as a publisher: all DNSEndpoints are taken as they stand.
    pub(crate) fn take_records(&self) {
        for object in self.api.list("externaldns.k8s.io/v1alpha1", "DNSEndpoint", "nearside") {
            let name = object["metadata"]["name"].as_str().unwrap();
            let reference = ObjectRef::new("externaldns.k8s.io/v1alpha1", "DNSEndpoint", "nearside", name);
            let taken = serde_json::json!({"observedGeneration": object["metadata"]["generation"]});
            self.api.patch_status(reference, taken).unwrap();
        }
    }

    /// A condition in our entry: its status and its reason.
    pub(crate) fn condition(&self, namespace: &str, name: &str, kind: &str) -> (Value, Value) {
        let conditions = self.route_status(namespace, name)["conditions"].as_array().cloned().unwrap_or_default();
        let condition = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
        (condition["status"].clone(), condition["reason"].clone())
    }

    /// Our entry in the status of a Route.
    pub(crate) fn route_status(&self, namespace: &str, name: &str) -> Value {
        let route = self.api.get(ObjectRef::new("route.openshift.io/v1", "Route", namespace, name));
        let entries = route.and_then(|route| route["status"]["ingress"].as_array().cloned()).unwrap_or_default();
        entries.into_iter().find(|entry| entry["routerName"] == "default").unwrap_or_default()
    }

    /// The addresses in the status of an Ingress.
    pub(crate) fn ingress_addresses(&self, namespace: &str, name: &str) -> Vec<String> {
        let ingress = self.api.get(ObjectRef::new("networking.k8s.io/v1", "Ingress", namespace, name));
        let list = ingress.and_then(|ingress| ingress["status"]["loadBalancer"]["ingress"].as_array().cloned());
        list.unwrap_or_default().iter().map(|entry| entry["ip"].as_str().unwrap().to_owned()).collect()
    }

    /// Writes of the controller so far, to everything but the Lease.
    pub(crate) fn writes(&self) -> BTreeMap<(String, String), u64> {
        let mut counts = self.api.faults().request_counts();
        counts.retain(|(verb, plural), _| {
            matches!(verb.as_str(), "create" | "update" | "patch" | "delete") && plural != "leases"
        });
        counts
    }
}

/// A running controller.
pub(crate) struct Controller {
    program: Program,
}

impl Controller {
    pub(crate) fn start(directory: &Path, name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let arguments = arguments.iter().chain(&["--admin-listen", "127.0.0.1:0"]);
        let launch = Launch {
            name: name.to_owned(),
            path: PathBuf::from(BINARY),
            arguments: arguments.map(|argument| (*argument).to_owned()).collect(),
            environment: environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            place: Place::host(),
        };
        Self { program: launch.start(directory).unwrap() }
    }

    /// Waits for the first sync.
    pub(crate) async fn ready(&mut self) {
        let admin = self.admin().await;
        self.program.ready(admin, "/healthz/ready", PATIENCE).await.unwrap();
    }

    /// The address that its log names for the admin port.
    pub(crate) async fn admin(&mut self) -> SocketAddr {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.program.check().unwrap();
            let log = std::fs::read_to_string(self.program.log()).unwrap_or_default();
            let line = log.lines().rfind(|line| line.contains("admin port open"));
            if let Some(address) = line.and_then(|line| line.split("address=").nth(1)) {
                return address.trim().parse().unwrap();
            }
            assert!(Instant::now() < deadline, "the admin port does not open:\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// A page of the admin port.
    pub(crate) async fn page(&mut self, path: &str) -> String {
        let admin = self.admin().await;
        get(&Place::host(), admin, path).await.unwrap().1
    }

    /// The value of a metric, with its labels as they are written.
    pub(crate) async fn metric(&mut self, series: &str) -> Option<f64> {
        let page = self.page("/metrics").await;
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    /// Waits until a metric has a value.
    pub(crate) async fn until_metric(&mut self, series: &str, wanted: f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.metric(series).await;
            if seen == Some(wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{series}: {seen:?} instead of {wanted}; the log:\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        self.program.tail(100)
    }

    /// Ends it in order; gives its exit code.
    pub(crate) async fn terminate(self) -> Option<i32> {
        self.program.terminate(PATIENCE).await.unwrap().code()
    }

    /// Stops it where it is (SIGSTOP).
    pub(crate) fn stop(&self) {
        self.program.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub(crate) fn go_on(&self) {
        self.program.signal(Signal::CONT);
    }

    /// Ends it without notice.
    pub(crate) async fn kill(self) {
        self.program.kill().await;
    }

    /// Waits until `look` gives what is wanted.
    pub(crate) async fn until<T: PartialEq + std::fmt::Debug>(&self, what: &str, wanted: T, look: impl Fn() -> T) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = look();
            if seen == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {seen:?} instead of {wanted:?}; the log:\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The addresses of a name in a DNSEndpoint, sorted.
pub(crate) fn targets(object: &Value, name: &str) -> Vec<String> {
    let sets = object["spec"]["endpoints"].as_array().cloned().unwrap_or_default();
    let of_name = sets.iter().filter(|set| set["dnsName"] == name);
    let mut targets: Vec<String> = of_name
        .flat_map(|set| set["targets"].as_array().cloned().unwrap_or_default())
        .map(|target| target.as_str().unwrap().to_owned())
        .collect();
    targets.sort();
    targets
}

/// Longer than a Lease, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(30);
