//! Browser tokens as a customer's own backend mints them: written from the claims' description, not with the bridge's code.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

/// A JWT, HS256 under the bytes of `secret`.
pub fn browser_token(secret: &str, claims: &Value) -> String {
    with_header(&serde_json::json!({"alg": "HS256", "typ": "JWT"}), secret, claims)
}

/// The same with a header of the caller's choice.
pub fn with_header(header: &Value, secret: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    format!("{signed}.{}", mac(secret, &signed))
}

/// The signature of a JWT.
pub fn mac(secret: &str, signed: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}
