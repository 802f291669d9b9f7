//! The API server as strict as a cluster: who may do what, by which token; kinds that exist by their definitions alone; what the
//! controllers of Kubernetes make. Asked over TLS by the lab's own client.
#![allow(clippy::unwrap_used, reason = "tests")]

use nearside_loadtest::api::{ApiServer, ObjectRef, Options, ServerTls};
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::rest::{Kubeconfig, Refusal, Rest, code};
use serde_json::{Value, json};
use std::time::Duration;

struct Server {
    _server: ApiServer,
    admin: Rest,
    kubeconfig: Kubeconfig,
}

impl Server {
    async fn start() -> Self {
        let ca = TestCa::new("API server").unwrap();
        let tls = ServerTls {
            server: ca.identity(&["127.0.0.1"]).unwrap().server().unwrap(),
            authority: ca.certificate().to_owned(),
        };
        let options = Options { tls: Some(tls), ..Options::strict("of-the-administrator") };
        let server = ApiServer::start(options).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubeconfig");
        std::fs::write(&path, server.kubeconfig_yaml()).unwrap();
        let kubeconfig = Kubeconfig::read(&path).unwrap();
        Self { _server: server, admin: Rest::new(&kubeconfig).unwrap(), kubeconfig }
    }

    fn with_token(&self, token: Option<&str>) -> Rest {
        let mut kubeconfig = self.kubeconfig.clone();
        kubeconfig.credentials.token = token.map(str::to_owned);
        Rest::new(&kubeconfig).unwrap()
    }

    /// A client with the token of a ServiceAccount that was just made.
    fn account(&self, namespace: &str, name: &str) -> Rest {
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}});
        self.admin.apply(&account).unwrap();
        let token = self.admin.token(namespace, name, Duration::from_secs(600)).unwrap();
        self.with_token(Some(&token))
    }

    /// Looks until something is as it should be.
    async fn until<T>(&self, mut look: impl FnMut(&Rest) -> Option<T>) -> T {
        for _ in 0..2000 {
            if let Some(seen) = look(&self.admin) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never happened");
    }
}

fn refusal<T: std::fmt::Debug>(result: anyhow::Result<T>) -> (u16, String) {
    let error = result.unwrap_err();
    let refusal = error.downcast_ref::<Refusal>().unwrap_or_else(|| panic!("no refusal: {error:#}"));
    (refusal.code, refusal.message.clone())
}

fn role(kind: &str, namespace: &str, rules: Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"namespace": namespace, "name": "reader"}, "rules": rules})
}

fn binding(kind: &str, namespace: &str, role: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"namespace": namespace, "name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": "reader"}],
    })
}

