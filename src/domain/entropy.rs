//! The source of chance, and the ids made of it.

use crate::domain::Timestamp;

/// A source of random bits; seeded in tests so that a run can be repeated.
pub trait Entropy: Send + Sync {
    /// Returns 64 random bits.
    fn next_u64(&self) -> u64;

    /// Returns a number in `0.0..1.0`, for jitter.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    fn fraction(&self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns a UUID of version 7 (RFC 9562): sortable by the given time, otherwise random. 32 hex digits, no dashes.
    fn uuid_v7(&self, now: Timestamp) -> String {
        let [high, low] = [self.next_u64().to_be_bytes(), self.next_u64().to_be_bytes()];
        let mut random = [0u8; 10];
        random[..8].copy_from_slice(&high);
        random[8..].copy_from_slice(&low[..2]);
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().simple().to_string()
    }

    /// Returns 64 random bits as 16 hex digits: the short opaque keys that travel through Fini as attributes.
    fn key(&self) -> String {
        format!("{:016x}", self.next_u64())
    }
}
