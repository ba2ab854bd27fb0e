//! Learns Fini's delays and the offset of its clock from what is read. Pure.

use std::{collections::VecDeque, time::Duration};

use crate::domain::Timestamp;

/// After so long without another sample, a peak counts half.
const HALVES_EVERY: Duration = Duration::from_mins(1);
/// No sample counts more: what is later than this is an outage, not a lag.
const MOST: Duration = Duration::from_mins(1);

/// The worst that was seen lately: rises at once, fades slowly.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peak(Option<(Duration, Timestamp)>);

impl Peak {
    /// Takes a sample.
    pub fn observe(&mut self, sample: Duration, now: Timestamp) {
        let sample = sample.min(MOST);
        if !sample.is_zero() && sample >= self.at(now) {
            self.0 = Some((sample, now));
        }
    }

    /// Returns what is left of the peak at `now`.
    pub fn at(&self, now: Timestamp) -> Duration {
        let Some((peak, seen_at)) = self.0 else { return Duration::ZERO };
        peak.mul_f64(0.5_f64.powf(now.since(seen_at).as_secs_f64() / HALVES_EVERY.as_secs_f64()))
    }
}

/// Samples kept: one wild value, or a few, do not move their middle.
const SAMPLES: usize = 15;
/// Fewer say nothing.
const ENOUGH: usize = 5;

/// The time by which Fini's clock runs ahead of ours, from the age that events have when they are first seen. An event is
/// never seen before it happens, so an age below zero means a clock that runs ahead.
#[derive(Clone, Debug, Default)]
pub struct Skew(VecDeque<i64>);

impl Skew {
    /// Takes the creation time of an event that is seen for the first time.
    pub fn observe(&mut self, created_at: Timestamp, now: Timestamp) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(now.as_millis().saturating_sub(created_at.as_millis()));
    }

    /// Returns how far Fini's clock runs ahead, roughly; zero if it does not, or while the samples are too few.
    pub fn ahead(&self) -> Duration {
        Duration::from_millis(self.typical_age().map_or(0, |age| u64::try_from(age.saturating_neg()).unwrap_or(0)))
    }

    /// Returns how far Fini's clock runs behind, at most.
    pub fn behind(&self) -> Duration {
        Duration::from_millis(self.typical_age().map_or(0, |age| u64::try_from(age).unwrap_or(0)))
    }

    fn typical_age(&self) -> Option<i64> {
        let mut ages: Vec<i64> = self.0.iter().copied().collect();
        ages.sort_unstable();
        (ages.len() >= ENOUGH).then(|| ages[ages.len() / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn a_peak_rises_at_once_and_fades() {
        let mut peak = Peak::default();
        assert_eq!(peak.at(at(0)), Duration::ZERO);
        peak.observe(Duration::from_secs(8), at(0));
        peak.observe(Duration::from_secs(2), at(1));
        assert_eq!(peak.at(at(60)), Duration::from_secs(4));
        peak.observe(Duration::from_secs(5), at(60));
        assert_eq!(peak.at(at(60)), Duration::from_secs(5));
        peak.observe(Duration::from_hours(9), at(61));
        assert_eq!(peak.at(at(61)), MOST);
    }

    #[test]
    fn one_wild_time_does_not_move_the_clock_but_a_clock_that_is_ahead_shows() {
        let mut skew = Skew::default();
        for secs in 0..10 {
            skew.observe(at(secs - 1), at(secs));
        }
        skew.observe(at(4_000_000_000), at(11));
        assert_eq!((skew.ahead(), skew.behind()), (Duration::ZERO, Duration::from_secs(1)));
        for secs in 20..40 {
            skew.observe(at(secs + 600), at(secs));
        }
        assert_eq!((skew.ahead(), skew.behind()), (Duration::from_secs(600), Duration::ZERO));
    }
}
