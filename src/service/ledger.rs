//! Records what Fini said, from whichever source: the store decides in one transaction, this module tells metrics and log.

use std::{sync::Arc, time::Duration};

use crate::{
    domain::{
        Clock, Timestamp,
        ids::TurnKey,
        turn::TurnFailure,
        vendor::{FiniConversation, FiniEvent},
    },
    metrics::{LeftOut, Metrics},
    store::{ConversationRef, EndOfTurn, Hold, Record, Recorded, Result, Source, Store, Token},
};

/// Delay until the next look, after one without a reply.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// The ledger.
pub struct Ledger {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

impl Ledger {
    /// Creates a ledger over `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        Self { store, clock, metrics }
    }

    /// Records the answer to a send.
    pub async fn response(
        &self,
        conversation: &ConversationRef,
        turn: TurnKey,
        token: &Token,
        events: Vec<FiniEvent>,
    ) -> Result<Recorded> {
        let now = self.clock.now();
        let source = Source::Response { turn, token: token.clone(), look_at: now.plus(FIRST_LOOK) };
        self.record(conversation, source, events, now).await
    }

    /// Records a snapshot that List or (then it is whole) Get returned for a conversation that is bound to it. It shows the
    /// truth at `as_of` or later.
    pub async fn snapshot(
        &self,
        conversation: &ConversationRef,
        snapshot: FiniConversation,
        as_of: Timestamp,
        is_whole: bool,
    ) -> Result<Recorded> {
        let now = self.clock.now();
        let turn_attribute = snapshot.turn_attribute().map(str::to_owned);
        let source = Source::Snapshot {
            interaction: snapshot.id,
            created_at: snapshot.created_at,
            is_whole,
            status: snapshot.status,
            resolved: snapshot.resolved,
            turn_attribute,
            as_of,
            look_at: now.plus(FIRST_LOOK),
        };
        self.record(conversation, source, snapshot.events, now).await
    }

    /// Counts conversations of a List page that were left out.
    pub fn leave_out(&self, reason: LeftOut, count: usize) {
        self.metrics.rows_left_out(reason, count);
    }

    /// Fails a turn visibly, if `hold` still holds it.
    pub async fn fail(&self, turn: TurnKey, hold: Hold, failure: &TurnFailure) -> Result<bool> {
        self.store.fail_turn(turn, hold, self.clock.now(), failure).await
    }

    async fn record(
        &self,
        conversation: &ConversationRef,
        source: Source,
        events: Vec<FiniEvent>,
        now: Timestamp,
    ) -> Result<Recorded> {
        let record = Record { conversation: conversation.key, source, events, now };
        let recorded = self.store.record(record).await?;
        for created in &recorded.new_events {
            self.metrics.event_lag(now.since(*created));
        }
        let frontend = conversation.frontend.as_str();
        if recorded.withheld > 0 {
            self.metrics.events_withheld(frontend, recorded.withheld);
            tracing::warn!(
                frontend,
                conversation_id = %conversation.id,
                events = recorded.withheld,
                "events withheld: nobody can tell which of two conversations they belong to"
            );
        }
        if recorded.ended.is_empty() && recorded.added > 0 {
            tracing::info!(frontend, conversation_id = %conversation.id, events = recorded.added, "feed extended");
        }
        Ok(recorded)
    }
}

/// Counts the end of a turn and writes it to the log, whatever brought it about.
pub fn report(metrics: &Metrics, end: &EndOfTurn) {
    let EndOfTurn { conversation, message, outcome, failure, took, cause } = end;
    let frontend = conversation.frontend.as_str();
    metrics.turn_finished(frontend, *outcome, *took);
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match failure {
        None => tracing::info!(
            frontend,
            conversation_id = %conversation.id,
            message_id = %message,
            request_id = cause.request_id(),
            trace_id = cause.trace_id(),
            outcome,
            duration_ms,
            "turn completed"
        ),
        Some(error) => tracing::warn!(
            frontend,
            conversation_id = %conversation.id,
            message_id = %message,
            request_id = cause.request_id(),
            trace_id = cause.trace_id(),
            code = outcome,
            duration_ms,
            error,
            "turn failed"
        ),
    }
}
