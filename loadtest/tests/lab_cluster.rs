//! The lab's Kubernetes controllers: what they write for pods, Services and nodes is what the real ones write.
#![expect(clippy::unwrap_used, reason = "tests")]

use nearside_loadtest::api::{ApiServer, ObjectRef, Options};
use nearside_loadtest::lab::cluster::{Cluster, MemoryStore, PodPort, PodSpec, Reference};
use nearside_loadtest::lab::network::Size;
use nearside_loadtest::lab::{Network, Place};
use nearside_loadtest::programs;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

struct Lab {
    network: Network,
    store: Arc<MemoryStore>,
    cluster: Arc<Cluster>,
}

impl Lab {
    fn new() -> Self {
        let network = Network::loopback(Size { nodes: 2, clients: 1 }).unwrap();
        let store = Arc::new(MemoryStore::default());
        let cluster = Cluster::new(network.nodes(), store.clone()).unwrap();
        Self { network, store, cluster }
    }

    fn service(&self, target_port: &Value) {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "web", "labels": {"tier": "front"}},
            "spec": {
                "selector": {"app": "web"}, "ipFamilies": ["IPv4"],
                "ports": [{"name": "http", "port": 80, "targetPort": target_port, "protocol": "TCP"}],
            },
        });
        self.cluster.apply(&service).unwrap();
    }

    fn pod(&self, name: &str, node: &str, port: u16) {
        self.cluster.run_pod(spec(name, node, port)).unwrap();
    }

    fn slices(&self) -> Vec<Value> {
        self.store.list("EndpointSlice")
    }

    /// All endpoints of all slices.
    fn endpoints(&self) -> Vec<Value> {
        self.slices().iter().flat_map(|slice| slice["endpoints"].as_array().unwrap().clone()).collect()
    }

    fn pod_object(&self, name: &str) -> Option<Value> {
        self.store.list("Pod").into_iter().find(|pod| pod["metadata"]["name"] == name)
    }
}

fn spec(name: &str, node: &str, port: u16) -> PodSpec {
    PodSpec {
        namespace: "shop".into(),
        name: name.into(),
        node: node.into(),
        labels: [("app".to_owned(), "web".to_owned())].into(),
        ports: vec![PodPort { name: "web".into(), port, tls: None }],
    }
}

