//! The flags that say which Routes and Ingresses are served, and with which hosts: text flows in, checked
//! [`AdmissionSettings`] or every mistake flow out. Proxy and controller take these flags, so that both mean the same;
//! with different values they would disagree on who owns a host.

use crate::selector::Selector;
use crate::{Kind, Selection, Source};
use clap::ArgAction;
use nearside_routing::Hostname;
use nearside_routing::admission::{
    AdmissionRules, CertificateRules, ClassRules, Domains, HostRules, HostnameTemplate, Ownership,
};
use std::fmt::Display;

/// The flags as they were typed.
#[derive(Clone, Debug, clap::Args)]
pub struct AdmissionArguments {
    /// The name of our IngressClass, for Ingresses that name it by annotation.
    #[arg(long, env = "NEARSIDE_INGRESS_CLASS", value_name = "NAME", default_value = "nearside")]
    ingress_class: String,
    /// Serve Ingresses that name no class, too. Not on OpenShift, which makes Routes of them.
    #[arg(long, env = "NEARSIDE_WATCH_INGRESS_WITHOUT_CLASS")]
    watch_ingress_without_class: bool,
    /// Whether a host belongs to one namespace (`strict`) or to one per path (`inter`).
    #[arg(long, env = "NEARSIDE_NAMESPACE_OWNERSHIP", value_name = "RULE", default_value = "strict")]
    namespace_ownership: String,
    /// Whether certificates in Routes must be signed by their `caCertificate`, without a hash that can be forged: `true` or
    /// `false`. What cannot be served is refused in any case.
    #[arg(long, env = "NEARSIDE_EXTENDED_VALIDATION", value_name = "BOOLEAN", default_value = "true")]
    extended_validation: String,
    /// Whether Routes may name a Secret for their certificate: `true` or `false`, which refuses those that do.
    #[arg(long, env = "NEARSIDE_EXTERNAL_CERTIFICATES", value_name = "BOOLEAN", default_value = "true")]
    external_certificates: String,
    /// Let Routes claim every host below a domain (`wildcardPolicy: Subdomain`).
    #[arg(long, env = "NEARSIDE_ALLOW_WILDCARD_ROUTES")]
    allow_wildcard_routes: bool,
    /// Serve only hosts that equal one of these domains or are below it. May be repeated.
    #[arg(long, env = "NEARSIDE_ALLOWED_DOMAINS", value_name = "DOMAIN", value_delimiter = ',')]
    allowed_domains: Vec<String>,
    /// Do not serve hosts that equal one of these domains or are below it, allowed or not. May be repeated.
    #[arg(long, env = "NEARSIDE_DENIED_DOMAINS", value_name = "DOMAIN", value_delimiter = ',')]
    denied_domains: Vec<String>,
    /// The domain that `spec.subdomain` of a Route without host is below.
    #[arg(long, env = "NEARSIDE_ROUTER_DOMAIN", value_name = "DOMAIN")]
    router_domain: Option<String>,
    /// The host of Routes that name none, such as `${name}-${namespace}.apps.example.com`.
    #[arg(long, env = "NEARSIDE_HOSTNAME_TEMPLATE", value_name = "TEMPLATE")]
    hostname_template: Option<String>,
    /// Give every Route the host of the template, whatever it names.
    #[arg(long, env = "NEARSIDE_OVERRIDE_HOSTNAME")]
    override_hostname: bool,
    /// Give Routes whose host is within one of these domains the host of the template. May be repeated.
    #[arg(long, env = "NEARSIDE_OVERRIDE_DOMAINS", value_name = "DOMAIN", value_delimiter = ',')]
    override_domains: Vec<String>,
    /// Serve only Routes and Ingresses with these labels.
    #[arg(long, env = "NEARSIDE_ROUTE_LABELS", value_name = "SELECTOR", action = ArgAction::Set)]
    route_labels: Option<String>,
    /// Serve only Routes with these fields, such as `spec.to.name=web`.
    #[arg(long, env = "NEARSIDE_ROUTE_FIELDS", value_name = "SELECTOR", action = ArgAction::Set)]
    route_fields: Option<String>,
    /// Serve only Routes and Ingresses of namespaces with these labels.
    #[arg(long, env = "NEARSIDE_NAMESPACE_LABELS", value_name = "SELECTOR", action = ArgAction::Set)]
    namespace_labels: Option<String>,
    /// Serve only Routes and Ingresses of this namespace, and read no Service or Secret of another.
    #[arg(long, env = "NEARSIDE_WATCH_NAMESPACE", value_name = "NAMESPACE")]
    watch_namespace: Option<String>,
}

/// What proxy and controller are to serve; every value can be used as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmissionSettings {
    rules: AdmissionRules,
    route_labels: Option<String>,
    route_fields: Option<String>,
    namespace_labels: Option<String>,
    namespace: Option<String>,
}

