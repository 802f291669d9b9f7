//! Hostile values in every field and every annotation of Routes and Ingresses, one value at a time: every other route keeps
//! serving, what is wrong is told, and memory stays where it was.

use super::support::client::read_to_end;
use super::support::manifests::{ingress, ingress_class, pod, route, service};
use super::support::{Manifests, PATIENCE, Proxy, echo_pod, eventually, get};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn hostile_values_cost_only_their_own_object() {
    let (_pod, address) = echo_pod("web-1");
    let good = route("web", "good.example.com", json!({}));
    let also = ingress("web", "also.example.com", &[("Prefix", "/", "web")], json!({}));
    let manifests = Manifests::with(&[
        good,
        also,
        ingress_class(),
        service("web"),
        pod("web", "web-1", address),
        hostile_service(),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let names = annotations();
    assert!(names.len() > 60, "{names:?}");

    let values = hostile();
    let (first_pass, last) = (values.len(), values.last().unwrap());
    // What comes again shows what stays behind: nothing.
    let again = values.iter().step_by(4).chain([last]);
    let mut resident = Vec::new();
    let mut told = BTreeSet::new();
    for (round, value) in values.iter().chain(again).enumerate() {
        let host = format!("round-{round}.example.org");
        let marker = json!({
            "apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": metadata("marker"),
            "spec": { "host": host, "to": { "kind": "Service", "name": "web" } }
        });
        let hostile = [corpus(&full_route(), &names, value), corpus(&full_ingress(), &names, value)].concat();
        // Together the largest values are more than a file may hold.
        for (number, part) in hostile.chunks(PART).enumerate() {
            manifests.put_list(&format!("hostile-{number}.json"), part);
        }
        manifests.put_list("zz-marker.json", &[marker]);
        eventually("the corpus is read", || async {
            for host in ["good.example.com", "also.example.com"] {
                assert_eq!(get(proxy.http, host, "/").await.pod(), Some("web-1"), "{host} with {}", short(value));
            }
            (get(proxy.http, &host, "/").await.status == 503).then_some(())
        })
        .await;
        for number in (round % 7..names.len()).step_by(7) {
            for kind in ["route", "ingress"] {
                ask(proxy.http, &format!("a{number}-{kind}.example.net"), value).await;
            }
        }
        let (_, page) = proxy.page("/routes").await;
        let page: Value = serde_json::from_str(&page).unwrap();
        told.extend(page["problems"].as_object().unwrap().keys().cloned());
        if round + 1 >= first_pass && value == last {
            resident.push(proxy.resident_bytes());
        }
    }
    let [first, second] = resident[..] else { panic!("{resident:?}") };
    assert!(second < first + first / 2 + 32 * 1024 * 1024, "{first} bytes after one pass, {second} after two");
    assert!(!told.iter().any(|object| object.contains("shop/web")), "{told:?}");
    let mut silent = Vec::new();
    for (number, name) in names.iter().enumerate().filter(|(_, name)| !FREE.contains(&name.as_str())) {
        let objects = [format!("Route hostile/a{number}-route"), format!("Ingress hostile/a{number}-ingress")];
        silent.extend(objects.iter().filter(|object| !told.contains(*object)).map(|object| (name, object.clone())));
    }
    assert!(silent.is_empty(), "no value of these was ever told to be wrong: {silent:#?}");
}

/// One object for each field with the value in it, and one for each annotation.
fn corpus(template: &Value, names: &BTreeSet<String>, value: &Value) -> Vec<Value> {
    let kind = template["kind"].as_str().unwrap().to_lowercase();
    let mut fields = Vec::new();
    leaves(template, "", &mut fields);
    let of_fields = fields.iter().enumerate().map(|(number, field)| {
        let mut object = named(template, &format!("f{number}-{kind}"));
        *object.pointer_mut(field).unwrap() = value.clone();
        object
    });
    let of_annotations = names.iter().enumerate().map(|(number, name)| {
        let mut object = named(template, &format!("a{number}-{kind}"));
        object["metadata"]["annotations"][name] = value.clone();
        object
    });
    of_fields.chain(of_annotations).collect()
}

/// The template under a name and with a host of its own.
fn named(template: &Value, name: &str) -> Value {
    let mut object = template.clone();
    object["metadata"]["name"] = json!(name);
    object["metadata"]["uid"] = json!(name);
    let host = json!(format!("{name}.example.net"));
    for field in ["/spec/host", "/spec/rules/0/host", "/spec/tls/0/hosts/0"] {
        if let Some(place) = object.pointer_mut(field) {
            *place = host.clone();
        }
    }
    object
}

fn metadata(name: &str) -> Value {
    json!({
        "namespace": "hostile", "name": name, "uid": name, "creationTimestamp": "2026-02-01T00:00:00Z",
        "labels": { "app": "web" }, "annotations": {}
    })
}

/// Without pods; what the hostile objects say is looked at before a pod is.
fn hostile_service() -> Value {
    let mut service = service("web");
    service["metadata"] = metadata("web");
    service
}

/// A Route that says something in every field.
fn full_route() -> Value {
    let backend = json!({ "kind": "Service", "name": "web", "weight": 10 });
    let actions = json!([{ "name": "x-a", "action": { "type": "Set", "set": { "value": "a" } } }]);
    json!({
        "apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": metadata("any"),
        "spec": {
            "host": "any.example.net", "subdomain": "any", "path": "/", "wildcardPolicy": "None", "to": backend,
            "alternateBackends": [backend], "port": { "targetPort": "http" },
            "tls": {
                "termination": "edge", "insecureEdgeTerminationPolicy": "Allow", "certificate": "", "key": "",
                "caCertificate": "", "destinationCACertificate": "", "externalCertificate": null
            },
            "httpHeaders": { "actions": { "request": actions, "response": actions } }
        }
    })
}

/// An Ingress that does the same.
fn full_ingress() -> Value {
    let backend = json!({ "service": { "name": "web", "port": { "name": "http", "number": null } }, "resource": null });
    let paths = json!([{ "path": "/", "pathType": "Prefix", "backend": backend }]);
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata("any"),
        "spec": {
            "ingressClassName": "nearside", "defaultBackend": backend, "rules": [{ "host": "any.example.net", "http": { "paths": paths } }],
            "tls": [{ "hosts": ["any.example.net"], "secretName": "" }]
        }
    })
}

