//! Messages that were answered 202 and are gone with the server that had them.
//!
//! A standby that is promoted without having received everything lacks the last commits. Nobody can bring them back, but this
//! process can look for the messages that it took in lately: it names each missing one in the log, so that its author
//! can be asked to write again.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sqlx::PgPool;
use tokio::time::{Instant, timeout};

use crate::domain::ids::{ConversationId, FrontendName, MessageId};

/// Time for which a message is remembered: no standby that lags longer is promoted.
const REMEMBERED_FOR: Duration = Duration::from_mins(10);
/// The most messages remembered, the latest ones.
const REMEMBERED: usize = 20_000;
/// The most missing messages named one by one.
const NAMED: usize = 200;
/// Longest time that looking for all of them may take.
const PATIENCE: Duration = Duration::from_mins(1);

struct Taken {
    at: Instant,
    frontend: FrontendName,
    conversation: ConversationId,
    message: MessageId,
}

/// The messages that this process took in lately.
#[derive(Default)]
pub(super) struct Losses(Mutex<VecDeque<Taken>>);

impl Losses {
    /// Remembers a message that was stored and not there before.
    pub(super) fn remember(&self, frontend: &FrontendName, conversation: &ConversationId, message: &MessageId) {
        let now = Instant::now();
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.front().is_some_and(|oldest| taken.len() >= REMEMBERED || now - oldest.at > REMEMBERED_FOR) {
            taken.pop_front();
        }
        let (frontend, conversation, message) = (frontend.clone(), conversation.clone(), message.clone());
        taken.push_back(Taken { at: now, frontend, conversation, message });
    }

    /// Looks for them in a database whose history branched off, and names the missing ones.
    pub(super) async fn look(&self, pool: &PgPool) {
        let taken: Vec<Taken> = self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        let (mut there, mut lost) = (VecDeque::new(), 0_usize);
        let looked_for = taken.len();
        let looked = timeout(PATIENCE, async {
            for message in taken {
                if is_there(pool, &message).await? {
                    there.push_back(message);
                    continue;
                }
                lost += 1;
                if lost <= NAMED {
                    tracing::error!(
                        frontend = %message.frontend,
                        conversation_id = %message.conversation,
                        message_id = %message.message,
                        "a message that was answered 202 is lost with the server that had it"
                    );
                }
            }
            Ok::<_, sqlx::Error>(())
        });
        let error = match looked.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(crate::store::StoreError::from(error).to_string()),
            Err(_) => Some("not in time".to_owned()),
        };
        if lost > 0 || error.is_some() {
            tracing::error!(lost, looked_for, error, "the database's history branched off, and commits are missing");
        } else {
            tracing::warn!(
                looked_for,
                "the database's history branched off; nothing that was taken in here is missing"
            );
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&mut there);
    }
}

/// Returns true if it is there. One of a conversation that was erased meanwhile is no loss.
async fn is_there(pool: &PgPool, message: &Taken) -> std::result::Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM conversations c JOIN turns t ON t.conversation_key = c.key \
                WHERE c.frontend = $1 AND c.conversation_id = $2 AND c.erased_at IS NULL AND t.message_id = $3) \
            OR EXISTS (SELECT 1 FROM conversations c \
                WHERE c.frontend = $1 AND c.conversation_id = $4 AND c.erased_at IS NOT NULL)",
    )
    .bind(message.frontend.as_str())
    .bind(message.conversation.as_str())
    .bind(message.message.as_str())
    .bind(message.conversation.erased().as_str())
    .fetch_one(pool)
    .await
}
