//! The index: claims pass on, parts fail alone, and any order of changes ends in what a fresh start would give.

mod canaries;
mod client_certificates;
mod histories;
mod neighbours;
mod parts;
mod passwords;

use crate::admission::Ownership;
use crate::endpoints::{PortSelector, ServiceKey};
use crate::hostname::HostPattern;
use crate::index::{Change, EndpointSource, Index, IndexConfig, Snapshot};
use crate::object::{Kind, Object, ObjectKey};
use crate::testing::{CLASS, apply, config, ingress, objects, owned, route, rule, snapshot};
use crate::verdict::{Outcome, Reason};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn reason(snapshot: &Snapshot, kind: Kind, namespace: &str, name: &str) -> Option<Reason> {
    match &snapshot.verdicts[&ObjectKey::new(kind, namespace, name)].outcome {
        Outcome::Admitted => None,
        Outcome::Rejected(problem) => Some(problem.reason),
    }
}

fn route_reason(snapshot: &Snapshot, namespace: &str, name: &str) -> Option<Reason> {
    reason(snapshot, Kind::Route, namespace, name)
}

#[test]
fn the_oldest_namespace_owns_a_host_and_deletion_passes_it_on() {
    let mut index = Index::new(config());
    apply(&mut index, &route("young", "b", 2, "host: h.test"));
    assert_eq!(route_reason(&index.publish(), "young", "b"), None);
    apply(&mut index, &route("elder", "a", 1, "host: h.test"));
    apply(&mut index, &route("young", "c", 3, "host: h.test, path: /c"));
    let contested = index.publish();
    assert_eq!(route_reason(&contested, "elder", "a"), None);
    assert_eq!(route_reason(&contested, "young", "b"), Some(Reason::HostAlreadyClaimed));
    assert_eq!(route_reason(&contested, "young", "c"), Some(Reason::HostAlreadyClaimed));
    let Outcome::Rejected(problem) = &contested.verdicts[&ObjectKey::new(Kind::Route, "young", "b")].outcome else {
        panic!("admitted")
    };
    assert!(!problem.message.contains("elder"), "the other namespace is not named: {problem}");
    index.apply(Change::Delete(ObjectKey::new(Kind::Route, "elder", "a")));
    let passed_on = index.publish();
    assert_eq!(route_reason(&passed_on, "young", "b"), None);
    assert_eq!(route_reason(&passed_on, "young", "c"), None);
    assert!(!passed_on.verdicts.contains_key(&ObjectKey::new(Kind::Route, "elder", "a")));
}

#[test]
fn within_a_namespace_a_path_belongs_to_the_oldest_route() {
    let yaml = [
        route("ns", "b", 2, "host: h.test, path: /x"),
        route("ns", "a", 1, "host: h.test, path: /x"),
        route("ns", "c", 3, "host: h.test, path: /y"),
    ];
    let snapshot = snapshot(config(), &yaml.concat());
    assert_eq!(route_reason(&snapshot, "ns", "a"), None);
    assert_eq!(route_reason(&snapshot, "ns", "b"), Some(Reason::HostAlreadyClaimed));
    assert_eq!(route_reason(&snapshot, "ns", "c"), None);
}

#[test]
fn namespaces_may_share_a_host_where_the_operator_says_so() {
    let config = owned(Ownership::InterNamespace);
    let yaml = [
        route("a", "root", 1, "host: h.test"),
        route("b", "sub", 2, "host: h.test, path: /sub"),
        route("b", "root", 3, "host: h.test"),
    ];
    let snapshot = snapshot(config, &yaml.concat());
    assert_eq!(route_reason(&snapshot, "b", "sub"), None);
    assert_eq!(route_reason(&snapshot, "b", "root"), Some(Reason::HostAlreadyClaimed));
}

