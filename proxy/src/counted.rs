//! Things that several users share: uses come and go, whether one was the first or the last flows out. What is made for the
//! first use is dropped with the last.

use std::collections::HashMap;
use std::hash::Hash;

/// How many uses each thing has.
#[derive(Clone, Debug)]
pub(crate) struct Counted<K>(HashMap<K, usize>);

impl<K> Default for Counted<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq> Counted<K> {
    /// One use more. Whether it is the first.
    pub(crate) fn add(&mut self, key: K) -> bool {
        let uses = self.0.entry(key).or_insert(0);
        *uses += 1;
        *uses == 1
    }

    /// One use less. Whether it was the last.
    pub(crate) fn remove(&mut self, key: &K) -> bool {
        let Some(uses) = self.0.get_mut(key) else { return false };
        *uses -= 1;
        let last = *uses == 0;
        if last {
            self.0.remove(key);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_use_are_told() {
        let mut counted = Counted::default();
        assert!(counted.add("a") && !counted.add("a"));
        assert!(!counted.remove(&"a") && counted.remove(&"a"));
        assert!(!counted.remove(&"a"), "there was none");
        assert!(counted.add("a"));
    }
}
