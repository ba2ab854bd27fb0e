//! The embedded store: one SQLite file, one process.
//!
//! All writes go through one writer thread that commits many callers' work at once ([`engine`]); reads use a few read-only
//! connections ([`readers`]). Here stand the types that the shared texts in `sql/` are compiled with, and the store itself.
//! Nothing here decides anything about conversations or turns.

#[macro_use]
mod dialect;
mod connect;
mod db;
mod engine;
mod readers;
#[cfg(test)]
mod tests;

#[path = "../sql/admin.rs"]
mod admin;
#[path = "../sql/attempts.rs"]
mod attempts;
#[path = "../sql/audit.rs"]
mod audit;
#[path = "../sql/bindings.rs"]
mod bindings;
#[path = "../sql/blocked.rs"]
mod blocked;
#[path = "../sql/budget.rs"]
mod budget;
#[path = "../sql/claims.rs"]
mod claims;
#[path = "../sql/context.rs"]
mod context;
#[path = "../sql/continued.rs"]
mod continued;
#[path = "../sql/conversations.rs"]
mod conversations;
#[path = "../sql/deliveries.rs"]
mod deliveries;
#[path = "../sql/erased.rs"]
mod erased;
#[path = "../sql/erasures.rs"]
mod erasures;
#[path = "../sql/evidence.rs"]
mod evidence;
#[path = "../sql/expiry.rs"]
mod expiry;
#[path = "../sql/feed.rs"]
mod feed;
#[path = "../sql/handoff.rs"]
mod handoff;
#[path = "../sql/in_flight.rs"]
mod in_flight;
#[path = "../sql/intake.rs"]
mod intake;
#[path = "../sql/lanes.rs"]
mod lanes;
#[path = "../sql/ledger.rs"]
mod ledger;
#[path = "../sql/log.rs"]
mod log;
#[path = "../sql/operator.rs"]
mod operator;
#[path = "../sql/outbox.rs"]
mod outbox;
#[path = "../sql/people.rs"]
mod people;
#[path = "../sql/person_erasures.rs"]
mod person_erasures;
#[cfg(test)]
mod plans;
#[path = "../sql/prune.rs"]
mod prune;
#[path = "../sql/reading.rs"]
mod reading;
#[path = "../sql/records.rs"]
mod records;
#[path = "../sql/replay.rs"]
mod replay;
#[path = "../sql/replays.rs"]
mod replays;
#[path = "../sql/report.rs"]
mod report;
#[path = "../sql/rows.rs"]
mod rows;
#[cfg(test)]
#[path = "../sql/testing.rs"]
mod testing;
#[path = "../sql/time.rs"]
mod time;
#[path = "../sql/tries.rs"]
mod tries;
#[path = "../sql/turns.rs"]
mod turns;
#[path = "../sql/unbound.rs"]
mod unbound;
#[path = "../sql/waits.rs"]
mod waits;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use self::{context::Cx, engine::Writer, readers::Readers};
use super::{Accepted, Changes, Footprint, NewMessage, Result, Rules, Store, StoreError};
use futures_util::{FutureExt, future::BoxFuture};

/// The connection that transaction bodies work on.
type Conn = rusqlite::Connection;
/// A row as read from it.
type Row = db::Row;
/// The store that the shared texts implement the port for.
type ThisStore = SqliteStore;

/// Work inside a write transaction. It may be run again from the start, in another transaction, so it takes its input by
/// reference and has no effect but on the connection and the context.
type Write<I, T> = for<'a> fn(&'a mut Conn, &'a mut Cx, &'a I) -> BoxFuture<'a, Result<T>>;
/// Work on a read-only connection.
type Read<I, T> = for<'a> fn(&'a mut Conn, &'a I) -> BoxFuture<'a, Result<T>>;

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    asking: Readers,
    changes: Changes,
    /// Number of erasures so far: the log file may still hold their texts.
    erased: AtomicU64,
    /// The number of the latest erasure that is known to have left the log file, with all before it.
    scrubbed: AtomicU64,
}

impl SqliteStore {
    /// Opens the file, creating it (and its directory) if there is none, and brings its schema up to date.
    ///
    /// Fails with [`StoreError::Unavailable`](crate::store::StoreError::Unavailable) if another process has it open.
    pub async fn open(path: &Path, rules: Rules) -> Result<Self> {
        let location = connect::Location::new(path);
        let lock = location.claim()?;
        let changes = Changes::default();
        let (readers, asking) = Self::readers(&location, false);
        let writer = Writer::start(location, lock, Arc::new(rules), changes.clone()).await?;
        Ok(Self { writer, readers, asking, changes, erased: AtomicU64::default(), scrubbed: AtomicU64::default() })
    }

