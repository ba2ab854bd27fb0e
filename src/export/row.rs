//! One listed conversation: the facts that the walk needs, and its JSON on one line.

use crate::{
    domain::vendor::{FiniConversation, FiniKind},
    fini::RawConversation,
};

/// The facts that the walk needs, in epoch milliseconds.
///
/// Fini sorts by "latest message time" and does not say which events are messages, so the time is known as a span: from
/// the latest event a customer can see to the latest of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Creation time of the conversation.
    pub created: Option<i64>,
    /// Its place in the list is not older than this.
    pub lowest: Option<i64>,
    /// Its place in the list is not newer than this.
    pub highest: Option<i64>,
}

impl Facts {
    /// Reads the facts; none are known of a conversation that cannot be parsed.
    pub fn of(row: &RawConversation) -> Self {
        row.parse().map(|conversation| Self::of_parsed(&conversation)).unwrap_or_default()
    }

    fn of_parsed(conversation: &FiniConversation) -> Self {
        let times = conversation.events.iter().map(|event| (event.created_at.as_millis(), &event.kind));
        let visible = |kind: &FiniKind| matches!(kind, FiniKind::Message | FiniKind::WidgetForm);
        let created = Some(conversation.created_at.as_millis()).filter(|at| *at > 0);
        Self {
            created,
            lowest: times.clone().filter(|(_, kind)| visible(kind)).map(|(at, _)| at).max().or(created),
            highest: times.map(|(at, _)| at).max().max(created),
        }
    }

    /// Returns the time of the latest visible event until `moment`, or else of the creation.
    pub(super) fn latest_until(row: &RawConversation, moment: i64) -> Option<i64> {
        let conversation = row.parse().ok()?;
        let events = conversation.events.iter();
        let visible = events.filter(|event| matches!(event.kind, FiniKind::Message | FiniKind::WidgetForm));
        let times = visible.map(|event| event.created_at.as_millis()).filter(|at| *at <= moment);
        times.max().or(Some(conversation.created_at.as_millis()).filter(|at| *at <= moment))
    }
}

/// Removes the white space between the parts of JSON. All else stays byte for byte: key order, numbers and escapes are
/// as Fini sent them.
pub fn compact(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for c in json.chars() {
        if inside {
            inside = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c == '"' {
            inside = true;
        } else if c.is_ascii_whitespace() {
            continue;
        }
        line.push(c);
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn only_white_space_between_parts_goes() {
        assert_eq!(compact("{ \"b\" : 1.0,\r\n\t\"a\":\" x \\\" \\\\\" }"), r#"{"b":1.0,"a":" x \" \\"}"#);
    }

    proptest! {
        #[test]
        fn means_the_same(texts in prop::collection::vec(".{0,12}", 0..6)) {
            let value = serde_json::json!({ "texts": texts, "n": [1, null, true] });
            let pretty = serde_json::to_string_pretty(&value).expect("plain data");
            let line = compact(&pretty);
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<Value>(&line).expect("still JSON"), value);
        }
    }
}
