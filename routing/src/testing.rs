//! For tests of this crate: YAML as a person writes it flows in, objects flow out.

use crate::admission::{AdmissionRules, Ownership};
use crate::index::{Change, Index, IndexConfig, Snapshot};
use crate::object::{Kind, Object};
use serde_json::Value;
use std::sync::Arc;

/// The objects of a YAML text of several documents.
pub(crate) fn objects(yaml: &str) -> Vec<Object> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    documents
        .into_iter()
        .map(|document| {
            let text = |field: &str| document[field].as_str().unwrap_or_default().to_owned();
            let kind = Kind::from_manifest(&text("apiVersion"), &text("kind")).unwrap();
            Object::decode(kind, document).unwrap()
        })
        .collect()
}

/// An index that admits wildcards of Routes.
pub(crate) fn config() -> IndexConfig {
    ruled(AdmissionRules { wildcard_routes: true, ..AdmissionRules::default() })
}

/// The same, with a rule of ownership.
pub(crate) fn owned(ownership: Ownership) -> IndexConfig {
    ruled(AdmissionRules { wildcard_routes: true, ownership, ..AdmissionRules::default() })
}

/// An index with these rules.
pub(crate) fn ruled(admission: AdmissionRules) -> IndexConfig {
    IndexConfig { admission, ..IndexConfig::default() }
}

/// The snapshot of these objects.
pub(crate) fn snapshot(config: IndexConfig, yaml: &str) -> Arc<Snapshot> {
    let mut index = Index::new(config);
    apply(&mut index, yaml);
    index.publish()
}

/// Puts the objects of a YAML text into an index.
pub(crate) fn apply(index: &mut Index, yaml: &str) {
    for object in objects(yaml) {
        index.apply(Change::Apply(object));
    }
}

/// A Route in namespace `ns`, created in this second of 2025-01-01, with more `spec` as JSON.
pub(crate) fn route(namespace: &str, name: &str, second: u8, spec: &str) -> String {
    format!(
        "---\napiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {{namespace: {namespace}, name: {name}, uid: {namespace}-{name}, \
         creationTimestamp: '2025-01-01T00:00:{second:02}Z'}}\nspec: {{to: {{kind: Service, name: {name}}}, {spec}}}\n"
    )
}

/// An Ingress of class `nearside`, as [`route`].
pub(crate) fn ingress(namespace: &str, name: &str, second: u8, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{namespace: {namespace}, name: {name}, uid: {namespace}-{name}, \
         creationTimestamp: '2025-01-01T00:00:{second:02}Z'}}\nspec: {{ingressClassName: nearside, {spec}}}\n"
    )
}

/// One rule of an Ingress as flow YAML.
pub(crate) fn rule(host: &str, paths: &[(&str, &str, &str)]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|(kind, path, service)| {
            format!(
                "{{path: '{path}', pathType: {kind}, backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}"
            )
        })
        .collect();
    format!("{{host: '{host}', http: {{paths: [{}]}}}}", paths.join(", "))
}

/// The IngressClass of the controller.
pub(crate) const CLASS: &str = "---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: nearside}\n\
                                spec: {controller: nearside.dev/ingress}\n";
