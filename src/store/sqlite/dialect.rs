//! SQLite's part of the dialects.
//!
//! The texts in `sql/` are one for both databases; if they cannot be, they take the difference from here, under the same
//! names in each database's `dialect`. Macros, not constants, if the difference is part of a statement's text, so that
//! every statement stays one literal and is prepared once.

use std::future::{Ready, ready};

use super::{Conn, Result};
use crate::domain::Timestamp;

/// True if other processes may work on the same database.
pub(in crate::store) const SHARED: bool = false;

/// Locks the selected rows of the table until the end of the transaction. SQLite has one writer anyway.
macro_rules! for_update {
    ($table:literal) => {
        ""
    };
}

/// The same, leaving out rows that another transaction has locked.
macro_rules! skip_locked {
    ($table:literal) => {
        ""
    };
}

/// The texts of a JSON array parameter (`rows::array`), as a table with the column `value`.
macro_rules! texts {
    ($parameter:literal) => {
        concat!("(SELECT value FROM json_each(", $parameter, "))")
    };
}

/// True if the text before it is one of those of a JSON array parameter.
macro_rules! is_text_in {
    ($parameter:literal) => {
        concat!(" IN (SELECT value FROM json_each(", $parameter, "))")
    };
}

/// True if the key before it is one of those of a JSON array parameter.
macro_rules! is_key_in {
    ($parameter:literal) => {
        concat!(" IN (SELECT value FROM json_each(", $parameter, "))")
    };
}

/// The part of a count that this transaction adds to: with one writer there is one part.
macro_rules! shard {
    () => {
        "0"
    };
}

/// The later of two texts; the first one if the second is null.
macro_rules! later_text {
    ($one:expr, $other:expr) => {
        concat!("MAX(", $one, ", COALESCE(", $other, ", ", $one, "))")
    };
}

/// The position of the second text in the first, counted from 1; 0 if it is not there.
macro_rules! text_position {
    ($text:literal, $part:literal) => {
        concat!("INSTR(", $text, ", ", $part, ")")
    };
}

/// Returns the database server's own time: there is none.
pub(in crate::store) fn server_time(_: &mut Conn) -> Ready<Result<Option<Timestamp>>> {
    ready(Ok(None))
}

/// Lets one process at a time decide about the budget. SQLite has one writer anyway.
pub(in crate::store) fn lock_budget(_: &mut Conn) -> Ready<Result<()>> {
    ready(Ok(()))
}

/// Lets one transaction at a time count a person's messages. SQLite has one writer anyway.
pub(in crate::store) fn lock_person(_: &mut Conn, _: &str, _: &str) -> Ready<Result<()>> {
    ready(Ok(()))
}

/// Locks the lanes of these conversations until the end of the transaction. SQLite has one writer anyway.
pub(in crate::store) fn lock_lanes(_: &mut Conn, _: &str) -> Ready<Result<()>> {
    ready(Ok(()))
}

/// Lets one process at a time number the log. SQLite has one writer anyway.
pub(in crate::store) fn lock_log(_: &mut Conn) -> Ready<Result<()>> {
    ready(Ok(()))
}
