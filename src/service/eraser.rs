//! Deleting at Fini what was erased here: durable, tried again after a crash, and believed only when reading proves it.
//!
//! Fini's answer to a deletion proves nothing: it is success for unknown ids too. And the 500 by which Fini says that it does
//! not know a conversation is what it says when it is ill as well. So two reads must miss the conversation, and a List that
//! works must tell that Fini is well. Deleting may be repeated, unlike sending.

use std::{sync::Arc, time::Duration};

use super::breakers::Breakers;
use crate::{
    domain::{Clock, Timestamp, breaker::State, ids::InteractionId, scopes::About},
    fini::{
        Failure, FiniApi, ListQuery,
        budget::{Budget, Permit, Taken},
    },
    lifecycle::{Loop, Step},
    store::{Erasure, ErasureEnd, RequestClass, Result, Store, StoreError},
};

/// How long one try may take, waiting for the budget included.
const PATIENCE: Duration = Duration::from_secs(40);
/// When a deletion whose try was cut short by a crash is due again.
const LEASE: Duration = Duration::from_mins(1);
/// Between two reads that are to miss it.
const READ_AGAIN: Duration = Duration::from_millis(500);
/// The pauses between tries; the last one is repeated.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_mins(1),
    Duration::from_mins(10),
    Duration::from_hours(1),
];
/// What is not proved by then is given up, visibly.
const GIVE_UP_AFTER: Duration = Duration::from_hours(24);

/// The eraser.
pub struct Eraser {
    /// Where wanted deletions are.
    pub store: Arc<dyn Store>,
    /// Asked to delete, and to prove it.
    pub fini: Arc<dyn FiniApi>,
    /// Say when not to ask.
    pub breakers: Arc<Breakers>,
    /// Says how much may be asked.
    pub budget: Arc<Budget>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What one try showed.
enum Shown {
    Gone,
    Refused(Failure),
    Nothing(String),
}

impl Loop for Arc<Eraser> {
    type Error = StoreError;

    async fn step(&self) -> Result<Step> {
        let now = self.clock.now();
        match self.store.next_erasure_at().await? {
            Some(due) if due <= now => {}
            until => return Ok(Step::Idle { until }),
        }
        if let State::Open { until, .. } = self.breakers.deletions() {
            return Ok(Step::Idle { until: Some(until) });
        }
        let permit = match self.budget.take(RequestClass::Bind).await? {
            Taken::Permit(permit) => permit,
            Taken::NotBefore(at) => return Ok(Step::Idle { until: Some(at) }),
        };
        let Some(erasure) = self.store.claim_erasure(now, now.plus(LEASE)).await? else { return Ok(Step::Did(1)) };
        let shown = tokio::time::timeout(PATIENCE, self.erase(&erasure.interaction, permit, now)).await;
        let shown = shown.unwrap_or_else(|_| Ok(Shown::Nothing("it took too long".to_owned())))?;
        self.settle(&erasure, &shown).await?;
        Ok(Step::Did(1))
    }
}

impl Eraser {
    async fn erase(&self, interaction: &InteractionId, permit: Permit, passed_at: Timestamp) -> Result<Shown> {
        let result = self.fini.delete_conversation(interaction, &self.budget.departure(permit)).await;
        self.breakers.learn(About::Deletion, passed_at, &result);
        match result {
            Ok(()) | Err(Failure::Missing { .. } | Failure::Unclear { .. }) => {}
            Err(failure @ Failure::Rejected { .. }) => return Ok(Shown::Refused(failure)),
            Err(failure) => return Ok(Shown::Nothing(failure.to_string())),
        }
        for read in 0..2 {
            if read > 0 {
                tokio::time::sleep(READ_AGAIN).await;
            }
            let departure = self.budget.departure(self.permit().await?);
            match self.fini.get_conversation(interaction, &departure).await {
                Err(failure) if failure.may_mean_gone() => {}
                Ok(_) => return Ok(Shown::Nothing("Fini still shows the conversation".to_owned())),
                Err(failure) => return Ok(Shown::Nothing(failure.to_string())),
            }
        }
        let departure = self.budget.departure(self.permit().await?);
        let query = ListQuery { limit: Some(1), ..ListQuery::default() };
        Ok(match self.fini.list_conversations(&query, &departure).await {
            Ok(_) => Shown::Gone,
            Err(failure) => Shown::Nothing(failure.to_string()),
        })
    }

    async fn permit(&self) -> Result<Permit> {
        loop {
            match self.budget.take(RequestClass::Bind).await? {
                Taken::Permit(permit) => return Ok(permit),
                Taken::NotBefore(at) => tokio::time::sleep(at.since(self.clock.now())).await,
            }
        }
    }

    async fn settle(&self, erasure: &Erasure, shown: &Shown) -> Result<()> {
        let now = self.clock.now();
        let interaction_id = erasure.interaction.as_str();
        let end = match shown {
            Shown::Gone => {
                tracing::info!(interaction_id, attempt = erasure.attempts, "Fini conversation erased");
                ErasureEnd::Erased
            }
            Shown::Refused(failure) => {
                tracing::error!(interaction_id, error = %failure, "Fini refuses to erase a conversation");
                ErasureEnd::Failed
            }
            Shown::Nothing(error) if now.since(erasure.requested_at) >= GIVE_UP_AFTER => {
                tracing::error!(interaction_id, %error, "Fini conversation could not be erased: given up");
                ErasureEnd::Failed
            }
            Shown::Nothing(error) => {
                tracing::warn!(interaction_id, %error, attempt = erasure.attempts, "Fini conversation not erased yet");
                ErasureEnd::Later(now.plus(pause(erasure.attempts)))
            }
        };
        self.store.end_erasure(&erasure.interaction, end, now).await
    }
}

fn pause(attempts: u32) -> Duration {
    let at = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    PAUSES[at.min(PAUSES.len() - 1)]
}

/// For whoever waits: how long, and how often to look.
pub const WAIT: (Duration, Duration) = (Duration::from_secs(20), Duration::from_millis(100));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_is_repeated() {
        let pauses: Vec<u64> = [1, 2, 6, 7, 1_000].map(|attempts| pause(attempts).as_secs()).to_vec();
        assert_eq!(pauses, [1, 5, 3_600, 3_600, 3_600]);
    }
}
