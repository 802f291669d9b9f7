//! Hosts as the operator wants them: a Route's own words flow in, the host that it really claims flows out; and a host flows
//! in, whether it may be claimed at all flows out. Asked by the claims of both kinds.

use crate::hostname::{Hostname, split_first_label};
use crate::object::Route;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Domains; a host is within one if it equals it or is below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domains(BTreeSet<Hostname>);

impl FromIterator<Hostname> for Domains {
    fn from_iter<I: IntoIterator<Item = Hostname>>(domains: I) -> Self {
        Self(domains.into_iter().collect())
    }
}

impl Domains {
    fn hold(&self, host: &str) -> bool {
        let mut rest = Some(host).filter(|_| !self.0.is_empty());
        while let Some(name) = rest {
            if self.0.contains(name) {
                return true;
            }
            rest = split_first_label(name).1;
        }
        false
    }
}

/// The operator's rules for hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostRules {
    /// Where not empty, only hosts within these may be claimed.
    pub allowed: Domains,
    /// Hosts within these may not be claimed, allowed or not.
    pub denied: Domains,
    /// What a Route's `spec.subdomain` is below.
    pub router_domain: Option<Hostname>,
    /// The host of Routes that name none.
    pub template: Option<HostnameTemplate>,
    /// Whether the template replaces every host of a Route.
    pub override_all: bool,
    /// The template replaces the hosts of Routes within these.
    pub override_domains: Domains,
}

impl HostRules {
    /// The host that a Route claims: `spec.host`, else `spec.subdomain` below the router's domain, else the template's; empty
    /// where there is none of them.
    pub(crate) fn host_of<'r>(&self, route: &'r Route) -> Cow<'r, str> {
        let (host, subdomain) = (&route.spec.host, &route.spec.subdomain);
        let own = match &self.router_domain {
            Some(domain) if host.is_empty() && !subdomain.is_empty() => Cow::Owned(format!("{subdomain}.{domain}")),
            _ => Cow::Borrowed(host.as_str()),
        };
        let replaced = || own.is_empty() || self.override_all || self.override_domains.hold(&own.to_ascii_lowercase());
        match &self.template {
            Some(template) if replaced() => Cow::Owned(template.host(&route.metadata.namespace, &route.metadata.name)),
            _ => own,
        }
    }

    /// Whether a host may be claimed; of a wildcard, the domain that it is directly below.
    ///
    /// # Errors
    /// The words of the OpenShift router.
    pub(crate) fn check(&self, host: &str) -> Result<(), &'static str> {
        if self.denied.hold(host) {
            return Err("host in list of denied domains");
        }
        if !self.allowed.0.is_empty() && !self.allowed.hold(host) {
            return Err("host not in the allowed list of domains");
        }
        Ok(())
    }

    /// Whether rules without host may be claimed: where only some domains are allowed, no rule may answer for all hosts.
    pub(crate) fn check_any(&self) -> Result<(), &'static str> {
        if self.allowed.0.is_empty() { Ok(()) } else { Err("a rule without host is not within the allowed domains") }
    }
}

/// A host with places for the name and the namespace of a Route, such as `${name}-${namespace}.apps.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostnameTemplate(Box<[Part]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Name,
    Namespace,
}

