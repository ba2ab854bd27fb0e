//! The followers of conversations: a change of one wakes its followers, and nobody else.
//!
//! A follower is a bell, not a queue: however much happens while nobody looks, it rings once, and costs the same. Lookups
//! are spread over shards, so that streams that open and close do not delay announcements. An entry goes
//! with its last follower.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use super::Change;
use crate::domain::ids::ConversationKey;

const SHARDS: usize = 16;

/// The changes that a follower is woken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The feed has grown, a turn is being sent, or somebody is writing.
    Feed,
    /// A turn has come to an end.
    Ends,
}

impl Topic {
    fn covers(self, change: Change) -> bool {
        match change {
            Change::Feed(_) | Change::Started(_) | Change::Typing(_) => self == Self::Feed,
            Change::Settled(_) => self == Self::Ends,
            Change::Turns | Change::Deliveries | Change::Binding(_) | Change::Reading => false,
        }
    }
}

/// Follows one conversation until it is dropped.
#[derive(Debug)]
pub struct Follower {
    conversation: ConversationKey,
    ear: Arc<Ear>,
    followers: Arc<Followers>,
}

impl Follower {
    /// Waits until there is something to look for; returns at once if it came since the last call. May return for nothing. Safe
    /// to drop while waiting.
    pub async fn next(&mut self) {
        self.ear.bell.notified().await;
    }

    /// Counts the times that somebody was writing since it follows.
    pub fn typings(&self) -> u64 {
        self.ear.typings.load(Ordering::Relaxed)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut shard = self.followers.shard(self.conversation);
        if let Entry::Occupied(mut ears) = shard.entry(self.conversation) {
            ears.get_mut().retain(|ear| !Arc::ptr_eq(ear, &self.ear));
            if ears.get().is_empty() {
                ears.remove();
            }
        }
    }
}

#[derive(Debug)]
struct Ear {
    topic: Topic,
    /// Rung while nobody waits, it rings for the next waiter.
    bell: Notify,
    /// Counts typing, which is stored nowhere and cannot be looked for.
    typings: AtomicU64,
}

type Shard = HashMap<ConversationKey, Vec<Arc<Ear>>>;

/// All followers, by conversation.
#[derive(Debug, Default)]
pub(super) struct Followers([Mutex<Shard>; SHARDS]);

impl Followers {
    /// Follows `conversation` from now on.
    pub(super) fn follow(self: &Arc<Self>, conversation: ConversationKey, topic: Topic) -> Follower {
        let ear = Arc::new(Ear { topic, bell: Notify::new(), typings: AtomicU64::new(0) });
        // Most conversations have one reader.
        self.shard(conversation).entry(conversation).or_insert_with(|| Vec::with_capacity(1)).push(Arc::clone(&ear));
        Follower { conversation, ear, followers: Arc::clone(self) }
    }

    /// Wakes the followers whose topic covers this change.
    pub(super) fn tell(&self, change: Change) {
        let (Change::Feed(key) | Change::Started(key) | Change::Settled(key) | Change::Typing(key)) = change else {
            return;
        };
        for ear in self.shard(key).get(&key).into_iter().flatten() {
            if ear.topic.covers(change) {
                if matches!(change, Change::Typing(_)) {
                    ear.typings.fetch_add(1, Ordering::Relaxed);
                }
                ear.bell.notify_one();
            }
        }
    }

    /// Wakes everybody.
    pub(super) fn tell_all(&self) {
        for shard in &self.0 {
            for ear in lock(shard).values().flatten() {
                ear.bell.notify_one();
            }
        }
    }

    fn shard(&self, conversation: ConversationKey) -> MutexGuard<'_, Shard> {
        // Keys are counted up, so that neighbours are spread.
        lock(&self.0[usize::from(conversation.0.to_le_bytes()[0]) % SHARDS])
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.0.iter().map(|shard| lock(shard).len()).sum()
    }
}

