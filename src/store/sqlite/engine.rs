//! The writer: one task, one connection, many callers' work per commit.
//!
//! A commit waits for the disk; the work of a job does not. So whatever waits when a transaction begins is done inside it,
//! up to [`BATCH`] jobs, and all of them are answered after the one commit. Where a job fails, nothing of the batch is kept
//! and each job is done again in a transaction of its own, so that no caller pays for another's fault. Where the database
//! itself fails (full, unreadable, locked), everybody in the batch hears it and nothing is kept; the connection is opened
//! anew for the next batch, so the writer recovers by itself once the cause is gone.
//!
//! Invariant: a caller that hears `Ok` has its effect on disk; one that hears an error has none.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use sqlx::{Connection, SqliteConnection};
use tokio::{
    sync::{Mutex, Notify, mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    Conn, Cx, Write,
    connect::{Location, ProcessLock},
};
use crate::store::{Change, Changes, Result, Rules, StoreError};

/// Jobs in one transaction.
const BATCH: usize = 128;
/// Jobs that wait before callers have to.
const QUEUE: usize = 1024;

/// The callers' side of the writer.
#[derive(Debug)]
pub(super) struct Writer {
    inbox: mpsc::Sender<Box<dyn Job>>,
    closing: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the task.
    #[expect(clippy::disallowed_methods, reason = "the task ends with the store, and `close` waits for it")]
    pub(super) fn start(
        location: Location,
        lock: ProcessLock,
        connection: SqliteConnection,
        rules: Arc<Rules>,
        changes: Changes,
    ) -> Self {
        let (inbox, jobs) = mpsc::channel(QUEUE);
        let closing = Arc::new(Notify::new());
        let task = Task { location, _lock: lock, connection: Some(connection), rules, changes };
        let task = tokio::spawn(task.run(jobs, Arc::clone(&closing)));
        Self { inbox, closing, task: Mutex::new(Some(task)) }
    }

    /// Has `work` done and waits for the commit. Once taken in, it is done whether or not the caller still waits.
    pub(super) async fn submit<I, T>(&self, input: I, work: Write<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let job = Pending { input, work, found: None, caller };
        self.inbox.send(Box::new(job)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Finishes what was taken in, closes the file and frees it for other processes.
    pub(super) async fn close(&self) {
        self.closing.notify_one();
        let task = self.task.lock().await.take();
        if let Some(task) = task {
            // A task that panicked has nothing left to close.
            let _ = task.await;
        }
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

/// A caller's work, whatever it yields.
trait Job: Send {
    /// Does the work inside the present transaction and keeps what it found.
    fn run<'a>(&'a mut self, conn: &'a mut Conn, cx: &'a mut Cx) -> BoxFuture<'a, Result<()>>;
    /// Tells the caller how it ended.
    fn answer(self: Box<Self>, end: Result<()>);
}

struct Pending<I, T> {
    input: I,
    work: Write<I, T>,
    found: Option<T>,
    caller: oneshot::Sender<Result<T>>,
}

impl<I: Send + Sync, T: Send> Job for Pending<I, T> {
    fn run<'a>(&'a mut self, conn: &'a mut Conn, cx: &'a mut Cx) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.found = Some((self.work)(conn, cx, &self.input).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, end: Result<()>) {
        let Self { found, caller, .. } = *self;
        let found = end.and_then(|()| found.ok_or_else(|| StoreError::Internal("a job was never run".to_owned())));
        // A caller that has gone does not want to know.
        let _ = caller.send(found);
    }
}

/// Why a transaction was not committed.
enum Failed {
    /// A job failed; its neighbours may do better without it.
    ByJob(StoreError),
    /// The database failed; nobody can do better now.
    ByDatabase(StoreError),
}

/// The writer's side.
struct Task {
    location: Location,
    _lock: ProcessLock,
    connection: Option<SqliteConnection>,
    rules: Arc<Rules>,
    changes: Changes,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Box<dyn Job>>, closing: Arc<Notify>) {
        let mut jobs = Vec::with_capacity(BATCH);
        loop {
            let taken = tokio::select! {
                biased;
                () = closing.notified(), if !inbox.is_closed() => {
                    // What is in the channel already is still done.
                    inbox.close();
                    continue;
                }
                taken = inbox.recv_many(&mut jobs, BATCH) => taken,
            };
            if taken == 0 {
                break;
            }
            self.settle(&mut jobs).await;
        }
        if let Some(mut connection) = self.connection.take() {
            // Best effort: the next start replays the log just as well.
            let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
            let _ = connection.close().await;
        }
    }

    /// Does the jobs and answers every caller; leaves `jobs` empty.
    async fn settle(&mut self, jobs: &mut Vec<Box<dyn Job>>) {
        match self.commit(jobs).await {
            Ok(changes) => {
                for job in jobs.drain(..) {
                    job.answer(Ok(()));
                }
                self.announce(changes);
            }
            Err(Failed::ByJob(_)) if jobs.len() > 1 => {
                for mut job in jobs.drain(..) {
                    match self.commit(std::slice::from_mut(&mut job)).await {
                        Ok(changes) => {
                            job.answer(Ok(()));
                            self.announce(changes);
                        }
                        Err(Failed::ByJob(error) | Failed::ByDatabase(error)) => job.answer(Err(error)),
                    }
                }
            }
            Err(Failed::ByJob(error) | Failed::ByDatabase(error)) => {
                for job in jobs.drain(..) {
                    job.answer(Err(error.clone()));
                }
            }
        }
    }

    fn announce(&self, changes: Vec<Change>) {
        for change in changes {
            self.changes.announce(change);
        }
    }

    /// Does the jobs in one transaction; returns what to announce, or undoes everything.
    async fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> std::result::Result<Vec<Change>, Failed> {
        if self.connection.is_none() {
            self.connection = Some(self.location.connect().await.map_err(Failed::ByDatabase)?);
        }
        let Some(connection) = &mut self.connection else {
            return Err(Failed::ByDatabase(closed()));
        };
        let attempt = transaction(connection, jobs, Cx::new(Arc::clone(&self.rules)));
        let outcome = AssertUnwindSafe(attempt)
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(Failed::ByJob(StoreError::Internal("a job panicked".to_owned()))));
        if let Err(failed) = &outcome {
            let undone = sqlx::query("ROLLBACK").execute(connection).await.is_ok();
            if !undone || matches!(failed, Failed::ByDatabase(_)) {
                // Nothing is known about this connection any more.
                self.connection = None;
            }
        }
        outcome
    }
}

async fn transaction(
    conn: &mut Conn,
    jobs: &mut [Box<dyn Job>],
    mut cx: Cx,
) -> std::result::Result<Vec<Change>, Failed> {
    let database = |error: sqlx::Error| Failed::ByDatabase(error.into());
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *conn).await.map_err(database)?;
    for job in jobs {
        job.run(conn, &mut cx).await.map_err(by_whom)?;
    }
    cx.flush(conn).await.map_err(by_whom)?;
    sqlx::query("COMMIT").execute(&mut *conn).await.map_err(database)?;
    Ok(cx.into_changes())
}

fn by_whom(error: StoreError) -> Failed {
    match error {
        StoreError::Unavailable(_) | StoreError::Damaged(_) => Failed::ByDatabase(error),
        _ => Failed::ByJob(error),
    }
}
