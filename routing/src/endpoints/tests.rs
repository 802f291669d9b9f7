//! Endpoints of Services: what counts, and that both sources agree with a model of the EndpointSlice controller.

use crate::address_policy::AddressPolicy;
use crate::endpoints::{Endpoint, PortSelector, ServiceEndpoints, from_pods, from_slices};
use crate::object::{EndpointSlice, Object, Pod, Service};
use crate::testing::objects;
use proptest::prelude::*;
use serde_json::{Value, json};

fn service(spec: &str) -> Service {
    let yaml = format!("apiVersion: v1\nkind: Service\nmetadata: {{namespace: ns, name: web}}\nspec: {{{spec}}}\n");
    match objects(&yaml).remove(0) {
        Object::Service(service) => service,
        other => panic!("{other:?}"),
    }
}

fn pod(name: &str, more: Value) -> Pod {
    let mut pod = json!({
        "metadata": {"namespace": "ns", "name": name, "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": "198.18.1.1", "podIPs": [{"ip": "198.18.1.1"}, {"ip": "fd00::1"}],
                   "conditions": [{"type": "Ready", "status": "True"}]}
    });
    merge(&mut pod, more);
    serde_json::from_value(pod).unwrap()
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn of_pods(service: &Service, pods: &[Pod]) -> ServiceEndpoints {
    from_pods(service, pods.iter(), |_| Vec::new(), &AddressPolicy::default())
}

fn addresses(endpoints: &ServiceEndpoints, port: &PortSelector) -> Vec<String> {
    endpoints.select(port).map(|(_, e)| format!("{} {:?}", e.address, e.state)).collect()
}

const WEB: &str = "selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]";

#[test]
fn only_pods_that_can_answer_count() {
    let web = service(WEB);
    let deleting = json!({"metadata": {"deletionTimestamp": "2025-01-01T00:00:00Z"}});
    for (more, expected) in [
        (json!({}), vec!["198.18.1.1:8080 Ready"]),
        (json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}), vec![]),
        (json!({"status": {"conditions": null}}), vec![]),
        (deleting, vec!["198.18.1.1:8080 ServingTerminating"]),
        (json!({"status": {"podIP": null, "podIPs": null}}), vec![]),
        (json!({"status": {"phase": "Succeeded"}}), vec![]),
        (json!({"metadata": {"labels": {"app": "other"}}}), vec![]),
        (json!({"metadata": {"namespace": "other"}}), vec![]),
        (json!({"spec": {"containers": [{"ports": [{"name": "https", "containerPort": 8080}]}]}}), vec![]),
        (json!({"spec": {"nodeName": ""}}), vec![]),
    ] {
        let shown = more.to_string();
        assert_eq!(addresses(&of_pods(&web, &[pod("p", more)]), &PortSelector::All), expected, "{shown}");
    }
}

#[test]
fn not_ready_addresses_are_published_only_on_request() {
    let unready = pod("p", json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}));
    let publishing = service(&format!("{WEB}, publishNotReadyAddresses: true"));
    assert_eq!(addresses(&of_pods(&publishing, &[unready]), &PortSelector::All), ["198.18.1.1:8080 Ready"]);
}

#[test]
fn a_service_that_stands_for_a_foreign_name_has_no_pods() {
    let external = service(&format!("{WEB}, type: ExternalName"));
    assert!(addresses(&of_pods(&external, &[pod("p", json!({}))]), &PortSelector::All).is_empty());
}

#[test]
fn a_dual_stack_pod_counts_once_by_the_first_family_of_the_service() {
    let v6 = service(&format!("{WEB}, ipFamilies: [IPv6, IPv4]"));
    assert_eq!(addresses(&of_pods(&v6, &[pod("p", json!({}))]), &PortSelector::All), ["[fd00::1]:8080 Ready"]);
    let v6_only = service(&format!("{WEB}, ipFamilies: [IPv6]"));
    let v4_pod = pod("p", json!({"status": {"podIPs": [{"ip": "198.18.1.1"}]}}));
    assert!(addresses(&of_pods(&v6_only, &[v4_pod]), &PortSelector::All).is_empty());
}

#[test]
fn ports_are_selected_as_routes_and_ingresses_mean_them() {
    let two = service(
        "selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}, {name: admin, port: 81, targetPort: 9090}, \
         {name: dns, port: 53, protocol: UDP}]",
    );
    let endpoints = of_pods(&two, &[pod("p", json!({}))]);
    let count = |port: PortSelector| endpoints.select(&port).count();
    assert_eq!(count(PortSelector::All), 2, "UDP is not HTTP");
    assert_eq!(count(PortSelector::ServicePort(80)), 1);
    assert_eq!(count(PortSelector::ServicePort(8080)), 0, "an Ingress names the Service's port, not the pod's");
    assert_eq!(count(PortSelector::ServicePortName("admin".into())), 1);
    assert_eq!(count(PortSelector::TargetPort("8080".into())), 1);
    assert_eq!(count(PortSelector::TargetPort("80".into())), 0, "a Route names the pod's port, not the Service's");
    assert_eq!(count(PortSelector::TargetPort("http".into())), 1);
    assert_eq!(count(PortSelector::TargetPort("nothing".into())), 0);
}

