//! The simulated vendor's behaviour where its documentation is silent; it can be changed while the sandbox runs.
//!
//! One table of all of them is in `FAULTS.md`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SandboxError;
use super::choices::{
    AfterEscalation, AttributeMode, Encoding, EscalationSign, EventOrder, Fields, HistoryShape, Human, ListKey,
    ListOrder, ListRefusal, Repeats, ReplyManner, ReplyTime, ResolveAt, ResolveMode, ResolvedSays, SinceReading,
    StatusBy, Strings,
};

/// Behaviour that may change while the sandbox runs (`PATCH /_sandbox/settings`). All durations are milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "independent questions, each answered yes or no")]
pub struct Settings {
    /// Time that a reply takes to generate.
    pub reply_latency_ms: u64,
    /// True if a reply repeats the text that it answers, so that a test can tell whose it is.
    pub quote: bool,
    /// The manner in which a reply comes.
    pub reply_manner: ReplyManner,
    /// The share of messages to which `reply_manner` applies, 0 to 1.
    pub reply_manner_odds: f64,
    /// Delay of a reply that the response did not hold.
    pub late_reply_ms: u64,
    /// The time stamp of a reply.
    pub reply_time: ReplyTime,
    /// Time stamps are cut to a multiple of this: 1000 for whole seconds.
    pub time_grain_ms: u64,
    /// The order of a conversation's events.
    pub event_order: EventOrder,

    /// The reading of "create or resolve" for a message with `botId` alone.
    pub resolve_mode: ResolveMode,
    /// The user attribute that `resolve_mode = "same_attribute"` compares.
    pub resolve_attribute: String,
    /// True if only a conversation that is not resolved is continued.
    pub resolve_open_only: bool,
    /// True if a conversation of another bot may be continued.
    pub resolve_across_bots: bool,
    /// The moment at which a message finds its conversation.
    pub resolve_at: ResolveAt,

    /// The effect of the `metadata.user_attributes` of later messages.
    pub user_attributes: AttributeMode,
    /// Delay until user attributes are shown.
    pub attributes_after_ms: u64,

    /// Time by which List lags behind what was written. Get never lags.
    pub list_lag_ms: u64,
    /// The time with which List's `since` and `until` are compared; the documentation does not say.
    pub since_reading: SinceReading,
    /// The events that move a conversation up in List.
    pub list_order: ListOrder,
    /// True if List shows conversations the bot never touched (the documentation says it does not).
    pub list_untouched: bool,
    /// The key under which List answers; newer vendor pages say `conversations`.
    pub list_key: ListKey,
    /// The most rows of a page, whatever `limit` asks for.
    pub list_page_cap: Option<usize>,
    /// The most events that List shows of a conversation: its last ones. Get shows all.
    pub list_last_events: Option<usize>,
    /// A page of more rows is refused.
    pub list_max_rows: Option<usize>,
    /// A page of more bytes is refused, even if it has a single row.
    pub list_max_bytes: Option<usize>,
    /// The answer in place of a refused page.
    pub list_refusal: ListRefusal,

    /// The `status` of a conversation the bot looks after.
    pub open_status: Option<String>,
    /// The `status` of a conversation handed to a human.
    pub escalated_status: String,
    /// The cause that sets `status`.
    pub status_by: StatusBy,
    /// Delay from an exchange until the judge sets `status`.
    pub status_after_ms: u64,
    /// The value of `resolved` when the judge sets `status`.
    pub resolved_says: ResolvedSays,
    /// The sign by which a handover shows.
    pub escalation_sign: EscalationSign,
    /// Delay from the first sign of a handover to the second.
    pub escalation_gap_ms: u64,
    /// The bot's behaviour while a human has the conversation.
    pub after_escalation: AfterEscalation,
    /// The person who writes in the inbox of their own accord.
    pub human: Human,
    /// Delay until that person writes.
    pub human_after_ms: u64,