/// A flag that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{flag}: {message}")]
pub struct UnusableFlag {
    /// Its name without dashes.
    pub flag: &'static str,
    /// What is wrong with its value.
    pub message: String,
}

impl AdmissionArguments {
    /// Checks everything.
    ///
    /// # Errors
    /// Every mistake, in the order of the flags in the help text.
    pub fn into_settings(self) -> Result<AdmissionSettings, Vec<UnusableFlag>> {
        let mut mistakes = Mistakes::default();
        let ownership = match self.namespace_ownership.as_str() {
            "strict" => Ownership::Strict,
            "inter" => Ownership::InterNamespace,
            other => {
                mistakes.add("namespace-ownership", format!("{other:?} is not one of strict, inter"));
                Ownership::Strict
            }
        };
        let certificates = CertificateRules {
            extended_validation: mistakes.boolean("extended-validation", &self.extended_validation),
            external: mistakes.boolean("external-certificates", &self.external_certificates),
        };
        let allowed = mistakes.domains("allowed-domains", &self.allowed_domains);
        let denied = mistakes.domains("denied-domains", &self.denied_domains);
        let router_domain = given(self.router_domain.as_deref())
            .and_then(|domain| mistakes.take("router-domain", Hostname::parse(domain)));
        let template = given(self.hostname_template.as_deref());
        if template.is_none() && self.override_hostname {
            mistakes.add("override-hostname", "needs --hostname-template");
        }
        let override_domains = mistakes.domains("override-domains", &self.override_domains);
        if template.is_none() && override_domains != Domains::default() {
            mistakes.add("override-domains", "needs --hostname-template");
        }
        let hosts = HostRules {
            allowed,
            denied,
            router_domain,
            template: template
                .and_then(|template| mistakes.take("hostname-template", HostnameTemplate::parse(template))),
            override_all: self.override_hostname,
            override_domains,
        };
        let of_routes = Selection::all(Kind::Route);
        let route_labels = mistakes.selector("route-labels", self.route_labels, |text| of_routes.clone().labels(text));
        let route_fields = mistakes.selector("route-fields", self.route_fields, |text| of_routes.clone().fields(text));
        let namespace_labels = mistakes
            .selector("namespace-labels", self.namespace_labels, |text| Selection::all(Kind::Namespace).labels(text));
        let namespace = self.watch_namespace.filter(|name| !name.is_empty());
        if let Some(name) = &namespace {
            match Hostname::parse(name) {
                Ok(parsed) if parsed.split_first_label().1.is_none() && parsed.as_str() == name => {}
                _ => mistakes.add("watch-namespace", format!("{name:?} is not the name of a namespace")),
            }
            if namespace_labels.is_some() {
                mistakes.add("watch-namespace", "only one of it and --namespace-labels may be given");
            }
        }
        let classes = ClassRules {
            name: self.ingress_class,
            without_class: self.watch_ingress_without_class,
            fill_in_default: false,
        };
        let rules = AdmissionRules {
            ownership,
            wildcard_routes: self.allow_wildcard_routes,
            hosts,
            classes,
            certificates,
            selected_namespaces: namespace_labels.is_some(),
        };
        let settings = AdmissionSettings { rules, route_labels, route_fields, namespace_labels, namespace };
        if mistakes.0.is_empty() { Ok(settings) } else { Err(mistakes.0) }
    }
}

impl AdmissionSettings {
    /// The rules for objects of a source.
    pub fn rules(&self, source: &Source) -> AdmissionRules {
        let mut rules = self.rules.clone();
        // No API server has filled in what manifests leave open.
        rules.classes.fill_in_default = matches!(source, Source::Manifests(_));
        rules
    }

    /// What a program reads, narrowed to what these settings let it serve.
    pub fn narrow(&self, selections: Vec<Selection>) -> Vec<Selection> {
        let mut narrowed: Vec<Selection> = selections.into_iter().map(|selection| self.narrow_one(selection)).collect();
        if let Some(labels) = &self.namespace_labels {
            narrowed.push(Selection::all(Kind::Namespace).labels(labels));
        }
        narrowed
    }

    fn narrow_one(&self, mut selection: Selection) -> Selection {
        if matches!(selection.kind, Kind::Route | Kind::Ingress) {
            selection.labels = selection.labels.or_else(|| self.route_labels.clone());
        }
        if selection.kind == Kind::Route {
            selection.fields = selection.fields.or_else(|| self.route_fields.clone());
        }
        // Pods are not among them: the controller reads those of the routers.
        if matches!(selection.kind, Kind::Route | Kind::Ingress | Kind::Service | Kind::EndpointSlice | Kind::Secret) {
            selection.namespace = selection.namespace.or_else(|| self.namespace.clone());
        }
        selection
    }
}

