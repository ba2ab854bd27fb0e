//! Handing conversations to humans and back: the acts of desk, customer and Fini's action, and the ends that nobody brings about.
//!
//! The domain decides, inside the store's transaction, what an act means. The loop here brings the time: it reports that
//! customers wait, ends the handoffs that nobody claimed, and gives back those that are idle. Several processes may run it;
//! each end comes once.

use std::{sync::Arc, time::Duration};

use crate::{
    domain::{
        Clock,
        handoff::Desk,
        ids::{ConversationId, ConversationKey, FrontendName},
    },
    lifecycle::{Loop, Step},
    store::{HandedOff, HandoffAct, Meant, MeantConversation, Result, Store, StoreError},
};

/// Longest pause between two looks: a handoff that began meanwhile falls due later than that.
const EVERY: Duration = Duration::from_secs(5);
/// Conversations in one transaction.
const BATCH: usize = 20;

/// Carries out handoffs.
pub struct Handoffs {
    /// Holds the handoffs.
    pub store: Arc<dyn Store>,
    /// The steady clock.
    pub clock: Arc<dyn Clock>,
}

impl Handoffs {
    /// Carries out an act of a desk or a customer.
    pub async fn act(&self, frontend: &FrontendName, id: &ConversationId, act: HandoffAct) -> Result<HandedOff> {
        self.store.hand_off(frontend, id, act, self.clock.now()).await
    }

    /// Takes Fini's own request for a human. `None` if it names no known conversation; the request is kept then.
    pub async fn push(&self, meant: Meant, note: Option<String>) -> Result<Option<MeantConversation>> {
        let found = self.store.push(meant, note, self.clock.now()).await?;
        if found.is_none() {
            tracing::warn!("Fini asks for a human in a conversation that nobody knows: kept for an operator");
        }
        Ok(found)
    }

    /// Looks up the conversation that Fini means.
    pub async fn meant(&self, meant: &Meant) -> Result<Option<MeantConversation>> {
        self.store.meant(meant).await
    }

    /// Records whether a frontend's desk is there.
    pub async fn set_desk(&self, frontend: &FrontendName, desk: &Desk) -> Result<()> {
        self.store.set_desk(frontend, desk).await
    }

    /// Lets those who read a conversation know that an agent is writing.
    pub async fn typing(&self, conversation: ConversationKey) -> Result<()> {
        self.store.type_along(conversation).await
    }
}

impl Loop for Arc<Handoffs> {
    type Error = StoreError;

    async fn step(&self) -> Result<Step> {
        let now = self.clock.now();
        // Asked first: as a rule nothing is due, and nobody need lock or commit to find that out.
        let next = self.store.next_handoff_at().await?;
        let is_due = next.is_some_and(|next| next <= now);
        let ticked = if is_due { self.store.tick_handoffs(now, BATCH).await? } else { Vec::new() };
        for one in ticked.iter().filter(|one| one.is_unclaimed) {
            tracing::warn!(
                frontend = %one.frontend,
                conversation_id = %one.id,
                speaker = one.speaker.as_str(),
                "nobody came for a customer who asked for a human"
            );
        }
        if !ticked.is_empty() {
            return Ok(Step::Did(ticked.len()));
        }
        let soon = now.plus(EVERY);
        Ok(Step::Idle { until: Some(next.map_or(soon, |next| next.min(soon))) })
    }
}
