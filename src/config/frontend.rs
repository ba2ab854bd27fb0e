//! One chat frontend: who may speak for it and where it is called back.
//!
//! Plain data, and the one decision that belongs to it: whether an event is among those the frontend wants.

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use crate::domain::{event::TextFormat, handoff::HandoffPolicy};

/// A chat frontend.
#[derive(Debug, Clone)]
pub struct Frontend {
    /// Unique among the frontends, `[a-z0-9-]{1,40}`.
    pub name: String,
    /// The agent at Fini that answers.
    pub bot_id: Uuid,
    /// Server-to-server bearer tokens, several while rotating. Each at least 24 visible characters, none used twice.
    pub tokens: Vec<SecretString>,
    /// `whsec_…` secrets for signed inbound requests.
    pub signing_secrets: Vec<RotatingSecret>,
    /// Enable browser tokens: JWTs signed with HS256 under the bytes of one of these texts, at least 32. The first signs.
    pub browser_token_secrets: Vec<SecretString>,
    /// The names of user attributes that a browser may set itself; others only its token may.
    pub browser_attributes: Vec<String>,
    /// In which format Fini's side writes to this frontend's customers; told with each of its messages.
    pub text_format: TextFormat,
    /// The end of handoffs that nobody ends.
    pub handoff: HandoffPolicy,
    /// The destination `main`; `None` for a frontend without a callback of its own.
    pub callback: Option<Callback>,
    /// Further receivers of the same feed.
    pub destinations: Vec<Callback>,
}

impl Frontend {
    /// Every destination, the frontend's own callback first.
    pub fn callbacks(&self) -> impl Iterator<Item = &Callback> {
        self.callback.iter().chain(&self.destinations)
    }
}

/// The address and the manner of a frontend's callbacks.
#[derive(Debug, Clone)]
pub struct Callback {
    /// Unique within the frontend, `[a-z0-9-]{1,40}`; `main` is the frontend's own.
    pub name: String,
    /// The endpoint: https, or http within [`Delivery::allow_http`](super::Delivery::allow_http). No user, no fragment.
    pub url: Url,
    /// `whsec_…` secrets: the first signs first, all sign while rotating.
    pub secrets: Vec<RotatingSecret>,
    /// `whsk_…` key for ed25519 (`v1a`) signatures besides.
    pub signing_key: Option<SecretString>,
    /// The events that are called back; never empty.
    pub events: Vec<EventPattern>,
    /// True if messages of the frontend's own server are called back too.
    pub posted: bool,
    /// Further headers of each request, as `Name: value`.
    pub headers: Vec<SecretString>,
    /// A proxy on the way; it may hold a user and a password.
    pub proxy: Option<SecretString>,
    /// Certificates (PEM) that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// The bridge's own certificates (PEM).
    pub client_cert_file: Option<PathBuf>,
    /// The key to the first of them (PEM).
    pub client_key_file: Option<PathBuf>,
    /// Pauses between attempts; else those of [`Delivery`](super::Delivery).
    pub retry_schedule: Option<Vec<Duration>>,
    /// Time for a whole attempt; else that of [`Delivery`](super::Delivery).
    pub timeout: Option<Duration>,
    /// Attempts at once; else those of [`Delivery`](super::Delivery).
    pub max_in_flight: Option<usize>,
}

impl Callback {
    /// A callback without anything special about it.
    pub fn plain(name: &str, url: Url, secrets: Vec<RotatingSecret>) -> Self {
        Self {
            name: name.to_owned(),
            url,
            secrets,
            signing_key: None,
            events: vec![EventPattern::All],
            posted: false,
            headers: Vec::new(),
            proxy: None,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            retry_schedule: None,
            timeout: None,
            max_in_flight: None,
        }
    }

    /// The name and the value of a header that is written `Name: value`.
    pub fn header(line: &str) -> Option<(&str, &str)> {
        line.split_once(':').map(|(name, value)| (name.trim(), value.trim()))
    }

    /// Returns true if events of this type are called back.
    pub fn wants(&self, event_type: &str) -> bool {
        self.events.iter().any(|pattern| pattern.matches(event_type))
    }
}

/// A Standard Webhooks secret with the end of its life, where one is set.
#[derive(Debug, Clone)]
pub struct RotatingSecret {
    /// `whsec_` and standard base64 of 24 to 64 bytes.
    pub secret: SecretString,
    /// From this moment on the secret neither signs nor verifies.
    pub not_after: Option<Timestamp>,
}

impl RotatingSecret {
    /// A secret without an end.
    pub fn lasting(secret: SecretString) -> Self {
        Self { secret, not_after: None }
    }

    /// Returns true if the secret still counts at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.not_after.is_none_or(|end| now < end)
    }
}

/// One entry of `callback_events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventPattern {
    /// `*`
    All,
    /// `conversation.*`: holds `conversation`.
    Family(String),
    /// `turn.completed`
    Exact(String),
}

impl EventPattern {
    /// Returns true if an event of this type is meant.
    pub fn matches(&self, event_type: &str) -> bool {
        match self {
            Self::All => true,
            Self::Family(family) => event_type.split_once('.').is_some_and(|(first, _)| first == family),
            Self::Exact(exact) => event_type == exact,
        }
    }
}

impl std::fmt::Display for EventPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Family(family) => write!(f, "{family}.*"),
            Self::Exact(exact) => f.write_str(exact),
        }
    }
}