#[test]
fn a_host_claimed_by_both_kinds_belongs_to_the_older_kind() {
    let web = ingress("ns", "web", 2, &format!("rules: [{}]", rule("h.test", &[("Prefix", "/", "web")])));
    let snapshot = snapshot(config(), &[CLASS, &route("ns", "a", 1, "host: h.test"), &web].concat());
    assert_eq!(route_reason(&snapshot, "ns", "a"), None);
    assert_eq!(reason(&snapshot, Kind::Ingress, "ns", "web"), Some(Reason::HostAlreadyClaimed));
}

#[test]
fn a_wildcard_and_the_hosts_below_it_belong_to_one_namespace() {
    let wild =
        |namespace: &str, second| route(namespace, "wild", second, "host: any.d.test, wildcardPolicy: Subdomain");
    let exact = |namespace: &str, second| route(namespace, "exact", second, "host: x.d.test");
    let both = |a: &str, b: &str| snapshot(config(), &[a, b].concat());
    let same = both(&wild("ns", 1), &exact("ns", 2));
    assert_eq!((route_reason(&same, "ns", "wild"), route_reason(&same, "ns", "exact")), (None, None));
    let younger_exact = both(&wild("a", 1), &exact("b", 2));
    assert_eq!(route_reason(&younger_exact, "b", "exact"), Some(Reason::HostAlreadyClaimed));
    let younger_wild = both(&wild("a", 2), &exact("b", 1));
    assert_eq!(route_reason(&younger_wild, "a", "wild"), Some(Reason::HostAlreadyClaimed));
}

#[test]
fn nobody_takes_the_alias_of_anothers_host() {
    let yaml = [route("a", "video", 1, "host: video.d.test"), route("b", "thief", 2, "host: video--abcde.d.test")];
    let contested = snapshot(config(), &yaml.concat());
    assert_eq!(route_reason(&contested, "b", "thief"), Some(Reason::HostAlreadyClaimed));
    let alone = snapshot(config(), &yaml[1]);
    assert_eq!(route_reason(&alone, "b", "thief"), None);
}

#[test]
fn what_cannot_be_served_has_a_reason_that_names_the_field() {
    let cases = [
        ("path: /a", Reason::NoHostValue, "spec.host"),
        ("host: a_b.test", Reason::InvalidHost, "spec.host"),
        ("host: h.test, path: '/%00'", Reason::InvalidPath, "spec.path"),
        ("host: h.test, tls: {termination: sideways}", Reason::ExtendedValidationFailed, "spec.tls.termination"),
        (
            "host: h.test, tls: {termination: passthrough, insecureEdgeTerminationPolicy: Allow}",
            Reason::ExtendedValidationFailed,
            "spec.tls.insecureEdgeTerminationPolicy",
        ),
        ("host: h.test, path: /x, tls: {termination: passthrough}", Reason::RouteNotAdmitted, "spec.path"),
        ("host: h.test, wildcardPolicy: All", Reason::RouteNotAdmitted, "spec.wildcardPolicy"),
        (
            "host: h.test, tls: {termination: edge, certificate: garbage, key: garbage}",
            Reason::ExtendedValidationFailed,
            "spec.tls.certificate",
        ),
        (
            "host: h.test, tls: {termination: reencrypt, destinationCACertificate: garbage}",
            Reason::ExtendedValidationFailed,
            "spec.tls.destinationCACertificate",
        ),
        (
            "host: h.test, tls: {termination: edge, externalCertificate: {name: gone}}",
            Reason::ExternalCertificateGetFailed,
            "spec.tls.externalCertificate.name",
        ),
    ];
    for (spec, expected, field) in cases {
        let yaml = [route("ns", "bad", 1, spec), route("ns", "good", 2, "host: good.test")];
        let snapshot = snapshot(config(), &yaml.concat());
        let Outcome::Rejected(problem) = &snapshot.verdicts[&ObjectKey::new(Kind::Route, "ns", "bad")].outcome else {
            panic!("admitted: {spec}")
        };
        assert_eq!((problem.reason, problem.field.as_str()), (expected, field), "{spec}");
        assert_eq!(route_reason(&snapshot, "ns", "good"), None, "others are served: {spec}");
        assert!(snapshot.routes.host(&HostPattern::parse("h.test").unwrap()).is_none(), "{spec}");
    }
}

