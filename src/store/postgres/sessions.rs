//! The trial whether a connection is a session: settings, statements and channels made on it are there at the next statement.
//!
//! A pooler may give every transaction another session of the server, also one that did not when the bridge began. So each of
//! several connections notes a name of its own in its session and is asked for it later: connections that share sessions find
//! another's. They do so one after the other, so that a pooler with a session to spare gives them all the same one; and there are
//! more of them than there may be poolers behind one address, so that two meet at one of them.

use std::{future::Future, time::Duration};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Row};
use tokio::time::timeout;

use crate::store::Result;

/// The error for connections that are no sessions.
pub(super) const POOLED: &str = "a pooler in between gives every transaction another session (PgBouncer with pool_mode = \
     transaction or statement), and the bridge needs sessions: connect to the server itself, or through a pooler with pool_mode = \
     session";
/// Connections that are tried at a start; they find up to one pooler fewer.
pub(super) const AT_A_START: usize = 4;
/// Connections of the pool that are tried later.
const LATER: usize = 3;
/// Longest time of a trial: a busy pool is left alone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tries connections; sets and reads their names in simple queries, which any pooler passes on.
pub(super) async fn are_sessions<C>(connections: &mut [C]) -> Result<bool>
where
    C: AsMut<PgConnection>,
{
    for (number, connection) in connections.iter_mut().enumerate() {
        let name = format!("SELECT set_config('fini_bridge.session', '{number}', FALSE)");
        connection.as_mut().execute(AssertSqlSafe(name)).await?;
    }
    let mut processes = Vec::with_capacity(connections.len());
    for (number, connection) in connections.iter_mut().enumerate() {
        let asked = "SELECT CAST(pg_backend_pid() AS TEXT), current_setting('fini_bridge.session', TRUE)";
        let row = connection.as_mut().fetch_one(asked).await?;
        let (process, name): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        if name.as_deref() != Some(number.to_string().as_str()) || processes.contains(&process) {
            return Ok(false);
        }
        processes.push(process);
    }
    Ok(true)
}

/// Opens a few more connections beside `first` and tries them all; closes the others.
pub(super) async fn try_with<F>(first: PgConnection, open: impl Fn() -> F) -> Result<(PgConnection, bool)>
where
    F: Future<Output = std::result::Result<PgConnection, sqlx::Error>>,
{
    let mut all = vec![Owned(first)];
    while all.len() < AT_A_START {
        all.push(Owned(open().await?));
    }
    let are_sessions = are_sessions(&mut all).await?;
    let mut all = all.into_iter().map(|owned| owned.0);
    let first = all.next();
    for other in all {
        other.close().await?;
    }
    first.map(|first| (first, are_sessions)).ok_or_else(|| sqlx::Error::WorkerCrashed.into())
}

/// Tries some connections of the pool; `None` if that cannot be told now.
pub(super) async fn try_out(pool: &PgPool) -> Option<bool> {
    let tried = timeout(PATIENCE, async {
        let mut all = Vec::with_capacity(LATER);
        for _ in 0..LATER {
            all.push(Borrowed(pool.acquire().await.ok()?));
        }
        are_sessions(&mut all).await.ok()
    });
    tried.await.ok().flatten()
}

struct Owned(PgConnection);

impl AsMut<PgConnection> for Owned {
    fn as_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

struct Borrowed(sqlx::pool::PoolConnection<sqlx::Postgres>);

impl AsMut<PgConnection> for Borrowed {
    fn as_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}
