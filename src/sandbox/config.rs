//! The start of a sandbox: its callers, its bots and its clock. Fixed for its life, except for [`Settings`].

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::settings::Settings;

/// A function that returns the present time in epoch milliseconds. Tests pass their own, so that they can shift it.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Returns the clock of the machine.
pub fn system_clock() -> Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the sandbox's one look at the wall clock; everything else takes a `Clock`"
    )]
    let now = || std::time::SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Arc::new(move || i64::try_from(now()).unwrap_or(i64::MAX))
}

/// The id of the bot that a default sandbox knows; the vendor's own examples use it.
pub const DEFAULT_BOT_ID: &str = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3";

/// The key that a default sandbox accepts. Not a secret: it opens nothing but a simulation.
pub const DEFAULT_API_KEY: &str = "fini_sandbox";

/// The configuration with which a sandbox starts.
#[derive(Clone)]
pub struct SandboxConfig {
    /// Keys that are accepted, with their scopes.
    pub api_keys: Vec<ApiKey>,
    /// The workspace's agents; Generate Answer fails for any other `botId`.
    pub bots: Vec<Bot>,
    /// Behaviour that may change while the sandbox runs.
    pub settings: Settings,
    /// Makes ids and the dice of faults repeat from run to run. `None` draws fresh ids, which a bridge with a lasting store
    /// needs: it would take repeated event ids for events it has already seen.
    pub seed: Option<u64>,
    /// The sandbox's clock.
    pub clock: Clock,
    /// Names under which its server answers besides loopback ones and the address it listens on.
    pub hosts: Vec<String>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            api_keys: vec![ApiKey::full(DEFAULT_API_KEY)],
            bots: vec![Bot { id: DEFAULT_BOT_ID.into(), name: "Sandbox support agent".into() }],
            settings: Settings::default(),
            seed: None,
            clock: system_clock(),
            hosts: Vec::new(),
        }
    }
}

impl SandboxConfig {
    /// Returns a configuration for automated tests: replies come without delay, everything else as by default.
    pub fn instant() -> Self {
        Self { settings: Settings { reply_latency_ms: 0, ..Settings::default() }, ..Self::default() }
    }
}

/// One workspace key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// The text after `Bearer `.
    pub key: String,
    /// True if it may read (List, Get, agents, history).
    pub read: bool,
    /// True if it may write (Generate Answer, deletes).
    pub write: bool,
}

impl ApiKey {
    /// Creates a key with both scopes.
    pub fn full(key: impl Into<String>) -> Self {
        Self { key: key.into(), read: true, write: true }
    }

    /// Creates a key with `read` scope only.
    pub fn read_only(key: impl Into<String>) -> Self {
        Self { key: key.into(), read: true, write: false }
    }

    /// Creates a key with `write` scope only.
    pub fn write_only(key: impl Into<String>) -> Self {
        Self { key: key.into(), read: false, write: true }
    }
}

/// An agent of the workspace, as List agents shows it.
#[derive(Clone, Debug)]
pub struct Bot {
    /// Its id, which Generate Answer takes as `botId`.
    pub id: String,
    /// Its name in the dashboard.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_tells_milliseconds() {
        // 2020-01-01 and 2100-01-01.
        assert!((1_577_836_800_000..4_102_444_800_000).contains(&system_clock()()));
    }
}