    /// As [`SqliteStore::open`], without any thread of its own: all work is done on the callers' threads, which it
    /// blocks meanwhile. For simulations, on a file system in memory.
    pub fn open_inline(path: &Path, rules: Rules) -> Result<Self> {
        let location = connect::Location::new(path);
        let lock = location.claim()?;
        let changes = Changes::default();
        let (readers, asking) = Self::readers(&location, true);
        let writer = Writer::inline(location, lock, Arc::new(rules), changes.clone())?;
        Ok(Self { writer, readers, asking, changes, erased: AtomicU64::default(), scrubbed: AtomicU64::default() })
    }

    fn readers(location: &connect::Location, is_inline: bool) -> (Readers, Readers) {
        let some = |most| Readers::new(location.clone(), is_inline, most);
        (some(readers::OWN), some(readers::ASKING))
    }

    /// Counts an erasure: its texts may not stay anywhere.
    fn left_traces(&self) {
        self.erased.fetch_add(1, Ordering::AcqRel);
    }

    /// Runs `work` in a transaction of the writer; returns once it is durable, or once nothing of it happened.
    async fn write<I, T>(&self, input: I, work: Write<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        self.writer.submit(input, work).await
    }

    /// Runs `work` that is one statement, and that may as well be run twice.
    async fn write_once<I, T>(&self, input: I, work: Write<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        self.write(input, work).await
    }

    /// Takes a message in.
    async fn take_in(&self, message: NewMessage, work: Write<NewMessage, Accepted>) -> Result<Accepted> {
        self.write(message, work).await
    }

    /// Runs `work` on a read-only connection, each of its statements on the newest committed state.
    async fn read<I, T>(&self, input: I, work: Read<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        self.readers.run(move |conn| at_once(work(conn, &input))).await
    }

    /// As [`Self::read`], for calls from outside: the loops never wait for them.
    async fn serve<I, T>(&self, input: I, work: Read<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        self.asking.run(move |conn| at_once(work(conn, &input))).await
    }

    /// Runs `work` on a read-only connection, all of its statements on one and the same committed state.
    async fn snapshot<I, T>(&self, input: I, work: Read<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let reading = move |conn: &mut Conn| {
            conn.execute_batch("BEGIN")?;
            let found = at_once(work(conn, &input));
            conn.execute_batch("ROLLBACK")?;
            found
        };
        self.readers.run(reading).await
    }
}

/// Returns the result of work on a connection of this store, all of whose statements are done when they return.
fn at_once<T>(work: BoxFuture<'_, Result<T>>) -> Result<T> {
    let waits = || Err(StoreError::Internal("work on the database waits for something else".to_owned()));
    work.now_or_never().unwrap_or_else(waits)
}

#[async_trait::async_trait]
impl Store for SqliteStore {
    fn changes(&self) -> &Changes {
        &self.changes
    }

    async fn ping(&self) -> Result<()> {
        self.write((), |conn, _, ()| ping(conn).boxed()).await
    }

    async fn footprint(&self) -> Result<Footprint> {
        self.readers.run(|conn| footprint(conn)).await
    }

    fn is_shared(&self) -> bool {
        dialect::SHARED
    }

    async fn scrub(&self) -> Result<bool> {
        // Several may ask at once: none gets true before the texts are gone.
        let erased = self.erased.load(Ordering::Acquire);
        if self.scrubbed.load(Ordering::Acquire) >= erased {
            return Ok(true);
        }
        let is_gone = self.writer.truncate_log().await?;
        if is_gone {
            self.scrubbed.fetch_max(erased, Ordering::AcqRel);
        }
        Ok(is_gone)
    }

    async fn close(&self) {
        self.readers.close();
        self.asking.close();
        self.writer.close().await;
    }
}

/// Makes a write that reaches the disk, and changes nothing that anybody reads.
async fn ping(conn: &mut Conn) -> Result<()> {
    db::query("INSERT INTO notes (name, value) VALUES ('ping', '') ON CONFLICT (name) DO UPDATE SET value = ''")
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns the file's size by SQLite itself, and the size of its log.
fn footprint(conn: &Conn) -> Result<Footprint> {
    let pragma = |name| conn.query_row(name, [], |row| row.get::<_, i64>(0));
    let database = pragma("PRAGMA page_count")?.saturating_mul(pragma("PRAGMA page_size")?);
    let log = conn.path().and_then(|path| std::fs::metadata(format!("{path}-wal")).ok());
    let files = vec![("database", u64::try_from(database).unwrap_or(0)), ("wal", log.map_or(0, |log| log.len()))];
    Ok(Footprint { files, oldest_snapshot: None })
}
