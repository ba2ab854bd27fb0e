//! A conversation with a Fini that the tests play.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::domain::{
    ids::{InteractionId, TurnKey},
    turn::{FailureCode, TurnFailure, TurnState},
    vendor::{FiniConversation, FiniEvent, FiniKind, FiniRole},
};

/// The process that claims unless told otherwise.
pub(super) const OWNER: &str = "process-1";

/// Returns an event of Fini's, created at the test's beginning.
pub(super) fn said(id: &str, role: FiniRole, text: &str) -> FiniEvent {
    FiniEvent::message(id, at(0), role, text)
}

/// Returns the event of the message itself, in Fini.
pub(super) fn own_event(id: &str, message: &str) -> FiniEvent {
    said(id, FiniRole::User, &format!("text of {message}"))
}

/// Returns a reply of the bot.
pub(super) fn reply(id: &str) -> FiniEvent {
    said(id, FiniRole::Bot, &format!("reply {id}"))
}

/// Returns a message of a human agent.
pub(super) fn by_agent(id: &str) -> FiniEvent {
    said(id, FiniRole::Agent, &format!("agent {id}"))
}

/// Returns a message of another automation, which takes nothing over.
pub(super) fn by_other_bot(id: &str) -> FiniEvent {
    said(id, FiniRole::OtherBot, &format!("other bot {id}"))
}

pub(super) fn of_kind(kind: FiniKind, event: FiniEvent) -> FiniEvent {
    FiniEvent { kind, text: None, ..event }
}

/// Returns a Fini conversation as it is read.
pub(super) fn snapshot(id: &str, created_at: Timestamp, events: Vec<FiniEvent>) -> FiniConversation {
    let id = interaction(id);
    FiniConversation { id, created_at, status: None, resolved: None, attributes: Map::new(), events }
}

pub(super) fn interaction(id: &str) -> InteractionId {
    InteractionId::trusted(id)
}

/// Pages of so many entries, however large.
pub(super) fn most(entries: usize) -> Most {
    Most { entries, bytes: usize::MAX }
}

pub(super) fn id(conversation: &str) -> ConversationId {
    ConversationId::trusted(conversation)
}

pub(super) fn message_id(message: &str) -> MessageId {
    MessageId::trusted(message)
}

/// Returns a claim for `web` that takes every due turn, with budget enough.
pub(super) fn claim_of(now: Timestamp, max: usize) -> ClaimTurns {
    ClaimTurns {
        lease: lease(OWNER, now),
        token: token(),
        max,
        frontends: vec![web()],
        join_window: Duration::ZERO,
        budget: BudgetTerms { limit: 1000, window: Duration::from_mins(1), share: 500, ..BudgetTerms::default() },
    }
}

/// Returns a token of its own for each claim.
pub(super) fn token() -> Token {
    static CLAIMS: AtomicU64 = AtomicU64::new(0);
    Token(format!("claim-{}", CLAIMS.fetch_add(1, Ordering::Relaxed)).into())
}

pub(super) fn lease(owner: &str, now: Timestamp) -> Lease {
    Lease { owner: Owner(owner.into()), now, until: now.plus(Duration::from_secs(150)) }
}

pub(super) fn failure(code: FailureCode) -> TurnFailure {
    TurnFailure { code, detail: "as told".to_owned(), may_resend: false }
}

/// Returns the outcomes of the turns that a look ended, with the times at which their messages were accepted.
pub(super) fn ends(recorded: &Recorded) -> Vec<(&'static str, Timestamp)> {
    recorded.ended.iter().map(|ended| (ended.outcome, ended.accepted_at)).collect()
}

/// Returns the events that [`Fixture::bound_talk`] leaves in Fini.
pub(super) fn begun(conversation: &str) -> Vec<FiniEvent> {
    vec![own_event(&format!("{conversation}-e1"), "m-0"), reply(&format!("{conversation}-e2"))]
}

/// The content of a snapshot besides its events.
#[derive(Clone, Default)]
pub(super) struct Says {
    pub(super) status: Option<&'static str>,
    pub(super) resolved: Option<bool>,
    pub(super) turn_attribute: Option<String>,
    pub(super) is_whole: bool,
}

impl Says {
    pub(super) fn status(status: &'static str) -> Self {
        Self { status: Some(status), ..Self::default() }
    }
}

impl Fixture {
    /// Claims the only turn that is due.
    pub(super) async fn claim_turn(&self, now: Timestamp) -> ClaimedTurn {
        let mut claimed = self.claim_with(claim_of(now, 10)).await;
        assert_eq!(claimed.turns.len(), 1, "{claimed:?}");
        claimed.turns.remove(0)
    }

