//! Objects of the generated cluster: places in the [`World`] come in, JSON as the API serves it goes out, with what real
//! objects carry along and nobody here needs: managed fields, volumes, environments, owner references.

use super::world::{Shape, World};
use crate::certificates::TestCa;
use anyhow::Result;
use serde_json::{Value, json};

const CREATED: &str = "2025-06-01T08:00:00Z";

/// What an API server remembers of who set which field. Its length is what counts here.
fn managed_fields(manager: &str) -> Value {
    let fields = "f:metadata f:annotations f:labels f:app f:pod-template-hash f:ownerReferences k:uid f:spec f:containers \
                  k:name f:env f:image f:imagePullPolicy f:livenessProbe f:readinessProbe f:ports f:resources f:limits \
                  f:requests f:securityContext f:terminationMessagePath f:volumeMounts f:dnsPolicy f:restartPolicy \
                  f:schedulerName f:tolerations f:volumes f:status f:conditions f:containerStatuses f:hostIP f:podIP f:podIPs";
    json!([
        { "manager": manager, "operation": "Update", "apiVersion": "v1", "time": CREATED, "fieldsType": "FieldsV1", "fieldsV1": { "f:all": fields.repeat(3) } },
        { "manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": CREATED, "subresource": "status", "fieldsType": "FieldsV1", "fieldsV1": { "f:all": fields } },
    ])
}

fn uid(kind: u32, number: u32) -> String {
    format!("{kind:08x}-5ca1-4e00-8000-{number:012x}")
}

pub(super) fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "uid": format!("ns-{name}"), "creationTimestamp": CREATED,
        "labels": { "kubernetes.io/metadata.name": name }, "managedFields": managed_fields("kubectl-create") } })
}

pub(super) fn ingress_class() -> Value {
    json!({ "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": { "name": "nearside", "uid": "class", "creationTimestamp": CREATED },
        "spec": { "controller": "nearside.dev/ingress" } })
}

pub(super) fn node(node: u32) -> Value {
    let name = World::node_name(node);
    let images: Vec<Value> = (0..40)
        .map(|image| json!({ "names": [format!("registry.example.com/base/image-{image}@sha256:{image:064x}")], "sizeBytes": 123_456_789 }))
        .collect();
    json!({ "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "uid": uid(1, node), "creationTimestamp": CREATED, "managedFields": managed_fields("kubelet"),
            "labels": { "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": format!("zone-{}", node % 3) },
            "annotations": { "csi.volume.kubernetes.io/nodeid": "{}" } },
        "spec": { "podCIDR": format!("10.{}.{}.0/24", node / 256, node % 256) },
        "status": { "addresses": [{ "type": "InternalIP", "address": World::node_address(node) }, { "type": "Hostname", "address": name }],
            "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": CREATED }],
            "images": images } })
}

/// The pod of the router on a node.
pub(super) fn router(node: u32) -> Value {
    let name = format!("nearside-proxy-{node:04}");
    json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": "nearside", "name": name, "uid": uid(2, node), "creationTimestamp": CREATED,
            "labels": { "app.kubernetes.io/name": "nearside-proxy" }, "managedFields": managed_fields("kube-controller-manager") },
        "spec": { "nodeName": World::node_name(node), "hostNetwork": true, "containers": [{ "name": "proxy", "image": "nearside" }] },
        "status": { "phase": "Running", "podIP": World::node_address(node), "podIPs": [{ "ip": World::node_address(node) }],
            "conditions": [{ "type": "Ready", "status": "True" }] } })
}

