//! Checks signed messages that arrive: requests of a frontend's server, captured callbacks, the demo's own receiver.
//!
//! The order of the checks is the order in which a person would look: are the headers there, are they well formed, is the
//! message recent, is one of the signatures ours. Every answer but "recent" is independent of the clock.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::{Choice, ConstantTimeEq as _};

use super::ed25519::PublicKey;
use super::secret::CallbackSecret;
use super::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, TOLERANCE_SECS, signed_content};

/// Longest message id that is read, in bytes.
const MAX_ID: usize = 255;
/// Most signatures that are read: rotation needs a handful, and every `v1a` costs a curve operation.
const MAX_SIGNATURES: usize = 32;

/// The three headers as they arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SignedHeaders<'a> {
    /// `webhook-id`
    pub id: Option<&'a str>,
    /// `webhook-timestamp`
    pub timestamp: Option<&'a str>,
    /// `webhook-signature`
    pub signature: Option<&'a str>,
}

/// The facts that a valid signature proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified<'a> {
    /// The message id, the same in every attempt.
    pub id: &'a str,
    /// Time at which the attempt was signed, in Unix seconds.
    pub timestamp: i64,
}

/// The reason why a message is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A header is absent or empty.
    #[error("the header `{0}` is missing")]
    Missing(&'static str),
    /// A header occurs twice; choosing one would be a guess.
    #[error("the header `{0}` occurs more than once")]
    Repeated(&'static str),
    /// A header cannot be read.
    #[error("the header `{name}` is malformed: {why}")]
    Malformed {
        /// The header.
        name: &'static str,
        /// Its fault.
        why: &'static str,
    },
    /// Signed too long ago: a replay, a queue that stood, or a clock that is slow.
    #[error("signed {seconds} s ago; at most {tolerance} s are accepted")]
    TooOld {
        /// Age at the time of the check.
        seconds: u64,
        /// The largest accepted age, in seconds.
        tolerance: u64,
    },
    /// Signed in the future: one of the two clocks is wrong.
    #[error("signed {seconds} s in the future; at most {tolerance} s are accepted")]
    TooNew {
        /// Distance from the time of the check.
        seconds: u64,
        /// The largest accepted distance, in seconds.
        tolerance: u64,
    },
    /// Well formed and recent, but no signature fits: another secret, or another body than the one signed.
    #[error(
        "none of {signatures} signature(s) matches any of {keys} key(s); compare the secret and the raw bytes of the body"
    )]
    NoMatch {
        /// Signatures of a known version in the header.
        signatures: usize,
        /// Secrets and public keys tried.
        keys: usize,
    },
}

/// The keys that a sender may have signed with, and the largest age of a message.
#[derive(Debug, Clone)]
pub struct Verifier {
    secrets: Vec<CallbackSecret>,
    public_keys: Vec<PublicKey>,
    tolerance: Option<u64>,
    /// Largest distance of the timestamp ahead of now, in seconds, if less than the tolerance.
    ahead: Option<u64>,
}

impl<'a> SignedHeaders<'a> {
    /// Picks the three headers out of `headers` (names without case). Fails on repeated ones and on values that are not
    /// text; those that are absent stay `None`.
    pub fn pick(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, VerifyError> {
        let mut picked = Self::default();
        for (name, value) in headers {
            let (name, slot) = if name.eq_ignore_ascii_case(HEADER_ID) {
                (HEADER_ID, &mut picked.id)
            } else if name.eq_ignore_ascii_case(HEADER_TIMESTAMP) {
                (HEADER_TIMESTAMP, &mut picked.timestamp)
            } else if name.eq_ignore_ascii_case(HEADER_SIGNATURE) {
                (HEADER_SIGNATURE, &mut picked.signature)
            } else {
                continue;
            };
            if slot.is_some() {
                return Err(VerifyError::Repeated(name));
            }
            *slot = Some(
                std::str::from_utf8(value).map_err(|_| VerifyError::Malformed { name, why: "it is not ASCII text" })?,
            );
        }
        Ok(picked)
    }

    /// Returns true if the message claims to be signed at all.
    pub fn any(&self) -> bool {
        self.id.is_some() || self.timestamp.is_some() || self.signature.is_some()
    }
}

impl Verifier {
    /// Accepts messages that any of `secrets` or `public_keys` signed, within five minutes of now.
    pub fn new(
        secrets: impl IntoIterator<Item = CallbackSecret>,
        public_keys: impl IntoIterator<Item = PublicKey>,
    ) -> Self {
        Self {
            secrets: secrets.into_iter().collect(),
            public_keys: public_keys.into_iter().collect(),
            tolerance: Some(TOLERANCE_SECS),
            ahead: None,
        }
    }

    /// Accepts timestamps at most so many seconds ahead of now: a message that is signed for later can be replayed for
    /// longer.
    #[must_use]
    pub const fn with_ahead(mut self, seconds: u64) -> Self {
        self.ahead = Some(seconds);
        self
    }

    /// Sets how far the timestamp may lie from now, in seconds; `None` accepts any, which suits only the inspection of
    /// something captured earlier.
    #[must_use]
    pub fn with_tolerance(mut self, seconds: Option<u64>) -> Self {
        self.tolerance = seconds;
        self
    }

