//! The circuit breaker: one mechanism for Fini and for receivers of callbacks.
//!
//! Closed, it lets everything pass. Failures in a row open it for a reason and until a time; after that it is half-open, and
//! one request goes to find out. Its success closes the breaker, its failure opens it for longer.
//!
//! Pure: time and chance come in. Invariant: a request that began before the breaker opened neither closes it nor prolongs its
//! pause, since what it met is what opened the breaker.

use std::time::Duration;

use super::{Timestamp, backoff::Backoff};

/// The rule by which a breaker opens, and its pauses.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Failures in a row that open it.
    pub opens_after: u32,
    /// The pauses, by how often it opened without a success in between.
    pub pauses: Backoff,
}

/// The state of a breaker at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<R> {
    /// Any number of requests may go.
    Closed,
    /// None before that time.
    Open {
        /// The reason.
        reason: R,
        /// End of the pause.
        until: Timestamp,
    },
    /// One may go, to find out.
    HalfOpen {
        /// The reason why it was open.
        reason: R,
    },
}

impl<R: Copy> State<R> {
    /// Returns the time before which nothing goes, while it is open.
    pub const fn open_until(&self) -> Option<Timestamp> {
        match self {
            Self::Open { until, .. } => Some(*until),
            Self::Closed | Self::HalfOpen { .. } => None,
        }
    }

    /// Returns the name shown to operators.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half-open",
        }
    }
}

/// A circuit breaker that opens for reasons `R`.
#[derive(Clone, Copy, Debug)]
pub struct Breaker<R> {
    policy: Policy,
    failures: u32,
    pauses: u32,
    open: Option<Opened<R>>,
}

#[derive(Clone, Copy, Debug)]
struct Opened<R> {
    reason: R,
    /// Time at which it first opened since the last success.
    since: Timestamp,
    /// Time at which it last opened.
    at: Timestamp,
    until: Timestamp,
}

impl<R: Copy + PartialEq> Breaker<R> {
    /// Creates a closed breaker.
    pub const fn new(policy: Policy) -> Self {
        Self { policy, failures: 0, pauses: 0, open: None }
    }

    /// Returns the state at `now`.
    pub fn state(&self, now: Timestamp) -> State<R> {
        match self.open {
            None => State::Closed,
            Some(Opened { reason, until, .. }) if now < until => State::Open { reason, until },
            Some(Opened { reason, .. }) => State::HalfOpen { reason },
        }
    }

    /// Returns why, and since when, it is not closed; `None` if it is.
    pub fn trouble(&self) -> Option<(R, Timestamp)> {
        self.open.map(|open| (open.reason, open.since))
    }

    /// Returns the past or future end of its pause; `None` if it is closed.
    pub fn until(&self) -> Option<Timestamp> {
        self.open.map(|open| open.until)
    }

    /// Records that a request that began at `began_at` succeeded. Returns the reason if that closed the breaker.
    pub fn succeeded(&mut self, began_at: Timestamp) -> Option<R> {
        if self.is_behind(began_at) {
            return None;
        }
        let closed = self.open.map(|open| open.reason);
        *self = Self::new(self.policy);
        closed
    }

