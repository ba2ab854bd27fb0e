//! Opening the file: its permissions, its settings, and its schema.
//!
//! Every setting that durability rests on is read back and refused when it did not take. The file is readable by its owner
//! alone (it holds customers' messages), and by one process at a time.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};

use crate::{
    domain::ids::ConversationId,
    store::{Result, StoreError},
};

/// Every schema there was, oldest first; never changed once released. Their number stands in `user_version`.
pub(super) const MIGRATIONS: [&str; 19] = [
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_erasures.sql"),
    include_str!("migrations/0003_correlation.sql"),
    include_str!("migrations/0004_evidence.sql"),
    include_str!("migrations/0005_late_turns_and_statuses.sql"),
    include_str!("migrations/0006_tries.sql"),
    include_str!("migrations/0008_delivery.sql"),
    include_str!("migrations/0010_erasure_evidence.sql"),
    include_str!("migrations/0012_time_stamps.sql"),
    include_str!("migrations/0014_erased_messages.sql"),
    include_str!("migrations/0015_limits.sql"),
    include_str!("migrations/0016_handoff.sql"),
    include_str!("migrations/0017_people.sql"),
    include_str!("migrations/0018_log.sql"),
    include_str!("migrations/0019_destinations.sql"),
    include_str!("migrations/0020_operators.sql"),
    include_str!("migrations/0021_following.sql"),
    include_str!("migrations/0022_report.sql"),
    include_str!("migrations/0023_looked_for.sql"),
];
/// `application_id` of our files ("FINI"), so that another program's database is never taken for ours.
const APPLICATION_ID: i32 = 0x4649_4e49;
/// Page cache of the writer, in KiB; a reader has a quarter of it.
const CACHE_KIB: i32 = 4096;
/// Prepared statements kept per connection; there are fewer in the whole store.
const STATEMENTS: usize = 256;
/// Size that the log file is cut back to after a checkpoint.
const JOURNAL_LIMIT_BYTES: i64 = 32 << 20;
/// Only foreign tools (a backup) can hold a lock against us: the process lock keeps other bridges out.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for which cutting the log waits for its readers; else it is cut another time. Nothing is written meanwhile.
const LOG_TIMEOUT: Duration = Duration::from_millis(100);

/// A database file.
#[derive(Clone, Debug)]
pub(super) struct Location(PathBuf);

/// Tells a file from any other, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

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
        let lock = self.beside(".lock");
        let file = private(&lock).map_err(|error| self.unavailable("its lock cannot be opened", &error))?;
        match file.try_lock() {
            Ok(()) => Ok(ProcessLock(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
                "{} is in use by another fini-bridge process: one file serves one process (use PostgreSQL for several)",
                self.0.display()
            ))),
            Err(TryLockError::Error(error)) => Err(self.unavailable("it cannot be locked", &error)),
        }
    }

    /// Creates the file if it is missing, migrates it and returns the writer's connection. A file that is not ours is refused
    /// before anything of it is changed.
    pub(super) fn prepare(&self) -> Result<Connection> {
        private(&self.0).map_err(|error| self.unavailable("it cannot be opened for writing", &error))?;
        for file in ["", "-wal", "-shm"] {
            keep_private(&self.beside(file))
                .map_err(|error| self.unavailable("it cannot be kept from others", &error))?;
        }
        let is_new = self.recognise().map_err(|error| self.named(error))?;
        let mut connection = self.connect().map_err(|error| self.named(error))?;
        if is_new {
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        migrate(&mut connection)?;
        recount(&mut connection)?;
        hash_erased(&mut connection)?;
        // The log file may still hold texts that were erased before a crash.
        truncate_log(&connection)?;
        Ok(connection)
    }

    /// Opens a connection for the writer; the file must exist: one that vanished must not be replaced by an empty one.
    pub(super) fn connect(&self) -> Result<Connection> {
        let connection = self.open(CACHE_KIB)?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON")?;
        connection.pragma_update(None, "journal_size_limit", JOURNAL_LIMIT_BYTES)?;
        let journal: String = pragma(&connection, "journal_mode")?;
        let synchronous: i64 = pragma(&connection, "synchronous")?;
        let foreign_keys: i64 = pragma(&connection, "foreign_keys")?;
        if (journal.as_str(), synchronous, foreign_keys) != ("wal", 2, 1) {
            return Err(StoreError::Unavailable(format!(
                "{} did not take the settings that durability needs (journal_mode={journal}, synchronous={synchronous}, \
                 foreign_keys={foreign_keys}): use a local file system",
                self.0.display()
            )));
        }
        Ok(connection)
    }

    /// Opens a connection that can only read.
    pub(super) fn reader(&self) -> Result<Connection> {
        let connection = self.open(CACHE_KIB / 4)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    fn open(&self, cache_kib: i32) -> Result<Connection> {
        let connection =
            Connection::open_with_flags(&self.0, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // Plans do not depend on parameters: else SQLite parses and plans a cached statement again each time it is bound anew.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "cache_size", -cache_kib)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        Ok(connection)
    }

    /// Refuses a database of another program; returns true if the file is still empty.
    fn recognise(&self) -> Result<bool> {
        let connection = self.open(CACHE_KIB)?;
        let id: i32 = pragma(&connection, "application_id")?;
        let tables: i64 = connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if id != APPLICATION_ID && (id != 0 || tables != 0) {
            return Err(StoreError::Damaged("it belongs to another program".to_owned()));
        }
        Ok(id == 0)
    }

    /// Returns the path of a file beside it, under its own name and an ending.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
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

    /// Returns what tells the file that stands there from any other; `None` where nothing does.
    pub(super) fn identity(&self) -> Option<Identity> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            std::fs::metadata(&self.0).ok().map(|found| Identity { device: found.dev(), inode: found.ino() })
        }
        #[cfg(not(unix))]
        None
    }

    /// Refuses to go on in a file that is no longer the one at its path: moved, deleted, or replaced by a copy. What was
    /// written there would be gone with the process.
    pub(super) fn is_still(&self, opened: Option<Identity>) -> Result<()> {
        if opened.is_none() || self.identity() == opened {
            return Ok(());
        }
        let what = "was moved, deleted or replaced under the running bridge: put it back, or start the bridge anew";
        Err(StoreError::Unavailable(format!("{} {what}", self.0.display())))
    }

    fn unavailable(&self, what: &str, error: &io::Error) -> StoreError {
        StoreError::Unavailable(format!("{}: {what}: {error}", self.0.display()))
    }

    /// Adds the file's name to an error that is about the file.
    fn named(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Damaged(why) => StoreError::Damaged(format!("{}: {why}", self.0.display())),
            other => other,
        }
    }
}

