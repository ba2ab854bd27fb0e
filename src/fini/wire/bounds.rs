//! The border: whatever the vendor sends, nothing beyond it is longer, stranger or from another time than it may be.
//!
//! Each bound is far above the size of an honest conversation. Cuts are counted, so that they are reported; an event keeps
//! its place in any case, since an event that is left out looks like one that never was.

use serde_json::{Map, Value};

use crate::domain::Timestamp;

/// The longest text of a message, in characters: four times what the bridge itself takes in.
pub(super) const TEXT: usize = 64_000;
/// The longest status, title, role or type, in characters.
pub(super) const WORDS: usize = 500;
/// The longest id, in characters; a database's index takes no more than 2,700 bytes.
pub(super) const ID: usize = 500;
/// The longest address, in characters.
const ADDRESS: usize = 4_000;
/// The largest attachment, tag or raw event, in bytes of JSON.
pub(super) const VALUE: usize = 64 * 1024;
/// The most articles, attachments or tags of an event.
pub(super) const LIST: usize = 100;
/// The most events of one conversation; the newest are kept. An answer of the largest size that is read holds no more than that,
/// each with all its documented members.
pub(super) const EVENTS: usize = 100_000;

/// 2000-01-01 and 2100-01-01: nobody means a time beyond them.
const FIRST: Timestamp = Timestamp::from_millis(946_684_800_000);
const LAST: Timestamp = Timestamp::from_millis(4_102_444_800_000);

/// Counts the cuts.
#[derive(Debug, Default)]
pub(super) struct Border {
    pub(super) cut: usize,
}

impl Border {
    /// Cuts a text to at most so many characters.
    pub(super) fn text(&mut self, text: Option<String>, most: usize) -> Option<String> {
        let mut text = text?;
        // The length in bytes is free to read, and no less than the length in characters.
        if text.len() > most
            && let Some((end, _)) = text.char_indices().nth(most)
        {
            text.truncate(end);
            self.cut += 1;
        }
        Some(text)
    }

    /// Returns the first entries of a list, without those that are too large.
    pub(super) fn values(&mut self, mut values: Vec<Value>) -> Vec<Value> {
        let before = values.len();
        values.truncate(LIST);
        values.retain(|value| is_within(value, VALUE));
        self.cut += before - values.len();
        values
    }

    /// Returns the first entries of a list.
    pub(super) fn list<T>(&mut self, mut list: Vec<T>) -> Vec<T> {
        self.cut += list.len().saturating_sub(LIST);
        list.truncate(LIST);
        list
    }

    /// Returns the event as it came; of one that is too large, its small members.
    pub(super) fn raw(&mut self, raw: Value) -> Value {
        if is_within(&raw, VALUE) {
            return raw;
        }
        self.cut += 1;
        let Value::Object(members) = raw else { return Value::Null };
        let mut left = VALUE;
        let mut kept = Map::new();
        for (name, value) in members {
            let size = size_of(&name, &value);
            if size <= left / 4 {
                left -= size;
                kept.insert(name, value);
            }
        }
        Value::Object(kept)
    }
}

/// Returns an address that is safe to offer as a link: absolute, http or https. Any other is dropped.
pub(super) fn address(text: &str) -> Option<String> {
    let text = text.trim();
    if text.len() > ADDRESS || text.chars().any(char::is_control) {
        return None;
    }
    let url = url::Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then(|| text.to_owned())
}

/// Replaces addresses anywhere in an attachment that are not absolute http or https ones by null: somebody makes a link of
/// any member whose name ends in `url`.
pub(super) fn safe_links(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let safe = |(name, value): (String, Value)| {
                let value = match value {
                    Value::String(text) if is_link(&name) => address(&text).map_or(Value::Null, Value::from),
                    value => safe_links(value),
                };
                (name, value)
            };
            Value::Object(members.into_iter().map(safe).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(safe_links).collect()),
        value => value,
    }
}

