//! What the demo's clients ask for: one entry per host, with the kind of object that routes it, what is asked of it, and which pods
//! must answer. Pure data; called by `stage` (objects), `traffic` (requests) and `report` (rows).

use crate::client::{Call, Protocol, Record};

/// The zone that dns-sync serves.
pub(super) const ZONE: &str = "apps.example.com";

/// A host of the demo.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Full name; for a wildcard, the pattern.
    pub(super) name: String,
    /// For the table: which object routes it, and how.
    pub(super) kind: &'static str,
    /// What small requests ask, in turn.
    pub(super) small: Vec<Ask>,
    /// What large downloads ask; none for hosts with small answers only.
    pub(super) large: Vec<Ask>,
}

/// One kind of request to a host.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) call: Call,
    /// The namespace and the application whose pods must answer: `namespace/app`.
    pub(super) pods: &'static str,
}

impl Ask {
    /// What is wrong with an answer; `killed` is the node that died, if one has.
    pub(super) fn fault(&self, record: &Record, killed: Option<&str>) -> Option<String> {
        if let Some(failure) = &record.failure {
            return Some(failure.clone());
        }
        if !record.good() {
            return Some(format!("status {}", record.status.unwrap_or(0)));
        }
        if !record.by_own_node() {
            let name = |node: &Option<String>| node.clone().unwrap_or_else(|| "nobody".into());
            return Some(format!(
                "asked node {}, answered by node {}",
                name(&record.contacted),
                name(&record.answered)
            ));
        }
        let (_, app) = self.pods.split_once('/').unwrap_or(("", self.pods));
        let pod = record.pod.as_deref().unwrap_or_default();
        if pod.rsplit_once('-').map(|(app, _)| app) != Some(app) {
            return Some(format!("answered by pod {pod} instead of one of {}", self.pods));
        }
        let stranger = record.retries.iter().find(|retry| Some(retry.node.as_str()) != killed)?;
        Some(format!("node {} is alive and did not answer: {}", stranger.node, stranger.reason))
    }
}

/// The host whose pod moves.
pub(super) const MOVING: &str = "moving.apps.example.com";

/// All hosts of the demo.
pub(super) fn hosts() -> Vec<Host> {
    let host = |name: &str, kind: &'static str, small: Vec<Ask>, large: Vec<Ask>| Host {
        name: name.into(),
        kind,
        small,
        large,
    };
    let http = |name: &str, path: &str, pods| ask("http", name, path, Protocol::Http1, pods);
    let https = |name: &str, path: &str, pods| ask("https", name, path, Protocol::Http1, pods);
    let h2 = |name: &str, path: &str, pods| ask("https", name, path, Protocol::Http2, pods);

    let plain = "plain.apps.example.com";
    let video = "video.apps.example.com";
    let passthrough = "passthrough.apps.example.com";
    let reencrypt = "reencrypt.apps.example.com";
    let claimed = "claimed.apps.example.com";
    let files = "files.apps.example.com";
    let shop = "shop.apps.example.com";
    vec![
        host(
            plain,
            "Route, plain HTTP",
            vec![http(plain, "/", WEB), http(plain, SMALL, WEB), http(plain, EVENTS, WEB), http(plain, MEDIUM, WEB)],
            vec![http(plain, HUGE, WEB)],
        ),
        host(
            video,
            "Route, edge TLS",
            vec![https(video, SMALL, VIDEO), h2(video, "/", VIDEO), http(video, "/", VIDEO), h2(video, MEDIUM, VIDEO)],
            vec![https(video, HUGE, VIDEO), h2(video, LARGE, VIDEO)],
        ),
        host(
            passthrough,
            "Route, passthrough TLS",
            vec![https(passthrough, "/", SECURE), h2(passthrough, SMALL, SECURE)],
            vec![https(passthrough, LARGE, SECURE)],
        ),
        host(
            reencrypt,
            "Route, reencrypt TLS",
            vec![https(reencrypt, "/", SECURE), h2(reencrypt, SMALL, SECURE)],
            vec![https(reencrypt, LARGE, SECURE)],
        ),
        host(
            MOVING,
            "Route, edge TLS, its pod moves",
            vec![https(MOVING, "/", MOVER), https(MOVING, SMALL, MOVER)],
            vec![https(MOVING, LARGE, MOVER)],
        ),
        host(claimed, "Route, claimed twice", vec![http(claimed, "/", WEB), http(claimed, SMALL, WEB)], vec![]),
        host(
            files,
            "Ingress, plain HTTP",
            vec![http(files, "/", WEB), http(files, SMALL, WEB)],
            vec![http(files, LARGE, WEB)],
        ),
        host(
            shop,
            "Ingress, TLS, exact + prefix",
            vec![
                https(shop, "/api", WEB),
                h2(shop, "/api", WEB),
                https(shop, SMALL, VIDEO),
                https(shop, "/other", WEB),
            ],
            vec![h2(shop, LARGE, VIDEO)],
        ),
        host(
            "*.tenants.apps.example.com",
            "Ingress, TLS, wildcard host",
            vec![https("alice.tenants.apps.example.com", "/", WEB), h2("bob.tenants.apps.example.com", SMALL, WEB)],
            vec![],
        ),
    ]
}

fn ask(scheme: &str, host: &str, path: &str, protocol: Protocol, pods: &'static str) -> Ask {
    Ask { call: Call { protocol, ..Call::get(&format!("{scheme}://{host}{path}")) }, pods }
}

const WEB: &str = "demo/web";
const VIDEO: &str = "demo/video";
const SECURE: &str = "demo/secure";
const MOVER: &str = "demo/mover";

const SMALL: &str = "/media/65536";
const MEDIUM: &str = "/media/1048576";
const LARGE: &str = "/media/16777216";
const HUGE: &str = "/media/67108864";
const EVENTS: &str = "/stream?events=10&interval=50";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Retry;

    fn record() -> Record {
        let node = Some("n1".to_owned());
        Record {
            status: Some(200),
            contacted: node.clone(),
            answered: node,
            pod: Some("web-1".into()),
            ..Record::default()
        }
    }

    fn judge(record: &Record, killed: Option<&str>) -> Option<String> {
        ask("http", "plain.apps.example.com", "/", Protocol::Http1, WEB).fault(record, killed)
    }

    #[test]
    fn a_good_answer_of_the_right_pod_on_the_asked_node_has_no_fault() {
        assert_eq!(judge(&record(), None), None);
    }

    #[test]
    fn each_way_to_be_wrong_is_a_fault() {
        let wrong = [
            Record { failure: Some("body stalled".into()), ..record() },
            Record { status: Some(503), ..record() },
            Record { answered: Some("n2".into()), ..record() },
            Record { answered: None, ..record() },
            Record { pod: Some("rival-1".into()), ..record() },
            Record { pod: None, ..record() },
        ];
        for record in wrong {
            assert!(judge(&record, Some("n3")).is_some(), "{record:?}");
        }
    }

    #[test]
    fn only_the_dead_node_may_be_passed_over() {
        let retry = |node: &str| Retry { node: node.into(), reason: "connect: no answer".into() };
        let passed_over = Record { retries: vec![retry("n3")], ..record() };
        assert_eq!(judge(&passed_over, Some("n3")), None);
        assert!(judge(&passed_over, None).is_some());
        assert!(judge(&Record { retries: vec![retry("n3"), retry("n2")], ..record() }, Some("n3")).is_some());
    }
}
