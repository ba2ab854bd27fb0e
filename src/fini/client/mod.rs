//! The adapter: Fini's routes over HTTP.
//!
//! One pooled HTTP/1.1 client. Not HTTP/2: one broken connection must not make every send in flight unclear at once, and
//! a hundred requests a minute need no multiplexing. An idle connection is kept for 4 s only, less than the 5 s after
//! which common servers close theirs, since a send on a connection that is just being closed ends unclear. Redirects
//! are answers, proxies from the environment are ignored, and nothing is retried, by us or by the library. Answers may come
//! compressed, asked for or not; caps count what comes out.

mod body;
mod compose;
mod exchange;
mod network;
mod route;
mod transport;
mod verdict;

pub use crate::outbound::network::Network;
pub use route::{Observer, RequestFacts, Route};
pub use transport::{SendError, Transport};

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use reqwest::{Method, header::HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;

use crate::outbound::network::NetworkError;

use super::{
    Agent, ConversationPage, Departure, Failure, FiniApi, GenerateAnswer, HistoryPage, HistoryQuery, IdBatch,
    ListQuery, Tag, redact, wire,
};
use crate::{
    domain::{
        ids::InteractionId,
        vendor::{FiniConversation, FiniEvent},
    },
    outbound::{LARGEST_AGE, Renewed, client_builder},
};
use compose::{answer_body, history_pairs, json_bytes, list_pairs, set_query};
use exchange::{Call, Side};

const IDLE_CONNECTION: Duration = Duration::from_secs(4);
/// Notices a peer that vanished during a long Generate Answer.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The largest answer of routes that carry whole conversations, in bytes.
const CONVERSATIONS_CAP: usize = 32 * 1024 * 1024;
/// The largest answer of the other routes, in bytes.
const CAP: usize = 4 * 1024 * 1024;

/// The settings by which Fini is reached.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The address before `/v2`: http or https, without credentials.
    pub base_url: Url,
    /// The key for reading routes.
    pub read_key: SecretString,
    /// The key for Generate Answer and deletions; may be the same.
    pub write_key: SecretString,
    /// Time from the call of Generate Answer to the last byte of its answer.
    pub reply_timeout: Duration,
    /// Likewise for every other route (30 s is a good value).
    pub read_timeout: Duration,
    /// Time for name resolution, TCP and TLS together (5 s is a good value).
    pub connect_timeout: Duration,
    /// Proxy and certificates.
    pub network: Network,
}

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No requests can be sent to the address.
    #[error("the base URL must be http or https, with a host and without credentials")]
    BaseUrl,
    /// A key is empty or has characters that no header may have.
    #[error("the {which} key must be visible ASCII")]
    Key {
        /// `read` or `write`.
        which: &'static str,
    },
    /// The configured way over the network cannot be used.
    #[error("fini.{0}")]
    Network(#[from] NetworkError),
    /// TLS could not be set up, for example because the system has no root certificates.
    #[error("the HTTP client could not be set up: {0}")]
    Setup(String),
}

/// Creates the transport over HTTP; opens no connection yet.
pub fn over_http(settings: &ClientSettings) -> Result<Box<dyn Transport>, ClientError> {
    let settings = settings.clone();
    let build = move || {
        let client = builder(&settings)?.build();
        client.map_err(|error| ClientError::Setup(error.to_string()))
    };
    Ok(Box::new(Renewed::new(LARGEST_AGE, build)?))
}

fn builder(settings: &ClientSettings) -> Result<reqwest::ClientBuilder, ClientError> {
    let builder = client_builder()
        .http1_only()
        .brotli(true)
        .deflate(true)
        .gzip(true)
        .zstd(true)
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(IDLE_CONNECTION)
        .tcp_keepalive(KEEPALIVE);
    Ok(settings.network.apply(builder)?)
}

/// [`FiniApi`] over HTTP. Share it behind an `Arc`: the connections live in it.
pub struct FiniClient {
    transport: Box<dyn Transport>,
    settings: ClientSettings,
    keys: RwLock<Arc<Keys>>,
    observer: Observer,
}

/// The keys that requests carry. A request that has begun keeps those it began with.
pub(super) struct Keys {
    read: HeaderValue,
    write: HeaderValue,
    /// Both keys, which no detail may repeat.
    texts: [SecretString; 2],
}

impl Keys {
    fn new(read: &SecretString, write: &SecretString) -> Result<Self, ClientError> {
        Ok(Self {
            read: bearer(read).ok_or(ClientError::Key { which: "read" })?,
            write: bearer(write).ok_or(ClientError::Key { which: "write" })?,
            texts: [read.clone(), write.clone()],
        })
    }

    pub(super) fn texts(&self) -> [&str; 2] {
        self.texts.each_ref().map(ExposeSecret::expose_secret)
    }
}

