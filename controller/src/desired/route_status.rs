//! The status of a Route: its verdict and placement flow in, our wanted entry of `status.ingress` flows out, and with the
//! list as it stands, the list to write. Entries of other routers are never touched.

use super::event::shortened;
use super::{EventIntent, HoldReason};
use nearside_routing::object::WildcardPolicy;
use nearside_routing::placement::{Basis, HostPlacement};
use nearside_routing::verdict::Verdict;
use nearside_routing::{HostPattern, Instance, Outcome, Placement, SharedMap};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// What our entry in the status of a Route should say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RouteIntent {
    /// The effective host.
    pub(crate) host: String,
    /// `spec.wildcardPolicy`; `None` where it is not a word of the API.
    pub(crate) wildcard_policy: Option<&'static str>,
    /// One for each type of ours that holds or does not; a type that is not named is removed.
    pub(crate) conditions: Vec<ConditionIntent>,
    /// What to tell its owner.
    pub(crate) events: BTreeSet<EventIntent>,
}

/// A condition without its time, which depends on what stood there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConditionIntent {
    pub(crate) kind: &'static str,
    pub(crate) status: Truth,
    pub(crate) reason: Cow<'static, str>,
    pub(crate) message: String,
}

/// `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    True,
    False,
    Unknown,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// How we sign our entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouterIdentity {
    /// `routerName` (`--router-name`).
    pub(crate) name: String,
    /// `routerCanonicalHostname` (`--router-canonical-hostname`), empty for none.
    pub(crate) canonical_hostname: String,
    /// Whether the status of Routes and Ingresses is written at all (`--update-status`).
    pub(crate) writes_status: bool,
}

impl RouterIdentity {
    /// How its DNSEndpoints and its Lease are named.
    pub(crate) fn instance(&self) -> Instance {
        Instance::of(&self.name)
    }
}

/// Whether an entry was written by Nearside, and not by another router of the same name.
pub(crate) fn is_signed(entry: &Value) -> bool {
    let conditions = entry["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == PLACED)
}

/// Whether an entry says that the host is published.
pub(crate) fn is_published(entry: &Value) -> bool {
    let conditions = entry["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == PUBLISHED && condition["status"] == "True")
}

/// The intent for a Route.
pub(super) fn intent(
    verdict: &Verdict,
    hosts: &BTreeSet<HostPattern>,
    placement: &Placement,
    held: &SharedMap<HostPattern, HoldReason>,
    publication: Option<Publication>,
    events: BTreeSet<EventIntent>,
) -> RouteIntent {
    let mut conditions = Vec::new();
    match &verdict.outcome {
        // OpenShift's router gives no reason for what is as it should be.
        Outcome::Admitted => {
            conditions.push(ConditionIntent {
                kind: ADMITTED,
                status: Truth::True,
                reason: "".into(),
                message: String::new(),
            });
        }
        Outcome::Rejected(problem) => conditions.push(ConditionIntent {
            kind: ADMITTED,
            status: Truth::False,
            reason: problem.reason.as_str().into(),
            message: shortened(&match problem.field.as_str() {
                // What is said of the host names it, in the words of the OpenShift router.
                "spec.host" => problem.message.clone(),
                field => format!("{field}: {}", problem.message),
            }),
        }),
    }
    if matches!(verdict.outcome, Outcome::Rejected(_)) {
        let message = "the Route is not admitted; see the condition Admitted".to_owned();
        let reason = NOT_ADMITTED.into();
        conditions.push(ConditionIntent { kind: PLACED, status: Truth::False, reason, message });
    }
    // A Route has one host.
    let pattern = hosts.first();
    if let Some((pattern, host)) = pattern.and_then(|pattern| Some((pattern, placement.hosts.get(pattern)?))) {
        conditions.push(placed(host, held.get(pattern).map(|reason| **reason)));
        conditions.extend(publication.map(published));
        if held.get(pattern).map(|reason| **reason) == Some(HoldReason::NodesNotReady) {
            let (status, reason) = (Truth::True, HoldReason::NodesNotReady.as_str().into());
            conditions.push(ConditionIntent { kind: HELD, status, reason, message: NODES_NOT_READY.to_owned() });
        }
    }
    let wildcard_policy = verdict.wildcard_policy.map(WildcardPolicy::as_str);
    RouteIntent { host: verdict.host.clone(), wildcard_policy, conditions, events }
}

/// What is to be said of the records of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Publication {
    /// A publisher has taken the records that should be published.
    Observed,
    /// Publishers tell what they take, and have not taken these.
    Waiting,
    /// A publisher tells why they are not found.
    Troubled {
        /// One word.
        reason: String,
        /// For people.
        message: String,
    },
    /// No publisher has ever told anything.
    NotReported,
}

fn published(publication: Publication) -> ConditionIntent {
    let (status, reason, message) = match publication {
        Publication::Observed => (Truth::True, "Observed", "a publisher has taken the records"),
        Publication::Waiting => (Truth::False, WAITING, "no publisher has taken the newest records"),
        Publication::Troubled { reason, message } => {
            let (status, message) = (Truth::False, shortened(&message));
            return ConditionIntent { kind: PUBLISHED, status, reason: reason.into(), message };
        }
        Publication::NotReported => {
            (Truth::Unknown, "NotReported", "no publisher of DNSEndpoints has told what it publishes")
        }
    };
    ConditionIntent { kind: PUBLISHED, status, reason: reason.into(), message: message.to_owned() }
}

fn placed(host: &HostPlacement, held: Option<HoldReason>) -> ConditionIntent {
    let nodes = node_list(host);
    let condition = |status: bool, reason: &'static str, message: String| {
        let (status, reason) = (status.into(), reason.into());
        ConditionIntent { kind: PLACED, status, reason, message }
    };
    if held == Some(HoldReason::NoAddress) {
        let message = format!("{nodes} have no address of a type that is published; the last known records stay");
        return condition(false, HoldReason::NoAddress.as_str(), message);
    }
    let reason = host.basis.as_str();
    match host.basis {
        Basis::AllServices => condition(true, reason, nodes),
        Basis::MostServices { held, total } => {
            condition(false, reason, format!("no node holds pods of all {total} Services; {nodes} hold {held}"))
        }
        Basis::Terminating => condition(false, reason, format!("no pod is ready; {nodes} hold pods that end")),
        Basis::NoReadyPods => condition(false, reason, NO_READY_PODS.into()),
        Basis::NoReadyRouter => {
            condition(false, reason, "no node has a ready router; the last known records stay".into())
        }
    }
}

