//! Every TLS mode of Routes and Ingresses, over the wire: who terminates, whose certificate a client sees, what plain requests get.

use crate::objects::{edge, ingress, route, secret, secure_service, service, with_tls};
use crate::stage::{Source, Stage};
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::client::{Call, Protocol, Record};
use nearside_loadtest::pods::Echo;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_is_served_with_its_certificate_from_the_api() {
    each_mode_is_served_with_its_certificate(Source::Api).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_is_served_with_its_certificate_from_manifests() {
    each_mode_is_served_with_its_certificate(Source::Manifests).await;
}

async fn each_mode_is_served_with_its_certificate(source: Source) {
    let stage = Stage::start(source, 1, |stage| {
        stage.put_all(&[service("web"), secure_service()]);
        let own = |host: &str| stage.ca.identity(&[host]).unwrap();
        let (inline, reencrypt) = (own(INLINE), own(REENCRYPT));
        for (name, host) in [("external", EXTERNAL), ("ingress", INGRESS)] {
            let identity = own(host);
            stage.put(&secret(name, &identity.certificate, &identity.key));
        }
        let external = json!({"termination": "edge", "externalCertificate": {"name": "external"}});
        let reencrypt = json!({
            "termination": "reencrypt", "certificate": reencrypt.certificate, "key": reencrypt.key,
            "destinationCACertificate": stage.ca.certificate(),
        });
        let mut with_secret = ingress("ingress", INGRESS, &[("/", "Prefix", "web")]);
        with_secret["spec"]["tls"] = json!([{"hosts": [INGRESS], "secretName": "ingress"}]);
        stage.put_all(&[
            route("plain", PLAIN, "web"),
            with_tls(route("inline", INLINE, "web"), edge(&inline)),
            with_tls(route("external", EXTERNAL, "web"), external),
            with_tls(route("passthrough", PASSTHROUGH, "secure"), json!({"termination": "passthrough"})),
            with_tls(route("reencrypt", REENCRYPT, "secure"), reencrypt),
            with_secret,
        ]);
        stage.run_pod("web", 1, "n1");
        stage.run_pod("secure", 1, "n1");
    })
    .await;

    stage.until_published(PLAIN, &["n1"]).await;
    let plain = stage.fetch(&format!("http://{PLAIN}/")).await;
    assert_eq!((plain.status, echo(&plain).tls), (Some(200), false), "{plain:?}");
    // The client verifies each certificate by name; each of these is good for one host alone.
    for (host, pod, pod_tls) in [
        (INLINE, "web-1", false),
        (EXTERNAL, "web-1", false),
        (INGRESS, "web-1", false),
        (PASSTHROUGH, "secure-1", true),
        (REENCRYPT, "secure-1", true),
    ] {
        stage.until_published(host, &["n1"]).await;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let call = Call { protocol, ..Call::get(&format!("https://{host}/x")) };
            let record = stage.client().fetch(&call).await;
            assert!(record.good() && record.by_own_node(), "{record:?}");
            assert_eq!(record.pod.as_deref(), Some(pod), "{host}");
            assert_eq!(echo(&record).tls, pod_tls, "{host}");
        }
    }
    assert_ne!(
        stage.ask("n1", &format!("http://{PASSTHROUGH}/")).await.status,
        Some(200),
        "only TLS is passed through"
    );
    stage.assert_nothing_crossed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_the_destination_ca_did_not_sign_is_never_served() {
    let stage = Stage::start(Source::Api, 1, |stage| {
        stage.put(&secure_service());
        let other = TestCa::new("another authority").unwrap();
        for (name, host, ca) in
            [("wrong", "wrong.apps.example.com", &other), ("right", "right.apps.example.com", &stage.ca)]
        {
            let identity = stage.ca.identity(&[host]).unwrap();
            let mut tls = edge(&identity);
            tls["termination"] = json!("reencrypt");
            tls["destinationCACertificate"] = json!(ca.certificate());
            stage.put(&with_tls(route(name, host, "secure"), tls));
        }
        stage.run_pod("secure", 1, "n1");
    })
    .await;
    stage.until_served("n1", "https://right.apps.example.com/").await;
    for _ in 0..3 {
        let record = stage.ask("n1", "https://wrong.apps.example.com/").await;
        assert!(matches!(record.status, Some(502 | 503)) && record.answered.is_none(), "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_requests_to_tls_routes_get_what_the_insecure_policy_says() {
    let hosts = [("None", "none"), ("Allow", "allow"), ("Redirect", "redirect")];
    let stage = Stage::start(Source::Api, 1, |stage| {
        let identity = stage.ca.identity(&[INGRESS]).unwrap();
        stage.put_all(&[service("web"), secret("ingress", &identity.certificate, &identity.key)]);
        let mut with_secret = ingress("ingress", INGRESS, &[("/", "Prefix", "web")]);
        with_secret["spec"]["tls"] = json!([{"hosts": [INGRESS], "secretName": "ingress"}]);
        stage.put(&with_secret);
        for (policy, name) in hosts {
            let host = format!("{name}.apps.example.com");
            let mut tls = edge(&stage.ca.identity(&[&host]).unwrap());
            tls["insecureEdgeTerminationPolicy"] = json!(policy);
            stage.put(&with_tls(route(name, &host, "web"), tls));
        }
        stage.run_pod("web", 1, "n1");
    })
    .await;
    for (_, name) in hosts {
        stage.until_served("n1", &format!("https://{name}.apps.example.com/")).await;
    }
    let none = stage.ask("n1", "http://none.apps.example.com/").await;
    assert!(none.answered.is_none() && none.status.is_some_and(|status| status >= 400), "{none:?}");
    let allow = stage.ask("n1", "http://allow.apps.example.com/").await;
    assert!(allow.status == Some(200) && allow.by_own_node(), "{allow:?}");
    // OpenShift's routers say 302; of an Ingress the method has to survive.
    for (host, status) in [("redirect.apps.example.com", 302), (INGRESS, 308)] {
        stage.until_published(host, &["n1"]).await;
        let redirect = stage.ask("n1", &format!("http://{host}/a?b=c")).await;
        assert_eq!((redirect.status, &redirect.answered), (Some(status), &None), "{redirect:?}");
        let location = redirect.headers["location"].to_str().unwrap();
        assert!(location.starts_with(&format!("https://{host}")) && location.ends_with("/a?b=c"), "{location}");
        let followed = stage.fetch(&format!("http://{host}/a?b=c")).await;
        assert!(followed.status == Some(200) && followed.by_own_node(), "{followed:?}");
    }
}

/// The request as the pod saw it.
fn echo(record: &Record) -> Echo {
    serde_json::from_slice(&record.body).unwrap_or_else(|error| panic!("{error}: {record:?}"))
}

const PLAIN: &str = "plain.apps.example.com";
const INLINE: &str = "inline.apps.example.com";
const EXTERNAL: &str = "external.apps.example.com";
const INGRESS: &str = "ingress.apps.example.com";
const PASSTHROUGH: &str = "passthrough.apps.example.com";
const REENCRYPT: &str = "reencrypt.apps.example.com";
