//! Canaries and aliases: what stands beside which rule, what is told, and that histories of both end where a fresh start
//! would.

use super::{play, reason, seen, with_annotation};
use crate::hostname::HostPattern;
use crate::index::{Change, Index, Snapshot};
use crate::object::{Kind, ObjectKey};
use crate::policy::balance::Algorithm;
use crate::testing::{CLASS, apply, config, ingress, owned, route, rule, snapshot};
use crate::verdict::{Outcome, Reason};
use proptest::prelude::*;

fn main_rule(namespace: &str, name: &str, second: u8, paths: &[(&str, &str, &str)]) -> String {
    ingress(namespace, name, second, &format!("rules: [{}]", rule("h.test", paths)))
}

fn canary(namespace: &str, name: &str, second: u8, paths: &[(&str, &str, &str)]) -> String {
    let yaml = main_rule(namespace, name, second, paths);
    with_annotation(&with_annotation(&yaml, "nearside.dev/canary-weight", "10"), "nearside.dev/canary", "true")
}

/// The Services of the rules of `h.test`, each with that of its canary.
fn beside(snapshot: &Snapshot) -> Vec<(String, Option<String>)> {
    let host = snapshot.routes.host(&HostPattern::parse("h.test").unwrap());
    let service = |route: &crate::table::CompiledRoute| route.backends[0].service.name.to_string();
    let rules = host.into_iter().flat_map(|host| host.routes.iter());
    rules.map(|route| (service(route), route.canary.as_ref().map(|canary| service(&canary.route)))).collect()
}

fn with(objects: &[String]) -> std::sync::Arc<Snapshot> {
    snapshot(config(), &[&[CLASS.to_owned()], objects].concat().concat())
}

#[test]
fn a_canary_stands_beside_the_rule_of_its_host_path_and_type() {
    let paths = [("Exact", "/a", "exact"), ("Prefix", "/a", "prefix"), ("ImplementationSpecific", "/b", "any")];
    for (path, expected) in [
        (("Exact", "/a", "new"), Some("exact")),
        (("Prefix", "/a", "new"), Some("prefix")),
        (("ImplementationSpecific", "/b", "new"), Some("any")),
        (("Prefix", "/a/b", "new"), None),
        (("Exact", "/b", "new"), None),
    ] {
        let snapshot = with(&[main_rule("ns", "main", 1, &paths), canary("ns", "new", 2, &[path])]);
        let found = beside(&snapshot).into_iter().find(|(_, canary)| canary.is_some()).map(|(main, _)| main);
        assert_eq!(found.as_deref(), expected, "{path:?}");
        let told = reason(&snapshot, Kind::Ingress, "ns", "new");
        assert_eq!(told, expected.is_none().then_some(Reason::RouteNotAdmitted), "{path:?}");
        assert_eq!(reason(&snapshot, Kind::Ingress, "ns", "main"), None);
    }
}

#[test]
fn a_path_that_is_a_regular_expression_has_the_canary_that_is_written_equally() {
    let expression = ("ImplementationSpecific", "/api(/|$)(.*)", "web");
    let main = with_annotation(&main_rule("ns", "main", 1, &[expression]), "nearside.dev/use-regex", "true");
    for annotation in [None, Some(("nearside.dev/use-regex", "true"))] {
        let new = canary("ns", "new", 2, &[("ImplementationSpecific", "/api(/|$)(.*)", "new")]);
        let new = annotation.map_or_else(|| new.clone(), |(name, value)| with_annotation(&new, name, value));
        assert_eq!(beside(&with(&[main.clone(), new])), [("web".to_owned(), Some("new".to_owned()))]);
    }
    let other = canary("ns", "new", 2, &[("ImplementationSpecific", "/api(/|$)", "new")]);
    assert_eq!(beside(&with(&[main, other])), [("web".to_owned(), None)]);
}

