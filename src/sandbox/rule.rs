//! Fault rules: which requests they strike, how often, and with what effect. Plain data, as set over HTTP or in a test.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::audit::Route;

/// A rule: strike these requests in this way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The operation to strike.
    #[serde(default)]
    pub route: FaultRoute,
    /// The effect.
    pub kind: FaultKind,
    /// Number of requests that are struck; without it one, or with a `probability` any number.
    #[serde(default)]
    pub times: Option<u32>,
    /// The chance of each request to be struck, 0 to 1.
    #[serde(default)]
    pub probability: Option<f64>,
    /// Number of matching requests that pass first.
    #[serde(default)]
    pub skip: u32,
    /// Strikes only requests whose path id, query or body contains this text.
    #[serde(default)]
    pub content: Option<String>,
    /// Time for which it goes on striking once it has struck; then `times`, `probability` and `skip` count the beginnings.
    /// With `within` alone it goes on for ever.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// The requests it goes on striking: all that match, or only those about the same thing.
    #[serde(default)]
    pub within: Option<Within>,
    /// Details of the kind.
    #[serde(default)]
    pub params: FaultParams,
}

/// The thing that an outage is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Within {
    /// The conversation that the request names; requests without one are spared.
    Conversation,
    /// The bot, of several; where there is one bot it is spared.
    Bot,
    /// The message's text.
    Text,
}

impl Fault {
    /// Creates a fault that strikes once.
    pub fn new(route: FaultRoute, kind: FaultKind) -> Self {
        Self {
            route,
            kind,
            times: None,
            probability: None,
            skip: 0,
            content: None,
            for_ms: None,
            within: None,
            params: FaultParams::default(),
        }
    }

    /// Goes on striking for so long, whatever it matches.
    #[must_use]
    pub fn lasting(self, ms: u64) -> Self {
        Self { for_ms: Some(ms), ..self }
    }

    /// Goes on striking requests about the same thing.
    #[must_use]
    pub fn within(self, within: Within) -> Self {
        Self { within: Some(within), ..self }
    }

    /// Strikes so many times.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Strikes each request with this chance.
    #[must_use]
    pub fn probability(self, probability: f64) -> Self {
        Self { probability: Some(probability), ..self }
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn skip(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// Strikes only requests whose path id, query or body contains this text.
    #[must_use]
    pub fn containing(self, content: impl Into<String>) -> Self {
        Self { content: Some(content.into()), ..self }
    }

    /// Sets the details of the kind.
    #[must_use]
    pub fn with(self, params: FaultParams) -> Self {
        Self { params, ..self }
    }
}

/// The operation that a fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultRoute {
    /// Every one.
    #[default]
    Any,
    /// Generate Answer.
    GenerateAnswer,
    /// Get conversation.
    Get,
    /// List conversations.
    List,
    /// List agents.
    Agents,
    /// Chat history.
    History,
    /// Delete and bulk delete.
    Delete,
}

impl FaultRoute {
    /// Returns true if a request to `route` can be struck.
    pub fn covers(self, route: Route) -> bool {
        match self {
            Self::Any => true,
            Self::GenerateAnswer => route == Route::GenerateAnswer,
            Self::Get => route == Route::Get,
            Self::List => route == Route::List,
            Self::Agents => route == Route::Agents,
            Self::History => route == Route::History,
            Self::Delete => matches!(route, Route::Delete | Route::BulkDelete),
        }
    }
}

/// The effect on a struck request. "Served" means that the operation is carried out, and a message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Not served: `params.status` (default 500), as JSON, or as a proxy's page with `params.html`, or `params.body`.
    Status,
    /// Served, then `params.status` (default 500).
    #[serde(rename = "store_then_500")]
    StoreThen500,
    /// Generate Answer takes over the metadata and stores no message; then `params.status` (default 500).
    #[serde(rename = "merge_then_500")]
    MergeThen500,
    /// Served, then no answer for `params.ms` (for ever without it; then 504).
    StoreThenHang,
    /// Served, then the connection is reset.
    StoreThenReset,
    /// Not served: the connection is reset.
    ResetBefore,
    /// The connection is reset, and the message still arrives, `params.ms` (default 3000) later.
    ResetThenStore,
    /// Not served: no answer for `params.ms` (for ever without it; then 504).
    HangBefore,
    /// Served; the answer's JSON breaks off half-way, and with `params.cut` the connection with it.
    TruncatedJson,
    /// Served; the answer is noise that is neither JSON nor UTF-8.
    Garbage,
    /// Served; the answer comes byte by byte, `params.interval_ms` (default 20) apart.
    Drip,
    /// Served; the answer is valid JSON blown up to `params.bytes` (default 64 MiB).
    HugeBody,
    /// Not served: 429, with `params.retry_after` when given.
    RateLimited,
    /// Served, `params.ms` (default 1000) late.
    Delay,
    /// Not served: 401.
    Unauthorised,
    /// Not served: 403.
    Forbidden,
    /// Generate Answer holds only the user's event; the reply turns up `params.ms` (default `late_reply_ms`) later.
    EventsOnlyUser,
    /// Served; the answer is `[]` (for List an empty page, which with `params.has_more` claims that there is more).
    EmptyArray,
    /// Served as if no `cursor` had been given.
    FromTheTop,
}

