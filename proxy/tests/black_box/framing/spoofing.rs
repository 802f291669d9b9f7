//! What clients say of themselves, in every spelling: the pod reads what the proxy knows, or what the policy lets the client say, under the
//! names of these fields and under no other.

use super::pods::{self, Recorded};
use crate::support::client::{connect_tls, raw, read_to_end};
use crate::support::manifests::{annotated, pod, route, service};
use crate::support::{Manifests, Proxy};
use nearside_loadtest::certificates::TestCa;
use serde_json::json;
use tokio::io::AsyncWriteExt;

const CLAIM: &str = "203.0.113.7";
const POLICIES: [&str; 4] = ["append", "replace", "if-none", "never"];

/// Spellings that some server reads like a field: as variables (RFC 3875 §4.1.18), or with blanks that it takes off.
fn twins(name: &str) -> Vec<String> {
    let first = name.find('-').unwrap();
    let mut mixed = name.to_owned();
    mixed.replace_range(first..=first, "_");
    vec![
        name.replace('-', "_"),
        mixed,
        name.replace('-', "."),
        name.replace('-', "~"),
        name.replace('-', "_").to_uppercase(),
    ]
}

/// The fields of the last request, without those that every request has.
fn said(recorded: &Recorded) -> Vec<(&str, &str)> {
    recorded.fields.iter().map(|(name, value)| (&**name, &**value)).collect()
}

#[tokio::test]
async fn no_spelling_of_a_forwarded_field_gets_by_the_policy() {
    let (scripted, record) = pods::recording(false, None).await;
    let mut objects = vec![service("web"), pod("web", "web-1", scripted.address)];
    for policy in POLICIES {
        let host = format!("{policy}.example.com");
        let web = route(policy, &host, json!({ "to": { "kind": "Service", "name": "web" } }));
        objects.push(annotated(web, &[("haproxy.router.openshift.io/set-forwarded-headers", policy)]));
    }
    let manifests = Manifests::with(&objects);
    for flags in crate::byte_path::WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for policy in POLICIES {
            for name in [
                "X-Forwarded-For",
                "X-Forwarded-Proto",
                "X-Forwarded-Host",
                "X-Forwarded-Port",
                "Forwarded",
                "X-Real-IP",
            ] {
                let ask = |fields: String| {
                    let address = proxy.http;
                    let request =
                        format!("GET /a HTTP/1.1\r\nHost: {policy}.example.com\r\nConnection: close\r\n{fields}\r\n");
                    async move { raw(address, request.as_bytes()).await }
                };
                // Its own name, in any case and as often as one likes.
                for spelled in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
                    let answer = ask(format!("{spelled}: {CLAIM}\r\n{name}: {CLAIM}\r\n")).await;
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                    let taken = record.take();
                    let [recorded] = &taken[..] else { panic!("one request comes") };
                    let values = recorded.values(&name.to_lowercase());
                    let claimed = values.iter().filter(|value| value.contains(CLAIM)).count();
                    // A list grows at its end, where its reader begins; of anything else there is one value.
                    let list = matches!(name, "X-Forwarded-For" | "Forwarded");
                    let free = matches!(policy, "if-none" | "never") || name == "X-Real-IP";
                    match (free, policy) {
                        (true, _) => assert_eq!(claimed, values.len(), "{policy} {spelled}: {values:?}"),
                        (false, "append") if list => {
                            assert!(values.last().unwrap().contains("127.0.0.1"), "{policy} {spelled}: {values:?}");
                        }
                        _ => assert_eq!((claimed, values.len()), (0, 1), "{policy} {spelled}: {values:?}"),
                    }
                }
                if name == "Forwarded" {
                    continue;
                }
                for twin in twins(name) {
                    let answer = ask(format!("{twin}: {CLAIM}\r\n")).await;
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                    let taken = record.take();
                    let [recorded] = &taken[..] else { panic!("one request comes") };
                    let told = said(recorded);
                    assert!(told.iter().all(|(_, value)| !value.contains(CLAIM)), "{policy} {twin}: {told:?}");
                }
                if name == "X-Real-IP" {
                    // It is the client's own.
                    continue;
                }
                for option in [name.to_owned(), format!("close, {}", name.to_uppercase())] {
                    let fields = format!("Connection: {option}\r\n{name}: {CLAIM}\r\n");
                    let answer = ask(fields).await;
                    assert!(answer.starts_with("HTTP/1.1 400 "), "{policy} {option}: {answer}");
                }
                assert!(record.take().is_empty(), "no pod gets a request that hides who asks");
            }
        }
    }
    assert_eq!(record.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn no_spelling_of_a_certificate_field_reaches_a_pod() {
    const HOST: &str = "web.example.com";
    let (scripted, record) = pods::recording(false, None).await;
    let ca = TestCa::new("test").unwrap();
    let identity = ca.identity(&[HOST]).unwrap();
    let tls = json!({ "tls": { "termination": "edge", "insecureEdgeTerminationPolicy": "Allow",
                               "certificate": identity.certificate, "key": identity.key } });
    let manifests = Manifests::with(&[route("web", HOST, tls), service("web"), pod("web", "web-1", scripted.address)]);
    for flags in crate::byte_path::WAYS {
        let proxy = Proxy::start(&manifests, flags);
        for name in [
            "X-SSL",
            "X-SSL-Client-Verify",
            "X-SSL-Client-CN",
            "X-SSL-Client-DER",
            "SSL-Client-Verify",
            "Ssl-Client-Subject-Dn",
        ] {
            let spelled = [vec![name.to_owned(), name.to_lowercase(), name.to_uppercase()], twins(name)].concat();
            for name in spelled {
                let request =
                    format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{name}: {CLAIM}\r\n\r\n");
                let mut over_tls = connect_tls(proxy.https, &ca, HOST, &["http/1.1"]).await.unwrap();
                over_tls.write_all(request.as_bytes()).await.unwrap();
                over_tls.flush().await.unwrap();
                for answer in [raw(proxy.http, request.as_bytes()).await, read_to_end(&mut over_tls).await] {
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{name}: {answer}");
                }
                for recorded in record.take() {
                    let told = said(&recorded);
                    assert!(told.iter().all(|(_, value)| !value.contains(CLAIM)), "{name}: {told:?}");
                }
            }
        }
    }
}
