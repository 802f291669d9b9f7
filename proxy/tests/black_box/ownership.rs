//! Who owns a host and a path, as a table: of several objects that ask for the same, the older one answers, and the others
//! are told without being shown whose it is.

use super::support::manifests::{ingress, ingress_class, pod, route, service};
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use nearside_loadtest::pods::PodServer;
use serde_json::{Value, json};

const HOST: &str = "h.example.com";

/// An object of a namespace, created in this second, to the Service `web` there; its pod is called as the namespace.
fn owned(namespace: &str, name: &str, second: u8, mut object: Value) -> Value {
    object["metadata"] = json!({
        "namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"),
        "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")
    });
    if object["kind"] == "Route" {
        object["spec"]["to"]["name"] = json!("web");
    }
    object
}

fn a_route(namespace: &str, name: &str, second: u8, host: &str, more: Value) -> Value {
    owned(namespace, name, second, route("web", host, more))
}

fn an_ingress(namespace: &str, name: &str, second: u8, host: &str, path: &str) -> Value {
    owned(namespace, name, second, ingress("web", host, &[("Prefix", path, "web")], json!({})))
}

fn catch_all(namespace: &str, second: u8) -> Value {
    let backend = json!({ "service": { "name": "web", "port": { "name": "http" } } });
    let spec = json!({ "ingressClassName": "nearside", "defaultBackend": backend });
    let object = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": spec });
    owned(namespace, "all", second, object)
}

fn serving(objects: &[Value]) -> (Manifests, Vec<PodServer>) {
    let manifests = Manifests::with(&[&[ingress_class()], objects].concat());
    let pods = ["a", "b"].map(|namespace| {
        let (server, address) = echo_pod(namespace);
        for mut object in [service("web"), pod("web", namespace, address)] {
            object["metadata"]["namespace"] = json!(namespace);
            manifests.put(&object);
        }
        server
    });
    (manifests, pods.into())
}

/// The pod that answers, else the status.
async fn answer(proxy: &Proxy, host: &str, path: &str) -> String {
    let reply = get(proxy.http, host, path).await;
    reply.pod().map_or_else(|| reply.status.to_string(), ToOwned::to_owned)
}

async fn told(proxy: &Proxy, object: &str) -> String {
    let (_, page) = proxy.page("/routes").await;
    serde_json::from_str::<Value>(&page).unwrap()["problems"][object].to_string()
}

