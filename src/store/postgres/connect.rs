//! Reaching the server: which one, with which settings, and with which schema.
//!
//! Every session is set to what the transactions rely on, whatever the server's or the role's defaults are: READ COMMITTED,
//! commits that are on disk when they return, and statements that end.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, PgPool, Row, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::store::{Result, StoreError, failure};

/// Every schema there was, oldest first; never changed once released.
const MIGRATIONS: [(i64, &str, &str); 16] = [
    (1, "initial", include_str!("migrations/0001_initial.sql")),
    (2, "erasures", include_str!("migrations/0002_erasures.sql")),
    (3, "correlation", include_str!("migrations/0003_correlation.sql")),
    (4, "evidence", include_str!("migrations/0004_evidence.sql")),
    (5, "late turns and statuses", include_str!("migrations/0005_late_turns_and_statuses.sql")),
    (6, "tries", include_str!("migrations/0006_tries.sql")),
    (8, "delivery", include_str!("migrations/0008_delivery.sql")),
    (10, "erasure_evidence", include_str!("migrations/0010_erasure_evidence.sql")),
    (12, "time stamps", include_str!("migrations/0012_time_stamps.sql")),
    (14, "erased messages", include_str!("migrations/0014_erased_messages.sql")),
    (15, "limits", include_str!("migrations/0015_limits.sql")),
    (16, "handoff", include_str!("migrations/0016_handoff.sql")),
    (17, "people", include_str!("migrations/0017_people.sql")),
    (18, "log", include_str!("migrations/0018_log.sql")),
    (19, "destinations", include_str!("migrations/0019_destinations.sql")),
    (20, "operators", include_str!("migrations/0020_operators.sql")),
];
/// An idle connection is given back to the server.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// A connection that was idle for longer is tried before it is used: the network, or the server, may have dropped it.
const TRUSTED: Duration = Duration::from_secs(1);
/// How often two connections are asked for their sessions at a start.
const SESSION_CHECKS: usize = 3;
/// Prepared statements kept per connection; there are fewer in the whole store.
const STATEMENTS: usize = 256;

/// How long anything may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// A statement, on the server; waiting for a lock included.
    pub(super) statement: Duration,
    /// A transaction, whatever the network does; longer than a statement may take.
    pub(super) call: Duration,
    /// Waiting for a connection of the pool.
    pub(super) connection: Duration,
    /// Reaching the server and bringing the schema up to date at a start; another process may be at it.
    pub(super) start: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            statement: Duration::from_secs(10),
            call: Duration::from_secs(15),
            connection: Duration::from_secs(10),
            start: Duration::from_mins(2),
        }
    }
}

/// What every session is set to, besides the time a statement may take. A transaction is a run of short statements: one that
/// stands still belongs to a process that does, and holds locks that the others wait for. An "off" that loses commits in a
/// crash is the one setting of durability that a session can mend; stronger ones than "on" are left alone. Every frequent
/// statement is made for an index, whatever it is asked: planned once, and never by how small a table was then, it stays as
/// quick as it was tried to be (`plans.rs`). The server's notices, free texts that the driver would log, are not asked for: what
/// fails says so itself.
const SESSION: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; \
     SET idle_in_transaction_session_timeout = '5s'; \
     SET client_min_messages = 'error'; \
     SET plan_cache_mode = 'force_generic_plan'; \
     SET enable_seqscan = 'off'; \
     SET jit = 'off'; \
     SELECT set_config('synchronous_commit', 'on', FALSE) WHERE current_setting('synchronous_commit') = 'off'";

/// How to reach the server.
#[derive(Clone)]
pub(super) struct Server {
    options: PgConnectOptions,
    patience: Patience,
}

impl Server {
    /// From an address of the form `postgres://user:password@host:port/database?sslmode=…`. Errors never repeat it.
    pub(super) fn new(url: &SecretString, patience: Patience) -> Result<Self> {
        let options: PgConnectOptions = url.expose_secret().parse().map_err(|_| {
            StoreError::Unavailable("the address of the PostgreSQL server is not well-formed".to_owned())
        })?;
        let options = options
            .application_name("fini-bridge")
            .extra_float_digits(None)
            .statement_cache_capacity(STATEMENTS)
            .disable_statement_logging();
        Ok(Self { options, patience })
    }

    /// The pool for transactions and reads, of so many connections; connects when first used.
    pub(super) fn pool(&self, connections: u32) -> PgPool {
        self.pool_of(connections).idle_timeout(IDLE_TIMEOUT).connect_lazy_with(self.options.clone())
    }

    /// The pool of the one connection that listens.
    pub(super) fn for_listening(&self) -> PgPool {
        self.pool_of(1).idle_timeout(None).max_lifetime(None).connect_lazy_with(self.options.clone())
    }

