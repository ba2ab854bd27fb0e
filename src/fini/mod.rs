//! The way to Fini: the port that the rest of the bridge calls, and the one place that decides what a failure means.
//!
//! [`FiniApi`] is the port, [`FiniClient`] its adapter over HTTP, [`Failure`] its verdicts, and `wire` turns the vendor's
//! answers into domain values, tolerating what it does not know. The caller takes a request out of the budget before it
//! calls; nothing here waits for it, and **nothing here ever repeats a request**: the [`Failure`] says whether a repeat is
//! safe, and the caller decides, because Fini has no idempotency key and takes a repeated send for a second message.
//!
//! Sources are the pages "Generate Answer", "Get conversation", "List conversations", "List agents", "Get chat history"
//! and "Delete conversation" of Fini's public API documentation.

pub mod budget;

mod client;
mod departure;
mod failure;
mod history;
mod redact;
mod request;
mod response;
mod wire;

pub use client::{
    ClientError, ClientSettings, FiniClient, Network, Observer, RequestFacts, Route, SendError, Transport, over_http,
};
pub use departure::Departure;
pub use failure::Failure;
pub use history::{HistoryConversation, HistoryPage, HistoryQuery, HistoryRequest};
pub use request::{Direction, GenerateAnswer, IdBatch, InvalidBatch, ListQuery, Target};
pub use response::{Agent, ConversationPage, Malformed, RawConversation, Tag};

use async_trait::async_trait;

use crate::domain::{
    ids::InteractionId,
    vendor::{FiniConversation, FiniEvent},
};

/// Fini's public API, one method per route, one request per call.
///
/// Every method takes the [`Departure`] of its request. When a call returns, the departure is marked exactly if the
/// result is anything but [`Failure::NeverLeft`] or a refusal without a request (see [`Failure::Missing`]).
/// A dropped call ends its request; its departure then says whether the whole of it may have reached Fini.
#[async_trait]
pub trait FiniApi: Send + Sync {
    /// Hands one message to Fini; for [`Role::User`](crate::domain::message::Role::User) it blocks while Fini writes its
    /// reply. Returns the events that were created, oldest first: never the conversation's id, and possibly not (yet) a
    /// reply. Not idempotent: after anything but [`Failure::NeverLeft`], [`Failure::Rejected`], [`Failure::Unauthorised`]
    /// or [`Failure::Throttled`] Fini may have the message.
    async fn generate_answer(&self, request: &GenerateAnswer, departure: &Departure)
    -> Result<Vec<FiniEvent>, Failure>;

    /// Reads one conversation with all its events. An answer about any other conversation is a failure.
    async fn get_conversation(&self, id: &InteractionId, departure: &Departure) -> Result<FiniConversation, Failure>;

    /// Reads one page of conversations, newest latest message first.
    async fn list_conversations(&self, query: &ListQuery, departure: &Departure) -> Result<ConversationPage, Failure>;

    /// Reads the workspace's agents, whose ids are what other routes call `botId`.
    async fn list_agents(&self, departure: &Departure) -> Result<Vec<Agent>, Failure>;

    /// Reads one page of the legacy chat history.
    async fn chat_history(&self, query: &HistoryQuery, departure: &Departure) -> Result<HistoryPage, Failure>;

    /// Deletes one conversation. Fini answers success for unknown ids too: only a later read proves anything.
    async fn delete_conversation(&self, id: &InteractionId, departure: &Departure) -> Result<(), Failure>;

    /// Deletes several conversations; not atomic. `Rejected` with status 406 may mean that the others are gone.
    async fn delete_conversations(&self, ids: &IdBatch, departure: &Departure) -> Result<(), Failure>;
}
