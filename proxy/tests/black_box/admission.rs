//! Which Routes and Ingresses are served, with which hosts, as the operator's flags say: each flag with its near misses, and
//! what happens while objects change.

use super::support::client::get_tls;
use super::support::manifests::{annotated, ingress, ingress_class, pod, route, service};
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::pods::PodServer;
use serde_json::{Value, json};

/// A Route to the Service `web`.
fn web(name: &str, host: &str, mut more: Value) -> Value {
    more["to"] = json!({ "kind": "Service", "name": "web" });
    route(name, host, more)
}

fn within(namespace: &str, mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object["metadata"]["uid"] = json!(format!("{namespace}-{}", object["metadata"]["name"].as_str().unwrap()));
    object
}

/// Created in this second.
fn dated(second: u8, mut object: Value) -> Value {
    object["metadata"]["creationTimestamp"] = json!(format!("2026-01-01T00:00:{second:02}Z"));
    object
}

fn labelled(mut object: Value, labels: Value) -> Value {
    object["metadata"]["labels"] = labels;
    object
}

fn namespace(name: &str, labels: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
}

/// Made by a controller of the Ingress of this name.
fn made_from(ingress: &str, mut route: Value) -> Value {
    route["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": ingress, "controller": true }]);
    route
}

/// The objects with a pod of the Service `web` in each of these namespaces; the pod is called as its namespace.
fn with_pods(namespaces: &[&str], objects: &[Value]) -> (Manifests, Vec<PodServer>) {
    let manifests = Manifests::with(objects);
    let mut pods = Vec::new();
    for namespace in namespaces {
        let (server, address) = echo_pod(namespace);
        manifests.put(&within(namespace, service("web")));
        manifests.put(&within(namespace, pod("web", namespace, address)));
        pods.push(server);
    }
    (manifests, pods)
}

/// The pod that answers, else the status.
async fn answer(proxy: &Proxy, url: &str) -> String {
    let (host, path) = url.split_once('/').unwrap();
    let reply = get(proxy.http, host, &format!("/{path}")).await;
    reply.pod().map_or_else(|| reply.status.to_string(), ToOwned::to_owned)
}

async fn check(proxy: &Proxy, answers: &[(&str, &str)]) {
    for (url, expected) in answers {
        assert_eq!(answer(proxy, url).await, *expected, "{url}");
    }
}

async fn becomes(proxy: &Proxy, url: &str, expected: &str) {
    eventually(&format!("{url} is {expected}"), || async { (answer(proxy, url).await == expected).then_some(()) })
        .await;
}

/// What the page of the operator says is wrong with an object.
async fn problems(proxy: &Proxy, object: &str) -> String {
    let (_, page) = proxy.page("/routes").await;
    serde_json::from_str::<Value>(&page).unwrap()["problems"][object].to_string()
}

#[tokio::test]
async fn a_route_without_host_has_its_subdomain_or_the_template_and_overridden_ones_too() {
    let objects = [
        web("own", "own.example.com", json!({ "subdomain": "ignored" })),
        web("sub", "", json!({ "subdomain": "sub" })),
        web("none", "", json!({})),
        web("old", "a.old.example.com", json!({})),
        web("bad", "a_b.example.com", json!({})),
    ];
    let (manifests, _pods) = with_pods(&["shop"], &objects);
    let proxy = Proxy::start(&manifests, &[]);
    check(&proxy, &[("own.example.com/", "shop"), ("sub.apps.example.com/", "404"), ("a.old.example.com/", "shop")])
        .await;
    let of = async |name: &str| problems(&proxy, &format!("Route shop/{name}")).await;
    assert!(of("sub").await.contains("NoHostValue: spec.host: no host value was defined for the route"));
    assert!(of("bad").await.contains("InvalidHost: spec.host: host name validation errors"));
    assert!(of("own").await.contains("spec.subdomain: spec.host is set"));

    let template = "--hostname-template=${name}-${namespace}.made.example.com";
    let proxy = Proxy::start(&manifests, &["--router-domain=apps.example.com", template]);
    check(
        &proxy,
        &[
            ("own.example.com/", "shop"),
            ("ignored.apps.example.com/", "404"),
            ("sub.apps.example.com/", "shop"),
            ("none-shop.made.example.com/", "shop"),
            ("own-shop.made.example.com/", "404"),
            ("a.old.example.com/", "shop"),
        ],
    )
    .await;
    let proxy = Proxy::start(&manifests, &[template, "--override-domains=old.example.com"]);
    check(
        &proxy,
        &[("a.old.example.com/", "404"), ("old-shop.made.example.com/", "shop"), ("own.example.com/", "shop")],
    )
    .await;
    let proxy = Proxy::start(&manifests, &[template, "--override-hostname"]);
    check(
        &proxy,
        &[("own.example.com/", "404"), ("own-shop.made.example.com/", "shop"), ("bad-shop.made.example.com/", "shop")],
    )
    .await;
}

