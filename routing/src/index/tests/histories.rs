//! Histories of every kind that is not a claim: Services, pods, slices, nodes, Secrets, classes and DNSEndpoints come, change
//! and go, and the index ends where a fresh start would.

use super::play;
use crate::index::{Change, EndpointSource, Index, IndexConfig, Snapshot};
use crate::object::Kind;
use crate::testing::{CLASS, config, ingress, route, rule};
use proptest::prelude::*;
use std::sync::LazyLock;

/// Two Secrets' worth of valid material; making keys is slow.
static MATERIAL: LazyLock<[(String, String); 2]> = LazyLock::new(|| {
    std::array::from_fn(|_| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["x.test".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    })
});

fn secret(material: usize, kind: &str) -> String {
    let indented = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let (certificate, key) = MATERIAL.get(material).cloned().unwrap_or_default();
    format!(
        "kind: Secret\napiVersion: v1\nmetadata: {{namespace: ns, name: cert}}\ntype: {kind}\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        indented(&certificate),
        indented(&key)
    )
}

fn any_yaml() -> impl Strategy<Value = String> {
    let name = || proptest::sample::select(vec!["a", "b"]);
    let services = (name(), 0_usize..5).prop_map(|(name, spec)| {
        let specs = [
            "selector: {app: web}, ports: [{port: 80, targetPort: 8080}]",
            "selector: {app: web, tier: front}, ports: [{name: http, port: 80, targetPort: http}]",
            "selector: {tier: front}, ports: [{port: 81}], publishNotReadyAddresses: true",
            "ports: [{name: http, port: 80}]",
            "type: ExternalName, selector: {app: web}, ports: [{port: 80}]",
        ];
        format!("kind: Service\napiVersion: v1\nmetadata: {{namespace: ns, name: {name}}}\nspec: {{{}}}\n", specs[spec])
    });
    let labels =
        vec!["{app: web}", "{app: web, tier: front}", "{app: nearside-proxy, app.kubernetes.io/name: nearside-proxy}"];
    let pods = (name(), proptest::sample::select(labels), 1_u8..4, any::<bool>(), any::<bool>(), 1_u8..4).prop_map(
        |(name, labels, node, ready, ending, ip)| {
            let ending = if ending { ", deletionTimestamp: '2025-01-01T00:00:00Z'" } else { "" };
            let ready = if ready { "True" } else { "False" };
            format!(
                "kind: Pod\napiVersion: v1\nmetadata: {{namespace: ns, name: {name}, labels: {labels}{ending}}}\n\
                 spec: {{nodeName: n{node}, containers: [{{ports: [{{name: http, containerPort: 8080}}]}}]}}\n\
                 status: {{podIP: 198.18.0.{ip}, conditions: [{{type: Ready, status: '{ready}'}}]}}\n"
            )
        },
    );
    let by = vec!["endpointslice-controller.k8s.io", "hand"];
    let slices = (name(), name(), proptest::sample::select(by), 1_u8..4).prop_map(|(name, of, by, ip)| {
        format!(
            "kind: EndpointSlice\napiVersion: discovery.k8s.io/v1\nmetadata: {{namespace: ns, name: {name}, labels: \
             {{kubernetes.io/service-name: {of}, endpointslice.kubernetes.io/managed-by: {by}}}}}\naddressType: IPv4\n\
             endpoints: [{{addresses: [198.18.0.{ip}], nodeName: n1}}]\nports: [{{name: http, port: 8080}}]\n"
        )
    });
    let nodes = (1_u8..4, 1_u8..4, any::<bool>()).prop_map(|(node, ip, drained)| {
        format!(
            "kind: Node\napiVersion: v1\nmetadata: {{name: n{node}, annotations: {{nearside.dev/drain: '{drained}'}}}}\n\
             status: {{addresses: [{{type: InternalIP, address: 198.18.0.{ip}}}], conditions: [{{type: Ready, status: 'True'}}]}}\n"
        )
    });
    let secrets = (0_usize..3, proptest::sample::select(vec!["kubernetes.io/tls", "Opaque"]))
        .prop_map(|(material, kind)| secret(material, kind));
    let endpoints = (name(), 1_u8..4, any::<bool>(), any::<bool>()).prop_map(|(name, node, managed, empty)| {
        let alias = crate::NodeId::of(&format!("n{node}"));
        let (managed, basis) = (if managed { "managed" } else { "foreign" }, if empty { "NoReadyPods" } else { "AllServices" });
        format!(
            "kind: DNSEndpoint\napiVersion: externaldns.k8s.io/v1alpha1\nmetadata: {{namespace: ns, name: {name}, \
             labels: {{nearside.dev/dns: {managed}}}, annotations: {{nearside.dev/basis: {basis}}}}}\nspec: {{endpoints: [\
             {{dnsName: x.test, recordType: A, targets: [198.18.0.1]}}, {{dnsName: x--{alias}.test, recordType: A, targets: [198.18.0.1]}}]}}\n"
        )
    });
    let external = "host: x.test, tls: {termination: edge, externalCertificate: {name: cert}}";
    let claims = prop_oneof![
        Just(route("ns", "r", 1, external)),
        Just(route("ns", "r", 1, "host: x.test")),
        Just(ingress(
            "ns",
            "i",
            2,
            &format!("rules: [{}], tls: [{{secretName: cert}}]", rule("y.test", &[("Prefix", "/", "a")]))
        )),
        Just(CLASS.to_owned()),
        Just(CLASS.replace("nearside.dev/ingress", "example.com/other")),
    ];
    prop_oneof![2 => services, 4 => pods, 2 => slices, 2 => nodes, 2 => secrets, 1 => endpoints, 3 => claims]
}

fn seen(snapshot: &Snapshot) -> Vec<String> {
    let mut hosts: Vec<String> = snapshot.routes.hosts().map(|host| format!("{host:?}")).collect();
    let pairs = ["x.test", "y.test"].map(|name| snapshot.routes.certificate(name).map(|pair| pair.fingerprint()));
    hosts.extend(snapshot.endpoints.iter().map(|entry| format!("{entry:?}")));
    hosts.extend(snapshot.published.iter().map(|entry| format!("{entry:?}")));
    hosts.sort();
    hosts.push(format!("{:?} {:?} {:?} {pairs:?}", snapshot.verdicts, snapshot.claimed, snapshot.nodes));
    hosts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn any_history_of_any_kind_ends_where_a_fresh_start_would(
        history in proptest::collection::vec((any_yaml(), proptest::bool::weighted(0.25), any::<bool>()), 1..32),
        endpoints in proptest::sample::select(vec![
            EndpointSource::Slices,
            EndpointSource::Pods { node: None },
            EndpointSource::Pods { node: Some("n1".into()) },
        ]),
    ) {
        let config = IndexConfig { endpoints, ..config() };
        let mut index = Index::new(config.clone());
        let present = play(&mut index, &history);
        let mut fresh = Index::new(config);
        for kind in Kind::ALL {
            let objects = present.values().filter(|object| object.kind() == kind).cloned().collect();
            fresh.apply(Change::Reset { kind, objects });
        }
        prop_assert_eq!(seen(&index.publish()), seen(&fresh.publish()));
    }
}
