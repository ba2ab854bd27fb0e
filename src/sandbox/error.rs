//! The errors for callers of the simulated vendor, and for those who control the sandbox.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Map, Value, json};

/// A refusal as the vendor words it: `{statusCode, message, error}`, where `message` is a text or, for validation, an
/// array of texts, and `error` may be missing.
#[derive(Clone, Debug, PartialEq)]
pub struct VendorError {
    /// HTTP status.
    pub status: u16,
    /// Text, or array of texts.
    pub message: Value,
    /// `Retry-After` in seconds.
    pub retry_after: Option<String>,
    /// True if it comes from something in front of the vendor, in HTML: a firewall, a gateway.
    pub in_front: bool,
}

impl VendorError {
    /// Creates a refusal with one text.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: Value::String(message.into()), retry_after: None, in_front: false }
    }

    /// Creates a 400 with one text per broken rule.
    pub fn validation(messages: Vec<String>) -> Self {
        Self { status: 400, message: messages.into(), retry_after: None, in_front: false }
    }

    /// Creates a 400 with one text.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// Creates a 401: key missing, malformed, revoked or unknown.
    pub fn unauthorised() -> Self {
        Self::new(401, "Unauthorized")
    }

    /// Creates a 403: the key lacks a scope.
    pub fn forbidden(scope: &str) -> Self {
        Self::new(403, format!("This API key has no {scope} scope"))
    }

    /// Creates a page of something in front of the vendor.
    pub fn page(status: u16) -> Self {
        Self { in_front: true, ..Self::new(status, "") }
    }

    /// Creates a 500, which unknown ids get as well.
    pub fn internal() -> Self {
        Self::new(500, "Internal server error")
    }
}

impl IntoResponse for VendorError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let reason = status.canonical_reason().unwrap_or("Error");
        let mut response = if self.in_front {
            let title = format!("{} {reason}", status.as_u16());
            let page =
                format!("<html><head><title>{title}</title></head><body><h1>{title}</h1><hr>proxy</body></html>");
            (status, Html(page)).into_response()
        } else {
            let mut body = Map::new();
            body.insert("statusCode".into(), json!(status.as_u16()));
            body.insert("message".into(), self.message);
            // Bare errors carry no `error`: every field of the documented body is optional, and a client has to live with that.
            if !matches!(status.as_u16(), 401 | 429 | 500) {
                body.insert("error".into(), json!(reason));
            }
            (status, Json(Value::Object(body))).into_response()
        };
        if let Some(value) = self.retry_after.and_then(|text| HeaderValue::from_str(&text).ok()) {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

/// The reason why a control call was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SandboxError {
    /// No conversation under this id, attribute or `latest`.
    #[error("no conversation is known as {0:?}")]
    UnknownConversation(String),
    /// The conversation has no such event.
    #[error("the conversation has no event {0:?}")]
    UnknownEvent(String),
    /// A value that cannot be used.
    #[error("{0}")]
    Invalid(String),
}

impl IntoResponse for SandboxError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::UnknownConversation(_) | Self::UnknownEvent(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
        };
        (status, Json(json!({"error": self.to_string()}))).into_response()
    }
}
