//! One message through every kind of trouble, in virtual time: the state machine, the conclusions of lookups, and a vendor
//! that stores or does not, late or at once, shows it later than that, and cannot always be read.
//!
//! Invariants: the vendor never has the message twice; every move is one that the state machine has; it ends; and what the
//! frontend learns is true.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*};

use super::lookup::{LookupSettings, Next, after_look, tests::turn};
use crate::{
    domain::{
        Timestamp,
        evidence::absent::Seen,
        ids::InteractionId,
        resend::Tries,
        turn::{FailureCode, TurnFailure, TurnMove, TurnState},
    },
    store::TurnToRead,
};

const SETTINGS: LookupSettings =
    LookupSettings { absence_window: Duration::from_secs(15), late_reply_window: Duration::from_secs(600) };
/// Reads lag by so much at most, and a lost request arrives so late at most: together less than the absence window.
const MOST_LAG_MS: u64 = 10_000;
const LATEST_MS: u64 = 4_500;

/// The outcome of one attempt to send.
#[derive(Clone, Copy, Debug)]
enum Sent {
    /// It provably never left, or was refused for now.
    Refused,
    /// The connection broke or the process died, and nothing arrived.
    Gone,
    /// The same, but it arrives so many milliseconds later.
    Arrives(u64),
    /// Fini's response has the message alone.
    WithoutReply,
    /// Fini's response has a reply too.
    Answered,
}

#[derive(Clone, Debug)]
struct Script {
    sends: Vec<Sent>,
    /// The reads that succeed, repeated from the start at their end.
    reads: Vec<bool>,
    lag_ms: u64,
    /// Time from the message's arrival until Fini's reply; `None` for no reply.
    reply_after_ms: Option<u64>,
    /// True if other messages arrive meanwhile.
    others_pass: bool,
}

fn script() -> impl Strategy<Value = Script> {
    let sent = prop_oneof![
        1 => Just(Sent::Refused),
        3 => Just(Sent::Gone),
        3 => (0..=LATEST_MS).prop_map(Sent::Arrives),
        1 => Just(Sent::WithoutReply),
        1 => Just(Sent::Answered),
    ];
    let script =
        (vec(sent, 1..60), vec(any::<bool>(), 1..8), 0..=MOST_LAG_MS, option::of(0..900_000_u64), any::<bool>());
    script.prop_map(|(sends, reads, lag_ms, reply_after_ms, others_pass)| Script {
        sends,
        reads,
        lag_ms,
        reply_after_ms,
        others_pass,
    })
}

/// The end of the message, and every time at which the vendor got it.
struct End {
    state: TurnState,
    failure: Option<TurnFailure>,
    arrivals: Vec<Timestamp>,
    /// Time from the first try until it failed.
    failed_after: Duration,
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Returns a turn whose own conversation is read.
fn look(state: TurnState, since: Timestamp, looks: u32, tries: Tries) -> TurnToRead {
    let turn = turn(state, looks, tries.count);
    TurnToRead { interaction: Some(InteractionId::trusted("i")), sent_at: since, since, tries, ..turn }
}

fn play(script: &Script) -> End {
    let mut now = Timestamp::from_millis(1_000_000);
    let (mut state, mut since, mut looks) = (TurnState::Queued, now, 0);
    let mut tries: Option<Tries> = None;
    let mut end = End { state, failure: None, arrivals: Vec::new(), failed_after: Duration::ZERO };
    let mut sends = script.sends.iter().copied();
    let mut reads = script.reads.iter().copied().cycle();
    for _ in 0..2_000 {
        let by = match state {
            TurnState::Queued => TurnMove::Claim,
            TurnState::Sending => {
                let sent = sends.next().unwrap_or(Sent::Answered);
                if !matches!(sent, Sent::Refused) {
                    let before = tries.unwrap_or(Tries { count: 0, since: now });
                    tries = Some(Tries { count: before.count + 1, ..before });
                }
                now = now.plus(millis(1_500));
                match sent {
                    Sent::Refused => TurnMove::NotSent,
                    Sent::Gone => TurnMove::LoseSight,
                    Sent::Arrives(later) => {
                        end.arrivals.push(now.plus(millis(later)));
                        TurnMove::LoseSight
                    }
                    Sent::WithoutReply | Sent::Answered => {
                        end.arrivals.push(now);
                        if matches!(sent, Sent::Answered) { TurnMove::Answer } else { TurnMove::Await }
                    }
                }
            }
            TurnState::Awaiting | TurnState::Late | TurnState::Unclear => {
                let shown = |after: u64| end.arrivals.iter().any(|at| at.plus(millis(after + script.lag_ms)) <= now);
                let is_readable = reads.next().unwrap_or(true);
                if is_readable && script.reply_after_ms.is_some_and(shown) {
                    TurnMove::Answer
                } else if is_readable && state == TurnState::Unclear && shown(0) {
                    TurnMove::Await
                } else {
                    let seen = match (is_readable, state) {
                        (false, _) => Seen::Nothing,
                        (true, TurnState::Unclear) => Seen::Absent,
                        (true, _) => Seen::Present,
                    };
                    let tries = tries.expect("it was sent");
                    let turn = look(state, since, looks, tries);
                    match after_look(&turn, seen, now, now, script.others_pass, &SETTINGS) {
                        Next::LookAt(at) => {
                            assert!(at > now, "it would be looked for without a pause");
                            (now, looks) = (at, looks + 1);
                            continue;
                        }
                        Next::ResendAt(at) => {
                            assert!(at > now, "it would be sent again without a pause");
                            now = at;
                            TurnMove::ProveAbsent
                        }
                        Next::Fail(failure) => {
                            end.failed_after = now.since(tries.since);
                            end.failure = Some(failure);
                            TurnMove::Fail
                        }
                    }
                }
            }
            TurnState::Answered | TurnState::Stored | TurnState::Failed => return End { state, ..end },
        };
        state = state.after(by).expect("a move that there is");
        (since, looks) = (now, 0);
        now = now.plus(millis(1));
    }
    panic!("it never ends: {state:?}")
}

proptest! {
    #[test]
    fn a_message_is_stored_once_at_most_and_its_end_is_true(script in script()) {
        let end = play(&script);
        prop_assert!(end.arrivals.len() <= 1, "stored {} times", end.arrivals.len());
        let stored = !end.arrivals.is_empty();
        match &end.failure {
            None => prop_assert!(end.state == TurnState::Answered && stored),
            Some(failure) => {
                prop_assert_eq!(end.state, TurnState::Failed);
                prop_assert!(!(failure.may_resend && stored), "a repeat would be a double");
                match failure.code {
                    FailureCode::NoReplyInTime => prop_assert!(stored),
                    FailureCode::FiniUnavailable => {
                        prop_assert!(!stored && failure.may_resend);
                        let least = if script.others_pass { Duration::from_mins(1) } else { SETTINGS.late_reply_window };
                        prop_assert!(end.failed_after >= least, "given up after {:?}", end.failed_after);
                    }
                    FailureCode::UnclearOutcome => prop_assert!(!failure.may_resend),
                    other => prop_assert!(false, "{other:?} is no end of a lookup"),
                }
            }
        }
    }

    #[test]
    fn where_fini_can_be_read_nothing_stays_unclear(script in script()) {
        let end = play(&Script { reads: vec![true], ..script });
        let code = end.failure.map(|failure| failure.code);
        prop_assert!(code != Some(FailureCode::UnclearOutcome));
    }
}
