//! Durations in buckets that never change: histograms of any two periods add up.
//!
//! The upper bounds are the preferred numbers of the series R20 (1, 1.12, 1.25, 1.4 … 9), from a tenth of a second to 90
//! days: two neighbours lie 15 % apart at most. A quantile is reported as the upper bound of its bucket: never less than it
//! was.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// R20 in milliseconds, from 100 on.
const SERIES: [u64; 20] =
    [100, 112, 125, 140, 160, 180, 200, 224, 250, 280, 315, 355, 400, 450, 500, 560, 630, 710, 800, 900];
/// The last bucket; it also holds all longer durations.
const LAST: u8 = 159;

/// Counts by bucket; empty ones are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram(BTreeMap<u8, u64>);

impl Histogram {
    /// Counts one duration.
    pub fn count(&mut self, took: Duration) {
        let bucket = (0..LAST).find(|bucket| took <= bound(*bucket)).unwrap_or(LAST);
        *self.0.entry(bucket).or_default() += 1;
    }

    /// Adds the counts of another one.
    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            let sum = self.0.entry(*bucket).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// Returns the number of durations counted.
    pub fn total(&self) -> u64 {
        self.0.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns the duration that `percent` percent of them (1 to 100) did not exceed; `None` if nothing was counted.
    pub fn quantile(&self, percent: u64) -> Option<Duration> {
        // The rank, counted from 1, rounded up.
        let rank = self.total().saturating_mul(percent).div_ceil(100);
        let mut passed = 0_u64;
        let mut buckets = self.0.iter();
        buckets
            .find(|(_, count)| {
                passed = passed.saturating_add(**count);
                passed >= rank
            })
            .map(|(bucket, _)| bound(*bucket))
    }
}

/// Returns the upper bound of a bucket, itself included.
fn bound(bucket: u8) -> Duration {
    let (decade, step) = (u32::from(bucket.min(LAST)) / 20, usize::from(bucket.min(LAST)) % 20);
    Duration::from_millis(SERIES[step] * 10_u64.pow(decade))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        for millis in millis {
            histogram.count(Duration::from_millis(millis));
        }
        histogram
    }

    #[test]
    fn neighbouring_bounds_lie_close_together() {
        let bounds: Vec<u128> = (0..=LAST).map(|bucket| bound(bucket).as_millis()).collect();
        assert!(bounds.windows(2).all(|pair| pair[0] < pair[1] && pair[1] * 100 <= pair[0] * 115), "{bounds:?}");
        assert_eq!((bounds[0], bounds[159]), (100, 9_000_000_000));
    }

    #[test]
    fn a_quantile_is_the_bound_of_the_bucket_that_it_lies_in() {
        let millis = |histogram: &Histogram, percent| histogram.quantile(percent).map(|told| told.as_millis());
        assert_eq!(millis(&of([]), 50), None);
        assert_eq!(millis(&of([0]), 50), Some(100));
        assert_eq!(millis(&of([2_300]), 95), Some(2_500));
        assert_eq!(millis(&of([1_000, 2_000]), 50), Some(1_000), "the lower one of two");
        let hundred = of((1..=100).map(|second| second * 1000));
        assert_eq!((millis(&hundred, 50), millis(&hundred, 95)), (Some(50_000), Some(100_000)));
        assert_eq!(millis(&of([u64::MAX]), 50), Some(9_000_000_000));
    }

    #[test]
    fn histograms_add_up() {
        let mut one = of([100, 5_000]);
        one.add(&of([5_000, 900_000]));
        assert_eq!(one, of([100, 5_000, 5_000, 900_000]));
        assert_eq!(one.total(), 4);
        let text = serde_json::to_string(&one).expect("JSON");
        assert_eq!(serde_json::from_str::<Histogram>(&text).expect("reads"), one);
    }
}