/// Every kind with its effect, for people.
pub const KINDS: &[(&str, &str)] = &[
    ("status", "not served: params.status (500) as JSON; params.message, params.body, params.html for a proxy's page"),
    ("store_then_500", "served, then params.status (500)"),
    ("merge_then_500", "the metadata is taken over, the message is not stored, then params.status (500)"),
    ("store_then_hang", "served, then no answer for params.ms (for ever without it)"),
    ("store_then_reset", "served, then the TCP connection is reset"),
    ("reset_before", "not served: the TCP connection is reset"),
    ("reset_then_store", "the connection is reset, and the message arrives params.ms (3000) later all the same"),
    ("hang_before", "not served: no answer for params.ms (for ever without it)"),
    ("truncated_json", "served; the JSON breaks off half-way, with params.cut the connection too"),
    ("garbage", "served; the answer is noise"),
    ("drip", "served; one byte every params.interval_ms (20)"),
    ("huge_body", "served; the JSON is blown up to params.bytes (64 MiB)"),
    ("rate_limited", "not served: 429, with params.retry_after if given"),
    ("delay", "served, params.ms (1000) late"),
    ("unauthorised", "not served: 401"),
    ("forbidden", "not served: 403"),
    ("events_only_user", "Generate Answer holds only the customer's event; the reply turns up params.ms later"),
    ("empty_array", "served; the answer is [] (of List an empty page, with params.has_more as if there were more)"),
    ("from_the_top", "List without the cursor it was given"),
];

impl FaultKind {
    /// Returns the name used in control calls and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::StoreThen500 => "store_then_500",
            Self::MergeThen500 => "merge_then_500",
            Self::StoreThenHang => "store_then_hang",
            Self::StoreThenReset => "store_then_reset",
            Self::ResetBefore => "reset_before",
            Self::ResetThenStore => "reset_then_store",
            Self::HangBefore => "hang_before",
            Self::TruncatedJson => "truncated_json",
            Self::Garbage => "garbage",
            Self::Drip => "drip",
            Self::HugeBody => "huge_body",
            Self::RateLimited => "rate_limited",
            Self::Delay => "delay",
            Self::Unauthorised => "unauthorised",
            Self::Forbidden => "forbidden",
            Self::EventsOnlyUser => "events_only_user",
            Self::EmptyArray => "empty_array",
            Self::FromTheTop => "from_the_top",
        }
    }
}

/// Details of a fault; each kind names those it reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "independent details of different kinds")]
pub struct FaultParams {
    /// HTTP status.
    pub status: Option<u16>,
    /// The error body's `message`: a text or an array of texts.
    pub message: Option<Value>,
    /// The error body itself, sent as it stands.
    pub body: Option<String>,
    /// A proxy's HTML page in place of JSON.
    pub html: bool,
    /// `Retry-After`: seconds as a number, or any text.
    pub retry_after: Option<Value>,
    /// A delay in milliseconds.
    pub ms: Option<u64>,
    /// Milliseconds between two bytes.
    pub interval_ms: Option<u64>,
    /// Size of a body.
    pub bytes: Option<usize>,
    /// True if an empty page claims that there is more.
    pub has_more: bool,
    /// Ends the connection inside the body.
    pub cut: bool,
    /// For the `store_then_…` kinds: `false` means that no reply is ever made.
    pub reply: Option<bool>,
    /// For the `store_then_…` kinds: strikes right after storing, while the reply is still being made.
    pub at_once: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_wire_in_reports_and_on_the_page_agree() {
        for (name, _) in KINDS {
            let kind: FaultKind = serde_json::from_value((*name).into()).unwrap();
            assert_eq!(kind.name(), *name);
        }
    }

    #[test]
    fn a_rule_needs_no_more_than_its_kind() {
        let fault: Fault = serde_json::from_str(r#"{"kind": "garbage"}"#).unwrap();
        assert_eq!(fault, Fault::new(FaultRoute::Any, FaultKind::Garbage));
        assert!(serde_json::from_str::<Fault>(r#"{"kind": "garbage", "paramz": {}}"#).is_err());
    }
}
