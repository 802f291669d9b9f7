//! What a test sees of its cluster besides answers: DNS, statuses, Events, logs, metrics; and waiting until it is as it should be.

use super::{NAMESPACES, Stage};
use hickory_proto::rr::{RData, RecordType};
use nearside_loadtest::client::Record;
use nearside_loadtest::programs::{self, Program};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

impl Stage {
    /// Looks again until `seen` says that it is as wanted; panics with what it saw last if that never comes.
    pub(crate) async fn until<T: Debug>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> T,
        wanted: impl Fn(&T) -> bool,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = look().await;
            if wanted(&seen) {
                return seen;
            }
            if Instant::now() > deadline {
                for program in self.programs.values() {
                    eprintln!("--- {}\n{}", program.name(), program.tail(15));
                }
                panic!("never happened: {what}; seen last: {seen:#?}");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The nodes whose addresses the name server has for `host` right now.
    pub(crate) async fn published(&self, host: &str) -> BTreeSet<String> {
        let mut nodes = BTreeSet::new();
        // A name server that is still starting has no answer yet.
        let family = if self.network.control().address().is_ipv4() { RecordType::A } else { RecordType::AAAA };
        let Ok(answer) = self.names.ask(host, family).await else { return nodes };
        for record in answer.answers {
            let address = match record.data {
                RData::A(a) => Some(IpAddr::from(a.0)),
                RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.0)),
                _ => None,
            };
            if let Some(address) = address {
                let node = self.network.nodes().iter().find(|node| node.place().addresses().contains(&address));
                nodes.insert(node.map_or_else(|| address.to_string(), |node| node.name().to_owned()));
            }
        }
        nodes
    }

    /// Waits until DNS has exactly these nodes for `host`.
    pub(crate) async fn until_published(&self, host: &str, nodes: &[&str]) {
        let wanted: BTreeSet<String> = nodes.iter().map(|&node| node.to_owned()).collect();
        let what = format!("DNS has {nodes:?} for {host}");
        self.until(&what, async || self.published(host).await, |seen| *seen == wanted).await;
    }

    /// Asks a node until it answers with `status`.
    pub(crate) async fn until_status(&self, node: &str, url: &str, status: u16) -> Record {
        let what = format!("{node} answers {url} with {status}");
        self.until(&what, async || self.ask(node, url).await, |record| record.status == Some(status)).await
    }

    /// Asks a node until it serves the URL from its own pod.
    pub(crate) async fn until_served(&self, node: &str, url: &str) -> Record {
        let record = self.until_status(node, url, 200).await;
        assert!(record.by_own_node(), "{record:?}");
        record
    }

    /// The condition of a type in a Route's first entry; null when it has none.
    pub(crate) fn condition(&self, namespace: &str, route: &str, kind: &str) -> Value {
        let status = self.objects.status("Route", namespace, route);
        let conditions = status["ingress"][0]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
    }

    /// Waits until a Route's `Admitted` condition has this status and reason (`""` for none); returns its message.
    pub(crate) async fn until_admitted(&self, namespace: &str, route: &str, status: &str, reason: &str) -> String {
        let what = format!("Route {namespace}/{route} is Admitted={status} {reason}");
        let look = async || self.condition(namespace, route, "Admitted");
        let seen = self
            .until(&what, look, |seen| seen["status"] == status && seen["reason"].as_str().unwrap_or("") == reason)
            .await;
        seen["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an Event about an object has this reason; returns its message.
    pub(crate) async fn until_event(&self, kind: &str, name: &str, reason: &str) -> String {
        let look = async || {
            let events = self.objects.api().list("v1", "Event", "");
            let about = |event: &&Value| {
                event["involvedObject"]["kind"] == kind
                    && event["involvedObject"]["name"] == name
                    && event["reason"] == reason
            };
            events.iter().find(about).map(|event| event["message"].as_str().unwrap_or_default().to_owned())
        };
        self.until(&format!("{kind} {name} has an Event {reason}"), look, Option::is_some).await.unwrap()
    }

    /// Waits until a program's log has a line with all of `parts`.
    pub(crate) async fn until_logged(&self, program: &str, parts: &[&str]) -> String {
        let program: &Program = &self.programs[program];
        let names = self.objects.names();
        let parts: Vec<String> = parts.iter().map(|part| names.text(part, &NAMESPACES)).collect();
        let look = async || {
            let log = std::fs::read_to_string(program.log()).unwrap_or_default();
            log.lines().find(|line| parts.iter().all(|part| line.contains(part.as_str()))).map(str::to_owned)
        };
        self.until(&format!("{} logs {parts:?}", program.name()), look, Option::is_some).await.unwrap()
    }

    /// A page of a program's admin port; status 0 when there is no answer.
    pub(crate) async fn admin_page(&self, program: &str, path: &str) -> (u16, String) {
        programs::get(self.network.control(), self.admin(program), path).await.unwrap_or_default()
    }

    /// The sum of all samples of a metric; `None` when there is none.
    pub(crate) async fn metric(&self, program: &str, name: &str) -> Option<f64> {
        let (_, page) = self.admin_page(program, "/metrics").await;
        let samples =
            page.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        let values: Vec<f64> = samples.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// No byte came from a pod of another node, by every proxy's own count.
    pub(crate) async fn assert_nothing_crossed(&self) {
        for name in self.programs.keys().filter(|name| name.starts_with("proxy-")) {
            assert_eq!(self.metric(name, "nearside_cross_node_response_bytes_total").await, Some(0.0), "{name}");
        }
    }
}

/// What has not happened by then never will.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(25);