fn node_list(host: &HostPlacement) -> String {
    let shown: Vec<&str> = host.nodes.iter().take(SHOWN_NODES).map(|name| &**name).collect();
    let more = host.nodes.len().saturating_sub(SHOWN_NODES);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    shortened(&format!("nodes {}{rest}", shown.join(", ")))
}

/// The list to write in place of `current` (`status.ingress`), or `None` where it is right. `intent` is `None` for a Route
/// that has left our scope: our entry goes. `now` is RFC 3339 with whole seconds; it marks conditions whose status changes.
pub(crate) fn next_entries(
    current: &[Value],
    intent: Option<&RouteIntent>,
    router: &RouterIdentity,
    now: &str,
) -> Option<Vec<Value>> {
    let is_ours = |entry: &&Value| entry["routerName"] == router.name.as_str();
    let own = current.iter().find(is_ours);
    let wanted = intent.map(|intent| entry(intent, own, router, now));
    let mut next: Vec<Value> = Vec::with_capacity(current.len() + 1);
    let mut wanted = wanted;
    for existing in current {
        if is_ours(&existing) {
            next.extend(wanted.take());
        } else {
            next.push(existing.clone());
        }
    }
    next.extend(wanted);
    (next != current).then_some(next)
}

fn entry(intent: &RouteIntent, own: Option<&Value>, router: &RouterIdentity, now: &str) -> Value {
    let no_conditions = Vec::new();
    let known = own.and_then(|entry| entry["conditions"].as_array()).unwrap_or(&no_conditions);
    let mut conditions: Vec<Value> = intent
        .conditions
        .iter()
        .map(|condition| {
            let status = match condition.status {
                Truth::True => "True",
                Truth::False => "False",
                Truth::Unknown => "Unknown",
            };
            let before = known.iter().find(|old| old["type"] == condition.kind && old["status"] == status);
            let since = before.and_then(|old| old["lastTransitionTime"].as_str()).unwrap_or(now);
            let mut value = json!({"type": condition.kind, "status": status, "lastTransitionTime": since});
            // The time is that of the condition, so that the message stays while it waits.
            let message = match &*condition.reason {
                WAITING => format!("{} since {since}", condition.message),
                _ => condition.message.clone(),
            };
            for (field, text) in [("reason", &*condition.reason), ("message", &message)] {
                if !text.is_empty() {
                    value[field] = text.into();
                }
            }
            value
        })
        .collect();
    conditions.extend(known.iter().filter(|old| OURS.iter().all(|ours| old["type"] != *ours)).cloned());
    let mut entry = Map::new();
    entry.insert("host".into(), intent.host.as_str().into());
    entry.insert("routerName".into(), router.name.as_str().into());
    if !router.canonical_hostname.is_empty() {
        entry.insert("routerCanonicalHostname".into(), router.canonical_hostname.as_str().into());
    }
    if let Some(policy) = intent.wildcard_policy {
        entry.insert("wildcardPolicy".into(), policy.into());
    }
    entry.insert("conditions".into(), conditions.into());
    entry.into()
}

