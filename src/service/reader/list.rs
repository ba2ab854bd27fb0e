//! Pages of List, and what follows when a walk ends.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{Reader, View, WATERMARK};
use crate::{
    domain::{
        Timestamp,
        evidence::absent::{Reading, Seen},
        ids::ConversationKey,
        scopes::About,
    },
    fini::{Failure, budget::Permit},
    service::planner::{CLOCK_MARGIN, Kind, Missed, PageFacts, Searched, Walk},
    store::{self, SearchEnd, TurnToRead, UNBOUND},
};

/// Conversations below which a walk tries to go on where List cannot give the row that it stands at.
const STONES: usize = 8;
/// Time between two records of the watermark.
const WATERMARK_EVERY: Duration = Duration::from_secs(10);

/// Time for which the Fini conversation of an erased one is searched for if it was not found before the erasure.
const SEARCHED_FOR: Duration = Duration::from_hours(24);

/// Returns the pause after so many searches in vain.
fn search_pause(looks: u32) -> Duration {
    Duration::from_millis(500).saturating_mul(1 << looks.min(6))
}

/// A page under way. The planner learns of its end in any case, even after a panic.
struct Underway {
    reader: Arc<Reader>,
    walk: Option<Walk>,
}

impl Underway {
    /// Hands the page to the planner, or why there is none, and records what follows.
    async fn end(mut self, page: Result<PageFacts, Missed>) {
        let now = self.reader.clock.now();
        let Some(walk) = self.walk.take() else { return };
        // A whole walk shows the state when it began; a failed one shows nothing.
        let began_at = walk.started_at;
        let (searched, turns, expected) = {
            let mut state = self.reader.state();
            let searched = state.planner.end_list(walk, page, now);
            let turns = if searched == Searched::Nothing { Vec::new() } else { std::mem::take(&mut state.searching) };
            // Of the watched conversations, List shows at least some.
            let expected = state.watch.as_ref().map_or(0, |watch| watch.summary.watched.min(1));
            (searched, turns, expected)
        };
        let failed = Reading { is_whole: false, shown: 0, expected, shows_text: false };
        let concluded = match searched {
            Searched::Nothing => Ok(()),
            Searched::Failed => self.reader.conclude(turns, failed, &BTreeSet::new(), began_at, now).await,
            Searched::Whole { shown, doubtful } => {
                let reading = Reading { is_whole: true, shown, ..failed };
                self.reader.conclude(turns, reading, &doubtful, began_at, now).await
            }
        };
        if let Err(error) = concluded.and(self.reader.keep_watermark(now).await) {
            tracing::warn!(%error, "the end of a sweep could not be recorded");
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some(walk) = self.walk.take() {
            let now = self.reader.clock.now();
            let mut state = self.reader.state();
            if state.planner.end_list(walk, Err(Missed::Otherwise), now) != Searched::Nothing {
                // The searched turns are still due, and are searched again.
                state.searching.clear();
            }
        }
        self.reader.wake.notify();
    }
}

impl Reader {
    pub(super) async fn start_list(self: &Arc<Self>, kind: Kind, view: &View, permit: Permit) -> store::Result<()> {
        let situation = view.situation(self);
        let mut walk = {
            let mut state = self.state();
            let walk = state.planner.begin_list(kind, &situation);
            if walk.kind == Kind::Sweep && walk.searches {
                state.searching.clone_from(&view.searched);
            }
            walk
        };
        let mut underway = Underway { reader: Arc::clone(self), walk: Some(walk.clone()) };
        if walk.is_blocked() {
            self.step_over(&mut walk, view.now).await?;
            underway.walk = Some(walk.clone());
        }
        let (reader, passed_at) = (Arc::clone(self), view.now);
        drop(self.tasks.spawn("list", async move {
            let page = reader.list(&walk, permit, passed_at).await;
            underway.end(page).await;
        }));
        Ok(())
    }

    /// Leads a walk past a row that List cannot give: on from a conversation of ours below it. That one is read by itself,
    /// and the first time also all that could stand between the two, which List does not show either.
    async fn step_over(&self, walk: &mut Walk, now: Timestamp) -> store::Result<()> {
        let below = walk.tail().unwrap_or(now.plus(CLOCK_MARGIN));
        let stones = self.store.watched_below(now, below, STONES + walk.tried()).await?;
        let Some(stone) = walk.step_over(stones.iter().map(|stone| stone.interaction.as_str())) else { return Ok(()) };
        tracing::error!(interaction_id = stone, "Fini's List cannot give a conversation: reading goes on below it");
        let is_first = walk.tried() == 1;
        for watched in stones.iter().filter(|watched| is_first || watched.interaction.as_str() == stone) {
            self.store.schedule_read(watched.conversation.key, Some(now), 0).await?;
        }
        Ok(())
    }

