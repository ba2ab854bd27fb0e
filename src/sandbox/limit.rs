//! The vendor's global throttle, over a rolling window. Pure.

use std::collections::VecDeque;

use super::settings::RateLimit;

/// Arrival times that still count.
#[derive(Default)]
pub struct Window {
    arrivals: VecDeque<i64>,
}

impl Window {
    /// Returns true if a request that arrives at `now` is let in.
    pub fn admit(&mut self, limit: &RateLimit, now: i64) -> bool {
        let window = i64::try_from(limit.window_ms).unwrap_or(i64::MAX);
        while self.arrivals.front().is_some_and(|&arrival| arrival.saturating_add(window) <= now) {
            self.arrivals.pop_front();
        }
        let admitted = self.arrivals.len() < limit.requests;
        if admitted || limit.count_refused {
            self.arrivals.push_back(now);
        }
        // Only the newest `requests` arrivals can ever decide, so a caller that hammers does not fill the memory.
        while self.arrivals.len() > limit.requests {
            self.arrivals.pop_front();
        }
        admitted
    }

    /// Forgets all arrivals.
    pub fn clear(&mut self) {
        self.arrivals.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit { requests: 2, window_ms: 100, count_refused: false, retry_after_s: None };

    #[test]
    fn a_place_comes_free_when_its_arrival_leaves_the_window() {
        let mut window = Window::default();
        let admitted: Vec<bool> = [0, 50, 99, 100, 149, 150].into_iter().map(|now| window.admit(&LIMIT, now)).collect();
        assert_eq!(admitted, [true, true, false, true, false, true]);
    }

    #[test]
    fn refused_requests_can_count_as_well() {
        let limit = RateLimit { count_refused: true, ..LIMIT };
        let mut window = Window::default();
        let admitted: Vec<bool> = [0, 10, 99, 105, 198, 300].into_iter().map(|now| window.admit(&limit, now)).collect();
        assert_eq!(admitted, [true, true, false, false, false, true]);
    }
}
