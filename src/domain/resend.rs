//! Decides when a message that Fini provably does not have is sent again, and when it is given up.
//!
//! Each further send follows a proof of absence, with growing pauses. The limit is the time since the first try, not a
//! count: an outage of Fini's fails nothing that the frontend was promised. Only a message that goes on failing while others
//! pass is given up sooner, so that its conversation goes on.

use std::time::Duration;

use super::Timestamp;

/// The pause before the second send; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between a proof of absence and the send that follows it.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Longest wait that a `Retry-After` can cause.
const MOST_ASKED_FOR: Duration = Duration::from_mins(2);
/// Failures, and the time over which they last, that make a message fail by itself while others pass.
const OWN_FAULT: (u32, Duration) = (3, Duration::from_mins(1));

/// The sends of a message, all of them in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// Number of sends.
    pub count: u32,
    /// Time of the first send.
    pub since: Timestamp,
}

/// The next step once the last send is proved absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is sent again at this time.
    SendAt(Timestamp),
    /// Fini does not take any message, and has not for too long.
    Unavailable,
    /// Fini takes others, but not this one.
    OnlyThis,
}

impl Tries {
    /// Returns true if it matters by now whether others pass: finding that out costs something.
    pub fn may_be_own_fault(self, now: Timestamp) -> bool {
        self.count >= OWN_FAULT.0 && now.since(self.since) >= OWN_FAULT.1
    }

    /// Decides the next step. `others_pass`: another message of the same bot, sent since the first of these tries, arrived.
    /// `window` is counted from the first try; the last send falls on its end.
    pub fn then(self, others_pass: bool, now: Timestamp, window: Duration) -> Then {
        if now.since(self.since) >= window {
            return Then::Unavailable;
        }
        if others_pass && self.may_be_own_fault(now) {
            return Then::OnlyThis;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.count.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
        Then::SendAt(now.plus(pause).min(self.since.plus(window)))
    }
}

/// Returns the earliest time of another send of an unclear message, given the wait that the answer asked for.
pub fn not_before(asked_for: Option<Duration>, now: Timestamp) -> Timestamp {
    now.plus(asked_for.unwrap_or_default().min(MOST_ASKED_FOR))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_mins(10);

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn tries(count: u32) -> Tries {
        Tries { count, since: at(0) }
    }

    #[test]
    fn pauses_grow_up_to_the_end_of_the_window() {
        let pause = |count, now| match tries(count).then(false, at(now), WINDOW) {
            Then::SendAt(next) => next.since(at(now)).as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!([pause(1, 20), pause(2, 40), pause(4, 90), pause(30, 400)], [1, 2, 8, 60]);
        assert_eq!(pause(30, 590), 10, "the last one is not later than the window");
        assert_eq!(tries(30).then(false, at(600), WINDOW), Then::Unavailable);
    }

    #[test]
    fn only_what_fails_three_times_within_a_minute_at_least_while_others_pass_is_given_up_sooner() {
        assert_eq!(tries(3).then(true, at(60), WINDOW), Then::OnlyThis);
        assert!(matches!(tries(2).then(true, at(300), WINDOW), Then::SendAt(_)));
        assert!(matches!(tries(9).then(true, at(59), WINDOW), Then::SendAt(_)));
        assert!(matches!(tries(9).then(false, at(300), WINDOW), Then::SendAt(_)));
    }

    #[test]
    fn what_an_answer_asks_for_is_kept_up_to_a_limit() {
        assert_eq!(not_before(None, at(5)), at(5));
        assert_eq!(not_before(Some(Duration::from_secs(45)), at(5)), at(50));
        assert_eq!(not_before(Some(Duration::from_hours(9)), at(5)), at(125));
    }

    proptest! {
        #[test]
        fn it_ends_and_never_before_the_window_while_nothing_passes(proof_takes in 1_i64..120) {
            let (mut now, mut count) = (at(0), 0);
            loop {
                count += 1;
                now = now.plus(Duration::from_secs(proof_takes.unsigned_abs()));
                match tries(count).then(false, now, WINDOW) {
                    Then::SendAt(next) => {
                        prop_assert!(next > now && next <= at(600));
                        now = next;
                    }
                    Then::Unavailable => break,
                    Then::OnlyThis => prop_assert!(false, "nothing passed"),
                }
            }
            prop_assert!(now >= at(600) && count < 200);
        }
    }
}
