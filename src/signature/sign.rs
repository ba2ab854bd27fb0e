//! Signs outgoing messages: one header value that carries a signature per live secret.
//!
//! A signer always has a secret that never expires, so that no callback can leave unsigned because a rotation ended.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ed25519::PrivateKey;
use super::secret::CallbackSecret;
use super::signed_content;

/// The signing keys of one endpoint.
#[derive(Debug, Clone)]
pub struct Signer {
    primary: CallbackSecret,
    older: Vec<Older>,
    private_key: Option<PrivateKey>,
}

/// A secret on its way out.
#[derive(Debug, Clone)]
struct Older {
    secret: CallbackSecret,
    not_after: Option<i64>,
}

impl Signer {
    /// Signs with `primary`, for as long as the signer lives.
    pub fn new(primary: CallbackSecret) -> Self {
        Self { primary, older: Vec::new(), private_key: None }
    }

    /// Takes a configured list: the first is the primary secret, all sign. `None` when the list is empty.
    pub fn from_secrets(secrets: impl IntoIterator<Item = CallbackSecret>) -> Option<Self> {
        let mut secrets = secrets.into_iter();
        let mut signer = Self::new(secrets.next()?);
        for secret in secrets {
            signer = signer.with_older(secret, None);
        }
        Some(signer)
    }

    /// Lets `secret` sign besides the primary one, up to and including `not_after` (Unix seconds; `None`: no end).
    #[must_use]
    pub fn with_older(mut self, secret: CallbackSecret, not_after: Option<i64>) -> Self {
        self.older.push(Older { secret, not_after });
        self
    }

    /// Adds a `v1a` signature after the symmetric ones.
    #[must_use]
    pub fn with_private_key(mut self, key: PrivateKey) -> Self {
        self.private_key = Some(key);
        self
    }

    /// Returns the value of `webhook-signature` over `id`, `timestamp` (Unix seconds, of this attempt) and the raw `body`:
    /// `v1,…` for every secret that is live at `now` (Unix seconds), the primary first, then `v1a,…`.
    ///
    /// `id` must not contain a full stop, the separator of the signed content.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8], now: i64) -> String {
        debug_assert!(!id.contains('.'), "a full stop in an id makes the signed content ambiguous");
        let content = signed_content(id, timestamp, body);
        let mut value = symmetric(&self.primary, &content);
        for older in &self.older {
            if older.not_after.is_none_or(|end| now <= end) {
                value.push(' ');
                value.push_str(&symmetric(&older.secret, &content));
            }
        }
        if let Some(key) = &self.private_key {
            value.push_str(" v1a,");
            STANDARD.encode_string(key.sign(&content), &mut value);
        }
        value
    }
}

fn symmetric(secret: &CallbackSecret, content: &[u8]) -> String {
    format!("v1,{}", STANDARD.encode(secret.mac(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that the Standard Webhooks and Svix documentation and libraries publish; nobody's secret.
    #[test]
    fn signs_like_the_published_vectors() {
        let first = Signer::new(CallbackSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        assert_eq!(
            first.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#, 0),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        let second = Signer::new(CallbackSecret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap());
        assert_eq!(
            second.sign(
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                br#"{"email":"test@example.com","username":"test_user"}"#,
                0
            ),
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
        );
    }

    #[test]
    fn every_live_secret_signs_in_the_configured_order() {
        let [a, b, c] = [1, 2, 3].map(|n| CallbackSecret::generate([n; 32]));
        let alone = |secret: &CallbackSecret| Signer::new(secret.clone()).sign("evt_1", 50, b"{}", 50);
        let signer = Signer::new(a.clone()).with_older(b.clone(), Some(100)).with_older(c.clone(), None);
        let all = format!("{} {} {}", alone(&a), alone(&b), alone(&c));
        assert_eq!(signer.sign("evt_1", 50, b"{}", 100), all);
        assert_eq!(signer.sign("evt_1", 50, b"{}", 101), format!("{} {}", alone(&a), alone(&c)));
        let listed = Signer::from_secrets([a, b, c]).unwrap();
        assert_eq!(listed.sign("evt_1", 50, b"{}", i64::MAX), all);
        assert!(Signer::from_secrets([]).is_none());
    }

    #[test]
    fn the_asymmetric_signature_comes_last() {
        let signer = Signer::new(CallbackSecret::generate([1; 32])).with_private_key(PrivateKey::generate([2; 32]));
        let value = signer.sign("evt_1", 50, b"{}", 50);
        let versions: Vec<&str> = value.split(' ').map(|entry| entry.split_once(',').unwrap().0).collect();
        assert_eq!(versions, ["v1", "v1a"]);
    }
}
