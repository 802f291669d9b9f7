//! The API of a test's cluster, with Nearside's kinds, ServiceAccounts and roles installed from the manifests that users apply: a server
//! of its own that is as strict as a real one, or the cluster that `KUBECONFIG` names. Programs get kubeconfigs with the tokens of their
//! own ServiceAccounts; the lab uses the administrator's. Called by `source`.

use nearside_loadtest::api::{ApiServer, Faults, Gateway, ObjectRef, Options, ServerTls, kubeconfig};
use nearside_loadtest::background::Background;
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::lab::Network;
use nearside_loadtest::lab::cluster::{Names, ObjectStore as _, ROUTER_NAMESPACE, RestStore, remove_leftovers};
use nearside_loadtest::rest::{Kubeconfig, Rest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{env, fs};

/// The API, and what leads to it.
pub(crate) struct Installation {
    api: Api,
    kubeconfigs: BTreeMap<&'static str, PathBuf>,
    server: Server,
}

/// What stands behind: the fields keep it running.
enum Server {
    Own(
        #[expect(dead_code, reason = "it ends with the value")] ApiServer,
        #[expect(dead_code, reason = "so does it")] Background,
    ),
    Shared(#[expect(dead_code, reason = "it ends with the value")] Gateway),
}

/// The API as tests ask it, past all faults; and the switches for these.
#[derive(Clone)]
pub(crate) struct Api {
    store: RestStore,
    faults: Faults,
}

impl Installation {
    pub(super) async fn new(network: &Network, root: &Path) -> Self {
        let cluster = if env::var(OPT_IN).is_ok_and(|value| value == "1") {
            Some(Kubeconfig::from_environment().unwrap().expect("NEARSIDE_TEST_CLUSTER=1 needs KUBECONFIG"))
        } else {
            None
        };
        let address = SocketAddr::new(network.control().address(), 6443);
        let listeners = vec![network.control().tcp_listener(address).unwrap()];
        let (server, names, rest, faults, url, tls) = match cluster {
            None => {
                let options = Options {
                    back_door: true,
                    loopback_endpoints: network.is_loopback(),
                    ..Options::strict(ADMINISTRATOR)
                };
                let thread = Background::start().unwrap();
                let server = thread.run(ApiServer::start_on(listeners, options)).unwrap().unwrap();
                let rest = administrator(&server.back_door().unwrap(), root);
                let (faults, url) = (server.faults().clone(), server.url());
                (Server::Own(server, thread), Names::plain(), rest, faults, url, None)
            }
            Some(kubeconfig) => {
                assert!(!network.is_loopback(), "a cluster takes no loopback addresses for endpoints: run as root");
                let ca = TestCa::new("gateway").unwrap();
                let identity = ca.identity(&[&address.ip().to_string()]).unwrap();
                let tls = ServerTls { server: identity.server().unwrap(), authority: ca.certificate().to_owned() };
                let gateway = Gateway::start_on(listeners, &kubeconfig, tls.clone()).await.unwrap();
                let (faults, rest) = (gateway.faults().clone(), Rest::new(&kubeconfig).unwrap());
                (Server::Shared(gateway), Names::of_run(&run()), rest, faults, format!("https://{address}"), Some(tls))
            }
        };
        let store = RestStore::new(rest, names, ROUTER_NAMESPACE).unwrap();
        let api = Api { store, faults };
        api.install();
        let kubeconfigs = ACCOUNTS.map(|account| {
            let namespace = api.names().global(ROUTER_NAMESPACE);
            let token = api.store.rest().token(&namespace, account, Duration::from_secs(3600)).unwrap();
            let path = root.join(format!("{account}.kubeconfig"));
            fs::write(&path, kubeconfig(&url, tls.as_ref(), Some(&token))).unwrap();
            (account, path)
        });
        Self { api, kubeconfigs: kubeconfigs.into(), server }
    }

    pub(super) fn api(&self) -> &Api {
        &self.api
    }

    /// The kubeconfig of a program, with the rights that its manifest gives it.
    pub(super) fn kubeconfig(&self, program: &str) -> Option<&Path> {
        self.kubeconfigs.get(program).map(PathBuf::as_path)
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if let Server::Shared(_) = self.server
            && let Err(error) = remove_leftovers(self.api.store.rest(), self.api.names().run())
        {
            eprintln!("the cluster is not clean, see `nearside-loadtest clean`: {error:#}");
        }
    }
}

impl Api {
    /// Kinds, accounts and roles, as `kubectl apply` would.
    fn install(&self) {
        for document in manifests("crd-") {
            let name = document["metadata"]["name"].as_str().unwrap();
            let wanted = ObjectRef::new("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name);
            // One that is there may belong to somebody, as may the kind without any (OpenShift's Routes).
            let version = format!("{}/{}", text(&document, "/spec/group"), text(&document, "/spec/versions/0/name"));
            let is_served = self.store.rest().list(&version, &text(&document, "/spec/names/kind"), "", "").is_ok();
            if !is_served && self.store.rest().get(wanted).unwrap().is_none() {
                self.store.rest().apply(&document).unwrap();
            }
        }
        for mut document in manifests("rbac-") {
            for pointer in ["/metadata/namespace", "/subjects/0/namespace"] {
                if let Some(namespace) = document.pointer_mut(pointer) {
                    *namespace = json!(ROUTER_NAMESPACE);
                }
            }
            self.store.put(&document).unwrap();
        }
    }

    pub(super) fn store(&self) -> RestStore {
        self.store.clone()
    }

    pub(super) fn names(&self) -> &Names {
        self.store.names()
    }

    /// The switches for faults, which the programs meet and the lab does not.
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Reads an object.
    pub(crate) fn get(&self, object: ObjectRef<'_>) -> Option<Value> {
        self.store.get(object).unwrap()
    }

    /// All objects of a kind in one namespace or (`""`) all.
    pub(crate) fn list(&self, api_version: &str, kind: &str, namespace: &str) -> Vec<Value> {
        self.store.rest().list(api_version, kind, &self.names().global(namespace), "").unwrap()
    }

    /// Waits until what is made from now on is younger than what was made before: ages count in whole seconds.
    pub(crate) async fn next_second(&self) {
        let path = format!("/api/v1/namespaces/{}/configmaps?dryRun=All", self.names().global(ROUTER_NAMESPACE));
        let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "what-time-is-it"}});
        let time = || {
            let made = self.store.rest().request("POST", &path, "application/json", Some(&probe)).unwrap();
            text(&made, "/metadata/creationTimestamp")
        };
        let before = time();
        while time() == before {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn administrator(url: &str, root: &Path) -> Rest {
    let path = root.join("administrator.kubeconfig");
    fs::write(&path, kubeconfig(url, None, Some(ADMINISTRATOR))).unwrap();
    Rest::new(&Kubeconfig::read(&path).unwrap()).unwrap()
}

/// The documents of the manifests whose file names begin so.
fn manifests(prefix: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/manifests");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
    files.sort();
    let documents = files.iter().flat_map(|path| {
        let text = fs::read_to_string(path).unwrap();
        serde_saphyr::from_multiple::<Value>(&text).unwrap()
    });
    documents.collect()
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A suffix that no other run has.
fn run() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    format!("{:x}{:x}", std::process::id(), now.as_millis() & 0xff_ffff)
}

/// Set to 1 for tests against the cluster that `KUBECONFIG` names: nobody's production by accident.
const OPT_IN: &str = "NEARSIDE_TEST_CLUSTER";
/// The token of the administrator of a server of our own.
const ADMINISTRATOR: &str = "of-the-administrator";
/// The ServiceAccounts of the manifests, called like the programs that use them.
const ACCOUNTS: [&str; 3] = ["nearside-proxy", "nearside-controller", "nearside-dns-sync"];
