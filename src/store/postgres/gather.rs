//! Taking messages in together: those that arrive while others are being committed share the next transaction.
//!
//! A transaction costs the same round trips and the same wait for the disk, however many messages it takes in; so the busier
//! it gets, the less each of them costs. Nobody waits for company: a message that comes alone goes alone, at once.

use std::sync::Arc;

use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

use super::{
    Write,
    connect::Patience,
    engine::{Engine, Frame},
    losses::Losses,
};
use crate::store::{Accepted, NewMessage, Result, StoreError};

/// The most messages in one transaction. Their conversations stay locked until its end.
const BATCH: usize = 64;
/// The most messages that wait; beyond, their senders do.
const QUEUE: usize = 1024;
/// Transactions at the same time: one waits for the disk while the other one is being filled.
const AT_ONCE: usize = 2;

/// The callers' side.
pub(super) struct Intake {
    inbox: Mutex<Option<mpsc::Sender<Waiting>>>,
    patience: Patience,
}

/// A message that waits, with its caller.
struct Waiting {
    message: NewMessage,
    work: Write<NewMessage, Accepted>,
    caller: oneshot::Sender<Result<Accepted>>,
}

impl Intake {
    /// Starts the tasks that take messages in; they end with [`close`](Self::close).
    ///
    /// `losses` remembers the messages taken in.
    pub(super) fn start(
        engine: &Arc<Engine>,
        losses: &Arc<Losses>,
        patience: Patience,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (inbox, waiting) = mpsc::channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..AT_ONCE {
            tasks.spawn(take_in(Arc::clone(engine), Arc::clone(losses), Arc::clone(&waiting)));
        }
        Self { inbox: Mutex::new(Some(inbox)), patience }
    }

    /// Takes a message in; returns once that is durable. Once it waits, it is taken in whether or not the caller still does.
    pub(super) async fn submit(&self, message: NewMessage, work: Write<NewMessage, Accepted>) -> Result<Accepted> {
        let Some(inbox) = self.inbox.lock().await.clone() else { return Err(closed()) };
        let (caller, answer) = oneshot::channel();
        let patience = self.patience.connection + self.patience.call;
        let taken_in = async {
            inbox.send(Waiting { message, work, caller }).await.map_err(|_| closed())?;
            answer.await.map_err(|_| closed())?
        };
        let late = || StoreError::Unavailable("the PostgreSQL server did not take the message in in time".to_owned());
        timeout(patience, taken_in).await.unwrap_or_else(|_| Err(late()))
    }

    /// Refuses further messages; those that wait are still taken in.
    pub(super) async fn close(&self) {
        drop(self.inbox.lock().await.take());
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

async fn take_in(engine: Arc<Engine>, losses: Arc<Losses>, inbox: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if inbox.lock().await.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        // Always in the same order, so that two transactions never wait for each other.
        let place =
            |waiting: &Waiting| (waiting.message.frontend.clone(), waiting.message.message.conversation_id.clone());
        batch.sort_by_cached_key(place);
        settle(&engine, &losses, &mut batch).await;
    }
}

/// Takes the messages in and answers every caller; leaves `batch` empty.
async fn settle(engine: &Engine, losses: &Losses, batch: &mut Vec<Waiting>) {
    let Some(work) = batch.first().map(|first| first.work) else { return };
    let (messages, callers): (Vec<_>, Vec<_>) =
        batch.drain(..).map(|waiting| (waiting.message, waiting.caller)).unzip();
    let together = engine.write_all(Frame::Transaction, &messages, work, 1).await;
    match together {
        Ok(accepted) => {
            for ((message, caller), accepted) in messages.iter().zip(callers).zip(accepted) {
                remember(losses, message, &accepted);
                // A caller that has gone needs no answer.
                let _ = caller.send(Ok(accepted));
            }
        }
        // A second try would fail too.
        Err(error @ (StoreError::Unavailable(_) | StoreError::Damaged(_))) => {
            for caller in callers {
                let _ = caller.send(Err(error.clone()));
            }
        }
        // One of them is in the way of the others, or met a conflict.
        Err(_) => {
            for (message, caller) in messages.iter().zip(callers) {
                let accepted = engine.write(Frame::Transaction, message, work).await;
                if let Ok(accepted) = &accepted {
                    remember(losses, message, accepted);
                }
                let _ = caller.send(accepted);
            }
        }
    }
}

/// Remembers a stored message, before its caller hears of it.
fn remember(losses: &Losses, stored: &NewMessage, accepted: &Accepted) {
    if let Accepted::New { .. } = accepted {
        losses.remember(&stored.frontend, &stored.message.conversation_id, &stored.message.message_id);
    }
}
