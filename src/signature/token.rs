//! Browser tokens: a customer's browser may speak in one conversation, or in all of one user, for at most an hour.
//!
//! A token is a JSON Web Token (RFC 7519) in compact form, HMAC-SHA256 (`HS256`, RFC 7518 §3.2) under the bytes of the
//! frontend's secret, so that the customer's own backend can mint one with any JWT library. The algorithm is fixed here,
//! not chosen by the token (RFC 8725 §3.1): nothing in its header can change how it is checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use subtle::ConstantTimeEq as _;

use super::secret::hmac_sha256;
use crate::domain::{exact, origin};

/// The `iss` of every token.
pub const ISSUER: &str = "fini-bridge";
/// Longest life of a token, `exp - iat`, in seconds.
pub const MAX_LIFETIME_SECS: i64 = 3600;
/// Largest distance of the minting clock from ours, in seconds.
pub const CLOCK_SKEW_SECS: i64 = 60;
/// Longest token that is read, in bytes; it has to fit into a header or a query.
const MAX_TOKEN: usize = 8192;
/// RFC 7518 §3.2 asks for a key as long as the hash.
const RECOMMENDED_SECRET_BYTES: usize = 32;
const MIN_SECRET_BYTES: usize = 16;
/// The longest user id, in characters.
const MAX_USER_ID: usize = 200;

/// The secret of one frontend's tokens: its text's bytes are the key, as JWT libraries take it.
#[derive(Debug, Clone)]
pub struct TokenSecret(SecretString);

/// The error of a text that is no token secret; holds its length in bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is {0} bytes long; at least 16 are required and 32 recommended (RFC 7518 §3.2)")]
pub struct TokenSecretError(pub usize);

/// The claims of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The frontend whose secret signed the token.
    pub frontend: String,
    /// The one conversation it opens; without it the token is a user's and opens all of that user.
    pub conversation_id: Option<String>,
    /// The user who speaks, if the minting side named one. Never missing without a conversation.
    pub sub: Option<String>,
    /// Facts about the user.
    pub attributes: Map<String, Value>,
    /// Web origins that may present the token; empty: any.
    pub origins: Vec<String>,
    /// Issued at, Unix seconds.
    pub iat: i64,
    /// Expires at, Unix seconds; at most an hour after `iat`.
    pub exp: i64,
}

/// The page that makes a request, as the request describes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Page<'a> {
    /// `Origin`: browsers send it with every request to another site, and with every POST.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`: no page can set it.
    pub fetch_site: Option<&'a str>,
    /// The host that the page asked.
    pub host: Option<&'a str>,
}

