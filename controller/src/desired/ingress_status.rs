//! The status of an Ingress: its verdict and the addresses of its hosts flow in, the wanted `status.loadBalancer.ingress`
//! flows out, and with the list as it stands, the list to write.

use super::EventIntent;
use nearside_routing::Outcome;
use nearside_routing::verdict::Verdict;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What the status of an Ingress should be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IngressIntent {
    /// The addresses of the nodes that are published for its hosts, sorted; `None` means that the status stays as it is.
    pub(crate) addresses: Option<Vec<String>>,
    /// What to tell its owner.
    pub(crate) events: BTreeSet<EventIntent>,
}

/// The intent for an Ingress of our class. One that is rejected has no address.
pub(super) fn intent(
    verdict: &Verdict,
    addresses: Option<Vec<String>>,
    events: BTreeSet<EventIntent>,
) -> IngressIntent {
    let addresses = match verdict.outcome {
        Outcome::Admitted => addresses,
        Outcome::Rejected(_) => Some(Vec::new()),
    };
    IngressIntent { addresses, events }
}

/// The list to write in place of `current` (`status.loadBalancer.ingress`), or `None` where nothing is to be written.
/// `intent` is `None` for an Ingress that is ours no more: its list is emptied if it still holds what we wrote.
pub(crate) fn next_addresses(
    current: &[Value],
    intent: Option<&IngressIntent>,
    previous: Option<&IngressIntent>,
) -> Option<Vec<Value>> {
    let list = |addresses: &[String]| addresses.iter().map(|ip| json!({ "ip": ip })).collect::<Vec<_>>();
    match intent {
        Some(intent) => {
            let next = list(intent.addresses.as_deref()?);
            let same = current.len() == next.len()
                && current.iter().zip(&next).all(|(current, next)| current["ip"] == next["ip"]);
            (!same).then_some(next)
        }
        None => {
            let ours = list(previous?.addresses.as_deref()?);
            (!current.is_empty() && current == ours).then(Vec::new)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(addresses: &[&str]) -> IngressIntent {
        IngressIntent { addresses: Some(addresses.iter().map(|a| (*a).to_owned()).collect()), events: BTreeSet::new() }
    }

    #[test]
    fn a_list_that_is_right_is_not_written() {
        let wanted = intent(&["198.18.0.1", "198.18.0.2"]);
        let written = next_addresses(&[], Some(&wanted), None).unwrap();
        assert_eq!(written, [json!({"ip": "198.18.0.1"}), json!({"ip": "198.18.0.2"})]);
        assert_eq!(next_addresses(&written, Some(&wanted), None), None);
        assert_eq!(next_addresses(&written, Some(&intent(&[])), None), Some(Vec::new()));
    }

    #[test]
    fn the_list_of_an_ingress_that_left_is_emptied_only_if_it_is_still_ours() {
        let ours = intent(&["198.18.0.1"]);
        assert_eq!(next_addresses(&[json!({"ip": "198.18.0.1"})], None, Some(&ours)), Some(Vec::new()));
        assert_eq!(next_addresses(&[json!({"ip": "203.0.113.9"})], None, Some(&ours)), None);
        assert_eq!(next_addresses(&[json!({"ip": "198.18.0.1"})], None, None), None);
    }

    #[test]
    fn unknown_addresses_leave_the_list_alone() {
        let unknown = IngressIntent { addresses: None, events: BTreeSet::new() };
        assert_eq!(next_addresses(&[json!({"ip": "198.18.0.1"})], Some(&unknown), None), None);
    }
}
