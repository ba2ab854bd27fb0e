//! The shared store: a PostgreSQL database, for several processes.
//!
//! Every call is one transaction of its own, on a connection of a pool, with a deadline. What SQLite's single writer rules
//! out by itself is ruled out by row locks here, and a transaction that another one was in the way of is run again. Here
//! stand the types that the shared texts in `sql/` are compiled with, and the store itself. Nothing here decides anything
//! about conversations or turns.
//!
//! One thing cannot be promised over a network: where the connection is cut during the commit itself, the call fails
//! although it may have taken effect. What callers do about an error is right in both cases: a message is recognised when
//! it is posted again, a claim is void when its lease ends, and a completion counts once.

#[macro_use]
mod dialect;
mod connect;
mod db;
mod notices;
#[cfg(test)]
pub(in crate::store) mod server;
#[cfg(test)]
mod tests;

#[path = "../sql/admin.rs"]
mod admin;
#[path = "../sql/attempts.rs"]
mod attempts;
#[path = "../sql/bindings.rs"]
mod bindings;
#[path = "../sql/budget.rs"]
mod budget;
#[path = "../sql/claims.rs"]
mod claims;
#[path = "../sql/context.rs"]
mod context;
#[path = "../sql/conversations.rs"]
mod conversations;
#[path = "../sql/deliveries.rs"]
mod deliveries;
#[path = "../sql/erasures.rs"]
mod erasures;
#[path = "../sql/evidence.rs"]
mod evidence;
#[path = "../sql/feed.rs"]
mod feed;
#[path = "../sql/in_flight.rs"]
mod in_flight;
#[path = "../sql/intake.rs"]
mod intake;
#[path = "../sql/lanes.rs"]
mod lanes;
#[path = "../sql/ledger.rs"]
mod ledger;
#[path = "../sql/outbox.rs"]
mod outbox;
#[path = "../sql/prune.rs"]
mod prune;
#[path = "../sql/reading.rs"]
mod reading;
#[path = "../sql/records.rs"]
mod records;
#[path = "../sql/replay.rs"]
mod replay;
#[path = "../sql/rows.rs"]
mod rows;
#[cfg(test)]
#[path = "../sql/testing.rs"]
mod testing;
#[path = "../sql/turns.rs"]
mod turns;
#[path = "../sql/unbound.rs"]
mod unbound;

