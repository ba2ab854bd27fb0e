//! The writer: one thread, one connection, many callers' work per commit.
//!
//! A commit waits for the disk; the work of a job does not. So all jobs that wait when a transaction begins are done inside it,
//! up to [`BATCH`], and all of them are answered after the one commit. If a job fails, nothing of the batch is kept
//! and each job is done again in a transaction of its own, so that no caller pays for another's fault. If the database
//! itself fails (full, unreadable, locked), every caller in the batch gets the error and nothing is kept; the connection is
//! opened anew for the next batch, so the writer recovers by itself once the cause is gone.
//!
//! It can also work *inline*, on the caller's thread: then nothing runs beside the caller, and a test that drives the caller in
//! virtual time drives the store too. The same jobs, transactions and announcements; only nobody shares a commit.
//!
//! Invariant: the effect of a call that returns `Ok` is on disk; a call that returns an error has none.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
    thread,
};

use futures_util::FutureExt;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::yield_now,
};

use super::{
    Conn, Cx, Write, at_once,
    connect::{Identity, Location, ProcessLock, truncate_log},
    context::Told,
};
use crate::store::{Changes, Result, Rules, StoreError};

/// The most jobs in one transaction.
const BATCH: usize = 128;
/// The most jobs that wait; beyond, callers do.
const QUEUE: usize = 1024;

/// The callers' side of the writer.
#[derive(Debug)]
pub(super) enum Writer {
    /// A thread of its own: it waits for the disk, and no other work may wait with it.
    Thread { inbox: mpsc::Sender<Message>, ended: Mutex<Option<oneshot::Receiver<()>>> },
    /// No thread; none any more once it is closed.
    Inline(std::sync::Mutex<Option<Task>>),
}

/// A message to the thread.
pub(super) enum Message {
    Do(Box<dyn Job>),
    /// Cut the log file, and answer whether that could be done.
    TruncateLog(oneshot::Sender<Result<bool>>),
    /// Finish the jobs that were taken in, and end.
    Close,
}

impl Writer {
    /// Opens the file, brings it up to date and starts the thread.
    pub(super) async fn start(
        location: Location,
        lock: ProcessLock,
        rules: Arc<Rules>,
        changes: Changes,
    ) -> Result<Self> {
        let (inbox, messages) = mpsc::channel(QUEUE);
        let (opened, opening) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let body = move || {
            let connection = match location.prepare() {
                Ok(connection) => Some(connection),
                Err(error) => {
                    drop(lock);
                    // The caller that opened it has given up.
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            let _ = opened.send(Ok(()));
            let opened = location.identity();
            Task { location, opened, _lock: lock, connection, rules, changes }.run(messages);
            let _ = end.send(());
        };
        let started = thread::Builder::new().name("store-writer".to_owned()).spawn(body);
        started.map_err(|error| StoreError::Unavailable(format!("no thread for the writer: {error}")))?;
        opening.await.map_err(|_| closed())??;
        Ok(Self::Thread { inbox, ended: Mutex::new(Some(ended)) })
    }

    /// Opens the file, brings it up to date and works on the callers' threads.
    pub(super) fn inline(location: Location, lock: ProcessLock, rules: Arc<Rules>, changes: Changes) -> Result<Self> {
        let connection = Some(location.prepare()?);
        let opened = location.identity();
        Ok(Self::Inline(std::sync::Mutex::new(Some(Task {
            location,
            opened,
            _lock: lock,
            connection,
            rules,
            changes,
        }))))
    }

    /// Has `work` done and waits for the commit. Once taken in, it is done whether or not the caller still waits.
    pub(super) async fn submit<I, T>(&self, input: I, work: Write<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let job = Pending { input, work, found: None, caller };
        match self {
            Self::Thread { inbox, .. } => inbox.send(Message::Do(Box::new(job))).await.map_err(|_| closed())?,
            Self::Inline(task) => {
                // As with the thread, others go on between the question, the commit and its answer.
                yield_now().await;
                inner(task).as_mut().ok_or_else(closed)?.settle(&mut vec![Box::new(job)]);
                yield_now().await;
            }
        }
        answer.await.map_err(|_| closed())?
    }

    /// Cuts the log file, after everything that was submitted before; returns true if that could be done.
    pub(super) async fn truncate_log(&self) -> Result<bool> {
        match self {
            Self::Thread { inbox, .. } => {
                let (caller, answer) = oneshot::channel();
                inbox.send(Message::TruncateLog(caller)).await.map_err(|_| closed())?;
                answer.await.map_err(|_| closed())?
            }
            Self::Inline(task) => inner(task).as_ref().ok_or_else(closed)?.truncate_log(),
        }
    }

    /// Finishes the jobs that were taken in, closes the file and frees it for other processes.
    pub(super) async fn close(&self) {
        match self {
            Self::Thread { inbox, ended } => {
                // If the thread has ended, there is nothing left to close.
                let _ = inbox.send(Message::Close).await;
                let ended = ended.lock().await.take();
                if let Some(ended) = ended {
                    let _ = ended.await;
                }
            }
            Self::Inline(task) => drop(inner(task).take()),
        }
    }
}

fn inner(task: &std::sync::Mutex<Option<Task>>) -> std::sync::MutexGuard<'_, Option<Task>> {
    task.lock().unwrap_or_else(PoisonError::into_inner)
}

fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

/// A caller's work, whatever its result.
pub(super) trait Job: Send {
    /// Does the work inside the present transaction and keeps its result.
    fn run(&mut self, conn: &mut Conn, cx: &mut Cx) -> Result<()>;
    /// Gives the caller the result.
    fn answer(self: Box<Self>, end: Result<()>);
}

struct Pending<I, T> {
    input: I,
    work: Write<I, T>,
    found: Option<T>,
    caller: oneshot::Sender<Result<T>>,
}

impl<I: Send + Sync, T: Send> Job for Pending<I, T> {
    fn run(&mut self, conn: &mut Conn, cx: &mut Cx) -> Result<()> {
        self.found = Some(at_once((self.work)(conn, cx, &self.input))?);
        Ok(())
    }

