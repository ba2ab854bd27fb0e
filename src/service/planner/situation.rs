//! The input of a decision, and its possible results.

use std::{collections::BTreeSet, time::Duration};

use super::Kind;
use crate::{
    domain::{Timestamp, ids::ConversationKey, scopes::Way},
    fini::budget::Shares,
    store::BudgetUse,
};

/// A search in List for messages whose Fini conversation or fate is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// Time from which the search may begin.
    pub due: Timestamp,
    /// Time at which the oldest of the searched messages was sent.
    pub floor: Timestamp,
}

/// A single read that the store has on its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Time at which it fell due.
    pub due_at: Timestamp,
    /// True if a sweep may make it needless; false if it was missed before and only a single read will do.
    pub sweep_may_bring: bool,
}

/// A watched conversation of those that matter most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// True if a human handles it.
    pub escalated: bool,
    /// Time of the latest message.
    pub last_activity_at: Timestamp,
    /// Time of the last read, of whatever kind, since this process began to read.
    pub seen_at: Option<Timestamp>,
}

/// The situation at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The present time.
    pub now: Timestamp,
    /// Time by which Fini's clock is ahead of it, in milliseconds; `None` until an answer has told.
    pub vendor_ahead_ms: Option<i64>,
    /// The shares into which the budget is divided.
    pub shares: Shares,
    /// Requests that were taken from it in the window that ends now.
    pub used: BudgetUse,
    /// Messages that wait for the budget.
    pub sends_waiting: u64,
    /// The wanted pace of sweeps.
    pub sweep_interval: Duration,
    /// Time at which the next turn of unknown fate is looked for by a read of its conversation.
    pub lookup_due: Option<Timestamp>,
    /// The next search in List.
    pub search: Option<Search>,
    /// True if some conversations have no Fini conversation yet.
    pub unbound: bool,
    /// Single reads that are due, most urgent first.
    pub pending: &'a [Pending],
    /// Time at which the next single read after these falls due.
    pub next_pending: Option<Timestamp>,
    /// Watched conversations.
    pub watched: u64,
    /// Escalated ones among them.
    pub escalated: u64,
    /// Creation time of the oldest of them.
    pub oldest_created_at: Option<Timestamp>,
    /// Those of them that matter most: with a human, and recently active.
    pub front: &'a [Watched],
    /// Time before which nothing is read by List, and by Get, if such reads have to wait: see [`Way`].
    pub shut: [Option<Timestamp>; 2],
    /// True while List fails: single reads are then all there is, and the next List only finds out.
    pub is_list_failing: bool,
}

impl Situation<'_> {
    /// Returns the time before which nothing is read in this way, if it has to wait.
    pub(super) const fn shut(&self, way: Way) -> Option<Timestamp> {
        self.shut[way as usize]
    }

    /// Converts a time of ours to Fini's clock, as far as its offset is known.
    pub fn at_vendor(&self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.as_millis().saturating_add(self.vendor_ahead_ms.unwrap_or(0)))
    }
}

/// The next action.
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

/// The outcome of a search at the end of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Searched {
    /// No search has ended.
    Nothing,
    /// Everything since the searched messages were sent was read.
    Whole {
        /// Number of conversations that were read.
        shown: u64,
        /// Our conversations of which the text was seen where nothing tells whose it is.
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
    /// Returns true if `due` has come; else notes it.
    pub(super) fn is_due(&mut self, due: Option<Timestamp>) -> bool {
        let Some(due) = due else { return false };
        if due <= self.now {
            return true;
        }
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
        false
    }
}
