//! When not to ask Fini: a key that is refused, a limit that is exceeded, a service that is down.
//!
//! A gate per key (write for sends, read for the rest) closes on trouble, and opens for one probe at a time when its pause
//! is over; the first success opens it wholly. What waits before a closed gate stays where it is: queued and durable.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    domain::{Clock, Entropy, Timestamp},
    fini::{Failure, budget::Budget},
};

/// Failures in a row after which Fini counts as down.
const BREAKS_AFTER: u32 = 5;

/// Whose key it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Generate Answer and deletions.
    Write,
    /// Everything else.
    Read,
}

impl Side {
    /// The name shown in readiness and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// Why a gate is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// 401 or 403: the key is not accepted.
    KeyRefused(u16),
    /// 429: over the limit.
    Throttled,
    /// Fini cannot be reached, or only fails.
    Down,
}

/// Whether a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Any number.
    Open,
    /// One, to find out.
    Probe,
    /// None before this time.
    Closed(Timestamp),
}

#[derive(Debug, Default)]
struct Door {
    trouble: Option<Trouble>,
    /// When it began.
    troubled_since: Option<Timestamp>,
    /// When it showed last.
    closed_at: Option<Timestamp>,
    closed_until: Option<Timestamp>,
    failures: u32,
    pauses: u32,
    accepted: bool,
}

impl Door {
    /// Whether a request that was let pass at that time says nothing about the trouble any more: that was before it showed.
    fn is_behind(&self, passed_at: Timestamp) -> bool {
        self.trouble.is_some() && self.closed_at.is_some_and(|closed_at| passed_at <= closed_at)
    }
}

/// The gates.
pub struct Gate {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    budget: Arc<Budget>,
    doors: Mutex<[Door; 2]>,
}

impl Gate {
    /// Open gates.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, budget: Arc<Budget>) -> Self {
        Self { clock, entropy, budget, doors: Mutex::default() }
    }

    /// Whether requests may go now. A probe counts as under way for a while, so that only one goes.
    pub fn pass(&self, side: Side) -> Pass {
        let now = self.clock.now();
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let door = &mut doors[side as usize];
        match (door.trouble, door.closed_until) {
            (Some(_), Some(until)) if now < until => Pass::Closed(until),
            (Some(_), _) => Pass::Probe,
            (None, _) => Pass::Open,
        }
    }

    /// A probe goes now: nothing else until it comes back, or for `patience` at most.
    pub fn probing(&self, side: Side, patience: Duration) {
        let until = self.clock.now().plus(patience);
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)[side as usize].closed_until = Some(until);
    }

    /// The probe was not needed after all: nothing was there to send.
    pub fn not_probed(&self, side: Side) {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)[side as usize].closed_until = None;
    }

    /// What is the trouble, if any.
    pub fn trouble(&self, side: Side) -> Option<Trouble> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)[side as usize].trouble
    }

    /// Since when there is trouble, if any.
    pub fn troubled_since(&self, side: Side) -> Option<Timestamp> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)[side as usize].troubled_since
    }

    /// Whether Fini has accepted this key at least once since the start.
    pub fn was_accepted(&self, side: Side) -> bool {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)[side as usize].accepted
    }

    /// Learns from the end of a request that was let pass at that time. Returns when the next request of this side may go,
    /// where the gate closed.
    ///
    /// What was under way together when trouble showed neither opens the gate by its success nor counts as more trouble.
    pub fn learn<T>(&self, side: Side, passed_at: Timestamp, result: &Result<T, Failure>) -> Option<Timestamp> {
        let jitter = self.entropy.fraction();
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: whoever is let pass later than this moment has seen the gate closed.
        let now = self.clock.now();
        let door = &mut doors[side as usize];
        let failure = match result {
            Err(Failure::Rejected { .. } | Failure::Missing { .. }) | Ok(_) if door.is_behind(passed_at) => {
                return None;
            }
            Err(Failure::Rejected { .. } | Failure::Missing { .. }) | Ok(_) => {
                if let Some(trouble) = door.trouble {
                    tracing::info!(side = side.as_str(), trouble = ?trouble, "Fini answers again");
                }
                *door = Door { accepted: true, ..Door::default() };
                return None;
            }
            Err(failure) => failure,
        };
        let (trouble, pause) = match failure {
            Failure::Unauthorised { status, .. } => {
                door.accepted = false;
                (Trouble::KeyRefused(*status), backoff(Duration::from_secs(2), Duration::from_secs(60), door.pauses))
            }
            Failure::Throttled { retry_after, .. } => {
                self.budget.shrink();
                let own = backoff(Duration::from_secs(5), Duration::from_secs(60), door.pauses);
                (
                    Trouble::Throttled,
                    retry_after.map_or(own, |asked| asked.clamp(Duration::from_secs(1), Duration::from_secs(300))),
                )
            }
            _ => {
                door.failures += 1;
                if door.failures < BREAKS_AFTER {
                    return None;
                }
                (Trouble::Down, backoff(Duration::from_secs(1), Duration::from_secs(30), door.pauses))
            }
        };
        if door.trouble == Some(trouble) && door.is_behind(passed_at) {
            return door.closed_until;
        }
        if door.trouble != Some(trouble) {
            tracing::warn!(side = side.as_str(), trouble = ?trouble, error = %failure, "Fini is left alone for a while");
        }
        let until = now.plus(pause + pause.mul_f64(jitter * 0.25));
        door.trouble = Some(trouble);
        door.troubled_since = door.troubled_since.or(Some(now));
        door.pauses += 1;
        door.closed_at = Some(now);
        door.closed_until = Some(until);
        if trouble == Trouble::Throttled {
            // The limit is global as far as anyone knows: both sides step back.
            for door in doors.iter_mut() {
                door.trouble = Some(door.trouble.unwrap_or(Trouble::Throttled));
                door.troubled_since = door.troubled_since.or(Some(now));
                door.closed_at = door.closed_at.max(Some(now));
                door.closed_until = door.closed_until.max(Some(until));
            }
        }
        Some(until)
    }
}

fn backoff(first: Duration, cap: Duration, pauses: u32) -> Duration {
    first.saturating_mul(1 << pauses.min(16)).min(cap)
}
