//! Which object speaks for a host about client certificates, and whom that closes.

use crate::admission::Ownership;
use crate::index::Snapshot;
use crate::object::{Kind, ObjectKey};
use crate::policy::client_certificate::Demand;
use crate::table::CompiledRoute;
use crate::testing::{CLASS, config, ingress, owned, rule, snapshot};
use crate::{HostPattern, Hostname};
use std::sync::Arc;

/// A Secret with a CA.
fn authority(namespace: &str, name: &str) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem();
    let pem: String = pem.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{namespace: {namespace}, name: {name}}}\ntype: Opaque\n\
         stringData:\n  ca.crt: |\n{pem}"
    )
}

/// An Ingress whose annotations are added to its metadata.
fn asking(namespace: &str, name: &str, second: u8, annotations: &str, path: &str) -> String {
    let spec = format!("rules: [{}]", rule("h.test", &[("Prefix", path, "web")]));
    ingress(namespace, name, second, &spec)
        .replace("metadata: {", &format!("metadata: {{annotations: {{{annotations}}}, "))
}

const CA: &str = "nearside.dev/auth-tls-secret: ca";

fn host(snapshot: &Snapshot) -> (Option<Demand>, bool, Vec<String>) {
    let host = snapshot.routes.host(&HostPattern::Exact(Hostname::parse("h.test").unwrap())).unwrap();
    let closed = |route: &&Arc<CompiledRoute>| route.closed;
    let mut closed: Vec<String> =
        host.routes.iter().filter(closed).map(|route| route.source.name.to_string()).collect();
    closed.sort();
    let clients = host.clients.as_ref();
    (clients.map(|clients| clients.guard.demand), clients.is_some_and(|clients| clients.authority.is_some()), closed)
}

#[test]
fn the_oldest_object_that_asks_decides_and_others_are_closed_and_told() {
    let optional = format!("{CA}, nearside.dev/auth-tls-verify-client: optional");
    let yaml = [
        CLASS.to_owned(),
        authority("ns", "ca"),
        asking("ns", "a", 1, "", "/a"),
        asking("ns", "b", 2, CA, "/b"),
        asking("ns", "c", 3, &optional, "/c"),
        asking("ns", "d", 4, "nearside.dev/auth-tls-secret: ns/ca", "/d"),
        asking(
            "ns",
            "e",
            5,
            "nearside.dev/auth-tls-secret: ca, nearside.dev/auth-tls-pass-certificate-to-upstream: 'true'",
            "/e",
        ),
    ];
    let snapshot = snapshot(config(), &yaml.concat());
    // The pod is told what its own object says.
    assert_eq!(host(&snapshot), (Some(Demand::Required), true, vec!["c".to_owned()]));
    let told = |name: &str| snapshot.verdicts[&ObjectKey::new(Kind::Ingress, "ns", name)].problems.len();
    assert_eq!(["a", "b", "c", "d", "e"].map(told), [0, 0, 1, 0, 0]);
}

#[test]
fn a_secret_that_is_not_there_or_of_another_namespace_lets_nobody_in() {
    for (secret, namespace) in [("ca", "other"), ("other/ca", "other"), ("ca", "gone")] {
        let text = format!("nearside.dev/auth-tls-secret: {secret}");
        let yaml = [
            CLASS.to_owned(),
            authority(namespace, "ca"),
            asking("ns", "a", 1, &text, "/a"),
            asking("ns", "b", 2, "", "/b"),
        ];
        let snapshot = snapshot(config(), &yaml.concat());
        assert_eq!(host(&snapshot), (Some(Demand::Required), false, vec!["a".to_owned()]), "{secret}");
        let problems = &snapshot.verdicts[&ObjectKey::new(Kind::Ingress, "ns", "a")].problems;
        assert!(problems[0].message.contains("refused with 503"), "{problems:?}");
    }
}

#[test]
fn who_shares_a_host_of_others_cannot_lock_them_out() {
    let yaml = [
        CLASS.to_owned(),
        authority("guest", "ca"),
        asking("owner", "a", 1, "", "/a"),
        asking("guest", "b", 2, CA, "/b"),
    ];
    let snapshot = snapshot(owned(Ownership::InterNamespace), &yaml.concat());
    assert_eq!(host(&snapshot), (None, false, vec!["b".to_owned()]));
}

#[test]
fn rules_without_host_cannot_ask() {
    let spec = "defaultBackend: {service: {name: web, port: {number: 80}}}";
    let object = ingress("ns", "all", 1, spec).replace("metadata: {", &format!("metadata: {{annotations: {{{CA}}}, "));
    let snapshot = snapshot(config(), &[CLASS.to_owned(), authority("ns", "ca"), object].concat());
    let any = snapshot.routes.host(&HostPattern::Any).unwrap();
    assert!(any.clients.is_none() && any.routes.iter().all(|route| route.closed));
}