/// The reason why a token is refused. Never repeats its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than any token that makes sense.
    #[error("the token is longer than 8192 bytes")]
    TooLong,
    /// Not three parts between two full stops.
    #[error("the token is not three base64url parts joined by full stops")]
    Shape,
    /// A part is not canonical base64url, or not the JSON object it should be.
    #[error("the token's {0} cannot be read")]
    Unreadable(&'static str),
    /// Another algorithm than HS256, `none` included.
    #[error("the token's algorithm is not HS256")]
    Algorithm,
    /// The header demands extensions (`crit`, RFC 7515 §4.1.11) or says that this is no JWT.
    #[error("the token's header asks for something that is not supported")]
    Header,
    /// A claim is missing, or of the wrong type.
    #[error("the token's claim `{0}` is missing or has the wrong type")]
    Claim(&'static str),
    /// Minted for somebody else.
    #[error("the token's `iss` is not `fini-bridge`")]
    Issuer,
    /// An origin that no browser sends.
    #[error("the origin {0:?} {1}")]
    Origin(String, origin::NotAnOrigin),
    /// `exp` is not after `iat`, or more than an hour after it.
    #[error("the token's `exp` must lie after its `iat`, by at most 3600 s")]
    Lifetime,
    /// Signed with another secret, or changed after signing.
    #[error("the token's signature does not match")]
    Signature,
    /// Too late.
    #[error("the token expired {0} s ago")]
    Expired(i64),
    /// Too early: `iat` or `nbf` lies in the future beyond the skew.
    #[error("the token is valid only {0} s from now")]
    NotYetValid(i64),
}

impl TokenSecret {
    /// Takes the configured text as it stands.
    pub fn new(text: &str) -> Result<Self, TokenSecretError> {
        if text.len() < MIN_SECRET_BYTES {
            return Err(TokenSecretError(text.len()));
        }
        Ok(Self(SecretString::from(text)))
    }

    /// Returns true if the secret is shorter than RFC 7518 §3.2 asks; worth a warning.
    pub fn is_short(&self) -> bool {
        self.0.expose_secret().len() < RECOMMENDED_SECRET_BYTES
    }

    fn mac(&self, content: &[u8]) -> [u8; 32] {
        hmac_sha256(self.0.expose_secret().as_bytes(), content)
    }
}

impl Claims {
    /// Returns the key under which its reads and messages are counted: the user, else the conversation. Neither can be
    /// taken for the other.
    pub fn person(&self) -> String {
        match &self.sub {
            Some(sub) => format!("user:{sub}"),
            None => format!("conversation:{}", self.conversation_id.as_deref().unwrap_or_default()),
        }
    }

    /// Returns true if this page may present the token. If the token lists origins, the page has to be of one: by its
    /// `Origin`, or, since browsers send none when a page reads from its own, by their word that it does and by the host
    /// that was asked.
    pub fn allows(&self, page: Page<'_>) -> bool {
        let is_listed = |wanted: &dyn Fn(&str) -> bool| self.origins.iter().any(|listed| wanted(listed));
        self.origins.is_empty()
            || match page {
                Page { origin: Some(origin), .. } => is_listed(&|listed| listed == origin),
                Page { fetch_site: Some("same-origin"), host: Some(host), .. } => {
                    is_listed(&|listed| origin::is_host(listed, host))
                }
                Page { .. } => false,
            }
    }

    fn check_subject(&self) -> Result<(), TokenError> {
        match (&self.conversation_id, &self.sub) {
            (None, None) => Err(TokenError::Claim("conversation_id")),
            (_, Some(sub)) if !(1..=MAX_USER_ID).contains(&sub.chars().count()) || sub.contains('\0') => {
                Err(TokenError::Claim("sub"))
            }
            _ => Ok(()),
        }
    }

    fn check_lifetime(&self) -> Result<(), TokenError> {
        match self.exp.checked_sub(self.iat) {
            Some(1..=MAX_LIFETIME_SECS) => Ok(()),
            _ => Err(TokenError::Lifetime),
        }
    }
}

/// Makes the token for `claims`. Fails if the bridge would refuse it: if the claims live longer than an hour or not at all,
/// name neither conversation nor user, list an origin that no browser sends, or hold more than fits into a header.
pub fn mint(claims: &Claims, secret: &TokenSecret) -> Result<String, TokenError> {
    claims.check_lifetime()?;
    claims.check_subject()?;
    for written in &claims.origins {
        match origin::exact(written) {
            Ok(exact) if exact == *written => {}
            Ok(exact) => return Err(TokenError::Origin(written.clone(), origin::NotAnOrigin::More(exact))),
            Err(why) => return Err(TokenError::Origin(written.clone(), why)),
        }
    }
    let mut token = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload(claims), &mut token);
    let signature = secret.mac(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    if token.len() > MAX_TOKEN { Err(TokenError::TooLong) } else { Ok(token) }
}

/// Returns the frontend that the token names, **unproved**: good only for choosing the secret to verify with.
pub fn peek_frontend(token: &str) -> Result<String, TokenError> {
    text(Parts::split(token)?.claims()?.frontend, "frontend")
}

/// Returns the claims of `token`, proved by `secret` and valid at `now` (Unix seconds, with 60 s of skew).
pub fn verify(token: &str, secret: &TokenSecret, now: i64) -> Result<Claims, TokenError> {
    let parts = Parts::split(token)?;
    if !bool::from(secret.mac(parts.signed.as_bytes()).ct_eq(&parts.signature)) {
        return Err(TokenError::Signature);
    }
    let raw = parts.claims()?;
    if text(raw.iss, "iss")? != ISSUER {
        return Err(TokenError::Issuer);
    }
    let not_before = raw.nbf.map(|value| seconds(Some(&value), "nbf")).transpose()?;
    let claims = Claims {
        frontend: text(raw.frontend, "frontend")?,
        conversation_id: raw.conversation_id.map(|value| text(Some(value), "conversation_id")).transpose()?,
        sub: raw.sub.map(|value| text(Some(value), "sub")).transpose()?,
        attributes: attributes(raw.attributes.as_deref())?,
        origins: origins(raw.origins)?,
        iat: seconds(raw.iat.as_ref(), "iat")?,
        exp: seconds(raw.exp.as_ref(), "exp")?,
    };
    claims.check_lifetime()?;
    claims.check_subject()?;
    if now >= claims.exp.saturating_add(CLOCK_SKEW_SECS) {
        return Err(TokenError::Expired(now.saturating_sub(claims.exp)));
    }
    let starts = claims.iat.max(not_before.unwrap_or(claims.iat));
    if starts > now.saturating_add(CLOCK_SKEW_SECS) {
        return Err(TokenError::NotYetValid(starts.saturating_sub(now)));
    }
    Ok(claims)
}

/// The parts of a token whose header is already checked.
struct Parts<'a> {
    signed: &'a str,
    payload: &'a str,
    signature: [u8; 32],
}