    /// Checks the database and brings its schema up to date. Several processes may do so at the same time: an advisory lock
    /// lets one after the other.
    pub(super) async fn prepare(&self) -> Result<()> {
        let prepared = tokio::time::timeout(self.patience.start, async {
            let mut connection = self.options.connect().await?;
            self.expect_sessions(&mut connection).await?;
            recognise(&mut connection).await?;
            connection.execute("SET statement_timeout = 0").await?;
            let known = MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or(0);
            migrator().run(&mut connection).await.map_err(|error| failure::from_migration(error, known))?;
            connection.close().await?;
            Ok(())
        });
        prepared.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable("the schema could not be brought up to date in time".to_owned()))
        })
    }

    /// Logs in and looks whether this database would do, and changes nothing.
    pub(super) async fn try_out(&self) -> Result<()> {
        let tried = tokio::time::timeout(self.patience.connection, async {
            let mut connection = self.options.connect().await?;
            self.expect_sessions(&mut connection).await?;
            recognise(&mut connection).await?;
            connection.close().await?;
            Ok(())
        });
        tried.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the server did not answer in time".to_owned())))
    }

    /// Refuses a pooler that hands every transaction to another session: what is listened to, prepared or set in one would be
    /// gone in the next. Two connections that are open at the same time have different sessions, unless somebody in between
    /// lends them out. Asked in simple queries, which any pooler passes on.
    async fn expect_sessions(&self, first: &mut PgConnection) -> Result<()> {
        let mut second = self.options.connect().await?;
        let (mut ones, mut others) = (Vec::new(), Vec::new());
        for _ in 0..SESSION_CHECKS {
            ones.push(session(first).await?);
            others.push(session(&mut second).await?);
        }
        second.close().await?;
        let steady = |sessions: &[String]| sessions.iter().all(|session| *session == sessions[0]);
        if steady(&ones) && steady(&others) && ones[0] != others[0] {
            return Ok(());
        }
        Err(StoreError::Unavailable(
            "a pooler in between gives every transaction another session (PgBouncer with pool_mode = transaction or \
             statement), and the bridge needs sessions: connect to the server itself, or through a pooler with \
             pool_mode = session"
                .to_owned(),
        ))
    }

    fn pool_of(&self, connections: u32) -> PgPoolOptions {
        let statement_timeout = self.patience.statement.as_millis().to_string();
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(self.patience.connection)
            .test_before_acquire(false)
            .before_acquire(|connection, used| {
                Box::pin(async move {
                    if used.idle_for > TRUSTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(move |connection, _| {
                let statement_timeout = statement_timeout.clone();
                Box::pin(async move {
                    connection.execute(SESSION).await?;
                    sqlx::query("SELECT set_config('statement_timeout', $1, FALSE)")
                        .bind(statement_timeout)
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
    }
}

/// Which session of the server answers.
async fn session(connection: &mut PgConnection) -> Result<String> {
    let row = connection.fetch_one("SELECT CAST(pg_backend_pid() AS TEXT)").await?;
    Ok(row.try_get(0)?)
}

/// Refuses a database that cannot hold every customer's text.
async fn recognise(connection: &mut PgConnection) -> Result<()> {
    let encoding: String =
        sqlx::query_scalar("SELECT current_setting('server_encoding')").fetch_one(connection).await?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(StoreError::Damaged(format!("its encoding is {encoding}, and messages need UTF8: create the database with it")))
}

fn migrator() -> Migrator {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.into_iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use crate::store::additive;

    /// Replicas of the version before go on working while this one migrates.
    #[test]
    fn every_migration_but_the_first_only_adds() {
        for (version, name, sql) in &super::MIGRATIONS[1..] {
            assert_eq!(additive::faults(sql), Vec::<String>::new(), "{version} {name}");
        }
        assert!(super::MIGRATIONS.is_sorted_by(|(one, ..), (other, ..)| one < other));
    }

    /// One schema in two dialects: but for the names of the types, the texts are the same.
    #[test]
    fn both_databases_have_the_same_schema() {
        let sqlite = concat!(
            include_str!("../sqlite/migrations/0001_initial.sql"),
            include_str!("../sqlite/migrations/0002_erasures.sql"),
            include_str!("../sqlite/migrations/0003_correlation.sql"),
            include_str!("../sqlite/migrations/0004_evidence.sql"),
            include_str!("../sqlite/migrations/0005_late_turns_and_statuses.sql"),
            include_str!("../sqlite/migrations/0006_tries.sql"),
            include_str!("../sqlite/migrations/0008_delivery.sql"),
            include_str!("../sqlite/migrations/0010_erasure_evidence.sql"),
            include_str!("../sqlite/migrations/0014_erased_messages.sql"),
            include_str!("../sqlite/migrations/0017_people.sql")
        )
        .replace("INTEGER PRIMARY KEY AUTOINCREMENT", "BIGSERIAL PRIMARY KEY")
        .replace(") WITHOUT ROWID;", ");")
        .replace("INTEGER", "BIGINT");
        let statements = |text: &str| -> Vec<String> {
            text.split(';').map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        };
        let postgres = concat!(
            include_str!("migrations/0001_initial.sql"),
            include_str!("migrations/0002_erasures.sql"),
            include_str!("migrations/0003_correlation.sql"),
            include_str!("migrations/0004_evidence.sql"),
            include_str!("migrations/0005_late_turns_and_statuses.sql"),
            include_str!("migrations/0006_tries.sql"),
            include_str!("migrations/0008_delivery.sql"),
            include_str!("migrations/0010_erasure_evidence.sql"),
            include_str!("migrations/0014_erased_messages.sql"),
            include_str!("migrations/0017_people.sql")
        );
        let (expected, found) = (statements(&sqlite), statements(postgres));
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(found, expected);
        }
        assert_eq!(found.len(), expected.len());
    }
}
