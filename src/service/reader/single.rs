//! Reads one conversation: for turns of unknown fate, for just-finished turns, and for the status.

use std::{sync::Arc, time::Duration};

use tracing::Instrument as _;

use super::{Reader, View};
use crate::{
    domain::{
        Timestamp,
        correlation::Correlation,
        evidence::{
            absent::{Reading, Seen},
            gone::{Scan, Shown},
        },
        ids::{ConversationKey, InteractionId, TurnKey},
        scopes::{About, Way},
        turn::TurnState,
        vendor::FiniConversation,
    },
    fini::{Failure, budget::Permit},
    service::{
        gone,
        lookup::{self, LookupSettings, Next},
        planner::Plan,
    },
    store::{ConversationRef, DueRead, Hold, RequestClass, Result, TurnToRead},
};

/// A conversation in which somebody else's message is being answered is read again after so long.
const UNSETTLED_PAUSE: Duration = Duration::from_secs(2);
/// Fini counts as unreadable after so long.
const LASTING_TROUBLE: Duration = Duration::from_secs(30);
/// A look proves a message absent only after twice the lag of List and this.
const LAG_MARGIN: Duration = Duration::from_secs(5);

/// A read under way. The planner learns of its end in any case, even after a panic.
struct Underway {
    reader: Arc<Reader>,
    turn: Option<TurnKey>,
    conversation: Option<ConversationKey>,
    /// Set once it has stood for a sweep.
    swept_at: Option<Timestamp>,
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut state = self.reader.state();
        state.planner.end_get(self.swept_at);
        if let Some(turn) = self.turn {
            state.looking.remove(&turn);
        }
        if let Some(conversation) = self.conversation {
            state.getting.remove(&conversation);
        }
        drop(state);
        self.reader.wake.notify();
    }
}

/// Creates the span of a read under way, which its log lines carry.
fn span(
    conversation: &ConversationRef,
    interaction: Option<&InteractionId>,
    reason: &'static str,
    cause: &Correlation,
) -> tracing::Span {
    tracing::info_span!(
        "read",
        frontend = %conversation.frontend,
        conversation_id = %conversation.id,
        interaction_id = interaction.map(InteractionId::as_str),
        reason,
        request_id = cause.request_id(),
        trace_id = cause.trace_id(),
    )
}

