//! Decides what one look for a message of unknown fate proves, and when to look again. Pure.
//!
//! Fini has no idempotency key and says itself that a repeated send is a second message. So a message whose outcome is
//! unclear is looked for, over longer than its List lags behind, and only a proven absence allows another send, for as long
//! as [`resend`](crate::domain::resend) says. What stays unclear is reported to the frontend as such.

use std::time::Duration;

use crate::{
    domain::{
        Timestamp,
        evidence::absent::Seen,
        message::Role,
        resend::Then,
        turn::{FailureCode, TurnFailure, TurnState},
    },
    store::TurnToRead,
};

/// The patience of lookups.
#[derive(Clone, Copy, Debug)]
pub struct LookupSettings {
    /// A message that no look has shown for so long after its outcome became unclear is absent. Longer than any lag of
    /// Fini's reads.
    pub absence_window: Duration,
    /// Longest time for which a turn waits for its reply, for a read that succeeds, or for a send that arrives.
    pub late_reply_window: Duration,
}

/// The next step for a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again then.
    LookAt(Timestamp),
    /// It is proven absent: send it again then.
    ResendAt(Timestamp),
    /// Give up visibly.
    Fail(TurnFailure),
}

/// Returns the next step after a look that began at `looked_at` and left the turn open. A look over many pages takes long,
/// and proves nothing about what Fini showed only after it began: neither that a message is absent, nor that its reply is.
///
/// `others_pass`: another message of the same bot, sent after the first try of this one, has arrived.
pub fn after_look(
    turn: &TurnToRead,
    seen: Seen,
    looked_at: Timestamp,
    now: Timestamp,
    others_pass: bool,
    settings: &LookupSettings,
) -> Next {
    let window = settings.late_reply_window / if mutated!("a late reply is not waited for") { 20 } else { 1 };
    let is_late = match (turn.state, seen) {
        // If nothing can be read, there is no later look to wait for.
        (TurnState::Unclear, Seen::Nothing) => now.since(turn.since) >= window,
        // The reply may well be there: it counts as missing only if Fini cannot be read for as long again.
        (_, Seen::Nothing) => now.since(turn.since) >= window.saturating_mul(2),
        _ => looked_at.since(turn.since) >= window,
    };
    let is_conclusive = mutated!("a message is sent again without proof that it is not there")
        || looked_at.since(turn.since) >= settings.absence_window && (turn.looks >= 2 || is_late);
    match (turn.state, seen) {
        // List shows no conversation in which no customer wrote, so not finding it there proves nothing.
        (TurnState::Unclear, Seen::Absent)
            if is_conclusive && turn.interaction.is_none() && turn.role != Role::User =>
        {
            Next::Fail(failure(
                FailureCode::UnclearOutcome,
                format!("Fini does not list conversations without a customer's message: {}", turn.detail),
                false,
            ))
        }
        (TurnState::Unclear, Seen::Absent) if is_conclusive => match turn.tries.then(others_pass, now, window) {
            Then::SendAt(at) => Next::ResendAt(at),
            Then::Unavailable => Next::Fail(unavailable("Fini takes no messages", turn)),
            Then::OnlyThis => Next::Fail(unavailable("Fini takes other messages, but not this one", turn)),
        },
        (TurnState::Unclear, _) if is_late => Next::Fail(failure(
            FailureCode::UnclearOutcome,
            format!("nobody can tell whether Fini has the message: {}", turn.detail),
            mutated!("what nobody can tell is told as not there"),
        )),
        (TurnState::Unclear, _) => Next::LookAt(now.plus(unclear_pause(turn.looks))),
        _ if is_late => Next::Fail(failure(
            FailureCode::NoReplyInTime,
            "Fini has the message, but its reply did not turn up in time".to_owned(),
            false,
        )),
        (_, Seen::Nothing) if now.since(turn.since) >= window => Next::LookAt(now.plus(awaiting_pause(0))),
        _ => Next::LookAt(now.plus(awaiting_pause(turn.looks)).min(turn.since.plus(window))),
    }
}

/// Returns 1.5 s, 3 s, 5 s, then more: somebody waits to learn the fate of a message.
fn unclear_pause(looks: u32) -> Duration {
    let millis = match looks {
        0 => 1_500,
        1 => 3_000,
        2..=4 => 5_000,
        5..=9 => 15_000,
        _ => 30_000,
    };
    Duration::from_millis(millis)
}

/// Sweeps find late replies; these looks are for what sweeps cannot see.
fn awaiting_pause(looks: u32) -> Duration {
    Duration::from_secs(match looks {
        0 => 5,
        1 => 15,
        2 => 30,
        _ => 60,
    })
}

fn unavailable(why: &str, turn: &TurnToRead) -> TurnFailure {
    let detail = format!("{why}: sent {} times without arriving; last: {}", turn.tries.count, turn.detail);
    failure(FailureCode::FiniUnavailable, detail, true)
}

