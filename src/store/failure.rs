//! Maps a database's error to the store's.
//!
//! One place for both databases: an error passes by itself (locked, full, cut off), points at the file, or is a fault
//! of ours. A server's fault that its operator can mend is put in the operator's words: which limit, whose, what to do. Sources:
//! SQLite's "Result and Error Codes" and the SQLSTATE classes in PostgreSQL's appendix A.

use std::borrow::Cow;

use rusqlite::ErrorCode;
use sqlx::{error::DatabaseError, migrate::MigrateError};

use super::StoreError;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(error) if is_handshake(error) => Self::Unavailable(format!("{NO_TLS}: {error}")),
            sqlx::Error::Io(error) => Self::Unavailable(format!("the server cannot be reached: {error}")),
            sqlx::Error::Tls(error) => Self::Unavailable(format!("{NO_TLS}: {error}")),
            sqlx::Error::PoolTimedOut => Self::Unavailable(
                "no connection to the server could be had in time: all of them are busy, or none can be made"
                    .to_owned(),
            ),
            sqlx::Error::PoolClosed => Self::Unavailable("it is closed".to_owned()),
            sqlx::Error::WorkerCrashed => Self::Unavailable(error.to_string()),
            sqlx::Error::Protocol(said) => Self::Unavailable(format!("{said}: {}", from_protocol(said))),
            sqlx::Error::Database(database) => from_database(database.as_ref()),
            sqlx::Error::Migrate(_) => Self::Damaged(error.to_string()),
            _ => Self::Internal(error.to_string()),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let message = error.to_string();
        let Some(code) = error.sqlite_error_code() else { return Self::Internal(message) };
        match code {
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::OperationInterrupted
            | ErrorCode::SystemIoFailure
            | ErrorCode::DiskFull
            | ErrorCode::CannotOpen
            | ErrorCode::FileLockingProtocolFailed => Self::Unavailable(message),
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Damaged(message),
            _ => Self::Internal(message),
        }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(format!("a stored value is not the JSON it should be: {error}"))
    }
}

/// Maps the error of a failed migration, if this program knows versions up to `known`.
pub(super) fn from_migration(error: MigrateError, known: i64) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMissing(found) if found > known => StoreError::SchemaTooNew { found, known },
        other => StoreError::Damaged(other.to_string()),
    }
}

/// The message for a server that takes no writes.
pub(super) const READ_ONLY: &str =
    "the server takes no writes: it is a standby, or was told so (default_transaction_read_only)";
/// The message for a role that may not do what it has to.
pub(super) const RIGHTS: &str = "the role lacks a right: for running it needs SELECT, INSERT, UPDATE, DELETE on the bridge's tables and USAGE, SELECT, \
     UPDATE on their sequences; for bringing the schema up to date it has to own them and to have CREATE on the schema";
/// The message for errors that a session of one's own does not have.
const SHARED_SESSION: &str = "a pooler in between gives every transaction another session, it seems (PgBouncer with pool_mode = \
     transaction or statement); the bridge needs pool_mode = session";

/// The message for a server that has no TLS, or a certificate that is not believed.
const NO_TLS: &str =
    "TLS with the server failed (compare sslmode and sslrootcert in store.url with what the server has)";
/// The message for something that takes a connection and has no server to pass it to.
const NO_BACKEND: &str = "something in front of the server took the connection and closed it, or what listens there is no PostgreSQL: look at \
     the proxy, load balancer or pooler, and at the port in store.url";
/// The message for a login that the driver cannot make.
const NO_METHOD: &str = "the server wants a kind of login that the bridge does not know: let pg_hba.conf ask this role for scram-sha-256 (or md5, \
     password, cert, trust)";

/// Puts words that are no PostgreSQL, or not expected here, in words for the operator.
fn from_protocol(said: &str) -> &'static str {
    if said.contains("SSLRequest") {
        NO_BACKEND
    } else if said.contains("authentication") {
        NO_METHOD
    } else {
        // Two answers at once, or the answer to another's words: only shared sessions cause such errors.
        SHARED_SESSION
    }
}

