//! The change feed: it tells rooms that there is something new to ask the store about.
//!
//! A change is a hint, never the data itself: it may come twice, and after a lapse ([`Heard::Missed`]) the
//! listener asks the store again. Register first, then query: any commit in between is announced after.
//!
//! Rooms, of which there are a few, listen to everything. Readers of one conversation, of which there are thousands,
//! follow that one, and sleep while others talk.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::broadcast;

use super::{
    EndOfTurn,
    followers::{Follower, Followers, Topic},
};
use crate::domain::ids::ConversationKey;

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A turn may be claimable.
    Turns,
    /// A delivery may be claimable.
    Deliveries,
    /// The feed of this conversation has grown.
    Feed(ConversationKey),
    /// A turn of this conversation is being sent.
    Started(ConversationKey),
    /// A turn of this conversation has come to an end.
    Settled(ConversationKey),
    /// Somebody at a desk is writing in this conversation.
    Typing(ConversationKey),
    /// The binding of this conversation has changed: forget it.
    Binding(ConversationKey),
    /// A conversation wants to be bound, or a turn to be read back.
    Reading,
}

/// Changes that a listener may fall behind before it hears [`Heard::Missed`].
const CAPACITY: usize = 4096;

/// The announcing side; clones announce to the same listeners.
#[derive(Clone, Debug)]
pub struct Changes {
    rooms: broadcast::Sender<Option<Change>>,
    followers: Arc<Followers>,
    restored: Arc<AtomicU64>,
    ends: Arc<OnceLock<Reporter>>,
}

/// The callback for the ends of turns.
struct Reporter(Box<dyn Fn(&EndOfTurn) + Send + Sync>);

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporter")
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            rooms: broadcast::channel(CAPACITY).0,
            followers: Arc::default(),
            restored: Arc::default(),
            ends: Arc::default(),
        }
    }
}

impl Changes {
    /// Announces a change; without listeners it is forgotten.
    pub fn announce(&self, change: Change) {
        let _ = self.rooms.send(Some(change));
        self.followers.tell(change);
    }

    /// Has the ends of turns reported, each once, by the process that committed it. Only the first reporter is used.
    pub fn on_end_of_turn(&self, reporter: impl Fn(&EndOfTurn) + Send + Sync + 'static) {
        let _ = self.ends.set(Reporter(Box::new(reporter)));
    }

    /// Reports the ends of turns that were committed.
    pub(super) fn report(&self, ends: &[EndOfTurn]) {
        let Some(Reporter(report)) = self.ends.get() else { return };
        ends.iter().for_each(report);
    }

    /// Tells every listener that changes may have been missed, so that it asks the store.
    pub fn announce_lapse(&self) {
        let _ = self.rooms.send(None);
        self.followers.tell_all();
    }

    /// Tells every listener that the store may lack what it had: it goes on from an earlier point. Listeners must forget what
    /// they remember of it.
    pub fn announce_restored(&self) {
        self.restored.fetch_add(1, Ordering::AcqRel);
        self.announce_lapse();
    }

    /// Counts the times that the store went on from an earlier point.
    pub fn restorations(&self) -> u64 {
        self.restored.load(Ordering::Acquire)
    }

    /// Listens to every change from now on.
    pub fn listen(&self) -> Listener {
        Listener(self.rooms.subscribe())
    }

    /// Follows one conversation from now on.
    pub fn follow(&self, conversation: ConversationKey, topic: Topic) -> Follower {
        self.followers.follow(conversation, topic)
    }
}

/// The listening side.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Option<Change>>);

/// An announcement as a listener receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something changed.
    Change(Change),
    /// Changes were missed: ask the store.
    Missed,
    /// Nobody announces any more.
    Closed,
}

impl Listener {
    /// Waits for the next change. Safe to drop while waiting.
    pub async fn next(&mut self) -> Heard {
        match self.0.recv().await {
            Ok(Some(change)) => Heard::Change(change),
            Ok(None) | Err(broadcast::error::RecvError::Lagged(_)) => Heard::Missed,
            Err(broadcast::error::RecvError::Closed) => Heard::Closed,
        }
    }
}
