//! Lookup: the matching rules of both kinds, with a near miss for each.

mod reference;

use crate::Snapshot;
use crate::hostname::canonical_host;
use crate::node_id::NodeId;
use crate::path::NormalPath;
use crate::table::{Decision, Scheme};
use crate::testing::{CLASS, config, ingress, route, rule, snapshot};

/// What a request gets: the name of the first Service of the route, `redirect NAME`, or `none`.
fn get(snapshot: &Snapshot, scheme: Scheme, authority: &str, path: &str) -> String {
    let host = canonical_host(authority);
    match snapshot.routes.find(scheme, &host, &NormalPath::parse(path).unwrap()).decision {
        Decision::Serve(route) => route.backends[0].service.name.to_string(),
        Decision::RedirectToHttps(route) => format!("redirect {}", route.backends[0].service.name),
        Decision::NoRoute => "none".to_owned(),
    }
}

fn http(snapshot: &Snapshot, authority: &str, path: &str) -> String {
    get(snapshot, Scheme::Http, authority, path)
}

fn https(snapshot: &Snapshot, authority: &str, path: &str) -> String {
    get(snapshot, Scheme::Https, authority, path)
}

#[test]
fn route_paths_are_prefixes_on_segment_boundaries_longest_first() {
    let snapshot = snapshot(
        config(),
        &[
            route("ns", "root", 1, "host: a.test"),
            route("ns", "sub", 2, "host: a.test, path: /sub"),
            route("ns", "deep", 3, "host: a.test, path: /sub/deep"),
            route("ns", "slash", 4, "host: b.test, path: /s/"),
        ]
        .concat(),
    );
    for (path, service) in [
        ("/", "root"),
        ("/sub", "sub"),
        ("/sub/", "sub"),
        ("/sub/x", "sub"),
        ("/subpar", "root"),
        ("/Sub", "root"),
        ("/sub/deep", "deep"),
        ("/sub/deeper", "sub"),
        ("/sub/x/../deep", "deep"),
        ("/%73ub", "sub"),
        ("/sub%2Fdeep", "root"),
    ] {
        assert_eq!(http(&snapshot, "a.test", path), service, "{path}");
    }
    assert_eq!(http(&snapshot, "A.TEST.:8080", "/sub"), "sub");
    assert_eq!(http(&snapshot, "b.test", "/s/x"), "slash");
    assert_eq!(http(&snapshot, "b.test", "/s"), "none");
    assert_eq!(http(&snapshot, "x.a.test", "/"), "none");
    assert_eq!(https(&snapshot, "a.test", "/"), "none", "a Route without TLS is plain HTTP only");
}

#[test]
fn ingress_paths_follow_their_types() {
    let rules =
        rule("i.test", &[("Exact", "/foo", "exact"), ("Prefix", "/foo", "prefix"), ("Prefix", "/foo/bar/", "bar")]);
    let other = rule("p.test", &[("ImplementationSpecific", "", "any")]);
    let snapshot = snapshot(
        config(),
        &[CLASS.to_owned(), ingress("ns", "web", 1, &format!("rules: [{rules}, {other}]"))].concat(),
    );
    for (path, service) in [
        ("/foo", "exact"),
        ("/foo/", "prefix"),
        ("/foo/x", "prefix"),
        ("/foo/bar", "bar"),
        ("/foo/bar/x", "bar"),
        ("/foo/barbaz", "prefix"),
        ("/foobar", "none"),
        ("/FOO", "none"),
        ("/", "none"),
    ] {
        assert_eq!(http(&snapshot, "i.test", path), service, "{path}");
        assert_eq!(https(&snapshot, "i.test", path), service, "{path} over TLS");
    }
    assert_eq!(http(&snapshot, "p.test", "/x/y"), "any");
}

