//! What a decision is made from, and what it may be.

use std::{collections::BTreeSet, time::Duration};

use super::Kind;
use crate::{
    domain::{Timestamp, ids::ConversationKey},
    fini::budget::Shares,
    store::BudgetUse,
};

/// What is searched for in List.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// Since when it may be searched for.
    pub due: Timestamp,
    /// When the oldest of it was sent.
    pub floor: Timestamp,
}

/// A single read that the store has on its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// When it fell due.
    pub due_at: Timestamp,
    /// Whether a sweep may bring what it is for; else it was missed before, and only a read of its own will do.
    pub sweep_may_bring: bool,
}

/// A watched conversation of those that matter most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Whether it is with a human.
    pub escalated: bool,
    /// When somebody last wrote.
    pub last_activity_at: Timestamp,
    /// When it was last read, in whichever way, since this process began to read.
    pub seen_at: Option<Timestamp>,
}

/// The situation at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The present time.
    pub now: Timestamp,
    /// By how much Fini's clock is ahead of it, in milliseconds, where its answers told.
    pub vendor_ahead_ms: Option<i64>,
    /// How the budget is divided.
    pub shares: Shares,
    /// What was used of it in the window that ends now.
    pub used: BudgetUse,
    /// Messages that wait for the budget.
    pub sends_waiting: u64,
    /// The wanted pace of sweeps.
    pub sweep_interval: Duration,
    /// When the next turn whose fate is open is looked for by a read of its conversation.
    pub lookup_due: Option<Timestamp>,
    /// What is searched for in List.
    pub search: Option<Search>,
    /// Whether conversations have yet to find their Fini conversation.
    pub unbound: bool,
    /// Single reads that are due, most urgent first.
    pub pending: &'a [Pending],
    /// When the next one falls due after these.
    pub next_pending: Option<Timestamp>,
    /// Watched conversations.
    pub watched: u64,
    /// Escalated ones among them.
    pub escalated: u64,
    /// When the oldest of them was created.
    pub oldest_created_at: Option<Timestamp>,
    /// Those of them that matter most: with a human, and recently active.
    pub front: &'a [Watched],
}

impl Situation<'_> {
    /// A time of ours as Fini's clock shows it, as far as anybody knows.
    pub fn at_vendor(&self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.as_millis().saturating_add(self.vendor_ahead_ms.unwrap_or(0)))
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Read the conversation of the first turn whose fate is open.
    Lookup,
    /// List the next page.
    List(Kind),
    /// Read the conversation of the pending read of this number.
    Pending(usize),
    /// Read the conversation of this number in the front.
    Front(usize),
    /// Nothing before this time (or before something changes).
    Wait(Option<Timestamp>),
}

/// What the end of a walk means to what was searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Searched {
    /// No search has ended.
    Nothing,
    /// Everything since the searched messages were sent was read.
    Whole {
        /// How many conversations there were.
        shown: u64,
        /// Of which of ours the text was there, where nothing tells whose it is.
        doubtful: BTreeSet<ConversationKey>,
    },
    /// It could not be read.
    Failed,
}

/// Notes the earliest time that is not due yet.
pub(super) struct Dues {
    pub(super) now: Timestamp,
    pub(super) next: Option<Timestamp>,
}

impl Dues {
    /// Whether it is; notes it if not.
    pub(super) fn is_due(&mut self, due: Option<Timestamp>) -> bool {
        let Some(due) = due else { return false };
        if due <= self.now {
            return true;
        }
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
        false
    }
}
