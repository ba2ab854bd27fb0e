//! Erases persons here, conversation by conversation, and deletes at Fini what was erased here: durable, tried again after
//! a crash, and believed only when reading proves it.
//!
//! Fini's answer to a deletion proves nothing: it is success for unknown ids too. And the 500 by which Fini says that it
//! does not know a conversation is also its answer when it is down. So the conversation is read before it is deleted, and
//! [`domain::evidence::gone`](crate::domain::evidence::gone) says what counts as proof afterwards. Deleting may be
//! repeated, unlike sending.

use std::{sync::Arc, time::Duration};

use super::{breakers::Breakers, gone};
use crate::{
    domain::{
        Clock, Timestamp,
        breaker::State,
        evidence::gone::{Misses, Scan, Shown as Listed, was_deleted},
        ids::InteractionId,
        scopes::About,
        vendor::FiniConversation,
    },
    fini::{
        Failure, FiniApi,
        budget::{Budget, Permit, Taken},
    },
    lifecycle::{Loop, Step},
    store::{Erasure, ErasureEnd, Known, RequestClass, Result, Store, StoreError},
};

/// Longest duration of one try, waiting for the budget included.
const PATIENCE: Duration = Duration::from_secs(40);
/// A deletion whose try was cut short by a crash is due again after so long.
const LEASE: Duration = Duration::from_mins(1);
/// Conversations of a person that are erased here in one transaction, which others wait for.
pub const BATCH: usize = 10;
/// Pause before the next look while another process erases a person's conversations.
const AT_IT: Duration = Duration::from_secs(1);
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
/// A deletion that is not proved by then is given up, visibly.
const GIVE_UP_AFTER: Duration = Duration::from_hours(24);

/// The eraser.
pub struct Eraser {
    /// Holds the requested deletions.
    pub store: Arc<dyn Store>,
    /// Deletes, and serves the reads that prove it.
    pub fini: Arc<dyn FiniApi>,
    /// Tell when not to ask.
    pub breakers: Arc<Breakers>,
    /// Tells how much may be asked.
    pub budget: Arc<Budget>,
    /// The steady clock.
    pub clock: Arc<dyn Clock>,
}

/// The result of one try.
enum Shown {
    Gone,
    Refused(Failure),
    Nothing(String),
}

impl Loop for Arc<Eraser> {
    type Error = StoreError;

    async fn step(&self) -> Result<Step> {
        let now = self.clock.now();
        if self.store.persons_to_erase().await? {
            return Ok(match self.store.erase_some(None, now, BATCH).await? {
                Some(conversations) => Step::Did(conversations.max(1)),
                // Another process is at it; should it die, this one goes on.
                None => Step::Idle { until: Some(now.plus(AT_IT)) },
            });
        }
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
        let shown = tokio::time::timeout(PATIENCE, self.erase(&erasure, permit, now)).await;
        let shown = shown.unwrap_or_else(|_| Ok(Shown::Nothing("it took too long".to_owned())))?;
        self.settle(&erasure, &shown).await?;
        Ok(Step::Did(1))
    }
}

impl Eraser {
    async fn erase(&self, erasure: &Erasure, permit: Permit, passed_at: Timestamp) -> Result<Shown> {
        let interaction = &erasure.interaction;
        let mut known = erasure.known.clone();
        if known.beside.is_none() {
            self.look_before(interaction, &mut known).await?;
        }
        let result = self.fini.delete_conversation(interaction, &self.budget.departure(permit)).await;
        self.breakers.learn(About::Deletion, passed_at, &result);
        match result {
            Ok(()) | Err(Failure::Missing { .. } | Failure::Unclear { .. }) => {}
            Err(failure @ Failure::Rejected { .. }) => return Ok(Shown::Refused(failure)),
            Err(failure) => return Ok(Shown::Nothing(failure.to_string())),
        }
        let shown = self.look_after(interaction, &mut known).await?;
        if !matches!(shown, Shown::Gone) {
            self.store.know(interaction, &known).await?;
        }
        Ok(shown)
    }

    /// Records what Fini shows of a conversation before it is deleted.
    async fn look_before(&self, interaction: &InteractionId, known: &mut Known) -> Result<()> {
        if let Ok(snapshot) = self.get(interaction).await? {
            known.latest_at = snapshot.latest_message_at();
            known.missed_since = None;
        }
        if let Listed::There(beside) = self.scan(interaction, known).await? {
            known.beside = Some(beside);
        }
        self.store.know(interaction, known).await
    }

    async fn look_after(&self, interaction: &InteractionId, known: &mut Known) -> Result<Shown> {
        let mut last_at = None;
        for read in 0..2 {
            if read > 0 {
                tokio::time::sleep(READ_AGAIN).await;
            }
            let asked_at = self.clock.now();
            match self.get(interaction).await? {
                Err(failure) if failure.may_mean_gone() => {
                    known.missed_since.get_or_insert(asked_at);
                    last_at = Some(asked_at);
                }
                Ok(_) => {
                    known.missed_since = None;
                    return Ok(Shown::Nothing("Fini still shows the conversation".to_owned()));
                }
                Err(failure) => return Ok(Shown::Nothing(failure.to_string())),
            }
        }
        let began_at = self.clock.now();
        let after = self.scan(interaction, known).await?;
        let misses = known.missed_since.zip(last_at).map(|(first_at, last_at)| Misses { first_at, last_at });
        let before = known.beside.clone().map_or(Listed::Nothing, Listed::There);
        let is_gone = was_deleted(&before, &after) || misses.is_some_and(|misses| misses.prove_gone(began_at, &after));
        Ok(match after {
            _ if is_gone => Shown::Gone,
            Listed::There(_) => Shown::Nothing("Fini still lists the conversation".to_owned()),
            _ => {
                Shown::Nothing("Fini does not show the conversation, but nothing proves yet that it is gone".to_owned())
            }
        })
    }

    async fn get(&self, interaction: &InteractionId) -> Result<std::result::Result<FiniConversation, Failure>> {
        let permit = gone::permit(&self.budget, RequestClass::Bind, &*self.clock).await?;
        Ok(self.fini.get_conversation(interaction, &self.budget.departure(permit)).await)
    }

    async fn scan(&self, interaction: &InteractionId, known: &Known) -> Result<Listed> {
        let mut scan = Scan::new(interaction.clone(), known.latest_at, self.clock.now());
        while let Some(query) = gone::query(&scan) {
            let permit = gone::permit(&self.budget, RequestClass::Bind, &*self.clock).await?;
            gone::take(&mut scan, self.fini.list_conversations(&query, &self.budget.departure(permit)).await);
        }
        Ok(scan.shown())
    }

    async fn settle(&self, erasure: &Erasure, shown: &Shown) -> Result<()> {
        let now = self.clock.now();
        let interaction_id = erasure.interaction.as_str();
        let end = match shown {
            // A send that is under way would bring it back: it is deleted once more when that is over.
            Shown::Gone if erasure.busy_until.is_some_and(|until| until > now) => {
                ErasureEnd::Later(erasure.busy_until.unwrap_or(now))
            }
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

/// For a caller that waits: how long it waits, and how often it looks.
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
