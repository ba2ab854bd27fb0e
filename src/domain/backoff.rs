//! Pauses that grow with each failure in a row: doubled up to a cap, and spread by chance, so that what failed together does
//! not come back together. Pure: chance comes in as a number.

use std::time::Duration;

/// A pause that doubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The delay after the first failure, before jitter.
    pub first: Duration,
    /// The longest delay.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), cap: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// Returns the delay after `failures` in a row (from 1), for a `jitter` in `0.0..1.0`: half to all of the doubled delay.
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.cap);
        full / 2 + (full / 2).mul_f64(jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_from_the_first_delay_up_to_the_cap() {
        let backoff = Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(5) };
        let secs: Vec<u64> = (1..=5).map(|n| backoff.delay(n, 1.0).as_secs()).collect();
        assert_eq!(secs, [1, 2, 4, 5, 5]);
    }

    proptest! {
        #[test]
        fn stays_between_half_and_all_of_the_cap_for_any_count(failures in 1u32.., jitter in 0.0f64..1.0) {
            let backoff = Backoff::default();
            let delay = backoff.delay(failures, jitter);
            prop_assert!(delay >= backoff.first / 2 && delay <= backoff.cap);
        }
    }
}
