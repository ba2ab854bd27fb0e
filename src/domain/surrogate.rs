//! Half characters: a lone surrogate in a JSON text, which is what cutting an emoji in half leaves behind.
//!
//! JSON's grammar allows it, but no text of Unicode can hold it. The error names its place to the sender.

use serde_json::Value;

/// Stands for a half character during the search: a code point that Unicode keeps free of characters for ever.
const MARK: char = '\u{fdd0}';
const MARK_ESCAPE: &[u8; 6] = b"\\ufdd0";

/// The place of a half character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Half {
    /// The path of the text that holds it, such as `user.attributes.name`; empty for a body that is a text.
    pub field: String,
    /// The half, such as `\ud83d`.
    pub escape: String,
}

/// Returns the first half character of a text that is JSON in every other respect.
pub fn first_half(json: &[u8]) -> Option<Half> {
    let mut mended = json.to_vec();
    let mut escape = None;
    let mut at = 0;
    while let Some(found) = json[at..].iter().position(|byte| *byte == b'\\').map(|offset| at + offset) {
        at = match unit(json, found) {
            // A pair.
            Some(0xd800..=0xdbff) if matches!(unit(json, found + 6), Some(0xdc00..=0xdfff)) => found + 12,
            Some(0xd800..=0xdfff) => {
                mended[found..found + 6].copy_from_slice(MARK_ESCAPE);
                escape.get_or_insert_with(|| String::from_utf8_lossy(&json[found..found + 6]).into_owned());
                found + 6
            }
            // Any other escape: at least one character more.
            _ => json.len().min(found + 2),
        };
    }
    let escape = escape?;
    let value: Value = serde_json::from_slice(&mended).ok()?;
    Some(Half { field: marked(&value)?, escape })
}

/// Returns the UTF-16 code unit that the escape at `at` stands for.
fn unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    is_hex.then(|| u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok())?
}

/// Returns the path to the first marked text.
fn marked(value: &Value) -> Option<String> {
    let below = |name: &str, value: &Value| {
        if name.contains(MARK) {
            return Some(String::new());
        }
        marked(value).map(|path| match path.as_str() {
            "" => name.to_owned(),
            path if path.starts_with('[') => format!("{name}{path}"),
            path => format!("{name}.{path}"),
        })
    };
    match value {
        Value::String(text) => text.contains(MARK).then(String::new),
        Value::Array(list) => list.iter().enumerate().find_map(|(index, value)| below(&format!("[{index}]"), value)),
        Value::Object(object) => object.iter().find_map(|(name, value)| below(name, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_character_is_found_where_it_stands() {
        for (json, field, escape) in [
            (r#"{"text":"a\ud800b"}"#, "text", r"\ud800"),
            (r#"{"text":"\uDC00"}"#, "text", r"\uDC00"),
            (r#"{"text":"\ud83d\ude00\ud83d"}"#, "text", r"\ud83d"),
            (r#"{"text":"\ud83d\ud83d\ude00"}"#, "text", r"\ud83d"),
            (r#"{"text":"\\\ud83d \" \\ud83d"}"#, "text", r"\ud83d"),
            (r#"{"a":"x","user":{"attributes":{"n":["","\ud83d"]}}}"#, "user.attributes.n[1]", r"\ud83d"),
            (r#"{"user":{"\ud83d":1}}"#, "user", r"\ud83d"),
            (r#""\ud83d""#, "", r"\ud83d"),
        ] {
            let found = first_half(json.as_bytes()).unwrap_or_else(|| panic!("{json}"));
            assert_eq!((found.field.as_str(), found.escape.as_str()), (field, escape), "{json}");
        }
    }

    #[test]
    fn whole_characters_and_what_is_no_json_are_something_else() {
        for json in [
            r#"{"text":"\ud83d\ude00"}"#,
            r#"{"text":"\\ud83d"}"#,
            r#"{"text":"\ud83d"#,
            r#"{"text":"\ud8"}"#,
            "",
            "\\",
        ] {
            assert_eq!(first_half(json.as_bytes()), None, "{json}");
        }
    }
}
