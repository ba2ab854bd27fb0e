//! Taking conversations out of Fini: any range, every page, each conversation once, although the list moves meanwhile.
//!
//! Each page goes at once into a staging file, which keeps it in order ([`Stage`]), so that memory stays flat whatever the size,
//! a killed export goes on where it stood, and nobody ever sees half a file. [`Conversations`] and [`History`] decide
//! which request comes next; [`Permits`] when it may go. Nothing here knows the command line, and nothing here changes
//! anything at Fini.
//!
//! | Room | For |
//! |---|---|
//! | `range`, `state` | the windows that a range needs, and the progress of the export |
//! | `conversations`, `settle`, `turn` | the walk over a list that moves, newest message first |
//! | `history` | the legacy chat history in both shapes |
//! | `follow` | going on after the end |
//! | `permits`, `patient` | pace and patience |
//! | `stage` | the staging file: rows and checkpoint |
//! | `destination`, `finish` | the places of the output, and the finished files |
//! | `row`, `tables` | one conversation, as JSON line and as rows of CSV |
//! | `report` | progress reports to the caller |

mod conversations;
mod destination;
mod finish;
mod follow;
mod history;
mod patient;
mod permits;
mod range;
mod report;
mod row;
mod settle;
mod stage;
mod state;
mod tables;
#[cfg(test)]
mod tests;
mod turn;

pub use conversations::{Conversations, Filter};
pub use destination::{Content, Destination};
pub use finish::{Finished, Format, Outputs, finish};
pub use follow::{Follow, Following};
pub use history::{History, HistoryState, Shape};
pub use patient::{Patience, Patient};
pub use permits::{OwnLog, Permits, Shared};
pub use range::{Range, Window};
pub use report::{Counts, Place, Quiet, Watcher};
pub use row::{Facts, compact};
pub use stage::{Found, Kept, Purpose, Stage, workspace};
pub use state::{Reading, Seen, State, Telling, Walk};
pub use tables::{CONVERSATION_COLUMNS, Cells, Column, EVENT_COLUMNS, HISTORY_COLUMNS, QUESTION_COLUMNS, Tables};

use std::{io, path::PathBuf};

use crate::fini::Failure;

/// The reason why an export stopped. Everything staged until then is kept, and the export can go on from there.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Fini failed for longer than the patience lasts, or refuses for good.
    #[error("{0}")]
    Fini(#[from] Failure),
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// The cause of the failure.
        error: io::Error,
    },
    /// The staging files do not belong together or to this export.
    #[error("{0}")]
    Staging(String),
    /// The list would not stand still or came back to its beginning too often.
    #[error("{0}")]
    Restless(String),
    /// The reader of standard output went away.
    #[error("nobody reads the output any more")]
    ReaderGone,
}

impl ExportError {
    fn file(path: &std::path::Path) -> impl Fn(io::Error) -> Self + '_ {
        move |error| Self::File { path: path.to_owned(), error }
    }
}
