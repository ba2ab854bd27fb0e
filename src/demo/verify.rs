//! The part of a customer's own backend that uses the shared secrets: it checks callbacks and mints browser tokens.
//!
//! The one place of the demo that touches `signature`; it only adds the shapes that the demo needs.

use axum::http::HeaderMap;
use serde_json::{Map, Value};

use crate::domain::WallTime;
use crate::signature::token::{self, Claims, TokenError, TokenSecret};
use crate::signature::{CallbackSecret, SignedHeaders, Verifier, VerifyError};

/// Accepts the `body`, which must be the bytes as received, if one of `secrets` signed it.
pub(super) fn callback(
    secrets: &[CallbackSecret],
    headers: &HeaderMap,
    body: &[u8],
    now: WallTime,
) -> Result<(), VerifyError> {
    let named = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let signed = SignedHeaders::pick(named)?;
    let verifier = Verifier::new(secrets.iter().cloned(), []);
    verifier.verify(signed, body, now.as_secs()).map(drop)
}

/// The holder of a token.
pub(super) struct Whose {
    /// The one conversation.
    pub(super) conversation_id: String,
    /// The customer, if the backend has recognised one.
    pub(super) user: Option<String>,
    /// Facts that the backend knows about the customer.
    pub(super) attributes: Map<String, Value>,
}

/// Mints a browser token for one conversation, valid from now on for `lifetime_secs` (at most an hour).
pub(super) fn browser_token(
    secret: &TokenSecret,
    frontend: &str,
    whose: Whose,
    (now, lifetime_secs): (WallTime, i64),
) -> Result<String, TokenError> {
    let iat = now.as_secs();
    let claims = Claims {
        frontend: frontend.to_owned(),
        conversation_id: Some(whose.conversation_id),
        sub: whose.user,
        attributes: whose.attributes,
        origins: Vec::new(),
        iat,
        exp: iat + lifetime_secs,
    };
    token::mint(&claims, secret)
}