fn is_link(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["url", "uri", "href", "link", "src"].iter().any(|ending| name.ends_with(ending))
}

/// Returns a time of the years in which anything can have happened; any other is none, as if it were absent. A number that
/// would be a time of 1970 is one in seconds.
pub(super) fn time(millis: i64) -> Option<Timestamp> {
    let at = Timestamp::from_millis(millis);
    let as_seconds = Timestamp::from_millis(millis.saturating_mul(1_000));
    [at, as_seconds].into_iter().find(|at| (FIRST..=LAST).contains(at))
}

fn is_within(value: &Value, most: usize) -> bool {
    size_of("", value) <= most
}

/// Returns its approximate length as JSON.
fn size_of(name: &str, value: &Value) -> usize {
    let inner = match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(number) => number.to_string().len(),
        Value::String(text) => text.len() + 2,
        Value::Array(values) => values.iter().map(|value| size_of("", value)).sum::<usize>() + 2,
        Value::Object(members) => members.iter().map(|(name, value)| size_of(name, value)).sum::<usize>() + 2,
    };
    inner + name.len() + 4
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_links_that_lead_somewhere_are_offered() {
        for good in ["https://help.example/a?b#c", "http://h/x", " https://h "] {
            assert_eq!(address(good).as_deref(), Some(good.trim()));
        }
        for bad in [
            "javascript:alert(1)",
            "JaVaScRiPt:x",
            "java\nscript:x",
            "data:text/html,x",
            "//h/x",
            "/x",
            "h",
            "",
            "file:///x",
            "mailto:a@b",
            "https://",
        ] {
            assert_eq!(address(bad), None, "{bad}");
        }
        let attachment =
            json!({"originalUrl": "javascript:x", "name": "javascript:x", "previews": [{"url": "https://h/x"}]});
        let safe = json!({"originalUrl": null, "name": "javascript:x", "previews": [{"url": "https://h/x"}]});
        assert_eq!(safe_links(attachment), safe);
    }

    #[test]
    fn times_are_of_this_century_whatever_their_unit() {
        let at = |millis| time(millis).map(Timestamp::as_millis);
        assert_eq!(at(1_763_700_000_123), Some(1_763_700_000_123));
        assert_eq!(at(1_763_700_000), Some(1_763_700_000_000), "seconds");
        for none in [0, -1, i64::MIN, i64::MAX, 9_999_999_999_999] {
            assert_eq!(at(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_cut_is_counted_and_an_event_keeps_its_small_members() {
        let mut border = Border::default();
        assert_eq!(border.text(Some("äöü".to_owned()), 2).as_deref(), Some("äö"));
        assert_eq!(border.text(Some("äö".to_owned()), 2).as_deref(), Some("äö"));
        assert_eq!(border.text(None, 2), None);
        assert_eq!(border.cut, 1);
        assert_eq!(border.values(vec![json!(1); 130]).len(), LIST);
        assert_eq!(border.values(vec![json!("x".repeat(VALUE)), json!(2)]), [json!(2)]);
        assert_eq!(border.cut, 32);
        let raw = border.raw(json!({"id": "e", "type": "video", "blob": "x".repeat(VALUE)}));
        assert_eq!((raw, border.cut), (json!({"id": "e", "type": "video"}), 33));
    }

    proptest! {
        #[test]
        fn nothing_passes_that_is_too_long(text in ".{0,40}", most in 1_usize..30, sizes in prop::collection::vec(0_usize..40_000, 0..12)) {
            let mut border = Border::default();
            let cut = border.text(Some(text.clone()), most).expect("a text");
            prop_assert!(cut.chars().count() <= most && text.starts_with(&cut));
            let members: Map<String, Value> =
                sizes.iter().enumerate().map(|(n, size)| (n.to_string(), Value::from("x".repeat(*size)))).collect();
            prop_assert!(is_within(&border.raw(Value::Object(members)), VALUE + 64));
        }
    }
}