impl World {
    pub(super) fn pod(&self, pod: u32, ready: bool) -> Value {
        let service = self.service_of_pod(pod);
        let (app, ip) = (format!("svc-{service}"), Self::pod_address(pod));
        let status = if ready { "True" } else { "False" };
        json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "namespace": self.namespace_of_service(service), "name": pod_name(pod), "uid": uid(3, pod), "creationTimestamp": CREATED,
                "labels": { "app": app, "pod-template-hash": "6c9b7d5f4d", "team": self.namespace_of_service(service) },
                "annotations": { "openshift.io/scc": "restricted-v2", "seccomp.security.alpha.kubernetes.io/pod": "runtime/default",
                    "k8s.ovn.org/pod-networks": format!("{{\"default\":{{\"ip_addresses\":[\"{ip}/23\"],\"mac_address\":\"0a:58:0a:80:02:0f\",\"gateway_ips\":[\"10.128.2.1\"]}}}}") },
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{app}-6c9b7d5f4d"), "uid": uid(4, service), "controller": true }],
                "managedFields": managed_fields("kube-controller-manager") },
            "spec": { "nodeName": Self::node_name(self.node_of_pod(pod)), "serviceAccountName": "default",
                "containers": [{ "name": "app", "image": format!("registry.example.com/team/{app}@sha256:{service:064x}"),
                    "ports": [{ "name": "http", "containerPort": POD_PORT, "protocol": "TCP" }],
                    "env": [{ "name": "JAVA_OPTS", "value": "-Xmx512m -XX:+UseContainerSupport -Dspring.profiles.active=production ".repeat(6) }],
                    "volumeMounts": [{ "name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true }] }],
                "volumes": [{ "name": "kube-api-access", "projected": { "defaultMode": 420 } }] },
            "status": { "phase": "Running", "hostIP": Self::node_address(self.node_of_pod(pod)), "podIP": ip, "podIPs": [{ "ip": ip }],
                "conditions": [{ "type": "Ready", "status": status, "lastTransitionTime": CREATED }],
                "containerStatuses": [{ "name": "app", "ready": ready, "restartCount": 0, "containerID": format!("cri-o://{pod:064x}") }] } })
    }

    pub(super) fn service(&self, service: u32) -> Value {
        json!({ "apiVersion": "v1", "kind": "Service",
            "metadata": { "namespace": self.namespace_of_service(service), "name": format!("svc-{service}"), "uid": uid(5, service),
                "creationTimestamp": CREATED, "labels": { "app": format!("svc-{service}") }, "managedFields": managed_fields("helm") },
            "spec": { "clusterIP": "172.30.0.1", "type": "ClusterIP", "ipFamilies": ["IPv4"], "selector": { "app": format!("svc-{service}") },
                "ports": [{ "name": "http", "port": 80, "targetPort": "http", "protocol": "TCP" }] } })
    }

    /// The EndpointSlice of a Service, where these pods are not ready or not there at all.
    pub(super) fn slice(&self, service: u32, unready: &[u32], gone: &[u32]) -> Value {
        let namespace = self.namespace_of_service(service);
        let pods = self.pods_of_service(service).filter(|pod| !gone.contains(pod));
        let endpoints: Vec<Value> = pods
            .map(|pod| {
                let ready = !unready.contains(&pod);
                json!({ "addresses": [Self::pod_address(pod)], "nodeName": Self::node_name(self.node_of_pod(pod)),
                    "conditions": { "ready": ready, "serving": ready, "terminating": false },
                    "targetRef": { "kind": "Pod", "namespace": namespace, "name": pod_name(pod), "uid": uid(3, pod) } })
            })
            .collect();
        json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "namespace": namespace, "name": format!("svc-{service}-x7k2p"), "uid": uid(6, service), "creationTimestamp": CREATED,
                "labels": { "kubernetes.io/service-name": format!("svc-{service}"),
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io" },
                "managedFields": managed_fields("kube-controller-manager") },
            "addressType": "IPv4", "ports": [{ "name": "http", "port": POD_PORT, "protocol": "TCP" }], "endpoints": endpoints })
    }

    /// A Route or an Ingress. `path` is added to what it serves; what it has besides depends on its place.
    pub(super) fn route(&self, route: u32, path: Option<&str>, ca: &TestCa) -> Result<Value> {
        let service = self.service_of_route(route);
        let (host, name) = (self.host(route), format!("route-{route}"));
        let metadata = json!({ "namespace": self.namespace_of_service(service), "name": name, "uid": uid(7, route), "creationTimestamp": CREATED,
            "labels": { "app": format!("svc-{service}") }, "annotations": { "haproxy.router.openshift.io/timeout": "30s" },
            "managedFields": managed_fields("argocd") });
        let shape = self.shape(route);
        if shape == Shape::Ingress {
            let backend = json!({ "service": { "name": format!("svc-{service}"), "port": { "number": 80 } } });
            let path = json!({ "path": path.unwrap_or("/"), "pathType": "Prefix", "backend": backend });
            return Ok(json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata,
                "spec": { "ingressClassName": "nearside", "rules": [{ "host": host, "http": { "paths": [path] } }] } }));
        }
        let mut spec = json!({ "host": host, "to": { "kind": "Service", "name": format!("svc-{service}"), "weight": 100 },
            "port": { "targetPort": "http" }, "wildcardPolicy": "None" });
        match shape {
            Shape::Edge => {
                let identity = ca.identity(&[&host])?;
                spec["tls"] = json!({ "termination": "edge", "insecureEdgeTerminationPolicy": "Allow",
                    "certificate": identity.certificate, "key": identity.key });
            }
            Shape::Path => spec["path"] = json!("/app"),
            Shape::Plain | Shape::Ingress => {}
        }
        if let Some(path) = path {
            spec["path"] = json!(path);
        }
        Ok(json!({ "apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": metadata, "spec": spec }))
    }
}

pub(super) fn pod_name(pod: u32) -> String {
    format!("app-6c9b7d5f4d-{pod:06}")
}

/// Where every pod listens.
pub(super) const POD_PORT: u16 = 18_080;