impl HostnameTemplate {
    /// Reads a template; quotes around it are dropped. `$name` means the same as `${name}`.
    ///
    /// # Errors
    /// A message that names the part that is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text.trim_matches(['"', '\'']);
        while let Some((before, after)) = rest.split_once('$') {
            let (key, after) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').ok_or_else(|| format!("{text:?} has a brace that is open"))?,
                None => {
                    after.split_at(after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len()))
                }
            };
            parts.push(Part::Text(before.into()));
            parts.push(match key {
                "name" => Part::Name,
                "namespace" => Part::Namespace,
                _ => return Err(format!("{key:?} is not one of ${{name}}, ${{namespace}}")),
            });
            rest = after;
        }
        parts.push(Part::Text(rest.into()));
        let template = Self(parts.into());
        // What no name can make a host of is a mistake of the operator, not of every Route.
        match Hostname::parse(&template.host("namespace", "name")) {
            Ok(_) => Ok(template),
            Err(error) => Err(format!("{text:?} makes no host: {error}")),
        }
    }

    /// A Route's name may hold dots; its host has it in one label.
    fn host(&self, namespace: &str, name: &str) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.to_string(),
            Part::Name => name.to_owned(),
            Part::Namespace => namespace.to_owned(),
        };
        self.0.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn domains(names: &[&str]) -> Domains {
        names.iter().map(|name| Hostname::parse(name).unwrap()).collect()
    }

    fn route(host: &str, subdomain: &str) -> Route {
        let mut route = Route::default();
        route.metadata.name = "web".into();
        route.metadata.namespace = "shop".into();
        route.spec.host = host.into();
        route.spec.subdomain = subdomain.into();
        route
    }

    #[test]
    fn the_host_of_a_route_is_its_own_then_its_subdomain_then_the_template() {
        let domain = Some(Hostname::parse("apps.test").unwrap());
        let template = Some(HostnameTemplate::parse("'${name}-$namespace.t.test'").unwrap());
        let plain = HostRules::default();
        let with_domain = HostRules { router_domain: domain.clone(), ..plain.clone() };
        let with_both = HostRules { router_domain: domain, template: template.clone(), ..plain.clone() };
        let all = HostRules { override_all: true, ..with_both.clone() };
        let some = HostRules { override_domains: domains(&["old.test"]), ..with_both.clone() };
        let made = "web-shop.t.test";
        for (rules, host, subdomain, expected) in [
            (&plain, "", "", ""),
            (&plain, "h.test", "", "h.test"),
            (&plain, "", "sub", ""),
            (&with_domain, "", "sub", "sub.apps.test"),
            (&with_domain, "", "a.b", "a.b.apps.test"),
            (&with_domain, "h.test", "sub", "h.test"),
            (&with_domain, "", "", ""),
            (&with_both, "", "", made),
            (&with_both, "", "sub", "sub.apps.test"),
            (&with_both, "h.test", "", "h.test"),
            (&all, "h.test", "", made),
            (&all, "", "sub", made),
            (&some, "h.test", "", "h.test"),
            (&some, "old.test", "", made),
            (&some, "a.b.OLD.test", "", made),
            (&some, "notold.test", "", "notold.test"),
        ] {
            assert_eq!(rules.host_of(&route(host, subdomain)), expected, "{host:?} {subdomain:?} {rules:?}");
        }
    }

    #[test]
    fn a_template_that_cannot_make_hosts_is_refused() {
        for text in ["", "${name", "${pod}.x.test", "$pod.x.test", "${name}..test", "${name}.a_b.test", "$"] {
            assert!(HostnameTemplate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn denied_domains_win_over_allowed_ones() {
        let rules =
            HostRules { allowed: domains(&["good.test"]), denied: domains(&["bad.good.test"]), ..HostRules::default() };
        for (host, allowed) in [
            ("good.test", true),
            ("x.y.good.test", true),
            ("bad.good.test", false),
            ("x.bad.good.test", false),
            ("notgood.test", false),
            ("good.test.evil", false),
            ("test", false),
        ] {
            assert_eq!(rules.check(host).is_ok(), allowed, "{host}");
        }
        assert!(rules.check_any().is_err() && HostRules::default().check_any().is_ok());
    }

    proptest! {
        #[test]
        fn a_host_is_within_a_domain_if_it_ends_with_it_at_a_dot(host in "[ab](\\.[ab]){0,4}", domain in "[ab](\\.[ab]){0,2}") {
            let naive = format!(".{host}").ends_with(&format!(".{domain}"));
            prop_assert_eq!(domains(&[&domain]).hold(&host), naive);
        }
    }
}