/// JSON pointers of everything that is no object or list.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| leaves(value, &format!("{at}/{name}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, value)| leaves(value, &format!("{at}/{place}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

/// The names of all annotations that are read, as they stand in the sources.
fn annotations() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../routing/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                names.extend(text.split('"').filter(|word| is_annotation(word)).map(ToOwned::to_owned));
            }
        }
    }
    names
}

fn is_annotation(word: &str) -> bool {
    let prefixes = [
        "nearside.dev/",
        "haproxy.router.openshift.io/",
        "router.openshift.io/",
        "route.openshift.io/",
        "nginx.ingress.kubernetes.io/",
        "kubernetes.io/ingress.class",
    ];
    let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./_-".contains(&byte));
    plain && !word.ends_with('/') && prefixes.iter().any(|prefix| word.starts_with(prefix))
}

/// A client gets an answer that is an answer, or a closed connection.
async fn ask(address: SocketAddr, host: &str, value: &Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    // A connection that is closed at once may end before all of this is taken.
    drop(stream.write_all(request.as_bytes()).await);
    let answer = timeout(PATIENCE, read_to_end(&mut stream)).await.unwrap();
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    assert!(answer.is_empty() || head.starts_with("HTTP/1.1 "), "{host} with {}: {head}", short(value));
    assert!(!head.to_lowercase().contains("\r\nx-injected"), "{host} with {}: {head}", short(value));
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}

/// Names that others read, or that take any text.
const FREE: [&str; 3] = ["kubernetes.io/ingress.class", "route.openshift.io/v1", "router.openshift.io/pool-size"];

/// Values that have hurt routers, and values of the wrong type.
fn hostile() -> Vec<Value> {
    let long = "a".repeat(64 * 1024);
    vec![
        json!("\"'\\"),
        json!("; } {{.}} ${HOME} `id`"),
        json!("%[req.hdr(host)"),
        json!("%{+Q}[ssl_c_der,base64]%%%"),
        json!("a\r\nX-Injected: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
        json!("a\0b\u{2028}\u{202e}\u{feff}😀"),
        json!(long),
        json!(format!("/{}", "/..".repeat(20_000))),
        json!(format!("^({}$", "(a|a)*".repeat(2_000))),
        json!("((a+)+)+$"),
        json!("a{99999999}"),
        json!("10.0.0.0/8 ".repeat(5_000)),
        json!("99999999999999999999999999999"),
        json!("-1"),
        json!("NaN"),
        json!("0x7fffffffd"),
        json!("2147483647d"),
        json!("gооd.example.com"),
        json!("good.example.com"),
        json!("*.example.com"),
        json!("good--k3x7a.example.com"),
        json!("/%00/../%2e%2e//good.example.com"),
        json!("0.0.0.0/0,::/0"),
        json!("javascript:alert(1)//"),
        json!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        json!("true"),
        json!(u64::MAX),
        json!(-1.5e300),
        json!(null),
        json!([[[["a"]]]]),
        json!({ "a": { "b": "c" } }),
    ]
}

/// Objects a file.
const PART: usize = 64;
