//! Fini's routes by name, and the facts reported about each request: enough to count and to log it, nothing of its content.

use std::time::Duration;

use crate::{
    domain::{Timestamp, correlation::Span},
    fini::Failure,
};

/// The routes, by the names that metrics and logs use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// `POST /v2/hc-interactions/events/public`
    GenerateAnswer,
    /// `GET /v2/hc-interactions/{id}/public`
    GetConversation,
    /// `GET /v2/hc-interactions/public`
    ListConversations,
    /// `GET /v2/bots/public`
    ListAgents,
    /// `GET /v2/bots/requests/public`
    ChatHistory,
    /// `GET /v2/tag-groups/public` and `GET /v2/tag-groups/tags/public`
    ListTags,
    /// `DELETE /v2/hc-interactions/{id}/public`
    DeleteConversation,
    /// `DELETE /v2/hc-interactions/public`
    DeleteConversations,
}

impl Route {
    /// Returns the name as a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GenerateAnswer => "generate_answer",
            Self::GetConversation => "get_conversation",
            Self::ListConversations => "list_conversations",
            Self::ListAgents => "list_agents",
            Self::ChatHistory => "chat_history",
            Self::ListTags => "list_tags",
            Self::DeleteConversation => "delete_conversation",
            Self::DeleteConversations => "delete_conversations",
        }
    }
}

/// The facts reported about each finished request. A dropped call is not reported.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Its route.
    pub route: Route,
    /// The status, if the head of an answer arrived, even if the rest was unusable.
    pub status: Option<u16>,
    /// Fini's time, by the answer's `Date` (whole seconds).
    pub date: Option<Timestamp>,
    /// Time from the call to the last byte.
    pub duration: Duration,
    /// Its span, if it was made on behalf of a request in a trace.
    pub span: Option<&'a Span>,
    /// The failure; `None` on success.
    pub failure: Option<&'a Failure>,
}

/// Called about every finished request, on the caller's task.
pub type Observer = Box<dyn Fn(&RequestFacts<'_>) + Send + Sync>;
