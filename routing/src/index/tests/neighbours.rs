//! Hosts that stand in each other's way: the index decides host by host, and must agree with a naive reference that takes
//! all claims in one order and grants one after the other.

use super::{reason, route_reason};
use crate::admission::Ownership;
use crate::index::{Change, Index};
use crate::object::{Kind, ObjectKey};
use crate::table::{Decision, Scheme};
use crate::testing::{CLASS, apply, config, ingress, owned, route, rule, snapshot};
use crate::verdict::Reason;
use crate::{NormalPath, Snapshot};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A Route as the reference sees it.
#[derive(Clone, Debug)]
struct Asked {
    namespace: &'static str,
    name: u8,
    second: u8,
    host: &'static str,
    wildcard: bool,
    path: &'static str,
    tls: &'static str,
}

impl Asked {
    fn name(&self) -> String {
        format!("r{}", self.name)
    }

    fn yaml(&self) -> String {
        let policy = if self.wildcard { "Subdomain" } else { "None" };
        let path = if self.tls == "passthrough" { "" } else { self.path };
        let tls = if self.tls.is_empty() { String::new() } else { format!(", tls: {{termination: {}}}", self.tls) };
        let spec = format!("host: {}, wildcardPolicy: {policy}, path: '{path}'{tls}", self.host);
        route(self.namespace, &self.name(), self.second, &spec)
    }

    fn label_and_domain(&self) -> (&str, &str) {
        self.host.split_once('.').unwrap_or((self.host, ""))
    }

    fn same_hosts(&self, other: &Self) -> bool {
        match (self.wildcard, other.wildcard) {
            (true, true) => self.label_and_domain().1 == other.label_and_domain().1,
            (false, false) => self.host == other.host,
            _ => false,
        }
    }

    fn is_alias_of(&self, other: &Self) -> bool {
        let ((alias, domain), (label, other_domain)) = (self.label_and_domain(), other.label_and_domain());
        let id = alias.strip_prefix(label).and_then(|rest| rest.strip_prefix("--"));
        !self.wildcard && !other.wildcard && domain == other_domain && id.is_some_and(|id| id.len() == 5)
    }

    fn stands_in_the_way_of(&self, younger: &Self, ownership: Ownership) -> bool {
        let foreign = self.namespace != younger.namespace;
        let strict = ownership == Ownership::Strict;
        let under_one_domain = self.label_and_domain().1 == younger.label_and_domain().1;
        if self.same_hosts(younger) {
            let any = |asked: &Self| asked.path.is_empty() || asked.tls == "passthrough";
            let same_path = (any(self) && any(younger)) || (!any(self) && !any(younger) && self.path == younger.path);
            let both_tls = !self.tls.is_empty() && !younger.tls.is_empty();
            let passthrough = [self.tls, younger.tls].contains(&"passthrough");
            return (strict && foreign) || same_path || (both_tls && passthrough);
        }
        let wildcard_conflict = strict && under_one_domain && self.wildcard != younger.wildcard;
        foreign && wildcard_conflict
    }
}

fn granted(mut all: Vec<Asked>, ownership: Ownership) -> Vec<(&'static str, u8)> {
    all.sort_by_key(|asked| (asked.second, format!("{}-{}", asked.namespace, asked.name())));
    let mut granted: Vec<Asked> = Vec::new();
    for asked in all {
        let beaten = granted.iter().any(|older| older.stands_in_the_way_of(&asked, ownership));
        // The oldest claim on a host says whose its aliases are.
        let original = granted.iter().find(|older| asked.is_alias_of(older));
        if !beaten && original.is_none_or(|holder| holder.namespace == asked.namespace) {
            granted.push(asked);
        }
    }
    granted.iter().map(|asked| (asked.namespace, asked.name)).collect()
}

