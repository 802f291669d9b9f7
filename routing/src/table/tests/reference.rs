//! The lookup against a naive reference, written from the text of both specifications: every rule of every object is asked
//! for every request, and nothing is prepared.

use super::get;
use crate::Snapshot;
use crate::path::NormalPath;
use crate::table::{CompiledRoute, Decision, Scheme};
use crate::testing::{CLASS, config, ingress, route, rule, snapshot};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// One rule. `host` is exact, `*.` and a domain, or empty.
#[derive(Clone, Debug)]
struct Rule {
    host: &'static str,
    path: &'static str,
    /// `Route`, or the `pathType` of an Ingress.
    kind: &'static str,
    tls: &'static str,
    insecure: &'static str,
    /// The Service, which the object is named after.
    name: String,
    /// A further host with the same rule; only of an Ingress.
    alias: Option<&'static str>,
    /// Whether a canary stands beside it; only of an Ingress.
    canary: bool,
}

impl Rule {
    fn is_route(&self) -> bool {
        self.kind == "Route"
    }

    fn yaml(&self) -> String {
        let name = self.name.as_str();
        if !self.is_route() {
            let tls = if self.tls == "edge" { format!(", tls: [{{hosts: ['{}']}}]", self.host) } else { String::new() };
            let object = |name: &str, second, annotations: &str| {
                let rules = rule(self.host, &[(self.kind, self.path, name)]);
                let yaml = ingress("ns", name, second, &format!("rules: [{rules}]{tls}"));
                yaml.replacen("metadata: {", &format!("metadata: {{annotations: {{{annotations}}}, "), 1)
            };
            let alias = self.alias.map(|alias| format!("nearside.dev/server-alias: '{alias}'"));
            let main = object(name, 1, &alias.unwrap_or_default());
            let canary = "nearside.dev/canary: 'true', nearside.dev/canary-weight: '1'";
            return if self.canary { main + &object(&format!("{name}-canary"), 0, canary) } else { main };
        }
        let (host, policy) = match self.host.strip_prefix("*.") {
            Some(domain) => (format!("any.{domain}"), "Subdomain"),
            None => (self.host.to_owned(), "None"),
        };
        let tls = match self.tls {
            "" => String::new(),
            tls => format!(", tls: {{termination: {tls}, insecureEdgeTerminationPolicy: '{}'}}", self.insecure),
        };
        route("ns", name, 1, &format!("host: {host}, path: '{}', wildcardPolicy: {policy}{tls}", self.path))
    }

    fn speaks_of(&self, path: &str) -> bool {
        match self.kind {
            "Route" if self.path.is_empty() || self.path == "/" => true,
            "Route" if self.path.ends_with('/') => path.starts_with(self.path),
            "Route" => path == self.path || path.starts_with(&format!("{}/", self.path)),
            "Exact" => path == self.path,
            _ => {
                // "a prefix split by /, element by element"; trailing slashes are ignored.
                let rule: Vec<&str> = self.path.split('/').filter(|element| !element.is_empty()).collect();
                let asked: Vec<&str> = path.split('/').filter(|element| !element.is_empty()).collect();
                asked.starts_with(&rule)
            }
        }
    }

    /// Longest matching path first; on a tie Exact, then the rule that is written longer.
    fn rank(&self) -> (usize, bool, usize) {
        let length = if self.is_route() { self.path.len() } else { self.path.trim_end_matches('/').len() };
        (length, self.kind == "Exact", self.path.len())
    }

    fn redirects(&self) -> bool {
        if self.is_route() { !self.tls.is_empty() && self.insecure == "Redirect" } else { self.tls == "edge" }
    }

    fn serves(&self, scheme: Scheme) -> bool {
        match (self.is_route(), scheme) {
            (true, Scheme::Http) => self.tls.is_empty() || self.insecure == "Allow",
            (true, Scheme::Https) => matches!(self.tls, "edge" | "reencrypt"),
            (false, Scheme::Http) => !self.redirects(),
            (false, Scheme::Https) => true,
        }
    }
}

fn expected(rules: &[Rule], scheme: Scheme, host: &str, path: &str) -> String {
    let above = host.split_once('.').map(|(_, domain)| format!("*.{domain}")).unwrap_or_default();
    let of = |wanted: &str| -> Vec<usize> {
        let mut places: Vec<usize> = (0..rules.len()).filter(|place| rules[*place].host == wanted).collect();
        places.sort_by_key(|place| std::cmp::Reverse(rules[*place].rank()));
        places
    };
    let exact = of(host);
    let wildcard = if above.is_empty() { Vec::new() } else { of(&above) };
    let falls_through = exact.first().is_none_or(|place| rules[*place].is_route());
    let mut tried = exact.clone();
    if falls_through {
        tried.extend(&wildcard);
    }
    if exact.is_empty() && wildcard.is_empty() {
        tried = of("");
    }
    tried.retain(|place| rules[*place].speaks_of(path));
    let redirect = tried.first().filter(|place| scheme == Scheme::Http && rules[**place].redirects());
    match (redirect, tried.iter().find(|place| rules[**place].serves(scheme))) {
        (Some(place), _) => format!("redirect {}", rules[*place].name),
        (None, Some(place)) if rules[*place].canary => format!("{name} or {name}-canary", name = rules[*place].name),
        (None, Some(place)) => rules[*place].name.clone(),
        (None, None) => "none".to_owned(),
    }
}

