//! A fake Kubernetes API server: listeners and options go in, a server comes out that kube-rs and `kubectl` take for a
//! real one, with a handle to its objects and to faults on demand. The lab and the black-box tests of every program
//! start it. It refuses what a real server refuses, for the kinds of its table, and on demand what no Role allows; it has no
//! controllers and no garbage collection by owner reference.

mod access;
mod cel;
mod clock;
mod controllers;
mod defaults;
mod discovery;
pub(crate) mod endpoint_slices;
mod error;
mod event_conversion;
mod faults;
mod gateway;
mod http;
mod kinds;
mod listener;
mod managed_fields;
mod object;
mod patch;
mod registry;
mod representation;
mod request;
mod response;
mod review;
mod schema;
mod selector;
mod server_side_apply;
mod store;
pub mod structural;
mod table;
mod validation;
mod watch;

pub use error::ApiError;
pub use faults::{Fault, Faults, RequestMatch};
pub use gateway::Gateway;
pub use object::ObjectRef;
pub use review::Account;

use self::http::Service;
use access::Access;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use defaults::Allocator;
use faults::Behind;
use kinds::{Kinds, ResourceKind};
use listener::{Answering, Listeners};
pub(crate) use object::random;
use object::{Key, meta_text, text};
use registry::{Caller, DeleteOptions, Deleted, ListQuery, Part, Patch, Registry};
use serde_json::{Value, json};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio_rustls::TlsAcceptor;

/// How a server behaves. The defaults suit tests.
#[derive(Clone, Debug)]
pub struct Options {
    /// Changes that are kept for watches and list pages; older revisions get 410.
    pub history: usize,
    /// Changes a watch may be behind before it is closed.
    pub watch_queue: usize,
    /// Time between bookmarks.
    pub bookmark_interval: Duration,
    /// Pods on a node stay, marked with `deletionTimestamp`, until they are deleted with grace period 0.
    pub graceful_pod_deletion: bool,
    /// Bearer token that requests must carry; `None` asks for none. With [`Options::rbac`] it is the administrator's.
    pub token: Option<String>,
    /// Whether everybody but the administrator may do only what Roles and ClusterRoles allow, with the tokens of ServiceAccounts
    /// (TokenRequest).
    pub rbac: bool,
    /// Whether the server comes with what kube-controller-manager does that clients see: the ServiceAccount `default` of every
    /// namespace, EndpointSlices. Pods are then refused whose ServiceAccount does not exist.
    pub controllers: bool,
    /// Whether Routes and DNSEndpoints are there without their CustomResourceDefinitions.
    pub custom_kinds: bool,
    /// Whether endpoints may have loopback addresses, which a real server refuses: for labs that have no others.
    pub loopback_endpoints: bool,
    /// Served over TLS with this certificate.
    pub tls: Option<ServerTls>,
    /// Whether the server also listens on a port of 127.0.0.1 where no fault is met and nothing is counted.
    pub back_door: bool,
    /// Whom TokenReview and SubjectAccessReview know.
    pub accounts: Vec<Account>,
    /// What a watch gets that asks for a list first.
    pub streaming_lists: StreamingLists,
}

/// How a server takes `sendInitialEvents=true` on a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamingLists {
    /// As Kubernetes from 1.34 on: the objects, a bookmark that says so, then changes.
    Offered,
    /// As servers without the feature: 422.
    Refused,
    /// As a server that does not know the parameter: a watch as ever, whose first events nothing ends.
    Ignored,
}

/// The certificate of a server.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// What connections are met with.
    pub server: Arc<rustls::ServerConfig>,
    /// The authority that signed it, PEM, for kubeconfigs.
    pub authority: String,
}

