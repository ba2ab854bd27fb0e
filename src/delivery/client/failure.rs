//! Names the failure of an attempt, from the chain of errors that the HTTP stack gives.
//!
//! Kinds are few and stable: they are shown to operators, counted in metrics and judged by [`crate::delivery::verdict`].
//! Details are short, of one line, and carry neither URLs nor any text that was sent.

use std::error::Error;
use std::fmt;
use std::io;

use crate::delivery::guard::Refused;
use crate::delivery::resolver::ResolveError;

/// Longest detail, in bytes.
const MAX_DETAIL: usize = 300;

/// The stage or manner in which an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The destination is not one that may be contacted.
    Guard,
    /// The name could not be resolved.
    Dns,
    /// The connection was refused.
    Refused,
    /// The connection could not be made for another reason.
    Connect,
    /// The TLS handshake failed, the certificate included.
    Tls,
    /// The time ran out, at whatever stage.
    Timeout,
    /// The connection was cut before the answer was complete.
    Reset,
    /// The answer is not HTTP.
    Protocol,
    /// The answer's body could not be read.
    Body,
    /// The bridge itself failed before anything was sent.
    Internal,
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct AttemptError {
    /// The stage or manner of the failure.
    pub kind: ErrorKind,
    /// The cause in words; one line, control characters escaped.
    pub detail: String,
}

impl ErrorKind {
    /// Returns the word for logs, metrics and the admin interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Body => "body",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AttemptError {
    /// Creates an error of `kind` with `detail` cut to a line.
    pub fn new(kind: ErrorKind, detail: &dyn fmt::Display) -> Self {
        Self { kind, detail: printable(&detail.to_string(), MAX_DETAIL) }
    }

    pub(super) fn timeout(detail: &'static str) -> Self {
        Self::new(ErrorKind::Timeout, &detail)
    }
}

/// Names an error that came instead of an answer.
pub(super) fn of_request(error: &reqwest::Error) -> AttemptError {
    if let Some(named) = named_cause(error) {
        return named;
    }
    let (kind, detail) = if error.is_builder() {
        (ErrorKind::Internal, innermost(error))
    } else if error.is_timeout() {
        (ErrorKind::Timeout, "the connection was not made in time".to_owned())
    } else if error.is_connect() {
        (ErrorKind::Connect, innermost(error))
    } else {
        (ErrorKind::Protocol, innermost(error))
    };
    AttemptError::new(kind, &detail)
}

/// Returns true if the receiver provably did not process the request: it said so in HTTP/2 (RFC 9113 §8.7), or the
/// connection was a kept one and ended before anything of an answer came.
pub(super) fn is_unprocessed(error: &reqwest::Error, was_kept: bool) -> bool {
    causes(error).any(|cause| {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
            let leaving = h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR);
            return h2.is_remote() && (refused || leaving);
        }
        was_kept
            && (cause
                .downcast_ref::<hyper::Error>()
                .is_some_and(|http| http.is_incomplete_message() || http.is_canceled())
                || cause.downcast_ref::<io::Error>().is_some_and(|io| is_end_of_connection(io.kind())))
    })
}

fn is_end_of_connection(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
}

/// Names an error that came in the middle of an answer.
pub(super) fn of_body(error: &reqwest::Error) -> AttemptError {
    match named_cause(error) {
        Some(named) if named.kind == ErrorKind::Reset => named,
        _ => AttemptError::new(ErrorKind::Body, &innermost(error)),
    }
}

/// Writes `text` on one line, harmless to a terminal: control characters and invisible direction marks become escapes. Cuts
/// it at a character's boundary to at most `limit` bytes.
pub(super) fn printable(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    for c in text.chars() {
        let invisible =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || invisible {
            let escaped = c.escape_default();
            if out.len() + escaped.len() > limit {
                break;
            }
            out.extend(escaped);
        } else if out.len() + c.len_utf8() > limit {
            break;
        } else {
            out.push(c);
        }
    }
    out
}

/// Names the first cause in the chain whose type tells the kind of failure.
fn named_cause(error: &reqwest::Error) -> Option<AttemptError> {
    causes(error).find_map(|cause| {
        let kind = if let Some(resolve) = cause.downcast_ref::<ResolveError>() {
            match resolve {
                ResolveError::Refused(_) => ErrorKind::Guard,
                ResolveError::Lookup(_) | ResolveError::Empty => ErrorKind::Dns,
            }
        } else if cause.is::<Refused>() {
            ErrorKind::Guard
        } else if cause.is::<rustls::Error>() {
            ErrorKind::Tls
        } else if let Some(http) = cause.downcast_ref::<hyper::Error>() {
            if http.is_parse() {
                ErrorKind::Protocol
            } else if http.is_incomplete_message() {
                ErrorKind::Reset
            } else {
                return None;
            }
        } else if let Some(io) = cause.downcast_ref::<io::Error>() {
            // An error that only wraps another one is named after that one, which comes next.
            if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>() || inner.is::<ResolveError>()) {
                return None;
            }
            match io.kind() {
                io::ErrorKind::ConnectionRefused => ErrorKind::Refused,
                kind if is_end_of_connection(kind) => ErrorKind::Reset,
                _ => return None,
            }
        } else {
            return None;
        };
        Some(AttemptError::new(kind, &cause))
    })
}

/// Returns the causes of `error` without itself: its own text may contain the URL.
fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| {
        let cause: &'a (dyn Error + 'static) = *cause;
        // An `io::Error` gives as its source not the error it wraps but the source of that.
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map_or_else(|| cause.source(), |inner| Some(inner as &(dyn Error + 'static)))
    })
}

fn innermost(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| "the request could not be made".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_cannot_break_a_line_or_a_terminal() {
        assert_eq!(printable("a\nb\r\u{1b}[31m\t\0", 100), r"a\nb\r\u{1b}[31m\t\u{0}");
        assert_eq!(printable("\u{202e}gnp.exe\u{2028}", 100), r"\u{202e}gnp.exe\u{2028}");
        assert_eq!(printable("Größe 🙂", 100), "Größe 🙂");
    }

    #[test]
    fn cutting_respects_characters_and_escapes() {
        assert_eq!(printable("äää", 5), "ää");
        assert_eq!(printable("ab\n", 3), "ab");
        assert_eq!(printable("ab\n", 4), r"ab\n");
        assert_eq!(printable("", 0), "");
        assert_eq!(printable("\u{1}".repeat(5000).as_str(), 300).len(), 300);
    }
}
