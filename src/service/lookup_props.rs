//! One message through every kind of trouble, in virtual time: the state machine, what lookups conclude, and a vendor that
//! stores or does not, late or at once, shows it later than that, and cannot always be read.
//!
//! Invariants: the vendor never has the message twice; every move is one that the state machine has; it ends; and what the
//! frontend is told is true.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*};

use super::lookup::{LookupSettings, Next, Seen, after_look, tests::turn};
use crate::{
    domain::{
        Timestamp,
        ids::InteractionId,
        turn::{FailureCode, TurnFailure, TurnMove, TurnState},
    },
    store::TurnToRead,
};

const SETTINGS: LookupSettings =
    LookupSettings { absence_window: Duration::from_secs(15), late_reply_window: Duration::from_secs(600) };
/// Reads lag by so much at most, and a lost request arrives so late at most: together less than the absence window.
const MOST_LAG_MS: u64 = 10_000;
const LATEST_MS: u64 = 4_500;

/// What comes of one attempt to send.
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
    /// Which reads succeed, over and over.
    reads: Vec<bool>,
    lag_ms: u64,
    /// When Fini replies after it has the message.
    reply_after_ms: Option<u64>,
}

fn script() -> impl Strategy<Value = Script> {
    let sent = prop_oneof![
        1 => Just(Sent::Refused),
        3 => Just(Sent::Gone),
        3 => (0..=LATEST_MS).prop_map(Sent::Arrives),
        1 => Just(Sent::WithoutReply),
        1 => Just(Sent::Answered),
    ];
    let script = (vec(sent, 1..6), vec(any::<bool>(), 1..8), 0..=MOST_LAG_MS, option::of(0..900_000_u64));
    script.prop_map(|(sends, reads, lag_ms, reply_after_ms)| Script { sends, reads, lag_ms, reply_after_ms })
}

/// Where the message ended, and when the vendor got it each time.
struct End {
    state: TurnState,
    failure: Option<TurnFailure>,
    arrivals: Vec<Timestamp>,
    attempts: u32,
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Its own conversation is read.
fn look(state: TurnState, since: Timestamp, looks: u32, resends: u32) -> TurnToRead {
    TurnToRead { interaction: Some(InteractionId::trusted("i")), sent_at: since, since, ..turn(state, looks, resends) }
}

fn play(script: &Script) -> End {
    let mut now = Timestamp::from_millis(1_000_000);
    let (mut state, mut since, mut looks, mut resends) = (TurnState::Queued, now, 0, 0);
    let mut end = End { state, failure: None, arrivals: Vec::new(), attempts: 0 };
    let mut sends = script.sends.iter().copied();
    let mut reads = script.reads.iter().copied().cycle();
    for _ in 0..2_000 {
        let by = match state {
            TurnState::Queued => TurnMove::Claim,
            TurnState::Sending => {
                let sent = sends.next().unwrap_or(Sent::Answered);
                end.attempts += u32::from(!matches!(sent, Sent::Refused));
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
                    match after_look(&look(state, since, looks, resends), seen, now, now, &SETTINGS) {
                        Next::LookAt(at) => {
                            assert!(at > now, "it would be looked for without a pause");
                            (now, looks) = (at, looks + 1);
                            continue;
                        }
                        Next::Resend => {
                            resends += 1;
                            TurnMove::ProveAbsent
                        }
                        Next::Fail(failure) => {
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
        prop_assert!(end.attempts <= 2, "sent {} times", end.attempts);
        let stored = !end.arrivals.is_empty();
        match &end.failure {
            None => prop_assert!(end.state == TurnState::Answered && stored),
            Some(failure) => {
                prop_assert_eq!(end.state, TurnState::Failed);
                prop_assert!(!(failure.may_resend && stored), "a repeat would be a double");
                match failure.code {
                    FailureCode::NoReplyInTime => prop_assert!(stored),
                    FailureCode::FiniUnavailable => prop_assert!(!stored && failure.may_resend),
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
