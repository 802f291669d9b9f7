//! Kubernetes objects for the tests: names and nodes go in, JSON as a cluster would hold it comes out.

use serde_json::{Value, json};

/// Three Ready nodes with a ready router each, and the IngressClass.
pub(crate) fn cluster() -> Vec<Value> {
    let mut objects = vec![json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "nearside"},
        "spec": {"controller": "nearside.dev/ingress"},
    })];
    for place in 1..=3 {
        objects.push(node(place, true));
        objects.push(router(place, true));
    }
    objects
}

/// Node `n<place>` with the address `198.18.0.<place>`.
pub(crate) fn node(place: u8, ready: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("n{place}")}, "spec": {},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": format!("n{place}")},
                {"type": "InternalIP", "address": address(place)},
            ],
            "conditions": [condition(ready)],
        },
    })
}

/// The router pod of node `n<place>`.
pub(crate) fn router(place: u8, ready: bool) -> Value {
    let labels = json!({"app.kubernetes.io/name": "nearside-proxy"});
    pod("nearside", &format!("router-{place}"), &labels, place, &address(place), ready)
}

/// A pod of `app` on node `n<place>`, for sources without EndpointSlices.
pub(crate) fn app_pod(namespace: &str, app: &str, place: u8, ready: bool) -> Value {
    pod(namespace, &format!("{app}-{place}"), &json!({"app": app}), place, &format!("10.0.{place}.7"), ready)
}

fn pod(namespace: &str, name: &str, labels: &Value, place: u8, ip: &str, ready: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {
            "nodeName": format!("n{place}"),
            "containers": [{"name": "main", "image": "main", "ports": [{"containerPort": 8080}]}],
        },
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [condition(ready)]},
    })
}

/// A Service whose pods have the label `app` of its name.
pub(crate) fn service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]},
    })
}

/// The endpoints of a Service: a ready pod on each of these nodes.
pub(crate) fn slice(namespace: &str, service: &str, places: &[u8]) -> Value {
    let endpoints: Vec<Value> = places
        .iter()
        .map(|place| {
            json!({
                "addresses": [format!("10.0.{place}.7")],
                "nodeName": format!("n{place}"),
                "conditions": {"ready": true, "serving": true, "terminating": false},
            })
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"namespace": namespace, "name": format!("{service}-1"), "labels": {
            "kubernetes.io/service-name": service,
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    })
}

/// A Route of a host to a Service.
pub(crate) fn route(namespace: &str, name: &str, host: &str, service: &str) -> Value {
    json!({
        "apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"namespace": namespace, "name": name},
        "spec": {"host": host, "to": {"kind": "Service", "name": service, "weight": 100}, "wildcardPolicy": "None"},
    })
}

/// An object that was created at a time of its own.
pub(crate) fn created(mut object: Value, at: &str) -> Value {
    object["metadata"]["creationTimestamp"] = at.into();
    object
}

/// An Ingress of our class with a path for each host and Service.
pub(crate) fn ingress(namespace: &str, name: &str, rules: &[(&str, &str, &str)]) -> Value {
    let rules: Vec<Value> = rules
        .iter()
        .map(|(host, path, service)| {
            let backend = json!({"service": {"name": service, "port": {"number": 80}}});
            json!({"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}})
        })
        .collect();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"namespace": namespace, "name": name},
        "spec": {"ingressClassName": "nearside", "rules": rules},
    })
}

/// The address of node `n<place>`.
pub(crate) fn address(place: u8) -> String {
    format!("198.18.0.{place}")
}

/// The addresses of nodes, sorted.
pub(crate) fn addresses(places: &[u8]) -> Vec<String> {
    places.iter().map(|place| address(*place)).collect()
}

fn condition(ready: bool) -> Value {
    json!({"type": "Ready", "status": if ready { "True" } else { "False" }})
}