impl Options {
    /// As strict as a fresh cluster: everybody but the bearer of `token` has the rights that Roles give, Routes and DNSEndpoints
    /// exist by their definitions, pods end as a kubelet lets them, and controllers run.
    #[must_use]
    pub fn strict(token: &str) -> Self {
        Self {
            graceful_pod_deletion: true,
            token: Some(token.to_owned()),
            rbac: true,
            controllers: true,
            custom_kinds: false,
            ..Self::default()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            history: 20_000,
            watch_queue: 8192,
            bookmark_interval: Duration::from_secs(10),
            graceful_pod_deletion: false,
            token: None,
            rbac: false,
            controllers: false,
            custom_kinds: true,
            loopback_endpoints: false,
            tls: None,
            back_door: false,
            accounts: Vec::new(),
            streaming_lists: StreamingLists::Offered,
        }
    }
}

/// A running server. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Clone, Debug)]
pub struct ApiServer {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    registry: Arc<Registry>,
    faults: Faults,
    listeners: Arc<Listeners>,
    access: Arc<Access>,
    /// The listeners hold it weakly, so that both can end.
    tls: Option<ServerTls>,
    back_door: Option<Arc<Listeners>>,
    _services: Vec<Arc<dyn Answering>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.listeners.stop();
        if let Some(listeners) = &self.back_door {
            listeners.stop();
        }
    }
}

