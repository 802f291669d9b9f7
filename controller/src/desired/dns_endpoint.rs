//! The DNSEndpoint of a host: the wanted records and the object as it stands flow in, the object to write flows out, or
//! nothing where it is right already. Used by both writers.

use nearside_routing::object::DnsEndpointSpec;
use nearside_routing::placement::{Basis, dns_endpoint_name};
use nearside_routing::published::{
    BASIS_ANNOTATION, HOST_ANNOTATION as HOST, MANAGED_LABEL, MANAGED_VALUE, UNSEEN_ANNOTATION, WEIGHTS_ANNOTATION,
};
use nearside_routing::{HostPattern, Instance, Kind, NodeId, ROUTER_LABEL};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the DNSEndpoint of one host should be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DnsEndpointIntent {
    /// The host.
    pub(crate) pattern: HostPattern,
    /// The namespace of the first object that serves it, if any does.
    pub(crate) owner: Option<Arc<str>>,
    /// Its records.
    pub(crate) records: Records,
}

/// What should be published for a host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Records {
    /// These records.
    Publish {
        /// Never without endpoints.
        spec: DnsEndpointSpec,
        /// Why these nodes.
        basis: Basis,
        /// The annotation that weighs them; empty where they are equal.
        weights: String,
    },
    /// Whatever is published now.
    Hold(HoldReason),
}

/// Why the published records of a host are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HoldReason {
    /// No node has a ready router.
    NoReadyRouter,
    /// The nodes of the host have no address of a type that is published.
    NoAddress,
    /// An object claims the host but cannot be served.
    NotServed,
    /// Many of the nodes at once are called not Ready, and all of those still answer.
    NodesNotReady,
}

impl HoldReason {
    /// The word for conditions and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoReadyRouter => "NoReadyRouter",
            Self::NoAddress => "NoAddress",
            Self::NotServed => "NotServed",
            Self::NodesNotReady => "NodesNotReady",
        }
    }
}

/// The object to write in place of `current`, or `None` where `current` is right. Labels, annotations and finalizers of
/// others stay. The generation grows by one when the records change, and only then.
pub(crate) fn next_object(
    current: Option<&Value>,
    namespace: &str,
    instance: &Instance,
    pattern: &HostPattern,
    spec: &DnsEndpointSpec,
    basis: Basis,
    weights: &str,
) -> Option<Value> {
    let name = instance.name(&dns_endpoint_name(pattern));
    let mut next = current.cloned().unwrap_or_else(|| {
        json!({
            "apiVersion": Kind::DnsEndpoint.api_version(),
            "kind": Kind::DnsEndpoint.name(),
            "metadata": {"name": &*name, "namespace": namespace},
        })
    });
    let known = current.and_then(|object| object.get("spec")).cloned().unwrap_or_default();
    let same_records = serde_json::from_value::<DnsEndpointSpec>(known).is_ok_and(|known| known == *spec);
    let generation = current.map_or(0, generation);
    let generation = if same_records && generation > 0 { generation } else { generation + 1 };
    set(&mut next, "labels", MANAGED_LABEL, MANAGED_VALUE);
    if let Some(label) = instance.label() {
        set(&mut next, "labels", ROUTER_LABEL, label);
    }
    set(&mut next, "annotations", HOST, &pattern.to_string());
    set(&mut next, "annotations", GENERATION, &generation.to_string());
    set(&mut next, "annotations", BASIS_ANNOTATION, basis.as_str());
    set_or_remove(&mut next, WEIGHTS_ANNOTATION, weights);
    if !same_records {
        let unseen = current.map(|current| unseen(current, spec)).unwrap_or_default();
        set_or_remove(&mut next, UNSEEN_ANNOTATION, &unseen);
        let endpoints = serde_json::to_value(&spec.endpoints).unwrap_or_default();
        next["spec"] = json!({ "endpoints": endpoints });
    }
    (current != Some(&next)).then_some(next)
}

/// The target of an object that this installation wrote for the host that it names, and may change and delete; `None` for
/// any other.
pub(crate) fn is_ours(object: &Value, instance: &Instance) -> Option<Arc<str>> {
    let name = object.pointer("/metadata/name").and_then(Value::as_str)?;
    let label = object.pointer("/metadata/labels").and_then(|labels| labels.get(ROUTER_LABEL)).and_then(Value::as_str);
    let target = dns_endpoint_name(&HostPattern::parse(annotation(object, HOST)?).ok()?);
    (*instance.name(&target) == *name && label == instance.label()).then_some(target)
}

/// The host and the generation that an object states, for logs.
pub(crate) fn summary(object: &Value) -> (String, u64) {
    (annotation(object, HOST).unwrap_or_default().to_owned(), generation(object))
}

