//! Durations, and what is said of them.

use std::time::Duration;

/// Durations in the order they came.
#[derive(Debug, Default, Clone)]
pub struct Histogram(Vec<Duration>);

impl Histogram {
    /// One more.
    pub fn add(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    /// All of another's.
    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest duration that `share` (0 to 1) of all do not exceed (nearest rank); zero where there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank"
        )]
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
    }

    /// The quantiles that the figures are about.
    pub fn summary(&self) -> String {
        let at = |share| millis(self.quantile(share));
        format!("p50 {} p95 {} p99 {} max {} ms (n={})", at(0.5), at(0.95), at(0.99), at(1.0), self.len())
    }
}

/// Milliseconds with two places.
pub fn millis(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1000.0)
}
