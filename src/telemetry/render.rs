//! The two renderings of a log line.
//!
//! Pure. Whatever a value holds, a line stays one line without control characters (CWE-117).

use std::fmt::Write as _;

use tracing::{Level, Metadata};

use super::line::{Fields, Value};
use crate::domain::WallTime;

/// The beginning of every rendering.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) at: WallTime,
    pub(super) level: Level,
    pub(super) target: &'a str,
}

impl<'a> Head<'a> {
    pub(super) fn new(at: WallTime, metadata: &Metadata<'a>) -> Self {
        Self { at, level: *metadata.level(), target: metadata.target() }
    }
}

/// One JSON object and a line feed.
pub(super) fn json(head: Head<'_>, fields: &Fields) -> String {
    let mut out = String::with_capacity(256);
    let _ = write!(out, r#"{{"timestamp":"{}","level":"{}","target":"#, head.at, head.level);
    quote(&mut out, head.target);
    out.push_str(r#","message":"#);
    quote(&mut out, &fields.message);
    for (name, value) in &fields.named {
        out.push(',');
        quote(&mut out, name);
        out.push(':');
        push_value(&mut out, value);
    }
    out.push_str("}\n");
    out
}

/// A line for a person at a terminal.
pub(super) fn pretty(head: Head<'_>, fields: &Fields, colour: bool) -> String {
    let code = match head.level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        _ => "2",
    };
    let paint = |code: &str, text: &str| {
        if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    };
    let level = paint(code, &format!("{:5}", head.level.as_str()));
    let mut out = format!("{} {level} {} ", paint("2", &head.at.to_string()), paint("2", head.target));
    escape(&mut out, &fields.message);
    for (name, value) in &fields.named {
        out.push(' ');
        out.push_str(&paint("2", &format!("{name}=")));
        match value {
            Value::Text(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => {
                escape(&mut out, text);
            }
            value => push_value(&mut out, value),
        }
    }
    out.push('\n');
    out
}

fn push_value(out: &mut String, value: &Value) {
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Text(text) => {
            quote(out, text);
            Ok(())
        }
        Value::Int(n) => write!(out, "{n}"),
        Value::Uint(n) => write!(out, "{n}"),
        // JSON (RFC 8259) has no words for the others.
        Value::Float(n) if n.is_finite() => write!(out, "{n}"),
        Value::Float(_) => write!(out, "null"),
        Value::Bool(b) => write!(out, "{b}"),
    };
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text);
    out.push('"');
}

/// RFC 8259 §7, and beyond it everything that a terminal or a log viewer takes for an instruction: C1 controls, line and
/// paragraph separators, and characters that turn the direction of text.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::line::{mask, text};
    use super::*;

    fn head() -> Head<'static> {
        Head { at: WallTime::from_millis(1_795_237_200_123), level: Level::WARN, target: "fini_bridge::x" }
    }

    fn fields(value: &str) -> Fields {
        Fields { message: "said".to_owned(), named: vec![("error", text(&value))] }
    }

    #[test]
    fn a_json_line_has_the_promised_keys_in_order() {
        let named = vec![
            ("attempt", Value::Uint(3)),
            ("offset", Value::Int(-1)),
            ("ratio", Value::Float(0.5)),
            ("nan", Value::Float(f64::NAN)),
            ("duplicate", Value::Bool(true)),
        ];
        let line = json(head(), &Fields { message: "said".to_owned(), named });
        let wanted = concat!(
            r#"{"timestamp":"2026-11-21T05:00:00.123Z","level":"WARN","target":"fini_bridge::x","message":"said","#,
            r#""attempt":3,"offset":-1,"ratio":0.5,"nan":null,"duplicate":true}"#,
            "\n"
        );
        assert_eq!(line, wanted);
    }

    #[test]
    fn a_person_sees_plain_words_and_no_escape_codes_of_others() {
        let line = pretty(head(), &fields("bad \u{1b}[31mred"), false);
        let wanted = "2026-11-21T05:00:00.123Z WARN  fini_bridge::x said error=\"bad \\u001b[31mred\"\n";
        assert_eq!(line, wanted);
        assert!(pretty(head(), &fields("x"), true).starts_with("\u{1b}[2m2026"));
    }

    proptest! {
        #[test]
        fn whatever_the_value_the_line_is_one_json_object_that_gives_it_back(value in "(?s).{0,200}") {
            let value = mask(value);
            let line = json(head(), &fields(&value));
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert!(!line.trim_end_matches('\n').contains(char::is_control));
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&parsed["error"], &serde_json::Value::from(value));
        }
    }
}
