//! Running transactions: on a connection of the pool, with a deadline, and again if another transaction was in the way.
//!
//! A connection of the pool may have been cut since it was used last. One that was idle for a while is tried before it is
//! used; for one that was just used that would be a round trip in vain nearly always. So if the first statement on it fails,
//! nothing was done, and the next connection is taken. The same holds if its server takes no writes any more: that connection
//! is closed, and the server that takes them is looked for (`primary.rs`). If the last statement fails, the commit, its effect
//! is unknown, and its possible changes are announced all the same (`doubts.rs`).

use std::{
    slice,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{Connection, Postgres, pool::PoolConnection};
use tokio::time::{Instant, error::Elapsed, timeout};

use super::{
    Conn, Cx, Read, Write,
    connect::{Patience, is_closed},
    context::Told,
    doubts::Doubts,
    notices::Teller,
    primary::Primary,
};
use crate::store::{Change, Changes, Result, Rules, StoreError};

/// The most tries of a transaction that others keep getting in the way of.
const TRIES: usize = 5;

/// Wait for a connection after which the server is suspected.
const SLOW: Duration = Duration::from_secs(1);
/// Longest time in which a connection on which something failed may say whether it takes writes.
const TRIAL: Duration = Duration::from_secs(1);
/// The most servers that some work goes over to.
const SERVERS: u32 = 3;

/// The frame around the statements of some work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A transaction.
    Transaction,
    /// A transaction whose statements all see one and the same committed state.
    Snapshot,
    /// Nothing: each statement stands for itself.
    None,
}

/// Work that failed, and how far it had come.
#[derive(Debug)]
enum Failed {
    /// The connection was cut before anything was done on it.
    NotBegun(StoreError),
    /// Any other failure.
    Within(StoreError),
}

impl<E: Into<StoreError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Within(error.into())
    }
}

/// Runs the store's transactions.
pub(super) struct Engine {
    pub(super) primary: Arc<Primary>,
    rules: Arc<Rules>,
    changes: Changes,
    teller: Mutex<Option<Teller>>,
    doubts: Doubts,
    patience: Patience,
}

impl Engine {
    pub(super) fn new(
        primary: Arc<Primary>,
        rules: Rules,
        changes: Changes,
        teller: Teller,
        patience: Patience,
    ) -> Self {
        let (rules, teller) = (Arc::new(rules), Mutex::new(Some(teller)));
        Self { primary, rules, changes, teller, doubts: Doubts::default(), patience }
    }

    pub(super) const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Runs `work`; returns once it is durable. Runs it again if another transaction was in the way.
    ///
    /// Without a transaction around it, the work is one statement that may as well be run twice.
    pub(super) async fn write<I: Sync, T>(&self, frame: Frame, input: &I, work: Write<I, T>) -> Result<T> {
        let found = self.write_all(frame, slice::from_ref(input), work, TRIES).await?.pop();
        found.ok_or_else(|| StoreError::Internal("work found nothing".to_owned()))
    }

    /// Runs `work` on every input, all in one transaction; at most `most` times if another transaction was in the way.
    pub(super) async fn write_all<I: Sync, T>(
        &self,
        frame: Frame,
        inputs: &[I],
        work: Write<I, T>,
        most: usize,
    ) -> Result<Vec<T>> {
        let (mut tries, mut cut) = (1, 0);
        loop {
            let mut connection = self.connection().await?;
            let mut told = Told::default();
            let attempt = self.attempt(&mut connection, frame, inputs, work, &mut told);
            let done = timeout(self.patience.call, attempt).await;
            match self.in_time(connection, done).await {
                Ok(found) => {
                    self.changes.report(&told.ends);
                    told.changes.extend(self.doubts.due(Instant::now()));
                    self.announce(&told.changes);
                    return Ok(found);
                }
                Err(Failed::Within(StoreError::Contended(_))) if tries < most => tries += 1,
                Err(failed) => {
                    self.announce(&told.changes);
                    self.doubts.add(told.changes, Instant::now());
                    self.passes_by(failed, &mut cut)?;
                }
            }
        }
    }

    /// Runs `work` that only reads.
    pub(super) async fn read<I: Sync, T>(&self, frame: Frame, input: &I, work: Read<I, T>) -> Result<T> {
        let mut cut = 0;
        loop {
            let mut connection = self.connection().await?;
            let done = timeout(self.patience.call, look(&mut connection, frame, input, work)).await;
            match self.in_time(connection, done).await {
                Ok(found) => return Ok(found),
                Err(failed) => self.passes_by(failed, &mut cut)?,
            }
        }
    }