#[tokio::test]
async fn domains_are_allowed_and_denied_for_both_kinds() {
    let all_hosts = ingress("any", "", &[("Prefix", "/", "web")], json!({}));
    let objects = [
        ingress_class(),
        web("good", "good.example.com", json!({})),
        web("below", "a.b.good.example.com", json!({})),
        web("similar", "notgood.example.com", json!({})),
        web("bad", "x.bad.good.example.com", json!({})),
        ingress("good-in", "in.good.example.com", &[("Prefix", "/", "web")], json!({})),
        ingress("bad-in", "in.bad.good.example.com", &[("Prefix", "/", "web")], json!({})),
        ingress("wild-in", "*.bad.good.example.com", &[("Prefix", "/", "web")], json!({})),
        all_hosts,
    ];
    let (manifests, _pods) = with_pods(&["shop"], &objects);
    let proxy = Proxy::start(
        &manifests,
        &["--allowed-domains=good.example.com,else.test", "--denied-domains=bad.good.example.com"],
    );
    check(
        &proxy,
        &[
            ("good.example.com/", "shop"),
            ("a.b.good.example.com/", "shop"),
            ("notgood.example.com/", "404"),
            ("x.bad.good.example.com/", "404"),
            ("in.good.example.com/", "shop"),
            ("in.bad.good.example.com/", "404"),
            ("y.bad.good.example.com/", "404"),
            ("anything.test/", "404"),
        ],
    )
    .await;
    for (object, message) in [
        ("Route shop/similar", "RouteNotAdmitted: spec.host: host not in the allowed list of domains"),
        ("Route shop/bad", "RouteNotAdmitted: spec.host: host in list of denied domains"),
        ("Ingress shop/bad-in", "RouteNotAdmitted: spec.rules[0].host: host in list of denied domains"),
        ("Ingress shop/any", "RouteNotAdmitted: spec.rules[0].host: a rule without host"),
    ] {
        let said = problems(&proxy, object).await;
        assert!(said.contains(message), "{object}: {said}");
    }
}

#[tokio::test]
async fn wildcards_of_routes_need_leave_and_those_of_ingresses_do_not() {
    let objects = [
        ingress_class(),
        web("wild", "any.route.example.com", json!({ "wildcardPolicy": "Subdomain" })),
        web("deep", "x.route.example.com", json!({ "wildcardPolicy": "Subdomain", "path": "/deep" })),
        web("odd", "odd.example.com", json!({ "wildcardPolicy": "All" })),
        web("empty", "empty.example.com", json!({ "wildcardPolicy": "" })),
        ingress("in", "*.ingress.example.com", &[("Prefix", "/", "web")], json!({})),
    ];
    let (manifests, _pods) = with_pods(&["shop"], &objects);
    let proxy = Proxy::start(&manifests, &[]);
    check(
        &proxy,
        &[
            ("any.route.example.com/", "404"),
            ("odd.example.com/", "404"),
            ("empty.example.com/", "shop"),
            ("x.ingress.example.com/", "shop"),
        ],
    )
    .await;
    let said = problems(&proxy, "Route shop/wild").await;
    assert!(said.contains("RouteNotAdmitted: spec.wildcardPolicy: wildcard routes are not allowed"), "{said}");
    let said = problems(&proxy, "Route shop/odd").await;
    assert!(said.contains("RouteNotAdmitted: spec.wildcardPolicy: unknown wildcard policy All"), "{said}");
    let proxy = Proxy::start(&manifests, &["--allow-wildcard-routes"]);
    check(
        &proxy,
        &[("any.route.example.com/", "shop"), ("y.route.example.com/deep/x", "shop"), ("route.example.com/", "404")],
    )
    .await;
    assert_eq!(problems(&proxy, "Route shop/deep").await, "null", "two wildcards of one namespace and different paths");
}