/// A manifest with one more annotation.
fn with_annotation(yaml: &str, name: &str, value: &str) -> String {
    match yaml.contains("annotations: {") {
        true => yaml.replacen("annotations: {", &format!("annotations: {{{name}: '{value}', "), 1),
        false => yaml.replacen("metadata: {", &format!("metadata: {{annotations: {{{name}: '{value}'}}, "), 1),
    }
}

#[test]
fn the_regular_expressions_of_one_host_are_bounded_and_the_older_are_served() {
    let expressions = |name: &str, second: u8| {
        let paths: Vec<String> = (0..3).map(|number| format!("/{name}{number}[a-z]{{400}}")).collect();
        let paths: Vec<_> = paths.iter().map(|path| ("ImplementationSpecific", path.as_str(), "web")).collect();
        let yaml = ingress("shop", name, second, &format!("rules: [{}]", rule("a.example.com", &paths)));
        with_annotation(&yaml, "nearside.dev/use-regex", "true")
    };
    let names: Vec<String> = (0..12).map(|number| format!("web{number}")).collect();
    let all: String = names.iter().zip(0..).map(|(name, second)| expressions(name, second)).collect();
    let snapshot = snapshot(IndexConfig::default(), &(CLASS.to_owned() + &all));
    assert_eq!(reason(&snapshot, Kind::Ingress, "shop", "web0"), None);
    assert_eq!(reason(&snapshot, Kind::Ingress, "shop", "web11"), Some(Reason::InvalidPath));
}

#[test]
fn annotations_of_ingresses_that_a_route_cannot_follow_are_told() {
    for (name, field) in [
        ("nearside.dev/use-regex", "spec.path"),
        ("nginx.ingress.kubernetes.io/force-ssl-redirect", "spec.tls.insecureEdgeTerminationPolicy"),
    ] {
        let yaml = with_annotation(&route("shop", "web", 1, "host: a.example.com"), name, "true");
        let snapshot = snapshot(IndexConfig::default(), &yaml);
        let verdict = &snapshot.verdicts[&ObjectKey::new(Kind::Route, "shop", "web")];
        assert_eq!((&verdict.outcome, verdict.problems[0].field.as_str()), (&Outcome::Admitted, field), "{name}");
    }
}

#[test]
fn a_www_host_that_is_held_is_told_and_one_that_is_free_does_not_stand_for_the_objects_own() {
    let www = |yaml: &str| with_annotation(yaml, "nearside.dev/from-to-www-redirect", "true");
    let held = route("other", "held", 1, "host: www.a.example.com");
    let snapshot_of = |yaml: &str| snapshot(IndexConfig::default(), yaml);
    let first = snapshot_of(&(held.clone() + &www(&route("shop", "web", 2, "host: a.example.com"))));
    assert_eq!(route_reason(&first, "shop", "web"), None);
    let verdict = &first.verdicts[&ObjectKey::new(Kind::Route, "shop", "web")];
    assert_eq!(verdict.problems[0].reason, Reason::HostAlreadyClaimed);
    let second = snapshot_of(&(held + &www(&route("shop", "web", 2, "host: www.a.example.com"))));
    assert_eq!(
        route_reason(&second, "shop", "web"),
        Some(Reason::HostAlreadyClaimed),
        "a.example.com alone is nothing"
    );
}

#[test]
fn a_host_of_300_characters_is_refused_and_not_repeated_whole() {
    let snapshot = snapshot(config(), &route("ns", "long", 1, &format!("host: {}", "a".repeat(300))));
    assert_eq!(route_reason(&snapshot, "ns", "long"), Some(Reason::InvalidHost));
    assert!(snapshot.verdicts[&ObjectKey::new(Kind::Route, "ns", "long")].host.len() <= 253);
}

