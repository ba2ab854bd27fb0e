//! The label values a metric may carry.
//!
//! Prometheus keeps one time series per distinct set of label values for as long as it remembers, so every label here is a
//! closed set: a value nobody foresaw becomes `other` and never a new series. Ids, paths and texts are not labels.

use std::fmt::Write as _;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// Declares a closed set of label values; whatever is not listed reads as `other`.
macro_rules! closed_label {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            /// Anything that is not in the set.
            Other,
        }

        impl $name {
            /// Every foreseen value: the series that exist, at 0, from the start.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),+];

            /// The label's text.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other => "other",
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)+
                    _ => Self::Other,
                }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
                encoder.write_str(self.as_str())
            }
        }
    };
}

closed_label! {
    /// Whose clock the machine's is compared with.
    ClockOf {
        /// Fini's, by the dates of its answers.
        Fini = "fini",
        /// The database server's.
        Postgres = "postgres",
    }
}

closed_label! {
    /// The ends of a turn: the outcomes of `turn.completed` and the codes of `turn.failed`.
    TurnOutcome {
        /// Fini replied.
        Answered = "answered",
        /// Fini took the message and had nothing to say.
        NoReply = "no_reply",
        /// The conversation went to a human.
        Escalated = "escalated",
        /// An agent's or other bot's message was mirrored; no reply is due.
        Stored = "stored",
        /// Fini refused the message.
        FiniRejected = "fini_rejected",
        /// Fini could not be reached or kept failing.
        FiniUnavailable = "fini_unavailable",
        /// No reply was found within the late reply window.
        NoReplyInTime = "no_reply_in_time",
        /// The conversation no longer exists at Fini.
        InteractionLost = "interaction_lost",
        /// Nobody can say whether Fini took the message.
        UnclearOutcome = "unclear_outcome",
    }
}

closed_label! {
    /// The vendor's operations, as our words for its routes.
    FiniRoute {
        /// `POST /v2/hc-interactions/events/public`.
        GenerateAnswer = "generate_answer",
        /// `GET /v2/hc-interactions/{id}/public`.
        GetConversation = "get_conversation",
        /// `GET /v2/hc-interactions/public`.
        ListConversations = "list_conversations",
        /// `DELETE /v2/hc-interactions/{id}/public` and its bulk form.
        DeleteConversation = "delete_conversation",
        /// `GET /v2/bots/public`.
        ListAgents = "list_agents",
        /// `GET /v2/bots/requests/public`.
        ChatHistory = "chat_history",
    }
}

closed_label! {
    /// The reason why a conversation of a List page was passed over.
    LeftOut {
        /// Nobody can read it.
        Unreadable = "unreadable",
        /// The store works, and will not have it.
        Unrecordable = "unrecordable",
    }
}

closed_label! {
    /// The meaning of one attempt for a delivery.
    DeliveryOutcome {
        /// The receiver answered 2xx.
        Delivered = "delivered",
        /// It will be tried again.
        Retried = "retried",
        /// The endpoint is paused (410).
        Paused = "paused",
        /// Attempts are exhausted: a dead letter.
        Dead = "dead",
    }
}

closed_label! {
    /// The side at fault when an attempt fails, which decides whom to wake.
    AttemptClass {
        /// The receiver answered 2xx.
        Delivered = "delivered",
        /// The receiver answered, with something else.
        Refused = "refused",
        /// No answer: DNS, connection, TLS, timeout.
        Unreachable = "unreachable",
        /// The bridge would not connect there: the address is private or the scheme not allowed.
        Blocked = "blocked",
        /// The bridge itself failed; not counted as an attempt.
        BridgeFailed = "bridge_failed",
    }
}

closed_label! {
    /// The kinds of work that can pile up.
    Backlog {
        /// Turns accepted and not yet settled.
        Turns = "turns",
        /// Turns whose fate at Fini is being read back.
        UnclearTurns = "unclear_turns",
        /// Conversations whose Fini id is still sought.
        Bindings = "bindings",
        /// Callbacks not yet delivered.
        Deliveries = "deliveries",
        /// Callbacks given up, kept for replay.
        DeadLetters = "dead_letters",
        /// Conversations waiting for an operator.
        Quarantined = "quarantined",
    }
}

closed_label! {
    /// Priority classes of the request budget.
    BudgetClass {
        /// Generate Answer.
        Send = "send",
        /// Finding the id of a new conversation.
        Bind = "bind",
        /// List sweeps.
        Sweep = "sweep",
        /// Single reads.
        Get = "get",
    }
}

