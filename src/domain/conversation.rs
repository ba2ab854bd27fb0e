//! Where a conversation stands, and how Fini's words for it are read.

use serde::Serialize;

/// Where a conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// With the bot.
    Open,
    /// With a human.
    Escalated,
    /// Done, until somebody writes again.
    Resolved,
    /// Its Fini conversation belongs to another of ours; held until an operator settles it.
    Quarantined,
    /// Its Fini conversation is gone; the next message starts a new one.
    Lost,
}

impl State {
    /// The name used in bodies and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Escalated => "escalated",
            Self::Resolved => "resolved",
            Self::Quarantined => "quarantined",
            Self::Lost => "lost",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Open, Self::Escalated, Self::Resolved, Self::Quarantined, Self::Lost]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

/// How Fini's free status texts are read (configuration; compared without case).
#[derive(Clone, Debug, Default)]
pub struct StatusPolicy {
    escalated: Vec<String>,
    resolved: Vec<String>,
}

impl StatusPolicy {
    /// From the configured texts.
    pub fn new(escalated: &[String], resolved: &[String]) -> Self {
        let lower = |texts: &[String]| texts.iter().map(|text| normalised(text)).collect();
        Self { escalated: lower(escalated), resolved: lower(resolved) }
    }

    pub(super) fn is_escalated(&self, status: Option<&str>) -> bool {
        status.is_some_and(|status| self.escalated.contains(&normalised(status)))
    }

    pub(super) fn is_resolved(&self, status: Option<&str>) -> bool {
        status.is_some_and(|status| self.resolved.contains(&normalised(status)))
    }
}

fn normalised(status: &str) -> String {
    status.trim().to_lowercase()
}

/// What is on record about a conversation's standing.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Its state.
    pub state: State,
    /// Fini's status text at the last read.
    pub status_text: Option<String>,
    /// Fini's resolved flag at the last read.
    pub resolved: Option<bool>,
    /// Whether the wrapper was ever read; before that a status is learnt, not changed.
    pub wrapper_read: bool,
}

impl Standing {
    /// The standing of a conversation that nobody has read yet.
    pub const fn new() -> Self {
        Self { state: State::Open, status_text: None, resolved: None, wrapper_read: false }
    }
}

impl Default for Standing {
    fn default() -> Self {
        Self::new()
    }
}
