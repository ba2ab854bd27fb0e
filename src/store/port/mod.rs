//! The port: what a store can be asked, by aggregate. Types here carry no SQL and no behaviour.

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

/// What every store method returns.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Everything the bridge asks of its database.
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
    /// The feed of changes.
    fn changes(&self) -> &Changes;

    /// Proves that the database can be written: used by readiness.
    async fn ping(&self) -> Result<()>;

    /// How large it is, and how old the oldest snapshot in it; asked every minute.
    async fn footprint(&self) -> Result<Footprint>;

    /// Whether another process may work on the same database at the same time.
    fn is_shared(&self) -> bool;

    /// Takes what was erased out of the database's own files too, as far as that is this process's to do; whether it is gone.
    async fn scrub(&self) -> Result<bool>;

    /// Finishes what was begun, checkpoints and closes. Calls after it fail with `Unavailable`.
    async fn close(&self);
}

/// The size of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes by file: `database` and `wal`, or `database` alone where it is on a server.
    pub files: Vec<(&'static str, u64)>,
    /// How long the oldest transaction has been keeping its snapshot, of those that the role may see; none with SQLite.
    pub oldest_snapshot: Option<std::time::Duration>,
}

/// Who holds a lease: one running process. Random per start, so that a restarted process never passes for its predecessor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub std::sync::Arc<str>);

impl Owner {
    /// The name of the lease that says that the process lives; see [`TurnStore::recover_turns`].
    pub fn process_lease(&self) -> String {
        format!("process.{}", self.0)
    }
}

/// A lease to take: by whom, when, and until when.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The process.
    pub owner: Owner,
    /// The present time.
    pub now: Timestamp,
    /// When the lease ends unless it is renewed; outlasts the deadline of the work.
    pub until: Timestamp,
}

/// The proof of holding a particular lease; a completion with an outdated token changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub std::sync::Arc<str>);
