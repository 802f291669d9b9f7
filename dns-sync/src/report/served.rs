//! What the embedded server says of an object: whether its zones hold it, and what of it is left out, flow in; a statement flows
//! out. Pure; called by `source` after each build of the zones.

use super::Statement;
use crate::desired::{Desired, Problem, Rejection};
use nearside_watch::Told;
use nearside_watch::object::DnsEndpointStatus;

/// The statement about an object with these rejections. `None` where nothing of it is ours to serve: that is the matter of
/// another publisher.
pub(crate) fn statement(desired: &Desired, rejections: &[&Rejection], generation: i64) -> Option<Statement> {
    // Addresses are served without the shares that were asked for, too.
    let is_share = |rejection: &&&Rejection| matches!(rejection.problem, Problem::Weights(_));
    let rejections: Vec<&&Rejection> = rejections.iter().filter(|rejection| !is_share(rejection)).collect();
    let is_outside = |rejection: &&&&Rejection| matches!(rejection.problem, Problem::OutsideZones(_));
    let ours: Vec<&&&Rejection> = rejections.iter().filter(|rejection| !is_outside(rejection)).collect();
    if ours.is_empty() && rejections.len() >= desired.records.len() + desired.wildcard_aliases.len() {
        return None;
    }
    let told = |kind, holds, reason: &str, message: &str| Told {
        kind,
        holds: Some(holds),
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    let conditions = match ours.first() {
        None => vec![
            told(DnsEndpointStatus::APPLIED, true, "Served", "The name servers of Nearside serve it."),
            told(DnsEndpointStatus::VISIBLE, true, "Served", "The name servers of Nearside serve it."),
        ],
        Some(first) => {
            let more = ours.len() - 1;
            let mut message = format!("{}: {}", first.field, first.problem);
            if more > 0 {
                message.push_str(&format!(" (and {more} more)"));
            }
            vec![
                told(DnsEndpointStatus::APPLIED, false, "Rejected", &message),
                told(DnsEndpointStatus::VISIBLE, false, "Rejected", &message),
            ]
        }
    };
    Some(Statement { generation, visible: ours.is_empty(), conditions })
}