#[test]
fn a_route_with_a_bad_certificate_keeps_its_claim() {
    let yaml = [
        route("old", "bad", 1, "host: h.test, tls: {termination: edge, certificate: garbage, key: garbage}"),
        route("young", "good", 2, "host: h.test"),
    ];
    let snapshot = snapshot(config(), &yaml.concat());
    assert_eq!(route_reason(&snapshot, "old", "bad"), Some(Reason::ExtendedValidationFailed));
    assert_eq!(route_reason(&snapshot, "young", "good"), Some(Reason::HostAlreadyClaimed));
}

#[test]
fn a_host_stays_claimed_until_nobody_asks_for_it() {
    let mut index = Index::new(config());
    let claimed = |index: &mut Index| {
        let mut claimed: Vec<String> = index.publish().claimed.keys().map(ToString::to_string).collect();
        claimed.sort();
        claimed
    };
    let broken = "host: h.test, tls: {termination: edge, certificate: garbage, key: garbage}";
    apply(&mut index, &route("ns", "a", 1, broken));
    assert_eq!(claimed(&mut index), ["h.test"], "its certificate is unusable, its claim is not");
    apply(&mut index, &route("ns", "a", 1, "host: h.test, path: '/%00'"));
    assert_eq!(claimed(&mut index), ["h.test"], "nor does a bad path give the host up");
    let rules = format!(
        "rules: [{}, {}]",
        rule("i.test", &[("Prefix", "/", "web")]),
        rule("j.test", &[("Prefix", "no", "web")])
    );
    apply(&mut index, &[CLASS, &ingress("ns", "web", 2, &rules)].concat());
    assert_eq!(claimed(&mut index), ["h.test", "i.test", "j.test"]);
    apply(&mut index, &route("other", "wild", 3, "host: any.x.test, wildcardPolicy: Subdomain"));
    apply(&mut index, &route("ns", "x", 1, "host: a.x.test"));
    assert_eq!(
        claimed(&mut index),
        ["a.x.test", "h.test", "i.test", "j.test"],
        "what was lost to an older claim is not held"
    );
    index.apply(Change::Delete(ObjectKey::new(Kind::Route, "ns", "a")));
    index.apply(Change::Delete(ObjectKey::new(Kind::Route, "ns", "x")));
    index.apply(Change::Delete(ObjectKey::new(Kind::Ingress, "ns", "web")));
    assert_eq!(claimed(&mut index), ["*.x.test"]);
}

#[test]
fn an_unknown_annotation_value_is_a_problem_and_the_default_holds() {
    let mut index = Index::new(config());
    let Object::Route(mut bad) = objects(&route("ns", "a", 1, "host: h.test")).remove(0) else { panic!() };
    bad.metadata.annotations.insert("nearside.dev/on-miss".into(), "teleport".into());
    index.apply(Change::Apply(Object::Route(bad)));
    let snapshot = index.publish();
    let verdict = &snapshot.verdicts[&ObjectKey::new(Kind::Route, "ns", "a")];
    assert_eq!(verdict.outcome, Outcome::Admitted);
    assert_eq!(verdict.problems[0].field, "metadata.annotations[\"nearside.dev/on-miss\"]");
}

#[test]
fn each_rule_of_an_ingress_stands_for_itself() {
    let rules = [
        rule("good.test", &[("Prefix", "/", "web"), ("Prefix", "nope", "web"), ("Regex", "/r", "web")]),
        rule("bad_host.test", &[("Prefix", "/", "web")]),
    ];
    let spec = format!("rules: [{}], tls: [{{hosts: [good.test], secretName: gone}}]", rules.join(", "));
    let snapshot = snapshot(config(), &[CLASS.to_owned(), ingress("ns", "web", 1, &spec)].concat());
    let verdict = &snapshot.verdicts[&ObjectKey::new(Kind::Ingress, "ns", "web")];
    assert_eq!(verdict.outcome, Outcome::Admitted);
    let fields: Vec<&str> = verdict.problems.iter().map(|p| p.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.rules[0].http.paths[1].path",
            "spec.rules[0].http.paths[2].pathType",
            "spec.rules[1].host",
            "spec.tls[0].secretName",
        ]
    );
}

