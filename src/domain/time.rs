//! Points in time, and the two clocks.
//!
//! A wall clock can be set, by people and by time servers, and by hours. So whatever *waits* (leases, the budget, retries,
//! windows, ends of watches, retention) goes by a steady [`Clock`], which moves as real time does and never goes back; only
//! what the *world judges* (signatures, tokens, time stamps that people read) goes by the [`WallClock`]. The types differ, so
//! that neither is taken for the other.

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
    /// The epoch: earlier than anything the bridge deals with.
    pub const ZERO: Self = Self(0);
    /// Later than anything the bridge deals with.
    pub const MAX: Self = Self(i64::MAX);

    /// From epoch milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// As epoch milliseconds.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// As whole epoch seconds, rounded down (the unit of webhook timestamps and JWT claims).
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// This much earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// The time from `earlier` to this; zero where `earlier` is in fact later.
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

/// The steady clock: all that waits goes by it. It shows about the time of day, but moves with real time alone: setting a
/// machine's clock moves nothing.
pub trait Clock: Send + Sync {
    /// The present time. Never earlier than what it said before.
    fn now(&self) -> Timestamp;
}

/// A time as the machine's wall clock shows it: for signatures, tokens, and what people read. Nothing waits for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct WallTime(Timestamp);

impl WallTime {
    /// From epoch milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(Timestamp::from_millis(millis))
    }

    /// As epoch milliseconds.
    pub const fn as_millis(self) -> i64 {
        self.0.as_millis()
    }

    /// As whole epoch seconds, rounded down (the unit of webhook timestamps and JWT claims).
    pub const fn as_secs(self) -> i64 {
        self.0.as_secs()
    }

    /// As a point in time like any other: to compare it with another clock's, or to show it beside other people's times.
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
    /// What it shows now.
    fn now(&self) -> WallTime;

    /// How long the machine has been up, where that can be told: what no setting of its clock changes.
    fn uptime(&self) -> Option<Uptime> {
        None
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// An operator should know of clocks that lie so far apart: signatures and tokens are judged by them.
pub const FAR_OFF: Duration = Duration::from_secs(5);

/// By how much this machine's wall clock is ahead of others, in milliseconds; `None` where nobody knows, or there is no such clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockOffsets {
    /// Of Fini's, as the `Date` of its answers tells.
    pub fini: Option<i64>,
    /// Of the PostgreSQL server's.
    pub postgres: Option<i64>,
}

impl ClockOffsets {
    /// Whether one of them is so far off that somebody should know.
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
