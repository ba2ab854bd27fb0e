//! Starts, watches and ends everything that runs in the background.
//!
//! The only module that spawns tasks, so that shutdown knows them all and none outlives the program. Two stages, as a
//! request and a limit: *soft* (asked to stop: not ready, no new work, finish what is in flight) and *hard* (the grace is
//! over: what is still running is dropped and left to its lease). The other modules give a `step`; repeating, waking,
//! backing off, containing panics and keeping a heartbeat is done here, once. Nothing here knows the nature of the work.
//!
//! ```text
//! signal ─ soft ──────────── grace ──────────── hard ── cut ── end
//!          loops stop between steps             futures dropped
//!          public listener closes               admin listener closes
//!          tasks in flight finish
//! ```

mod health;
mod shutdown;
mod step;
mod supervisor;
mod tasks;

pub use self::health::{Health, LoopHealth, LoopState};
pub use self::shutdown::{Ended, LAST_CALL, Lifecycle, OsSignals, Signals, Stop};
pub use self::step::{Loop, Step, Wake};
pub use self::supervisor::{Pace, Supervisor};
pub use self::tasks::Tasks;
pub use crate::domain::backoff::Backoff;
