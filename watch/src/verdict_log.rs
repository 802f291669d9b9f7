//! The log of verdicts: each published set of verdicts flows in, one line per change flows out. The snapshot writer
//! calls it.

use nearside_routing::verdict::Verdicts;
use nearside_routing::{Outcome, Problem, Verdict};

/// Remembers the verdicts it has spoken of, so that nothing is said twice.
#[derive(Debug, Default)]
pub(crate) struct VerdictLog {
    seen: Verdicts,
}

impl VerdictLog {
    /// Warns of each problem that is new, and tells of objects that are served after a rejection.
    pub(crate) fn note(&mut self, verdicts: &Verdicts) {
        for changed in verdicts.changes_since(&self.seen) {
            let Some(verdict) = changed.after else { continue };
            let (object, before) = (changed.key, changed.before.map(AsRef::as_ref));
            for problem in new_problems(before, verdict) {
                let rejected = matches!(&verdict.outcome, Outcome::Rejected(reason) if reason == problem);
                tracing::warn!(
                    %object,
                    field = problem.field,
                    reason = %problem.reason,
                    rejected,
                    "{}", problem.message
                );
            }
            let was_rejected = before.is_some_and(|before| matches!(before.outcome, Outcome::Rejected(_)));
            if was_rejected && verdict.outcome == Outcome::Admitted {
                tracing::info!(%object, host = verdict.host, "admitted");
            }
        }
        self.seen = verdicts.clone();
    }
}

/// The problems of a verdict that its predecessor did not have.
fn new_problems<'a>(before: Option<&Verdict>, now: &'a Verdict) -> impl Iterator<Item = &'a Problem> {
    let known: Vec<Problem> = before.map(|before| problems(before).cloned().collect()).unwrap_or_default();
    problems(now).filter(move |problem| !known.contains(problem))
}

fn problems(verdict: &Verdict) -> impl Iterator<Item = &Problem> {
    let rejection = match &verdict.outcome {
        Outcome::Rejected(problem) => Some(problem),
        Outcome::Admitted => None,
    };
    rejection.into_iter().chain(&verdict.problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, ObjectKey};
    use nearside_routing::Reason;

    fn verdict(outcome: Outcome, problems: Vec<Problem>) -> Verdict {
        let object = ObjectKey::new(Kind::Route, "shop", "web");
        Verdict { object, host: "web.example.com".into(), wildcard_policy: None, outcome, problems }
    }

    #[test]
    fn only_new_problems_are_told() {
        let taken = Problem::new("spec.host", Reason::HostAlreadyClaimed, "older claim");
        let odd = Problem::new("metadata.annotations", Reason::InvalidAnnotation, "not a number");
        let rejected = verdict(Outcome::Rejected(taken.clone()), vec![odd.clone()]);
        assert_eq!(new_problems(None, &rejected).collect::<Vec<_>>(), [&taken, &odd]);
        assert_eq!(new_problems(Some(&rejected), &rejected).count(), 0);
        let admitted = verdict(Outcome::Admitted, vec![odd.clone()]);
        assert_eq!(new_problems(Some(&admitted), &rejected).collect::<Vec<_>>(), [&taken]);
    }
}
