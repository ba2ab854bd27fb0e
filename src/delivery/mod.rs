//! Calling frontends back: in order per conversation, signed, at least once, without one frontend slowing another.
//!
//! The outbox in the store holds the callbacks that are owed; a lane (a conversation's owed callbacks) is leased as a whole
//! and only its head is attempted. A pure verdict judges each attempt; the address is vetted on connecting. Nothing here
//! reads from Fini or writes to the feed.
//!
//! [`ReceiverApi`] is the port to the receivers, [`client::CallbackClient`] its adapter over HTTP.

pub mod client;
pub mod dispatcher;
pub mod endpoint;
pub mod guard;
pub mod resolver;
pub mod verdict;

pub use dispatcher::{Dispatcher, DispatcherSettings};
pub use endpoint::{Endpoint, Headers, Terms};

use async_trait::async_trait;

use self::client::{Attempt, AttemptResult};

/// The port to the frontends' receivers.
#[async_trait]
pub trait ReceiverApi: Send + Sync {
    /// Makes one attempt at one callback, within its timeout. Never repeats it; failures are part of the result. A dropped
    /// call ends its request, which may still have arrived.
    async fn attempt(&self, attempt: &Attempt) -> AttemptResult;
}