#[tokio::test]
async fn the_oldest_claim_decides_between_namespaces_paths_wildcards_and_terminations() {
    let tls = |termination: &str| json!({ "tls": { "termination": termination } });
    let wildcard = |path: &str| json!({ "wildcardPolicy": "Subdomain", "path": path });
    let objects = [
        // One host, two namespaces.
        dated(1, within("bank", web("host", "host.example.com", json!({})))),
        dated(2, within("shop", web("host", "host.example.com", json!({ "path": "/shop" })))),
        // One host, one namespace: the path decides.
        dated(2, within("shop", web("paths", "paths.example.com", json!({ "path": "/a" })))),
        dated(3, within("shop", web("paths-late", "paths.example.com", json!({ "path": "/a" })))),
        dated(3, within("shop", web("paths-other", "paths.example.com", json!({ "path": "/b" })))),
        // An older host below a younger wildcard, and the other way round.
        dated(1, within("bank", web("elder", "elder.one.example.com", json!({})))),
        dated(2, within("shop", web("wild-late", "any.one.example.com", wildcard("")))),
        dated(1, within("shop", web("wild", "any.two.example.com", wildcard("")))),
        dated(2, within("bank", web("below", "below.two.example.com", json!({})))),
        dated(2, within("shop", web("own-below", "own.two.example.com", json!({ "path": "/x" })))),
        dated(3, within("shop", web("wild-again", "x.two.example.com", wildcard("")))),
        // Passthrough and the rest.
        dated(1, within("shop", web("pass", "pass.example.com", tls("passthrough")))),
        dated(2, within("shop", web("pass-plain", "pass.example.com", json!({ "path": "/plain" })))),
        dated(
            3,
            within(
                "shop",
                web("pass-edge", "pass.example.com", json!({ "path": "/e", "tls": { "termination": "edge" } })),
            ),
        ),
    ];
    let (manifests, _pods) = with_pods(&["shop", "bank"], &objects);
    let foreign =
        |host: &str, name: &str| format!("a route in another namespace holds {host} and is older than {name}");
    let proxy = Proxy::start(&manifests, &["--allow-wildcard-routes"]);
    check(
        &proxy,
        &[
            ("host.example.com/shop", "bank"),
            ("paths.example.com/a", "shop"),
            ("paths.example.com/b", "shop"),
            ("elder.one.example.com/", "bank"),
            ("x.one.example.com/", "404"),
            ("below.two.example.com/", "shop"),
            ("own.two.example.com/x", "shop"),
            ("pass.example.com/plain", "shop"),
            ("pass.example.com/", "404"),
        ],
    )
    .await;
    for (object, message) in [
        ("shop/host", foreign("host.example.com", "host")),
        ("shop/paths-late", "route paths already exposes paths.example.com and is older".to_owned()),
        ("shop/wild-late", "a route in another namespace holds host *.one.example.com".to_owned()),
        ("bank/below", "a route in another namespace holds host below.two.example.com".to_owned()),
        ("shop/wild-again", "route wild already exposes *.two.example.com and is older".to_owned()),
        ("shop/pass-edge", "route pass already exposes pass.example.com and is older; passthrough".to_owned()),
    ] {
        let said = problems(&proxy, &format!("Route {object}")).await;
        assert!(said.contains("HostAlreadyClaimed: spec.host: ") && said.contains(&message), "{object}: {said}");
        let foreign = if object.starts_with("shop") { "bank" } else { "shop" };
        assert!(!said.contains(foreign), "the other namespace is not named: {said}");
    }
    for object in ["shop/paths-other", "shop/own-below", "shop/pass-plain"] {
        assert_eq!(problems(&proxy, &format!("Route {object}")).await, "null", "{object}");
    }
    manifests.remove(&objects[0]);
    manifests.remove(&objects[5]);
    becomes(&proxy, "host.example.com/shop", "shop").await;
    becomes(&proxy, "x.one.example.com/", "shop").await;
    manifests.put(&objects[0]);
    becomes(&proxy, "host.example.com/shop", "bank").await;
    manifests.put(&objects[5]);

    let proxy = Proxy::start(&manifests, &["--allow-wildcard-routes", "--namespace-ownership=inter"]);
    check(
        &proxy,
        &[
            ("host.example.com/shop", "shop"),
            ("host.example.com/else", "bank"),
            ("elder.one.example.com/", "bank"),
            ("x.one.example.com/", "shop"),
            ("below.two.example.com/", "bank"),
            ("pass.example.com/e", "404"),
        ],
    )
    .await;
    let said = problems(&proxy, "Route shop/paths-late").await;
    assert!(said.contains("HostAlreadyClaimed"), "{said}");
}