#[test]
fn the_class_of_an_ingress_is_followed() {
    let web = ingress("ns", "web", 1, &format!("rules: [{}]", rule("h.test", &[("Prefix", "/", "web")])));
    let mut index = Index::new(config());
    apply(&mut index, &web);
    assert!(index.publish().verdicts.is_empty(), "an unknown class is somebody else's");
    apply(&mut index, CLASS);
    assert_eq!(index.publish().verdicts.len(), 1);
    apply(&mut index, &CLASS.replace("nearside.dev/ingress", "example.com/other"));
    let snapshot = index.publish();
    assert!(snapshot.verdicts.is_empty() && snapshot.routes.hosts().count() == 0);
}

#[test]
fn pod_churn_does_not_rebuild_routes() {
    let mut index = Index::new(IndexConfig { endpoints: EndpointSource::Pods { node: Some("n1".into()) }, ..config() });
    let pod = |ready: bool, node: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{namespace: ns, name: p, labels: {{app: web}}}}\nspec: {{nodeName: {node}}}\n\
             status: {{podIP: 198.18.1.1, conditions: [{{type: Ready, status: '{}'}}]}}\n",
            if ready { "True" } else { "False" }
        )
    };
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: ns, name: web}\n\
                   spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n";
    apply(&mut index, &[&route("ns", "web", 1, "host: h.test"), service, &pod(true, "n1")].concat());
    let ready = index.publish();
    let count =
        |snapshot: &Snapshot| snapshot.endpoints[&ServiceKey::new("ns", "web")].select(&PortSelector::All).count();
    assert_eq!(count(&ready), 1);
    apply(&mut index, &pod(false, "n1"));
    let unready = index.publish();
    assert_eq!(count(&unready), 0);
    assert!(std::sync::Arc::ptr_eq(&ready.routes, &unready.routes));
    assert!(std::sync::Arc::ptr_eq(&unready, &index.publish()), "nothing changed, nothing is published");
    apply(&mut index, &pod(true, "n2"));
    assert_eq!(count(&index.publish()), 0, "a pod of another node is not local");
}

#[test]
fn a_selector_that_changed_selects_pods_that_come_later() {
    let config = IndexConfig { endpoints: EndpointSource::Pods { node: None }, ..config() };
    let service = |selector: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{namespace: ns, name: web}}\n\
             spec: {{selector: {selector}, ports: [{{port: 80}}]}}\n"
        )
    };
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: ns, name: p, labels: {app: web, tier: front}}\n\
               spec: {nodeName: n1}\nstatus: {podIP: 198.18.1.1, conditions: [{type: Ready, status: 'True'}]}\n";
    for later in ["{app: web, tier: front}", "{tier: front}"] {
        let mut index = Index::new(config.clone());
        for part in [&service("{app: web}"), &service(later), pod] {
            apply(&mut index, part);
            index.publish();
        }
        let count = index.publish().endpoints[&ServiceKey::new("ns", "web")].select(&PortSelector::All).count();
        assert_eq!(count, 1, "{later}");
    }
}

#[test]
fn objects_that_no_service_can_use_are_noticed() {
    let mut index = Index::new(IndexConfig { endpoints: EndpointSource::Pods { node: None }, ..config() });
    apply(
        &mut index,
        "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: ns, name: p}\nspec: {nodeName: n1}\n\
         status: {conditions: [{type: Ready, status: 'True'}]}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {namespace: ns, name: s, labels: {kubernetes.io/service-name: web}}\n\
         addressType: IPv4\nendpoints: [{addresses: [198.18.9.9]}]\nports: [{port: 80}]\n",
    );
    index.publish();
    let fields: Vec<String> = index.take_notices().into_iter().map(|n| format!("{} {}", n.object, n.field)).collect();
    assert_eq!(fields, ["Pod ns/p status.podIP", "EndpointSlice ns/s endpoints[].nodeName"]);
    assert!(index.take_notices().is_empty());
}