#[test]
fn a_connection_for_another_name_serves_a_host_unless_one_of_them_is_guarded() {
    let listed = route("ns", "listed", 3, "host: listed.test")
        .replace("name: listed,", "name: listed, annotations: {haproxy.router.openshift.io/ip_allowlist: 10.0.0.0/8},");
    assert!(listed.contains("annotations"), "{listed}");
    let snapshot = snapshot(
        config(),
        &[
            route("ns", "open", 1, "host: open.test, tls: {termination: edge}"),
            route("ns", "other", 2, "host: other.test, tls: {termination: edge}"),
            listed,
            route("ns", "closed", 4, "host: closed.test, tls: {termination: passthrough}"),
            route("ns", "wild", 5, "host: a.w.test, wildcardPolicy: Subdomain, tls: {termination: passthrough}"),
        ]
        .concat(),
    );
    for (server_name, host, expected) in [
        (Some("open.test"), "open.test", false),
        (Some("open.test"), "other.test", false),
        (Some("nobody.test"), "open.test", false),
        (Some("open.test"), "nobody.test", false),
        (None, "open.test", false),
        (Some("open.test"), "listed.test", true),
        (Some("listed.test"), "open.test", true),
        (Some("listed.test"), "nobody.test", true),
        (Some("listed.test"), "listed.test", false),
        (None, "listed.test", false),
        (Some("open.test"), "closed.test", true),
        (Some("closed.test"), "open.test", true),
        (None, "closed.test", true),
        (Some("a.w.test"), "b.w.test", false),
        (Some("open.test"), "b.w.test", true),
        (Some("open--abcde.test"), "listed.test", true),
    ] {
        assert_eq!(snapshot.routes.is_misdirected(server_name, host), expected, "{server_name:?} {host}");
    }
}

#[test]
fn an_exact_host_comes_before_a_wildcard_whatever_their_terminations() {
    let terminations = ["edge", "reencrypt", "passthrough"];
    for (exact, wildcard) in terminations.iter().flat_map(|one| terminations.map(|other| (*one, other))) {
        let snapshot = snapshot(
            config(),
            &[
                route(
                    "ns",
                    "wild",
                    1,
                    &format!("host: any.w.test, wildcardPolicy: Subdomain, tls: {{termination: {wildcard}}}"),
                ),
                route("ns", "own", 2, &format!("host: own.w.test, tls: {{termination: {exact}}}")),
            ]
            .concat(),
        );
        for (host, service, termination) in [("own.w.test", "own", exact), ("other.w.test", "wild", wildcard)] {
            let passed = snapshot.routes.passthrough(host).map(|route| &*route.source.name);
            let case = format!("{exact} before {wildcard}: {host}");
            if termination == "passthrough" {
                assert_eq!(passed, Some(service), "{case}");
            } else {
                assert_eq!((passed, https(&snapshot, host, "/").as_str()), (None, service), "{case}");
            }
        }
    }
}

#[test]
fn a_wildcard_is_one_label_and_an_exact_host_comes_first() {
    let snapshot = snapshot(
        config(),
        &[
            route("ns", "wild", 1, "host: www.w.test, wildcardPolicy: Subdomain"),
            route("ns", "exact", 2, "host: x.w.test, path: /only"),
        ]
        .concat(),
    );
    assert_eq!(http(&snapshot, "any.w.test", "/"), "wild");
    assert_eq!(http(&snapshot, "www.w.test", "/"), "wild");
    assert_eq!(http(&snapshot, "w.test", "/"), "none");
    assert_eq!(http(&snapshot, "a.b.w.test", "/"), "none");
    assert_eq!(http(&snapshot, "x.w.test", "/only"), "exact");
    assert_eq!(http(&snapshot, "x.w.test", "/else"), "wild", "a Route's host falls through to the wildcard");
}

