//! Near misses of every kind with rules: the valid object passes, each broken field is named.

use super::super::kinds::Kinds;
use super::*;
use serde_json::json;

/// The fields that creating `object` with `patch` merged into it is refused for.
fn faults(mut object: Value, patch: &Value) -> Vec<String> {
    super::super::patch::merge(&mut object, patch);
    let kind = Kinds::builtin().by_type(text(&object, "apiVersion"), text(&object, "kind")).expect("in the table");
    match create(&kind, &object, Author::Client) {
        Ok(()) => Vec::new(),
        Err(error) => {
            assert_eq!((error.code, error.reason), (422, "Invalid"));
            items(&error.details, "causes").iter().map(|cause| text(cause, "field").to_owned()).collect()
        }
    }
}

fn ingress() -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "a", "namespace": "n"},
        "spec": {"rules": [{"host": "*.example.com", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}})
}

fn route() -> Value {
    json!({"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "a", "namespace": "n"},
        "spec": {"host": "a.example.com", "to": {"kind": "Service", "name": "s", "weight": 100}}})
}

#[test]
fn ingress_rules_of_the_api_server() {
    assert_eq!(faults(ingress(), &json!({})), Vec::<String>::new());
    let rule = |host: &str, path: Value| json!({"spec": {"rules": [{"host": host, "http": {"paths": [path]}}]}});
    let backend = json!({"service": {"name": "s", "port": {"name": "http"}}});
    let path = |path: &str, kind: &str| json!({"path": path, "pathType": kind, "backend": backend});
    let good = path("/", "Exact");
    let at_path = "spec.rules[0].http.paths[0].path";
    for (patch, field) in [
        (json!({"spec": {"rules": null}}), "spec"),
        (rule("*", good.clone()), "spec.rules[0].host"),
        (rule("192.0.2.1", good.clone()), "spec.rules[0].host"),
        (rule("a.example:80", good.clone()), "spec.rules[0].host"),
        (rule("A.example", good.clone()), "spec.rules[0].host"),
        (rule("a", path("x", "Prefix")), at_path),
        (rule("a", path("/a//b", "Prefix")), at_path),
        (rule("a", path("/a/..", "Exact")), at_path),
        (rule("a", path("/a%2Fb", "Exact")), at_path),
        (rule("a", path("", "Exact")), at_path),
        (rule("a", json!({"path": "/", "backend": backend})), "spec.rules[0].http.paths[0].pathType"),
        (rule("a", json!({"path": "/", "pathType": "Exact", "backend": {}})), "spec.rules[0].http.paths[0].backend"),
        (json!({"spec": {"rules": [{"http": {"paths": []}}]}}), "spec.rules[0].http.paths"),
        (json!({"spec": {"tls": [{"hosts": ["a_b"]}]}}), "spec.tls[0].hosts[0]"),
        (
            json!({"spec": {"ingressClassName": "x"}, "metadata": {"annotations": {"kubernetes.io/ingress.class": "y"}}}),
            "metadata.annotations.kubernetes.io/ingress.class",
        ),
    ] {
        assert_eq!(faults(ingress(), &patch), [field], "{patch}");
    }
    for fine in [
        rule("a", path("", "ImplementationSpecific")),
        json!({"spec": {"rules": [{"host": "a"}]}}),
        json!({"spec": {"tls": [{"hosts": ["*.a.b"], "secretName": ""}]}}),
    ] {
        assert_eq!(faults(ingress(), &fine), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn route_rules_of_the_api_server() {
    assert_eq!(faults(route(), &json!({})), Vec::<String>::new());
    let long = format!("{}.example.com", "a".repeat(64));
    for (patch, field) in [
        (json!({"spec": {"host": "A.example.com"}}), "spec.host"),
        (json!({"spec": {"host": long}}), "spec.host"),
        (json!({"spec": {"path": "x"}}), "spec.path"),
        (json!({"spec": {"path": "/a b"}}), "spec.path"),
        (json!({"spec": {"path": "/a", "tls": {"termination": "passthrough"}}}), "spec.path"),
        (json!({"spec": {"to": {"kind": "Pod"}}}), "spec.to.kind"),
        (json!({"spec": {"to": {"weight": 257}}}), "spec.to.weight"),
        (json!({"spec": {"port": {"targetPort": 0}}}), "spec.port.targetPort"),
        (json!({"spec": {"wildcardPolicy": "All"}}), "spec.wildcardPolicy"),
        (json!({"spec": {"tls": {"termination": "none"}}}), "spec.tls.termination"),
        (json!({"spec": {"tls": {"termination": "passthrough", "key": "k"}}}), "spec.tls.key"),
        (
            json!({"spec": {"tls": {"termination": "passthrough", "insecureEdgeTerminationPolicy": "Allow"}}}),
            "spec.tls.insecureEdgeTerminationPolicy",
        ),
        (json!({"spec": {"host": null, "wildcardPolicy": "Subdomain"}}), "spec.host"),
    ] {
        assert_eq!(faults(route(), &patch), [field], "{patch}");
    }
}

#[test]
fn names_and_labels_of_every_kind() {
    let object = || json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a.b", "namespace": "n"}});
    assert_eq!(faults(object(), &json!({})), Vec::<String>::new());
    for (patch, field) in [
        (json!({"metadata": {"name": "A"}}), "metadata.name"),
        (json!({"metadata": {"name": "a_b"}}), "metadata.name"),
        (json!({"metadata": {"name": "a".repeat(254)}}), "metadata.name"),
        (json!({"metadata": {"labels": {"a b": "x"}}}), "metadata.labels"),
        (json!({"metadata": {"labels": {"a": "x y"}}}), "metadata.labels"),
        (json!({"metadata": {"annotations": {"a": "x".repeat(300_000)}}}), "metadata.annotations"),
        (json!({"data": {"a/b": "x"}}), "data[a/b]"),
        (json!({"data": {"a": "x".repeat(1_100_000)}}), "data"),
    ] {
        assert_eq!(faults(object(), &patch), [field]);
    }
}

#[test]
fn a_field_of_the_wrong_type_does_not_decode() {
    let kind = Kinds::builtin().by_type("v1", "Service").expect("in the table");
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n"},
        "spec": {"type": "ClusterIP", "ports": [{"port": "eighty"}]}});
    assert_eq!(create(&kind, &service, Author::Client).expect_err("text for a number").code, 400);
}

#[test]
fn an_update_may_not_touch_what_is_immutable() {
    let kind = Kinds::builtin().by_type("v1", "Pod").expect("in the table");
    let before = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"nodeName": "n1",
        "containers": [{"name": "c", "image": "1"}]}});
    let mut after = before.clone();
    after["spec"]["containers"][0]["image"] = json!("2");
    assert_eq!(update(&kind, &before, &after, Author::Client), Ok(()));
    after["spec"]["nodeName"] = json!("n2");
    assert_eq!(update(&kind, &before, &after, Author::Client).expect_err("moved").code, 422);
}
