//! Long work of operators: the states of a job, the acts on it, and its pace. Pure.

use std::time::Duration;

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// In progress.
    Running,
    /// An operator holds it.
    Paused,
    /// All of it was handed on; the outcome of the last pieces is awaited.
    Draining,
    /// It ended by itself.
    Done,
    /// An operator ended it.
    Cancelled,
}

/// An operator's act on a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Hold it.
    Pause,
    /// Go on with it.
    Resume,
    /// End it.
    Cancel,
}

impl JobState {
    /// Returns the name it is stored and shown under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    /// Parses the name of a state.
    pub fn parse(name: &str) -> Option<Self> {
        let all = [Self::Running, Self::Paused, Self::Draining, Self::Done, Self::Cancelled];
        all.into_iter().find(|state| state.as_str() == name)
    }

    /// Returns true if it has ended.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }

    /// Returns the state after an act. What is over stays over, and what was handed on cannot be held back any more.
    #[must_use]
    pub const fn after(self, act: Act) -> Self {
        match (self, act) {
            (Self::Running, Act::Pause) => Self::Paused,
            (Self::Paused, Act::Resume) => Self::Running,
            (Self::Running | Self::Paused | Self::Draining, Act::Cancel) => Self::Cancelled,
            (state, _) => state,
        }
    }
}

/// Time between two pieces of a running job, unless its pace is slower.
const TICK: Duration = Duration::from_millis(200);

/// Returns how much of a job is done at once, at `per_second`.
pub fn piece(per_second: u32) -> usize {
    let ticks = u32::try_from(1000 / TICK.as_millis()).unwrap_or(1);
    (per_second / ticks).max(1) as usize
}

/// Returns how long a job rests after `done` of it.
pub fn rest(per_second: u32, done: usize) -> Duration {
    let done = u32::try_from(done).unwrap_or(u32::MAX);
    Duration::from_secs(1).saturating_mul(done) / per_second.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_change_only_what_is_not_over() {
        use Act::{Cancel, Pause, Resume};
        use JobState::{Cancelled, Done, Draining, Paused, Running};
        for (before, act, after) in [
            (Running, Pause, Paused),
            (Paused, Pause, Paused),
            (Paused, Resume, Running),
            (Running, Resume, Running),
            (Running, Cancel, Cancelled),
            (Paused, Cancel, Cancelled),
            (Draining, Cancel, Cancelled),
            (Draining, Pause, Draining),
            (Done, Cancel, Done),
            (Done, Resume, Done),
            (Cancelled, Resume, Cancelled),
        ] {
            assert_eq!(before.after(act), after, "{before:?} {act:?}");
            assert_eq!(JobState::parse(before.as_str()), Some(before));
        }
    }

    #[test]
    fn the_pace_is_kept_however_fast_or_slow() {
        for per_second in [1, 2, 5, 7, 100, 1000] {
            let done = piece(per_second);
            let rate = f64::from(u32::try_from(done).expect("few")) / rest(per_second, done).as_secs_f64();
            assert!(rate <= f64::from(per_second) * 1.001, "{per_second}: {rate}");
        }
        assert_eq!(rest(10, 0), Duration::ZERO);
    }
}
