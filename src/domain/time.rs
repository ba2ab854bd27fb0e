//! Points in time, and the two clocks.
//!
//! A wall clock can be set, by people and by time servers, and by hours. So everything that *waits* (leases, the budget,
//! retries, windows, ends of watches, retention) uses a steady [`Clock`], which moves as real time does and never goes back;
//! only what the *world judges* (signatures, tokens, time stamps that people read) uses the [`WallClock`]. The types differ,
//! so that neither is taken for the other.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::steady::Uptime;

/// A point in time in milliseconds since the Unix epoch, the unit Fini and both stores use.
///
/// Arithmetic saturates: a configured duration can never overflow into the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The epoch: earlier than any time that the bridge handles.
    pub const ZERO: Self = Self(0);
    /// Later than any time that the bridge handles.
    pub const MAX: Self = Self(i64::MAX);

    /// Creates it from epoch milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns epoch milliseconds.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns whole epoch seconds, rounded down (the unit of webhook timestamps and JWT claims).
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns the time this much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// Returns the time this much earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// Returns the time from `earlier` to this; zero if `earlier` is in fact later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// RFC 3339 in UTC with milliseconds, as every body and log line of the bridge shows time.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// The steady clock, which all waiting uses. It shows about the time of day, but moves with real time alone: setting a
/// machine's clock moves nothing.
pub trait Clock: Send + Sync {
    /// Returns the present time, never earlier than before.
    fn now(&self) -> Timestamp;
}

/// A time of the machine's wall clock: for signatures, tokens, and what people read. Nothing waits for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct WallTime(Timestamp);

impl WallTime {
    /// Creates it from epoch milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(Timestamp::from_millis(millis))
    }

    /// Returns epoch milliseconds.
    pub const fn as_millis(self) -> i64 {
        self.0.as_millis()
    }

    /// Returns whole epoch seconds, rounded down (the unit of webhook timestamps and JWT claims).
    pub const fn as_secs(self) -> i64 {
        self.0.as_secs()
    }

    /// Returns it as a point in time like any other: to compare it with another clock's, or to show it beside other times.
    pub const fn point(self) -> Timestamp {
        self.0
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The machine's wall clock. It may step, in either direction and by any amount.
pub trait WallClock: Send + Sync {
    /// Returns the time that it shows now.
    fn now(&self) -> WallTime;

    /// Returns the machine's uptime, if that can be told: no setting of its clock changes it.
    fn uptime(&self) -> Option<Uptime> {
        None
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Clock difference of which an operator should know: signatures and tokens are judged by the clock.
pub const FAR_OFF: Duration = Duration::from_secs(5);

/// Milliseconds by which this machine's wall clock is ahead of others; `None` if unknown, or if there is no such clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockOffsets {
    /// Ahead of Fini's, by the `Date` of its answers.
    pub fini: Option<i64>,
    /// Ahead of the PostgreSQL server's.
    pub postgres: Option<i64>,
}

impl ClockOffsets {
    /// Returns true if one of them is so far off that an operator should know.
    pub fn are_far_off(&self) -> bool {
        [self.fini, self.postgres].into_iter().flatten().any(|by| u128::from(by.unsigned_abs()) >= FAR_OFF.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shown_as_rfc_3339_with_milliseconds() {
        assert_eq!(Timestamp::from_millis(1_749_640_953_007).to_string(), "2025-06-11T11:22:33.007Z");
    }

    #[test]
    fn never_overflows() {
        assert_eq!(Timestamp::MAX.plus(Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(Timestamp::ZERO.since(Timestamp::MAX), Duration::ZERO);
    }
}