const ADMITTED: &str = "Admitted";
const PLACED: &str = "nearside.dev/Placed";
const PUBLISHED: &str = "nearside.dev/DNSPublished";
const HELD: &str = "nearside.dev/DNSHeld";
/// The conditions that we write.
const OURS: [&str; 4] = [ADMITTED, PLACED, PUBLISHED, HELD];
const NODES_NOT_READY: &str = "many nodes at once are not Ready by the API server and all of these answer: they stay published until \
                               they are Ready, do not answer, or are drained (annotation nearside.dev/drain of a Node)";
const NO_READY_PODS: &str = "no node that is to stay holds a ready pod; nodes that are to go stay published while they answer, else \
                             every node with a ready router is published";
/// Why records are not published yet.
const WAITING: &str = "Waiting";
/// Why a Route that is rejected is placed nowhere.
const NOT_ADMITTED: &str = "NotAdmitted";
/// Node names in a message; the others are counted.
const SHOWN_NODES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn router() -> RouterIdentity {
        RouterIdentity { name: "default".into(), canonical_hostname: String::new(), writes_status: true }
    }

    fn admitted(status: bool, message: &str) -> RouteIntent {
        RouteIntent {
            host: "video.example.com".into(),
            wildcard_policy: Some("None"),
            conditions: vec![ConditionIntent {
                kind: ADMITTED,
                status: status.into(),
                reason: if status { "" } else { "HostAlreadyClaimed" }.into(),
                message: message.into(),
            }],
            events: BTreeSet::new(),
        }
    }

    #[test]
    fn the_time_of_a_condition_changes_with_its_status_only() {
        let first = next_entries(&[], Some(&admitted(false, "a")), &router(), "2026-01-01T00:00:00Z").unwrap();
        assert_eq!(next_entries(&first, Some(&admitted(false, "a")), &router(), "2026-01-01T00:00:09Z"), None);
        let reworded = next_entries(&first, Some(&admitted(false, "b")), &router(), "2026-01-01T00:00:09Z").unwrap();
        assert_eq!(reworded[0]["conditions"][0]["lastTransitionTime"], "2026-01-01T00:00:00Z");
        let turned = next_entries(&reworded, Some(&admitted(true, "")), &router(), "2026-01-01T00:00:09Z").unwrap();
        assert_eq!(turned[0]["conditions"][0]["lastTransitionTime"], "2026-01-01T00:00:09Z");
        assert_eq!(turned[0]["conditions"][0].get("reason"), None);
    }

    #[test]
    fn conditions_of_others_in_our_entry_stay() {
        let current = [json!({"host": "x", "routerName": "default", "conditions": [
            {"type": "DNSPublished", "status": "True"}, {"type": PLACED, "status": "True"}]})];
        let next = next_entries(&current, Some(&admitted(true, "")), &router(), "2026-01-01T00:00:00Z").unwrap();
        let kinds: Vec<_> = next[0]["conditions"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
        assert_eq!(kinds, [ADMITTED, "DNSPublished"]);
    }

    proptest! {
        #[test]
        fn entries_of_other_routers_are_never_touched(
            names in proptest::collection::vec(prop_oneof!["default", "public", "internal"], 0..6),
            leaves in any::<bool>(),
        ) {
            let current: Vec<Value> = names.iter().enumerate()
                .map(|(place, name)| json!({"routerName": name, "extra": place}))
                .collect();
            let intent = (!leaves).then(|| admitted(true, ""));
            let next = next_entries(&current, intent.as_ref(), &router(), "2026-01-01T00:00:00Z")
                .unwrap_or_else(|| current.clone());
            let foreign = |list: &[Value]| {
                list.iter().filter(|entry| entry["routerName"] != "default").cloned().collect::<Vec<_>>()
            };
            prop_assert_eq!(foreign(&next), foreign(&current));
            prop_assert_eq!(next.len() - foreign(&next).len(), usize::from(!leaves));
            prop_assert_eq!(next_entries(&next, intent.as_ref(), &router(), "2026-01-01T00:00:09Z"), None);
        }
    }
}
