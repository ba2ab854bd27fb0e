//! Opening the file: who may, with which settings, and with which schema.
//!
//! Every setting that durability rests on is read back and refused when it did not take. The file is readable by its owner
//! alone (it holds customers' messages), and by one process at a time.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr, SqliteConnection, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::store::{Result, StoreError, failure};

/// Every schema there was, oldest first; never changed once released.
const MIGRATIONS: [(i64, &str, &str); 2] = [
    (1, "initial", include_str!("migrations/0001_initial.sql")),
    (2, "erasures", include_str!("migrations/0002_erasures.sql")),
];
/// `application_id` of our files ("FINI"), so that somebody else's database is never taken for ours.
const APPLICATION_ID: i64 = 0x4649_4e49;
/// Of the writer, in KiB; a reader has a quarter of it.
const CACHE_KIB: i32 = 4096;
const READERS: u32 = 3;
/// Prepared statements kept per connection; there are fewer in the whole store.
const STATEMENTS: usize = 256;
/// The log file is cut back to this after a checkpoint.
const JOURNAL_LIMIT_BYTES: i64 = 32 << 20;
/// Only foreign tools (a backup) can hold a lock against us: the process lock keeps other bridges out.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A database file.
#[derive(Clone, Debug)]
pub(super) struct Location(PathBuf);

/// The proof that no other process has the file open; free again when dropped.
#[derive(Debug)]
pub(super) struct ProcessLock(#[expect(dead_code, reason = "held, never read")] File);

impl Location {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Keeps other processes out.
    ///
    /// A file of its own is locked: closing any handle of the database file itself would drop the locks that SQLite holds
    /// on it (POSIX advisory locks belong to the process, not to the handle).
    pub(super) fn claim(&self) -> Result<ProcessLock> {
        self.create_directory().map_err(|error| self.unavailable("its directory cannot be created", &error))?;
        let mut name = self.0.clone().into_os_string();
        name.push(".lock");
        let file =
            private(&PathBuf::from(name)).map_err(|error| self.unavailable("its lock cannot be opened", &error))?;
        match file.try_lock() {
            Ok(()) => Ok(ProcessLock(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
                "{} is in use by another fini-bridge process: one file serves one process (use PostgreSQL for several)",
                self.0.display()
            ))),
            Err(TryLockError::Error(error)) => Err(self.unavailable("it cannot be locked", &error)),
        }
    }

    /// Creates the file where it is missing, migrates it and returns the writer's connection. What is not ours is refused
    /// before anything of it is changed.
    pub(super) async fn prepare(&self) -> Result<SqliteConnection> {
        private(&self.0).map_err(|error| self.unavailable("it cannot be opened for writing", &error))?;
        let is_new = self.recognise().await.map_err(|error| self.named(error))?;
        let mut connection = self.connect().await.map_err(|error| self.named(error))?;
        if is_new {
            let mark = format!("PRAGMA application_id = {APPLICATION_ID}");
            sqlx::raw_sql(AssertSqlSafe(mark)).execute(&mut connection).await?;
        }
        let known = MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or(0);
        migrator().run(&mut connection).await.map_err(|error| failure::from_migration(error, known))?;
        recount(&mut connection).await?;
        Ok(connection)
    }

    /// A connection for the writer; the file must exist: one that vanished must not be replaced by an empty one.
    pub(super) async fn connect(&self) -> Result<SqliteConnection> {
        let mut connection = self
            .options(CACHE_KIB)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("journal_size_limit", JOURNAL_LIMIT_BYTES.to_string())
            // What is erased is overwritten, not merely unlinked: erasing is a promise to a customer.
            .pragma("secure_delete", "ON")
            .connect()
            .await?;
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await?;
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut connection).await?;
        let foreign_keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(&mut connection).await?;
        if (journal.as_str(), synchronous, foreign_keys) != ("wal", 2, 1) {
            return Err(StoreError::Unavailable(format!(
                "{} did not take the settings that durability needs (journal_mode={journal}, synchronous={synchronous}, \
                 foreign_keys={foreign_keys}): use a local file system",
                self.0.display()
            )));
        }
        Ok(connection)
    }

    /// The pool for reading; connects when first used.
    pub(super) fn readers(&self) -> SqlitePool {
        SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_lazy_with(self.options(CACHE_KIB / 4).pragma("query_only", "ON"))
    }

    fn options(&self, cache_kib: i32) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.0)
            .create_if_missing(false)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(STATEMENTS)
            .pragma("cache_size", (-cache_kib).to_string())
            .pragma("temp_store", "MEMORY")
            .disable_statement_logging()
    }

    /// Refuses a database of another program; says whether the file is still empty.
    async fn recognise(&self) -> Result<bool> {
        let mut connection = self.options(CACHE_KIB).connect().await?;
        let id: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut connection).await?;
        let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_schema").fetch_one(&mut connection).await?;
        connection.close().await?;
        if id != APPLICATION_ID && (id != 0 || tables != 0) {
            return Err(StoreError::Damaged("it belongs to another program".to_owned()));
        }
        Ok(id == 0)
    }

    fn create_directory(&self) -> io::Result<()> {
        let Some(directory) = self.0.parent().filter(|directory| !directory.as_os_str().is_empty()) else {
            return Ok(());
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(directory)
    }

    fn unavailable(&self, what: &str, error: &io::Error) -> StoreError {
        StoreError::Unavailable(format!("{}: {what}: {error}", self.0.display()))
    }

    /// The error with the file's name, where it speaks of the file.
    fn named(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Damaged(why) => StoreError::Damaged(format!("{}: {why}", self.0.display())),
            other => other,
        }
    }
}

/// Opens a file for writing, readable by its owner alone where it has to be created.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn migrator() -> Migrator {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.into_iter().map(migration).collect())
}

/// Counts what waits per frontend anew, so that a count that went wrong is right again after a restart.
async fn recount(connection: &mut SqliteConnection) -> Result<()> {
    let mut transaction = connection.begin().await?;
    sqlx::query("UPDATE waiting SET turns = 0 WHERE turns <> 0").execute(&mut *transaction).await?;
    sqlx::query(
        "INSERT INTO waiting (frontend, shard, turns) SELECT frontend, 0, COUNT(*) FROM turns WHERE state = 'queued' \
         GROUP BY frontend ON CONFLICT (frontend, shard) DO UPDATE SET turns = excluded.turns",
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}