#[test]
fn the_oldest_canary_of_the_same_namespace_counts_whatever_the_age_of_the_main_rule() {
    let paths = [("Prefix", "/", "web")];
    let new = |namespace, name, second| canary(namespace, name, second, &[("Prefix", "/", name)]);
    let all = [main_rule("ns", "main", 5, &paths), new("ns", "b", 2), new("ns", "a", 3), new("other", "c", 1)];
    let snapshot = with(&all);
    assert_eq!(beside(&snapshot), [("web".to_owned(), Some("b".to_owned()))]);
    assert_eq!(reason(&snapshot, Kind::Ingress, "ns", "b"), None);
    assert_eq!(reason(&snapshot, Kind::Ingress, "ns", "a"), Some(Reason::HostAlreadyClaimed));
    assert_eq!(reason(&snapshot, Kind::Ingress, "other", "c"), Some(Reason::RouteNotAdmitted));
    let shared = crate::testing::snapshot(
        owned(crate::admission::Ownership::InterNamespace),
        &[CLASS, &all[0], &new("other", "c", 1)].concat(),
    );
    assert_eq!(beside(&shared), [("web".to_owned(), None)], "nor where namespaces share hosts");
}

#[test]
fn a_canary_holds_no_host_and_takes_none() {
    let new = canary("ns", "new", 1, &[("Prefix", "/", "new")]);
    let alone = with(std::slice::from_ref(&new));
    assert!(alone.claimed.is_empty() && alone.routes.hosts().count() == 0);
    let mut index = Index::new(config());
    apply(&mut index, &[CLASS, &new, &route("other", "web", 2, "host: h.test")].concat());
    let held = index.publish();
    assert_eq!(reason(&held, Kind::Route, "other", "web"), None, "an older canary keeps nobody out");
    assert_eq!(reason(&held, Kind::Ingress, "ns", "new"), Some(Reason::RouteNotAdmitted), "nor is it one of a Route");
    index.apply(Change::Delete(ObjectKey::new(Kind::Route, "other", "web")));
    apply(&mut index, &main_rule("ns", "main", 3, &[("Prefix", "/", "web")]));
    assert_eq!(beside(&index.publish()), [("web".to_owned(), Some("new".to_owned()))]);
    index.apply(Change::Delete(ObjectKey::new(Kind::Ingress, "ns", "main")));
    assert_eq!(index.publish().routes.hosts().count(), 0, "it ends with its main rule");
}

#[test]
fn what_a_canary_says_besides_its_share_is_told_to_have_no_effect() {
    let main = with_annotation(
        &main_rule("ns", "main", 1, &[("Prefix", "/", "web")]),
        "nginx.ingress.kubernetes.io/proxy-read-timeout",
        "7",
    );
    let mut new = canary("ns", "new", 2, &[("Prefix", "/", "new")]);
    for (name, value) in [
        ("nginx.ingress.kubernetes.io/proxy-read-timeout", "99"),
        ("nginx.ingress.kubernetes.io/load-balance", "round_robin"),
        ("nginx.ingress.kubernetes.io/whitelist-source-range", "10.0.0.0/8"),
        ("nginx.ingress.kubernetes.io/affinity", "cookie"),
    ] {
        new = with_annotation(&new, name, value);
    }
    let snapshot = with(&[main, new]);
    let verdict = &snapshot.verdicts[&ObjectKey::new(Kind::Ingress, "ns", "new")];
    assert_eq!(verdict.outcome, Outcome::Admitted);
    let fields: Vec<&str> = verdict.problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(
        fields,
        ["proxy-read-timeout", "whitelist-source-range"]
            .map(|name| format!("metadata.annotations[\"nginx.ingress.kubernetes.io/{name}\"]"))
    );
    let host = snapshot.routes.host(&HostPattern::parse("h.test").unwrap()).unwrap();
    let beside = host.routes[0].canary.as_ref().unwrap();
    assert_eq!(beside.route.policy.timeouts, host.routes[0].policy.timeouts);
    assert!(beside.route.policy.access.is_open());
    assert_eq!(beside.route.policy.balance.algorithm, Some(Algorithm::RoundRobin));
    assert_eq!(beside.route.policy.affinity.cookie, Some(true), "the main rule says nothing of affinity");
}

