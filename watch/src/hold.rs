//! Whether a list is believed where it lacks what was known: how much is known, what the list lacks and what was held so far
//! flow in; what is gone and what is held flow out. Pure; `merge` asks here for every list.
//!
//! A server that answers 200 with too little looks like one whose objects were deleted. So a large absence counts only once a
//! second read, some seconds later and from all servers of the cluster, agrees. Deletions that a watch tells are believed
//! at once, and do not come here.

use crate::ObjectKey;
use crate::limits::{HELD_AT_LEAST, HELD_PERCENT};
use std::collections::HashSet;

/// How a list was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// From a directory: what is not there is gone.
    Certain,
    /// From a cluster.
    First,
    /// From a cluster, to confirm another one: it asks for what is newest.
    Second,
}

/// What becomes of what a list lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) gone: Vec<ObjectKey>,
    pub(crate) held: HashSet<ObjectKey>,
}

/// Decides about the absent of `known` objects, of which `held` were held so far.
pub(crate) fn decide(known: usize, absent: Vec<ObjectKey>, held: &HashSet<ObjectKey>, reading: Reading) -> Decision {
    let (agreed, fresh): (Vec<ObjectKey>, Vec<ObjectKey>) = match reading {
        Reading::Certain => return Decision { gone: absent, held: HashSet::new() },
        Reading::First => (Vec::new(), absent),
        Reading::Second => absent.into_iter().partition(|key| held.contains(key)),
    };
    if is_large(fresh.len(), known) {
        Decision { gone: agreed, held: fresh.into_iter().collect() }
    } else {
        Decision { gone: [agreed, fresh].concat(), held: HashSet::new() }
    }
}

/// Everything, or a large share of more than a few.
fn is_large(absent: usize, known: usize) -> bool {
    absent > 0 && (absent == known || absent >= HELD_AT_LEAST && absent * 100 > known * HELD_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use proptest::collection::{hash_set, vec};
    use proptest::prelude::*;

    fn key(number: u8) -> ObjectKey {
        ObjectKey::new(Kind::Pod, "shop", &number.to_string())
    }

    fn keys(numbers: &HashSet<u8>) -> HashSet<ObjectKey> {
        numbers.iter().map(|number| key(*number)).collect()
    }

    /// What a reader of lists holds.
    #[derive(Default)]
    struct Holder {
        keys: HashSet<ObjectKey>,
        held: HashSet<ObjectKey>,
    }

    impl Holder {
        fn list(&mut self, listed: &HashSet<ObjectKey>, reading: Reading) -> Vec<ObjectKey> {
            let absent: Vec<ObjectKey> = self.keys.difference(listed).cloned().collect();
            let decision = decide(self.keys.len(), absent, &self.held, reading);
            self.keys.extend(listed.iter().cloned());
            decision.gone.iter().for_each(|key| {
                self.keys.remove(key);
            });
            self.held = decision.held;
            decision.gone
        }
    }

    #[test]
    fn few_go_at_once_many_are_held_and_all_too() {
        let absent = |count: u8| (0..count).map(key).collect::<Vec<_>>();
        let held = |known, count| !decide(known, absent(count), &HashSet::new(), Reading::First).held.is_empty();
        assert!(!held(10, 3) && held(10, 4), "more than 30 of 100");
        assert!(!held(3, 2) && !held(4, 2), "two are few");
        assert!(held(1, 1) && held(2, 2), "everything");
        assert!(!held(10, 0) && !held(0, 0));
    }

    proptest! {
        /// Lists of any sort, none of which two confirm: nothing of a large absence goes.
        #[test]
        fn a_first_list_never_takes_a_large_share(known in hash_set(0_u8..40, 1..30), listed in hash_set(0_u8..40, 0..30)) {
            let mut holder = Holder { keys: keys(&known), held: HashSet::new() };
            let gone = holder.list(&keys(&listed), Reading::First);
            prop_assert!(!is_large(gone.len(), known.len()));
            prop_assert!(keys(&listed).is_subset(&holder.keys), "what is there counts at once");
            prop_assert!(holder.held.is_subset(&holder.keys), "what is held is kept");
        }

        /// What goes by a second list was absent in it, and was held before or is few.
        #[test]
        fn a_second_list_takes_what_both_lack(histories in vec((hash_set(0_u8..20, 0..15), any::<bool>()), 1..12)) {
            let mut holder = Holder::default();
            for (listed, second) in histories {
                let (before, held) = (holder.keys.len(), holder.held.clone());
                let reading = if second { Reading::Second } else { Reading::First };
                let gone = holder.list(&keys(&listed), reading);
                let fresh = gone.iter().filter(|key| !(second && held.contains(key))).count();
                prop_assert!(!is_large(fresh, before));
                prop_assert!(gone.iter().all(|key| !keys(&listed).contains(key)));
            }
        }

        /// A world that stays as it is is believed with the second read at the latest.
        #[test]
        fn two_reads_that_agree_are_believed(known in hash_set(0_u8..40, 0..30), truth in hash_set(0_u8..40, 0..30)) {
            let mut holder = Holder { keys: keys(&known), held: HashSet::new() };
            holder.list(&keys(&truth), Reading::First);
            if !holder.held.is_empty() {
                holder.list(&keys(&truth), Reading::Second);
            }
            prop_assert_eq!(&holder.keys, &keys(&truth));
            prop_assert!(holder.held.is_empty());
        }
    }
}
