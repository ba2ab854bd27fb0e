//! Decides when a customer's message counts as delayed, and when its answer is then expected. Pure.
//!
//! As long as a message waits to be sent, its delay is estimated from budget and backlog ([`wait`](super::wait)). Once
//! Fini has it nobody knows, and the estimate is the simplest that keeps its word: an answer that has not come within it
//! is expected after twice as long. A customer is told after 5 s, and again each time the estimate has doubled, seldom
//! enough for the longest wait.

use std::time::Duration;

use super::Timestamp;

/// An answer that comes within this is not late.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// A message that waits to be sent is estimated anew this often.
const RECKONED_EVERY: Duration = Duration::from_secs(5);
/// Most doublings of the guess: far beyond any wait.
const MOST: u32 = 20;

/// The report on a message whose answer is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// Time at which the answer is expected.
    pub expected_at: Timestamp,
    /// Time from the message's acceptance until then; reported again when it has doubled.
    pub estimate: Duration,
}

/// Returns what is to be reported at `now`; `None` if there is nothing new. `told` is the last reported estimate;
/// `reckoned` is the time at which the answer is expected, as far as that is known.
pub fn delay(
    accepted_at: Timestamp,
    now: Timestamp,
    told: Option<Duration>,
    reckoned: Option<Timestamp>,
) -> Option<Delay> {
    let waited = now.since(accepted_at);
    if waited < PATIENCE {
        return None;
    }
    let estimate = match reckoned.filter(|at| *at > now) {
        Some(at) => at.since(accepted_at),
        None => guess(waited),
    };
    let is_new = told.is_none_or(|told| estimate >= told.saturating_mul(2));
    is_new.then(|| Delay { expected_at: accepted_at.plus(estimate), estimate })
}

/// Returns when there may be something to report next; `waits` says whether the message waits to be sent.
pub fn told_next(accepted_at: Timestamp, now: Timestamp, waits: bool) -> Timestamp {
    let waited = now.since(accepted_at);
    if waited < PATIENCE {
        return accepted_at.plus(PATIENCE);
    }
    let guessed = accepted_at.plus(guess(waited));
    if waits { guessed.min(now.plus(RECKONED_EVERY)) } else { guessed }
}

/// Returns the first of 5 s, 10 s, 20 s … that lies ahead.
fn guess(waited: Duration) -> Duration {
    let after = |doubled: u32| PATIENCE.saturating_mul(1 << doubled);
    after((0..MOST).find(|doubled| after(*doubled) > waited).unwrap_or(MOST))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// Returns the reports, second by second, on a message whose answer never comes.
    fn told(reckoned: impl Fn(i64) -> Option<i64>) -> Vec<(i64, i64)> {
        let mut told = None;
        (0..=100)
            .filter_map(|now| {
                let delay = delay(at(0), at(now), told, reckoned(now).map(at))?;
                told = Some(delay.estimate);
                Some((now, delay.expected_at.as_secs()))
            })
            .collect()
    }

    #[test]
    fn it_is_told_after_five_seconds_and_whenever_the_estimate_has_doubled() {
        assert_eq!(told(|_| None), [(5, 10), (10, 20), (20, 40), (40, 80), (80, 160)]);
    }

    #[test]
    fn what_is_known_of_the_wait_is_told_instead_of_a_guess() {
        // Expected at 35 until it is sent there; then the guess counts, from twice as long on.
        assert_eq!(told(|now| (now < 35).then_some(35)), [(5, 35), (40, 80), (80, 160)]);
        // Others come before it: reported when that has made the wait twice as long.
        assert_eq!(told(|now| Some(30 + now)), [(5, 35), (40, 70)]);
    }

    proptest! {
        #[test]
        fn what_is_expected_lies_ahead_and_is_told_on_time(
            accepted in 0_i64..1_000_000, waited in 0_i64..100_000_000, reckoned in prop::option::of(0_i64..200_000_000),
            told in prop::option::of(5_000_u64..1_000_000), waits in any::<bool>(),
        ) {
            let (accepted, now) = (Timestamp::from_millis(accepted), Timestamp::from_millis(accepted + waited));
            prop_assert!(told_next(accepted, now, waits) > now);
            let told = told.map(Duration::from_millis);
            if let Some(delay) = delay(accepted, now, told, reckoned.map(|at| accepted.plus(Duration::from_millis(at.unsigned_abs())))) {
                prop_assert!(delay.expected_at > now);
                prop_assert_eq!(accepted.plus(delay.estimate), delay.expected_at);
                prop_assert!(told.is_none_or(|told| delay.estimate >= told * 2));
            }
        }
    }
}