#[tokio::test]
async fn a_shard_serves_what_it_selects_and_follows_labels() {
    let labels = |tier: &str| json!({ "tier": tier });
    let objects = [
        ingress_class(),
        labelled(web("front", "front.example.com", json!({})), labels("front")),
        labelled(web("back", "back.example.com", json!({})), labels("back")),
        labelled(ingress("in", "in.example.com", &[("Prefix", "/", "web")], json!({})), labels("back")),
        within("bank", labelled(web("bank", "bank.example.com", json!({})), labels("front"))),
        namespace("shop", json!({ "team": "a" })),
        namespace("bank", json!({ "team": "b" })),
    ];
    let (manifests, _pods) = with_pods(&["shop", "bank"], &objects);
    let proxy = Proxy::start(&manifests, &["--route-labels=tier in (front)"]);
    check(
        &proxy,
        &[
            ("front.example.com/", "shop"),
            ("back.example.com/", "404"),
            ("in.example.com/", "404"),
            ("bank.example.com/", "bank"),
        ],
    )
    .await;
    manifests.put(&labelled(objects[2].clone(), labels("front")));
    becomes(&proxy, "back.example.com/", "shop").await;
    manifests.put(&labelled(objects[1].clone(), labels("back")));
    becomes(&proxy, "front.example.com/", "404").await;
    manifests.put(&objects[1]);
    manifests.put(&objects[2]);
    drop(proxy);

    let proxy = Proxy::start(&manifests, &["--namespace-labels=team=a"]);
    check(&proxy, &[("front.example.com/", "shop"), ("in.example.com/", "shop"), ("bank.example.com/", "404")]).await;
    manifests.put(&namespace("bank", json!({ "team": "a" })));
    becomes(&proxy, "bank.example.com/", "bank").await;
    manifests.put(&namespace("shop", json!({})));
    becomes(&proxy, "front.example.com/", "404").await;
    becomes(&proxy, "in.example.com/", "404").await;
    drop(proxy);

    let proxy = Proxy::start(&manifests, &["--watch-namespace=bank"]);
    check(&proxy, &[("front.example.com/", "404"), ("bank.example.com/", "bank")]).await;
    let proxy = Proxy::start(&manifests, &["--route-fields=spec.host=front.example.com"]);
    check(&proxy, &[("front.example.com/", "shop"), ("back.example.com/", "404"), ("in.example.com/", "shop")]).await;
}

#[tokio::test]
async fn an_ingress_that_was_also_made_into_routes_is_served_once() {
    let ours = ingress("web", "web.example.com", &[("Exact", "/one", "web")], json!({}));
    let copy = made_from("web", web("web-x7k2p", "web.example.com", json!({})));
    // The copy is older than its Ingress here, and would win the host.
    let (manifests, _pods) = with_pods(&["shop"], &[ingress_class(), dated(2, ours.clone()), dated(1, copy)]);
    let proxy = Proxy::start(&manifests, &[]);
    check(&proxy, &[("web.example.com/one", "shop"), ("web.example.com/two", "404")]).await;
    assert_eq!(problems(&proxy, "Route shop/web-x7k2p").await, "null", "the copy has no verdict");
    let mut theirs = ours.clone();
    theirs["spec"]["ingressClassName"] = json!("openshift-default");
    manifests.put(&theirs);
    becomes(&proxy, "web.example.com/two", "shop").await;
    manifests.put(&ours);
    becomes(&proxy, "web.example.com/two", "404").await;
    manifests.remove(&ours);
    becomes(&proxy, "web.example.com/two", "shop").await;
}

