//! Replays by range: durable jobs that send again what was delivered, at a pace.

use super::Result;
use crate::domain::{
    Timestamp,
    ids::{FrontendName, ReplayId},
    job::{Act, JobState},
    log::TypeFilter,
};

/// What is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRange {
    /// To whom.
    pub frontend: FrontendName,
    /// To this destination alone.
    pub destination: Option<String>,
    /// What was recorded at or after.
    pub since: Timestamp,
    /// What was recorded before.
    pub until: Timestamp,
    /// Which types of events.
    pub types: TypeFilter,
}

/// A replay as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// What it sends again.
    pub range: ReplayRange,
    /// Events a second, at most.
    pub per_second: u32,
    /// Where it stands.
    pub state: JobState,
    /// Deliveries that matched when it began.
    pub matched: u64,
    /// Deliveries that were made due again so far.
    pub due: u64,
    /// Of those, how many the receiver has taken.
    pub sent: u64,
    /// Of those, how many were given up.
    pub failed: u64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Replays.
#[async_trait::async_trait]
pub trait ReplayStore: Send + Sync {
    /// How many delivered events there are in a range.
    async fn replay_matches(&self, range: &ReplayRange) -> Result<u64>;

    /// Begins a replay of what was delivered by now; what is delivered later is none of it.
    async fn begin_replay(&self, replay: &Replay) -> Result<()>;

    /// One replay; `None` where there is none of that id.
    async fn replay(&self, id: &ReplayId) -> Result<Option<Replay>>;

    /// Holds, goes on with or ends a replay, as far as its state allows; returns where it stands then.
    async fn steer_replay(&self, id: &ReplayId, act: Act, now: Timestamp) -> Result<Option<Replay>>;

    /// Does a piece of the replay that is due: makes deliveries due again, each with its id, its bytes and its place in its lane,
    /// no more than its pace allows. Returns when the next piece is due, if any.
    async fn step_replays(&self, now: Timestamp) -> Result<Option<Timestamp>>;
}
