//! Parts of objects: which certificate a host gets, and what bad parts cost.

use super::{reason, route_reason};
use crate::admission::Ownership;
use crate::index::{Change, EndpointSource, Index, IndexConfig, Snapshot};
use crate::object::{Kind, Object, ObjectKey};
use crate::table::Scheme;
use crate::testing::{CLASS, apply, config, ingress, objects, owned, route, rule, snapshot};
use crate::verdict::Reason;
use crate::{Decision, NormalPath};

/// A Secret with a certificate of its own.
fn secret(namespace: &str, name: &str) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![format!("{name}.test")]).unwrap().self_signed(&key).unwrap();
    let indented = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{namespace: {namespace}, name: {name}}}\ntype: kubernetes.io/tls\n\
         stringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        indented(&certificate.pem()),
        indented(&key.serialize_pem())
    )
}

/// The names in the certificate that a client sees for a server name; `default` where the host brings none.
fn certificate(snapshot: &Snapshot, name: &str) -> String {
    let Some(pair) = snapshot.routes.certificate(name) else { return "default".into() };
    let (_, leaf) = x509_parser::parse_x509_certificate(&pair.chain()[0]).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    names.iter().map(ToString::to_string).collect()
}

fn web(host: &str) -> String {
    format!("rules: [{}]", rule(host, &[("Prefix", "/", "web")]))
}

#[test]
fn an_ingress_host_gets_the_certificate_that_its_own_tls_section_names_for_it() {
    for (tls, expected) in [
        ("[{hosts: [x.d.test], secretName: exact}]", "DNSName(exact.test)"),
        ("[{hosts: ['*.d.test'], secretName: wild}]", "DNSName(wild.test)"),
        ("[{hosts: ['*.d.test'], secretName: wild}, {hosts: [x.d.test], secretName: exact}]", "DNSName(exact.test)"),
        ("[{secretName: wild}]", "DNSName(wild.test)"),
        ("[{secretName: wild}, {hosts: [x.d.test]}]", "default"),
        ("[{hosts: ['*.e.test'], secretName: wild}]", "default"),
        ("[{hosts: [x.d.test], secretName: gone}]", "default"),
    ] {
        let yaml = [
            CLASS.to_owned(),
            secret("ns", "exact"),
            secret("ns", "wild"),
            secret("other", "gone"),
            ingress("ns", "web", 1, &format!("{}, tls: {tls}", web("x.d.test"))),
        ];
        let snapshot = snapshot(config(), &yaml.concat());
        assert_eq!(reason(&snapshot, Kind::Ingress, "ns", "web"), None, "{tls}");
        assert!(certificate(&snapshot, "x.d.test").contains(expected), "{tls}: {}", certificate(&snapshot, "x.d.test"));
    }
}

#[test]
fn who_has_no_rule_on_a_host_has_no_say_in_its_certificate() {
    for ownership in [Ownership::Strict, Ownership::InterNamespace] {
        let foreign = format!("{}, tls: [{{hosts: [h.test], secretName: evil}}]", web("evil.test"));
        let own = format!("{}, tls: [{{hosts: [h.test], secretName: shop}}]", web("h.test"));
        let yaml = [
            CLASS.to_owned(),
            secret("evil", "evil"),
            secret("shop", "shop"),
            ingress("evil", "web", 1, &foreign),
            ingress("shop", "web", 2, &own),
        ];
        let snapshot = snapshot(owned(ownership), &yaml.concat());
        assert!(certificate(&snapshot, "h.test").contains("shop.test"), "{ownership:?}");
    }
}

#[test]
fn of_several_certificates_on_one_host_that_of_the_oldest_route_is_shown() {
    let with = |name: &str, second: u8, path: &str, secret: &str| {
        let tls = if secret.is_empty() { "" } else { &format!(", externalCertificate: {{name: {secret}}}") };
        route("ns", name, second, &format!("host: h.test, path: {path}, tls: {{termination: edge{tls}}}"))
    };
    let secrets = [secret("ns", "one"), secret("ns", "two")].concat();
    for (yaml, expected) in [
        ([with("z", 1, "/a", "one"), with("a", 2, "/b", "two")], "one.test"),
        ([with("z", 2, "/a", "one"), with("a", 1, "/b", "two")], "two.test"),
        ([with("z", 1, "/a", ""), with("a", 2, "/b", "two")], "two.test"),
        ([with("z", 1, "/a", "gone"), with("a", 2, "/b", "two")], "two.test"),
    ] {
        for yaml in [yaml.concat(), yaml.iter().rev().cloned().collect()] {
            let snapshot = snapshot(IndexConfig::default(), &format!("{secrets}{yaml}"));
            assert!(certificate(&snapshot, "h.test").contains(expected), "{}", certificate(&snapshot, "h.test"));
        }
    }
}