#[test]
fn pods_that_end_serve_only_where_nothing_is_ready() {
    let web = service(WEB);
    let ending = pod("a", json!({"metadata": {"deletionTimestamp": "2025-01-01T00:00:00Z"}}));
    let ready = pod("b", json!({"status": {"podIP": "198.18.1.2", "podIPs": [{"ip": "198.18.1.2"}]}}));
    let names = |pods: &[Pod]| -> Vec<String> {
        of_pods(&web, pods).serving(&PortSelector::All, "n1").iter().map(|e: &&Endpoint| e.pod.to_string()).collect()
    };
    assert_eq!(names(&[ending.clone(), ready]), ["b"]);
    assert_eq!(names(&[ending]), ["a"]);
}

#[test]
fn refused_addresses_are_reported_and_not_used() {
    let web = service(WEB);
    let local = pod("p", json!({"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}));
    let endpoints = of_pods(&web, &[local]);
    assert_eq!(endpoints.select(&PortSelector::All).count(), 0);
    assert_eq!(endpoints.refused.len(), 1);
}

/// What the EndpointSlice controller of Kubernetes writes for a Service: one slice for each address family.
fn slices(service: &Service, pods: &[Pod]) -> Vec<EndpointSlice> {
    let families =
        if service.spec.ip_families.is_empty() { vec!["IPv4".to_owned()] } else { service.spec.ip_families.clone() };
    let mut slices = Vec::new();
    for family in families {
        for port in service.spec.ports.iter().filter(|port| port.protocol != "UDP") {
            let mut endpoints = Vec::new();
            let mut number = 0;
            for pod in pods.iter().filter(|pod| !pod.has_ended() && !pod.spec.node_name.is_empty()) {
                let ip = pod.status.pod_ips.iter().find(|ip| ip.ip.contains(':') == (family == "IPv6"));
                let container = pod.spec.containers.iter().flat_map(|c| &c.ports).find(|p| p.name == "http");
                let (Some(ip), Some(container)) = (ip, container) else { continue };
                number = container.container_port;
                let serving = pod.is_ready();
                let ready = service.spec.publish_not_ready_addresses || (serving && !pod.is_terminating());
                endpoints.push(json!({
                    "addresses": [ip.ip], "nodeName": pod.spec.node_name,
                    "targetRef": {"kind": "Pod", "name": pod.metadata.name},
                    "conditions": {"ready": ready, "serving": serving, "terminating": pod.is_terminating()}
                }));
            }
            let slice = json!({
                "metadata": {"namespace": "ns", "name": format!("web-{family}-{}", port.name),
                             "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": family, "endpoints": endpoints,
                "ports": [{"name": port.name, "port": number, "protocol": "TCP"}]
            });
            slices.push(serde_json::from_value(slice).unwrap());
        }
    }
    slices
}

prop_compose! {
    fn any_pod()(number in 1_u8..9, node in 1_u8..4, ready: bool, ending: bool, ended: bool, families in 1_u8..4) -> Pod {
        let mut ips = Vec::new();
        if families & 1 != 0 { ips.push(json!({"ip": format!("198.18.1.{number}")})); }
        if families & 2 != 0 { ips.push(json!({"ip": format!("fd00::{number}")})); }
        let mut pod = pod(&format!("p{number}"), json!({
            "spec": {"nodeName": format!("n{node}")},
            "status": {"podIP": null, "podIPs": ips, "phase": if ended { "Failed" } else { "Running" },
                       "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}
        }));
        if ending { pod.metadata.deletion_timestamp = Some("2025-01-01T00:00:00Z".into()); }
        pod
    }
}

proptest! {
    #[test]
    fn pods_and_slices_of_the_same_cluster_agree(
        pods in proptest::collection::btree_map(1_u8..9, any_pod(), 0..6),
        families in proptest::sample::select(vec!["IPv4", "IPv6", "IPv4, IPv6", "IPv6, IPv4"]),
        publish: bool,
    ) {
        // Names and addresses are unique in a cluster.
        let mut seen = std::collections::BTreeSet::new();
        let pods: Vec<Pod> = pods.into_values().filter(|pod| seen.insert(pod.metadata.name.clone())).collect();
        let web = service(&format!("{WEB}, ipFamilies: [{families}], publishNotReadyAddresses: {publish}"));
        let slices = slices(&web, &pods);
        let policy = AddressPolicy::default();
        prop_assert_eq!(
            of_pods(&web, &pods),
            from_slices(Some(&web), slices.iter(), |_| Vec::new(), &policy)
        );
    }
}