impl Reader {
    pub(super) fn start_single(self: &Arc<Self>, plan: Plan, mut view: View, permit: Permit) {
        let lone = view.watch.summary.watched == 1;
        let now = view.now;
        self.state().planner.begin_get(plan, &view.situation(self));
        let mut underway = Underway { reader: Arc::clone(self), turn: None, conversation: None, swept_at: None };
        let reader = Arc::clone(self);
        let read = match plan {
            Plan::Lookup if !view.lookups.is_empty() => {
                let turn = view.lookups.swap_remove(0);
                self.state().looking.insert(turn.key);
                underway.turn = Some(turn.key);
                let span = span(&turn.conversation, turn.interaction.as_ref(), "lookup", &turn.cause);
                let work = async move {
                    if let Err(error) = reader.look_up(turn, permit, now).await {
                        tracing::warn!(%error, "lookup could not be recorded");
                    }
                    drop(underway);
                };
                drop(self.tasks.spawn("lookup", work.instrument(span)));
                return;
            }
            Plan::Pending(number) if number < view.reads.len() => view.reads.swap_remove(number),
            Plan::Front(number) if number < view.watch.front.len() => {
                let watched = &view.watch.front[number];
                DueRead {
                    conversation: watched.conversation.clone(),
                    interaction: watched.interaction.clone(),
                    state: watched.state,
                    due_at: now,
                    misses: 0,
                    last_activity_at: watched.last_activity_at,
                }
            }
            _ => return,
        };
        self.state().getting.insert(read.conversation.key);
        underway.conversation = Some(read.conversation.key);
        let stands_for_sweep = lone && matches!(plan, Plan::Front(_));
        let reason = if matches!(plan, Plan::Front(_)) { "watch" } else { "due" };
        let span = span(&read.conversation, Some(&read.interaction), reason, &Correlation::default());
        let work = async move {
            match reader.get(read, permit, now).await {
                Ok(true) if stands_for_sweep => underway.swept_at = Some(now),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "read could not be recorded"),
            }
            drop(underway);
        };
        drop(self.tasks.spawn("get", work.instrument(span)));
    }

    async fn look_up(&self, turn: TurnToRead, permit: Permit, passed_at: Timestamp) -> Result<()> {
        let Some(interaction) = turn.interaction.clone() else { return Ok(()) };
        let departure = self.budget.departure(permit).on_behalf(turn.cause.onward(&*self.entropy));
        let looked_at = self.clock.now();
        let result = self.fini.get_conversation(&interaction, &departure).await;
        self.breakers.learn(About::Conversation, passed_at, &result);
        match result {
            Ok(snapshot) => {
                let taken = self.walker.take_single(snapshot, &turn.conversation, looked_at).await?;
                // A snapshot that is no longer bound to the conversation, or that has somebody else's messages in it, proves
                // nothing.
                let seen = match taken.turn {
                    _ if !taken.settled => Seen::Nothing,
                    Some(TurnState::Unclear) => {
                        let shown = u64::from(!taken.is_stale);
                        Reading { is_whole: true, shown, expected: 1, shows_text: false }.seen()
                    }
                    _ => Seen::Present,
                };
                self.after_look(&turn, seen, looked_at).await
            }
            Err(failure) => {
                if failure.may_mean_gone()
                    && self.is_gone(&turn.conversation, &interaction, &failure, looked_at).await?
                {
                    return Ok(());
                }
                self.after_look(&turn, Seen::Nothing, looked_at).await
            }
        }
    }

    /// Ends the turns that have waited too long for a read in a way in which Fini cannot be read. Returns when the next one
    /// ends.
    pub(super) async fn give_up_unread(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        // A moment of trouble is no reason: what could have been read before and was not is read after it.
        let window = self.settings.lookup.late_reply_window;
        let patience = window.min(LASTING_TROUBLE);
        let mut next: Option<Timestamp> = None;
        for turn in self.store.turns_to_read(now, 64).await? {
            let way = if turn.interaction.is_some() { Way::Get } else { Way::List };
            let Some(unread_since) = self.breakers.unread_since(way) else { continue };
            let end = turn.since.plus(window).max(unread_since.plus(patience));
            if end <= now {
                self.after_look(&turn, Seen::Nothing, now).await?;
            } else {
                next = Some(next.map_or(end, |at| at.min(end)));
            }
        }
        Ok(next)
    }

    pub(super) async fn after_look(&self, turn: &TurnToRead, seen: Seen, looked_at: Timestamp) -> Result<()> {
        let now = self.clock.now();
        let lag = self.state().planner.list_lag(now);
        let settings = LookupSettings {
            // Two lags: the one that was seen may not be the worst.
            absence_window: self.settings.lookup.absence_window.max(lag.saturating_mul(2) + LAG_MARGIN),
            ..self.settings.lookup
        };
        let others_pass =
            turn.state == TurnState::Unclear && turn.tries.may_be_own_fault(now) && self.others_pass(turn).await?;
        match lookup::after_look(turn, seen, looked_at, now, others_pass, &settings) {
            Next::LookAt(at) => self.store.postpone_look(turn.key, turn.attempt, at).await,
            Next::ResendAt(at) => {
                if self.store.prove_absent(turn.key, turn.attempt, now, at).await? {
                    tracing::warn!(
                        frontend = %turn.conversation.frontend,
                        conversation_id = %turn.conversation.id,
                        request_id = turn.cause.request_id(),
                        trace_id = turn.cause.trace_id(),
                        attempt = turn.attempt,
                        "message proven absent from Fini, to be sent again"
                    );
                }
                Ok(())
            }
            Next::Fail(failure) => {
                self.ledger.fail(turn.key, Hold::Looked(turn.attempt), &failure).await?;
                Ok(())
            }
        }
    }

    /// Returns true if Fini's bot has taken another message since this one was first sent.
    async fn others_pass(&self, turn: &TurnToRead) -> Result<bool> {
        let frontends = self.settings.peers(&turn.conversation.frontend);
        self.store.others_arrived(&frontends, turn.conversation.key, turn.tries.since).await
    }

    /// Reads a conversation. Returns true if Fini has it.
    async fn get(&self, read: DueRead, permit: Permit, asked_at: Timestamp) -> Result<bool> {
        let departure = self.budget.departure(permit);
        let result = self.fini.get_conversation(&read.interaction, &departure).await;
        self.breakers.learn(About::Conversation, asked_at, &result);
        let now = self.clock.now();
        let latest = result.as_ref().ok().map(FiniConversation::latest_at);
        // A conversation that cannot be read has had its turn too; its next try is on the store's list.
        self.walker.saw(&read.interaction, latest, asked_at);
        match result {
            Ok(snapshot) => {
                let taken = self.walker.take_single(snapshot, &read.conversation, asked_at).await?;
                let again = if taken.settled { taken.judge_at } else { Some(now.plus(UNSETTLED_PAUSE)) };
                self.store.schedule_read(read.conversation.key, again, 0).await?;
                Ok(true)
            }
            Err(failure) if failure.may_mean_gone() => {
                self.is_gone(&read.conversation, &read.interaction, &failure, asked_at).await?;
                Ok(false)
            }
            Err(failure) => {
                tracing::warn!(class = failure.class(), status = failure.status(), error = %failure, "Get failed");
                let again = now.plus(Duration::from_secs(5));
                self.store.schedule_read(read.conversation.key, Some(again), read.misses).await?;
                Ok(false)
            }
        }
    }

    /// Counts a read that did not find the conversation. If that proves it gone, gives it up and returns true; else
    /// schedules another read.
    async fn is_gone(
        &self,
        conversation: &ConversationRef,
        interaction: &InteractionId,
        failure: &Failure,
        asked_at: Timestamp,
    ) -> Result<bool> {
        let Some(missed) = self.store.count_miss(conversation.key, interaction, asked_at).await? else {
            return Ok(false);
        };
        let (mut misses, now) = (missed.count, self.clock.now());
        if missed.misses.are_apart() {
            let shown = self.scan(Scan::new(interaction.clone(), missed.latest_at, now)).await?;
            if missed.misses.prove_gone(now, &shown) {
                self.lose(conversation, interaction, failure).await?;
                return Ok(true);
            }
            if matches!(shown, Shown::There(_)) {
                misses = 0;
            }
        }
        let again = self.clock.now().plus(miss_pause(misses));
        self.store.schedule_read(conversation.key, Some(again), misses).await?;
        Ok(false)
    }

    /// Reads List for one conversation, page by page.
    async fn scan(&self, mut scan: Scan) -> Result<Shown> {
        while let Some(query) = gone::query(&scan) {
            let permit = gone::permit(&self.budget, RequestClass::Get, &*self.clock).await?;
            let passed_at = self.clock.now();
            let page = self.fini.list_conversations(&query, &self.budget.departure(permit)).await;
            self.breakers.learn(About::Workspace, passed_at, &page);
            gone::take(&mut scan, page);
        }
        Ok(scan.shown())
    }

    async fn lose(&self, conversation: &ConversationRef, interaction: &InteractionId, failure: &Failure) -> Result<()> {
        let now = self.clock.now();
        if self.store.lose(conversation.key, Some(interaction), now, failure.detail()).await? {
            tracing::warn!(
                frontend = %conversation.frontend,
                conversation_id = %conversation.id,
                interaction_id = %interaction,
                "Fini conversation is gone"
            );
        }
        Ok(())
    }
}

/// Returns the pause before a conversation is read again after so many misses in a row.
fn miss_pause(misses: u32) -> Duration {
    Duration::from_secs(2).saturating_mul(1 << misses.min(8))
}
