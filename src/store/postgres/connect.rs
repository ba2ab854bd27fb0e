//! The connection to the server: its address, the session's settings, and the schema.
//!
//! Every session gets the settings that the transactions rely on, whatever the server's or the role's defaults are: READ
//! COMMITTED, commits that are on disk when they return, and statements that end. A server that takes no writes is left at
//! once.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::Notify;
use url::Url;

use super::{sessions, ways};
use crate::store::{Result, StoreError, failure};

/// Every schema there was, oldest first; never changed once released.
const MIGRATIONS: [(i64, &str, &str); 19] = [
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
    (21, "following", include_str!("migrations/0021_following.sql")),
    (22, "report", include_str!("migrations/0022_report.sql")),
    (23, "looked for", include_str!("migrations/0023_looked_for.sql")),
];
/// Time after which an idle connection is given back to the server.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// A connection that was idle for longer is tried before it is used: the network, or the server, may have dropped it.
const TRUSTED: Duration = Duration::from_secs(1);
/// Longest time that the trial of an idle connection may take.
const TRIAL: Duration = Duration::from_secs(3);
/// Prepared statements kept per connection; there are fewer in the whole store.
const STATEMENTS: usize = 256;

/// The longest time that each step may take.
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

/// The settings of every session, besides the time a statement may take. A transaction is a run of short statements: one
/// that stands still belongs to a process that does, and holds locks that the others wait for. An "off" that loses commits
/// in a crash is the one setting of durability that a session can mend; stronger ones than "on" are left alone. Every
/// frequent statement is made for an index, whatever its parameters: planned once, and never by the size that a table had
/// then, it stays as quick as its test proves (`plans.rs`). The server's notices, free texts that the driver would log, are
/// switched off: an error carries its own message.
const SESSION: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; \
     SET idle_in_transaction_session_timeout = '5s'; \
     SET client_min_messages = 'error'; \
     SET plan_cache_mode = 'force_generic_plan'; \
     SET enable_seqscan = 'off'; \
     SET jit = 'off'; \
     SELECT set_config('synchronous_commit', 'on', FALSE) WHERE current_setting('synchronous_commit') = 'off'";

/// True if a session takes no writes: the server is a standby, or was told to take none.
const CLOSED: &str = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'";
/// The history of a server that takes writes: the identifier of its cluster, and the timeline that it writes. An engine that only
/// resembles PostgreSQL may not have it.
const HISTORY: &str = "SELECT CAST(system_identifier AS TEXT), \
     SUBSTR(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) FROM pg_control_system()";
/// The tables whose rows are numbered by a sequence, in a column `key`.
const NUMBERED: [&str; 4] = ["conversations", "turns", "deliveries", "budget"];
/// The advisory lock for mending sequences; any number that nothing else in the database uses.
const SEQUENCES_LOCK: i64 = 0x0046_696e_6953;

/// The run of commits that a server goes on with. A standby that is promoted begins another timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct History {
    /// The database cluster.
    pub(super) cluster: String,
    /// Its timeline.
    pub(super) timeline: u32,
}

/// The reason why a server could not be used.
pub(super) struct Refusal {
    pub(super) error: StoreError,
    /// True if that passes by itself: the server is away, starts, or waits to be promoted. An operator mends the rest.
    pub(super) passes: bool,
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self { passes: failure::passes(&error), error: error.into() }
    }
}

/// The address of a server, with the patience for reaching it.
#[derive(Clone)]
pub(super) struct Server {
    /// The ways to it, in the order in which they are tried.
    ways: Vec<PgConnectOptions>,
    /// The way on which it was last reached.
    way: Arc<AtomicUsize>,
    patience: Patience,
}

impl Server {
    /// Parses an address of the form `postgres://user:password@host:port/database?sslmode=…`. Errors never repeat it.
    pub(super) fn new(url: &SecretString, patience: Patience) -> Result<Self> {
        let options: PgConnectOptions = url.expose_secret().parse().map_err(|_| {
            StoreError::Unavailable("the address of the PostgreSQL server is not well-formed".to_owned())
        })?;
        let is_named = |(name, _): (Cow<'_, str>, Cow<'_, str>)| name == "sslrootcert";
        let has_roots = std::env::var_os("PGSSLROOTCERT").is_some_and(|file| !file.is_empty())
            || Url::parse(url.expose_secret()).is_ok_and(|url| url.query_pairs().any(is_named));
        let options = options
            .application_name("fini-bridge")
            .extra_float_digits(None)
            .statement_cache_capacity(STATEMENTS)
            .disable_statement_logging();
        Ok(Self { ways: ways::of(&options, has_roots), way: Arc::default(), patience })
    }

    /// Parses several addresses, at least one. Errors never repeat them.
    pub(super) fn all(urls: &[SecretString], patience: Patience) -> Result<Vec<Self>> {
        let servers: Vec<Self> = urls.iter().map(|url| Self::new(url, patience)).collect::<Result<_>>()?;
        if servers.is_empty() { Err(StoreError::Unavailable("no server is named".to_owned())) } else { Ok(servers) }
    }