    /// The encoding of bodies.
    pub encoding: Encoding,
    /// The form of fields that hold nothing.
    pub fields: Fields,
    /// The parts that readings repeat.
    pub repeats: Repeats,
    /// The form of the vendor's own strings.
    pub strings: Strings,
    /// Delay from a reply until its tags, articles and rating are set; without it the articles come with the reply, and no
    /// tag or rating is ever set.
    pub annotations_after_ms: Option<u64>,
    /// Time for which a reply's `message` is null before its text is filled in.
    pub text_after_ms: u64,

    /// The global throttle; `null` switches it off.
    pub rate_limit: Option<RateLimit>,
    /// The status for an unknown, deleted or foreign conversation or bot; 500 is documented, 404 has been claimed.
    pub unknown_id_status: u16,
    /// The status for a `cursor` that names no conversation: undocumented, so it can be chosen.
    pub unknown_cursor_status: u16,
    /// The shape of chat history, one of the two documented ones.
    pub history_shape: HistoryShape,
    /// Added to the clock: the vendor's clock need not agree with ours.
    pub clock_offset_ms: i64,
    /// If `false`, deleting answers success and deletes nothing, so that only reading again shows the truth.
    pub delete_works: bool,
    /// True if bulk delete answers 406 when some of the ids are unknown (after deleting the others).
    pub bulk_delete_406: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reply_latency_ms: 600,
            quote: false,
            reply_manner: ReplyManner::default(),
            reply_manner_odds: 1.0,
            late_reply_ms: 5_000,
            reply_time: ReplyTime::default(),
            time_grain_ms: 1,
            event_order: EventOrder::default(),
            resolve_mode: ResolveMode::default(),
            resolve_attribute: "email".into(),
            resolve_open_only: false,
            resolve_across_bots: false,
            resolve_at: ResolveAt::default(),
            user_attributes: AttributeMode::default(),
            attributes_after_ms: 0,
            list_lag_ms: 0,
            since_reading: SinceReading::default(),
            list_order: ListOrder::default(),
            list_untouched: false,
            list_key: ListKey::default(),
            list_page_cap: None,
            list_last_events: None,
            list_max_rows: None,
            list_max_bytes: None,
            list_refusal: ListRefusal::default(),
            open_status: Some("Open".into()),
            escalated_status: "Escalated to Human Agent".into(),
            status_by: StatusBy::default(),
            status_after_ms: 3_000,
            resolved_says: ResolvedSays::default(),
            escalation_sign: EscalationSign::default(),
            escalation_gap_ms: 3_000,
            after_escalation: AfterEscalation::default(),
            human: Human::default(),
            human_after_ms: 20_000,
            encoding: Encoding::default(),
            fields: Fields::default(),
            repeats: Repeats::default(),
            strings: Strings::default(),
            annotations_after_ms: None,
            text_after_ms: 0,
            rate_limit: Some(RateLimit::default()),
            unknown_id_status: 500,
            unknown_cursor_status: 500,
            history_shape: HistoryShape::default(),
            clock_offset_ms: 0,
            delete_works: true,
            bulk_delete_406: true,
        }
    }
}

impl Settings {
    /// Returns these settings with the fields of the JSON object `patch` put over them.
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
        if !(0.0..=1.0).contains(&settings.reply_manner_odds) || settings.time_grain_ms == 0 {
            return Err(invalid("reply_manner_odds is 0 to 1, time_grain_ms at least 1".into()));
        }
        if settings.list_page_cap == Some(0) {
            return Err(invalid("list_page_cap is at least 1".into()));
        }
        Ok(settings)
    }
}

/// At most `requests` in any rolling window. The vendor documents 100 in 60 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimit {
    /// Number of requests that fit.
    pub requests: usize,
    /// Length of the window in milliseconds.
    pub window_ms: u64,
    /// True if a refused request takes a place in the window as well. The stricter reading, and the default.
    pub count_refused: bool,
    /// Sent as `Retry-After` (seconds) with a 429. The vendor documents none.
    pub retry_after_s: Option<u64>,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { requests: 100, window_ms: 60_000, count_refused: true, retry_after_s: None }
    }
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
            json!({"reply_manner_odds": 1.5}),
            json!({"time_grain_ms": 0}),
            json!({"list_page_cap": 0}),
        ] {
            assert!(Settings::default().patched(&patch).is_err(), "{patch}");
        }
    }
}