    fn answer(self: Box<Self>, end: Result<()>) {
        let Self { found, caller, .. } = *self;
        let found = end.and_then(|()| found.ok_or_else(|| StoreError::Internal("a job was never run".to_owned())));
        // A caller that has gone needs no answer.
        let _ = caller.send(found);
    }
}

/// The reason why a transaction was not committed.
enum Failed {
    /// A job failed; its neighbours may do better without it.
    ByJob(StoreError),
    /// The database failed; a second try would fail too.
    ByDatabase(StoreError),
}

/// The writer's side.
pub(super) struct Task {
    location: Location,
    /// The file that was opened.
    opened: Option<Identity>,
    _lock: ProcessLock,
    connection: Option<Conn>,
    rules: Arc<Rules>,
    changes: Changes,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Task {
    fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(BATCH);
        let mut jobs = Vec::with_capacity(BATCH);
        while inbox.blocking_recv_many(&mut messages, BATCH) > 0 {
            let mut waiting = Vec::new();
            for message in messages.drain(..) {
                match message {
                    Message::Do(job) => jobs.push(job),
                    Message::TruncateLog(caller) => waiting.push(caller),
                    // Messages in the channel already are still handled.
                    Message::Close => inbox.close(),
                }
            }
            if !jobs.is_empty() {
                self.settle(&mut jobs);
            }
            if !waiting.is_empty() {
                let is_cut = self.truncate_log();
                for caller in waiting {
                    // A caller that has gone needs no answer.
                    let _ = caller.send(is_cut.clone());
                }
            }
        }
        if let Some(connection) = self.connection.take() {
            // Best effort: the next start replays the log just as well.
            let _ = truncate_log(&connection);
            let _ = connection.close();
        }
    }

    /// Does the jobs and answers every caller; leaves `jobs` empty.
    fn settle(&mut self, jobs: &mut Vec<Box<dyn Job>>) {
        match self.commit(jobs) {
            Ok(told) => {
                // First, so that a caller that begins to listen once it is answered hears nothing of its own work.
                self.announce(told);
                for job in jobs.drain(..) {
                    job.answer(Ok(()));
                }
            }
            Err(Failed::ByJob(_)) if jobs.len() > 1 => {
                for mut job in jobs.drain(..) {
                    match self.commit(std::slice::from_mut(&mut job)) {
                        Ok(told) => {
                            self.announce(told);
                            job.answer(Ok(()));
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

    /// Cuts the log file. Returns false without a connection: the next write opens one.
    fn truncate_log(&self) -> Result<bool> {
        self.connection.as_ref().map_or(Ok(false), truncate_log)
    }

    fn announce(&self, told: Told) {
        self.changes.report(&told.ends);
        for change in told.changes {
            self.changes.announce(change);
        }
    }

    /// Does the jobs in one transaction; returns what to announce, or undoes everything.
    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> std::result::Result<Told, Failed> {
        self.location.is_still(self.opened).map_err(Failed::ByDatabase)?;
        if self.connection.is_none() {
            self.connection = Some(self.location.connect().map_err(Failed::ByDatabase)?);
        }
        let Some(connection) = &mut self.connection else {
            return Err(Failed::ByDatabase(closed()));
        };
        let cx = Cx::new(Arc::clone(&self.rules));
        let outcome = catch_unwind(AssertUnwindSafe(|| transaction(connection, jobs, cx)))
            .unwrap_or_else(|_| Err(Failed::ByJob(StoreError::Internal("a job panicked".to_owned()))));
        if let Err(failed) = &outcome {
            let undone = connection.execute_batch("ROLLBACK").is_ok();
            if !undone || matches!(failed, Failed::ByDatabase(_)) {
                // The state of this connection is unknown.
                self.connection = None;
            }
        }
        outcome
    }
}

fn transaction(conn: &mut Conn, jobs: &mut [Box<dyn Job>], mut cx: Cx) -> std::result::Result<Told, Failed> {
    let database = |error: rusqlite::Error| Failed::ByDatabase(error.into());
    conn.execute_batch("BEGIN IMMEDIATE").map_err(database)?;
    for job in jobs {
        job.run(conn, &mut cx).map_err(by_whom)?;
    }
    at_once(cx.flush(conn).boxed()).map_err(by_whom)?;
    conn.execute_batch("COMMIT").map_err(database)?;
    Ok(cx.into_told())
}

fn by_whom(error: StoreError) -> Failed {
    match error {
        StoreError::Unavailable(_) | StoreError::Damaged(_) => Failed::ByDatabase(error),
        _ => Failed::ByJob(error),
    }
}