    /// Returns the way on which it was last reached: what its pools connect by.
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.ways[self.way.load(Ordering::Relaxed)]
    }

    /// Opens a connection, and remembers on which way. Of several errors it returns the first that is not about the way.
    async fn connect(&self) -> std::result::Result<PgConnection, sqlx::Error> {
        let mut refused = None;
        for (place, way) in self.ways.iter().enumerate() {
            match way.connect().await {
                Ok(connection) => {
                    self.way.store(place, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) if !ways::may_try_another(&error) => return Err(error),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or(sqlx::Error::WorkerCrashed))
    }

    /// Returns its host and port or its socket, for the log.
    pub(super) fn name(&self) -> String {
        let options = self.options();
        match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None if options.get_host().contains(':') => format!("[{}]:{}", options.get_host(), options.get_port()),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        }
    }

    /// Returns the pool for transactions and reads, of so many connections; connects when first used. A fault of a connection
    /// notifies `suspected`.
    pub(super) fn pool(&self, connections: u32, suspected: &Arc<Notify>) -> PgPool {
        self.pool_of(connections, suspected).idle_timeout(IDLE_TIMEOUT).connect_lazy_with(self.options().clone())
    }

    /// Returns the pool of the one connection that listens.
    pub(super) fn for_listening(&self, suspected: &Arc<Notify>) -> PgPool {
        self.pool_of(1, suspected).idle_timeout(None).max_lifetime(None).connect_lazy_with(self.options().clone())
    }

    /// Logs in; returns the server's history, if it takes writes and can tell.
    pub(super) async fn history(&self) -> std::result::Result<Option<History>, Refusal> {
        let mut connection = self.connect().await.map_err(Refusal::from)?;
        if is_closed(&mut connection).await.map_err(Refusal::from)? {
            return Err(Refusal { error: StoreError::Unavailable(failure::READ_ONLY.to_owned()), passes: true });
        }
        let told: std::result::Result<(String, String), _> =
            sqlx::query_as(HISTORY).persistent(false).fetch_one(&mut connection).await;
        // The answer is here already; how the connection ends does not matter.
        let _ = connection.close().await;
        Ok(told.ok().and_then(|(cluster, timeline)| {
            Some(History { cluster, timeline: u32::from_str_radix(&timeline, 16).ok()? })
        }))
    }

    /// Checks the database and brings its schema up to date. Several processes may do so at the same time: an advisory lock
    /// lets one after the other.
    pub(super) async fn prepare(&self) -> Result<()> {
        let prepared = tokio::time::timeout(self.patience.start, async {
            let mut connection = self.expect_sessions().await?;
            recognise(&mut connection).await?;
            connection.execute("SET statement_timeout = 0").await?;
            if !is_up_to_date(&mut connection).await? {
                let known = MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or(0);
                migrator().run(&mut connection).await.map_err(|error| failure::from_migration(error, known))?;
            }
            mend_sequences(&mut connection).await?;
            connection.close().await?;
            Ok(())
        });
        prepared.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable("the schema could not be brought up to date in time".to_owned()))
        })
    }

    /// Makes sure that no sequence stands behind the rows that it numbered.
    pub(super) async fn mend_sequences(&self) -> Result<()> {
        let mended = tokio::time::timeout(self.patience.call, async {
            let mut connection = self.connect().await?;
            mend_sequences(&mut connection).await?;
            connection.close().await?;
            Ok(())
        });
        mended.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the server did not answer in time".to_owned())))
    }

    /// Logs in and checks that this database would do, and that the role may do there what it has to; changes nothing.
    pub(super) async fn try_out(&self) -> Result<()> {
        let tried = tokio::time::timeout(self.patience.connection, async {
            let mut connection = self.expect_sessions().await?;
            recognise(&mut connection).await?;
            expect_rights(&mut connection).await?;
            connection.close().await?;
            Ok(())
        });
        tried.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the server did not answer in time".to_owned())))
    }

    /// Returns the longest time that a start waits for its answer.
    pub(super) fn patience(&self) -> Duration {
        self.patience.connection.min(self.patience.start)
    }

    /// Returns the longest time that a start waits for it to come back.
    pub(super) const fn patience_for_a_start(&self) -> Duration {
        self.patience.start
    }

    /// Opens a connection. Refuses a pooler that hands every transaction to another session: anything listened to, prepared
    /// or set in one would be gone in the next.
    async fn expect_sessions(&self) -> Result<PgConnection> {
        let first = self.connect().await?;
        let (first, are_sessions) = sessions::try_with(first, || self.options().connect()).await?;
        if are_sessions { Ok(first) } else { Err(StoreError::Unavailable(sessions::POOLED.to_owned())) }
    }

    fn pool_of(&self, connections: u32, suspected: &Arc<Notify>) -> PgPoolOptions {
        let statement_timeout = format!("SET statement_timeout = {}", self.patience.statement.as_millis());
        let (idle, fresh) = (Arc::clone(suspected), Arc::clone(suspected));
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(self.patience.connection)
            .test_before_acquire(false)
            .before_acquire(move |connection, used| {
                let suspected = Arc::clone(&idle);
                Box::pin(async move {
                    if used.idle_for <= TRUSTED {
                        return Ok(true);
                    }
                    let asked = tokio::time::timeout(TRIAL, is_closed(connection)).await;
                    let is_closed =
                        asked.unwrap_or(Err(sqlx::Error::PoolTimedOut)).inspect_err(|_| suspected.notify_one())?;
                    if is_closed {
                        suspected.notify_one();
                    }
                    Ok(!is_closed)
                })
            })
            .after_connect(move |connection, _| {
                let (statement_timeout, suspected) = (statement_timeout.clone(), Arc::clone(&fresh));
                Box::pin(async move {
                    if is_closed(connection).await? {
                        suspected.notify_one();
                        return Err(sqlx::Error::InvalidArgument(failure::READ_ONLY.to_owned()));
                    }
                    connection.execute(SESSION).await?;
                    // In simple queries, so that shared sessions of a pooler do not fail here already.
                    connection.execute(AssertSqlSafe(statement_timeout)).await?;
                    Ok(())
                })
            })
    }
}