/// Objects of the whole cluster have no namespace.
fn of_cluster(mut object: Value) -> Value {
    object["metadata"].as_object_mut().unwrap().remove("namespace");
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_may_what_its_roles_say_and_nothing_else() {
    let server = Server::start().await;
    let reader = server.account("default", "reader");
    let services = || reader.list("v1", "Service", "", "");
    assert_eq!(
        refusal(services()),
        (
            403,
            "services is forbidden: User \"system:serviceaccount:default:reader\" cannot list resource \"services\" in API group \"\" at the cluster scope"
                .to_owned()
        )
    );
    let rules = json!([{"apiGroups": [""], "resources": ["services"], "verbs": ["list", "get"]}]);
    server.admin.apply(&role("Role", "default", rules.clone())).unwrap();
    server.admin.apply(&binding("RoleBinding", "default", "Role")).unwrap();
    reader.list("v1", "Service", "default", "").unwrap();
    assert_eq!(refusal(services()).0, 403, "a Role counts in its namespace alone");
    let other = reader.list("v1", "Service", "kube-system", "");
    assert!(refusal(other).1.ends_with("in the namespace \"kube-system\""));

    server.admin.apply(&of_cluster(role("ClusterRole", "", rules))).unwrap();
    server.admin.apply(&of_cluster(binding("ClusterRoleBinding", "", "ClusterRole"))).unwrap();
    services().unwrap();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "web"},
        "spec": {"ports": [{"port": 80}]},
    });
    let (status, message) = refusal(reader.create(&service));
    assert!(status == 403 && message.contains("cannot create resource \"services\""), "{message}");
    server.admin.create(&service).unwrap();
    assert!(reader.get(ObjectRef::new("v1", "Service", "default", "web")).unwrap().is_some());

    // What was given can be taken back while the client is connected.
    let binding = ObjectRef::new("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "", "reader");
    server.admin.delete(binding, None).unwrap();
    assert_eq!(refusal(services()).0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_its_account_and_nobody_is_somebody() {
    let server = Server::start().await;
    let account = server.account("default", "reader");
    assert_eq!(refusal(account.list("v1", "Node", "", "")).0, 403);
    server.admin.delete(ObjectRef::new("v1", "ServiceAccount", "default", "reader"), None).unwrap();
    assert_eq!(refusal(account.list("v1", "Node", "", "")).0, 401);
    assert_eq!(refusal(server.with_token(Some("made-up")).list("v1", "Node", "", "")).0, 401);
    let nobody = server.with_token(None);
    nobody.request("GET", "/readyz", "", None).unwrap();
    let (status, message) = refusal(nobody.request("GET", "/api/v1/nodes", "", None));
    assert_eq!(status, 403);
    assert!(message.contains("User \"system:anonymous\" cannot list resource \"nodes\""), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_answer_by_the_same_rules() {
    let server = Server::start().await;
    server.account("default", "reader");
    let rules =
        json!([{"apiGroups": [""], "resources": ["pods/status"], "resourceNames": ["web"], "verbs": ["patch"]}]);
    server.admin.apply(&role("Role", "default", rules)).unwrap();
    server.admin.apply(&binding("RoleBinding", "default", "Role")).unwrap();
    let may = |name: &str| {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
            "spec": {
                "user": "system:serviceaccount:default:reader",
                "resourceAttributes": {
                    "namespace": "default", "verb": "patch", "resource": "pods", "subresource": "status", "name": name,
                },
            },
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        server.admin.request("POST", path, "application/json", Some(&review)).unwrap()["status"]["allowed"].clone()
    };
    assert_eq!((may("web"), may("other")), (json!(true), json!(false)));
    let token = server.admin.token("default", "reader", Duration::from_secs(600)).unwrap();
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {"token": token}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let answer = server.admin.request("POST", path, "application/json", Some(&review)).unwrap();
    assert_eq!(answer["status"]["user"]["username"], "system:serviceaccount:default:reader");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_gets_its_endpoint_slices_and_a_namespace_its_account() {
    let server = Server::start().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    server.admin.create(&namespace).unwrap();
    let account = ObjectRef::new("v1", "ServiceAccount", "shop", "default");
    server.until(|admin| admin.get(account).unwrap()).await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "web-1", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 8080}]}]},
    });
    let mut stranger = pod.clone();
    stranger["spec"]["serviceAccountName"] = json!("nobody");
    assert_eq!(refusal(server.admin.create(&stranger)).0, 403);
    server.admin.create(&pod).unwrap();
    let reference = ObjectRef::new("v1", "Pod", "shop", "web-1");
    let ready = json!({
        "phase": "Running", "podIP": "198.19.1.10", "podIPs": [{"ip": "198.19.1.10"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    });
    server.admin.patch_status(reference, &ready).unwrap();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    });
    server.admin.create(&service).unwrap();
    let slices = |admin: &Rest| {
        let labels = "kubernetes.io/service-name=web";
        let slices = admin.list("discovery.k8s.io/v1", "EndpointSlice", "shop", labels).unwrap();
        slices.into_iter().find(|slice| slice["endpoints"][0]["conditions"]["ready"] == true)
    };
    let slice = server.until(slices).await;
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["198.19.1.10"]));
    assert_eq!((&slice["ports"][0]["port"], &slice["endpoints"][0]["nodeName"]), (&json!(8080), &json!("n1")));

    server.admin.delete(ObjectRef::new("v1", "Service", "shop", "web"), None).unwrap();
    server.until(|admin| slices(admin).is_none().then_some(())).await;

    // What the lab's non-root fallback may do, no client may.
    let mut loopback = slice;
    loopback["metadata"] = json!({"namespace": "shop", "name": "mine"});
    loopback["endpoints"][0]["addresses"] = json!(["127.0.0.1"]);
    let (status, message) = refusal(server.admin.create(&loopback));
    assert!(status == 422 && message.contains("endpoints[0].addresses"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_exist_once_their_definition_does() {
    let server = Server::start().await;
    let definition: Value = serde_saphyr::from_str(include_str!("../../deploy/manifests/crd-route.yaml")).unwrap();
    let route = json!({
        "apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"namespace": "default", "name": "web"},
        "spec": {"host": "a.example.com", "to": {"name": "web"}},
    });
    assert_eq!(code(&server.admin.create(&route).unwrap_err()), Some(404));
    server.admin.create(&definition).unwrap();
    let mut with_more = route.clone();
    with_more["spec"]["nonsense"] = json!(1);
    let stored = server.admin.create(&with_more).unwrap();
    let spec = json!({"host": "a.example.com", "to": {"kind": "Service", "name": "web", "weight": 100}, "wildcardPolicy": "None"});
    assert_eq!(stored["spec"], spec, "defaults are filled in, and what the schema does not know is dropped");

    let mut wrong = route.clone();
    wrong["metadata"]["name"] = json!("wrong");
    wrong["spec"]["host"] = json!("A.example.com");
    let (status, message) = refusal(server.admin.create(&wrong));
    assert!(status == 422 && message.contains("spec.host"), "{message}");
    // A rule about what was there before.
    let reference = ObjectRef::new("route.openshift.io/v1", "Route", "default", "web");
    let changed = server.admin.patch(reference, &json!({"spec": {"wildcardPolicy": "Subdomain"}}));
    assert_eq!(refusal(changed).0, 422);
    let status = json!({"ingress": [{"routerName": "r", "nonsense": 1}]});
    let stored = server.admin.patch_status(reference, &status).unwrap();
    assert_eq!(stored["status"]["ingress"][0], json!({"routerName": "r"}));
}