/// The nodes of new records whose aliases are not in DNS yet, as far as publishers have told what they took of the present ones.
fn unseen(current: &Value, spec: &DnsEndpointSpec) -> String {
    let number = |pointer: &str| current.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let observed = number("/status/observedGeneration");
    if observed == 0 {
        // Nobody tells.
        return String::new();
    }
    let present: DnsEndpointSpec =
        current.get("spec").and_then(|spec| serde_json::from_value(spec.clone()).ok()).unwrap_or_default();
    let mut seen = nodes_of(&present);
    if observed < number("/metadata/generation") {
        match annotation(current, UNSEEN_ANNOTATION) {
            Some(unseen) => seen.retain(|node| unseen.split(',').all(|id| id != node.as_str())),
            None => return String::new(),
        }
    }
    let nodes = nodes_of(spec);
    let unseen: Vec<&str> = nodes.difference(&seen).map(NodeId::as_str).collect();
    match unseen.len() {
        0 => NO_NODE.to_owned(),
        all if all == nodes.len() => String::new(),
        _ => unseen.join(","),
    }
}

/// The nodes that have an alias in these records.
fn nodes_of(spec: &DnsEndpointSpec) -> BTreeSet<NodeId> {
    spec.endpoints.iter().filter_map(|set| NodeId::split_alias(&set.dns_name)).map(|(_, node)| node).collect()
}

fn generation(object: &Value) -> u64 {
    annotation(object, GENERATION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn annotation<'o>(object: &'o Value, name: &str) -> Option<&'o str> {
    object.get("metadata")?.get("annotations")?.get(name)?.as_str()
}

fn set(object: &mut Value, map: &str, name: &str, value: &str) {
    let entries = &mut object["metadata"][map];
    if !entries.is_object() {
        *entries = Value::Object(Map::new());
    }
    entries[name] = value.into();
}

/// An annotation without a value is none.
fn set_or_remove(object: &mut Value, name: &str, value: &str) {
    if !value.is_empty() {
        set(object, "annotations", name, value);
    } else if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.remove(name);
    }
}

const GENERATION: &str = "nearside.dev/gen";
/// In the place of nodes; no node has an id of this length.
const NO_NODE: &str = "none";

#[cfg(test)]
mod tests {
    use super::*;
    use nearside_routing::object::RecordSet;
    use proptest::prelude::*;

    fn spec(targets: &[&str]) -> DnsEndpointSpec {
        DnsEndpointSpec {
            endpoints: vec![RecordSet {
                dns_name: "video.example.com".into(),
                record_type: "A".into(),
                targets: targets.iter().map(|target| (*target).to_owned()).collect(),
                record_ttl: Some(30),
            }],
        }
    }

    fn pattern() -> HostPattern {
        HostPattern::parse("video.example.com").unwrap()
    }

    fn next(current: Option<&Value>, targets: &[&str], basis: Basis) -> Option<Value> {
        next_object(current, "nearside", &Instance::default(), &pattern(), &spec(targets), basis, "")
    }

    fn is_default(object: &Value) -> bool {
        is_ours(object, &Instance::default()).is_some()
    }

    #[test]
    fn weights_are_written_and_removed_without_a_new_generation() {
        let weighed = |current: Option<&Value>, weights: &str| {
            let spec = spec(&["198.18.0.1", "198.18.0.2"]);
            next_object(current, "nearside", &Instance::default(), &pattern(), &spec, Basis::AllServices, weights)
        };
        let first = weighed(None, "").unwrap();
        let weights = r#"{"198.18.0.1":2,"198.18.0.2":1}"#;
        let second = weighed(Some(&first), weights).unwrap();
        assert_eq!(annotation(&second, WEIGHTS_ANNOTATION), Some(weights));
        assert_eq!((summary(&second).1, &second["spec"]), (1, &first["spec"]));
        assert_eq!(weighed(Some(&second), weights), None);
        assert_eq!(weighed(Some(&second), ""), Some(first));
    }

    #[test]
    fn the_generation_counts_changes_of_the_records_only() {
        let first = next(None, &["198.18.0.1"], Basis::AllServices).unwrap();
        assert_eq!(summary(&first), ("video.example.com".into(), 1));
        assert!(is_default(&first));
        assert_eq!(next(Some(&first), &["198.18.0.1"], Basis::AllServices), None);
        let other_basis = next(Some(&first), &["198.18.0.1"], Basis::Terminating).unwrap();
        assert_eq!(summary(&other_basis).1, 1);
        let moved = next(Some(&first), &["198.18.0.2"], Basis::AllServices).unwrap();
        assert_eq!(summary(&moved).1, 2);
    }

