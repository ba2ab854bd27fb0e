//! Reads a conversation at Fini because an operator asks for it: does Fini know it, and whose history is it.
//!
//! Records nothing and decides nothing; it takes its request out of the budget like every other.

use std::{sync::Arc, time::Duration};

use super::{breakers::Breakers, gone};
use crate::{
    domain::{Clock, ids::InteractionId, scopes::About, vendor::FiniConversation},
    fini::{FiniApi, budget::Budget},
    store::{RequestClass, Result},
};

/// Longest time for which an operator waits for a request of the budget and its answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads one conversation at a time.
pub struct Inspector {
    /// Answers the reads.
    pub fini: Arc<dyn FiniApi>,
    /// Learn from the answer.
    pub breakers: Arc<Breakers>,
    /// Says how much may be asked.
    pub budget: Arc<Budget>,
    /// The steady clock.
    pub clock: Arc<dyn Clock>,
}

/// Fini's answer.
#[derive(Debug)]
pub enum Inspected {
    /// Fini has the conversation.
    Known(Box<FiniConversation>),
    /// Fini's own 404 or 500 for this id: it has no such conversation, as far as one answer tells.
    Unknown,
    /// Fini could not be asked; the reason in words.
    Unanswered(String),
}

impl Inspector {
    /// Reads the conversation.
    pub async fn read(&self, id: &InteractionId) -> Result<Inspected> {
        let reading = async {
            let permit = gone::permit(&self.budget, RequestClass::Get, &*self.clock).await?;
            let began_at = self.clock.now();
            let answer = self.fini.get_conversation(id, &self.budget.departure(permit)).await;
            self.breakers.learn(About::Conversation, began_at, &answer);
            Ok(match answer {
                Ok(conversation) => Inspected::Known(Box::new(conversation)),
                Err(failure) if failure.may_mean_gone() => Inspected::Unknown,
                Err(failure) => Inspected::Unanswered(failure.to_string()),
            })
        };
        let answer = tokio::time::timeout(PATIENCE, reading).await;
        answer.unwrap_or_else(|_| Ok(Inspected::Unanswered("no answer in time".to_owned())))
    }
}
