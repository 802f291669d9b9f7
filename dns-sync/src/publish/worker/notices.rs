//! What a worker writes into the log about names: events flow in, a line flows out where something is in the way of a name that was
//! not before, and when it is no longer. So a conflict that lasts is one line.

use crate::name::Name;
use crate::publish::fact::{NameEvent, Place};
use crate::publish::intent::Hold;
use std::collections::BTreeMap;
use tracing::{info, warn};

/// The names of which something was said last, and what.
#[derive(Debug, Default)]
pub(super) struct Notices(BTreeMap<Name, String>);

impl Notices {
    /// Says what is new about a name.
    pub(super) fn note(&mut self, place: &Place, name: &Name, event: &NameEvent, dry_run: bool) {
        let trouble = match event {
            NameEvent::Applied { .. } | NameEvent::Gone => {
                if self.0.remove(name).is_some() {
                    info!(%place, %name, "as desired");
                }
                return;
            }
            NameEvent::Differs(kind) if dry_run => format!("would be written: {}", kind.word()),
            NameEvent::Differs(_) => return,
            NameEvent::Conflict(conflict) => format!("left alone: {}", conflict.owner),
            NameEvent::Held(hold) => format!("left as it is: {hold}"),
            NameEvent::Stale(stale) => format!("left alone: somebody with a newer view has written it ({stale})"),
            NameEvent::Unfit(unfit) => format!("cannot be published in the zone: it {unfit}"),
            NameEvent::Isolated { failure, .. } => format!("left out for now: {failure}"),
        };
        if self.0.get(name) != Some(&trouble) {
            match event {
                // Nothing is in its way: it goes by itself.
                NameEvent::Held(Hold::Lingering) => info!(%place, %name, "{trouble}"),
                _ => warn!(%place, %name, "{trouble}"),
            }
            self.0.insert(name.clone(), trouble);
        }
    }

    /// A name is no matter of ours any more.
    pub(super) fn forget(&mut self, name: &Name) {
        self.0.remove(name);
    }
}
