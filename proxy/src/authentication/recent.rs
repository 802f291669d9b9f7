//! What was found out a moment ago, in bounded memory: keys with values and their ends flow in, values that have not ended
//! flow out. Two generations: where the young one is full, it becomes the old one, and what nobody asked for since is gone.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The key: a keyed hash, so that nobody chooses where it falls or reads from it what it stands for.
pub(crate) type Tag = [u8; 32];

/// Values that end.
#[derive(Debug)]
pub(crate) struct Recent<V> {
    generations: Mutex<Generations<V>>,
    most: usize,
}

#[derive(Debug)]
struct Generations<V> {
    young: HashMap<Tag, (Instant, V)>,
    old: HashMap<Tag, (Instant, V)>,
}

impl<V: Clone> Recent<V> {
    /// With room for so many values.
    pub(crate) fn new(most: usize) -> Self {
        let generations = Generations { young: HashMap::new(), old: HashMap::new() };
        Self { generations: Mutex::new(generations), most }
    }

    /// The value, if it has not ended.
    pub(crate) fn get(&self, tag: &Tag, now: Instant) -> Option<V> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((until, value)) = generations.young.get(tag) {
            return (*until > now).then(|| value.clone());
        }
        let (until, value) = generations.old.remove(tag)?;
        if until <= now {
            return None;
        }
        generations.put(*tag, until, value.clone(), self.most);
        Some(value)
    }

    /// Keeps a value until then, in place of any other.
    pub(crate) fn put(&self, tag: Tag, until: Instant, value: V) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.old.remove(&tag);
        generations.put(tag, until, value, self.most);
    }
}

impl<V> Generations<V> {
    fn put(&mut self, tag: Tag, until: Instant, value: V, most: usize) {
        if self.young.len() >= most.div_ceil(2) && !self.young.contains_key(&tag) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(tag, (until, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn tag(number: u32) -> Tag {
        let mut tag = [0; 32];
        tag[..4].copy_from_slice(&number.to_be_bytes());
        tag
    }

    #[test]
    fn a_value_is_there_until_its_end() {
        let (recent, now) = (Recent::new(10), Instant::now());
        let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        recent.put(tag(1), soon, "a");
        assert_eq!((recent.get(&tag(1), now), recent.get(&tag(2), now)), (Some("a"), None));
        assert_eq!(recent.get(&tag(1), soon), None);
        recent.put(tag(1), later, "b");
        assert_eq!(recent.get(&tag(1), soon), Some("b"));
    }

    #[test]
    fn a_flood_takes_no_more_room_than_there_is_and_spares_what_is_asked_for() {
        let (recent, now) = (Recent::new(100), Instant::now());
        let until = now + Duration::from_secs(1);
        recent.put(tag(0), until, 0);
        for number in 1..10_000 {
            recent.put(tag(number), until, number);
            assert_eq!(recent.get(&tag(0), now), Some(0), "{number}");
            let generations = recent.generations.lock().unwrap();
            assert!(generations.young.len() + generations.old.len() <= 100);
        }
        assert_eq!(recent.get(&tag(1), now), None);
    }
}