/// A few objects that contend for few hosts, so that histories meet every conflict.
fn any_object() -> impl Strategy<Value = String> {
    let hosts = proptest::sample::select(vec![
        "host: x.d.test",
        "host: y.d.test",
        "host: x.d.test, path: /p",
        "host: x--abcde.d.test",
        "host: any.d.test, wildcardPolicy: Subdomain",
        "host: x.d.test, tls: {termination: passthrough}",
        "host: x.d.test, tls: {termination: edge}",
        "host: x.d.test, tls: {termination: edge, externalCertificate: {name: gone}}",
        "path: /no-host",
    ]);
    let routes = (proptest::sample::select(vec!["a", "b"]), 0_u8..3, 0_u8..4, hosts)
        .prop_map(|(namespace, name, second, spec)| route(namespace, &format!("r{name}"), second, spec));
    let rules = proptest::sample::select(vec![
        format!("rules: [{}]", rule("x.d.test", &[("Prefix", "/", "s"), ("Exact", "/p", "s")])),
        format!("rules: [{}]", rule("*.d.test", &[("Prefix", "/", "s")])),
        format!(
            "rules: [{}], tls: [{{hosts: [y.d.test], secretName: gone}}]",
            rule("y.d.test", &[("Prefix", "/", "s")])
        ),
        "defaultBackend: {service: {name: s, port: {number: 80}}}".to_owned(),
    ]);
    let ingresses = (proptest::sample::select(vec!["a", "b"]), 0_u8..2, 0_u8..4, rules)
        .prop_map(|(namespace, name, second, spec)| ingress(namespace, &format!("i{name}"), second, &spec));
    prop_oneof![4 => routes, 2 => ingresses, 1 => Just(CLASS.to_owned())]
}

fn seen(snapshot: &Snapshot) -> String {
    let mut hosts: Vec<String> = snapshot.routes.hosts().map(|host| format!("{host:?}")).collect();
    hosts.sort();
    let verdicts: Vec<String> = snapshot.verdicts.values().map(|verdict| format!("{verdict:?}")).collect();
    let claimed: Vec<String> = snapshot.claimed.keys().map(|pattern| format!("claimed {pattern}")).collect();
    [hosts, verdicts, claimed].concat().join("\n")
}

/// Plays a history: each object is applied, or deleted where the first flag says so, and the index publishes where the second one
/// does. Gives the objects that are there at the end.
fn play(index: &mut Index, history: &[(String, bool, bool)]) -> BTreeMap<ObjectKey, Object> {
    let mut present = BTreeMap::new();
    for (yaml, delete, publish) in history {
        let object = objects(yaml).remove(0);
        if *delete {
            present.remove(&object.key());
            index.apply(Change::Delete(object.key()));
        } else {
            present.insert(object.key(), object.clone());
            index.apply(Change::Apply(object));
        }
        if *publish {
            index.publish();
        }
    }
    present
}

proptest! {
    #[test]
    fn any_history_ends_where_a_fresh_start_would(
        history in proptest::collection::vec((any_object(), proptest::bool::weighted(0.25), any::<bool>()), 1..24),
    ) {
        let mut index = Index::new(config());
        let present = play(&mut index, &history);
        let mut fresh = Index::new(config());
        for kind in Kind::ALL {
            let objects = present.values().filter(|object| object.kind() == kind).cloned().collect();
            fresh.apply(Change::Reset { kind, objects });
        }
        prop_assert_eq!(seen(&index.publish()), seen(&fresh.publish()));
    }

    #[test]
    fn every_rule_served_was_asked_for_by_an_admitted_object(
        all in proptest::collection::vec(any_object(), 1..16),
    ) {
        let snapshot = snapshot(config(), &all.concat());
        for host in snapshot.routes.hosts() {
            for route in &host.routes {
                prop_assert_eq!(&snapshot.verdicts[&route.source].outcome, &Outcome::Admitted);
                prop_assert_eq!(&host.pattern, &route.pattern);
                let shared = host.pattern == HostPattern::Any;
                prop_assert!(shared || route.source.namespace == host.namespace, "one namespace owns a host");
            }
        }
    }
}