    /// Returns a connection to the server that takes writes; to the new one if that changes meanwhile.
    async fn connection(&self) -> Result<PoolConnection<Postgres>> {
        let mut gone = 0;
        loop {
            let current = self.primary.current();
            let acquire = current.pool.acquire();
            tokio::pin!(acquire);
            let patient = async {
                if let Ok(acquired) = timeout(SLOW, &mut acquire).await {
                    return acquired;
                }
                self.primary.suspect();
                acquire.await
            };
            // A caller that waits for a connection to a server that is left is not woken by itself.
            let acquired = tokio::select! {
                biased;
                acquired = patient => acquired,
                () = current.pool.close_event() => Err(sqlx::Error::PoolClosed),
            };
            match acquired {
                Ok(connection) => return Ok(connection),
                Err(_) if self.primary.is_past(&current) && gone < SERVERS => gone += 1,
                Err(error) => {
                    self.primary.suspect();
                    return Err(error.into());
                }
            }
        }
    }

    /// Announces changes here and to the other processes.
    pub(super) fn announce(&self, changes: &[Change]) {
        let teller = self.teller.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for change in changes {
            self.changes.announce(*change);
            if let Some(teller) = &teller {
                teller.tell(*change);
            }
        }
    }

    /// Takes no more changes for the other processes: the teller ends once it has sent the rest.
    pub(super) fn end_telling(&self) {
        drop(self.teller.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Runs `work` once. From the moment `told` holds changes, they may be in effect, whatever the result.
    async fn attempt<I: Sync, T>(
        &self,
        connection: &mut Conn,
        frame: Frame,
        inputs: &[I],
        work: Write<I, T>,
        told: &mut Told,
    ) -> std::result::Result<Vec<T>, Failed> {
        let mut cx = Cx::new(Arc::clone(&self.rules));
        let mut found = Vec::with_capacity(inputs.len());
        if frame == Frame::None {
            for input in inputs {
                match work(connection, &mut cx, input).await {
                    Ok(one) => found.push(one),
                    Err(error) => return Err(unframed(connection, error).await),
                }
            }
            *told = cx.into_told();
            return Ok(found);
        }
        let mut transaction = connection.begin().await.map_err(|error| Failed::NotBegun(error.into()))?;
        for input in inputs {
            found.push(work(&mut transaction, &mut cx, input).await?);
        }
        cx.flush(&mut transaction).await?;
        *told = cx.into_told();
        transaction.commit().await?;
        Ok(found)
    }

    /// Returns `Ok` if failed work is to be tried on the next connection: as often as there may be cut ones in the pool.
    fn passes_by(&self, failed: Failed, cut: &mut u32) -> Result<()> {
        match failed {
            Failed::NotBegun(StoreError::Unavailable(_)) if *cut < self.primary.connections() => {
                *cut += 1;
                Ok(())
            }
            Failed::NotBegun(error) | Failed::Within(error) => Err(error),
        }
    }

    /// Returns the result of work that had a deadline. A connection that did not answer by then, or on which the server
    /// failed, is closed and not given back: its state is unknown, or the next caller would find the same. One whose server
    /// takes no writes has done nothing of the work.
    async fn in_time<T>(
        &self,
        mut connection: PoolConnection<Postgres>,
        done: std::result::Result<std::result::Result<T, Failed>, Elapsed>,
    ) -> std::result::Result<T, Failed> {
        let Ok(done) = done else {
            drop(connection.detach());
            self.primary.suspect();
            let late = "the PostgreSQL server did not answer in time".to_owned();
            return Err(Failed::Within(StoreError::Unavailable(late)));
        };
        if let Err(Failed::NotBegun(error) | Failed::Within(error)) = &done
            && let StoreError::Unavailable(_) = error
        {
            let error = error.clone();
            let asked = timeout(TRIAL, is_closed(&mut connection)).await;
            drop(connection.detach());
            self.primary.suspect();
            if matches!(asked, Ok(Ok(true))) {
                return Err(Failed::NotBegun(error));
            }
        }
        done
    }
}

async fn look<I: Sync, T>(
    connection: &mut Conn,
    frame: Frame,
    input: &I,
    work: Read<I, T>,
) -> std::result::Result<T, Failed> {
    if frame == Frame::None {
        return match work(connection, input).await {
            Ok(found) => Ok(found),
            Err(error) => Err(unframed(connection, error).await),
        };
    }
    let transaction = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
    let mut transaction = transaction.map_err(|error| Failed::NotBegun(error.into()))?;
    let found = work(&mut transaction, input).await?;
    transaction.rollback().await?;
    Ok(found)
}

/// Classifies the failure of work that may be done twice: it may be begun again if the connection is gone.
async fn unframed(connection: &mut Conn, error: StoreError) -> Failed {
    if matches!(error, StoreError::Unavailable(_)) && connection.ping().await.is_err() {
        return Failed::NotBegun(error);
    }
    Failed::Within(error)
}