    #[test]
    fn nodes_are_called_unseen_from_when_they_come_until_a_publisher_has_taken_them() {
        let ids = [1, 2, 3].map(|number| NodeId::of(&format!("n{number}")).to_string());
        let records = |nodes: &[usize]| {
            let alias = |node: &usize| RecordSet {
                dns_name: format!("video--{}.example.com", ids[node - 1]),
                ..spec(&[&format!("198.18.0.{node}")]).endpoints.remove(0)
            };
            DnsEndpointSpec { endpoints: nodes.iter().map(alias).collect() }
        };
        let write = |current: &Value, nodes: &[usize]| {
            let (default, records) = (Instance::default(), records(nodes));
            let next = next_object(Some(current), "nearside", &default, &pattern(), &records, Basis::AllServices, "");
            let mut next = next.unwrap();
            next["metadata"]["generation"] = summary(&next).1.into();
            next
        };
        let take =
            |object: &mut Value| object["status"] = json!({"observedGeneration": object["metadata"]["generation"]});
        let unseen = |object: &Value| annotation(object, UNSEEN_ANNOTATION).map(str::to_owned);
        let mut object = next(None, &["198.18.0.9"], Basis::AllServices).unwrap();
        object = write(&object, &[1]);
        object = write(&object, &[1, 2]);
        assert_eq!(unseen(&object), None, "nobody tells what is taken");
        take(&mut object);
        object = write(&object, &[1, 2, 3]);
        assert_eq!(unseen(&object).as_deref(), Some(&*ids[2]));
        object = write(&object, &[2, 3]);
        assert_eq!(unseen(&object).as_deref(), Some(&*ids[2]), "it is still not taken");
        let only_new = write(&object, &[3]);
        assert_eq!(unseen(&only_new), None, "there is none to prefer");
        take(&mut object);
        object = write(&object, &[3]);
        assert_eq!(unseen(&object).as_deref(), Some("none"));
        object = write(&object, &[3, 1]);
        assert_eq!(unseen(&object).as_deref(), Some(&*ids[0]));
    }

    #[test]
    fn what_others_wrote_into_the_object_stays() {
        let mut current = next(None, &["198.18.0.1"], Basis::AllServices).unwrap();
        current["metadata"]["finalizers"] = json!(["nearside.dev/dns"]);
        current["metadata"]["annotations"]["example.com/note"] = "keep".into();
        current["metadata"]["labels"] = Value::Null;
        let next = next(Some(&current), &["198.18.0.2"], Basis::AllServices).unwrap();
        assert_eq!(next["metadata"]["finalizers"], json!(["nearside.dev/dns"]));
        assert_eq!(next["metadata"]["annotations"]["example.com/note"], "keep");
        assert_eq!(next["metadata"]["labels"][MANAGED_LABEL], MANAGED_VALUE);
    }

    #[test]
    fn an_object_for_another_host_than_its_name_says_is_not_ours() {
        let mut object = next(None, &["198.18.0.1"], Basis::AllServices).unwrap();
        object["metadata"]["annotations"][HOST] = "bank.example.com".into();
        assert!(!is_default(&object));
        assert!(!is_default(&json!({"metadata": {"name": "mine"}})));
    }

    #[test]
    fn an_object_of_another_installation_is_not_ours() {
        let public = Instance::of("public");
        let write = |instance: &Instance| {
            next_object(None, "nearside", instance, &pattern(), &spec(&["198.18.0.1"]), Basis::AllServices, "").unwrap()
        };
        let (default, other) = (write(&Instance::default()), write(&public));
        assert_ne!(default["metadata"]["name"], other["metadata"]["name"]);
        assert_eq!(is_ours(&other, &public), is_ours(&default, &Instance::default()));
        assert_eq!((is_ours(&default, &public), is_ours(&other, &Instance::default())), (None, None));
    }

    proptest! {
        #[test]
        fn a_second_write_of_the_same_changes_nothing_and_generations_never_fall(
            steps in proptest::collection::vec((0_u8..3, 0_u8..2), 1..20)
        ) {
            let mut current: Option<Value> = None;
            for (address, basis) in steps {
                let target = format!("198.18.0.{address}");
                let basis = if basis == 0 { Basis::AllServices } else { Basis::NoReadyPods };
                let before = current.as_ref().map_or(0, generation);
                let records_differ = current.as_ref().is_none_or(|object| {
                    object["spec"]["endpoints"][0]["targets"][0] != target.as_str()
                });
                if let Some(object) = next(current.as_ref(), &[&target], basis) {
                    current = Some(object);
                }
                let object = current.as_ref().unwrap();
                prop_assert_eq!(generation(object), before + u64::from(records_differ));
                prop_assert_eq!(next(Some(object), &[&target], basis), None);
            }
        }
    }
}