/// Opens a file for writing; creates it readable only by its owner.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Removes all rights on an existing file but its owner's. SQLite gives the files beside a database the database's mode.
fn keep_private(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        match std::fs::metadata(path) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> Result<T> {
    Ok(connection.pragma_query_value(None, name, |row| row.get(0))?)
}

/// Brings the schema up to date, each step whole or not at all.
fn migrate(connection: &mut Connection) -> Result<()> {
    let found: i64 = pragma(connection, "user_version")?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::SchemaTooNew { found, known });
    }
    for (version, step) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Counts waiting turns per frontend anew, so that a count that went wrong is right again after a restart.
fn recount(connection: &mut Connection) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "UPDATE waiting SET turns = 0 WHERE turns <> 0; \
         INSERT INTO waiting (frontend, shard, turns) SELECT frontend, 0, COUNT(*) FROM turns WHERE state = 'queued' \
         GROUP BY frontend ON CONFLICT (frontend, shard) DO UPDATE SET turns = excluded.turns",
    )?;
    transaction.commit()?;
    Ok(())
}

/// Replaces ids of erased conversations, which an earlier version kept as they were, by their hashes.
fn hash_erased(connection: &mut Connection) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let erased: Vec<(i64, String)> = transaction
        .prepare("SELECT key, conversation_id FROM conversations WHERE erased_at IS NOT NULL AND conversation_id NOT LIKE 'sha256:%'")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (key, id) in erased {
        let hash = ConversationId::trusted(id).erased();
        transaction.execute(
            "UPDATE conversations SET conversation_id = ?2, user_id = NULL WHERE key = ?1",
            (key, hash.as_str()),
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// Moves the log file into the database and cuts it to nothing, with the remains of deleted data. Returns false if
/// that could not be done: somebody may still be reading in it.
pub(super) fn truncate_log(connection: &Connection) -> Result<bool> {
    connection.busy_timeout(LOG_TIMEOUT)?;
    let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(is_busy? == 0)
}

#[cfg(test)]
mod tests {
    use crate::store::additive;

    /// One schema in two dialects, and one rule for both.
    #[test]
    fn every_migration_but_the_first_only_adds() {
        for (version, sql) in (2..).zip(&super::MIGRATIONS[1..]) {
            assert_eq!(additive::faults(sql), Vec::<String>::new(), "version {version}");
        }
    }
}
