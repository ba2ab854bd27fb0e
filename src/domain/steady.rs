//! Sets the steady clock: at the start, and by what its processes agree on. Pure.
//!
//! Every process moves its clock by its own monotonic timer. This module decides where the clock begins (so that what waited
//! before a stop goes on waiting, whatever the wall clock says afterwards), and, if several processes share a database,
//! what a difference between a process's own clock and the shared one means: the server's clock was set, or the process
//! stood still.
//!
//! Invariant: a clock that was set, back or forward, never moves the steady time of a process that runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Differences up to this are normal for clocks and answers.
const TOLERANCE: Duration = Duration::from_millis(250);
/// A shared clock that is ahead is not followed at once: it may have been set, or this process may have stood still. This
/// long the process waits for another one to say which.
pub const DOUBT: Duration = Duration::from_secs(15);
/// An agreement older than this is from a time when no process ran.
const FRESH: Duration = Duration::from_secs(30);

/// The time since the machine's boot, which nobody can set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    /// The id of the boot.
    pub boot: String,
    /// Milliseconds since the boot, the time in which the machine slept included.
    pub millis: i64,
}

/// The note that a process last wrote: which steady time belonged to which time of another clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// Time on the other clock: the database server's where processes share one, else this machine's.
    pub clock_at: Timestamp,
    /// Time on the steady clock.
    pub steady_at: Timestamp,
    /// The process that wrote it.
    pub by: String,
    /// The machine's uptime then, where it counts: in an embedded store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<Uptime>,
}

impl Agreed {
    /// Returns the steady time that belongs to a later time of the same clock.
    pub fn steady(&self, clock_now: Timestamp) -> Timestamp {
        let moved = clock_now.as_millis().saturating_sub(self.clock_at.as_millis());
        Timestamp::from_millis(self.steady_at.as_millis().saturating_add(moved))
    }

    fn is_fresh(&self, clock_now: Timestamp) -> bool {
        clock_now >= self.clock_at && clock_now.since(self.clock_at) <= FRESH
    }
}

/// Returns the start of a process's steady clock: `clock_now` is the other clock's present, `uptime` the machine's.
///
/// Since the last note the steady time moved as the machine's uptime did, if that can be told. Else it is what the processes
/// agreed on that use a shared clock at present; otherwise the other clock's time, never earlier than the note's.
pub fn begin(clock_now: Timestamp, uptime: Option<&Uptime>, shared: bool, agreed: Option<&Agreed>) -> Timestamp {
    let Some(agreed) = agreed else { return clock_now };
    let ran =
        agreed.uptime.as_ref().zip(uptime).filter(|(then, now)| then.boot == now.boot && now.millis >= then.millis);
    if let Some((then, now)) = ran {
        let ran = Duration::from_millis(u64::try_from(now.millis - then.millis).unwrap_or(0));
        return agreed.steady_at.plus(ran);
    }
    if shared && agreed.is_fresh(clock_now) {
        return agreed.steady(clock_now);
    }
    clock_now.max(agreed.steady_at)
}

/// The verdict on a difference between a process's own steady time and the shared one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// No difference to speak of, or this process stood still: it follows the shared time.
    Follow,
    /// The shared clock was set: the agreement changes, the steady time does not.
    WasSet,
    /// Not known yet: the process's own timer carries on.
    Doubtful,
}

/// Judges the difference. `confirmed`: another process wrote an agreement since the doubt began, so the shared clock
/// moved as it should.
///
/// A shared time that lies back means a clock that was set: no timer runs too fast.
pub fn judge(own: Timestamp, shared: Timestamp, confirmed: bool, doubted_for: Duration) -> Judgement {
    if own.since(shared).max(shared.since(own)) <= TOLERANCE || (shared > own && confirmed) {
        Judgement::Follow
    } else if shared < own || doubted_for >= DOUBT {
        Judgement::WasSet
    } else {
        Judgement::Doubtful
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T: i64 = 1_795_237_200_000;
    const HOUR: i64 = 3_600_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(T + millis)
    }

    fn agreed(clock: i64, steady: i64, uptime: Option<i64>) -> Agreed {
        let uptime = uptime.map(|millis| Uptime { boot: "b".to_owned(), millis });
        Agreed { clock_at: at(clock), steady_at: at(steady), by: "a".to_owned(), uptime }
    }

    fn uptime(millis: i64) -> Uptime {
        Uptime { boot: "b".to_owned(), millis }
    }

    #[test]
    fn begins_at_the_clock_s_time_where_nothing_was_written_down() {
        assert_eq!(begin(at(0), None, false, None), at(0));
    }

    #[test]
    fn a_stop_lasts_as_long_as_the_machine_ran_whatever_its_clock_says() {
        let before = agreed(0, 0, Some(1_000));
        for clock in [-HOUR, 0, 5_000, HOUR, 20 * 365 * 24 * HOUR] {
            assert_eq!(begin(at(clock), Some(&uptime(6_000)), false, Some(&before)), at(5_000), "{clock}");
        }
    }

    #[test]
    fn after_another_boot_it_never_begins_earlier_than_before() {
        let before = agreed(0, HOUR, Some(1_000));
        let other = Uptime { boot: "c".to_owned(), millis: 50 };
        assert_eq!(begin(at(10_000), Some(&other), false, Some(&before)), at(HOUR), "the clock was put right");
        assert_eq!(begin(at(9 * HOUR), Some(&other), false, Some(&before)), at(9 * HOUR), "a night passed");
    }

    #[test]
    fn whoever_joins_others_goes_by_what_they_agreed_on() {
        let before = agreed(0, -HOUR, None);
        assert_eq!(begin(at(10_000), None, true, Some(&before)), at(10_000 - HOUR));
        assert_eq!(begin(at(-HOUR * 2), None, true, Some(&before)), at(-HOUR), "set back: never earlier");
        assert_eq!(begin(at(HOUR), None, true, Some(&before)), at(HOUR), "nobody has run for an hour");
    }

    #[test]
    fn a_shared_clock_that_was_set_is_told_from_a_process_that_stood_still() {
        let none = Duration::ZERO;
        assert_eq!(judge(at(0), at(200), false, none), Judgement::Follow);
        assert_eq!(judge(at(0), at(-45_000), false, none), Judgement::WasSet);
        assert_eq!(judge(at(0), at(45_000), false, none), Judgement::Doubtful);
        assert_eq!(judge(at(0), at(45_000), true, Duration::from_secs(4)), Judgement::Follow);
        assert_eq!(judge(at(0), at(45_000), false, DOUBT), Judgement::WasSet);
    }

    proptest! {
        #[test]
        fn no_restart_ever_takes_the_steady_time_back(
            clock in -20 * 365 * 24 * HOUR..20 * 365 * 24 * HOUR,
            before in (0..HOUR, -HOUR..HOUR, proptest::option::of(0..HOUR)),
            ran in proptest::option::of(0..HOUR),
            shared: bool,
        ) {
            let before = agreed(before.0, before.1, before.2);
            let begun = begin(at(clock), ran.map(uptime).as_ref(), shared, Some(&before));
            prop_assert!(begun >= before.steady_at);
        }
    }
}
