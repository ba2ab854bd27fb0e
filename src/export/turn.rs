//! Turning to the next page of a list that moves under the cursor.
//!
//! A cursor is a conversation, and conversations move and vanish. If the last row of a page has moved to the top, the whole
//! list follows it again; if it was deleted, Fini answers 500. Its neighbours on the same page stood in
//! the same place and serve as well. Only if none of them does, the list is begun anew, below the rows that were read.
//!
//! The page before said that there is more. So an empty one is no end but another way to refuse a cursor, until all of them
//! agree.

use super::{Conversations, ExportError, Facts, Walk, Window, state::Seen};
use crate::{
    domain::{Timestamp, page_size::PAGE},
    fini::{Failure, ListQuery, RawConversation},
};

/// Rows of the latest page that serve as cursors, counted from its end. The last ones overlap least; the others are far
/// enough apart that they do not share a fate.
const CURSORS: [usize; 6] = [0, 1, 2, 9, 49, 99];
/// Repetitions of one cursor after an unclear failure.
const TRIES: u32 = 2;
/// Tries of all cursors before the list is begun anew.
const ROUNDS: u32 = 2;
/// Restarts of windows in one export, beyond which something else must be wrong.
const MOST_RESTARTS: u64 = 10;

/// A page: its rows with the facts about them.
pub(super) struct Page {
    pub(super) rows: Vec<(RawConversation, Facts)>,
    pub(super) more: bool,
}

impl Conversations<'_> {
    /// Reads the next page of the walk through `window`.
    pub(super) async fn turn(&self, window: Window, walk: &mut Walk) -> Result<Page, ExportError> {
        let mut strays = Vec::new();
        let mut page = 'page: {
            if walk.tail.is_empty() {
                break 'page self.list(window, walk.below, None, None).await?;
            }
            for round in 0..ROUNDS {
                let mut all_are_empty = true;
                for seen in cursors(&walk.tail) {
                    match self.list(window, walk.below, Some(&seen.id), Some(TRIES)).await {
                        Ok(page) if jumped(&page, seen) => {
                            all_are_empty = false;
                            // The top of the list is good data by now; the walk goes on where it was.
                            self.patient.count(|counts| counts.detours += 1);
                            strays.extend(page.rows);
                        }
                        Ok(page) if page.rows.is_empty() => self.patient.count(|counts| counts.detours += 1),
                        Ok(page) => break 'page page,
                        Err(Failure::Unclear { .. } | Failure::Missing { .. } | Failure::Rejected { .. }) => {
                            all_are_empty = false;
                            self.patient.count(|counts| counts.detours += 1);
                        }
                        Err(failure) => return Err(failure.into()),
                    }
                }
                if all_are_empty {
                    break 'page Page { rows: Vec::new(), more: false };
                }
                if round + 1 < ROUNDS {
                    self.patient.ask_for_fewer();
                    self.patient.pause("no conversation of the latest page serves as a cursor", round).await;
                }
            }
            self.begin_anew(window, walk)?;
            self.list(window, walk.below, None, None).await?
        };
        strays.append(&mut page.rows);
        page.rows = strays;
        Ok(page)
    }

    /// Restarts the window below the place that was reached. Every conversation not yet read has its latest message, and so also
    /// its creation, before that place: none is lost, whichever of the two times the window means.
    fn begin_anew(&self, window: Window, walk: &mut Walk) -> Result<(), ExportError> {
        self.patient.count(|counts| counts.restarts += 1);
        if self.patient.counts().restarts > MOST_RESTARTS {
            return Err(ExportError::Restless(
                "the conversations that pages end with keep vanishing; try again later".to_owned(),
            ));
        }
        let reached = walk.tail.last().and_then(|seen| seen.highest);
        let below = reached.map(|at| at.saturating_add(1).max(window.since.saturating_add(1)));
        walk.below = below.or(walk.below);
        walk.tail.clear();
        Ok(())
    }

    /// Reads one page.
    pub(super) async fn list(
        &self,
        window: Window,
        below: Option<i64>,
        cursor: Option<&str>,
        unclear: Option<u32>,
    ) -> Result<Page, Failure> {
        let until = match (window.until, below) {
            (Some(until), Some(below)) => Some(until.min(below)),
            (until, below) => until.or(below),
        };
        let query = ListQuery {
            since: Some(Timestamp::from_millis(window.since)),
            until: until.map(Timestamp::from_millis),
            limit: Some(PAGE),
            cursor: cursor.map(str::to_owned),
            bot_id: self.filter.bot_id.clone(),
            sources: self.filter.sources.clone(),
            channels: self.filter.channels.clone(),
            ..ListQuery::default()
        };
        let page = self.patient.list(&query, unclear).await?;
        let more = page.has_more && !page.conversations.is_empty();
        let rows = page.conversations.into_iter().map(|row| {
            let facts = Facts::of(&row);
            (row, facts)
        });
        Ok(Page { rows: rows.collect(), more })
    }
}

fn cursors(tail: &[Seen]) -> impl Iterator<Item = &Seen> {
    CURSORS.iter().filter_map(|back| tail.len().checked_sub(back + 1).map(|at| &tail[at]))
}

/// Returns true if a page begins above the row it should follow.
fn jumped(page: &Page, seen: &Seen) -> bool {
    let first = page.rows.first().and_then(|(_, facts)| facts.lowest);
    matches!((first, seen.highest), (Some(first), Some(highest)) if first > highest)
}