#[tokio::test]
async fn the_older_object_answers_and_the_younger_is_told() {
    let edge = |more: Value| {
        let mut tls = json!({ "termination": "edge", "insecureEdgeTerminationPolicy": "Allow" });
        more.as_object().unwrap().iter().for_each(|(name, value)| tls[name] = value.clone());
        json!({ "tls": tls })
    };
    let broken = edge(json!({ "certificate": "garbage", "key": "garbage" }));
    let table = [
        // One namespace: each path is its oldest Route's, whatever the names.
        (
            vec![
                a_route("a", "z", 1, HOST, json!({ "path": "/p" })),
                a_route("a", "y", 2, HOST, json!({ "path": "/p" })),
            ],
            vec![("/p", "a"), ("/", "404")],
            Some(("Route a/y", "route z already exposes h.example.com and is older")),
        ),
        // Two namespaces: the host is of the older one, with every path.
        (
            vec![
                a_route("b", "web", 1, HOST, json!({ "path": "/p" })),
                a_route("a", "web", 2, HOST, json!({ "path": "/q" })),
            ],
            vec![("/p", "b"), ("/q", "404")],
            Some(("Route a/web", "a route in another namespace holds h.example.com and is older than web")),
        ),
        // Of one age: the smaller UID.
        (
            vec![a_route("b", "web", 1, HOST, json!({})), a_route("a", "web", 1, HOST, json!({}))],
            vec![("/", "a")],
            Some(("Route b/web", "a route in another namespace holds h.example.com and is older than web")),
        ),
        // A host is of one kind.
        (
            vec![a_route("a", "web", 2, HOST, json!({ "path": "/p" })), an_ingress("a", "web", 1, HOST, "/q")],
            vec![("/q", "a"), ("/p", "404")],
            Some(("Route a/web", "a host is of one kind")),
        ),
        (
            vec![a_route("a", "web", 1, HOST, json!({ "path": "/p" })), an_ingress("b", "web", 2, HOST, "/q")],
            vec![("/p", "a"), ("/q", "404")],
            Some(("Ingress b/web", "a route in another namespace holds h.example.com and is older than web")),
        ),
        (
            vec![an_ingress("a", "one", 1, HOST, "/p"), an_ingress("a", "two", 2, HOST, "/p")],
            vec![("/p/x", "a")],
            Some(("Ingress a/two", "ingress one already exposes h.example.com and is older")),
        ),
        // Who made a mistake with its certificate keeps the name.
        (
            vec![a_route("b", "web", 1, HOST, broken.clone()), a_route("a", "web", 2, HOST, edge(json!({})))],
            vec![("/", "404")],
            Some(("Route a/web", "a route in another namespace holds h.example.com and is older than web")),
        ),
        // And its host is not answered by rules without host.
        (vec![a_route("b", "web", 2, HOST, broken), catch_all("a", 1)], vec![("/", "404")], None),
        // A default backend answers for paths of its own namespace's hosts, never for those of others.
        (vec![an_ingress("a", "web", 2, HOST, "/p"), catch_all("a", 1)], vec![("/p", "a"), ("/x", "a")], None),
        (vec![an_ingress("b", "web", 2, HOST, "/p"), catch_all("a", 1)], vec![("/p", "b"), ("/x", "404")], None),
    ];
    for (objects, answers, problem) in table {
        let (manifests, _pods) = serving(&objects);
        let proxy = Proxy::of(manifests, &[]);
        for (path, expected) in answers {
            assert_eq!(answer(&proxy, HOST, path).await, expected, "{path} with {objects:?}");
        }
        if let Some((object, words)) = problem {
            let told = told(&proxy, object).await;
            assert!(told.contains(words), "{object}: {told}");
        }
    }
}

#[tokio::test]
async fn the_name_under_which_a_node_is_reached_is_of_the_hosts_own_namespace() {
    let alias = "video--abcde.example.com";
    let own = a_route("a", "video", 1, "video.example.com", json!({}));
    let thief = a_route("b", "thief", 2, alias, json!({}));
    for flags in [&[][..], &["--namespace-ownership=inter"]] {
        let (manifests, _pods) = serving(&[own.clone(), thief.clone()]);
        let proxy = Proxy::start(&manifests, flags);
        assert_eq!(answer(&proxy, alias, "/").await, "a", "{flags:?}");
        assert!(told(&proxy, "Route b/thief").await.contains("the per-node alias of an older host"), "{flags:?}");
        manifests.remove(&own);
        eventually("the name is free", || async { (answer(&proxy, alias, "/").await == "b").then_some(()) }).await;
    }
}

#[tokio::test]
async fn an_older_route_that_moves_to_a_held_path_takes_it_at_once() {
    let old = |path: &str| a_route("a", "old", 1, HOST, json!({ "path": path }));
    let mut young = a_route("a", "young", 2, HOST, json!({ "path": "/held" }));
    young["spec"]["to"]["name"] = json!("none");
    let (manifests, _pods) = serving(&[old("/elsewhere"), young]);
    let proxy = Proxy::start(&manifests, &[]);
    assert_eq!(answer(&proxy, HOST, "/held").await, "503", "the younger one's Service has no pods");
    manifests.put(&old("/held"));
    eventually("the older one has the path", || async { (answer(&proxy, HOST, "/held").await == "a").then_some(()) })
        .await;
    assert!(told(&proxy, "Route a/young").await.contains("route old already exposes h.example.com and is older"));
}