closed_label! {
    /// The place where a panic was contained.
    PanicPlace {
        /// A supervised loop; it was started again.
        Loop = "loop",
        /// A task in flight; its lease expires and somebody takes over.
        Task = "task",
        /// A request handler; the caller got a 500.
        Http = "http",
    }
}

closed_label! {
    /// The reason why the server ended a connection of its own accord.
    ConnectionEnd {
        /// Nothing, or half a request head, within the header timeout.
        HeaderTimeout = "header_timeout",
        /// A request body that stopped coming.
        BodyTimeout = "body_timeout",
        /// A peer that stopped reading its response.
        WriteTimeout = "write_timeout",
        /// One more than its address may have.
        AddressLimit = "address_limit",
        /// Not HTTP, or beyond the limits on it.
        Protocol = "protocol",
    }
}

closed_label! {
    /// Request methods the routes know.
    HttpMethod {
        /// GET.
        Get = "GET",
        /// HEAD.
        Head = "HEAD",
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
        /// PATCH.
        Patch = "PATCH",
        /// DELETE.
        Delete = "DELETE",
        /// OPTIONS.
        Options = "OPTIONS",
    }
}

/// An HTTP status, or why none came. Closed because status codes are: 100–599 (RFC 9110 §15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallStatus {
    /// An answer with this status.
    Code(u16),
    /// No answer within the deadline.
    Timeout,
    /// No connection: DNS, TCP or TLS failed before anything was sent.
    Connect,
    /// The connection broke after the request had begun to leave.
    Broken,
    /// An answer that could not be read.
    Unreadable,
    /// Anything else.
    Other,
}

impl From<u16> for CallStatus {
    fn from(code: u16) -> Self {
        if (100..=599).contains(&code) { Self::Code(code) } else { Self::Other }
    }
}

impl From<&str> for CallStatus {
    fn from(text: &str) -> Self {
        match text {
            "timeout" => Self::Timeout,
            "connect" => Self::Connect,
            "broken" => Self::Broken,
            "unreadable" => Self::Unreadable,
            _ => text.parse::<u16>().map_or(Self::Other, Self::from),
        }
    }
}

impl EncodeLabelValue for CallStatus {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(encoder, "{code}"),
            Self::Timeout => encoder.write_str("timeout"),
            Self::Connect => encoder.write_str("connect"),
            Self::Broken => encoder.write_str("broken"),
            Self::Unreadable => encoder.write_str("unreadable"),
            Self::Other => encoder.write_str("other"),
        }
    }
}

/// Declares the label sets: one struct per combination, so that a metric cannot be counted with a label missing.
macro_rules! label_sets {
    ($($name:ident { $($field:ident: $ty:ty),+ })+) => {
        $(
            #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
            pub(super) struct $name { $(pub(super) $field: $ty),+ }
        )+
    };
}

label_sets! {
    Frontend { frontend: Arc<str> }
    FrontendTurn { frontend: Arc<str>, outcome: TurnOutcome }
    FrontendDelivery { frontend: Arc<str>, destination: Arc<str>, outcome: DeliveryOutcome }
    FrontendAttempt { frontend: Arc<str>, class: AttemptClass }
    FiniCall { route: FiniRoute, status: CallStatus }
    FiniRouteOnly { route: FiniRoute }
    Kind { kind: Backlog }
    WaitingFor { kind: &'static str }
    StoreFile { file: &'static str }
    Class { class: BudgetClass }
    Key { key: &'static str }
    HttpCall { route: Arc<str>, method: HttpMethod, status: CallStatus }
    HttpRoute { route: Arc<str> }
    Operation { operation: &'static str }
    OtherClock { to: ClockOf }
    LoopName { r#loop: &'static str }
    LeftOutBy { reason: LeftOut }
    Place { place: PanicPlace }
    Listener { listener: &'static str }
    ListenerEnd { listener: &'static str, reason: ConnectionEnd }
    Version { version: String }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_themselves_and_strangers_as_other() {
        for outcome in TurnOutcome::KNOWN {
            assert_eq!(TurnOutcome::from(outcome.as_str()), *outcome);
        }
        assert_eq!(TurnOutcome::from("brand new"), TurnOutcome::Other);
        assert_eq!(HttpMethod::from("BREW"), HttpMethod::Other);
    }

    #[test]
    fn only_real_status_codes_become_series() {
        assert_eq!(CallStatus::from(200), CallStatus::Code(200));
        assert_eq!(CallStatus::from(0), CallStatus::Other);
        assert_eq!(CallStatus::from(600), CallStatus::Other);
        assert_eq!(CallStatus::from("timeout"), CallStatus::Timeout);
        assert_eq!(CallStatus::from("503"), CallStatus::Code(503));
    }
}