    async fn list(&self, walk: &Walk, permit: Permit, passed_at: Timestamp) -> Result<PageFacts, Missed> {
        let departure = self.budget.departure(permit);
        let asked_at = self.clock.now();
        let result = self.walker.fetch(walk, &departure).await;
        self.breakers.learn(About::Workspace, passed_at, &result);
        match result {
            Ok(page) => match self.walker.take(walk, page, asked_at).await {
                Ok(facts) => Ok(facts),
                Err(error) => {
                    tracing::warn!(%error, "List page could not be recorded");
                    Err(Missed::Otherwise)
                }
            },
            Err(failure) => {
                tracing::warn!(
                    class = failure.class(),
                    status = failure.status(),
                    conversations = walk.limit,
                    error = %failure,
                    "List failed"
                );
                Err(missed(&failure, walk))
            }
        }
    }

    /// Concludes a walk that searched: what is still open was not in `reading`, unless it was something `doubtful`.
    async fn conclude(
        &self,
        searched: Vec<TurnToRead>,
        reading: Reading,
        doubtful: &BTreeSet<ConversationKey>,
        looked_at: Timestamp,
        now: Timestamp,
    ) -> store::Result<()> {
        for turn in searched {
            // Found meanwhile: from now on its own conversation is read, which says more than a List did.
            if !matches!(self.store.binding(turn.conversation.key).await?, Some((Some(_), _))) {
                let shows_text = doubtful.contains(&turn.conversation.key);
                self.after_look(&turn, Reading { shows_text, ..reading }.seen(), looked_at).await?;
            }
        }
        let seen = reading.seen();
        for wanted in self.store.unbound(UNBOUND).await? {
            if wanted.look_at > now {
                continue;
            }
            // Only a whole List without it tells that it is not there; a Fini that cannot be read tells nothing.
            // If no response named an event of it, it has been looked for ever since it was sent.
            let since = if wanted.events.is_empty() { wanted.first_sent_at } else { wanted.wanted_since };
            let waited = looked_at.since(since);
            let lookup = &self.settings.lookup;
            let patience = if wanted.waits_unlisted { lookup.absence_window } else { lookup.late_reply_window };
            if seen == Seen::Absent && waited >= patience {
                let detail = "its Fini conversation was not found";
                self.store.lose(wanted.conversation.key, None, now, detail).await?;
                continue;
            }
            self.store.postpone_binding(wanted.conversation.key, now.plus(search_pause(wanted.looks))).await?;
        }
        self.conclude_erased(reading, doubtful, looked_at, now).await
    }

    /// Likewise for conversations that were erased before they were found: a search ends when nothing of them can be at
    /// Fini.
    async fn conclude_erased(
        &self,
        reading: Reading,
        doubtful: &BTreeSet<ConversationKey>,
        looked_at: Timestamp,
        now: Timestamp,
    ) -> store::Result<()> {
        for search in self.store.erasure_searches(UNBOUND).await? {
            if search.look_at > now {
                continue;
            }
            let shows_text = doubtful.contains(&search.conversation);
            let over_at = search.busy_until.unwrap_or(search.requested_at);
            let is_absent = search.events.is_empty()
                && looked_at.since(over_at) >= self.settings.lookup.late_reply_window
                && Reading { shows_text, ..reading }.seen() == Seen::Absent;
            let end = if is_absent {
                SearchEnd::Nothing
            } else if now.since(search.requested_at) >= SEARCHED_FOR {
                tracing::error!("Fini conversation of an erased one could not be found: given up");
                SearchEnd::Failed
            } else {
                SearchEnd::Later(now.plus(search_pause(search.looks)))
            };
            self.store.end_erasure_search(search.conversation, end, now).await?;
        }
        Ok(())
    }

    async fn keep_watermark(&self, now: Timestamp) -> store::Result<()> {
        let watermark = {
            let mut state = self.state();
            if state.watermark_kept_at.is_some_and(|at| now.since(at) < WATERMARK_EVERY) {
                return Ok(());
            }
            state.watermark_kept_at = Some(now);
            state.planner.watermark()
        };
        match watermark {
            Some(watermark) => self.store.remember(WATERMARK, &watermark.as_millis().to_string()).await,
            None => Ok(()),
        }
    }
}

/// Says whether a smaller page may succeed: after an answer that is too large, a deadline, a server that gives up, or a
/// refused request whose cursor is not to blame.
const fn missed(failure: &Failure, walk: &Walk) -> Missed {
    match failure {
        Failure::Unclear { .. } | Failure::Rejected { status: 413, .. } => Missed::Page { smallest: false },
        Failure::Rejected { status: 400 | 422, .. } if !walk.doubts_its_cursor() => Missed::Page { smallest: false },
        _ => Missed::Otherwise,
    }
}
