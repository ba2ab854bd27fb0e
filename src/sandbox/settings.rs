//! What can be set: who may call, which bots exist, and how the simulated vendor behaves where its documentation is silent.
//!
//! Never holds state that changes by itself. [`Settings`] can be changed while the sandbox runs; the rest of
//! [`SandboxConfig`] is fixed for its life.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SandboxError;

/// Gives the present time in epoch milliseconds. Tests pass their own, so that they can shift it.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The clock of the machine.
pub fn system_clock() -> Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the sandbox's one look at the wall clock; everything else takes a `Clock`"
    )]
    let now = || std::time::SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Arc::new(move || i64::try_from(now()).unwrap_or(i64::MAX))
}

/// The id of the bot a default sandbox knows; the vendor's own examples use it.
pub const DEFAULT_BOT_ID: &str = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3";

/// The key a default sandbox accepts. Not a secret: it opens nothing but a simulation.
pub const DEFAULT_API_KEY: &str = "fini_sandbox";

/// How a sandbox starts.
#[derive(Clone)]
pub struct SandboxConfig {
    /// Keys that are accepted, with their scopes.
    pub api_keys: Vec<ApiKey>,
    /// The workspace's agents; Generate Answer fails for any other `botId`.
    pub bots: Vec<Bot>,
    /// Behaviour that may change while the sandbox runs.
    pub settings: Settings,
    /// Makes ids and the dice of faults repeat from run to run. `None` draws fresh ids, which is what a bridge with a
    /// lasting store needs: it would take repeated event ids for events it has already seen.
    pub seed: Option<u64>,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            api_keys: vec![ApiKey::full(DEFAULT_API_KEY)],
            bots: vec![Bot { id: DEFAULT_BOT_ID.into(), name: "Sandbox support agent".into() }],
            settings: Settings::default(),
            seed: None,
            clock: system_clock(),
        }
    }
}

impl SandboxConfig {
    /// A configuration for automated tests: replies come without delay, everything else as by default.
    pub fn instant() -> Self {
        Self { settings: Settings { reply_latency_ms: 0, ..Settings::default() }, ..Self::default() }
    }
}

/// One workspace key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// What stands after `Bearer `.
    pub key: String,
    /// May it read (List, Get, agents, history)?
    pub read: bool,
    /// May it write (Generate Answer, deletes)?
    pub write: bool,
}

impl ApiKey {
    /// A key with both scopes.
    pub fn full(key: impl Into<String>) -> Self {
        Self { key: key.into(), read: true, write: true }
    }

    /// A key with `read` scope only.
    pub fn read_only(key: impl Into<String>) -> Self {
        Self { key: key.into(), read: true, write: false }
    }

    /// A key with `write` scope only.
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

/// Behaviour that may change while the sandbox runs (`PATCH /_sandbox/settings`). All durations are milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a reply takes to generate.
    pub reply_latency_ms: u64,
    /// How much later a reply turns up that the response did not hold.
    pub late_reply_ms: u64,
    /// How far List stays behind what was written. Get is never behind.
    pub list_lag_ms: u64,
    /// The global throttle; `null` switches it off.
    pub rate_limit: Option<RateLimit>,
    /// Which time List's `since` and `until` are compared with; the documentation does not say.
    pub since_reading: SinceReading,
    /// What moves a conversation up in List.
    pub list_order: ListOrder,
    /// Whether List shows conversations the bot never touched (the documentation says it does not).
    pub list_untouched: bool,
    /// Under which key List answers; newer vendor pages say `conversations`.
    pub list_key: ListKey,
    /// The status for an unknown, deleted or foreign conversation or bot; 500 is documented, 404 has been claimed.
    pub unknown_id_status: u16,
    /// The status for a `cursor` that names no conversation: undocumented, so it can be chosen.
    pub unknown_cursor_status: u16,
    /// Which of the two documented shapes chat history has.
    pub history_shape: HistoryShape,
    /// What "create or resolve" does for a message with `botId` alone.
    pub resolve_mode: ResolveMode,
    /// The user attribute that `resolve_mode = "same_attribute"` compares.
    pub resolve_attribute: String,
    /// What happens to the `metadata.user_attributes` of later messages.
    pub user_attributes: AttributeMode,
    /// The `status` of a conversation the bot looks after.
    pub open_status: Option<String>,
    /// The `status` of a conversation handed to a human.
    pub escalated_status: String,
    /// Added to the clock: the vendor's clock need not agree with ours.
    pub clock_offset_ms: i64,
    /// `false`: deleting answers success and deletes nothing, so that only reading again tells the truth.
    pub delete_works: bool,
    /// Whether bulk delete answers 406 when some of the ids are unknown (after deleting the others).
    pub bulk_delete_406: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reply_latency_ms: 600,
            late_reply_ms: 5_000,
            list_lag_ms: 0,
            rate_limit: Some(RateLimit::default()),
            since_reading: SinceReading::Updated,
            list_order: ListOrder::Messages,
            list_untouched: false,
            list_key: ListKey::Interactions,
            unknown_id_status: 500,
            unknown_cursor_status: 500,
            history_shape: HistoryShape::Conversations,
            resolve_mode: ResolveMode::AlwaysNew,
            resolve_attribute: "email".into(),
            user_attributes: AttributeMode::Merge,
            open_status: Some("Open".into()),
            escalated_status: "Escalated to Human Agent".into(),
            clock_offset_ms: 0,
            delete_works: true,
            bulk_delete_406: true,
        }
    }
}