/// Returns true for an error of a TLS handshake, which comes as invalid data.
pub(super) fn is_handshake(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData
}

/// Returns true for an error that passes by itself while a server starts, stops, or is replaced by another one.
pub(super) fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => !is_handshake(error),
        sqlx::Error::Protocol(said) => from_protocol(said) == NO_BACKEND,
        sqlx::Error::Database(error) => {
            matches!(error.code().as_deref(), Some("57P01" | "57P02" | "57P03" | "25006" | "53300"))
        }
        _ => false,
    }
}

fn from_database(error: &dyn DatabaseError) -> StoreError {
    let code = error.code().unwrap_or(Cow::Borrowed(""));
    let said = error.message();
    let message = match in_words(&code) {
        Some(words) => format!("{words} (SQLSTATE {code}: {said})"),
        None => format!("{said} (SQLSTATE {code})"),
    };
    // A deadlock, a serialization failure, or two transactions that inserted the same row: a second run may succeed.
    if matches!(&*code, "40P01" | "40001" | "23505") {
        return StoreError::Contended(message);
    }
    // The session does not know a statement, or has it already: somebody else has the session meanwhile.
    if matches!(&*code, "26000" | "42P05") {
        return StoreError::Unavailable(message);
    }
    match code.get(..2) {
        // Connection exception, wrong credentials, no such database, transaction rollback, insufficient resources, operator
        // intervention, system error.
        Some("08" | "28" | "3D" | "40" | "53" | "57" | "58") => StoreError::Unavailable(message),
        // A right that the role lacks can be granted; a lock that somebody else holds is released.
        Some("42" | "55") if matches!(&*code, "42501" | "55P03") => StoreError::Unavailable(message),
        // Read-only transaction: the server is a standby. A transaction that stood still for too long: the server ended it.
        Some("25") if matches!(&*code, "25006" | "25P03") => StoreError::Unavailable(message),
        Some("XX") => StoreError::Damaged(message),
        _ => StoreError::Internal(message),
    }
}

/// Puts an error in words for the database's operator: whose limit it is, and what to do.
fn in_words(code: &str) -> Option<&'static str> {
    Some(match code {
        "53300" => {
            "the server has no connection left for this role: raise its max_connections (or the CONNECTION LIMIT of the role or \
             the database), or lower store.connections; each replica takes that many and one more"
        }
        "53100" => "the server's disk is full: make room there; nothing is lost, and the bridge goes on by itself",
        "53200" => "the server is out of memory: look at its work_mem and shared_buffers, and at who else uses it",
        "28P01" => "the server refuses the password of this role: compare it with the address in store.url",
        "28000" => {
            "the server does not let this role in from here: look at the role's name, whether it may log in, and at pg_hba.conf"
        }
        "3D000" => "the server has no such database: create it, or correct the address in store.url",
        "42501" => RIGHTS,
        "25006" => READ_ONLY,
        "25P03" => {
            "the server ended a transaction that stood still: this process, or the network, was held up for seconds"
        }
        "57014" => {
            "the server ended a statement that took too long: a lock that is held elsewhere (pg_stat_activity, pg_locks), or more \
             work than the server can do"
        }
        "55P03" => "something in the database is locked elsewhere (pg_locks)",
        "57P01" | "57P02" => "the server was stopped, or ended this session",
        "57P03" => "the server is starting or stopping",
        "26000" | "42P05" | "08P01" => SHARED_SESSION,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_can_mend_is_told_in_the_operator_s_words() {
        for (code, words) in [
            ("53300", "max_connections"),
            ("42501", "CREATE on the schema"),
            ("25006", "standby"),
            ("26000", "pool_mode = session"),
            ("57014", "pg_locks"),
        ] {
            assert!(in_words(code).is_some_and(|said| said.contains(words)), "{code}");
        }
        assert_eq!(in_words("42601"), None);
    }
}
