//! The harness: the real binary between an in-process sandbox and a programmable receiver, and what must hold at the end.
//!
//! Nothing here looks inside the bridge: it is driven over HTTP, by signals and by its configuration, and judged by what
//! the vendor, the receiver and its log saw of it.

mod audit;
mod bridge;
mod client;
mod log;
mod process;
mod receiver;
mod replicas;
mod setup;
mod sse;
mod token;
mod wal;
mod wire;

use std::time::{Duration, Instant};

pub use audit::Allow;
pub use bridge::Bridge;
pub use client::{Answer, Call, client};
pub use receiver::{Callback, Receiver, Reply};
pub use replicas::{database, left_out, said, server};
pub use setup::{Destination, Frontend, Setup, random_secret, random_token, unique};
pub use sse::Stream;
pub use token::{browser_token, mac, with_header};
pub use wire::{Unit, Wire};

/// How long a condition may take to come true. Far more than it ever should: only a failing test waits this long.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `check` gives something, and fails saying what it waited for.
pub async fn eventually<T>(what: &str, check: impl AsyncFnMut() -> Option<T>) -> T {
    within(DEADLINE, what, check).await
}

/// The same with a deadline of its own, for what is slow on purpose.
pub async fn within<T>(deadline: Duration, what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(started.elapsed() < deadline, "waited {deadline:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// The wall clock, in whole seconds.
pub fn epoch_seconds() -> i64 {
    epoch_millis() / 1000
}

/// The wall clock, in milliseconds.
#[expect(clippy::disallowed_methods, reason = "signatures and tokens are about the wall clock")]
pub fn epoch_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_millis()).expect("milliseconds since 1970 fit")
}
