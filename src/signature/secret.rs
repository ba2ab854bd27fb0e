//! `whsec_` secrets: the shared keys of Standard Webhooks `v1` signatures.
//!
//! Parsing is strict on purpose. Receivers that take the text of a secret for its bytes, or accept base64 that another
//! library refuses, produce signatures that nobody can explain; a faulty secret has to surface when the bridge starts.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::Sha256;

pub(super) const PREFIX: &str = "whsec_";

/// The specification asks for keys of 24 to 64 bytes.
const MIN_BYTES: usize = 24;
const MAX_BYTES: usize = 64;

/// A symmetric signing secret. Neither `Debug` nor `Display` shows it; [`CallbackSecret::reveal`] is the one way out.
#[derive(Clone)]
pub struct CallbackSecret(SecretBox<Key>);

#[derive(Clone)]
struct Key(Vec<u8>);

impl secrecy::zeroize::Zeroize for Key {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl secrecy::CloneableSecret for Key {}

/// The reason why a text is not a callback secret. Says where the fault is and never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing was given.
    #[error("is empty; expected `whsec_` followed by base64")]
    Empty,
    /// White space stands before, after or inside the secret.
    #[error("contains white space; check for a stray line break or space around it")]
    WhiteSpace,
    /// An Ed25519 key was given where a shared secret belongs.
    #[error("is an Ed25519 key (`whsk_` or `whpk_`); a shared secret starts with `whsec_`")]
    AsymmetricKey,
    /// The prefix is missing.
    #[error("does not start with `whsec_`")]
    Prefix,
    /// The part after the prefix uses the URL-safe alphabet.
    #[error("is base64url; write it in standard base64 (`+` and `/`, not `-` and `_`)")]
    UrlSafe,
    /// The part after the prefix lacks its `=` signs, or has them in the wrong place.
    #[error("is base64 with wrong padding; its length after `whsec_` must be a multiple of 4, filled with `=`")]
    Padding,
    /// The part after the prefix is not base64 at all.
    #[error("is not standard base64 (fault at character {0} after `whsec_`)")]
    NotBase64(usize),
    /// The key is too short or too long.
    #[error("decodes to {0} bytes; 24 to 64 are required")]
    Length(usize),
}

impl CallbackSecret {
    /// Reads `whsec_` + standard, padded, canonical base64 of 24 to 64 bytes.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let bytes = decode_prefixed(text, PREFIX)?;
        if !(MIN_BYTES..=MAX_BYTES).contains(&bytes.len()) {
            return Err(SecretError::Length(bytes.len()));
        }
        Ok(Self::from_key(bytes))
    }

    /// Makes a secret of 32 random bytes; the caller brings the randomness.
    pub fn generate(random: [u8; 32]) -> Self {
        Self::from_key(random.to_vec())
    }

    /// Returns the secret as text, for a caller that has just made it and must store it. Not for logs.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0.expose_secret().0))
    }

    /// Returns the HMAC-SHA256 of the signed content.
    pub(super) fn mac(&self, content: &[u8]) -> [u8; 32] {
        hmac_sha256(&self.0.expose_secret().0, content)
    }

    fn from_key(bytes: Vec<u8>) -> Self {
        Self(SecretBox::new(Box::new(Key(bytes))))
    }
}

impl fmt::Debug for CallbackSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackSecret([redacted])")
    }
}

impl fmt::Display for CallbackSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_[redacted]")
    }
}

impl std::str::FromStr for CallbackSecret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Computes HMAC-SHA256 (RFC 2104), shared with the browser tokens.
pub(super) fn hmac_sha256(key: &[u8], content: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(content);
    mac.finalize().into_bytes().into()
}

/// Makes the checks that every key text of the specification shares: prefix, then strict base64.
pub(super) fn decode_prefixed(text: &str, prefix: &str) -> Result<Vec<u8>, SecretError> {
    if text.is_empty() {
        return Err(SecretError::Empty);
    }
    if text.chars().any(char::is_whitespace) {
        return Err(SecretError::WhiteSpace);
    }
    let Some(encoded) = text.strip_prefix(prefix) else {
        let asymmetric = text.starts_with("whsk_") || text.starts_with("whpk_");
        return Err(if asymmetric && prefix == PREFIX { SecretError::AsymmetricKey } else { SecretError::Prefix });
    };
    STANDARD.decode(encoded).map_err(|error| match error {
        base64::DecodeError::InvalidByte(_, b'-' | b'_') => SecretError::UrlSafe,
        base64::DecodeError::InvalidByte(at, b'=') if at + 2 < encoded.len() => SecretError::NotBase64(at + 1),
        base64::DecodeError::InvalidPadding
        | base64::DecodeError::InvalidLength(_)
        | base64::DecodeError::InvalidByte(_, b'=') => SecretError::Padding,
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => {
            SecretError::NotBase64(at + 1)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> String {
        format!("whsec_{}", STANDARD.encode(vec![7_u8; bytes]))
    }

    #[test]
    fn lengths_from_24_to_64_bytes_are_accepted() {
        for bytes in 0..=80 {
            let parsed = CallbackSecret::parse(&text(bytes));
            if (24..=64).contains(&bytes) {
                assert_eq!(parsed.expect("in range").reveal(), text(bytes));
            } else {
                assert_eq!(parsed.expect_err("out of range"), SecretError::Length(bytes));
            }
        }
    }

    #[test]
    fn every_fault_is_named() {
        // 25 bytes end in `==`, which makes padding faults expressible.
        let good = text(25);
        let cut = |n: usize| good[..good.len() - n].to_owned();
        let url_safe = format!("whsec_{}", base64::engine::general_purpose::URL_SAFE.encode([0xFF_u8; 33]));
        let cases = [
            (String::new(), SecretError::Empty),
            (format!("{good}\n"), SecretError::WhiteSpace),
            (format!(" {good}"), SecretError::WhiteSpace),
            (good.replace("whsec_", "whsk_"), SecretError::AsymmetricKey),
            (good.replace("whsec_", "whpk_"), SecretError::AsymmetricKey),
            (good.replace("whsec_", ""), SecretError::Prefix),
            (good.replace("whsec_", "WHSEC_"), SecretError::Prefix),
            (url_safe, SecretError::UrlSafe),
            (cut(1), SecretError::Padding),
            (cut(2), SecretError::Padding),
            ("whsec_!AAA".to_owned(), SecretError::NotBase64(1)),
        ];
        for (given, expected) in cases {
            assert_eq!(CallbackSecret::parse(&given).expect_err("faulty"), expected);
        }
    }

    #[test]
    fn bits_beyond_the_last_byte_are_refused() {
        // 25 bytes leave four unused bits in the last symbol; a lenient decoder would take both texts for one key.
        let sloppy = text(25).replace("Bw==", "Bx==");
        assert!(matches!(CallbackSecret::parse(&sloppy), Err(SecretError::NotBase64(_))));
    }

    #[test]
    fn the_secret_shows_nowhere() {
        let secret = CallbackSecret::generate([0x5A; 32]);
        let body = secret.reveal().replace("whsec_", "");
        for shown in [format!("{secret}"), format!("{secret:?}"), format!("{secret:#?}")] {
            assert!(!shown.contains(&body));
            assert!(shown.contains("redacted"));
        }
    }
}
