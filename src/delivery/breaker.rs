//! A breaker per frontend: a receiver that only fails is left alone for a while, then tried with one callback.
//!
//! Pure: time comes in. What a breaker holds back spends no attempt.

use std::time::Duration;

use crate::domain::Timestamp;

/// Failures in a row that open it.
const OPENS_AFTER: u32 = 20;
/// The first pause; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whether callbacks may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Any number.
    Closed,
    /// None before this time.
    Open(Timestamp),
    /// One, to find out.
    HalfOpen,
}

/// The breaker of one frontend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breaker {
    failures: u32,
    pauses: u32,
    until: Option<Timestamp>,
}

impl Breaker {
    /// Whether callbacks may go.
    pub fn state(&self, now: Timestamp) -> State {
        match self.until {
            None => State::Closed,
            Some(until) if now < until => State::Open(until),
            Some(_) => State::HalfOpen,
        }
    }

    /// The receiver answered as it should. Returns whether that closed the breaker.
    pub fn succeeded(&mut self) -> bool {
        let was_open = self.until.is_some();
        *self = Self::default();
        was_open
    }

    /// An attempt failed. Returns until when the breaker is open, where this opened it.
    pub fn failed(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.failures = self.failures.saturating_add(1);
        let probing = matches!(self.state(now), State::HalfOpen);
        if self.failures < OPENS_AFTER || (self.until.is_some() && !probing) {
            return None;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.pauses.min(16)).min(LONGEST_PAUSE);
        self.pauses = self.pauses.saturating_add(1);
        self.until = Some(now.plus(pause));
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn opens_after_failures_in_a_row_and_closes_on_a_success() {
        let mut breaker = Breaker::default();
        for _ in 1..OPENS_AFTER {
            assert_eq!(breaker.failed(seconds(0)), None);
        }
        assert_eq!(breaker.state(seconds(0)), State::Closed);
        let until = breaker.failed(seconds(0)).expect("opens");
        assert_eq!(breaker.state(seconds(0)), State::Open(until));
        assert_eq!(breaker.state(until), State::HalfOpen);
        assert!(breaker.succeeded());
        assert_eq!(breaker.state(seconds(0)), State::Closed);
    }

    #[test]
    fn a_failed_probe_doubles_the_pause_up_to_a_minute() {
        let mut breaker = Breaker::default();
        for _ in 0..OPENS_AFTER {
            breaker.failed(seconds(0));
        }
        let mut last = Duration::ZERO;
        for _ in 0..10 {
            let State::Open(until) = breaker.state(seconds(0)).max_open() else { panic!("not open") };
            let next = breaker.failed(until).expect("a failed probe opens it again");
            last = next.since(until);
            breaker.until = Some(seconds(0).plus(last));
        }
        assert_eq!(last, LONGEST_PAUSE);
    }

    impl State {
        fn max_open(self) -> Self {
            self
        }
    }

    #[test]
    fn what_was_under_way_when_it_opened_does_not_prolong_the_pause() {
        let mut breaker = Breaker::default();
        for _ in 0..OPENS_AFTER {
            breaker.failed(seconds(0));
        }
        let before = breaker.state(seconds(1));
        assert_eq!(breaker.failed(seconds(1)), None);
        assert_eq!(breaker.state(seconds(1)), before);
    }
}