/// Known members only; a repeated one is an error, so that no two readers can understand a token differently. A `null`
/// member is present, with a wrong type: it must not read as one that nobody wrote.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RawHeader {
    #[serde(deserialize_with = "given")]
    alg: Option<Value>,
    #[serde(deserialize_with = "given")]
    typ: Option<Value>,
    #[serde(deserialize_with = "given")]
    crit: Option<Value>,
}

/// Known members only, as in the header.
///
/// `null` is not the same as nothing: a token whose minting side had no conversation at hand must not become a user's.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RawClaims {
    #[serde(deserialize_with = "given")]
    iss: Option<Value>,
    #[serde(deserialize_with = "given")]
    frontend: Option<Value>,
    #[serde(deserialize_with = "given")]
    conversation_id: Option<Value>,
    #[serde(deserialize_with = "given")]
    sub: Option<Value>,
    #[serde(deserialize_with = "given")]
    attributes: Option<Box<RawValue>>,
    #[serde(deserialize_with = "given")]
    origins: Option<Value>,
    #[serde(deserialize_with = "given")]
    iat: Option<Value>,
    #[serde(deserialize_with = "given")]
    nbf: Option<Value>,
    #[serde(deserialize_with = "given")]
    exp: Option<Value>,
}

fn given<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Shape)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Shape)?;
        if payload.contains('.') {
            return Err(TokenError::Shape);
        }
        let header: RawHeader = object(header, "header")?;
        if header.alg.as_ref().and_then(Value::as_str) != Some("HS256") {
            return Err(TokenError::Algorithm);
        }
        let is_jwt = |typ: &Value| typ.as_str().is_some_and(|typ| typ.eq_ignore_ascii_case("JWT"));
        if header.crit.is_some() || !header.typ.as_ref().is_none_or(is_jwt) {
            return Err(TokenError::Header);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Unreadable("signature"))?;
        let signature = signature.try_into().map_err(|_| TokenError::Signature)?;
        Ok(Self { signed, payload, signature })
    }

    fn claims(&self) -> Result<RawClaims, TokenError> {
        object(self.payload, "payload")
    }
}

fn payload(claims: &Claims) -> Vec<u8> {
    #[derive(Serialize)]
    struct Minted<'a> {
        iss: &'static str,
        frontend: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        conversation_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sub: Option<&'a str>,
        #[serde(skip_serializing_if = "Map::is_empty")]
        attributes: &'a Map<String, Value>,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        origins: &'a [String],
        iat: i64,
        exp: i64,
    }
    serde_json::to_vec(&Minted {
        iss: ISSUER,
        frontend: &claims.frontend,
        conversation_id: claims.conversation_id.as_deref(),
        sub: claims.sub.as_deref(),
        attributes: &claims.attributes,
        origins: &claims.origins,
        iat: claims.iat,
        exp: claims.exp,
    })
    .expect("strings, numbers and objects of them always serialise")
}

fn object<T: serde::de::DeserializeOwned>(encoded: &str, part: &'static str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Unreadable(part))?;
    // Structs are also read from arrays; RFC 7519 knows objects only.
    if !bytes.starts_with(b"{") {
        return Err(TokenError::Unreadable(part));
    }
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Unreadable(part))
}

fn text(value: Option<Value>, claim: &'static str) -> Result<String, TokenError> {
    match value {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(TokenError::Claim(claim)),
    }
}

fn attributes(value: Option<&RawValue>) -> Result<Map<String, Value>, TokenError> {
    match value.map(|raw| exact::value(raw.get().as_bytes())) {
        None => Ok(Map::new()),
        Some(Ok(Value::Object(attributes))) => Ok(attributes),
        Some(_) => Err(TokenError::Claim("attributes")),
    }
}

fn origins(value: Option<Value>) -> Result<Vec<String>, TokenError> {
    match value {
        None => Ok(Vec::new()),
        // An empty list would read as "any origin" here and as "no origin" to the one who wrote it.
        Some(Value::Array(list)) if !list.is_empty() => {
            list.into_iter().map(|origin| text(Some(origin), "origins")).collect()
        }
        Some(_) => Err(TokenError::Claim("origins")),
    }
}

/// Reads a NumericDate (RFC 7519 §2). It may have a fraction, and Python's clock gives one; the fraction is cut off.
fn seconds(value: Option<&Value>, claim: &'static str) -> Result<i64, TokenError> {
    const YEAR_9999: i64 = 253_402_300_799;
    let number = value.and_then(|value| {
        value.as_i64().or_else(|| {
            #[expect(clippy::cast_possible_truncation, reason = "out of range saturates and is refused below")]
            value.as_f64().map(|number| number.floor() as i64)
        })
    });
    number.filter(|number| (0..=YEAR_9999).contains(number)).ok_or(TokenError::Claim(claim))
}

#[cfg(test)]
mod tests;
