//! Annotations of Nearside on Routes and Ingresses: text flows in, typed settings flow out. A value that is not
//! understood becomes a problem, and the default holds.

use crate::object::ObjectMeta;
use crate::table::MissPolicy;
use crate::verdict::{Problem, Reason};

/// `nearside.dev/on-miss`.
pub(super) fn on_miss(metadata: &ObjectMeta, problems: &mut Vec<Problem>) -> Option<MissPolicy> {
    match metadata.annotation(ON_MISS)? {
        "redirect" => Some(MissPolicy::Redirect),
        "reject" => Some(MissPolicy::Reject),
        other => {
            let shown: String = other.chars().take(SHOWN).collect();
            problems.push(Problem::new(
                format!("metadata.annotations[\"{ON_MISS}\"]"),
                Reason::InvalidAnnotation,
                format!("{shown:?} is not one of redirect, reject; the router's default holds"),
            ));
            None
        }
    }
}

/// What to do with a request that finds no ready pod on the node.
const ON_MISS: &str = "nearside.dev/on-miss";
/// Characters of a bad value that a message repeats.
const SHOWN: usize = 64;
