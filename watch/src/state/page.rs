//! The page `/sources` of every admin port: the state of each selection flows in, JSON for an operator flows out.

use super::{KindState, SyncState};
use crate::merge::Standing;
use serde_json::{Value, json};
use std::time::SystemTime;

impl SyncState {
    /// Each selection with its state, what is wrong, when its source was last heard, and how many objects it holds.
    pub fn page(&self) -> Value {
        let now = SystemTime::now();
        let sources: Vec<Value> = self
            .lock()
            .iter()
            .map(|(selection, state)| {
                let age = state.snapshot.filter(|_| state.standing == Standing::Snapshot);
                json!({
                    "kind": selection.kind.name(),
                    "resource": selection.kind.plural(),
                    "namespace": selection.namespace,
                    "labels": selection.labels,
                    "fields": selection.fields,
                    "state": word(state),
                    "reason": state.reason,
                    "message": state.error,
                    "lastHeardSeconds": state.last_contact.map(|at| at.elapsed().as_secs()),
                    "objects": state.objects,
                    "heldObjects": state.held,
                    "snapshotAgeSeconds": age.map(|at| now.duration_since(at).unwrap_or_default().as_secs()),
                })
            })
            .collect();
        json!({ "synced": self.synced(), "sources": sources })
    }
}

/// `waiting`, `stale` (from the snapshot on disk), `disabled` (missing or forbidden), `held` (a list lacked too much),
/// `interrupted` (known, but not heard at present) or `live`.
fn word(state: &KindState) -> &'static str {
    match state.standing {
        Standing::Waiting => "waiting",
        Standing::Snapshot => "stale",
        Standing::Unknown | Standing::Missing => "disabled",
        Standing::Live if matches!(state.reason.as_deref(), Some("Forbidden" | "KindMissing" | "Unauthorized")) => {
            "disabled"
        }
        Standing::Live if state.held > 0 => "held",
        Standing::Live if state.error.is_some() => "interrupted",
        Standing::Live => "live",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Selection};

    #[test]
    fn the_page_says_what_is_wrong_with_which_selection() {
        let state = SyncState::new(&[Selection::all(Kind::Route), Selection::all(Kind::Pod).labels("app=router")]);
        state.set_stock(1, (Standing::Live, 7, 3));
        state.answered(1, None);
        state.answered(0, Some(("KindMissing", "the cluster does not serve this kind".into())));
        state.set_stock(0, (Standing::Missing, 0, 0));
        let page = state.page();
        assert_eq!(page["synced"], true);
        assert_eq!(
            (&page["sources"][0]["state"], &page["sources"][0]["reason"]),
            (&json!("disabled"), &json!("KindMissing"))
        );
        let pods = &page["sources"][1];
        assert_eq!(
            (&pods["state"], &pods["objects"], &pods["labels"]),
            (&json!("held"), &json!(7), &json!("app=router"))
        );
    }
}
