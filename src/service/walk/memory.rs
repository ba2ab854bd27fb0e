//! The state of each Fini conversation when it was last taken, so that an unchanged one is not even parsed.
//!
//! Invariant: forgetting costs a parse and a look into the store, never an event.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use crate::domain::{
    Timestamp,
    ids::{ConversationKey, InteractionId},
};

/// Conversations remembered at most: about 20 MB.
const MOST: usize = 400_000;
/// A conversation that was not seen for so long is forgotten first.
const OLD: Duration = Duration::from_hours(2);

/// One conversation as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The digest of its JSON.
    pub digest: u64,
    /// Its owner at that time.
    pub owner: Option<ConversationKey>,
    /// The time of its latest event.
    pub latest: Timestamp,
    /// Start of the latest request that showed it.
    pub seen_at: Timestamp,
}

/// The memory. It holds hashes instead of ids: two conversations that share one would have to share the 64 bits of their
/// digest too to be confused.
#[derive(Debug, Default)]
pub struct Memory {
    hasher: RandomState,
    entries: HashMap<u64, Remembered>,
    /// The conversations that the store refused.
    left_out: HashSet<u64>,
}

impl Memory {
    /// Returns the entry of a conversation; `None` if it is forgotten or was never taken.
    pub fn recall(&self, id: &InteractionId) -> Option<Remembered> {
        self.entries.get(&self.key(id)).copied()
    }

    /// Notes that the store refused it. Returns the number of such conversations if this one is new among them.
    pub fn leave_out(&mut self, id: &InteractionId) -> Option<usize> {
        let key = self.key(id);
        self.left_out.insert(key).then_some(self.left_out.len())
    }

    /// Notes that a request that began at `seen_at` showed it again.
    pub fn see(&mut self, id: &InteractionId, seen_at: Timestamp) {
        let key = self.key(id);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.seen_at = entry.seen_at.max(seen_at);
        }
    }

    /// Records its present state.
    pub fn remember(&mut self, id: &InteractionId, now: Remembered) {
        if self.entries.len() >= MOST {
            let since = now.seen_at.minus(OLD);
            self.entries.retain(|_, entry| entry.seen_at >= since);
            if self.entries.len() >= MOST {
                self.entries.clear();
            }
        }
        let key = self.key(id);
        self.entries.insert(key, now);
    }

    fn key(&self, id: &InteractionId) -> u64 {
        self.hasher.hash_one(id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn what_was_seen_lately_outlives_what_was_not() {
        let mut memory = Memory::default();
        let entry = |seen_at| Remembered { digest: 7, owner: None, latest: at(0), seen_at };
        let id = |number: usize| InteractionId::trusted(format!("i-{number}"));
        for number in 0..MOST {
            memory.remember(&id(number), entry(at(if number < 10 { 9_000 } else { 1 })));
        }
        memory.see(&id(20), at(9_000));
        memory.remember(&id(MOST), entry(at(9_000)));
        assert_eq!(memory.recall(&id(9)), Some(entry(at(9_000))));
        assert!(memory.recall(&id(20)).is_some() && memory.recall(&id(MOST)).is_some());
        assert_eq!(memory.recall(&id(30)), None);
    }
}
