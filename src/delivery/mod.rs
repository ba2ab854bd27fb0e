//! Calling frontends back: in order per conversation, signed, at least once, without one frontend slowing another.
//!
//! The outbox in the store says what is owed; a lane (a conversation's owed callbacks) is leased as a whole and only its head
//! is attempted. What an attempt means is a pure verdict; where it may go is vetted when it connects. Nothing here reads
//! from Fini or writes to the feed.

pub mod breaker;
pub mod client;
pub mod dispatcher;
pub mod endpoint;
pub mod guard;
pub mod resolver;
pub mod verdict;

pub use dispatcher::{Dispatcher, DispatcherSettings};
pub use endpoint::Endpoint;
