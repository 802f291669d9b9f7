//! `nearside-controller check`: what it finds in manifests before they are applied.

use crate::command::{Files, answer, answer_to, json};
use crate::objects::{created, route, service};
use crate::process::Cluster;
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};

const GOOD: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  ports: [{name: http, port: 80}]
---
apiVersion: route.openshift.io/v1
kind: Route
metadata:
  name: web
  namespace: shop
spec:
  host: web.example.com
  to: {kind: Service, name: web}
";

/// The findings as `LINE SEVERITY FIELD REASON`, with the exit code.
fn findings(text: &str, flags: &[&str]) -> (Option<i32>, Vec<String>) {
    let said = answer_to(&[&["check", "-f", "-", "-o", "json"], flags].concat(), &[], text);
    let (code, report) = json(&said);
    let short = |finding: &Value| {
        let text = |name: &str| finding[name].as_str().unwrap().to_owned();
        format!("{} {} {} {}", finding["line"], text("severity"), text("field"), text("reason"))
    };
    (code, report["findings"].as_array().unwrap().iter().map(short).collect())
}

fn changed(from: &str, to: &str) -> String {
    let text = GOOD.replace(from, to);
    assert_ne!(text, GOOD, "{from}");
    text
}

#[test]
fn good_manifests_are_clean() {
    assert_eq!(findings(GOOD, &["--strict"]), (Some(0), vec![]));
    let said = answer_to(&["check", "-f", "-"], &[], GOOD);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "2 objects checked: 0 errors, 0 warnings\n"));
}

#[test]
fn each_mistake_is_found_where_it_stands() {
    let annotated = |name: &str, value: &str| {
        changed("  name: web\n", &format!("  name: web\n  annotations:\n    {name}: {value}\n"))
    };
    for (text, expected) in [
        (changed("  host:", "  hosts:"), vec!["13 error spec.hosts UnknownField", "12 error spec.host NoHostValue"]),
        (changed("{kind: Service, name: web}", "{kind: Service, name: 7}"), vec!["14 error spec.to.name WrongType"]),
        (changed("name: web}\n", "name: web, weight: 300}\n"), vec!["14 error spec.to.weight InvalidValue"]),
        (changed("web.example.com", "web_.example.com"), vec!["13 error spec.host InvalidHost"]),
        (changed("Service, name: web}", "Service, name: wep}"), vec!["14 warning spec.to ServiceNotFound"]),
        (
            changed("host: web.example.com", "host: web.example.com\n  port: {targetPort: https}"),
            vec!["15 error spec.to PortNotFound"],
        ),
        (
            changed("  ports:", "  type: ExternalName\n  externalName: a.example.com\n  ports:"),
            vec!["16 error spec.to ServiceWithoutPods"],
        ),
        (
            annotated("nearside.dev/on-mis", "reject"),
            vec!["12 warning metadata.annotations[\"nearside.dev/on-mis\"] InvalidAnnotation"],
        ),
        (
            annotated("nearside.dev/on-miss", "maybe"),
            vec!["12 warning metadata.annotations[\"nearside.dev/on-miss\"] InvalidAnnotation"],
        ),
        (
            annotated("nginx.ingress.kubernetes.io/server-snippet", "x"),
            vec!["12 warning metadata.annotations[\"nginx.ingress.kubernetes.io/server-snippet\"] InvalidAnnotation"],
        ),
        (changed("route.openshift.io/v1", "v1"), vec!["7 error apiVersion UnknownVersion"]),
        (changed("  host: web.example.com", "  host: [web.example.com"), vec!["14 error  NotReadable"]),
        (changed("kind: Route\n", ""), vec!["7 error kind MissingField"]),
        (
            format!("{GOOD}---\n{GOOD}"),
            vec!["18 warning metadata.name Duplicate", "25 warning metadata.name Duplicate"],
        ),
        (
            changed("  host:", "  tls: {termination: edge, externalCertificate: {name: tls}}\n  host:"),
            vec!["13 warning spec.tls.externalCertificate.name ExternalCertificateGetFailed"],
        ),
    ] {
        let (code, mut found) = findings(&text, &[]);
        let mut expected: Vec<String> = expected.into_iter().map(ToOwned::to_owned).collect();
        let errors = expected.iter().any(|finding| finding.contains(" error "));
        found.sort();
        expected.sort();
        assert_eq!((code, found), (Some(i32::from(errors)), expected), "{text}");
        assert_eq!(findings(&text, &["--strict"]).0, Some(1), "{text}");
    }
}

