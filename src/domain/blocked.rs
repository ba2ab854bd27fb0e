//! Determines what holds a lane: a conversation's callbacks to one destination, or its messages to Fini. Pure.
//!
//! If several things hold the same lane, the one that has to be settled first is reported.

use super::Timestamp;

/// The reason why a lane is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// Callbacks to the destination are paused.
    Pause,
    /// A dead letter ahead of it has to be replayed first.
    DeadLetter,
    /// The other side keeps failing and gets no requests for a while.
    Breaker,
    /// The receiver asked for no calls until then.
    Deferred,
    /// The next attempt is due then.
    Retry,
    /// The conversation is in quarantine.
    Quarantine,
    /// An earlier message of the conversation is in flight.
    Turn,
    /// The Fini conversation into which an earlier message was sent is not known yet.
    Binding,
    /// No request is left in this window.
    Budget,
}

impl Blocker {
    /// Returns the name it is shown under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::DeadLetter => "dead_letter",
            Self::Breaker => "breaker",
            Self::Deferred => "deferred",
            Self::Retry => "retry",
            Self::Quarantine => "quarantine",
            Self::Turn => "turn",
            Self::Binding => "binding",
            Self::Budget => "budget",
        }
    }
}

/// A held lane: the reason, and the end of the hold if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standstill {
    /// The reason.
    pub by: Blocker,
    /// End of the hold, if known.
    pub until: Option<Timestamp>,
}

/// The record of a lane of callbacks and of its receiver.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each of them asked by itself")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Callbacks {
    /// True while the destination is paused, by an operator or by the receiver's 410.
    pub is_paused: bool,
    /// True while the lane waits for a dead letter.
    pub waits_for_dead_letter: bool,
    /// True while the destination's breaker is not closed.
    pub is_left_alone: bool,
    /// Time until which the receiver asked for no calls.
    pub not_before: Option<Timestamp>,
    /// Due time of the head.
    pub due_at: Option<Timestamp>,
    /// True if the head was attempted before.
    pub is_retry: bool,
}

impl Callbacks {
    /// Returns what holds the lane; `None` if nothing does.
    pub fn standstill(&self, now: Timestamp) -> Option<Standstill> {
        let held = |by, until| Some(Standstill { by, until });
        let later = |at: Option<Timestamp>| at.filter(|at| *at > now);
        match self {
            Self { is_paused: true, .. } => held(Blocker::Pause, None),
            Self { waits_for_dead_letter: true, .. } => held(Blocker::DeadLetter, None),
            Self { is_left_alone: true, .. } => held(Blocker::Breaker, None),
            Self { not_before, .. } if later(*not_before).is_some() => held(Blocker::Deferred, *not_before),
            Self { due_at, is_retry: true, .. } if later(*due_at).is_some() => held(Blocker::Retry, *due_at),
            _ => None,
        }
    }
}

/// The record of the messages that wait in a conversation.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each of them asked by itself")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// True while the conversation is in quarantine.
    pub is_quarantined: bool,
    /// True while an earlier message is in flight.
    pub is_occupied: bool,
    /// Time until which that message holds the next; `None` before Fini has it.
    pub held_until: Option<Timestamp>,
    /// True while the conversation's Fini conversation is searched for.
    pub is_looked_for: bool,
    /// True while a breaker holds back sends to this conversation's bot.
    pub is_left_alone: bool,
    /// True while sends wait for the budget.
    pub budget_is_used_up: bool,
    /// Earliest send time of the first message.
    pub due_at: Option<Timestamp>,
}

impl Messages {
    /// Returns what holds the messages; `None` if nothing does.
    pub fn standstill(&self, now: Timestamp) -> Option<Standstill> {
        let held = |by, until| Some(Standstill { by, until });
        let later = |at: Option<Timestamp>| at.filter(|at| *at > now);
        match self {
            Self { is_quarantined: true, .. } => held(Blocker::Quarantine, None),
            Self { is_occupied: true, held_until, .. } if held_until.is_none() || later(*held_until).is_some() => {
                held(Blocker::Turn, *held_until)
            }
            Self { is_looked_for: true, .. } => held(Blocker::Binding, None),
            Self { is_left_alone: true, .. } => held(Blocker::Breaker, None),
            Self { due_at, .. } if later(*due_at).is_some() => held(Blocker::Retry, *due_at),
            Self { budget_is_used_up: true, .. } => held(Blocker::Budget, None),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + secs * 1_000)
    }

    #[test]
    fn of_several_the_one_is_told_that_has_to_be_settled_first() {
        let all = Callbacks {
            is_paused: true,
            waits_for_dead_letter: true,
            is_left_alone: true,
            not_before: Some(at(9)),
            due_at: Some(at(5)),
            is_retry: true,
        };
        let told = |lane: Callbacks| lane.standstill(at(0)).map(|held| (held.by.as_str(), held.until));
        assert_eq!(told(all), Some(("pause", None)));
        let all = Callbacks { is_paused: false, ..all };
        assert_eq!(told(all), Some(("dead_letter", None)));
        let all = Callbacks { waits_for_dead_letter: false, ..all };
        assert_eq!(told(all), Some(("breaker", None)));
        let all = Callbacks { is_left_alone: false, ..all };
        assert_eq!(told(all), Some(("deferred", Some(at(9)))));
        let all = Callbacks { not_before: Some(at(0)), ..all };
        assert_eq!(told(all), Some(("retry", Some(at(5)))));
        assert_eq!(told(Callbacks { is_retry: false, ..all }), None, "a first attempt is only due");
        assert_eq!(all.standstill(at(5)), None, "its time has come");
    }

    #[test]
    fn messages_wait_for_the_quarantine_before_anything_else() {
        let all = Messages {
            is_quarantined: true,
            is_occupied: true,
            held_until: None,
            is_looked_for: true,
            is_left_alone: true,
            budget_is_used_up: true,
            due_at: Some(at(5)),
        };
        let told = |waiting: Messages| waiting.standstill(at(0)).map(|held| (held.by.as_str(), held.until));
        assert_eq!(told(all), Some(("quarantine", None)));
        let all = Messages { is_quarantined: false, ..all };
        assert_eq!(told(all), Some(("turn", None)));
        assert_eq!(told(Messages { held_until: Some(at(3)), ..all }), Some(("turn", Some(at(3)))));
        let all = Messages { held_until: Some(at(0)), ..all };
        assert_eq!(told(all), Some(("binding", None)), "it holds the next no more");
        let all = Messages { is_looked_for: false, ..all };
        assert_eq!(told(all), Some(("breaker", None)));
        let all = Messages { is_left_alone: false, ..all };
        assert_eq!(told(all), Some(("retry", Some(at(5)))));
        let all = Messages { due_at: Some(at(0)), ..all };
        assert_eq!(told(all), Some(("budget", None)));
        assert_eq!(told(Messages { budget_is_used_up: false, ..all }), None);
    }
}