    pub(super) async fn claim_with(&self, claim: ClaimTurns) -> ClaimedTurns {
        self.store.claim_turns(claim).await.expect("claims")
    }

    /// Asserts that nothing is due at `now`.
    pub(super) async fn assert_nothing_due(&self, now: Timestamp) {
        let claimed = self.claim_with(claim_of(now, 10)).await;
        assert!(claimed.turns.is_empty(), "{claimed:?}");
    }

    /// Records the response to a turn; a look, should one follow, is due ten seconds later.
    pub(super) async fn respond(&self, turn: &ClaimedTurn, events: Vec<FiniEvent>, now: Timestamp) -> Recorded {
        let look_at = now.plus(Duration::from_secs(10));
        let source = Source::Response { turn: turn.key, token: turn.token.clone(), look_at };
        self.store.record(Record { conversation: turn.conversation.key, source, events, now }).await.expect("records")
    }

    /// Records a snapshot.
    pub(super) async fn read(
        &self,
        conversation: ConversationKey,
        of: &str,
        says: Says,
        events: Vec<FiniEvent>,
        now: Timestamp,
    ) -> Recorded {
        let source = Source::Snapshot {
            interaction: interaction(of),
            created_at: at(0),
            is_whole: says.is_whole,
            status: says.status.map(str::to_owned),
            resolved: says.resolved,
            turn_attribute: says.turn_attribute,
            as_of: now,
            look_at: now.plus(Duration::from_secs(10)),
        };
        self.store.record(Record { conversation, source, events, now }).await.expect("records")
    }

    /// Posts, sends and answers one message, and binds the conversation. Its events are `<conversation>-e1` and `-e2`.
    pub(super) async fn bound_talk(&self, conversation: &str, interaction_id: &str, now: Timestamp) -> ConversationKey {
        let key = self.post(conversation, "m-0", now).await;
        let turn = self.claim_turn(now).await;
        assert_eq!(self.respond(&turn, begun(conversation), now).await.turn, Some(TurnState::Answered));
        assert_eq!(self.bind(key, interaction_id, now).await, Bound::Now);
        key
    }

    pub(super) async fn bind(&self, key: ConversationKey, interaction_id: &str, now: Timestamp) -> Bound {
        self.bind_to(key, snapshot(interaction_id, now, Vec::new()), now).await
    }

    pub(super) async fn bind_to(&self, key: ConversationKey, snapshot: FiniConversation, now: Timestamp) -> Bound {
        self.store.bind(key, &snapshot, now).await.expect("answers")
    }

    /// Quarantines a conversation that is looked for: its Fini conversation is far older than it is.
    pub(super) async fn quarantine(&self, key: ConversationKey, interaction_id: &str, now: Timestamp) {
        let older = snapshot(interaction_id, now.minus(Duration::from_hours(1)), Vec::new());
        assert_eq!(self.bind_to(key, older, now).await, Bound::Quarantined { owner: None });
    }

    pub(super) async fn conversation(&self, conversation: &str) -> Conversation {
        self.store.conversation(&web(), &id(conversation)).await.expect("reads").expect("is there")
    }

    pub(super) async fn turn(&self, conversation: &str, message: &str) -> TurnView {
        self.store
            .turn(&web(), &id(conversation), &message_id(message), IdSpace::Server)
            .await
            .expect("reads")
            .expect("is there")
    }

    pub(super) async fn state_of(&self, conversation: &str, message: &str) -> TurnState {
        self.turn(conversation, message).await.state
    }

    /// Reads the whole feed; its numbers have no gaps.
    pub(super) async fn feed(&self, conversation: &str) -> Vec<Value> {
        let (_, page) =
            self.store.feed(&web(), &id(conversation), 0, most(10_000)).await.expect("reads").expect("is there");
        let sequences: Vec<i64> = page.entries.iter().map(|entry| entry.sequence).collect();
        assert_eq!(sequences, (1..=page.last_sequence).collect::<Vec<_>>());
        page.entries.iter().map(|entry| json(&entry.body)).collect()
    }

    /// Reads the types of the feed's events after the first `skip`.
    pub(super) async fn kinds(&self, conversation: &str, skip: usize) -> Vec<String> {
        kinds(&self.feed(conversation).await[skip..])
    }

    /// Returns the turns that are due for a look.
    pub(super) async fn look_due(&self, now: Timestamp) -> Vec<TurnKey> {
        let due = self.store.turns_to_read(now, 10).await.expect("reads");
        due.iter().map(|turn| turn.key).collect()
    }
}

pub(super) fn kinds(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["type"].as_str().expect("a type").to_owned()).collect()
}