#[tokio::test]
async fn the_class_of_an_ingress_decides_then_its_annotation_then_the_default() {
    let one = |name: &str, class: Value| {
        ingress(name, &format!("{name}.example.com"), &[("Prefix", "/", "web")], json!({ "ingressClassName": class }))
    };
    let by_annotation =
        |name: &str, class: &str| annotated(one(name, Value::Null), &[("kubernetes.io/ingress.class", class)]);
    let mut confused = annotated(one("confused", json!("nginx")), &[("kubernetes.io/ingress.class", "nearside")]);
    confused["metadata"]["name"] = json!("confused");
    let objects = [
        ingress_class(),
        one("field", json!("nearside")),
        one("other", json!("nginx")),
        one("without", Value::Null),
        by_annotation("annotated", "nearside"),
        by_annotation("foreign", "nginx"),
        confused,
    ];
    let (manifests, _pods) = with_pods(&["shop"], &objects);
    let proxy = Proxy::start(&manifests, &[]);
    let always = [
        ("field.example.com/", "shop"),
        ("other.example.com/", "404"),
        ("annotated.example.com/", "shop"),
        ("foreign.example.com/", "404"),
        ("confused.example.com/", "404"),
    ];
    check(&proxy, &always).await;
    check(&proxy, &[("without.example.com/", "404")]).await;
    // What an API server would do as the Ingress is made.
    let default = annotated(ingress_class(), &[("ingressclass.kubernetes.io/is-default-class", "true")]);
    manifests.put(&default);
    becomes(&proxy, "without.example.com/", "shop").await;
    check(&proxy, &always).await;
    let mut newer = annotated(ingress_class(), &[("ingressclass.kubernetes.io/is-default-class", "true")]);
    newer["metadata"]["name"] = json!("nginx");
    newer["metadata"]["creationTimestamp"] = json!("2026-02-01T00:00:00Z");
    newer["spec"]["controller"] = json!("k8s.io/ingress-nginx");
    manifests.put(&newer);
    becomes(&proxy, "without.example.com/", "404").await;
    manifests.remove(&newer);
    manifests.put(&ingress_class());
    becomes(&proxy, "without.example.com/", "404").await;
    drop(proxy);

    let proxy = Proxy::start(&manifests, &["--watch-ingress-without-class"]);
    check(&proxy, &always).await;
    check(&proxy, &[("without.example.com/", "shop")]).await;
    let proxy = Proxy::start(&manifests, &["--ingress-class=nginx"]);
    check(
        &proxy,
        &[("annotated.example.com/", "404"), ("foreign.example.com/", "shop"), ("field.example.com/", "shop")],
    )
    .await;
}

#[tokio::test]
async fn a_host_listed_for_tls_below_a_wildcard_rule_has_its_own_certificate() {
    let (wild, own) = (TestCa::new("wild").unwrap(), TestCa::new("own").unwrap());
    let secret = |name: &str, ca: &TestCa, host: &str| {
        let identity = ca.identity(&[host]).unwrap();
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "shop", "name": name },
            "type": "kubernetes.io/tls", "stringData": { "tls.crt": identity.certificate, "tls.key": identity.key }
        })
    };
    let tls = json!({ "tls": [
        { "hosts": ["*.example.com"], "secretName": "wild" },
        { "hosts": ["own.example.com"], "secretName": "own" },
    ]});
    let special = secret("own", &own, "own.example.com");
    let objects = [
        ingress_class(),
        ingress("web", "*.example.com", &[("Prefix", "/", "web")], tls),
        secret("wild", &wild, "*.example.com"),
        special.clone(),
    ];
    let (manifests, _pods) = with_pods(&["shop"], &objects);
    let proxy = Proxy::start(&manifests, &[]);
    let seen = async |ca: &TestCa, host: &str| {
        get_tls(proxy.https, ca, host, "/").await.ok().and_then(|reply| reply.pod().map(ToOwned::to_owned))
    };
    assert_eq!(seen(&own, "own.example.com").await.as_deref(), Some("shop"));
    assert_eq!(seen(&wild, "own.example.com").await, None, "not the certificate of the wildcard");
    assert_eq!(seen(&wild, "other.example.com").await.as_deref(), Some("shop"));
    manifests.remove(&special);
    eventually("the wildcard's certificate stands in", || async {
        seen(&wild, "own.example.com").await.is_some().then_some(())
    })
    .await;
    manifests.put(&special);
    eventually("the own one is back", || async { seen(&own, "own.example.com").await.is_some().then_some(()) }).await;
}

#[tokio::test]
async fn services_whose_pods_are_elsewhere_or_asleep_are_unavailable() {
    let external = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "shop", "name": "external" },
        "spec": { "type": "ExternalName", "externalName": "localhost", "ports": [{ "name": "http", "port": 80 }] }
    });
    let (_pod, address) = echo_pod("cluster-ip");
    let idle = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "namespace": "shop", "name": "idle",
            "annotations": { "idling.alpha.openshift.io/idled-at": "2026-01-01T00:00:00Z" }
        },
        "spec": {
            "clusterIP": address.ip().to_string(), "selector": { "app": "idle" },
            "ports": [{ "name": "http", "port": address.port() }]
        }
    });
    let manifests = Manifests::with(&[
        route("external", "external.example.com", json!({})),
        route("idle", "idle.example.com", json!({})),
        external,
        idle,
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    check(&proxy, &[("external.example.com/", "503"), ("idle.example.com/", "503")]).await;
}