fn any_asked() -> impl Strategy<Value = Asked> {
    (
        proptest::sample::select(vec!["a", "b", "c"]),
        0_u8..5,
        0_u8..6,
        proptest::sample::select(vec!["x.d", "x--abcde.d", "x--abcde--fghij.d", "y.d", "z", "z--abcde"]),
        proptest::bool::weighted(0.25),
        proptest::sample::select(vec!["", "", "/p"]),
        proptest::sample::select(vec!["", "", "edge", "passthrough"]),
    )
        .prop_map(|(namespace, name, second, host, wildcard, path, tls)| Asked {
            namespace,
            name,
            second,
            host,
            wildcard: wildcard && host.contains('.'),
            path,
            tls,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]
    #[test]
    fn claims_are_granted_as_if_all_were_taken_in_one_order(
        history in proptest::collection::vec((any_asked(), proptest::bool::weighted(0.2), any::<bool>()), 1..16),
        ownership in proptest::sample::select(vec![Ownership::Strict, Ownership::InterNamespace]),
    ) {
        let mut index = Index::new(owned(ownership));
        let mut present = BTreeMap::new();
        for (asked, delete, publish) in history {
            let key = (asked.namespace, asked.name);
            if delete {
                present.remove(&key);
                index.apply(Change::Delete(ObjectKey::new(Kind::Route, asked.namespace, &asked.name())));
            } else {
                apply(&mut index, &asked.yaml());
                present.insert(key, asked);
            }
            if publish {
                index.publish();
            }
        }
        let snapshot = index.publish();
        let mut expected = granted(present.values().cloned().collect(), ownership);
        expected.sort_unstable();
        let admitted: Vec<_> = present
            .values()
            .filter(|asked| route_reason(&snapshot, asked.namespace, &asked.name()).is_none())
            .map(|asked| (asked.namespace, asked.name))
            .collect();
        prop_assert_eq!(admitted, expected);
    }
}

#[test]
fn an_alias_is_not_for_others_even_where_namespaces_share_hosts_or_a_host_has_one_label() {
    let thief = |host: &str| route("b", "thief", 2, &format!("host: {host}"));
    let inter = owned(Ownership::InterNamespace);
    let shared =
        snapshot(inter, &[route("a", "video", 1, "host: video.d.test"), thief("video--abcde.d.test")].concat());
    assert_eq!(route_reason(&shared, "b", "thief"), Some(Reason::HostAlreadyClaimed));
    let short = snapshot(config(), &[route("a", "v", 1, "host: v"), thief("v--abcde")].concat());
    assert_eq!(route_reason(&short, "b", "thief"), Some(Reason::HostAlreadyClaimed));
}

fn served(snapshot: &Snapshot, host: &str, path: &str) -> Option<String> {
    let path = NormalPath::parse(path).unwrap();
    match snapshot.routes.find(Scheme::Http, host, &path).decision {
        Decision::Serve(route) => Some(route.source.namespace.to_string()),
        Decision::RedirectToHttps(_) | Decision::NoRoute => None,
    }
}

const CATCH_ALL: &str = "defaultBackend: {service: {name: s, port: {number: 80}}}";

#[test]
fn a_default_backend_does_not_answer_for_hosts_of_other_namespaces() {
    let shop = ingress("shop", "web", 2, &format!("rules: [{}]", rule("shop.test", &[("Prefix", "/app", "s")])));
    let foreign = ingress("evil", "all", 1, CATCH_ALL);
    let taken = snapshot(config(), &[CLASS, &shop, &foreign].concat());
    assert_eq!(
        served(&taken, "shop.test", "/.well-known/acme-challenge/x"),
        None,
        "a challenge is the owner's to answer"
    );
    assert_eq!(served(&taken, "nobody.test", "/").as_deref(), Some("evil"));
    let own = snapshot(config(), &[CLASS, &shop, &ingress("shop", "all", 1, CATCH_ALL)].concat());
    assert_eq!(served(&own, "shop.test", "/x").as_deref(), Some("shop"));
}

#[test]
fn a_host_that_cannot_be_served_does_not_fall_to_rules_without_host() {
    let broken = "host: h.test, tls: {termination: edge, insecureEdgeTerminationPolicy: Allow, externalCertificate: {name: gone}}";
    let yaml = [CLASS, &route("shop", "web", 2, broken), &ingress("evil", "all", 1, CATCH_ALL)].concat();
    let snapshot = snapshot(config(), &yaml);
    assert_eq!(route_reason(&snapshot, "shop", "web"), Some(Reason::ExternalCertificateGetFailed));
    assert_eq!(reason(&snapshot, Kind::Ingress, "evil", "all"), None);
    assert_eq!(served(&snapshot, "h.test", "/"), None);
    assert_eq!(served(&snapshot, "other.test", "/").as_deref(), Some("evil"));
}
