//! Replays by range: durable jobs that send delivered callbacks again, at a pace.

use super::Result;
use crate::domain::{
    Timestamp,
    ids::{FrontendName, ReplayId},
    job::{Act, JobState},
    log::TypeFilter,
};

/// The range of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRange {
    /// The frontend whose events are sent again.
    pub frontend: FrontendName,
    /// The only destination to send to; `None` for all.
    pub destination: Option<String>,
    /// Start: events recorded at or after this time.
    pub since: Timestamp,
    /// End: events recorded before this time.
    pub until: Timestamp,
    /// The types of events to send.
    pub types: TypeFilter,
}

/// A replay as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Id of the replay.
    pub id: ReplayId,
    /// The deliveries that it sends again.
    pub range: ReplayRange,
    /// Events a second, at most.
    pub per_second: u32,
    /// Its state.
    pub state: JobState,
    /// Deliveries that matched when it began.
    pub matched: u64,
    /// Deliveries that were made due again so far.
    pub due: u64,
    /// Number of those that the receiver has taken.
    pub sent: u64,
    /// Number of those that were given up.
    pub failed: u64,
    /// Time of the request.
    pub created_at: Timestamp,
    /// Time of its end.
    pub ended_at: Option<Timestamp>,
}

/// Begins, steers and carries out replays.
#[async_trait::async_trait]
pub trait ReplayStore: Send + Sync {
    /// Counts the delivered events in a range.
    async fn replay_matches(&self, range: &ReplayRange) -> Result<u64>;

    /// Begins a replay of everything delivered by now; later deliveries do not belong to it.
    async fn begin_replay(&self, replay: &Replay) -> Result<()>;

    /// Reads one replay; `None` if there is none of that id.
    async fn replay(&self, id: &ReplayId) -> Result<Option<Replay>>;

    /// Pauses, resumes or cancels a replay, as far as its state allows; returns it as it stands then.
    async fn steer_replay(&self, id: &ReplayId, act: Act, now: Timestamp) -> Result<Option<Replay>>;

    /// Does a piece of the replay that is due: makes deliveries due again, each with its id, its bytes and its place in its lane,
    /// no more than its pace allows. Returns the due time of the next piece, if any.
    async fn step_replays(&self, now: Timestamp) -> Result<Option<Timestamp>>;
}
