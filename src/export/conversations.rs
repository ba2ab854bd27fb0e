//! The export of conversations: window by window, oldest window first, newest conversation first.
//!
//! Moves are caught because nothing can move past two places at once. A conversation that was not read yet can leave
//! its place only upwards, by a new message. Under "since means the latest message" it moves into the newest window, which
//! is read last; under "since means created" it moves to the top of its own window. So after the walk through a window its
//! top is read again until nothing is new there ([`settle`](super::settle)), and if the range ends in the past, the list
//! since the start is searched for conversations that have left the range.

use super::{
    ExportError, Facts, Patient, Place, Stage, compact,
    state::{Reading, State, Walk},
};
use crate::{
    domain::{Timestamp, WallClock},
    fini::RawConversation,
};

/// Distance below the newest place known from which the top is read again, in milliseconds: a list may show writes late.
pub(super) const MARGIN_MS: i64 = 2 * 60 * 1000;

/// A selection of the conversations to export, besides the range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those of this agent.
    pub bot_id: Option<String>,
    /// Only from these sources; empty for all.
    pub sources: Vec<String>,
    /// Only from these channels; empty for all.
    pub channels: Vec<String>,
}

/// An export of conversations.
pub struct Conversations<'a> {
    pub(super) patient: &'a Patient<'a>,
    pub(super) clock: &'a dyn WallClock,
    pub(super) filter: Filter,
}

impl<'a> Conversations<'a> {
    /// Reads through `patient` the conversations that `filter` lets pass. `clock` is Fini's, as far as its answers told.
    pub fn new(patient: &'a Patient<'a>, clock: &'a dyn WallClock, filter: Filter) -> Self {
        Self { patient, clock, filter }
    }

    /// Reads everything that is still missing into `staging`. If it fails or is dropped, the checkpoint says where to go on.
    pub async fn read(&self, staging: &mut Stage, state: &mut State) -> Result<(), ExportError> {
        self.patient.count(|counts| *counts = state.counts);
        self.close_outgrown(state);
        while let Some(window) = state.window() {
            while !state.walk.done {
                let mut walk = std::mem::take(&mut state.walk);
                let moment = self.clock.now().as_millis();
                let page = self.turn(window, &mut walk).await;
                state.walk = walk;
                let page = page?;
                if state.counts.pages == 0 {
                    // Until the first answer our clock's lead over Fini's is unknown.
                    state.started = state.started.min(self.clock.now().as_millis());
                }
                for (row, facts) in &page.rows {
                    state.learn(window, row, facts, moment);
                    keep(staging, state, row, facts);
                }
                state.walk.take(&page.rows);
                state.walk.done = !page.more;
                self.commit(staging, state)?;
            }
            if state.walk.pages > 1 && self.must_settle(state).await? {
                self.settle(window, staging, state).await?;
            }
            state.at += 1;
            state.walk = Walk::default();
            self.commit(staging, state)?;
        }
        if !state.departed && self.may_have_left(state) {
            self.departed(staging, state).await?;
            state.departed = true;
            self.commit(staging, state)?;
        }
        Ok(())
    }

    /// Closes open windows that were planned long ago and may have grown too long for Fini.
    fn close_outgrown(&self, state: &mut State) {
        let now = self.clock.now().point();
        let started = state.started;
        for window in &mut state.windows {
            if window.outgrown(now) {
                window.until = Some(started.max(window.since.saturating_add(1)));
            }
        }
    }

    /// Returns true if conversations can have moved to the top of the window that was just walked through.
    async fn must_settle(&self, state: &mut State) -> Result<bool, ExportError> {
        let Some(window) = state.window() else { return Ok(false) };
        if window.until.is_none() {
            return Ok(true);
        }
        // One request that spares one per window.
        if state.reading.is_none() && state.windows.len() - state.at > 2 {
            self.probe(state).await?;
        }
        Ok(state.reading != Some(Reading::LatestMessage))
    }

    /// Returns true if conversations can have left a range that ends in the past.
    fn may_have_left(&self, state: &State) -> bool {
        let closed = state.windows.last().is_some_and(|window| window.until.is_some());
        closed && state.reading != Some(Reading::Created) && self.patient.counts().pages > 1
    }

    /// Makes everything kept so far durable and reports the progress.
    pub(super) fn commit(&self, staging: &mut Stage, state: &mut State) -> Result<(), ExportError> {
        const BUDGET_MEMORY_MS: i64 = 5 * 60 * 1000;
        let now = self.clock.now().as_millis();
        let before = state.counts.requests;
        state.counts = self.patient.counts();
        state.requests_at.retain(|at| (now - BUDGET_MEMORY_MS..=now).contains(at));
        let new = usize::try_from(state.counts.requests.saturating_sub(before)).unwrap_or(usize::MAX);
        state.requests_at.extend(std::iter::repeat_n(now, new.min(1000)));
        staging.commit(state)?;
        self.patient.watcher().page(&Place { fraction: Some(state.fraction()), counts: state.counts });
        Ok(())
    }

    /// Returns Fini's present time.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now().point()
    }
}

/// Puts a row into the staging file.
pub(super) fn keep(staging: &mut Stage, state: &mut State, row: &RawConversation, facts: &Facts) {
    const MOST_RECENT: usize = 5_000;
    if facts.highest.is_some_and(|at| at >= state.started - MARGIN_MS) && state.recent.len() < MOST_RECENT {
        state.recent.push((row.id.to_string(), row.digest));
    }
    staging.append(facts.created, row.id.as_str(), &compact(row.as_json()));
}
