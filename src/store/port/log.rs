//! The log of each frontend: numbered behind the commits, read by cursor.

use super::{Most, Result};
use crate::domain::{
    Timestamp,
    ids::{ConversationId, FrontendName},
    log::{LogCursor, TypeFilter},
};

/// A request to read a log.
#[derive(Clone, Debug)]
pub struct LogQuery {
    /// The frontend whose log is read.
    pub frontend: FrontendName,
    /// The place behind which reading starts.
    pub after: LogCursor,
    /// The types of events to read.
    pub types: TypeFilter,
    /// The only conversation to read; `None` for all.
    pub conversation: Option<ConversationId>,
    /// The most to read at once.
    pub most: Most,
}

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The place behind it.
    pub cursor: LogCursor,
    /// Its type, such as `message.created`.
    pub kind: String,
    /// Its body, exactly as it is called back.
    pub body: String,
}

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// Entries, in the order of the log.
    pub entries: Vec<LogEntry>,
    /// The place up to which the log was searched: the next read starts from here.
    pub reached: LogCursor,
    /// True if there are entries beyond.
    pub has_more: bool,
}

/// The result of reading from a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogRead {
    /// A part of the log.
    Page(LogPage),
    /// This log never gave that cursor.
    Unknown,
    /// Events behind the cursor were pruned.
    Expired {
        /// The oldest place from which nothing is missing.
        oldest: LogCursor,
    },
}

/// The place at which reading begins without a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// At the oldest entry that is kept.
    Oldest,
    /// At the first entry whose time stamp, or that of one before it, is not earlier.
    Since(Timestamp),
    /// Behind the last entry.
    End,
}

/// Numbers and reads the logs.
#[async_trait::async_trait]
pub trait LogStore: Send + Sync {
    /// Gives up to about `most` committed events their positions, each conversation's in the order of its feed, and announces
    /// the logs that grew. Only one process at a time does so: a position is seen no earlier than any lower one. Returns the
    /// number of events.
    async fn number_log(&self, most: usize) -> Result<usize>;

    /// Reads entries behind a cursor, as many as are asked for but at least one. Erased ones are left out.
    async fn log(&self, query: &LogQuery) -> Result<LogRead>;

    /// Returns the place at which reading begins.
    async fn log_start(&self, frontend: &FrontendName, start: LogStart) -> Result<LogCursor>;
}