#[test]
fn an_ingress_host_does_not_fall_through_but_has_default_backends() {
    let exact = rule("x.i.test", &[("Prefix", "/only", "exact")]);
    let wild = rule("*.i.test", &[("Prefix", "/", "wild")]);
    let anyhost = rule("", &[("Prefix", "/any", "anyhost")]);
    let own = format!(
        "defaultBackend: {{service: {{name: own, port: {{number: 80}}}}}}, rules: [{}]",
        rule("d.i.test", &[("Exact", "/a", "a")])
    );
    let mut yaml = vec![
        CLASS.to_owned(),
        ingress("ns", "web", 1, &format!("rules: [{exact}, {wild}, {anyhost}]")),
        ingress("ns", "own", 2, &own),
    ];
    let before = snapshot(config(), &yaml.concat());
    assert_eq!(http(&before, "x.i.test", "/only/x"), "exact");
    assert_eq!(http(&before, "x.i.test", "/else"), "none");
    assert_eq!(http(&before, "y.i.test", "/else"), "wild");
    assert_eq!(http(&before, "unknown.test", "/any"), "anyhost");
    assert_eq!(http(&before, "198.18.0.1:80", "/any"), "anyhost");
    assert_eq!(http(&before, "x.i.test", "/any"), "none", "a rule without host is not a fallback of other hosts");
    assert_eq!(http(&before, "d.i.test", "/a"), "a");
    assert_eq!(http(&before, "d.i.test", "/b"), "own");
    yaml.push(ingress("ns", "catch", 3, "defaultBackend: {service: {name: catch, port: {number: 80}}}"));
    let after = snapshot(config(), &yaml.concat());
    assert_eq!(http(&after, "x.i.test", "/else"), "catch");
    assert_eq!(http(&after, "nobody.test", "/"), "catch");
    assert_eq!(http(&after, "d.i.test", "/b"), "own");
}

#[test]
fn the_insecure_policy_decides_what_plain_http_gets() {
    let tls = |name: &str, second, policy: &str| {
        let spec = format!("host: {name}.test, tls: {{termination: edge, insecureEdgeTerminationPolicy: '{policy}'}}");
        route("ns", name, second, &spec)
    };
    let snapshot = snapshot(
        config(),
        &[
            tls("tls-only", 1, "None"),
            tls("allow", 2, "Allow"),
            tls("redirect", 3, "Redirect"),
            route(
                "ns",
                "pass",
                4,
                "host: pass.test, tls: {termination: passthrough, insecureEdgeTerminationPolicy: Redirect}",
            ),
            route("ns", "shield", 5, "host: redirect.test, path: /plain"),
        ]
        .concat(),
    );
    assert_eq!(http(&snapshot, "tls-only.test", "/"), "none");
    assert_eq!(https(&snapshot, "tls-only.test", "/"), "tls-only");
    assert_eq!(http(&snapshot, "allow.test", "/"), "allow");
    assert_eq!(https(&snapshot, "allow.test", "/"), "allow");
    assert_eq!(http(&snapshot, "redirect.test", "/x"), "redirect redirect");
    assert_eq!(http(&snapshot, "redirect.test", "/plain/x"), "shield", "a more specific route shields its subtree");
    assert_eq!(https(&snapshot, "redirect.test", "/plain/x"), "redirect");
    assert_eq!(http(&snapshot, "pass.test", "/"), "redirect pass");
    assert_eq!(https(&snapshot, "pass.test", "/"), "none");
}

#[test]
fn passthrough_is_chosen_by_server_name_exact_before_wildcard() {
    let snapshot = snapshot(
        config(),
        &[
            route("ns", "wild", 1, "host: www.p.test, wildcardPolicy: Subdomain, tls: {termination: passthrough}"),
            route("ns", "edge", 2, "host: edge.p.test, tls: {termination: edge}"),
        ]
        .concat(),
    );
    assert!(snapshot.routes.passthrough("any.p.test").is_some());
    assert!(snapshot.routes.passthrough("edge.p.test").is_none(), "the exact host is not captured by the wildcard");
    assert!(snapshot.routes.passthrough("p.test").is_none());
}

#[test]
fn an_alias_is_looked_up_as_its_host() {
    let snapshot = snapshot(config(), &route("ns", "video", 1, "host: video.a.test"));
    let id = NodeId::of("n1");
    let host = format!("video--{id}.a.test");
    let path = NormalPath::parse("/").unwrap();
    let found = snapshot.routes.find(Scheme::Http, &host, &path);
    assert!(matches!(found.decision, Decision::Serve(_)));
    assert_eq!(found.alias, Some(("video.a.test".to_owned(), id)));
    let other = format!("audio--{id}.a.test");
    assert!(matches!(snapshot.routes.find(Scheme::Http, &other, &path).decision, Decision::NoRoute));
}