/// Returns true if this session takes no writes. Asked in a simple query: it leaves nothing behind in the session.
pub(super) async fn is_closed(connection: &mut PgConnection) -> std::result::Result<bool, sqlx::Error> {
    let row = connection.fetch_one(CLOSED).await?;
    sqlx::Row::try_get(&row, 0)
}

/// Returns true if every migration was applied as it is here. A role that may not change the schema then needs not try.
async fn is_up_to_date(connection: &mut PgConnection) -> Result<bool> {
    let exists: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(false);
    }
    let applied: Vec<(i64, bool, Vec<u8>)> =
        sqlx::query_as("SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version")
            .fetch_all(connection)
            .await?;
    let migrator = migrator();
    let same = |(known, applied): (&Migration, &(i64, bool, Vec<u8>))| {
        known.version == applied.0 && applied.1 && *known.checksum == applied.2[..]
    };
    Ok(migrator.iter().count() == applied.len() && migrator.iter().zip(&applied).all(same))
}

/// Moves each sequence that stands behind the rows of its table past them: a move by logical replication brings the rows and
/// leaves the sequences where they were. A number must not be given twice, or a new row would stand before older ones.
async fn mend_sequences(connection: &mut PgConnection) -> Result<()> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(SEQUENCES_LOCK).execute(&mut *transaction).await?;
    for table in NUMBERED {
        // Its names are constants of ours only.
        let sequence = format!("pg_get_serial_sequence('{table}', 'key')");
        let largest = format!("(SELECT COALESCE(MAX(key), 0) FROM {table})");
        let name: Option<String> =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT {sequence}"))).fetch_one(&mut *transaction).await?;
        let Some(name) = name else {
            return Err(StoreError::Damaged(format!("the column {table}.key has no sequence; a dump restores it")));
        };
        // Not every role may look at it, and one that may not was given its rights by hand.
        let may_look: bool =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT has_sequence_privilege('{name}', 'SELECT')")))
                .fetch_one(&mut *transaction)
                .await?;
        if !may_look {
            continue;
        }
        let asked = format!("SELECT last_value < {largest} FROM {name}");
        let is_behind: bool = sqlx::query_scalar(AssertSqlSafe(asked)).fetch_one(&mut *transaction).await?;
        if is_behind {
            let set = format!("SELECT setval('{name}', GREATEST(nextval('{name}'), {largest}))");
            let stands: i64 = sqlx::query_scalar(AssertSqlSafe(set)).fetch_one(&mut *transaction).await?;
            tracing::warn!(table, stands, "a sequence stood behind its rows, and was put after them");
        }
    }
    transaction.commit().await?;
    Ok(())
}

/// Refuses a role that could not bring the schema up to date, or could not work with one that is.
async fn expect_rights(connection: &mut PgConnection) -> Result<()> {
    let suffices = if is_up_to_date(connection).await? {
        let works = NUMBERED.map(|table| {
            let has = |right| format!("has_table_privilege('{table}', '{right}')");
            ["SELECT", "INSERT", "UPDATE", "DELETE"].map(has).join(" AND ")
        });
        format!("SELECT {}", works.join(" AND "))
    } else {
        // Where there are tables already, only their owner may change them.
        format!(
            "SELECT COALESCE(has_schema_privilege(current_schema(), 'CREATE'), FALSE) AND NOT EXISTS (SELECT 1 FROM pg_class \
             WHERE oid = to_regclass('{}') AND NOT pg_has_role(relowner, 'USAGE'))",
            NUMBERED[0]
        )
    };
    // Its names are constants of ours only.
    let suffices: bool = sqlx::query_scalar(AssertSqlSafe(suffices)).fetch_one(connection).await?;
    if suffices { Ok(()) } else { Err(StoreError::Unavailable(failure::RIGHTS.to_owned())) }
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
