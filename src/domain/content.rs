//! The content of a message, as digests with which a later picture of it is compared. Pure.
//!
//! Fini changes messages after they were reported: tags come after the reply, articles too, and the addresses of attachments
//! are signed anew each time they are shown. So volatile parts are left out, order does not count, and a part that a picture
//! lacks says nothing: not every answer of Fini's shows every field. The digests are stored, so they may never change with a
//! compiler.

use serde_json::Value;

use super::vendor::{Article, FiniEvent};

/// The digest of each part of a message that may change; `None` where the part is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    text: Option<u64>,
    articles: Option<u64>,
    attachments: Option<u64>,
    tags: Option<u64>,
}

/// The parts that differ.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Changed {
    /// The new text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// All articles now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub articles: Option<Vec<Article>>,
    /// All attachments now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachments: Option<Vec<Value>>,
    /// All tags now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<Value>>,
}

impl Content {
    /// Returns the content of a message as it is now.
    pub fn of(event: &FiniEvent) -> Self {
        let articles: Vec<String> = event.articles.iter().map(article).collect();
        Self {
            text: event.text.as_deref().filter(|text| !text.is_empty()).map(|text| digest([text])),
            articles: unordered(articles),
            attachments: unordered(event.attachments.iter().map(canonical).collect()),
            tags: unordered(event.tags.iter().map(canonical).collect()),
        }
    }

    /// Returns the parts of `event` that differ from this, and the content after it; `None` if none does.
    pub fn revised(&self, event: &FiniEvent) -> Option<(Changed, Self)> {
        let now = Self::of(event);
        let differs = |before: Option<u64>, now: Option<u64>| now.is_some() && now != before;
        let changed = Changed {
            text: event.text.clone().filter(|_| differs(self.text, now.text)),
            articles: differs(self.articles, now.articles).then(|| event.articles.clone()),
            attachments: differs(self.attachments, now.attachments).then(|| event.attachments.clone()),
            tags: differs(self.tags, now.tags).then(|| event.tags.clone()),
        };
        let after = Self {
            text: now.text.or(self.text),
            articles: now.articles.or(self.articles),
            attachments: now.attachments.or(self.attachments),
            tags: now.tags.or(self.tags),
        };
        (changed != Changed::default()).then_some((changed, after))
    }

    /// Returns the stored form.
    pub fn to_text(&self) -> String {
        let part = |part: Option<u64>| part.map(|digest| format!("{digest:x}")).unwrap_or_default();
        [self.text, self.articles, self.attachments, self.tags].map(part).join(" ")
    }

    /// Parses the stored form; what cannot be read is like what was never seen.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<Option<u64>> = text
            .split(' ')
            .map(|part| if part.is_empty() { Some(None) } else { u64::from_str_radix(part, 16).ok().map(Some) })
            .collect::<Option<_>>()?;
        let [text, articles, attachments, tags] = parts.try_into().ok()?;
        Some(Self { text, articles, attachments, tags })
    }
}

fn article(article: &Article) -> String {
    let url = article.url.as_deref().map(lasting).unwrap_or_default();
    format!("{}\n{}\n{url}", article.id, article.title)
}

fn unordered(mut parts: Vec<String>) -> Option<u64> {
    parts.sort_unstable();
    (!parts.is_empty()).then(|| digest(parts.iter().map(String::as_str)))
}

/// Returns a value without the parts that change from one observation to the next, members in order.
fn canonical(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", lasting(text)),
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let lasting = members.iter().filter(|(name, _)| !is_volatile(name));
            let mut members: Vec<String> =
                lasting.map(|(name, value)| format!("{name:?}:{}", canonical(value))).collect();
            members.sort_unstable();
            format!("{{{}}}", members.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Returns the address of a file without its signature; any other text as it is.
fn lasting(text: &str) -> &str {
    let is_address = text.starts_with("http://") || text.starts_with("https://");
    if is_address { text.split(['?', '#']).next().unwrap_or(text) } else { text }
}

/// Returns true for members that say how long an address is valid, or that prove it.
fn is_volatile(name: &str) -> bool {
    let name = name.to_lowercase();
    ["expir", "signature", "signed", "token"].iter().any(|part| name.contains(part))
}

/// Returns the FNV-1a digest of the parts, with a mark after each.
fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = parts.into_iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{Timestamp, vendor::FiniRole};

    fn message(text: &str, attachments: Value, tags: Value) -> FiniEvent {
        let list = |value: Value| value.as_array().cloned().unwrap_or_default();
        FiniEvent {
            attachments: list(attachments),
            tags: list(tags),
            ..FiniEvent::message("e", Timestamp::ZERO, FiniRole::Bot, text)
        }
    }

    #[test]
    fn what_came_later_or_changed_is_told_with_its_new_value() {
        let before = Content::of(&message("hi", json!([]), json!([])));
        let tagged = message("hi", json!([]), json!([{"name": "Refund"}]));
        let (changed, after) = before.revised(&tagged).expect("changed");
        assert_eq!(serde_json::to_value(&changed).expect("JSON"), json!({"tags": [{"name": "Refund"}]}));
        assert_eq!(after.revised(&tagged), None, "once");
        let edited = message("hello", json!([]), json!([{"name": "Refund"}]));
        let (changed, _) = after.revised(&edited).expect("changed");
        assert_eq!(serde_json::to_value(&changed).expect("JSON"), json!({"text": "hello"}));
    }

    #[test]
    fn what_is_signed_anew_left_out_or_in_another_order_is_no_change() {
        let file = |query: &str, until: i64| json!([{"name": "a.pdf", "url": format!("https://f.example/a.pdf?{query}"), "expiresAt": until}]);
        let content = Content::of(&message("hi", file("X-Signature=1", 1), json!(["a", {"b": 1, "c": 2}])));
        assert_eq!(content.revised(&message("hi", file("X-Signature=2", 2), json!([{"c": 2, "b": 1}, "a"]))), None);
        assert_eq!(content.revised(&message("", json!([]), json!(null))), None);
        assert!(content.revised(&message("hi", json!([{"name": "b.pdf"}]), json!([]))).is_some());
    }

    #[test]
    fn what_is_stored_is_read_back() {
        for event in [message("hi", json!([1]), json!([])), message("", json!([]), json!([]))] {
            let content = Content::of(&event);
            assert_eq!(Content::parse(&content.to_text()), Some(content));
        }
        assert_eq!((Content::parse("x"), Content::parse("1 2 3")), (None, None));
        // Digests of older versions have to be understood: neither the form nor the function may change.
        assert_eq!(Content::of(&message("a", json!([]), json!([]))).to_text().split(' ').count(), 4);
        assert_eq!(digest([]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(digest(["a"]), 0x089b_c907_b544_c769, "FNV-1a of 0x61 0xff");
    }
}
