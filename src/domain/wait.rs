//! Estimates when a waiting message will be sent, from the budget and the messages that wait before it. Pure.
//!
//! Two things hold a message back. Its conversation: one message is under way at a time, and the next one goes when the
//! reply is there. And the budget: a sliding window of requests, of which sends may have all but what reading keeps,
//! shared in a round over frontends and over the people inside each ([`fair`](super::fair)). The estimate plays both
//! forward: the known requests leave the window when their time comes, and every place in the round is one send.

use std::{collections::VecDeque, time::Duration};

use super::Timestamp;

/// A message that will be sent within this counts as sent at once.
const AT_ONCE: Duration = Duration::from_millis(500);

/// The budget at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Requests allowed in any window.
    pub limit: u32,
    /// Length of the window.
    pub window: Duration,
    /// Requests kept for reading while messages wait.
    pub floor: u32,
    /// Times of the sends in the running window, oldest first.
    pub sends: Vec<Timestamp>,
    /// Times of its reads, oldest first.
    pub reads: Vec<Timestamp>,
}

impl Room {
    /// Returns the sends that a window holds while messages wait; at least one, since sends are never kept out for good.
    fn sends_of_a_window(&self) -> usize {
        usize::try_from(self.limit.saturating_sub(self.floor).max(1)).unwrap_or(usize::MAX)
    }

    /// Returns true if a send is let through at once with so much to spare that nothing needs to be estimated.
    pub fn is_wide(&self) -> bool {
        (self.sends.len() + self.reads.len()).saturating_mul(2) < self.sends_of_a_window()
    }

    /// Returns the send time of a message that has `ahead` sends before it.
    pub fn sends_at(&self, ahead: u64, now: Timestamp) -> Timestamp {
        let most = self.sends_of_a_window();
        // From the second window on every send follows the one that leaves: the same again, a window later.
        let period = u64::try_from(most).unwrap_or(u64::MAX);
        let windows = (ahead / period).saturating_sub(1);
        let steps = ahead - windows * period;
        let mut sends: VecDeque<Timestamp> = self.sends.iter().copied().collect();
        let mut reads: VecDeque<Timestamp> = self.reads.iter().copied().collect();
        let mut at = now;
        for _ in 0..=steps {
            loop {
                let is_over = |left: &Timestamp| left.plus(self.window) <= at;
                while sends.front().is_some_and(is_over) {
                    sends.pop_front();
                }
                while reads.front().is_some_and(is_over) {
                    reads.pop_front();
                }
                let kept = reads.len().max(usize::try_from(self.floor).unwrap_or(usize::MAX));
                let room = usize::try_from(self.limit).unwrap_or(usize::MAX).saturating_sub(kept).max(1);
                if sends.len() < room {
                    break;
                }
                let leaves = [sends.front(), reads.front()].into_iter().flatten().min().copied();
                at = at.max(leaves.unwrap_or(at).plus(self.window));
            }
            sends.push_back(at);
        }
        let later = self.window.saturating_mul(u32::try_from(windows).unwrap_or(u32::MAX));
        at.plus(later)
    }
}

/// The messages that wait outside the conversation in question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages of the same person in other conversations.
    pub same_person: u64,
    /// Messages of each other person of the frontend.
    pub people: Vec<u64>,
    /// Messages of each other frontend.
    pub frontends: Vec<u64>,
}

impl Backlog {
    /// Returns the number of sends before the person's message that has `own` of the same person before it.
    pub fn ahead(&self, own: u64) -> u64 {
        let in_round = |own: u64, others: &[u64]| -> u64 {
            others.iter().fold(own, |sum, other| sum.saturating_add((*other).min(own.saturating_add(1))))
        };
        in_round(in_round(own, &self.people), &self.frontends)
    }
}

/// The conversation of a waiting message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Time since which one of its messages has been under way.
    pub busy_since: Option<Timestamp>,
    /// Messages that wait before this one.
    pub before: u64,
    /// The usual time until a reply.
    pub reply: Duration,
}

/// Estimates when the message is sent; `None` for at once.
pub fn expected_send(room: &Room, backlog: &Backlog, line: Line, now: Timestamp) -> Option<Timestamp> {
    let mut free_at = line.busy_since.map_or(now, |since| since.plus(line.reply)).max(now);
    if let Some(busy_since) = line.busy_since.filter(|since| since.plus(line.reply) <= now) {
        // Later than usual: half as long again as it has taken, at a guess.
        free_at = now.plus(now.since(busy_since) / 2);
    }
    let mut sent_at = now;
    for own in 0..=line.before {
        let in_round = own.saturating_add(backlog.same_person.min(own.saturating_add(1)));
        sent_at = room.sends_at(backlog.ahead(in_round), now).max(free_at);
        free_at = sent_at.plus(line.reply);
    }
    (sent_at.since(now) >= AT_ONCE).then_some(sent_at)
}

#[cfg(test)]
#[path = "wait/tests.rs"]
mod tests;