fn failure(code: FailureCode, detail: String, may_resend: bool) -> TurnFailure {
    TurnFailure { code, detail, may_resend }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        domain::{
            correlation::Correlation,
            ids::{ConversationId, ConversationKey, FrontendName, InteractionId, TurnKey},
            resend::Tries,
        },
        store::ConversationRef,
    };

    const SETTINGS: LookupSettings =
        LookupSettings { absence_window: Duration::from_secs(15), late_reply_window: Duration::from_secs(600) };

    /// Returns a customer's turn in that state since the beginning of time, in a conversation that is not bound.
    pub fn turn(state: TurnState, looks: u32, tries: u32) -> TurnToRead {
        TurnToRead {
            key: TurnKey(1),
            attempt: tries,
            state,
            role: Role::User,
            conversation: ConversationRef {
                key: ConversationKey(1),
                frontend: FrontendName::trusted("web"),
                id: ConversationId::trusted("c"),
            },
            conversation_attribute: String::new(),
            turn_attribute: String::new(),
            interaction: None,
            sent_at: Timestamp::ZERO,
            since: Timestamp::ZERO,
            looks,
            tries: Tries { count: tries, since: Timestamp::ZERO },
            detail: "status 500".to_owned(),
            cause: Correlation::default(),
        }
    }

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn after(turn: &TurnToRead, seen: Seen, looked_at: Timestamp, now: Timestamp) -> Next {
        after_look(turn, seen, looked_at, now, false, &SETTINGS)
    }

    #[test]
    fn absence_is_proven_only_after_the_window_and_allows_another_send() {
        let at = |looks, at| after(&turn(TurnState::Unclear, looks, 1), Seen::Absent, seconds(at), seconds(at));
        assert!(matches!(at(3, 14), Next::LookAt(_)));
        assert!(matches!(at(1, 20), Next::LookAt(_)), "a single look proves nothing");
        assert_eq!(at(3, 15), Next::ResendAt(seconds(16)));
        let slow = after(&turn(TurnState::Unclear, 3, 1), Seen::Absent, seconds(14), seconds(30));
        assert!(matches!(slow, Next::LookAt(_)), "a look is as old as its beginning");
    }

    #[test]
    fn what_is_proven_absent_fails_only_by_time_or_while_others_pass() {
        let at = |tries, others, at| {
            let turn = TurnToRead { since: seconds(at - 20), ..turn(TurnState::Unclear, 3, tries) };
            after_look(&turn, Seen::Absent, seconds(at), seconds(at), others, &SETTINGS)
        };
        assert!(matches!(at(9, false, 300), Next::ResendAt(_)));
        for (tries, others, time) in [(2, false, 600), (3, true, 60)] {
            let Next::Fail(failure) = at(tries, others, time) else { panic!("goes on at {time}") };
            assert_eq!((failure.code, failure.may_resend), (FailureCode::FiniUnavailable, true));
        }
    }

    #[test]
    fn what_list_leaves_out_is_not_proven_absent() {
        let mirrored = TurnToRead { role: Role::Agent, ..turn(TurnState::Unclear, 9, 1) };
        let after = |turn: &TurnToRead| after(turn, Seen::Absent, seconds(15), seconds(15));
        let Next::Fail(failure) = after(&mirrored) else { panic!("sent twice, or waited for in vain") };
        assert_eq!((failure.code, failure.may_resend), (FailureCode::UnclearOutcome, false));
        let bound = TurnToRead { interaction: Some(InteractionId::trusted("i")), ..mirrored };
        assert_eq!(after(&bound), Next::ResendAt(seconds(16)), "its own conversation was read");
    }

    #[test]
    fn what_cannot_be_read_is_never_sent_again() {
        for at in [1, 15, 60, 599] {
            let next = after(&turn(TurnState::Unclear, 9, 1), Seen::Nothing, seconds(at), seconds(at));
            assert!(matches!(next, Next::LookAt(_)), "{at} s: {next:?}");
        }
        let Next::Fail(failure) = after(&turn(TurnState::Unclear, 9, 1), Seen::Nothing, seconds(600), seconds(600))
        else {
            panic!("waits for ever")
        };
        assert_eq!((failure.code, failure.may_resend), (FailureCode::UnclearOutcome, false));
    }

    #[test]
    fn a_reply_is_awaited_exactly_as_long_as_configured() {
        let awaiting = turn(TurnState::Awaiting, 9, 1);
        assert_eq!(after(&awaiting, Seen::Present, seconds(599), seconds(599)), Next::LookAt(seconds(600)));
        assert!(matches!(after(&awaiting, Seen::Present, seconds(600), seconds(600)), Next::Fail(_)));
        let unread = |at| after(&awaiting, Seen::Nothing, seconds(at), seconds(at));
        assert_eq!(unread(700), Next::LookAt(seconds(705)), "it may be there");
        assert!(matches!(unread(1_200), Next::Fail(_)));
        for seen in [Seen::Present, Seen::Absent] {
            let slow = after(&awaiting, seen, seconds(540), seconds(700));
            assert_eq!(slow, Next::LookAt(seconds(600)), "the reply may have come after that look began");
        }
    }
}
