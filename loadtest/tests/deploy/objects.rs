//! Kubernetes objects out of what Helm and kustomize print: YAML flows in, objects by what identifies them flow out, in a form in
//! which equal objects compare equal.

use crate::tools::{ok, tool};
use serde_json::Value;
use std::collections::BTreeMap;

/// Objects by kind, namespace and name.
pub(crate) type Objects = BTreeMap<String, Value>;

/// What the chart renders with these files of values, below the root of the repository.
pub(crate) fn rendered(values: &[&str]) -> Objects {
    parse(&ok(&mut template(values)))
}

/// `helm template` with these files of values.
pub(crate) fn template(values: &[&str]) -> std::process::Command {
    let mut helm = tool("helm");
    helm.args(["template", "nearside", "deploy/chart", "--namespace", "nearside"]);
    for file in values {
        helm.args(["--values", file]);
    }
    helm
}

/// What an overlay consists of.
pub(crate) fn kustomized(overlay: &str) -> Objects {
    parse(&ok(tool("kubectl").args(["kustomize", &format!("deploy/{overlay}")])))
}

pub(crate) fn parse(text: &str) -> Objects {
    let mut objects = Objects::new();
    for document in format!("\n{text}").split("\n---") {
        let value: Value = serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error}\n{document}"));
        if value.is_null() {
            continue;
        }
        let word = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = format!("{} {}/{}", word("/kind"), word("/metadata/namespace"), word("/metadata/name"));
        let mut value = value;
        sort_variables(&mut value);
        assert!(objects.insert(key.clone(), value).is_none(), "{key} is there twice");
    }
    objects
}

/// The variables of a container are a set, in whatever order they are written.
fn sort_variables(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(variables) = fields.get_mut("env").and_then(Value::as_array_mut) {
                variables.sort_by_key(|variable| variable["name"].as_str().unwrap_or_default().to_owned());
            }
            fields.values_mut().for_each(sort_variables);
        }
        Value::Array(items) => items.iter_mut().for_each(sort_variables),
        _ => {}
    }
}
