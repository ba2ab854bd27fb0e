//! Estimates how long messages wait, from the present picture of budget and backlog, for those who tell a customer.
//!
//! An estimate is worth little work: while nothing waits and there is room nobody looks closer, and while much waits the
//! same picture serves everybody for a moment. Nothing here holds a message back, and what cannot be read is not estimated.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    domain::{
        Clock, Timestamp,
        ids::{ConversationKey, FrontendName, MessageId},
        wait::{Backlog, Line, Room, expected_send},
    },
    fini::budget::Budget,
    store::{RequestClass, Result, Store, Unanswered, Waiting},
};

/// Assumed duration of a reply until one was seen.
const USUAL: Duration = Duration::from_secs(4);
/// Number of latest replies from which their usual duration is taken.
const REMEMBERED: usize = 31;
/// Time for which the answer whether there is room is kept.
const CALM: Duration = Duration::from_secs(1);
/// Time for which a picture with many waiting conversations serves everybody.
const SHARED: Duration = Duration::from_millis(250);
/// Number of waiting conversations from which on they are many.
const MANY: usize = 200;
/// Messages of a backlog that are looked at; those beyond are assumed to be like them.
const LOOKED_AT: usize = 2_000;

/// The estimates.
pub struct Waits {
    store: Arc<dyn Store>,
    budget: Arc<Budget>,
    clock: Arc<dyn Clock>,
    replies: Mutex<VecDeque<Duration>>,
    calm: Mutex<Option<(Timestamp, bool)>>,
    pictures: Mutex<HashMap<FrontendName, (Timestamp, Arc<Waiting>)>>,
}

impl Waits {
    /// Creates the estimates over this store and budget.
    pub fn new(store: Arc<dyn Store>, budget: Arc<Budget>, clock: Arc<dyn Clock>) -> Self {
        Self { store, budget, clock, replies: Mutex::default(), calm: Mutex::default(), pictures: Mutex::default() }
    }

    /// Records how long a reply took.
    pub fn replied(&self, took: Duration) {
        let mut replies = locked(&self.replies);
        if replies.len() == REMEMBERED {
            replies.pop_front();
        }
        replies.push_back(took);
    }

    /// Returns how long a reply usually takes: the median of the latest ones.
    pub fn usual_reply(&self) -> Duration {
        let mut replies: Vec<Duration> = locked(&self.replies).iter().copied().collect();
        replies.sort_unstable();
        replies.get(replies.len() / 2).copied().unwrap_or(USUAL)
    }

    /// Returns true if a message that has nothing before it is sent at once, as far as was seen a moment ago.
    pub async fn is_calm(&self) -> bool {
        if self.budget.waiting(RequestClass::Send) > 0 {
            return false;
        }
        let now = self.clock.now();
        if let Some((_, is_calm)) = locked(&self.calm).filter(|(seen_at, _)| now.since(*seen_at) < CALM) {
            return is_calm;
        }
        let Ok(used) = self.budget.used().await else { return false };
        let shares = self.budget.shares();
        let is_calm = used.used().saturating_mul(2) < shares.limit.saturating_sub(shares.floor);
        *locked(&self.calm) = Some((now, is_calm));
        is_calm
    }

    /// Returns when a message of a conversation will be sent; `None` if it was, will be at once, or if that cannot be
    /// known.
    pub async fn expected_send(
        &self,
        frontend: &FrontendName,
        conversation: ConversationKey,
        message: &MessageId,
    ) -> Option<Timestamp> {
        let unanswered = self.store.unanswered(conversation).await.ok()?;
        self.expected_of(frontend, conversation, &unanswered, message).await
    }

    /// Likewise, with the conversation's messages in hand.
    pub async fn expected_of(
        &self,
        frontend: &FrontendName,
        conversation: ConversationKey,
        unanswered: &[Unanswered],
        message: &MessageId,
    ) -> Option<Timestamp> {
        let place = unanswered.iter().position(|open| open.message == *message && !open.is_sent)?;
        let before = unanswered[..place].iter().filter(|open| !open.is_sent).count();
        let line = Line {
            busy_since: unanswered.iter().filter_map(|open| open.busy_since).min(),
            before: u64::try_from(before).unwrap_or(u64::MAX),
            reply: self.usual_reply(),
        };
        let waiting = self.picture(frontend).await.ok()?;
        let shares = self.budget.shares();
        let room = Room {
            limit: shares.limit,
            window: shares.window,
            floor: shares.floor,
            sends: waiting.sends.clone(),
            reads: waiting.reads.clone(),
        };
        expected_send(&room, &backlog(&waiting, frontend, conversation), line, self.clock.now())
    }

    async fn picture(&self, frontend: &FrontendName) -> Result<Arc<Waiting>> {
        let now = self.clock.now();
        let known = locked(&self.pictures).get(frontend).cloned();
        if let Some((taken_at, picture)) = known
            && now.since(taken_at) < SHARED
            && picture.conversations.len() >= MANY
        {
            return Ok(picture);
        }
        let window = self.budget.shares().window;
        let picture = Arc::new(self.store.waiting(frontend, window, now, LOOKED_AT).await?);
        locked(&self.pictures).insert(frontend.clone(), (now, Arc::clone(&picture)));
        Ok(picture)
    }
}

/// Returns who waits besides a conversation, by person.
fn backlog(waiting: &Waiting, frontend: &FrontendName, own: ConversationKey) -> Backlog {
    let person =
        waiting.conversations.iter().find(|(key, ..)| *key == own).and_then(|(_, person, _)| person.as_deref());
    let (mut same_person, mut people, mut alone) = (0, HashMap::<&str, u64>::new(), Vec::new());
    for (key, of, queued) in &waiting.conversations {
        match of.as_deref() {
            _ if *key == own => {}
            Some(of) if Some(of) == person => same_person += queued,
            Some(of) => *people.entry(of).or_default() += queued,
            None => alone.push(*queued),
        }
    }
    alone.extend(people.into_values());
    // More conversations like these wait beyond those that were looked at.
    let looked_at: u64 = waiting.conversations.iter().map(|(.., queued)| queued).sum();
    let in_all = waiting.frontends.iter().find(|(name, _)| name == frontend).map_or(looked_at, |(_, queued)| *queued);
    let beyond = in_all.saturating_sub(looked_at).checked_div(looked_at).unwrap_or(0);
    let seen = alone.clone();
    for _ in 0..beyond.min(100) {
        alone.extend(&seen);
    }
    let frontends = waiting.frontends.iter().filter(|(name, _)| name != frontend).map(|(_, queued)| *queued).collect();
    Backlog { same_person, people: alone, frontends }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_conversations_count_together() {
        let web = FrontendName::trusted("web");
        let of = |key, person: Option<&str>, queued| (ConversationKey(key), person.map(str::to_owned), queued);
        let waiting = Waiting {
            conversations: vec![
                of(1, Some("u-1"), 2),
                of(2, Some("u-1"), 3),
                of(3, Some("u-2"), 4),
                of(4, Some("u-2"), 1),
                of(5, None, 6),
            ],
            frontends: vec![(web.clone(), 16), (FrontendName::trusted("app"), 9)],
            ..Waiting::default()
        };
        let mut found = backlog(&waiting, &web, ConversationKey(1));
        found.people.sort_unstable();
        assert_eq!(found, Backlog { same_person: 3, people: vec![5, 6], frontends: vec![9] });
        // Only a part of a large backlog was looked at.
        let large = Waiting { frontends: vec![(web.clone(), 48)], ..waiting };
        assert_eq!(backlog(&large, &web, ConversationKey(9)).people.len(), 3 * 3);
    }
}