#[test]
fn an_alias_has_the_rules_and_the_canary_that_are_written_for_it_and_conflicts_are_told() {
    let name = "nginx.ingress.kubernetes.io/server-alias";
    let main = with_annotation(
        &main_rule("ns", "main", 2, &[("Prefix", "/", "web"), ("Exact", "/x", "x")]),
        name,
        "b.test,taken.test,h.test,*.w.test",
    );
    let new = with_annotation(&canary("ns", "new", 3, &[("Prefix", "/", "new")]), name, "b.test");
    let snapshot = with(&[main, new, route("other", "held", 1, "host: taken.test")]);
    let services = |host: &str| {
        let host = snapshot.routes.host(&HostPattern::parse(host).unwrap()).unwrap();
        let rules =
            host.routes.iter().map(|route| (route.backends[0].service.name.to_string(), route.canary.is_some()));
        rules.collect::<Vec<_>>()
    };
    let rules = |canary| vec![("x".to_owned(), false), ("web".to_owned(), canary)];
    assert_eq!(
        (services("h.test"), services("b.test"), services("*.w.test")),
        (rules(true), rules(true), rules(false))
    );
    let verdict = &snapshot.verdicts[&ObjectKey::new(Kind::Ingress, "ns", "main")];
    assert_eq!(verdict.outcome, Outcome::Admitted);
    assert!(verdict.problems.iter().all(|problem| problem.reason == Reason::HostAlreadyClaimed), "{verdict:?}");
    assert_eq!(verdict.problems[0].field, "metadata.annotations[\"nearside.dev/server-alias\"]");
    assert!(snapshot.claimed.contains_key(&HostPattern::parse("b.test").unwrap()));
}

#[test]
fn aliases_of_an_object_with_thousands_of_paths_are_bounded() {
    let paths: Vec<String> = (0..2_000).map(|number| format!("/{number}")).collect();
    let paths: Vec<_> = paths.iter().map(|path| ("Prefix", path.as_str(), "web")).collect();
    let names: Vec<String> = (0..20).map(|number| format!("a{number}.test")).collect();
    let main = with_annotation(&main_rule("ns", "main", 1, &paths), "nearside.dev/server-alias", &names.join(","));
    let snapshot = with(&[main]);
    assert_eq!(snapshot.routes.hosts().count(), 3, "its own and two aliases");
    let verdict = &snapshot.verdicts[&ObjectKey::new(Kind::Ingress, "ns", "main")];
    assert!(verdict.problems[0].message.contains("too many rules"), "{verdict:?}");
}

/// Main rules, canaries and aliases that contend for one host.
fn any_object() -> impl Strategy<Value = String> {
    let paths = proptest::sample::select(vec![("Prefix", "/", "s"), ("Prefix", "/p", "s"), ("Exact", "/p", "s")]);
    let kinds = proptest::sample::select(vec!["main", "alias", "canary", "passthrough"]);
    (proptest::sample::select(vec!["a", "b"]), 0_u8..3, 0_u8..4, paths, kinds).prop_map(
        |(namespace, name, second, path, kind)| {
            let name = format!("i{name}");
            let main = main_rule(namespace, &name, second, &[path]);
            match kind {
                "main" => main,
                "alias" => with_annotation(&main, "nearside.dev/server-alias", "other.test"),
                "passthrough" => with_annotation(&main, "nearside.dev/ssl-passthrough", "true"),
                _ => canary(namespace, &name, second, &[path]),
            }
        },
    )
}

proptest! {
    #[test]
    fn any_history_of_canaries_ends_where_a_fresh_start_would(
        history in proptest::collection::vec((any_object(), proptest::bool::weighted(0.25), any::<bool>()), 1..16),
    ) {
        let mut index = Index::new(config());
        apply(&mut index, CLASS);
        let present = play(&mut index, &history);
        let mut fresh = Index::new(config());
        apply(&mut fresh, CLASS);
        fresh.apply(Change::Reset { kind: Kind::Ingress, objects: present.into_values().collect() });
        prop_assert_eq!(seen(&index.publish()), seen(&fresh.publish()));
    }
}