/// An alias is a host like any other, with the rules of the host that it stands for; a canary does not stand there.
fn with_aliases(rules: &[Rule]) -> Vec<Rule> {
    let aliases = rules.iter().filter_map(|rule| Some(Rule { host: rule.alias?, canary: false, ..rule.clone() }));
    rules.iter().cloned().chain(aliases).collect()
}

/// The Service that answers, with that of the canary beside it.
fn found(snapshot: &Snapshot, scheme: Scheme, host: &str, path: &str) -> String {
    let service = |route: &CompiledRoute| route.backends[0].service.name.to_string();
    match snapshot.routes.find(scheme, host, &NormalPath::parse(path).unwrap()).decision {
        Decision::Serve(route) => match &route.canary {
            Some(canary) => format!("{} or {}", service(route), service(&canary.route)),
            None => service(route),
        },
        _ => get(snapshot, scheme, host, path),
    }
}

const HOSTS: [&str; 6] = ["x.d", "y.d", "*.d", "x.e", "*.e", ""];
/// Of the hosts, in their order; rules without host have none.
const ALIASES: [Option<&str>; 6] = [Some("x.a"), Some("y.a"), Some("w.a"), Some("*.b"), Some("x.b"), None];
const PATHS: [&str; 6] = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c"];

/// The rule whose pod gets a TLS connection with this server name: an exact host decides before the wildcard above it.
fn expected_passthrough(rules: &[Rule], name: &str) -> Option<usize> {
    let above = name.split_once('.').map(|(_, domain)| format!("*.{domain}"));
    let on = |host: &str| -> Vec<usize> { (0..rules.len()).filter(|place| rules[*place].host == host).collect() };
    let exact = on(name);
    let asked = if exact.is_empty() { above.map(|above| on(&above)).unwrap_or_default() } else { exact };
    asked.into_iter().find(|place| rules[*place].tls == "passthrough")
}

/// Passes the TLS of some hosts of Routes through; other TLS cannot stand beside that, nor another rule for every path.
fn pass_through(rules: Vec<Rule>, hosts: &[Option<&'static str>]) -> Vec<Rule> {
    let mut all = rules;
    for (host, insecure) in HOSTS.iter().zip(hosts) {
        let Some(insecure) = insecure.filter(|_| all.iter().any(|rule| rule.host == *host && rule.is_route())) else {
            continue;
        };
        all.retain(|rule| rule.host != *host || rule.path != "/");
        for rule in all.iter_mut().filter(|rule| rule.host == *host) {
            (rule.tls, rule.insecure) = ("", "");
        }
        let name = format!("through-{}", host.replace('*', "any"));
        all.push(Rule {
            host,
            path: "",
            kind: "Route",
            tls: "passthrough",
            insecure,
            name,
            alias: None,
            canary: false,
        });
    }
    all
}

/// Each host is of one kind, and no rule stands twice: who wins then is a matter of admission.
fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
    let modes = [("", ""), ("edge", "None"), ("edge", "Allow"), ("edge", "Redirect"), ("reencrypt", "Redirect")];
    let one = (0..HOSTS.len(), 0..PATHS.len(), 0_usize..2, 0..modes.len(), any::<bool>(), any::<bool>());
    let through = proptest::sample::select(vec![None, None, None, Some("None"), Some("Redirect")]);
    (
        proptest::collection::vec(any::<bool>(), HOSTS.len()),
        proptest::collection::vec(one, 1..10),
        proptest::collection::vec(through, HOSTS.len()),
    )
        .prop_map(move |(of_routes, rules, through)| {
            let mut seen = BTreeSet::new();
            let mut unique = Vec::new();
            for (host, path, exact, mode, alias, canary) in rules {
                let of_routes = of_routes[host] && !HOSTS[host].is_empty();
                let kind = if of_routes { "Route" } else { ["Prefix", "Exact"][exact] };
                let (mut tls, insecure) = modes[mode];
                if !of_routes {
                    // `spec.tls` is a matter of a host here; only every second host has it.
                    tls = if host % 2 == 0 && !HOSTS[host].is_empty() { "edge" } else { "" };
                }
                if seen.insert((host, path, kind)) {
                    unique.push(Rule {
                        host: HOSTS[host],
                        path: PATHS[path],
                        kind,
                        tls,
                        insecure,
                        name: format!("s{}", unique.len()),
                        alias: ALIASES[host].filter(|_| alias && !of_routes),
                        canary: canary && !of_routes,
                    });
                }
            }
            pass_through(unique, &through)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn every_request_is_answered_as_the_specifications_say(rules in any_rules()) {
        let yaml: Vec<String> = rules.iter().map(Rule::yaml).collect();
        let rules = with_aliases(&rules);
        let snapshot = snapshot(config(), &[vec![CLASS.to_owned()], yaml].concat().concat());
        for host in ["x.d", "y.d", "z.d", "x.e", "z.e", "d", "deep.x.d", "other", "x.a", "y.a", "w.a", "x.b", "z.b"] {
            for path in ["/", "/a", "/a/", "/a/b", "/a/b/", "/a/bc", "/ab", "/A", "/a/b/c/d"] {
                for scheme in [Scheme::Http, Scheme::Https] {
                    prop_assert_eq!(
                        found(&snapshot, scheme, host, path),
                        expected(&rules, scheme, host, path),
                        "{:?} {}{}", scheme, host, path
                    );
                }
            }
            let through = snapshot.routes.passthrough(host).map(|route| route.backends[0].service.name.to_string());
            let expected = expected_passthrough(&rules, host).map(|place| rules[place].name.clone());
            prop_assert_eq!(through, expected, "{}", host);
        }
    }
}
