//! The fields of one log line, made safe to show.
//!
//! Pure. Whatever a value holds, what is kept of it is of bounded length and without the secrets that can be told by their
//! name or look.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};

/// Longest text of one value, in bytes; more is cut and marked with `…`.
pub(super) const MAX_VALUE: usize = 2048;

const REDACTED: &str = "[redacted]";

/// Names of secrets. A field whose last word ends in one of these is never shown.
const SECRETS: &[&str] = &["token", "secret", "key", "password", "authorization", "cookie", "signature", "credential"];

/// Names of what customers write. A field whose last word is one of these is shown only where contents may be logged.
const CONTENTS: &[&str] = &["text", "content", "body", "transcript"];

/// The prefixes of a secret inside other text: those of our own secrets, and the two places a token travels in.
const MARKS: &[&str] = &["whsec_", "whsk_", "Bearer ", "bearer ", "access_token="];

/// A field's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Int(i64),
    Uint(u64),
    Float(f64),
    Bool(bool),
}

/// Fields by name, each once; a later value replaces an earlier one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) named: Vec<(&'static str, Value)>,
}

impl Fields {
    pub(super) fn has(&self, name: &str) -> bool {
        self.named.iter().any(|(known, _)| *known == name)
    }

    fn set(&mut self, name: &'static str, value: Value) {
        match self.named.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.named.push((name, value)),
        }
    }
}

/// Takes over fields, redacting on the way in, so that nothing secret is even kept.
pub(super) struct Collector<'a> {
    pub(super) fields: &'a mut Fields,
    /// True if customers' texts may be logged.
    pub(super) content: bool,
}

impl Collector<'_> {
    fn put(&mut self, field: &Field, value: impl FnOnce() -> Value) {
        let name = plain(field.name());
        let value = if is_hidden(name, self.content) { Value::Text(REDACTED.to_owned()) } else { value() };
        if let ("message", Value::Text(text)) = (name, &value) {
            self.fields.message.clone_from(text);
        } else {
            self.fields.set(name, value);
        }
    }
}

impl Visit for Collector<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, || Value::Float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, || Value::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, || Value::Uint(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, || Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, || text(&value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, || {
            let mut capped = Capped::default();
            let _ = write!(capped, "{value}");
            let mut source = value.source();
            while let Some(cause) = source {
                let _ = write!(capped, ": {cause}");
                source = cause.source();
            }
            capped.done()
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, || {
            let mut capped = Capped::default();
            let _ = write!(capped, "{value:?}");
            capped.done()
        });
    }
}

pub(super) fn text(value: &dyn fmt::Display) -> Value {
    let mut capped = Capped::default();
    let _ = write!(capped, "{value}");
    capped.done()
}

/// `r#type` is the field `type`; the four names every line begins with are not to be had twice.
fn plain(name: &'static str) -> &'static str {
    match name.strip_prefix("r#").unwrap_or(name) {
        "timestamp" => "field_timestamp",
        "level" => "field_level",
        "target" => "field_target",
        name => name,
    }
}

/// Returns true if a field of this name must not be shown. Only its last word counts: `api_key` and `message_text` are hidden, their
/// `key_id` and `text_length` are what should be logged instead.
pub(super) fn is_hidden(name: &str, content: bool) -> bool {
    let name = name.to_ascii_lowercase();
    let last = name.rsplit(['_', '.', '-']).next().unwrap_or_default();
    let last = last.strip_suffix('s').unwrap_or(last);
    SECRETS.iter().any(|word| last.ends_with(word)) || (!content && CONTENTS.contains(&last))
}

/// Takes text up to [`MAX_VALUE`] bytes and swallows the rest, so that a huge value costs neither memory nor an error.
#[derive(Default)]
struct Capped {
    text: String,
    cut: bool,
}

impl fmt::Write for Capped {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = if self.cut { 0 } else { MAX_VALUE - self.text.len() };
        if part.len() <= room {
            self.text.push_str(part);
        } else {
            self.text.push_str(&part[..part.floor_char_boundary(room)]);
            self.cut = true;
        }
        Ok(())
    }
}

impl Capped {
    fn done(self) -> Value {
        let mut text = mask(self.text);
        if self.cut {
            text.push('…');
        }
        Value::Text(text)
    }
}

/// Hides what follows a mark, up to the first character no token contains.
pub(super) fn mask(mut text: String) -> String {
    for mark in MARKS {
        let mut from = 0;
        while let Some(at) = text[from..].find(mark) {
            let start = from + at + mark.len();
            let in_token = |c: char| c.is_ascii_alphanumeric() || "+/=_-.~".contains(c);
            let end = text[start..].find(|c| !in_token(c)).map_or(text.len(), |end| start + end);
            if end > start {
                text.replace_range(start..end, REDACTED);
            }
            from = start;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_by_their_last_word() {
        for name in ["token", "api_key", "apiKey", "callback_secrets", "authorization", "webhook-signature", "Cookie"] {
            assert!(is_hidden(name, true), "{name}");
        }
        for name in ["text", "content", "message_text", "response.body"] {
            assert!(is_hidden(name, false) && !is_hidden(name, true), "{name}");
        }
        for name in ["key_id", "token_count", "content_length", "context", "conversation_id", "status", "error"] {
            assert!(!is_hidden(name, false), "{name}");
        }
    }

    #[test]
    fn secrets_inside_other_text_are_masked() {
        let given = "GET /v1?access_token=aa.bb&x=1 with Bearer cc/dd== or whsec_ee, whsec_ff";
        let wanted = "GET /v1?access_token=[redacted]&x=1 with Bearer [redacted] or whsec_[redacted], whsec_[redacted]";
        assert_eq!(mask(given.to_owned()), wanted);
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let Value::Text(cut) = text(&"ü".repeat(MAX_VALUE)) else { panic!("not text") };
        assert_eq!(cut, format!("{}…", "ü".repeat(MAX_VALUE / 2)));
    }
}
