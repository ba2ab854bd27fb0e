//! The meaning of a failed request, decided once: the classes differ by what a caller may do next, not by the cause.

use std::time::Duration;

/// The reason why a request to Fini gave no usable answer.
///
/// Details are for operators: at most 300 characters, without keys and without texts of the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Provably before the whole request left: name resolution, a refused connection, the TLS handshake, the connect
    /// timeout, or a connection that ended before it took the body. Safe to send again, whatever the route.
    #[error("the request never left: {detail}")]
    NeverLeft {
        /// The network's explanation.
        detail: String,
    },

    /// Fini may have done what was asked, or not. A read may simply be repeated; a send must be looked for in the
    /// conversation first.
    ///
    /// That is any 5xx ("Generate Answer", Errors: Fini may fail while persisting *or after it, while generating the
    /// reply*; unknown conversation and bot ids answer 500 too, so it can also be permanent), 408, 425, 499, a redirect,
    /// a deadline that passed after the request left, a connection that broke, a 2xx whose body is truncated, garbled,
    /// too large or about something else, and every refusal that Fini did not write itself: the page of a firewall or a
    /// gateway says nothing about key, bot, id or message.
    #[error("the outcome is unclear{}: {detail}", show(*.status))]
    Unclear {
        /// The status, if the head of an answer arrived.
        status: Option<u16>,
        /// The wait that Fini or a proxy before it asked for; Fini documents no such header.
        retry_after: Option<Duration>,
        /// True if the answer is an error in Fini's own JSON shape; false for an answer of something in front of Fini, and
        /// if no answer came.
        by_fini: bool,
        /// The explanation, as far as there is one.
        detail: String,
    },

    /// Final for this request: sent again as it is, it will be rejected again, and nothing was stored. Any 4xx in Fini's
    /// own JSON shape that has no class of its own ("Generate Answer", Errors: a malformed body; "List conversations",
    /// Errors: invalid parameters, with the rule that failed in the message).
    #[error("Fini rejected the request (status {status}): {detail}")]
    Rejected {
        /// The status.
        status: u16,
        /// Fini's explanation.
        detail: String,
    },

    /// Fini itself refuses: the key is missing, wrong or revoked (401), or lacks the scope of the route (403); all pages,
    /// Errors. It may also be about the bot alone: the key is doubted only when others are refused as well.
    #[error("Fini refuses access (status {status}): {detail}")]
    Unauthorised {
        /// 401 or 403.
        status: u16,
        /// Fini's explanation.
        detail: String,
    },

    /// 429: over 100 requests in 60 seconds ("List conversations", Rate limits). Nothing was done. Fini documents no
    /// `Retry-After`, so `None` is the usual case.
    #[error("Fini throttles (status 429): {detail}")]
    Throttled {
        /// The wait, if the answer names one.
        retry_after: Option<Duration>,
        /// Fini's explanation.
        detail: String,
    },

    /// Fini's own 404 for one conversation by its id. A hint, not a proof: the page "Get conversation" says that unknown
    /// ids answer 500, so confirm by a second read before a conversation is given up. Also returned, without a request, for
    /// ids that no path can carry (empty, `.` and `..`).
    #[error("Fini does not know the conversation: {detail}")]
    Missing {
        /// Fini's explanation.
        detail: String,
    },
}

impl Failure {
    /// Returns the class as a stable word for log fields.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::NeverLeft { .. } => "never_left",
            Self::Unclear { .. } => "unclear",
            Self::Rejected { .. } => "rejected",
            Self::Unauthorised { .. } => "unauthorised",
            Self::Throttled { .. } => "throttled",
            Self::Missing { .. } => "missing",
        }
    }

    /// Returns the status of the answer, if there was one.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::NeverLeft { .. } => None,
            Self::Unclear { status, .. } => *status,
            Self::Rejected { status, .. } | Self::Unauthorised { status, .. } => Some(*status),
            Self::Throttled { .. } => Some(429),
            Self::Missing { .. } => Some(404),
        }
    }

    /// Returns true for Fini's own answers about a conversation that it does not have: 404, and 500 as documented. A hint,
    /// never a proof: it answers 500 when it is down as well.
    pub const fn may_mean_gone(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Unclear { status: Some(500), by_fini: true, .. })
    }

    /// Returns how long to stay away, if the answer said so.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unclear { retry_after, .. } | Self::Throttled { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns the explanation: at most 300 characters, without keys and without texts of the request.
    pub fn detail(&self) -> &str {
        match self {
            Self::NeverLeft { detail }
            | Self::Unclear { detail, .. }
            | Self::Rejected { detail, .. }
            | Self::Unauthorised { detail, .. }
            | Self::Throttled { detail, .. }
            | Self::Missing { detail } => detail,
        }
    }
}

fn show(status: Option<u16>) -> String {
    status.map(|status| format!(" (status {status})")).unwrap_or_default()
}
