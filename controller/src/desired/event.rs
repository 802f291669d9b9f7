//! Events: the verdict on an object and the placement of its hosts flow in, what its owner should be told flows out.

use nearside_routing::placement::Basis;
use nearside_routing::verdict::Verdict;
use nearside_routing::{HostPattern, Outcome, Placement};
use std::collections::BTreeSet;

/// One thing to tell the owner of an object; always of type Warning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventIntent {
    /// The reason, a single word for machines.
    pub(crate) reason: &'static str,
    /// For people; names the field.
    pub(crate) message: String,
}

/// What is wrong with an object and its hosts, each once.
pub(crate) fn events(verdict: &Verdict, hosts: &BTreeSet<HostPattern>, placement: &Placement) -> BTreeSet<EventIntent> {
    let rejected = match &verdict.outcome {
        Outcome::Admitted => None,
        Outcome::Rejected(problem) => Some(problem),
    };
    let problems = rejected.into_iter().chain(&verdict.problems).map(|problem| EventIntent {
        reason: problem.reason.as_str(),
        message: shortened(&format!("{}: {}", problem.field, problem.message)),
    });
    let without_pods = hosts
        .iter()
        .filter(|pattern| placement.hosts.get(pattern).is_some_and(|host| host.basis == Basis::NoReadyPods))
        .map(|pattern| EventIntent {
            reason: NO_READY_PODS,
            message: format!(
                "{pattern}: no node holds a ready pod of its Services; check the Services' selectors and pods"
            ),
        });
    problems.chain(without_pods).take(MAX_EVENTS).collect()
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
/// Events of one object at a time; an Ingress of a thousand bad paths is told about the first.
const MAX_EVENTS: usize = 16;
/// Bytes of a message; the API server refuses Events beyond 1024.
const MAX_TEXT: usize = 1024;
const ELLIPSIS: &str = "…";
