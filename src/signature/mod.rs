//! Proves who speaks: Standard Webhooks signatures and browser tokens.
//!
//! Callbacks leave signed with [`Signer`], signed requests from frontends are checked with [`Verifier`], and a customer's
//! browser carries a short-lived [`token`]. Signatures follow the Standard Webhooks specification 1.0
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>): they cover
//! `{id}.{timestamp}.{body}` over the raw bytes of the body, with `v1` = HMAC-SHA256 and `v1a` = Ed25519.
//!
//! This room does no I/O and asks neither the clock nor the random source: both come in as parameters. No key leaves it
//! through `Debug`, `Display` or an error, and everything secret is compared in constant time.

mod ed25519;
mod secret;
mod sign;
pub mod token;
mod verify;

pub use ed25519::{KeyError, PrivateKey, PublicKey};
pub use secret::{CallbackSecret, SecretError};
pub use sign::Signer;
pub use verify::{SignedHeaders, Verified, Verifier, VerifyError};

/// The message's id; the same in every attempt and replay, so that a receiver can drop repeats by it.
pub const HEADER_ID: &str = "webhook-id";
/// Time at which this attempt was signed, in whole seconds since the Unix epoch.
pub const HEADER_TIMESTAMP: &str = "webhook-timestamp";
/// Space-separated signatures, each `version,base64`.
pub const HEADER_SIGNATURE: &str = "webhook-signature";

/// Largest distance of a signed timestamp from now, in either direction: 300 seconds, as in the reference libraries.
pub const TOLERANCE_SECS: u64 = 300;

/// Returns the content that both algorithms sign. The body is appended as bytes: it is never parsed or re-encoded on the
/// way.
fn signed_content(id: &str, timestamp: i64, body: &[u8]) -> Vec<u8> {
    let timestamp = timestamp.to_string();
    let mut content = Vec::with_capacity(id.len() + timestamp.len() + body.len() + 2);
    content.extend_from_slice(id.as_bytes());
    content.push(b'.');
    content.extend_from_slice(timestamp.as_bytes());
    content.push(b'.');
    content.extend_from_slice(body);
    content
}
