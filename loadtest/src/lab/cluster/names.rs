//! How the lab's names look in a cluster that it shares with others: an object with the names of the lab flows in, the same with names
//! that nobody else has flows out, and with the label by which all of it is found again. Pure.

use serde_json::{Map, Value, json};

/// The translation. Without a run, names stay as they are.
#[derive(Clone, Debug, Default)]
pub struct Names {
    run: Option<String>,
}

/// The label that every object of a run carries; its value is the run.
pub const RUN_LABEL: &str = "nearside.dev/lab-run";

impl Names {
    /// Names of a run that has the cluster for itself.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }

    /// Names of a run beside others: every name that is not within a namespace of the lab's own gets `run` for a suffix.
    #[must_use]
    pub fn of_run(run: &str) -> Self {
        Self { run: Some(run.to_owned()) }
    }

    /// What tells this run from others; `None` when there are none.
    #[must_use]
    pub fn run(&self) -> Option<&str> {
        self.run.as_deref()
    }

    /// A name of the whole cluster: of a node, a namespace, an IngressClass, a ClusterRole.
    #[must_use]
    pub fn global(&self, name: &str) -> String {
        let own = name.is_empty() || name == "default" || name.starts_with("kube-");
        match &self.run {
            Some(run) if !own => format!("{name}-{run}"),
            _ => name.to_owned(),
        }
    }

    /// A whole object.
    #[must_use]
    pub fn outward(&self, mut object: Value) -> Value {
        let Some(run) = &self.run else { return object };
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let mut global = vec!["/metadata/namespace", "/spec/ingressClassName"];
        match kind.as_str() {
            "Namespace" | "Node" | "IngressClass" | "ClusterRole" => global.push("/metadata/name"),
            "ClusterRoleBinding" => global.extend(["/metadata/name", "/roleRef/name"]),
            "Pod" => global.push("/spec/nodeName"),
            "Lease" => global.push("/spec/holderIdentity"),
            _ => {}
        }
        // A Lease in this namespace bears the name of its node.
        if kind == "Lease" && object["metadata"]["namespace"] == "kube-node-lease" {
            global.push("/metadata/name");
        }
        for pointer in global {
            self.rename(object.pointer_mut(pointer));
        }
        for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
            self.rename(subject.get_mut("namespace"));
        }
        for endpoint in object.get_mut("endpoints").and_then(Value::as_array_mut).into_iter().flatten() {
            self.rename(endpoint.get_mut("nodeName"));
            self.rename(endpoint.pointer_mut("/targetRef/namespace"));
        }
        self.rename(object.pointer_mut("/metadata/labels/kubernetes.io~1hostname"));
        self.rename(object.pointer_mut("/metadata/labels/kubernetes.io~1metadata.name"));
        self.rename(object.pointer_mut("/metadata/annotations/kubernetes.io~1ingress.class"));
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            let labels = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
            labels[RUN_LABEL] = json!(run);
        }
        object
    }

    /// A line of text in which objects are named `namespace/name`.
    #[must_use]
    pub fn text(&self, text: &str, namespaces: &[&str]) -> String {
        namespaces.iter().fold(text.to_owned(), |text, namespace| {
            let mut renamed = String::with_capacity(text.len());
            let mut rest = text.as_str();
            while let Some(at) = rest.find(namespace) {
                let (before, after) = (&rest[..at], &rest[at + namespace.len()..]);
                let starts = !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.');
                let ends = after.starts_with(['/', '.']);
                renamed.push_str(before);
                renamed.push_str(&if starts && ends { self.global(namespace) } else { (*namespace).to_owned() });
                rest = after;
            }
            renamed + rest
        })
    }

    fn rename(&self, slot: Option<&mut Value>) {
        if let Some(slot) = slot
            && let Some(name) = slot.as_str()
        {
            *slot = json!(self.global(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_could_have_too_gets_a_suffix() {
        let names = Names::of_run("k3x7a");
        let pod = json!({
            "kind": "Pod", "metadata": {"namespace": "shop", "name": "web-1", "labels": {"app": "web"}}, "spec": {"nodeName": "n1"},
        });
        assert_eq!(
            names.outward(pod.clone()),
            json!({
                "kind": "Pod",
                "metadata": {"namespace": "shop-k3x7a", "name": "web-1", "labels": {"app": "web", RUN_LABEL: "k3x7a"}},
                "spec": {"nodeName": "n1-k3x7a"},
            })
        );
        assert_eq!(Names::plain().outward(pod.clone()), pod);
        let binding = json!({
            "kind": "ClusterRoleBinding", "metadata": {"name": "reader"}, "roleRef": {"kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "namespace": "shop", "name": "reader"}],
        });
        let renamed = names.outward(binding);
        assert_eq!(
            (&renamed["roleRef"]["name"], &renamed["metadata"]["name"]),
            (&json!("reader-k3x7a"), &json!("reader-k3x7a"))
        );
        assert_eq!(
            renamed["subjects"][0],
            json!({"kind": "ServiceAccount", "namespace": "shop-k3x7a", "name": "reader"})
        );
        assert_eq!((names.global("kube-system"), names.global("default")), ("kube-system".into(), "default".into()));
    }

    #[test]
    fn in_texts_a_namespace_is_one_only_where_a_name_follows() {
        let names = Names::of_run("x");
        let text = "Route shop/shop and hostless-shop.router, not shopping, web.shop.apps is";
        assert_eq!(
            names.text(text, &["shop"]),
            "Route shop-x/shop and hostless-shop-x.router, not shopping, web.shop.apps is"
        );
    }
}
