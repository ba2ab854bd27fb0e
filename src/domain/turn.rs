//! The states of a turn (one inbound message and its replies) and the only moves between them.
//!
//! ```text
//!              claimed (durable before the request leaves)
//!   queued ───────────────────────────► sending
//!     ▲  ▲                               │ │ │ │
//!     │  │ never left, throttled, paused │ │ │ │ answered / stored / rejected
//!     │  └───────────────────────────────┘ │ │ └───────────────► answered · stored · failed
//!     │                 only the message   │ │                       ▲            ▲
//!     │                 came back          │ │ 5xx, timeout, reset,  │            │
//!     │                      awaiting ◄────┘ │ crash                 │            │
//!     │                        │ ▲           ▼                       │            │
//!     │                        │ └───────── unclear ─── found ───────┤            │
//!     │                        │ reply found │ │                     │            │
//!     │                        └─────────────┼─┼─────────────────────┘            │
//!     └── proven absent ─────────────────────┘ └── absent too long, never clear ──┘
//! ```
//!
//! `awaiting` holds the conversation's next message for the hold window only; when that one is claimed, the turn becomes
//! `late`: it stays open, its reply is searched for and attributed as before, but nothing waits for it.

use serde::Serialize;

/// The state of a turn. `Sending`, `Awaiting` and `Unclear` occupy the conversation: no other turn of it is sent. `Late`
/// turns are open besides, as many as there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TurnState {
    /// Accepted and waiting for its turn or for budget.
    Queued,
    /// On record as handed to Fini; the request may or may not have left.
    Sending,
    /// Fini has the message; its reply is searched for by reading.
    Awaiting,
    /// Like `Awaiting`, but a later message was claimed meanwhile.
    Late,
    /// Unknown whether Fini has the message; found out by reading, never by sending again.
    Unclear,
    /// Settled: Fini answered, decided not to, or handed over to a human.
    Answered,
    /// Settled: mirrored into Fini, no reply was due.
    Stored,
    /// Settled: failed, and the frontend was told why.
    Failed,
}

/// A move of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnMove {
    /// Claimed for sending.
    Claim,
    /// The request provably never reached Fini, or Fini provably refused it for now.
    NotSent,
    /// The outcome is unknown (or the process died).
    LoseSight,
    /// Fini has the message, without a reply so far.
    Await,
    /// It has held the next message long enough, and that one is claimed.
    Overtake,
    /// Reading proved that Fini never stored the message.
    ProveAbsent,
    /// Fini answered.
    Answer,
    /// Fini stored a message that wants no reply.
    Store,
    /// Given up visibly.
    Fail,
}

/// A move that the state machine does not have; always a fault of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a turn that is {from:?} cannot {by:?}")]
pub struct IllegalMove {
    /// The state it was in.
    pub from: TurnState,
    /// The move that was tried.
    pub by: TurnMove,
}

impl TurnState {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Sending,
        Self::Awaiting,
        Self::Late,
        Self::Unclear,
        Self::Answered,
        Self::Stored,
        Self::Failed,
    ];

    /// Returns the name it is stored under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Awaiting => "awaiting",
            Self::Late => "late",
            Self::Unclear => "unclear",
            Self::Answered => "answered",
            Self::Stored => "stored",
            Self::Failed => "failed",
        }
    }

    /// Parses the stored name of a state.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Returns the `status` that frontends see: everything in flight is `sending`.
    pub const fn status(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending | Self::Awaiting | Self::Late | Self::Unclear => "sending",
            Self::Answered => "answered",
            Self::Stored => "stored",
            Self::Failed => "failed",
        }
    }

    /// Returns true if it keeps the conversation's next turn waiting.
    pub const fn occupies(self) -> bool {
        matches!(self, Self::Sending | Self::Awaiting | Self::Unclear)
    }

    /// Returns true if it is over.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Answered | Self::Stored | Self::Failed)
    }

    /// Returns the state after `by`: the one place that defines the moves.
    pub const fn after(self, by: TurnMove) -> Result<Self, IllegalMove> {
        use TurnMove as M;
        match (self, by) {
            (Self::Queued, M::Claim) => Ok(Self::Sending),
            (Self::Sending, M::NotSent) | (Self::Unclear, M::ProveAbsent) => Ok(Self::Queued),
            (Self::Sending, M::LoseSight) => Ok(Self::Unclear),
            (Self::Sending | Self::Unclear, M::Await) => Ok(Self::Awaiting),
            (Self::Awaiting, M::Overtake) => Ok(Self::Late),
            (Self::Sending | Self::Awaiting | Self::Late | Self::Unclear, M::Answer) => Ok(Self::Answered),
            (Self::Sending | Self::Awaiting | Self::Late | Self::Unclear, M::Store) => Ok(Self::Stored),
            (Self::Queued | Self::Sending | Self::Awaiting | Self::Late | Self::Unclear, M::Fail) => Ok(Self::Failed),
            (from, by) => Err(IllegalMove { from, by }),
        }
    }
}

