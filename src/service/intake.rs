//! Taking messages in: stored before they are acknowledged, recognised when they are repeated, refused when too many wait.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::{
    domain::{
        Clock,
        correlation::Correlation,
        handoff::Agent,
        ids::{ConversationId, ConversationKey, FrontendName, IdSpace, MessageId},
        message::InboundMessage,
    },
    fini::budget::Budget,
    metrics::Metrics,
    store::{Accepted, BacklogLimits, NewMessage, Result, Store, Topic, TurnView},
};

/// A waiting request looks for itself this often, should every hint be lost.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The intake.
pub struct Intake {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    budget: Arc<Budget>,
    metrics: Metrics,
    limits: BacklogLimits,
}

/// Whose word a message is.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// The person, where somebody vouches for that.
    pub id: Option<String>,
    /// What is vouched for besides, in place of what the message says of the same. No part of what makes a repeat: it may be
    /// known better by then.
    pub attributes: Map<String, Value>,
    /// Whether only conversations of that person are open to it.
    pub is_confined: bool,
    /// The desk's agent, where it is one that is named: takes the conversation by speaking, or joins.
    pub agent: Option<Agent>,
}

/// What a frontend is told.
#[derive(Debug)]
pub enum Taken {
    /// Stored now, in this conversation; whether nothing of that comes before it.
    New(ConversationKey, bool),
    /// Stored before, in this conversation; where it stands.
    Duplicate(ConversationKey, &'static str),
    /// The id was used for something else.
    Conflict,
    /// The conversation is another person's, or nobody's.
    NotTheirs,
    /// Too many wait; when there may be room.
    Full(Duration),
    /// More than one person may write in a minute, or than may wait in one conversation; when there is room.
    Limited(Duration),
}

impl Intake {
    /// An intake into `store`.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        budget: Arc<Budget>,
        metrics: Metrics,
        limits: BacklogLimits,
    ) -> Self {
        Self { store, clock, budget, metrics, limits }
    }

    /// Stores a message, with the request that brought it, and whom it is counted for where a browser sent it. When this
    /// returns `New` or `Duplicate`, the message is durable.
    pub async fn accept(
        &self,
        frontend: &FrontendName,
        mut message: InboundMessage,
        person: Person,
        counted_for: Option<String>,
        cause: Correlation,
    ) -> Result<Taken> {
        let fingerprint = message.fingerprint();
        message.attributes.extend(person.attributes);
        let message = NewMessage {
            frontend: frontend.clone(),
            fingerprint,
            message,
            vouched_user: person.id,
            only_own: person.is_confined,
            agent: person.agent,
            counted_for,
            cause,
            now: self.clock.now(),
            limits: self.limits,
        };
        Ok(match self.store.accept(message).await? {
            Accepted::New { conversation, is_next, .. } => {
                self.metrics.message_accepted(frontend.as_str());
                Taken::New(conversation, is_next)
            }
            Accepted::Duplicate { conversation, state } => {
                self.metrics.message_repeated(frontend.as_str());
                Taken::Duplicate(conversation, state.status())
            }
            Accepted::Conflict => Taken::Conflict,
            Accepted::NotTheirs => Taken::NotTheirs,
            Accepted::TooFast { wait } => Taken::Limited(wait),
            Accepted::TooLarge { waiting_in_frontend } => {
                Taken::Limited(self.budget.expected_wait(u64::from(waiting_in_frontend)))
            }
            Accepted::BacklogFull { waiting_in_frontend, .. } => {
                Taken::Full(self.budget.expected_wait(u64::from(waiting_in_frontend)))
            }
        })
    }

    /// Waits until a turn is settled, or until `patience` is over; gives it as it is then. `stored_in` is what
    /// [`Taken`] told.
    pub async fn wait(
        &self,
        stored_in: ConversationKey,
        frontend: &FrontendName,
        conversation: &ConversationId,
        (message, space): (&MessageId, IdSpace),
        patience: Duration,
    ) -> Result<Option<TurnView>> {
        let deadline = Instant::now() + patience;
        // Follow before asking: what settles in between is heard.
        let mut follower = self.store.changes().follow(stored_in, Topic::Ends);
        loop {
            let Some(turn) = self.store.turn(frontend, conversation, message, space).await? else { return Ok(None) };
            // After an erasure the same message may be of another conversation; whoever waited, waited for the first.
            if turn.state.is_settled() || turn.conversation != stored_in || Instant::now() >= deadline {
                return Ok(Some(turn));
            }
            let look_again = Instant::now() + LOOK_EVERY;
            let _ = tokio::time::timeout_at(deadline.min(look_again), follower.next()).await;
        }
    }
}
