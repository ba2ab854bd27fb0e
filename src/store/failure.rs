//! What a database's error means for whoever asked the store.
//!
//! One place for both databases: whether a fault passes by itself (locked, full, cut off), points at the file, or is a fault
//! of ours. Sources: SQLite's "Result and Error Codes" and the SQLSTATE classes in PostgreSQL's appendix A.

use std::borrow::Cow;

use rusqlite::ErrorCode;
use sqlx::{error::DatabaseError, migrate::MigrateError};

use super::StoreError;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error.to_string()),
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

/// What a failed migration means, where this program knows versions up to `known`.
pub(super) fn from_migration(error: MigrateError, known: i64) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMissing(found) if found > known => StoreError::SchemaTooNew { found, known },
        other => StoreError::Damaged(other.to_string()),
    }
}

fn from_database(error: &dyn DatabaseError) -> StoreError {
    let message = error.to_string();
    let code = error.code().unwrap_or(Cow::Borrowed(""));
    // A deadlock, a serialization failure, or two transactions that inserted the same thing: one of them does better now.
    if matches!(&*code, "40P01" | "40001" | "23505") {
        return StoreError::Contended(message);
    }
    match code.get(..2) {
        // Connection exception, wrong credentials, no such database, transaction rollback, insufficient resources, operator
        // intervention, system error.
        Some("08" | "28" | "3D" | "40" | "53" | "57" | "58") => StoreError::Unavailable(message),
        // Read-only transaction: the server is a standby. A transaction that stood still for too long: the server ended it.
        Some("25") if matches!(&*code, "25006" | "25P03") => StoreError::Unavailable(message),
        Some("XX") => StoreError::Damaged(message),
        _ => StoreError::Internal(message),
    }
}