#[test]
fn a_certificate_is_followed_when_it_changes_goes_and_comes_back() {
    let mut index = Index::new(config());
    let tls = "host: h.test, tls: {termination: edge, externalCertificate: {name: cert}}";
    apply(&mut index, &[route("ns", "web", 1, tls), secret("ns", "cert")].concat());
    let first = index.publish();
    apply(&mut index, &secret("ns", "cert"));
    let second = index.publish();
    let pair = |snapshot: &Snapshot| snapshot.routes.certificate("h.test").map(|pair| pair.fingerprint());
    assert!(pair(&first).is_some() && pair(&second).is_some());
    assert_ne!(pair(&first), pair(&second));
    index.apply(Change::Delete(ObjectKey::new(Kind::Secret, "ns", "cert")));
    let gone = index.publish();
    assert_eq!(route_reason(&gone, "ns", "web"), Some(Reason::ExternalCertificateGetFailed));
    apply(&mut index, &secret("ns", "cert"));
    assert_eq!(route_reason(&index.publish(), "ns", "web"), None);
}

#[test]
fn a_path_whose_backend_cannot_be_served_does_not_fall_to_a_broader_path() {
    let spec = "rules: [{host: h.test, http: {paths: [\
                {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}, \
                {path: /bucket, pathType: Prefix, backend: {resource: {kind: Bucket, name: b}}}]}}]";
    let snapshot = snapshot(config(), &[CLASS.to_owned(), ingress("ns", "web", 1, spec)].concat());
    let services =
        |path: &str| match snapshot.routes.find(Scheme::Http, "h.test", &NormalPath::parse(path).unwrap()).decision {
            Decision::Serve(route) => route.backends.len(),
            other => panic!("{other:?}"),
        };
    assert_eq!((services("/x"), services("/bucket/x")), (1, 0));
    let verdict = &snapshot.verdicts[&ObjectKey::new(Kind::Ingress, "ns", "web")];
    assert_eq!(verdict.problems.len(), 1, "{:?}", verdict.problems);
    assert_eq!(verdict.problems[0].field, "spec.rules[0].http.paths[1].backend");
}

#[test]
fn two_rules_of_one_host_share_the_default_backend_without_complaint() {
    let rules = [rule("h.test", &[("Exact", "/a", "a")]), rule("h.test", &[("Exact", "/b", "b")])].join(", ");
    let spec = format!("defaultBackend: {{service: {{name: d, port: {{number: 80}}}}}}, rules: [{rules}]");
    let snapshot = snapshot(config(), &[CLASS.to_owned(), ingress("ns", "web", 1, &spec)].concat());
    assert_eq!(snapshot.verdicts[&ObjectKey::new(Kind::Ingress, "ns", "web")].problems, []);
}

#[test]
fn a_large_object_costs_no_more_than_its_size() {
    let rules: Vec<String> = (0..600).map(|n| rule(&format!("h{n}.test"), &[("Prefix", "no-slash", "web")])).collect();
    let entries = vec!["{secretName: s}"; 600].join(", ");
    let spec = format!("rules: [{}], tls: [{entries}]", rules.join(", "));
    let Object::Ingress(large) = objects(&ingress("ns", "web", 1, &spec)).remove(0) else { panic!() };
    let claims = crate::claim::ingress_claims(&large, &config().admission.hosts);
    assert_eq!(claims.certificates.len(), 600, "one for each host, not one for each host and entry");
    let mut index = Index::new(config());
    apply(&mut index, CLASS);
    index.apply(Change::Apply(Object::Ingress(large)));
    let verdict = &index.publish().verdicts[&ObjectKey::new(Kind::Ingress, "ns", "web")];
    assert!(verdict.problems.len() < 50, "{}", verdict.problems.len());
    let last = &verdict.problems[verdict.problems.len() - 1];
    assert!(last.message.ends_with("more problems are not listed"), "{last}");
}

#[test]
fn what_the_api_would_refuse_is_refused_without_it() {
    let snapshot = snapshot(
        IndexConfig { endpoints: EndpointSource::Pods { node: None }, ..config() },
        &[
            route("ns", "path", 1, "host: a.test, path: no-slash"),
            route("ns", "many", 2, &format!("host: b.test, alternateBackends: [{}]", ["{name: s}"; 9].join(", "))),
        ]
        .concat(),
    );
    assert_eq!(route_reason(&snapshot, "ns", "path"), Some(Reason::InvalidPath));
    assert_eq!(
        snapshot.verdicts[&ObjectKey::new(Kind::Route, "ns", "many")].problems[0].field,
        "spec.alternateBackends"
    );
}

#[test]
fn weights_beyond_their_range_count_as_its_ends() {
    let weighted = |to: i64, other: i64| {
        let spec = format!("host: a.test, alternateBackends: [{{kind: Service, name: t, weight: {other}}}]");
        let text = route("ns", "s", 1, &spec).replace("name: s}, host", &format!("name: s, weight: {to}}}, host"));
        let snapshot = snapshot(config(), &text);
        let pattern = crate::hostname::HostPattern::parse("a.test").unwrap();
        let backends = &snapshot.routes.host(&pattern).unwrap().routes[0].backends;
        backends.iter().map(|backend| backend.weight).collect::<Vec<_>>()
    };
    assert_eq!(weighted(300, -5), [256, 0]);
    assert_eq!(weighted(256, 0), [256, 0]);
    assert_eq!(weighted(i64::MAX, i64::MIN), [256, 0]);
}
