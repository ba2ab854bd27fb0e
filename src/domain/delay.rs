//! When a customer's message counts as delayed, and what is then expected. Pure.
//!
//! The estimate is the simplest that keeps its word: an answer that has not come within it is expected after twice as long.
//! So a customer is told after 5 s, and again each time the estimate has doubled, seldom enough for the longest wait.

use std::time::Duration;

use super::Timestamp;

/// Nothing is said of an answer that comes within this.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The estimate doubles so often at most: far beyond any wait.
const MOST: u32 = 20;

/// What is told of a message whose answer is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// When the answer is expected.
    pub expected_at: Timestamp,
    /// How often the estimate has doubled: each is told once.
    pub doubled: u32,
}

/// The delay at `now` of a message that was accepted then; `None` while its answer is not late.
pub fn delay(accepted_at: Timestamp, now: Timestamp) -> Option<Delay> {
    let waited = now.since(accepted_at);
    let doubled = (1..=MOST).take_while(|doubled| estimate(doubled - 1) <= waited).last()?;
    Some(Delay { expected_at: accepted_at.plus(estimate(doubled)), doubled })
}

/// When the next thing is to be told of it.
pub fn told_next(accepted_at: Timestamp, now: Timestamp) -> Timestamp {
    delay(accepted_at, now).map_or(accepted_at.plus(PATIENCE), |delay| delay.expected_at)
}

fn estimate(doubled: u32) -> Duration {
    PATIENCE.saturating_mul(1 << doubled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_told_after_five_seconds_and_whenever_the_estimate_has_doubled() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let told: Vec<_> = (0..=100).filter_map(|now| Some((now, delay(at(0), at(now))?))).collect();
        let mut changes = told.clone();
        changes.dedup_by_key(|(_, delay)| *delay);
        let changes: Vec<_> = changes.iter().map(|(now, delay)| (*now, delay.expected_at.as_secs())).collect();
        assert_eq!(changes, [(5, 10), (10, 20), (20, 40), (40, 80), (80, 160)]);
    }

    proptest! {
        #[test]
        fn what_is_expected_lies_ahead_and_is_told_on_time(accepted in 0_i64..1_000_000, waited in 0_i64..100_000_000) {
            let (accepted, now) = (Timestamp::from_millis(accepted), Timestamp::from_millis(accepted + waited));
            let next = told_next(accepted, now);
            prop_assert!(next > now);
            prop_assert_ne!(delay(accepted, next), delay(accepted, now));
            if let Some(delay) = delay(accepted, now) {
                prop_assert_eq!(delay.expected_at, next);
            }
        }
    }
}
