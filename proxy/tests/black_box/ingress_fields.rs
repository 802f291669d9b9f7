//! The fields of an Ingress as tables: which backends, certificates and default backends count, and that each bad part costs
//! only itself.

use super::support::client::get_tls;
use super::support::manifests::{ingress, ingress_class, pod, service, service_with};
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};

fn of(name: &str, spec: Value) -> Value {
    let mut object = ingress(name, "none.example.com", &[], json!({}));
    let mut fields = json!({ "ingressClassName": "nearside" });
    spec.as_object().unwrap().iter().for_each(|(field, value)| fields[field] = value.clone());
    object["spec"] = fields;
    object
}

fn path(kind: &str, path: &str, backend: Value) -> Value {
    json!({ "path": path, "pathType": kind, "backend": backend })
}

fn rule(host: &str, paths: &[Value]) -> Value {
    json!({ "host": host, "http": { "paths": paths } })
}

fn to(port: Value) -> Value {
    json!({ "service": { "name": "web", "port": port } })
}

async fn problems(proxy: &Proxy, object: &str) -> Vec<String> {
    let (_, page) = proxy.page("/routes").await;
    let page: Value = serde_json::from_str(&page).unwrap();
    let told = page["problems"][object].as_array().cloned().unwrap_or_default();
    told.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_part_that_cannot_be_meant_is_told_and_costs_only_itself() {
    let (_pod, address) = echo_pod("web-1");
    let http = || to(json!({ "name": "http" }));
    let rules = json!([
        rule("good.example.com", &[
            path("Prefix", "/", http()),
            path("Prefix", "/resource", json!({ "resource": { "apiGroup": "k8s.example.com", "kind": "Bucket", "name": "b" } })),
            path("Prefix", "/no-port", to(json!({}))),
            path("Prefix", "/big-port", to(json!({ "number": 70_000 }))),
            path("Prefix", "no-slash", http()),
            path("Regex", "/type", http()),
            path("Exact", "/%00", http()),
        ]),
        rule("under_score.example.com", &[path("Prefix", "/", http())]),
        rule("*", &[path("Prefix", "/", http())]),
        rule("a.*.example.com", &[path("Prefix", "/", http())]),
        rule("port.example.com:80", &[path("Prefix", "/", http())]),
        { "host": "bare.example.com" },
        rule("192.0.2.9", &[path("Prefix", "/", http())]),
    ]);
    let tls =
        json!([{ "hosts": ["good.example.com", "bad host"], "secretName": "gone" }, { "hosts": ["good.example.com"] }]);
    let objects = [
        ingress_class(),
        of("web", json!({ "rules": rules, "tls": tls })),
        of("empty", json!({})),
        of("no-paths", json!({ "rules": [rule("none.example.com", &[])] })),
        service("web"),
        pod("web", "web-1", address),
    ];
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    let ca = TestCa::new("nobody").unwrap();
    assert!(get_tls(proxy.https, &ca, "good.example.com", "/").await.is_err(), "the default certificate is shown");
    for (host, asked, status) in [
        ("good.example.com", "/", 308),
        ("good.example.com", "/resource/x", 308),
        ("bare.example.com", "/", 404),
        ("192.0.2.9", "/", 200),
        ("under_score.example.com", "/", 404),
        ("a.b.example.com", "/", 404),
    ] {
        assert_eq!(get(proxy.http, host, asked).await.status, status, "{host}{asked}");
    }
    for empty in ["empty", "no-paths"] {
        let told = problems(&proxy, &format!("Ingress shop/{empty}")).await;
        assert!(told[0].contains("the object states no rule to serve"), "{empty}: {told:?}");
    }
    let told = problems(&proxy, "Ingress shop/web").await;
    let field = |line: &String| line.split(": ").nth(1).unwrap().to_owned();
    let mut fields: Vec<String> = told.iter().map(field).collect();
    fields.sort();
    assert_eq!(
        fields,
        [
            "spec.rules[0].http.paths[1].backend",
            "spec.rules[0].http.paths[2].backend.service.port",
            "spec.rules[0].http.paths[3].backend.service.port",
            "spec.rules[0].http.paths[4].path",
            "spec.rules[0].http.paths[5].pathType",
            "spec.rules[0].http.paths[6].path",
            "spec.rules[1].host",
            "spec.rules[2].host",
            "spec.rules[3].host",
            "spec.rules[4].host",
            "spec.tls[0].hosts",
            "spec.tls[0].secretName",
        ],
        "{told:#?}"
    );
}

#[tokio::test]
async fn a_backend_is_a_port_by_number_or_name_and_a_path_without_one_is_unavailable() {
    let ((_first, first), (_second, second)) = (echo_pod("first"), echo_pod("second"));
    let mut two = service_with("web", json!({ "targetPort": first.port() }));
    let admin = json!({ "name": "admin", "port": 81, "targetPort": second.port() });
    two["spec"]["ports"].as_array_mut().unwrap().push(admin);
    let mut renamed = two.clone();
    (renamed["spec"]["ports"][0]["name"], renamed["spec"]["ports"][1]["name"]) = (json!("admin"), json!("http"));
    let paths = [
        path("Prefix", "/", to(json!({ "number": 80 }))),
        path("Prefix", "/number", to(json!({ "number": 81 }))),
        path("Prefix", "/name", to(json!({ "name": "http" }))),
        path("Prefix", "/admin", to(json!({ "name": "admin" }))),
        path("Prefix", "/pods-number", to(json!({ "number": first.port() }))),
        path("Prefix", "/nameless", to(json!({ "name": "none" }))),
        path("Prefix", "/absent", json!({ "service": { "name": "absent", "port": { "number": 80 } } })),
        path("Prefix", "/resource", json!({ "resource": { "kind": "Bucket", "name": "b" } })),
    ];
    let object = of("web", json!({ "rules": [rule("web.example.com", &paths)] }));
    let manifests = Manifests::with(&[ingress_class(), object, two, pod("web", "web-1", first)]);
    let proxy = Proxy::start(&manifests, &[]);
    for (asked, expected) in [
        ("/", Ok("first")),
        ("/number", Ok("second")),
        ("/name", Ok("first")),
        ("/admin", Ok("second")),
        ("/pods-number", Err(503)),
        ("/nameless", Err(503)),
        ("/absent/x", Err(503)),
        ("/resource", Err(503)),
    ] {
        let reply = get(proxy.http, "web.example.com", asked).await;
        assert_eq!(reply.pod().ok_or(reply.status), expected, "{asked}");
    }
    manifests.put(&renamed);
    eventually("the new names of the ports are followed", || async {
        let name = get(proxy.http, "web.example.com", "/name").await;
        let admin = get(proxy.http, "web.example.com", "/admin").await;
        assert_eq!(get(proxy.http, "web.example.com", "/").await.pod(), Some("first"), "numbers stay");
        (name.pod() == Some("second") && admin.pod() == Some("first")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_host_has_the_certificate_of_the_entry_that_lists_it_else_of_its_wildcard_else_of_all() {
    let (_pod, address) = echo_pod("web-1");
    let names = ["exact", "wild", "all", "older", "operator"];
    let cas: Vec<(&str, TestCa)> = names.iter().map(|name| (*name, TestCa::new(name).unwrap())).collect();
    let identity = |name: &str| {
        let (_, ca) = cas.iter().find(|(known, _)| *known == name).unwrap();
        ca.identity(&["*.example.com", "*.apps.example.com"]).unwrap()
    };
    let secret = |name: &str| {
        let identity = identity(name);
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "shop", "name": name },
            "type": "kubernetes.io/tls", "stringData": { "tls.crt": identity.certificate, "tls.key": identity.key }
        })
    };
    let opaque = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "shop", "name": "opaque" },
        "type": "Opaque", "stringData": { "tls.crt": identity("exact").certificate, "tls.key": identity("exact").key }
    });
    let entry = |hosts: &[&str], name: &str| json!({ "hosts": hosts, "secretName": name });
    let x = "x.apps.example.com";
    let table = [
        (json!([entry(&[x], "exact")]), "exact"),
        (json!([entry(&["*.apps.example.com"], "wild")]), "wild"),
        (json!([entry(&["*.apps.example.com"], "wild"), entry(&[x], "exact")]), "exact"),
        (json!([{ "secretName": "all" }]), "all"),
        (json!([{ "secretName": "all" }, entry(&["*.apps.example.com"], "wild")]), "wild"),
        (json!([{ "secretName": "all" }, { "hosts": [x] }]), "operator"),
        (json!([entry(&["*.example.com"], "wild")]), "operator"),
        (json!([entry(&[x], "gone")]), "operator"),
        (json!([entry(&[x], "opaque")]), "operator"),
        (json!([entry(&[x], "exact"), entry(&[x], "wild")]), "exact"),
        (json!([]), "operator"),
    ];
    let files = tempfile::tempdir().unwrap();
    let operator = identity("operator");
    std::fs::write(files.path().join("tls.crt"), &operator.certificate).unwrap();
    std::fs::write(files.path().join("tls.key"), &operator.key).unwrap();
    let flags = [
        format!("--default-cert={}", files.path().join("tls.crt").display()),
        format!("--default-key={}", files.path().join("tls.key").display()),
    ];
    let web = |tls: &Value| {
        of("web", json!({ "tls": tls, "rules": [rule(x, &[path("Prefix", "/", to(json!({ "number": 80 })))])] }))
    };
    let mut objects = vec![ingress_class(), web(&json!([])), opaque, service("web"), pod("web", "web-1", address)];
    objects.extend(["exact", "wild", "all", "older"].map(secret));
    let manifests = Manifests::with(&objects);
    let proxy = Proxy::start(&manifests, &[&*flags[0], &*flags[1]]);
    let shown = || async {
        for (name, ca) in &cas {
            if get_tls(proxy.https, ca, x, "/").await.is_ok_and(|reply| reply.pod() == Some("web-1")) {
                return *name;
            }
        }
        "none"
    };
    for (tls, expected) in &table {
        manifests.put(&web(tls));
        eventually(&format!("{expected} is shown for {tls}"), || async { (shown().await == *expected).then_some(()) })
            .await;
    }
    // Of two Ingresses that list the host, the older one that has a rule on it decides.
    let mut older = of(
        "older",
        json!({
            "tls": [entry(&[x], "older")], "rules": [rule(x, &[path("Prefix", "/older", to(json!({ "number": 80 })))])]
        }),
    );
    older["metadata"]["creationTimestamp"] = json!("2025-01-01T00:00:00Z");
    manifests.put(&web(&table[0].0));
    manifests.put(&older);
    eventually("the older one decides", || async { (shown().await == "older").then_some(()) }).await;
    older["spec"]["rules"][0]["host"] = json!("other.apps.example.com");
    manifests.put(&older);
    eventually("who has no rule has no say", || async { (shown().await == "exact").then_some(()) }).await;
    // A Secret that goes leaves the default certificate, and comes back.
    manifests.remove(&secret("exact"));
    eventually("the default certificate is shown", || async { (shown().await == "operator").then_some(()) }).await;
    assert!(problems(&proxy, "Ingress shop/web").await[0].contains("there is no Secret exact"));
    manifests.put(&secret("exact"));
    eventually("the certificate is back", || async { (shown().await == "exact").then_some(()) }).await;
}