#[tokio::test]
async fn a_running_pod_is_an_endpoint_with_its_node_and_resolved_port() {
    let lab = Lab::new();
    lab.service(&json!("web"));
    lab.pod("web-1", "n1", 8080);
    let slices = lab.slices();
    assert_eq!(slices.len(), 1);
    assert_eq!(slices[0]["addressType"], "IPv4");
    assert_eq!(
        slices[0]["metadata"]["labels"],
        json!({
            "tier": "front",
            "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        })
    );
    assert_eq!(slices[0]["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    let pod = lab.pod_object("web-1").unwrap();
    assert_eq!(
        lab.endpoints(),
        [json!({
            "addresses": [pod["status"]["podIP"]],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": "n1",
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-1", "uid": pod["metadata"]["uid"]},
        })]
    );
    let address = SocketAddr::new(pod["status"]["podIP"].as_str().unwrap().parse().unwrap(), 8080);
    let (status, body) = programs::get(&Place::host(), address, "/who").await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["node"], "n1");
}

#[tokio::test]
async fn readiness_and_termination_show_in_pod_and_slice() {
    let lab = Lab::new();
    lab.service(&json!(8080));
    lab.pod("web-1", "n1", 8080);
    lab.cluster.set_ready("shop", "web-1", false).unwrap();
    assert_eq!(lab.endpoints()[0]["conditions"], json!({"ready": false, "serving": false, "terminating": false}));
    lab.cluster.set_ready("shop", "web-1", true).unwrap();

    let cluster = lab.cluster.clone();
    let end = tokio::spawn(async move {
        cluster.terminate_pod("shop", "web-1", Duration::from_secs(1), Duration::from_secs(5)).await
    });
    while lab.endpoints()[0]["conditions"]["terminating"] == false {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(lab.endpoints()[0]["conditions"], json!({"ready": false, "serving": true, "terminating": true}));
    assert!(lab.pod_object("web-1").unwrap()["metadata"]["deletionTimestamp"].is_string());
    end.await.unwrap().unwrap();
    assert!(lab.pod_object("web-1").is_none());
    let slices = lab.slices();
    assert_eq!(slices.len(), 1, "a Service without pods keeps one empty slice");
    assert_eq!((&slices[0]["endpoints"], &slices[0]["ports"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn pods_that_resolve_a_named_port_differently_are_in_different_slices() {
    let lab = Lab::new();
    lab.service(&json!("web"));
    lab.pod("web-1", "n1", 8080);
    lab.pod("web-2", "n2", 9090);
    let mut ports: Vec<u64> = lab.slices().iter().map(|slice| slice["ports"][0]["port"].as_u64().unwrap()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [8080, 9090]);
    lab.cluster.kill_pod("shop", "web-2").unwrap();
    assert_eq!(lab.slices().len(), 1, "a slice that lost its last endpoint goes");
}

#[tokio::test]
async fn a_silent_node_takes_readiness_from_itself_and_its_pods() {
    let lab = Lab::new();
    lab.service(&json!(8080));
    lab.pod("web-1", "n1", 8080);
    lab.pod("web-2", "n2", 8080);
    lab.cluster.set_node_ready("n2", false).unwrap();
    let node = lab.store.list("Node").into_iter().find(|node| node["metadata"]["name"] == "n2").unwrap();
    assert_eq!(node["status"]["conditions"][0]["status"], "Unknown");
    let ready: Vec<Value> =
        lab.endpoints().into_iter().filter(|endpoint| endpoint["conditions"]["ready"] == true).collect();
    assert_eq!(ready.len(), 1);
    assert_eq!(ready[0]["nodeName"], "n1");
}

#[tokio::test]
async fn a_router_pod_is_as_ready_as_its_proxy_says() {
    let lab = Lab::new();
    // Any pod can play the proxy's admin port: it answers 200 to a path it does not know.
    lab.pod("admin", "n1", 8080);
    let admin =
        SocketAddr::new(lab.pod_object("admin").unwrap()["status"]["podIP"].as_str().unwrap().parse().unwrap(), 8080);
    let follower = lab.cluster.follow_router("n1", admin).unwrap();
    let router = |ready: &'static str| {
        let pod = lab.pod_object("nearside-proxy-n1").unwrap();
        assert_eq!(pod["status"]["podIP"], lab.network.nodes()[0].place().address().to_string());
        let conditions = pod["status"]["conditions"].as_array().unwrap().clone();
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == ready)
    };
    while !router("True") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    lab.cluster.kill_pod("shop", "admin").unwrap();
    while !router("False") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    follower.abort();
}

#[tokio::test]
async fn a_deleted_service_takes_its_slices_along() {
    let lab = Lab::new();
    lab.service(&json!(8080));
    lab.pod("web-1", "n1", 8080);
    assert_eq!(lab.slices().len(), 1);
    lab.cluster.delete(&Reference::new("v1", "Service", "shop", "web")).unwrap();
    assert!(lab.slices().is_empty());
}

#[tokio::test]
async fn a_pod_on_an_unknown_node_or_with_a_taken_name_is_refused() {
    let lab = Lab::new();
    assert!(lab.cluster.run_pod(spec("web-1", "n7", 8080)).unwrap_err().to_string().contains("n7"));
    lab.pod("web-1", "n1", 8080);
    assert!(lab.cluster.run_pod(spec("web-1", "n2", 8080)).unwrap_err().to_string().contains("shop/web-1"));
}

#[tokio::test]
async fn with_the_fake_api_server_uids_agree_deletion_is_marked_and_nodes_keep_their_annotations() {
    let network = Network::loopback(Size { nodes: 1, clients: 1 }).unwrap();
    let api = ApiServer::start(Options { graceful_pod_deletion: true, ..Options::default() }).await.unwrap();
    let cluster = Cluster::new(network.nodes(), Arc::new(api.clone())).unwrap();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "web"}]},
    });
    cluster.apply(&service).unwrap();
    cluster.run_pod(spec("web-1", "n1", 8080)).unwrap();
    let pod = || api.get(ObjectRef::new("v1", "Pod", "shop", "web-1"));
    let slice = || api.list("discovery.k8s.io/v1", "EndpointSlice", "shop").remove(0);
    assert_eq!(slice()["endpoints"][0]["targetRef"]["uid"], pod().unwrap()["metadata"]["uid"]);
    let service = api.get(ObjectRef::new("v1", "Service", "shop", "web")).unwrap();
    assert_eq!(slice()["metadata"]["ownerReferences"][0]["uid"], service["metadata"]["uid"]);

    let node = ObjectRef::new("v1", "Node", "", "n1");
    api.patch(node, json!({"metadata": {"annotations": {"kept": "yes"}}})).unwrap();
    cluster.set_node_ready("n1", false).unwrap();
    assert_eq!(api.get(node).unwrap()["metadata"]["annotations"]["kept"], "yes");
    assert_eq!(api.get(node).unwrap()["status"]["conditions"][0]["status"], "Unknown");

    let second = Duration::from_secs(1);
    let (ended, ()) = tokio::join!(cluster.terminate_pod("shop", "web-1", second, second), async {
        while pod().is_some_and(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(pod().expect("terminating, not gone")["status"]["phase"], "Running");
    });
    ended.unwrap();
    assert!(pod().is_none());
}
