//! The port: the operations of a store, by aggregate. Types here carry no SQL and no behaviour.

mod admin;
mod audit;
mod budget;
mod conversations;
mod deliveries;
mod erasures;
mod feed;
mod handoff;
mod intake;
mod ledger;
mod log;
mod operator;
mod people;
mod reading;
mod replays;
mod report;
mod time;
mod turns;
mod waits;

pub use admin::*;
pub use audit::*;
pub use budget::*;
pub use conversations::*;
pub use deliveries::*;
pub use erasures::*;
pub use feed::*;
pub use handoff::*;
pub use intake::*;
pub use ledger::*;
pub use log::*;
pub use operator::*;
pub use people::*;
pub use reading::*;
pub use replays::*;
pub use report::*;
pub use time::*;
pub use turns::*;
pub use waits::*;

use super::{Changes, StoreError};
use crate::domain::Timestamp;

/// The result of every store method.
pub type Result<T> = std::result::Result<T, StoreError>;

/// All operations of the bridge on its database.
#[async_trait::async_trait]
pub trait Store:
    IntakeStore
    + TurnStore
    + LedgerStore
    + ReadingStore
    + ConversationStore
    + HandoffStore
    + ErasureStore
    + PersonStore
    + FeedStore
    + LogStore
    + DeliveryStore
    + ReplayStore
    + ReportStore
    + BudgetStore
    + AdminStore
    + AuditStore
    + OperatorStore
    + TimeStore
    + WaitStore
{
    /// Returns the feed of changes.
    fn changes(&self) -> &Changes;

    /// Proves that the database can be written; readiness calls it.
    async fn ping(&self) -> Result<()>;

    /// Returns the size of the database and the age of its oldest snapshot; called every minute.
    async fn footprint(&self) -> Result<Footprint>;

    /// Returns true if another process may work on the same database at the same time.
    fn is_shared(&self) -> bool;

    /// Removes erased data from the database's own files, as far as this process is responsible; returns true once it is gone.
    async fn scrub(&self) -> Result<bool>;

    /// Finishes pending work, checkpoints and closes. Later calls fail with `Unavailable`.
    async fn close(&self);
}

/// The size of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes by file: `database` and `wal`, or only `database` if it is on a server.
    pub files: Vec<(&'static str, u64)>,
    /// Age of the oldest snapshot that a transaction holds, among those that the role may see; `None` with SQLite.
    pub oldest_snapshot: Option<std::time::Duration>,
}

/// The holder of a lease: one running process. Random per start, so that a restarted process never passes for its predecessor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub std::sync::Arc<str>);

impl Owner {
    /// Returns the name of the lease that shows that the process lives; see [`TurnStore::recover_turns`].
    pub fn process_lease(&self) -> String {
        format!("process.{}", self.0)
    }
}

/// A lease to take: its holder, start and end.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The process that takes it.
    pub owner: Owner,
    /// Time at which it is taken.
    pub now: Timestamp,
    /// End of the lease unless it is renewed; later than the deadline of the work.
    pub until: Timestamp,
}

/// The proof of holding a particular lease; a completion with an outdated token changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub std::sync::Arc<str>);