    /// Records that a request that began at `began_at` failed. Returns the end of the pause if that opened the breaker.
    pub fn failed(&mut self, reason: R, began_at: Timestamp, now: Timestamp, jitter: f64) -> Option<Timestamp> {
        if self.is_behind(began_at) {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        let is_enough = self.open.is_some() || self.failures >= self.policy.opens_after;
        is_enough.then(|| self.open(reason, self.next_pause(jitter), now))
    }

    /// Returns the pause for which it would open now.
    pub fn next_pause(&self, jitter: f64) -> Duration {
        self.policy.pauses.delay(self.pauses.saturating_add(1), jitter)
    }

    /// Opens it at once, whatever was counted, for that long. Returns the end of the pause.
    pub fn open(&mut self, reason: R, pause: Duration, now: Timestamp) -> Timestamp {
        self.pauses = self.pauses.saturating_add(1);
        let until = now.plus(pause);
        let since = self.open.map_or(now, |open| open.since);
        self.open = Some(Opened { reason, since, at: now, until });
        until
    }

    /// Records that a request goes to find out: nothing else goes until its end is known, or until `until` at the latest.
    pub fn probe(&mut self, until: Timestamp) {
        if let Some(open) = &mut self.open {
            open.until = until;
        }
    }

    /// Ends the pause: the next request goes to find out.
    pub fn end_pause(&mut self, now: Timestamp) {
        if let Some(open) = &mut self.open {
            open.until = open.until.min(now);
        }
    }

    /// Returns true for a request whose outcome says nothing new: it began before the breaker opened.
    pub fn is_behind(&self, began_at: Timestamp) -> bool {
        self.open.is_some_and(|open| began_at <= open.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy =
        Policy { opens_after: 3, pauses: Backoff { first: Duration::from_secs(2), cap: Duration::from_secs(60) } };

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn opened() -> Breaker<u8> {
        let mut breaker = Breaker::new(POLICY);
        breaker.open(7, Duration::from_secs(2), seconds(10));
        breaker
    }

    #[test]
    fn opens_after_failures_in_a_row_and_closes_on_a_success() {
        let mut breaker = Breaker::new(POLICY);
        for _ in 0..5 {
            assert_eq!(breaker.failed(7, seconds(0), seconds(1), 1.0), None);
            assert_eq!(breaker.failed(7, seconds(0), seconds(1), 1.0), None);
            assert_eq!(breaker.succeeded(seconds(1)), None);
        }
        breaker.failed(7, seconds(0), seconds(1), 1.0);
        breaker.failed(7, seconds(0), seconds(1), 1.0);
        assert_eq!(breaker.failed(7, seconds(0), seconds(1), 1.0), Some(seconds(3)));
        assert_eq!(breaker.state(seconds(2)), State::Open { reason: 7, until: seconds(3) });
        assert_eq!(breaker.state(seconds(3)), State::HalfOpen { reason: 7 });
        assert_eq!(breaker.trouble(), Some((7, seconds(1))));
        assert_eq!(breaker.succeeded(seconds(3)), Some(7));
        assert_eq!(breaker.state(seconds(3)), State::Closed);
    }

    #[test]
    fn a_failed_probe_doubles_the_pause_up_to_the_longest() {
        let mut breaker = opened();
        let mut pauses = Vec::new();
        let mut now = seconds(12);
        for _ in 0..7 {
            let until = breaker.failed(7, now, now, 1.0).expect("a failed probe opens it again");
            pauses.push(until.since(now).as_secs());
            now = until;
        }
        assert_eq!(pauses, [4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(breaker.trouble(), Some((7, seconds(10))), "trouble lasts since it first showed");
    }

    #[test]
    fn a_probe_goes_alone_and_may_be_taken_back() {
        let mut breaker = opened();
        breaker.probe(seconds(60));
        assert!(matches!(breaker.state(seconds(59)), State::Open { .. }));
        breaker.end_pause(seconds(20));
        assert_eq!(breaker.state(seconds(20)), State::HalfOpen { reason: 7 });
        assert_eq!(breaker.open(7, Duration::from_secs(5), seconds(20)), seconds(25));
        assert_eq!(breaker.until(), Some(seconds(25)));
    }

    proptest! {
        #[test]
        fn what_began_before_it_opened_changes_nothing(began in 0_i64..=10, ok in any::<bool>(), now in 10_i64..100) {
            let mut breaker = opened();
            let before = breaker.state(seconds(now));
            if ok {
                prop_assert_eq!(breaker.succeeded(seconds(began)), None);
            } else {
                prop_assert_eq!(breaker.failed(7, seconds(began), seconds(now), 0.5), None);
            }
            prop_assert_eq!(breaker.state(seconds(now)), before);
        }

        #[test]
        fn every_pause_ends_and_a_success_after_it_closes(outcomes in prop::collection::vec(any::<bool>(), 0..60)) {
            let mut breaker = Breaker::new(POLICY);
            let mut now = seconds(0);
            for ok in outcomes {
                if let State::Open { until, .. } = breaker.state(now) {
                    prop_assert!(until.since(now) <= POLICY.pauses.cap);
                    now = until;
                }
                now = now.plus(Duration::from_millis(1));
                if ok {
                    breaker.succeeded(now);
                    prop_assert_eq!(breaker.state(now), State::Closed);
                } else {
                    breaker.failed(7, now, now, 0.3);
                }
            }
        }
    }
}
