//! Events: the verdict on an object and the placement of its hosts flow in, what its owner should be told flows out.

use nearside_routing::placement::Basis;
use nearside_routing::published::DnsPublication;
use nearside_routing::verdict::Verdict;
use nearside_routing::{HostPattern, Outcome, Placement};
use std::collections::BTreeSet;

/// One thing to tell the owner of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventIntent {
    /// The reason, a single word for machines.
    pub(crate) reason: &'static str,
    /// For people; names the field.
    pub(crate) message: String,
    /// Whether it is as it should be (type Normal), and not something to put right (type Warning).
    pub(crate) good: bool,
}

/// What has become of an object with a write of its status; told when it happens, and not for as long as it holds.
pub(crate) fn passed(change: Passed, what: &str) -> EventIntent {
    let (reason, message, good) = match change {
        Passed::Published => (PUBLISHED, format!("{what} is published in DNS"), true),
        Passed::Withdrawn => (WITHDRAWN, format!("{what} does not serve it any more"), true),
        Passed::NotPlaced => (WITHDRAWN, format!("{what} is not published any more"), false),
    };
    EventIntent { reason, message, good }
}

/// See [`passed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// Its records can be found in DNS.
    Published,
    /// It has left the scope of this router.
    Withdrawn,
    /// It is in scope, and nothing is published for it.
    NotPlaced,
}

/// What is wrong with an object and its hosts, each once.
pub(crate) fn events(
    verdict: &Verdict,
    hosts: &BTreeSet<HostPattern>,
    placement: &Placement,
    dns: &DnsPublication,
) -> BTreeSet<EventIntent> {
    let rejected = match &verdict.outcome {
        Outcome::Admitted => None,
        Outcome::Rejected(problem) => Some(problem),
    };
    let problems = rejected.into_iter().chain(&verdict.problems).map(|problem| EventIntent {
        reason: problem.reason.as_str(),
        message: shortened(&format!("{}: {}", problem.field, problem.message)),
        good: false,
    });
    let nowhere = hosts.iter().filter_map(|pattern| {
        let (reason, what) = match placement.hosts.get(pattern)?.basis {
            Basis::NoReadyPods => {
                (NO_READY_PODS, "no node holds a ready pod of its Services; check the Services' selectors and pods")
            }
            Basis::NoReadyRouter => (NO_READY_ROUTER, "no node has a ready router; check the pods of nearside-proxy"),
            Basis::AllServices | Basis::MostServices { .. } | Basis::Terminating => return None,
        };
        Some(EventIntent { reason, message: format!("{pattern}: {what}"), good: false })
    });
    let troubles = hosts.iter().filter_map(|pattern| {
        let trouble = dns.hosts.get(pattern)?.trouble().filter(|trouble| !PROGRESS.contains(&&*trouble.reason))?;
        let message = shortened(&format!("{pattern}: {}: {}", trouble.reason, trouble.message));
        Some(EventIntent { reason: NOT_PUBLISHED, message, good: false })
    });
    problems.chain(nowhere).chain(troubles).take(MAX_EVENTS).collect()
}

/// A text cut to what fits a condition or an Event.
pub(crate) fn shortened(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    let end = (0..=MAX_TEXT - ELLIPSIS.len()).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("{}{ELLIPSIS}", &text[..end])
}

/// The reason of the Event for a host without any ready pod.
pub(crate) const NO_READY_PODS: &str = "NoReadyPods";
/// The reason of the Event for a host while no node has a ready router.
const NO_READY_ROUTER: &str = "NoReadyRouter";
/// The reason of the Event for records that a publisher cannot publish, whose own reason the message begins with.
const NOT_PUBLISHED: &str = "DNSNotPublished";
/// Reasons of publishers that say only that the records are on their way, or that mend themselves.
const PROGRESS: [&str; 3] = ["Waiting", "Differs", "Stale"];
/// The reason of the Event for what is found in DNS for the first time.
pub(crate) const PUBLISHED: &str = "Published";
/// The reason of the Event for what is not served or not published any more.
const WITHDRAWN: &str = "Withdrawn";
/// Events of one object at a time; an Ingress of a thousand bad paths is told about the first.
const MAX_EVENTS: usize = 16;
/// Bytes of a message; the API server refuses Events beyond 1024.
const MAX_TEXT: usize = 1024;
const ELLIPSIS: &str = "…";