impl ApiServer {
    /// Serves on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        Self::start_on(vec![TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?], options).await
    }

    /// Serves on listeners that exist, whatever network namespace they were made in; at least one.
    ///
    /// # Errors
    /// When a listener cannot be used, or there is none.
    pub async fn start_on(listeners: Vec<TcpListener>, options: Options) -> io::Result<Self> {
        if listeners.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the API server needs at least one listener"));
        }
        let registry = Arc::new(Registry {
            store: Store::new(options.history, options.watch_queue),
            kinds: if options.custom_kinds { Kinds::builtin() } else { Kinds::plain() },
            allocator: Allocator::default(),
            graceful_pod_deletion: options.graceful_pod_deletion,
            needs_accounts: options.controllers,
            loopback_endpoints: options.loopback_endpoints,
        });
        let acceptor = options.tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.server)));
        let listeners = Arc::new(Listeners::new(listeners, acceptor)?);
        let faults = Faults::in_front_of(Arc::clone(&registry) as Arc<dyn Behind>, Arc::clone(&listeners));
        let access = Arc::new(Access::new(options.rbac, options.token, options.accounts));
        let serve = |faults: &Faults| -> Arc<dyn Answering> {
            Arc::new(Service {
                registry: Arc::clone(&registry),
                faults: faults.clone(),
                access: Arc::clone(&access),
                bookmark_interval: options.bookmark_interval,
                streaming_lists: options.streaming_lists,
            })
        };
        let mut services = vec![serve(&faults)];
        listeners.start(&services[0]).await?;
        let mut back_door = None;
        if options.back_door {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let listeners = Arc::new(Listeners::new(vec![listener], None)?);
            let service = serve(&Faults::in_front_of(Arc::clone(&registry) as Arc<dyn Behind>, Arc::clone(&listeners)));
            listeners.start(&service).await?;
            services.push(service);
            back_door = Some(listeners);
        }
        if options.controllers {
            controllers::start(&registry);
        }
        let running = Running { registry, faults, listeners, access, tls: options.tls, back_door, _services: services };
        let server = Self { running: Arc::new(running) };
        for name in FIRST_NAMESPACES {
            server
                .seed(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
                .map_err(io::Error::other)?;
        }
        Ok(server)
    }

    /// The first address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// All addresses it listens on, in the order of the listeners.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.running.listeners.addresses().collect()
    }

    /// The URL of the first address.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(self.address())
    }

    fn url_of(&self, address: SocketAddr) -> String {
        format!("{}://{address}", if self.running.tls.is_some() { "https" } else { "http" })
    }

    /// The URL where no fault is met, with [`Options::back_door`].
    #[must_use]
    pub fn back_door(&self) -> Option<String> {
        let address = self.running.back_door.as_ref()?.addresses().next()?;
        Some(format!("http://{address}"))
    }

    /// A kubeconfig that leads to the first address.
    #[must_use]
    pub fn kubeconfig_yaml(&self) -> String {
        self.kubeconfig_yaml_for(self.address())
    }

    /// A kubeconfig that leads to `address`, one under which a client can reach it.
    #[must_use]
    pub fn kubeconfig_yaml_for(&self, address: SocketAddr) -> String {
        kubeconfig(&self.url_of(address), self.running.tls.as_ref(), self.running.access.token.as_deref())
    }

    /// A kubeconfig that leads to the first address with a fresh token of a ServiceAccount.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn kubeconfig_yaml_of(&self, namespace: &str, account: &str) -> Result<String, ApiError> {
        let Running { registry, access, tls, .. } = &*self.running;
        let kind = self.kind("v1", "ServiceAccount")?;
        let issued = access.issue(registry, &kind, &Key::new(namespace, account), json!({}))?;
        Ok(kubeconfig(&self.url(), tls.as_ref(), Some(text(&issued, "status.token"))))
    }

    /// Makes every object of a manifest exist.
    ///
    /// # Errors
    /// When it is no YAML, or a real server would refuse an object.
    pub fn seed_manifest(&self, manifest: &str) -> Result<(), ApiError> {
        let documents = serde_saphyr::from_multiple::<Value>(manifest)
            .map_err(|error| ApiError::bad_request(format!("the manifest is no YAML: {error}")))?;
        documents.into_iter().try_for_each(|document| self.seed(document).map(drop))
    }

    /// Forgets every token of a ServiceAccount: whoever shows one is answered with 401.
    pub fn revoke_tokens(&self) {
        self.running.access.issued.revoke_all();
    }

    /// The switches for faults, and the request counts.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.running.faults
    }

    /// Makes an object exist as given, `status` and `creationTimestamp` included; replaces what is there, whose status
    /// stays when none is given. A missing namespace is made. Returns the stored object.
    ///
    /// # Errors
    /// When a real server would refuse the object, or does not know its kind.
    pub fn seed(&self, object: Value) -> Result<Value, ApiError> {
        let kind = self.kind(text(&object, "apiVersion"), text(&object, "kind"))?;
        self.running.registry.seed(&kind, object, &lab())
    }

    /// Makes an object exist exactly as given, unchecked, in a namespace that nobody looks for: for clusters of a hundred
    /// thousand objects, which are as their maker says.
    ///
    /// # Errors
    /// When the server does not know its kind.
    pub fn load(&self, object: Value) -> Result<(), ApiError> {
        let kind = self.kind(text(&object, "apiVersion"), text(&object, "kind"))?;
        let key = Key::new(meta_text(&object, "namespace"), meta_text(&object, "name"));
        self.running.registry.store.lock().put(&kind.storage, key, object);
        Ok(())
    }

    /// Forced server-side apply by the manager `lab`, of everything but the status.
    ///
    /// # Errors
    /// When a real server would refuse the object, or does not know its kind.
    pub fn apply(&self, object: Value) -> Result<Value, ApiError> {
        let kind = self.kind(text(&object, "apiVersion"), text(&object, "kind"))?;
        let key = Key::new(meta_text(&object, "namespace"), meta_text(&object, "name"));
        let patch = Patch::Apply { config: object, force: true };
        self.running.registry.patch(&kind, &key, Part::Main, patch, &lab()).map(|(object, _)| object)
    }

    /// Merge patch (RFC 7386) of everything but the status; may change what is immutable for clients.
    ///
    /// # Errors
    /// When the object does not exist or the result would be refused.
    pub fn patch(&self, object: ObjectRef<'_>, patch: Value) -> Result<Value, ApiError> {
        self.merge(object, Part::Main, patch)
    }

    /// Merge patch (RFC 7386) of the status: `status` is the patch for the field of that name.
    ///
    /// # Errors
    /// When the object does not exist or the result would be refused.
    pub fn patch_status(&self, object: ObjectRef<'_>, status: Value) -> Result<Value, ApiError> {
        self.merge(object, Part::Status, json!({ "status": status }))
    }

    /// Replaces the status.
    ///
    /// # Errors
    /// When the object does not exist or the status would be refused.
    pub fn set_status(&self, object: ObjectRef<'_>, status: Value) -> Result<Value, ApiError> {
        let kind = self.kind(object.api_version, object.kind)?;
        let operations = json!([{"op": "add", "path": "/status", "value": status}]);
        let key = Key::new(object.namespace, object.name);
        self.running
            .registry
            .patch(&kind, &key, Part::Status, Patch::Json(operations), &lab())
            .map(|(object, _)| object)
    }

    fn merge(&self, object: ObjectRef<'_>, part: Part, patch: Value) -> Result<Value, ApiError> {
        let kind = self.kind(object.api_version, object.kind)?;
        let key = Key::new(object.namespace, object.name);
        self.running.registry.patch(&kind, &key, part, Patch::Merge(patch), &lab()).map(|(object, _)| object)
    }

    /// Deletes an object at once; one with finalizers, or a namespace with such objects, is only marked. `true` when it
    /// is gone.
    ///
    /// # Errors
    /// When the object does not exist.
    pub fn delete(&self, object: ObjectRef<'_>) -> Result<bool, ApiError> {
        self.delete_with_grace(object, 0)
    }

    /// Deletes an object with a grace period in seconds, which only pods on a node obey, and only with
    /// [`Options::graceful_pod_deletion`]. `true` when it is gone.
    ///
    /// # Errors
    /// When the object does not exist.
    pub fn delete_with_grace(&self, object: ObjectRef<'_>, seconds: u64) -> Result<bool, ApiError> {
        let kind = self.kind(object.api_version, object.kind)?;
        let options = DeleteOptions { grace_period: Some(seconds), ..DeleteOptions::default() };
        let key = Key::new(object.namespace, object.name);
        let deleted = self.running.registry.delete(&kind, &key, &options, &lab())?;
        Ok(matches!(deleted, Deleted::Gone(_)))
    }

    /// Reads an object; `None` when it does not exist or its kind is not served.
    #[must_use]
    pub fn get(&self, object: ObjectRef<'_>) -> Option<Value> {
        let kind = self.kind(object.api_version, object.kind).ok()?;
        self.running.registry.get(&kind, &Key::new(object.namespace, object.name)).ok()
    }

    /// All objects of a kind in list order, in one namespace or (`""`) all; none when the kind is not served.
    #[must_use]
    pub fn list(&self, api_version: &str, kind: &str, namespace: &str) -> Vec<Value> {
        let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
        let query = ListQuery { namespace, ..ListQuery::default() };
        self.kind(api_version, kind)
            .and_then(|kind| self.running.registry.list(&kind, &query))
            .map(|page| page.items)
            .unwrap_or_default()
    }

    /// The newest `resourceVersion`.
    #[must_use]
    pub fn resource_version(&self) -> u64 {
        self.running.registry.store.lock().revision()
    }

    fn kind(&self, api_version: &str, kind: &str) -> Result<Arc<ResourceKind>, ApiError> {
        self.running.registry.kinds.by_type(api_version, kind).ok_or_else(|| {
            ApiError::new(404, "NotFound", format!("no matches for kind {kind:?} in version {api_version:?}"))
        })
    }
}

/// A kubeconfig that leads to `server` with a token; JSON is YAML, and needs no escaping rules of its own.
#[must_use]
pub fn kubeconfig(server: &str, tls: Option<&ServerTls>, token: Option<&str>) -> String {
    let mut cluster = json!({ "server": server });
    if let Some(tls) = tls {
        cluster["certificate-authority-data"] = json!(STANDARD.encode(&tls.authority));
    }
    let user = token.map_or_else(|| json!({}), |token| json!({ "token": token }));
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "lab", "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": "default"}}],
    });
    format!("{config:#}\n")
}

fn lab() -> Caller {
    Caller { manager: "lab".to_owned(), dry_run: false, is_lab: true }
}

/// Namespaces every cluster has.
const FIRST_NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];