impl Settings {
    /// These settings with the fields of the JSON object `patch` put over them.
    pub fn patched(&self, patch: &Value) -> Result<Self, SandboxError> {
        let invalid = |why: String| SandboxError::Invalid(format!("settings: {why}"));
        let patch = patch.as_object().ok_or_else(|| invalid("a JSON object is wanted".into()))?;
        let mut merged = serde_json::to_value(self).map_err(|error| invalid(error.to_string()))?;
        for (key, value) in patch {
            merged[key.as_str()] = value.clone();
        }
        let settings: Self = serde_json::from_value(merged).map_err(|error| invalid(error.to_string()))?;
        if ![settings.unknown_id_status, settings.unknown_cursor_status]
            .iter()
            .all(|status| (400..=599).contains(status))
        {
            return Err(invalid("a status for what is unknown is 400 to 599".into()));
        }
        Ok(settings)
    }
}

/// At most `requests` in any rolling window. The vendor documents 100 in 60 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimit {
    /// How many requests fit.
    pub requests: usize,
    /// Length of the window in milliseconds.
    pub window_ms: u64,
    /// Whether a refused request takes a place in the window as well. The stricter reading, and the default.
    pub count_refused: bool,
    /// Sent as `Retry-After` (seconds) with a 429. The vendor documents none.
    pub retry_after_s: Option<u64>,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { requests: 100, window_ms: 60_000, count_refused: true, retry_after_s: None }
    }
}

/// Which time List's window is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinceReading {
    /// When the conversation began.
    Created,
    /// When its latest message was written.
    Updated,
}

/// Which events count as "latest message".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListOrder {
    /// Those a customer can see (`message`, `widget_form`); system events and notes do not move a conversation.
    Messages,
    /// Every event.
    AnyEvent,
}

/// The name of the array in List's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListKey {
    /// `interactions`, as on the page of the route.
    Interactions,
    /// `conversations`, as on newer pages.
    Conversations,
}

/// The two documented answers of chat history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryShape {
    /// `{"conversations": […], "hasMore": …}` with paging.
    Conversations,
    /// A bare array of questions and answers, without paging.
    Array,
}

/// What "Fini will create or resolve a conversation for that bot" means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolveMode {
    /// A new conversation each time.
    AlwaysNew,
    /// The bot's newest conversation is continued, whoever it belongs to: the reading that mixes customers up.
    NewestOfBot,
    /// The newest conversation of the bot with the same value of `resolve_attribute` is continued.
    SameAttribute,
}

/// What happens to user attributes that come with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeMode {
    /// Merged into what is there, as documented.
    Merge,
    /// Taken from the first message only.
    FirstOnly,
    /// The latest message's attributes replace all earlier ones.
    Replace,
    /// Never kept.
    Ignore,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_changes_only_what_it_names() {
        let settings = Settings::default().patched(&json!({"list_lag_ms": 250, "rate_limit": null})).unwrap();
        assert_eq!(settings, Settings { list_lag_ms: 250, rate_limit: None, ..Settings::default() });
    }

    #[test]
    fn unknown_settings_and_wrong_values_are_refused() {
        for patch in [
            json!({"latency": 1}),
            json!({"list_lag_ms": -1}),
            json!({"since_reading": "x"}),
            json!(3),
            json!({"unknown_cursor_status": 200}),
        ] {
            assert!(Settings::default().patched(&patch).is_err(), "{patch}");
        }
    }

    #[test]
    fn the_system_clock_tells_milliseconds() {
        // 2020-01-01 and 2100-01-01.
        assert!((1_577_836_800_000..4_102_444_800_000).contains(&system_clock()()));
    }
}
