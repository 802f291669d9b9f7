//! Targets of whole objects: JSON as the API serves it goes through claims, admission and compilation, beside an object of somebody
//! else, which must be served all the same.

use crate::admission::{AdmissionRules, HostRules};
use crate::claim::{Claims, ingress_claims, known_annotations, route_claims};
use crate::hostname::HostPattern;
use crate::index::{Change, Index, IndexConfig, Snapshot};
use crate::object::{Kind, Object, ObjectKey};
use crate::path::NormalPath;
use crate::table::{Decision, Scheme};
use serde_json::{Value, json};

/// Objects in JSON, one after the other.
pub fn objects(bytes: &[u8]) {
    let documents = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let objects: Vec<Object> = documents.map_while(Result::ok).take(8).filter_map(object).collect();
    let mut index = with_neighbour();
    let before = index.publish();
    served(&before);
    for object in &objects {
        same_when_written(object);
        if takes_neighbours_host(object) {
            return;
        }
        index.apply(Change::Apply(object.clone()));
        served(&index.publish());
    }
    // In any order an index ends where a fresh start would.
    let mut fresh = with_neighbour();
    objects.iter().rev().for_each(|object| fresh.apply(Change::Apply(object.clone())));
    let keys: std::collections::BTreeSet<ObjectKey> = objects.iter().map(Object::key).collect();
    let (ended, started) = (index.publish(), fresh.publish());
    served(&started);
    if keys.len() == objects.len() {
        let verdicts = |snapshot: &Snapshot| snapshot.verdicts.values().cloned().collect::<Vec<_>>();
        let sorted = |snapshot: &Snapshot| {
            let mut all = verdicts(snapshot);
            all.sort_by(|one, other| one.object.cmp(&other.object));
            all
        };
        assert_eq!(sorted(&ended), sorted(&started));
    }
    keys.into_iter().for_each(|key| index.apply(Change::Delete(key)));
    let after = index.publish();
    served(&after);
    assert_eq!(
        (after.routes.len(), after.claimed.len()),
        (before.routes.len(), before.claimed.len()),
        "something is left"
    );
}

/// Annotations, a line each: a name, or a number that stands for one of those that are read, a blank and the value.
pub fn annotations(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let known = known_annotations();
    let lines = text.split('\n').take(32).filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        let numbered = name.parse::<usize>().ok().map(|number| known[number % known.len()]);
        Some((numbered.unwrap_or(name).to_owned(), Value::from(value.replace("\\n", "\n"))))
    });
    let annotations: serde_json::Map<String, Value> = lines.collect();
    let mut index = with_neighbour();
    for (kind, mut value) in [(Kind::Route, route()), (Kind::Ingress, ingress())] {
        value["metadata"]["annotations"] = Value::Object(annotations.clone());
        let Ok(object) = Object::decode(kind, value) else { continue };
        same_when_written(&object);
        if takes_neighbours_host(&object) {
            continue;
        }
        let key = object.key();
        index.apply(Change::Apply(object));
        let snapshot = index.publish();
        served(&snapshot);
        assert!(snapshot.verdicts.contains_key(&key), "an annotation makes an object nobody's");
    }
}

fn object(value: Value) -> Option<Object> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let kind = Kind::from_manifest(text("apiVersion"), text("kind"))?;
    Object::decode(kind, value).ok()
}

/// What is kept on disk is what was read.
fn same_when_written(object: &Object) {
    let text = object.encode().expect("an object that was decoded");
    assert_eq!(Object::decode_text(object.kind(), &text).as_ref(), Ok(object));
}

/// What an object asks for, where it asks for a host; what is wrong with it is told in few words.
fn claims(object: &Object) -> Option<Claims> {
    let claims = match object {
        Object::Route(route) => route_claims(route, &AdmissionRules::default()),
        Object::Ingress(ingress) => ingress_claims(ingress, &HostRules::default()),
        _ => return None,
    };
    assert!(claims.problems.len() <= 1000, "{} problems", claims.problems.len());
    for problem in &claims.problems {
        let length = problem.field.len() + problem.message.len();
        assert!(length <= 8 * 1024, "{length} bytes: {problem}");
    }
    Some(claims)
}

/// Whether an object may rightly take the host of the good one, being older, or is in its place.
fn takes_neighbours_host(object: &Object) -> bool {
    let claimed = claims(object)
        .is_some_and(|claims| claims.hosts.iter().any(|pattern| *pattern != HostPattern::Any && pattern.covers(HOST)));
    claimed || object.key().namespace.as_ref() == "good"
}

fn with_neighbour() -> Index {
    let mut index = Index::new(IndexConfig::default());
    let class = json!({ "metadata": { "name": "nearside" }, "spec": { "controller": crate::index::CONTROLLER } });
    let good = json!({
        "metadata": { "namespace": "good", "name": "web", "creationTimestamp": "2020-01-01T00:00:00Z" },
        "spec": { "host": HOST, "to": { "kind": "Service", "name": "web" } }
    });
    for (kind, value) in [(Kind::IngressClass, class), (Kind::Route, good)] {
        index.apply(Change::Apply(Object::decode(kind, value).expect("every field has its type")));
    }
    index
}

fn served(snapshot: &Snapshot) {
    let verdict = snapshot.verdicts.get(&ObjectKey::new(Kind::Route, "good", "web")).expect("a verdict");
    assert_eq!(verdict.all_problems().next(), None);
    let path = NormalPath::parse("/any").expect("a path");
    let Decision::Serve(route) = snapshot.routes.find(Scheme::Http, HOST, &path).decision else {
        panic!("somebody else's object is not served")
    };
    assert_eq!(&*route.source.namespace, "good");
}

/// A Route that holds whatever annotations are to be read.
fn route() -> Value {
    json!({
        "metadata": { "namespace": "ns", "name": "any", "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": {
            "host": "any.test", "path": "/path", "to": { "kind": "Service", "name": "web", "weight": 10 },
            "alternateBackends": [{ "kind": "Service", "name": "other", "weight": 5 }],
            "tls": { "termination": "edge", "insecureEdgeTerminationPolicy": "Allow" }
        }
    })
}

/// An Ingress that does the same.
fn ingress() -> Value {
    let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
    json!({
        "metadata": { "namespace": "ns", "name": "any", "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": {
            "ingressClassName": "nearside",
            "rules": [{ "host": "other.test", "http": { "paths": [{ "path": "/(a)/path", "pathType": "ImplementationSpecific", "backend": backend }] } }]
        }
    })
}

const HOST: &str = "good.test";
