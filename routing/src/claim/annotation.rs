//! Annotations of Nearside on Routes and Ingresses: text flows in, typed settings flow out. A value that is not
//! understood becomes a problem, and the default holds.

use crate::object::ObjectMeta;
use crate::table::MissPolicy;
use crate::verdict::{Problem, Reason, shown};

/// `nearside.dev/on-miss`.
pub(super) fn on_miss(metadata: &ObjectMeta, problems: &mut Vec<Problem>) -> Option<MissPolicy> {
    match metadata.annotation(ON_MISS)? {
        "redirect" => Some(MissPolicy::Redirect),
        "reject" => Some(MissPolicy::Reject),
        other => {
            problems.push(Problem::new(
                format!("metadata.annotations[\"{ON_MISS}\"]"),
                Reason::InvalidAnnotation,
                format!("{:?} is not one of redirect, reject; the router's default holds", shown(other)),
            ));
            None
        }
    }
}

/// What to do with a request that finds no ready pod on the node.
const ON_MISS: &str = "nearside.dev/on-miss";
