//! Takes messages in: stores them before they are acknowledged, recognises repeated ones, refuses more when too many wait.

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

/// Longest pause between two looks of a waiting request, in case every hint is lost.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The intake.
pub struct Intake {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    budget: Arc<Budget>,
    metrics: Metrics,
    limits: BacklogLimits,
}

/// The person for whom a message speaks, and who vouches for it.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// The person's id; `None` if nobody vouches for it.
    pub id: Option<String>,
    /// Attributes that are vouched for as well; they replace those of the message. They do not count when a repeat is
    /// recognised: by then they may be known better.
    pub attributes: Map<String, Value>,
    /// True if only conversations of that person are open to it.
    pub is_confined: bool,
    /// The desk's agent, if it names one: takes the conversation by speaking, or joins it.
    pub agent: Option<Agent>,
}

/// The answer to a frontend.
#[derive(Debug)]
pub enum Taken {
    /// Stored now, in this conversation; true if nothing in it comes before the message.
    New(ConversationKey, bool),
    /// Stored before, in this conversation; with its state.
    Duplicate(ConversationKey, &'static str),
    /// The id was used for another message.
    Conflict,
    /// The conversation is another person's, or nobody's.
    NotTheirs,
    /// Too many messages wait; the time until there may be room.
    Full(Duration),
    /// More messages than one person may send in a minute, or than may wait in one conversation; the time until there is
    /// room.
    Limited(Duration),
}

impl Intake {
    /// Creates an intake into `store`.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        budget: Arc<Budget>,
        metrics: Metrics,
        limits: BacklogLimits,
    ) -> Self {
        Self { store, clock, budget, metrics, limits }
    }

    /// Stores a message with the request that brought it and, if a browser sent it, the person for whom it is counted. When
    /// this returns `New` or `Duplicate`, the message is durable.
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

    /// Waits until a turn is settled, or until `patience` is over, and returns it as it is then. `stored_in` is the
    /// conversation that [`Taken`] named.
    pub async fn wait(
        &self,
        stored_in: ConversationKey,
        frontend: &FrontendName,
        conversation: &ConversationId,
        (message, space): (&MessageId, IdSpace),
        patience: Duration,
    ) -> Result<Option<TurnView>> {
        let deadline = Instant::now() + patience;
        // Follow before asking: an end in between is heard.
        let mut follower = self.store.changes().follow(stored_in, Topic::Ends);
        loop {
            let Some(turn) = self.store.turn(frontend, conversation, message, space).await? else { return Ok(None) };
            // After an erasure the same message may be of another conversation; the caller waits for the first one only.
            if turn.state.is_settled() || turn.conversation != stored_in || Instant::now() >= deadline {
                return Ok(Some(turn));
            }
            let look_again = Instant::now() + LOOK_EVERY;
            let _ = tokio::time::timeout_at(deadline.min(look_again), follower.next()).await;
        }
    }
}