#[derive(Default)]
struct Mistakes(Vec<UnusableFlag>);

impl Mistakes {
    fn add(&mut self, flag: &'static str, message: impl Into<String>) {
        self.0.push(UnusableFlag { flag, message: message.into() });
    }

    /// `true`, also where nothing is given.
    fn boolean(&mut self, flag: &'static str, text: &str) -> bool {
        match text.trim() {
            "" | "true" => true,
            "false" => false,
            other => {
                self.add(flag, format!("{other:?} is not one of true, false"));
                true
            }
        }
    }

    fn take<T, E: Display>(&mut self, flag: &'static str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.add(flag, error.to_string())).ok()
    }

    fn domains(&mut self, flag: &'static str, texts: &[String]) -> Domains {
        let texts = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        let parsed = texts.filter_map(|text| match Hostname::parse(text) {
            Ok(domain) => Some(domain),
            Err(error) => {
                self.add(flag, format!("{text:?}: {error}"));
                None
            }
        });
        parsed.collect()
    }

    fn selector(
        &mut self,
        flag: &'static str,
        text: Option<String>,
        selection: impl Fn(&str) -> Selection,
    ) -> Option<String> {
        let text = text.filter(|text| !text.trim().is_empty())?;
        match Selector::parse(&selection(&text)) {
            Ok(_) => Some(text),
            Err(error) => {
                self.add(flag, error.to_string());
                None
            }
        }
    }
}

/// An empty environment variable means that nothing is given.
fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        admission: AdmissionArguments,
    }

    fn settings(flags: &[&str]) -> Result<AdmissionSettings, Vec<String>> {
        let arguments = Program::try_parse_from([&["program"], flags].concat()).unwrap();
        let settings = arguments.admission.into_settings();
        settings.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_defaults_are_those_of_the_core_and_narrow_nothing() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.rules, AdmissionRules::default());
        let selections =
            vec![Selection::all(Kind::Route), Selection::all(Kind::Secret).fields("type=kubernetes.io/tls")];
        assert_eq!(settings.narrow(selections.clone()), selections);
    }

    #[test]
    fn every_mistake_is_told_and_names_its_flag() {
        let mistakes = settings(&[
            "--namespace-ownership=all",
            "--extended-validation=some",
            "--external-certificates=some",
            "--allowed-domains=a_b,good.test",
            "--denied-domains=.test",
            "--router-domain=-x",
            "--override-hostname",
            "--override-domains=x.test",
            "--route-labels=a b",
            "--route-fields=spec.host",
            "--namespace-labels=!(",
            "--watch-namespace=a.b",
        ])
        .unwrap_err();
        let flags: Vec<&str> = mistakes.iter().map(|mistake| mistake.split(':').next().unwrap()).collect();
        assert_eq!(
            flags,
            [
                "--namespace-ownership",
                "--extended-validation",
                "--external-certificates",
                "--allowed-domains",
                "--denied-domains",
                "--router-domain",
                "--override-hostname",
                "--override-domains",
                "--route-labels",
                "--route-fields",
                "--namespace-labels",
                "--watch-namespace"
            ]
        );
        let both = settings(&["--watch-namespace=shop", "--namespace-labels=team=a"]).unwrap_err();
        assert!(both[0].contains("only one of"), "{both:?}");
        assert!(settings(&["--hostname-template=${pod}.test"]).is_err());
    }

    #[test]
    fn a_shard_reads_only_what_it_serves() {
        let all = |kinds: &[Kind]| kinds.iter().copied().map(Selection::all).collect::<Vec<_>>();
        let labelled = settings(&["--route-labels=tier in (a,b)", "--route-fields=spec.to.name=web"]).unwrap();
        assert_eq!(
            labelled.narrow(all(&[Kind::Route, Kind::Ingress, Kind::Service])),
            [
                Selection::all(Kind::Route).labels("tier in (a,b)").fields("spec.to.name=web"),
                Selection::all(Kind::Ingress).labels("tier in (a,b)"),
                Selection::all(Kind::Service),
            ]
        );
        let spaced = settings(&["--watch-namespace=shop"]).unwrap();
        assert_eq!(
            spaced.narrow(all(&[Kind::Secret, Kind::Pod, Kind::IngressClass])),
            [
                Selection::all(Kind::Secret).namespace("shop"),
                Selection::all(Kind::Pod),
                Selection::all(Kind::IngressClass)
            ]
        );
        let selected = settings(&["--namespace-labels=team=a"]).unwrap();
        assert!(selected.rules.selected_namespaces);
        assert_eq!(selected.narrow(Vec::new()), [Selection::all(Kind::Namespace).labels("team=a")]);
    }
}
