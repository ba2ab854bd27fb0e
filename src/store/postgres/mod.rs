//! The shared store: a PostgreSQL database, for several processes.
//!
//! Every call is a transaction of its own, on a connection of a pool, with a deadline; but one transaction takes in the
//! messages that come at the same time (`gather.rs`), and a single statement needs none. Conflicts that SQLite's single
//! writer rules out by itself are ruled out by row locks here, and a transaction that met a conflict is run again
//! (`engine.rs`). Here stand the types that the shared texts in `sql/` are compiled with, and the store itself. Nothing here
//! decides anything about conversations or turns.
//!
//! One thing cannot be promised over a network: if the connection is cut during the commit itself, the call fails
//! although it may have taken effect. The callers' handling of an error is right in both cases: a message is recognised when
//! it is posted again, a claim is given back by its token (`store/lost.rs`), a completion is sent again and counts once, and
//! possible changes are announced (`doubts.rs`).

#[macro_use]
mod dialect;
mod connect;
mod db;
mod doubts;
mod engine;
mod gather;
mod losses;
mod notices;
#[cfg(test)]
mod plans;
mod primary;
#[cfg(test)]
pub(in crate::store) mod server;
mod sessions;
#[cfg(test)]
mod tests;
mod ways;

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

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use secrecy::SecretString;
use tokio::{
    sync::{Mutex, Semaphore},
    task::JoinSet,
    time::timeout,
};

use self::{
    connect::{Patience, Server},
    context::Cx,
    engine::{Engine, Frame},
    gather::Intake,
    losses::Losses,
    notices::Teller,
    primary::Primary,
};
use super::{Accepted, Changes, Footprint, NewMessage, Result, Rules, Store, StoreError};

/// The connection that transaction bodies work on.
type Conn = sqlx::PgConnection;
/// A row as read from it.
type Row = sqlx::postgres::PgRow;
/// The store that the shared texts implement the port for.
type ThisStore = PostgresStore;

/// Work inside a transaction. It may be run again from the start, in another transaction, so it takes its input by
/// reference and has no effect but on the connection and the context.
type Write<I, T> = for<'a> fn(&'a mut Conn, &'a mut Cx, &'a I) -> BoxFuture<'a, Result<T>>;
/// Work that only reads.
type Read<I, T> = for<'a> fn(&'a mut Conn, &'a I) -> BoxFuture<'a, Result<T>>;

/// A store in a PostgreSQL database.
pub struct PostgresStore {
    engine: Arc<Engine>,
    intake: Intake,
    /// The most connections that calls from outside may use at one time.
    asking: Semaphore,
    patience: Duration,
    tasks: Mutex<JoinSet<()>>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("pool", &self.engine.primary.current().pool).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects to the database on the one of the servers at `urls` (at least one) that takes writes for it, with at most so many
    /// connections and one that listens, and brings its schema up to date.
    ///
    /// Fails with [`StoreError::Unavailable`](crate::store::StoreError::Unavailable) if the server cannot be reached; its
    /// message never holds the address.
    pub async fn open(urls: &[SecretString], connections: u32, rules: Rules) -> Result<Self> {
        Self::open_with(urls, connections, rules, Patience::default()).await
    }

    /// Logs in to the database at `urls` and checks that it would do. Changes nothing, its schema included.
    pub async fn try_out(urls: &[SecretString]) -> Result<()> {
        let servers = Server::all(urls, Patience::default())?;
        primary::at_a_start(&servers).await?.try_out().await
    }