use std::{fmt, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use secrecy::SecretString;
use sqlx::{Connection, PgPool, Postgres, pool::PoolConnection};
use tokio::{sync::Mutex, task::JoinSet, time::error::Elapsed};

use self::{
    connect::{Patience, Server},
    context::Cx,
    notices::Teller,
};
use super::{Change, Changes, Result, Rules, Store, StoreError};
use crate::domain::Timestamp;

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

/// How often a transaction is tried that others keep getting in the way of.
const TRIES: usize = 5;
/// A store in a PostgreSQL database.
pub struct PostgresStore {
    pool: PgPool,
    listening: PgPool,
    rules: Arc<Rules>,
    changes: Changes,
    teller: std::sync::Mutex<Option<Teller>>,
    tasks: Mutex<JoinSet<()>>,
    patience: Patience,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects to the database at `url`, holding so many connections at most and one that listens, and brings its schema up
    /// to date.
    ///
    /// Fails with [`StoreError::Unavailable`] where the server cannot be reached; its message never holds the address.
    pub async fn open(url: &SecretString, connections: u32, rules: Rules) -> Result<Self> {
        Self::open_with(url, connections, rules, Patience::default()).await
    }

    async fn open_with(url: &SecretString, connections: u32, rules: Rules, patience: Patience) -> Result<Self> {
        let server = Server::new(url, patience)?;
        server.prepare().await?;
        let (pool, listening, changes) = (server.pool(connections), server.for_listening(), Changes::default());
        let origin = rules.entropy.key();
        let (teller, telling) = Teller::new(origin.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(telling.run(pool.clone()));
        tasks.spawn(notices::hear(listening.clone(), origin, changes.clone()));
        let teller = std::sync::Mutex::new(Some(teller));
        Ok(Self { pool, listening, rules: Arc::new(rules), changes, teller, tasks: Mutex::new(tasks), patience })
    }

    /// Runs `work` in a transaction; returns once it is durable. Where another transaction was in the way, runs it again.
    async fn write<I, T>(&self, input: I, work: Write<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let mut tries = 1;
        loop {
            let mut connection = self.pool.acquire().await?;
            let done = tokio::time::timeout(self.patience.call, self.transaction(&mut connection, &input, work)).await;
            match in_time(connection, done) {
                Ok((found, changes)) => {
                    self.announce(&changes);
                    return Ok(found);
                }
                Err(StoreError::Contended(_)) if tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs `work` on a connection, each of its statements on the newest committed state.
    async fn read<I: Send + Sync, T>(&self, input: I, work: Read<I, T>) -> Result<T> {
        let mut connection = self.pool.acquire().await?;
        let done = tokio::time::timeout(self.patience.call, work(&mut connection, &input)).await;
        in_time(connection, done)
    }

    /// Runs `work` on a connection, all of its statements on one and the same committed state.
    async fn snapshot<I: Send + Sync, T>(&self, input: I, work: Read<I, T>) -> Result<T> {
        let mut connection = self.pool.acquire().await?;
        let reading = async {
            let mut transaction = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            let found = work(&mut transaction, &input).await?;
            transaction.rollback().await?;
            Ok(found)
        };
        let done = tokio::time::timeout(self.patience.call, reading).await;
        in_time(connection, done)
    }

    async fn transaction<I: Sync, T>(
        &self,
        connection: &mut Conn,
        input: &I,
        work: Write<I, T>,
    ) -> Result<(T, Vec<Change>)> {
        let mut cx = Cx::new(Arc::clone(&self.rules));
        let mut transaction = connection.begin().await?;
        let found = work(&mut transaction, &mut cx, input).await?;
        cx.flush(&mut transaction).await?;
        transaction.commit().await?;
        Ok((found, cx.into_changes()))
    }

    fn announce(&self, changes: &[Change]) {
        let teller = self.teller.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        for change in changes {
            self.changes.announce(*change);
            if let Some(teller) = &teller {
                teller.tell(*change);
            }
        }
    }
}

/// What came of work that had a deadline. A connection that did not answer by then is cut: nobody knows what it is at.
fn in_time<T>(connection: PoolConnection<Postgres>, done: std::result::Result<Result<T>, Elapsed>) -> Result<T> {
    done.unwrap_or_else(|_| {
        drop(connection.detach());
        Err(StoreError::Unavailable("the PostgreSQL server did not answer in time".to_owned()))
    })
}

#[async_trait::async_trait]
impl Store for PostgresStore {
    fn changes(&self) -> &Changes {
        &self.changes
    }

    async fn now(&self, _: Timestamp) -> Result<Timestamp> {
        self.read((), |conn, ()| now(conn).boxed()).await
    }

    async fn ping(&self) -> Result<()> {
        self.write((), |conn, _, ()| ping(conn).boxed()).await
    }

    fn is_shared(&self) -> bool {
        dialect::SHARED
    }

    async fn close(&self) {
        // Without a teller the telling ends, once everything is told.
        drop(self.teller.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        self.listening.close().await;
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
        self.pool.close().await;
    }
}

/// The server's own time: several processes need not agree on theirs.
async fn now(conn: &mut Conn) -> Result<Timestamp> {
    let millis = sqlx::query_scalar("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)");
    Ok(Timestamp::from_millis(millis.fetch_one(conn).await?))
}

/// A write that reaches the disk, and changes nothing that anybody reads.
async fn ping(conn: &mut Conn) -> Result<()> {
    sqlx::query("INSERT INTO notes (name, value) VALUES ('ping', '') ON CONFLICT (name) DO UPDATE SET value = ''")
        .execute(conn)
        .await?;
    Ok(())
}