    /// Accepts `body` if one of the keys signed it under these headers. `now` is in Unix seconds.
    ///
    /// Unknown signature versions are passed over, as the specification asks, so that senders can introduce new ones.
    pub fn verify<'a>(&self, headers: SignedHeaders<'a>, body: &[u8], now: i64) -> Result<Verified<'a>, VerifyError> {
        let (id, timestamp, signatures) = self.read(headers, now)?;

        let content = signed_content(id, timestamp, body);
        let mut found = Choice::from(0);
        for secret in &self.secrets {
            let expected = secret.mac(&content);
            for given in &signatures {
                if let Given::Symmetric(given) = given {
                    found |= given.ct_eq(&expected);
                }
            }
        }
        // Public keys are no secret, so verifying with them may stop early.
        let found = bool::from(found)
            || self.public_keys.iter().any(|key| {
                signatures.iter().any(|given| match given {
                    Given::Asymmetric(signature) => key.verifies(&content, signature),
                    Given::Symmetric(_) => false,
                })
            });
        if found {
            Ok(Verified { id, timestamp })
        } else {
            Err(VerifyError::NoMatch {
                signatures: signatures.len(),
                keys: self.secrets.len() + self.public_keys.len(),
            })
        }
    }

    /// Checks the headers alone, before there is a body to compare them with.
    pub fn look_at(&self, headers: SignedHeaders<'_>, now: i64) -> Result<(), VerifyError> {
        self.read(headers, now).map(drop)
    }

    fn read<'a>(&self, headers: SignedHeaders<'a>, now: i64) -> Result<(&'a str, i64, Vec<Given>), VerifyError> {
        let id = parse_id(headers.id)?;
        let timestamp = parse_timestamp(headers.timestamp)?;
        let signatures = parse_signatures(headers.signature)?;
        self.check_age(timestamp, now)?;
        Ok((id, timestamp, signatures))
    }

    fn check_age(&self, timestamp: i64, now: i64) -> Result<(), VerifyError> {
        let Some(tolerance) = self.tolerance else {
            return Ok(());
        };
        let seconds = now.abs_diff(timestamp);
        let ahead = self.ahead.map_or(tolerance, |ahead| ahead.min(tolerance));
        if timestamp < now && seconds > tolerance {
            Err(VerifyError::TooOld { seconds, tolerance })
        } else if timestamp > now && seconds > ahead {
            Err(VerifyError::TooNew { seconds, tolerance: ahead })
        } else {
            Ok(())
        }
    }
}

enum Given {
    Symmetric([u8; 32]),
    Asymmetric([u8; 64]),
}

fn present<'a>(value: Option<&'a str>, name: &'static str) -> Result<&'a str, VerifyError> {
    value.filter(|value| !value.is_empty()).ok_or(VerifyError::Missing(name))
}

/// Checks an id. The specification forbids the full stop in ids: `a.5` at 1 and `a` at 5 would otherwise sign alike.
fn parse_id(value: Option<&str>) -> Result<&str, VerifyError> {
    let id = present(value, HEADER_ID)?;
    let malformed = |why| Err(VerifyError::Malformed { name: HEADER_ID, why });
    if id.len() > MAX_ID {
        return malformed("it is longer than 255 characters");
    }
    if !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return malformed("it contains something else than visible ASCII characters");
    }
    if id.contains('.') {
        return malformed("it contains a full stop, which separates what is signed");
    }
    Ok(id)
}

/// Reads plain digits only: the text is signed as the sender wrote it, so a sign or a leading zero is a mistake.
fn parse_timestamp(value: Option<&str>) -> Result<i64, VerifyError> {
    let text = present(value, HEADER_TIMESTAMP)?;
    let malformed = |why| VerifyError::Malformed { name: HEADER_TIMESTAMP, why };
    if !text.bytes().all(|byte| byte.is_ascii_digit()) || (text.len() > 1 && text.starts_with('0')) {
        return Err(malformed("it is not a whole number of seconds since 1970"));
    }
    // 12 digits reach past the year 30000; a clock in milliseconds has 13.
    if text.len() > 12 {
        return Err(malformed("it is too large for seconds; is it in milliseconds?"));
    }
    text.parse().map_err(|_| malformed("it is not a whole number of seconds since 1970"))
}

fn parse_signatures(value: Option<&str>) -> Result<Vec<Given>, VerifyError> {
    let text = present(value, HEADER_SIGNATURE)?;
    let malformed = |why| Err(VerifyError::Malformed { name: HEADER_SIGNATURE, why });
    let mut given = Vec::new();
    let mut versioned = false;
    for (n, entry) in text.split(' ').filter(|entry| !entry.is_empty()).enumerate() {
        if n == MAX_SIGNATURES {
            return malformed("it holds more than 32 signatures");
        }
        let Some((version, encoded)) = entry.split_once(',') else {
            continue;
        };
        versioned = true;
        match version {
            "v1" => given.extend(decode(encoded).map(Given::Symmetric)),
            "v1a" => given.extend(decode(encoded).map(Given::Asymmetric)),
            _ => {}
        }
    }
    if !given.is_empty() {
        Ok(given)
    } else if versioned {
        malformed("it holds no readable `v1` or `v1a` signature")
    } else {
        malformed("expected `v1,` followed by base64")
    }
}

fn decode<const N: usize>(encoded: &str) -> Option<[u8; N]> {
    STANDARD.decode(encoded).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests;