impl fmt::Debug for FiniClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FiniClient").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl FiniClient {
    /// Builds the client; opens no connection yet.
    pub fn new(settings: ClientSettings, observer: Observer) -> Result<Self, ClientError> {
        Self::over(over_http(&settings)?, settings, observer)
    }

    /// Creates a client whose requests take the given transport; the connect timeout of the settings does not concern it.
    pub fn over(
        transport: Box<dyn Transport>,
        settings: ClientSettings,
        observer: Observer,
    ) -> Result<Self, ClientError> {
        let base = &settings.base_url;
        let credentials = !base.username().is_empty() || base.password().is_some();
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() || credentials {
            return Err(ClientError::BaseUrl);
        }
        Ok(Self {
            transport,
            keys: RwLock::new(Arc::new(Keys::new(&settings.read_key, &settings.write_key)?)),
            settings,
            observer,
        })
    }

    /// Reads the workspace's groups of tags. Not part of the port: the bridge itself has no use for them.
    pub async fn list_tag_groups(&self, departure: &Departure) -> Result<Vec<Tag>, Failure> {
        let url = self.url(&["tag-groups", "public"]);
        self.exchange(self.reading(Route::ListTags, url), departure, wire::parse_tags).await
    }

    /// Reads the tags of a group.
    pub async fn list_tags(&self, group: &str, departure: &Departure) -> Result<Vec<Tag>, Failure> {
        let mut url = self.url(&["tag-groups", "tags", "public"]);
        set_query(&mut url, vec![("tagGroupIds", group.to_owned())]);
        self.exchange(self.reading(Route::ListTags, url), departure, wire::parse_tags).await
    }

    /// Sets the keys for requests that begin from now on.
    pub fn set_keys(&self, read: &SecretString, write: &SecretString) -> Result<(), ClientError> {
        let keys = Arc::new(Keys::new(read, write)?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Builds a URL. Each segment is untrusted text and stays one segment, whatever it contains.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.settings.base_url.clone();
        url.set_query(None);
        url.set_fragment(None);
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v2").extend(segments);
        }
        url
    }

    fn conversation_url(&self, id: &InteractionId) -> Result<Url, Failure> {
        match id.as_str() {
            // Empty and dot segments would be dropped, which would make the path that of another route.
            "" | "." | ".." => Err(Failure::Missing { detail: "not an id that Fini could have given".to_owned() }),
            id => Ok(self.url(&["hc-interactions", id, "public"])),
        }
    }

    fn reading(&self, route: Route, url: Url) -> Call<'_> {
        Call {
            route,
            method: Method::GET,
            url,
            keys: self.keys(),
            side: Side::Read,
            body: None,
            time: self.settings.read_timeout,
            cap: CAP,
            said: Vec::new(),
        }
    }

    fn deleting(&self, route: Route, url: Url) -> Call<'_> {
        Call { method: Method::DELETE, side: Side::Write, ..self.reading(route, url) }
    }
}

#[async_trait]
impl FiniApi for FiniClient {
    async fn generate_answer(
        &self,
        request: &GenerateAnswer,
        departure: &Departure,
    ) -> Result<Vec<FiniEvent>, Failure> {
        let url = self.url(&["hc-interactions", "events", "public"]);
        let call = Call {
            method: Method::POST,
            side: Side::Write,
            body: Some(json_bytes(&answer_body(request))),
            time: self.settings.reply_timeout,
            said: redact::said_by(request),
            ..self.reading(Route::GenerateAnswer, url)
        };
        self.exchange(call, departure, wire::parse_events).await
    }

    async fn get_conversation(&self, id: &InteractionId, departure: &Departure) -> Result<FiniConversation, Failure> {
        let call = self.reading(Route::GetConversation, self.conversation_url(id)?);
        let call = Call { cap: CONVERSATIONS_CAP, ..call };
        self.exchange(call, departure, |body| wire::parse_single(body, id)).await
    }

    async fn list_conversations(&self, query: &ListQuery, departure: &Departure) -> Result<ConversationPage, Failure> {
        let mut url = self.url(&["hc-interactions", "public"]);
        set_query(&mut url, list_pairs(query));
        let call = Call { cap: CONVERSATIONS_CAP, ..self.reading(Route::ListConversations, url) };
        self.exchange(call, departure, wire::parse_page).await
    }

    async fn list_agents(&self, departure: &Departure) -> Result<Vec<Agent>, Failure> {
        let url = self.url(&["bots", "public"]);
        self.exchange(self.reading(Route::ListAgents, url), departure, wire::parse_agents).await
    }

    async fn chat_history(&self, query: &HistoryQuery, departure: &Departure) -> Result<HistoryPage, Failure> {
        let mut url = self.url(&["bots", "requests", "public"]);
        set_query(&mut url, history_pairs(query));
        let call = Call { cap: CONVERSATIONS_CAP, ..self.reading(Route::ChatHistory, url) };
        self.exchange(call, departure, wire::parse_history).await
    }

    async fn delete_conversation(&self, id: &InteractionId, departure: &Departure) -> Result<(), Failure> {
        let call = self.deleting(Route::DeleteConversation, self.conversation_url(id)?);
        self.exchange(call, departure, |_| Ok(())).await
    }

    async fn delete_conversations(&self, ids: &IdBatch, departure: &Departure) -> Result<(), Failure> {
        let ids: Vec<&str> = ids.ids().iter().map(InteractionId::as_str).collect();
        let url = self.url(&["hc-interactions", "public"]);
        let call =
            Call { body: Some(json_bytes(&json!({ "ids": ids }))), ..self.deleting(Route::DeleteConversations, url) };
        self.exchange(call, departure, |_| Ok(())).await
    }
}

fn bearer(key: &SecretString) -> Option<HeaderValue> {
    let key = key.expose_secret();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests;