#[test]
fn a_line_of_text_names_file_line_object_field_and_reason() {
    let files = Files::new();
    files.write_text(
        "web.yaml",
        &changed("  name: web\n", "  name: web\n  annotations: {nearside.dev/on-mis: reject}\n"),
    );
    let said = answer(&["check", "-f", files.path()], &[]);
    let start = format!(
        "{}/web.yaml:11: warning: Route shop/web: metadata.annotations[\"nearside.dev/on-mis\"]: ",
        files.path()
    );
    assert!(said.out.starts_with(&start), "{}", said.out);
    let first = said.out.lines().next().unwrap();
    assert!(first.ends_with("did you mean nearside.dev/on-miss? [InvalidAnnotation]"), "{first}");
    assert_eq!(said.code, Some(0));
}

#[test]
fn ingresses_are_held_against_the_api_and_their_class() {
    let ingress = |spec: Value| {
        let ingress = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "a", "namespace": "shop"}, "spec": spec,
        });
        findings(&format!("{}\n---\n{ingress}", service("shop", "web")), &[])
    };
    let path = |path: &str| json!({"path": path, "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}});
    let rules = |one: Value| json!([{"host": "a.example.com", "http": {"paths": [one]}}]);
    assert_eq!(ingress(json!({"ingressClassName": "nearside", "rules": rules(path("/"))})), (Some(0), vec![]));
    let (code, found) = ingress(json!({"ingressClassName": "nginx", "rules": rules(path("/"))}));
    assert_eq!((code, found), (Some(0), vec!["3 info spec.ingressClassName NotOurs".to_owned()]));
    let (code, found) = ingress(json!({"ingressClassName": "nearside", "rules": rules(path("x"))}));
    assert_eq!((code, found), (Some(1), vec!["3 error spec.rules[0].http.paths[0].path InvalidPath".to_owned()]));
    let tls = json!([{"hosts": ["a.example.com"], "secretName": "tls"}]);
    let (code, found) = ingress(json!({"ingressClassName": "nearside", "rules": rules(path("/")), "tls": tls}));
    assert_eq!((code, found), (Some(0), vec!["3 warning spec.tls[0].secretName CertificateNotUsable".to_owned()]));
}

#[test]
fn certificates_that_clients_will_not_like_are_told() {
    let authority = TestCa::new("test").unwrap();
    let certified = |names: &[&str]| {
        let leaf = authority.identity(names).unwrap();
        let mut route = route("shop", "web", "web.example.com", "web");
        route["spec"]["tls"] = json!({
            "termination": "edge", "certificate": leaf.certificate, "key": leaf.key, "caCertificate": authority.certificate(),
        });
        findings(&format!("{}\n---\n{route}", service("shop", "web")), &[])
    };
    assert_eq!(certified(&["*.example.com"]), (Some(0), vec![]));
    let info = "3 info spec.tls.certificate AliasNotCovered".to_owned();
    assert_eq!(certified(&["web.example.com"]), (Some(0), vec![info]));
    let warning = "3 warning spec.tls.certificate CertificateNotForHost".to_owned();
    assert_eq!(certified(&["other.example.com"]), (Some(0), vec![warning]));
}

#[test]
fn directories_are_read_as_kubectl_reads_them() {
    let files = Files::new();
    files.write_text("good.yaml", GOOD);
    files.write_text("notes.txt", "kind: [");
    files.write_text("bad.json", "{\"kind\": \"Route\",\n \"apiVersion\": }");
    let (code, report) = json(&answer(&["check", "-f", files.path(), "-o", "json"], &[]));
    assert_eq!((code, &report["objects"]), (Some(1), &json!(2)), "{report:#}");
    assert_eq!(report["findings"][0]["line"], 2, "{report:#}");
    let nowhere = answer(&["check", "-f", "/nowhere"], &[]);
    assert_eq!(nowhere.code, Some(2));
    assert!(nowhere.error.contains("/nowhere") && nowhere.error.lines().count() == 1, "{}", nowhere.error);
    assert_eq!(answer(&["check"], &[]).code, Some(2));
}

#[tokio::test]
async fn a_cluster_says_who_holds_a_host_and_what_is_there() {
    let cluster = Cluster::new().await;
    let held = created(route("other", "first", "web.example.com", "web"), "2020-01-01T00:00:00Z");
    cluster.seed([service("shop", "web"), held]);
    let kubeconfig = cluster.kubeconfig();
    let files = Files::new();
    files.write(
        "route.yaml",
        &[route("shop", "web", "web.example.com", "web"), route("shop", "b", "b.example.com", "nothing")],
    );
    let path = files.path().to_owned();
    let said = tokio::task::spawn_blocking(move || {
        answer(&["check", "-f", &path, "--cluster", "-o", "json"], &[("KUBECONFIG", &kubeconfig)])
    });
    let said = said.await.unwrap();
    let (code, report) = json(&said);
    let reasons: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap()).collect();
    assert_eq!((code, reasons), (Some(1), vec!["HostAlreadyClaimed", "ServiceNotFound"]), "{report:#}");
}
