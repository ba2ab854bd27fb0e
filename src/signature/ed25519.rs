//! `whsk_` and `whpk_` keys: Ed25519 for those who want receivers to hold no secret (`v1a` signatures).
//!
//! The specification fixes the prefixes and the algorithm; for private keys both encodings in use are read, the 32-byte
//! seed and the 64-byte pair of seed and public key.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use super::secret::{SecretError, decode_prefixed};

const PRIVATE_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";

/// An Ed25519 signing key. Not shown by `Debug`, wiped when dropped.
#[derive(Clone)]
pub struct PrivateKey(SigningKey);

/// An Ed25519 verifying key; nothing secret.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// The reason why a text is not an Ed25519 key. Never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text does not start with the prefix of this kind of key.
    #[error("does not start with `{0}`")]
    Prefix(&'static str),
    /// The text after the prefix is not strict base64.
    #[error("is not standard base64 after its prefix, with padding and without white space")]
    NotBase64,
    /// The key has the wrong number of bytes.
    #[error("decodes to {0} bytes; a private key has 32 or 64, a public key 32")]
    Length(usize),
    /// The bytes are not a usable key: a pair whose halves differ, or a point that is not on the curve or of small order.
    #[error("is not a valid Ed25519 key")]
    Invalid,
}

impl PrivateKey {
    /// Reads `whsk_` + base64 of a 32-byte seed or of a 64-byte key pair.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = decode(text, PRIVATE_PREFIX)?;
        let length = bytes.len();
        if let Ok(seed) = <[u8; 32]>::try_from(bytes.as_slice()) {
            return Ok(Self(SigningKey::from_bytes(&seed)));
        }
        let pair = <[u8; 64]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Length(length))?;
        SigningKey::from_keypair_bytes(&pair).map(Self).map_err(|_| KeyError::Invalid)
    }

    /// Makes a key from 32 random bytes; the caller brings the randomness.
    pub fn generate(random: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&random))
    }

    /// Returns the key pair as text, for a caller that has just made it and must store it. Not for logs.
    pub fn reveal(&self) -> String {
        format!("{PRIVATE_PREFIX}{}", STANDARD.encode(self.0.to_keypair_bytes()))
    }

    /// Returns the key that receivers need.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(super) fn sign(&self, content: &[u8]) -> [u8; 64] {
        self.0.sign(content).to_bytes()
    }
}

impl PublicKey {
    /// Reads `whpk_` + base64 of 32 bytes. Keys of small order are refused: anything verifies under them.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = decode(text, PUBLIC_PREFIX)?;
        let length = bytes.len();
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Length(length))?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Invalid)?;
        if key.is_weak() {
            return Err(KeyError::Invalid);
        }
        Ok(Self(key))
    }

    /// Returns true if `signature` (64 bytes) is this key's over `content`, malleable encodings excluded.
    pub(super) fn verifies(&self, content: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(content, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", STANDARD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey([redacted])")
    }
}

fn decode(text: &str, prefix: &'static str) -> Result<Vec<u8>, KeyError> {
    decode_prefixed(text, prefix).map_err(|error| match error {
        SecretError::Empty | SecretError::Prefix | SecretError::AsymmetricKey => KeyError::Prefix(prefix),
        _ => KeyError::NotBase64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// RFC 8032 §7.1, test 2: a published vector, not a key in use.
    #[test]
    fn signs_like_the_published_vector() {
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let public = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
        let key = PrivateKey::parse(&format!("whsk_{}", STANDARD.encode(&seed))).unwrap();
        assert_eq!(key.public_key().to_string(), format!("whpk_{}", STANDARD.encode(&public)));
        assert_eq!(key.sign(&[0x72]).to_vec(), signature);
        assert!(key.public_key().verifies(&[0x72], &key.sign(&[0x72])));
        assert!(!key.public_key().verifies(&[0x73], &key.sign(&[0x72])));
    }

    #[test]
    fn seed_and_pair_are_one_key_and_halves_must_agree() {
        let key = PrivateKey::generate([9; 32]);
        assert_eq!(PrivateKey::parse(&key.reveal()).unwrap().public_key(), key.public_key());
        let mut pair = [9_u8; 64];
        pair[32..].copy_from_slice(PrivateKey::generate([8; 32]).public_key().0.as_bytes());
        let text = format!("whsk_{}", STANDARD.encode(pair));
        assert_eq!(PrivateKey::parse(&text).unwrap_err(), KeyError::Invalid);
    }

    #[test]
    fn faults_are_named() {
        let of = |prefix: &str, bytes: &[u8]| format!("{prefix}{}", STANDARD.encode(bytes));
        assert_eq!(PrivateKey::parse("").unwrap_err(), KeyError::Prefix("whsk_"));
        assert_eq!(PrivateKey::parse(&of("whsec_", &[1; 32])).unwrap_err(), KeyError::Prefix("whsk_"));
        assert_eq!(PrivateKey::parse(&of("whsk_", &[1; 33])).unwrap_err(), KeyError::Length(33));
        assert_eq!(PublicKey::parse(&of("whsk_", &[1; 32])).unwrap_err(), KeyError::Prefix("whpk_"));
        assert_eq!(PublicKey::parse("whpk_????").unwrap_err(), KeyError::NotBase64);
        // The neutral element of the curve: every message verifies under it.
        let mut neutral = [0_u8; 32];
        neutral[0] = 1;
        assert_eq!(PublicKey::parse(&of("whpk_", &neutral)).unwrap_err(), KeyError::Invalid);
    }

    #[test]
    fn the_private_key_shows_nowhere() {
        let key = PrivateKey::generate([3; 32]);
        assert_eq!(format!("{key:?}"), "PrivateKey([redacted])");
    }
}
