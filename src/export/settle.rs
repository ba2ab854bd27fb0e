//! The end of a walk: reading the top of a window again, and searching for conversations that have left the range.

use std::collections::HashSet;

use super::{
    Conversations, ExportError, Facts, Stage, Window,
    conversations::{MARGIN_MS, keep},
    state::{Reading, State, Walk},
};
use crate::fini::RawConversation;

/// Time before the start at which the search for them begins, in milliseconds: Fini's clock may be behind ours.
const SKEW_MS: i64 = 60 * 1000;
/// More passes than this mean that a hundred conversations move at every request.
const MOST_PASSES: u32 = 50;

impl Conversations<'_> {
    /// Reads the top of `window` again until a single page, which is one moment of Fini's, shows nothing else to be read.
    pub(super) async fn settle(
        &self,
        window: Window,
        staging: &mut Stage,
        state: &mut State,
    ) -> Result<(), ExportError> {
        // The walk itself stays as it is: an interruption repeats no more than the settling.
        let mut known = state.walk.clone();
        for _ in 0..MOST_PASSES {
            let mut pass = Walk::default();
            while !pass.done {
                let page = self.turn(window, &mut pass).await?;
                let mut news = false;
                for (row, facts) in page.rows.iter().filter(|(row, _)| !known.knows(row)) {
                    keep(staging, state, row, facts);
                    news = true;
                }
                let bottom = page.rows.last().and_then(|(_, facts)| facts.highest);
                let below = matches!((bottom, known.top_at), (Some(bottom), Some(top)) if bottom < top - MARGIN_MS);
                pass.take(&page.rows);
                pass.done = !page.more || below || !news;
            }
            self.commit(staging, state)?;
            if pass.pages <= 1 {
                return Ok(());
            }
            known = pass;
        }
        self.patient.watcher().note("the list moves faster than it can be read; the newest messages may be missing");
        Ok(())
    }

    /// Searches the conversations that got messages since the start for those that stood in the range until then.
    pub(super) async fn departed(&self, staging: &mut Stage, state: &mut State) -> Result<(), ExportError> {
        let since = state.started.saturating_sub(SKEW_MS);
        let window = Window { since: since.min(self.now().as_millis() - 1), until: None };
        if window.outgrown(self.now()) {
            self.patient.watcher().note(
                "the export was interrupted for so long that conversations which got messages meanwhile may be missing",
            );
            return Ok(());
        }
        let mut known = HashSet::new();
        for _ in 0..MOST_PASSES {
            let mut pass = Walk::default();
            while !pass.done {
                let page = self.turn(window, &mut pass).await?;
                let mut news = false;
                for (row, facts) in &page.rows {
                    if known.insert(row.digest) {
                        news = true;
                        if self.belonged(row, facts, state).await? {
                            keep(staging, state, row, facts);
                        }
                    }
                }
                pass.take(&page.rows);
                // Conversations move to the top only: below a page that an earlier pass showed, all is as it was then.
                pass.done = !page.more || !news;
            }
            self.commit(staging, state)?;
            if pass.pages <= 1 {
                return Ok(());
            }
        }
        self.patient.watcher().note("the list moves faster than it can be read; the newest messages may be missing");
        Ok(())
    }

    /// Returns true if a conversation stood in the range before it got its latest messages.
    async fn belonged(&self, row: &RawConversation, facts: &Facts, state: &mut State) -> Result<bool, ExportError> {
        let Some(since) = state.windows.first().map(|window| window.since) else { return Ok(false) };
        let Some(until) = state.until else { return Ok(true) };
        let moment = state.started.saturating_sub(SKEW_MS).max(until);
        let stood = Facts::latest_until(row, moment).is_some_and(|at| (since..=until).contains(&at));
        if !stood || facts.created.is_some_and(|created| created >= since) {
            return Ok(stood);
        }
        self.probe(state).await?;
        Ok(state.reading != Some(Reading::Created))
    }

    /// Finds out with one request which time the windows mean: asks for the moment at which a conversation with later
    /// messages was created. Fini lists it there only if creation counts.
    pub(super) async fn probe(&self, state: &mut State) -> Result<(), ExportError> {
        let (None, Some(telling)) = (state.reading, &state.telling) else { return Ok(()) };
        let moment = Window { since: telling.created - 1, until: Some(telling.created + 1) };
        let page = self.list(moment, None, None, None).await?;
        let listed = page.rows.iter().any(|(row, _)| row.id.as_str() == telling.id);
        if listed || !page.more {
            state.reading = Some(if listed { Reading::Created } else { Reading::LatestMessage });
        }
        Ok(())
    }
}