/// Locks a shard. Each change leaves a shard whole, so one left behind by a panic is as good as any.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use futures_util::FutureExt as _;

    use super::*;

    const ONE: ConversationKey = ConversationKey(1);
    /// A key of the same shard.
    const OTHER: ConversationKey = ConversationKey(257);

    fn rings(follower: &mut Follower) -> bool {
        follower.next().now_or_never().is_some()
    }

    #[test]
    fn a_follower_hears_of_its_conversation_and_topic_only() {
        let followers = Arc::new(Followers::default());
        let [mut feed, mut ends] = [Topic::Feed, Topic::Ends].map(|topic| followers.follow(ONE, topic));
        let mut heard = |change| {
            followers.tell(change);
            [rings(&mut feed), rings(&mut ends)]
        };
        assert_eq!(heard(Change::Feed(ONE)), [true, false]);
        assert_eq!(heard(Change::Started(ONE)), [true, false]);
        assert_eq!(heard(Change::Typing(ONE)), [true, false]);
        assert_eq!(heard(Change::Settled(ONE)), [false, true]);
        for other in [Change::Feed(OTHER), Change::Started(OTHER), Change::Settled(OTHER)] {
            assert_eq!(heard(other), [false; 2], "{other:?}");
        }
        for other in [Change::Binding(ONE), Change::Turns, Change::Deliveries, Change::Reading] {
            assert_eq!(heard(other), [false; 2], "{other:?}");
        }
    }

    #[test]
    fn what_came_while_nobody_waited_rings_once() {
        let followers = Arc::new(Followers::default());
        let mut follower = followers.follow(ONE, Topic::Feed);
        for _ in 0..100 {
            followers.tell(Change::Feed(ONE));
        }
        assert!(rings(&mut follower));
        assert!(!rings(&mut follower));
    }

    #[test]
    fn a_wait_that_is_given_up_loses_nothing() {
        let followers = Arc::new(Followers::default());
        let mut follower = followers.follow(ONE, Topic::Feed);
        {
            let mut waiting = Box::pin(follower.next());
            assert!(waiting.as_mut().now_or_never().is_none());
            followers.tell(Change::Feed(ONE));
        }
        assert!(rings(&mut follower));
    }

    #[test]
    fn a_lapse_is_told_to_everybody() {
        let followers = Arc::new(Followers::default());
        let mut all: Vec<_> = (0..100).map(|key| followers.follow(ConversationKey(key), Topic::Ends)).collect();
        followers.tell_all();
        assert!(all.iter_mut().all(rings));
    }

    #[test]
    fn an_entry_goes_with_its_last_follower() {
        let followers = Arc::new(Followers::default());
        let first = followers.follow(ONE, Topic::Feed);
        let mut second = followers.follow(ONE, Topic::Feed);
        let other = followers.follow(OTHER, Topic::Feed);
        assert_eq!(followers.count(), 2);
        drop(first);
        followers.tell(Change::Feed(ONE));
        assert!(rings(&mut second), "the one that is left still hears");
        drop(second);
        assert_eq!(followers.count(), 1);
        drop(other);
        assert_eq!(followers.count(), 0);
    }

    /// One thread commits and announces, another begins to follow and looks, at the same moment, over and over: one that
    /// follows first and then looks either sees the change or hears of it.
    #[test]
    fn who_follows_first_and_then_looks_misses_nothing() {
        const PAIRS: u64 = 4;
        const ROUNDS: u64 = 500;
        let (followers, missed) = (Arc::new(Followers::default()), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for pair in 0..PAIRS {
                let key = ConversationKey(i64::try_from(pair).expect("small"));
                let (followers, missed) = (&followers, &missed);
                let shared = Arc::new((AtomicU64::new(0), Barrier::new(2)));
                let committing = Arc::clone(&shared);
                scope.spawn(move || {
                    let (committed, both) = &*committing;
                    for round in 1..=ROUNDS {
                        both.wait();
                        if round % 2 == 0 {
                            std::thread::yield_now();
                        }
                        committed.store(round, Ordering::Release);
                        followers.tell(Change::Feed(key));
                        both.wait();
                    }
                });
                scope.spawn(move || {
                    let (committed, both) = &*shared;
                    for round in 1..=ROUNDS {
                        both.wait();
                        let mut follower = followers.follow(key, Topic::Feed);
                        // The other may go ahead just here.
                        std::thread::yield_now();
                        let seen = committed.load(Ordering::Acquire) == round;
                        // Everything of this round is announced when the other comes here.
                        both.wait();
                        if !seen && !rings(&mut follower) {
                            missed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!((missed.into_inner(), followers.count()), (0, 0));
    }
}