    async fn open_with(urls: &[SecretString], connections: u32, rules: Rules, patience: Patience) -> Result<Self> {
        let primary = Primary::find(Server::all(urls, patience)?, connections).await?;
        primary.server().prepare().await?;
        let (changes, losses) = (Changes::default(), Arc::new(Losses::default()));
        let origin = rules.entropy.key();
        let (teller, telling) = Teller::new(origin.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(telling.run(Arc::clone(&primary)));
        tasks.spawn(notices::hear(Arc::clone(&primary), origin, changes.clone()));
        tasks.spawn(Arc::clone(&primary).keep(changes.clone(), Arc::clone(&losses)));
        let engine = Arc::new(Engine::new(primary, rules, changes, teller, patience));
        let intake = Intake::start(&engine, &losses, patience, &mut tasks);
        let asking = Semaphore::new((connections as usize / 2).max(1));
        Ok(Self { engine, intake, asking, patience: patience.connection, tasks: Mutex::new(tasks) })
    }

    /// Runs `work` in a transaction; returns once it is durable. Runs it again if another transaction was in the way.
    async fn write<I: Send + Sync, T>(&self, input: I, work: Write<I, T>) -> Result<T> {
        self.engine.write(Frame::Transaction, &input, work).await
    }

    /// Runs `work` that is one statement, and that may as well be run twice: it needs no transaction around it.
    async fn write_once<I: Send + Sync, T>(&self, input: I, work: Write<I, T>) -> Result<T> {
        self.engine.write(Frame::None, &input, work).await
    }

    /// Takes a message in, in one transaction with others that come at the same time.
    async fn take_in(&self, message: NewMessage, work: Write<NewMessage, Accepted>) -> Result<Accepted> {
        self.intake.submit(message, work).await
    }

    /// Runs `work` on a connection, each of its statements on the newest committed state.
    async fn read<I: Send + Sync, T>(&self, input: I, work: Read<I, T>) -> Result<T> {
        self.engine.read(Frame::None, &input, work).await
    }

    /// As [`Self::read`], for calls from outside: limited in number, so that the loops find a connection.
    async fn serve<I: Send + Sync, T>(&self, input: I, work: Read<I, T>) -> Result<T> {
        let busy = || StoreError::Unavailable("every connection for readers is busy".to_owned());
        let place = timeout(self.patience, self.asking.acquire()).await;
        let _place = place.ok().and_then(std::result::Result::ok).ok_or_else(busy)?;
        self.engine.read(Frame::None, &input, work).await
    }

    /// Does nothing: no deleted data stays in a file of this process.
    #[expect(clippy::unused_self, reason = "the embedded store has something to remember")]
    const fn left_traces(&self) {}

    /// Runs `work` on a connection, all of its statements on one and the same committed state.
    async fn snapshot<I: Send + Sync, T>(&self, input: I, work: Read<I, T>) -> Result<T> {
        self.engine.read(Frame::Snapshot, &input, work).await
    }
}

#[async_trait::async_trait]
impl Store for PostgresStore {
    fn changes(&self) -> &Changes {
        self.engine.changes()
    }

    async fn ping(&self) -> Result<()> {
        if let Some(fault) = self.engine.primary.fault() {
            return Err(fault);
        }
        self.write((), |conn, _, ()| ping(conn).boxed()).await
    }

    async fn footprint(&self) -> Result<Footprint> {
        self.read((), |conn, ()| footprint(conn).boxed()).await
    }

    fn is_shared(&self) -> bool {
        dialect::SHARED
    }

    /// Does nothing: the server's log and its dead rows are its administrator's.
    async fn scrub(&self) -> Result<bool> {
        Ok(true)
    }

    async fn close(&self) {
        self.intake.close().await;
        self.engine.end_telling();
        self.engine.primary.stop().await;
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
        self.engine.primary.current().pool.close().await;
    }
}

/// Makes a write that reaches the disk, and changes nothing that anybody reads.
async fn ping(conn: &mut Conn) -> Result<()> {
    sqlx::query("INSERT INTO notes (name, value) VALUES ('ping', '') ON CONFLICT (name) DO UPDATE SET value = ''")
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns the size of the database, and the age of its oldest snapshot. A role sees nothing of other roles' sessions unless it
/// is a member of `pg_read_all_stats`.
async fn footprint(conn: &mut Conn) -> Result<Footprint> {
    let (bytes, age): (i64, Option<f64>) = db::query_as(
        "SELECT pg_database_size(current_database()), (SELECT CAST(EXTRACT(EPOCH FROM \
            MAX(clock_timestamp() - COALESCE(xact_start, query_start))) AS DOUBLE PRECISION) FROM pg_stat_activity \
            WHERE datname = current_database() AND backend_xmin IS NOT NULL)",
    )
    .fetch_one(conn)
    .await?;
    let age = age.map(|age| Duration::try_from_secs_f64(age.max(0.0)).unwrap_or_default());
    Ok(Footprint { files: vec![("database", u64::try_from(bytes).unwrap_or(0))], oldest_snapshot: age })
}