/// The successful end of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// At least one reply.
    Answered,
    /// Fini decided not to reply.
    NoReply,
    /// A human takes it from here.
    Escalated,
    /// Mirrored; no reply was due.
    Stored,
}

impl Outcome {
    /// Returns the name used in events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NoReply => "no_reply",
            Self::Escalated => "escalated",
            Self::Stored => "stored",
        }
    }

    /// Returns the move for it.
    pub const fn as_move(self) -> TurnMove {
        match self {
            Self::Stored => TurnMove::Store,
            Self::Answered | Self::NoReply | Self::Escalated => TurnMove::Answer,
        }
    }
}

/// The reason why a turn failed, as a stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// Fini refused the message as such.
    FiniRejected,
    /// Fini could not be reached for too long; it provably does not have the message.
    FiniUnavailable,
    /// Fini has the message, but no reply was found in time.
    NoReplyInTime,
    /// The Fini conversation is gone; the next message starts a new one.
    InteractionLost,
    /// Unknown whether Fini has the message.
    UnclearOutcome,
}

impl FailureCode {
    /// Returns the name used in events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FiniRejected => "fini_rejected",
            Self::FiniUnavailable => "fini_unavailable",
            Self::NoReplyInTime => "no_reply_in_time",
            Self::InteractionLost => "interaction_lost",
            Self::UnclearOutcome => "unclear_outcome",
        }
    }

    /// Returns true if it says that Fini does not have the message, so that nothing can be found of it later.
    pub const fn proves_absence(self) -> bool {
        matches!(self, Self::FiniRejected | Self::FiniUnavailable)
    }
}

/// A failure to report to the frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnFailure {
    /// The stable code.
    pub code: FailureCode,
    /// The reason in words, without message texts or keys.
    pub detail: String,
    /// True if posting the text again cannot make a double.
    pub may_resend: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVES: [TurnMove; 9] = [
        TurnMove::Claim,
        TurnMove::NotSent,
        TurnMove::LoseSight,
        TurnMove::Await,
        TurnMove::Overtake,
        TurnMove::ProveAbsent,
        TurnMove::Answer,
        TurnMove::Store,
        TurnMove::Fail,
    ];

    #[test]
    fn what_is_settled_stays_settled() {
        for state in TurnState::ALL.into_iter().filter(|state| state.is_settled()) {
            for by in MOVES {
                assert!(state.after(by).is_err(), "{state:?} after {by:?}");
            }
        }
    }

    #[test]
    fn nothing_that_may_have_reached_fini_returns_to_the_queue_unproven() {
        assert!(TurnState::Unclear.after(TurnMove::NotSent).is_err());
        assert!(TurnState::Awaiting.after(TurnMove::NotSent).is_err());
        assert!(TurnState::Awaiting.after(TurnMove::ProveAbsent).is_err());
        assert!(TurnState::Late.after(TurnMove::NotSent).is_err());
        assert!(TurnState::Late.after(TurnMove::ProveAbsent).is_err());
        assert!(TurnState::Unclear.after(TurnMove::Claim).is_err());
    }

    #[test]
    fn only_a_message_that_fini_has_is_overtaken() {
        for state in TurnState::ALL {
            assert_eq!(state.after(TurnMove::Overtake).is_ok(), state == TurnState::Awaiting, "{state:?}");
        }
        assert!(!TurnState::Late.occupies() && !TurnState::Late.is_settled());
    }

    #[test]
    fn names_round_trip() {
        for state in TurnState::ALL {
            assert_eq!(TurnState::parse(state.as_str()), Some(state));
        }
    }
}
