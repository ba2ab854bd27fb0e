//! Fini's clock, as far as its answers tell: the `Date` of each gives the time there.
//!
//! Requests to Fini by time (`since`), and comparisons between its times and ours, use this difference: neither clock need
//! be right.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use super::Timestamp;

/// Samples kept: one wild date, or a few, do not move their middle.
const SAMPLES: usize = 9;
/// A `Date` has whole seconds, cut off: on average it is half a second old.
const CUT_OFF_MS: i64 = 500;

/// The time by which Fini's clock is ahead of the steady one.
#[derive(Debug, Default)]
pub struct VendorClock(Mutex<VecDeque<i64>>);

impl VendorClock {
    /// Records that an answer that was heard at `heard_at` named this date.
    pub fn observe(&self, date: Timestamp, heard_at: Timestamp) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        let date = date.as_millis().saturating_add(CUT_OFF_MS);
        samples.push_back(date.saturating_sub(heard_at.as_millis()));
    }

    /// Returns the milliseconds by which it is ahead; negative if it is behind, `None` if no answer told.
    pub fn ahead_ms(&self) -> Option<i64> {
        let mut samples: Vec<i64> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        samples.sort_unstable();
        samples.get(samples.len() / 2).copied()
    }

    /// Returns the time on Fini's clock when the steady one showed `at`; the same while that is unknown.
    pub fn at(&self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.as_millis().saturating_add(self.ahead_ms().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn is_the_same_until_an_answer_tells() {
        let clock = VendorClock::default();
        assert_eq!((clock.ahead_ms(), clock.at(at(7))), (None, at(7)));
        clock.observe(at(1_000), at(2_200));
        assert_eq!(clock.ahead_ms(), Some(-1_199_500));
        assert_eq!(clock.at(at(2_200)), Timestamp::from_millis(1_000_500));
    }

    #[test]
    fn one_wild_date_moves_nothing_and_a_clock_that_was_set_is_believed_soon() {
        let clock = VendorClock::default();
        for secs in 0..9 {
            clock.observe(at(secs), at(secs));
        }
        clock.observe(at(4_000_000), at(9));
        assert_eq!(clock.ahead_ms(), Some(CUT_OFF_MS));
        for secs in 10..15 {
            clock.observe(at(secs - 3_600), at(secs));
        }
        assert_eq!(clock.ahead_ms(), Some(CUT_OFF_MS - 3_600_000));
    }
}
