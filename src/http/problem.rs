//! Every error with which the API can answer: one list of codes, one shape (RFC 9457).

use std::{borrow::Cow, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::server::Unreadable;
use crate::{domain::handoff::Agent, store::StoreError};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:ident, $title:literal;)+) => {
        /// A stable code: what programs decide by. Titles and details may change, codes do not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Returns the code as it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// Returns the status of the answer.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

codes! {
    /// The body is not JSON.
    InvalidJson = "invalid_json", BAD_REQUEST, "The body is not valid JSON";
    /// The request is not HTTP, or names no host or two.
    InvalidHttp = "invalid_http", BAD_REQUEST, "The request is not valid HTTP";
    /// The head of the request is larger than the server takes.
    HeadTooLarge = "head_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of the request is too large";
    /// A cursor that nobody gave.
    InvalidCursor = "invalid_cursor", BAD_REQUEST, "The cursor is not one of ours";
    /// No credentials, or wrong ones.
    Unauthorized = "unauthorized", UNAUTHORIZED, "Valid credentials are required";
    /// Credentials that do not allow this.
    Forbidden = "forbidden", FORBIDDEN, "These credentials do not allow this";
    /// No such thing, or not the caller's.
    NotFound = "not_found", NOT_FOUND, "Not found";
    /// Another method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "This route does not take this method";
    /// The body did not arrive in time.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, "The request took too long to arrive";
    /// The id was used with other content.
    MessageConflict = "message_conflict", CONFLICT, "This message id was used for another message";
    /// The frontend has no browser token secret.
    BrowserTokensDisabled = "browser_tokens_disabled", CONFLICT, "Browser tokens are not enabled for this frontend";
    /// Another user was named in the conversation.
    OfAnotherUser = "of_another_user", CONFLICT, "The conversation is not anonymous";
    /// Not what the conversation's state allows (an operator's request).
    NotQuarantined = "not_quarantined", CONFLICT, "The conversation is not quarantined";
    /// The Fini conversation belongs to another conversation.
    AlreadyBound = "already_bound", CONFLICT, "The Fini conversation belongs to another conversation";
    /// Fini has no such conversation.
    UnknownInteraction = "unknown_interaction", CONFLICT, "Fini does not know this conversation";
    /// Events behind the cursor were pruned.
    CursorExpired = "cursor_expired", GONE, "What stood behind the cursor is kept no longer";
    /// Another agent has the conversation.
    AlreadyClaimed = "already_claimed", CONFLICT, "Another agent has the conversation";
    /// The bot has the conversation; for a position also where a human has it.
    NoHandoff = "no_handoff", CONFLICT, "There is no handoff that this could be about";
    /// The body is larger than `server.max_body`.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body is not `application/json`.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body must be application/json";
    /// A field is missing or wrong.
    InvalidMessage = "invalid_message", UNPROCESSABLE_ENTITY, "The message is not valid";
    /// A parameter is wrong.
    InvalidRequest = "invalid_request", UNPROCESSABLE_ENTITY, "The request is not valid";
    /// Too many messages wait.
    BacklogFull = "backlog_full", TOO_MANY_REQUESTS, "Too many messages are waiting";
    /// More than one person, conversation or address may do in a minute.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too much at once";
    /// Too many streams are open.
    TooManyStreams = "too_many_streams", TOO_MANY_REQUESTS, "Too many streams are open";
    /// A fault of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, "The bridge failed";
    /// The bridge stops; another replica, or the next start, takes the request.
    ShuttingDown = "shutting_down", SERVICE_UNAVAILABLE, "The bridge is shutting down";
    /// Fini cannot be asked at present.
    FiniUnavailable = "fini_unavailable", SERVICE_UNAVAILABLE, "Fini does not answer";
    /// The database does not answer; nothing was stored.
    StoreUnavailable = "store_unavailable", SERVICE_UNAVAILABLE, "The store is not available";
}

/// An error in one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field, as a path (`user.attributes`).
    pub field: Cow<'static, str>,
    /// The expectation.
    pub message: String,
}

impl FieldError {
    /// Creates an error in that field.
    pub fn new(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// An error response, until the request's id is known.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: Option<String>,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    oldest_cursor: Option<String>,
    agent: Option<Box<Agent>>,
}

impl Problem {
    /// Creates a problem of that code.
    pub const fn new(code: Code) -> Self {
        Self { code, detail: None, errors: Vec::new(), retry_after: None, oldest_cursor: None, agent: None }
    }

    /// Returns its code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Adds words for people.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds errors field by field.
    #[must_use]
    pub fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// Adds the agent who has the conversation.
    #[must_use]
    pub fn agent(mut self, agent: Agent) -> Self {
        self.agent = Some(Box::new(agent));
        self
    }

    /// Adds the time after which to come back; at least a second.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds the cursor from which on the log is complete.
    #[must_use]
    pub fn oldest_cursor(mut self, cursor: String) -> Self {
        self.oldest_cursor = Some(cursor);
        self
    }

    /// Renders the response, once the request's id is known.
    pub(super) fn render(self, request_id: &str) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "type")]
            kind: String,
            title: &'static str,
            status: u16,
            code: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            detail: Option<&'a str>,
            request_id: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [FieldError],
            #[serde(skip_serializing_if = "Option::is_none")]
            oldest_cursor: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            agent: Option<&'a Agent>,
        }
        let status = self.code.status();
        let body = Body {
            kind: format!("urn:fini-bridge:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: status.as_u16(),
            code: self.code.as_str(),
            detail: self.detail.as_deref(),
            request_id,
            errors: &self.errors,
            oldest_cursor: self.oldest_cursor.as_deref(),
            agent: self.agent.as_deref(),
        };
        let text = serde_json::to_string(&body).unwrap_or_default();
        let json = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, json)], text).into_response();
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"fini-bridge\""));
        }
        response
    }
}

/// Leaves the problem in the response for the outermost layer, which knows the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Unreadable> for Problem {
    fn from(Unreadable(status): Unreadable) -> Self {
        let is_too_large = matches!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::URI_TOO_LONG);
        Self::new(if is_too_large { Code::HeadTooLarge } else { Code::InvalidHttp })
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Contended(_) => {
                tracing::warn!(%error, "store not available");
                Self::new(Code::StoreUnavailable).retry_after(Duration::from_secs(1))
            }
            error => {
                tracing::error!(%error, "store failed");
                Self::new(Code::Internal)
            }
        }
    }
}
