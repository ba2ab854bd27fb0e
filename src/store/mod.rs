//! The bridge's persistent store: one port, two databases behind it.
//!
//! Everything above this room speaks to [`Store`] and never sees SQL. Each method is one transaction: when it returns
//! `Ok`, its effect is durable; when it returns an error, nothing of it happened, unless a database over a network was cut off
//! in the very commit: so the handling of an error has to be right in both cases. No transaction is ever held open over
//! network work: work is claimed with a lease (a token and an expiry), done, and finished only if the token still matches.
//!
//! Rooms wake each other only through [`Changes`], which the store announces after a commit; so one process and several
//! on the same database behave alike.

#[cfg(test)]
mod additive;
mod bindings;
mod changes;
#[cfg(test)]
mod conformance;
mod failure;
mod followers;
mod lost;
mod port;
#[expect(clippy::duplicate_mod, reason = "one text of every transaction, compiled for each database")]
mod postgres;
mod sqlite;

pub use bindings::Bindings;
pub use changes::{Change, Changes, Heard, Listener};
pub use followers::{Follower, Topic};
pub use lost::LostClaims;
pub use port::*;
pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;

use std::{collections::HashMap, sync::Arc};

use crate::domain::{
    Entropy, WallClock, conversation::StatusPolicy, destination::Subscriptions, event::TextFormat,
    handoff::HandoffPolicies, ids::FrontendName, turn::IllegalMove,
};

/// The reason why a store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or written at present (locked, full, read-only, connection cut). Worth trying again.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// Another transaction was in the way, again and again. Worth trying again.
    #[error("other work was in the way: {0}")]
    Contended(String),
    /// The database was written by a newer version of the bridge.
    #[error(
        "the database has schema version {found}, this version of fini-bridge knows up to {known}: use a newer fini-bridge, or restore a backup"
    )]
    SchemaTooNew {
        /// The version found in the database.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// The database file is damaged or not a database of ours.
    #[error("the database is damaged or not one of fini-bridge's: {0}")]
    Damaged(String),
    /// A move the state machine does not have: a fault of ours.
    #[error(transparent)]
    IllegalMove(#[from] IllegalMove),
    /// Anything else that should not happen: a fault of ours.
    #[error("the store failed: {0}")]
    Internal(String),
}

/// The domain's rules that every store applies inside its transactions.
#[derive(Clone)]
pub struct Rules {
    /// Makes ids.
    pub entropy: Arc<dyn Entropy>,
    /// Source of the wall clock's times, which people read.
    pub wall: Arc<dyn WallClock>,
    /// The events that each destination wants called back.
    pub subscriptions: Subscriptions,
    /// The policy that maps Fini's statuses.
    pub statuses: StatusPolicy,
    /// Time for which a message that Fini has holds the next one.
    pub hold_window: std::time::Duration,
    /// The times after which a conversation's watch ends.
    pub watch: WatchPolicy,
    /// The policies for handoffs that nobody ends.
    pub handoffs: HandoffPolicies,
    /// The text format in which Fini's side writes to each frontend; plain for one not named.
    pub formats: HashMap<FrontendName, TextFormat>,
}
