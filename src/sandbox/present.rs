//! Writes an answer out: the order and number of events, fields that hold nothing, strings, encoding.
//!
//! By default an answer is written as it is; only if the settings ask for more does it go through a JSON tree.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::choices::{Encoding, EventOrder, Fields, Repeats, Strings};
use super::settings::Settings;

/// The content of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Events made by Generate Answer.
    Events,
    /// One conversation.
    Conversation,
    /// A page of List.
    Page,
}

/// The settings by which an answer is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    fields: Fields,
    strings: Strings,
    repeats: Repeats,
    order: EventOrder,
    /// The most events of a conversation, its last ones.
    last_events: Option<usize>,
    encoding: Encoding,
}

/// Keys that may be null or missing although the documentation shows a value.
const OPTIONAL: [&str; 3] = ["url", "subjectPreview", "hasFeedback"];

impl Shape {
    /// Returns the present shape; `listed` if it is for List.
    pub fn of(settings: &Settings, listed: bool) -> Self {
        Self {
            fields: settings.fields,
            strings: settings.strings,
            repeats: settings.repeats,
            order: settings.event_order,
            last_events: settings.list_last_events.filter(|_| listed),
            encoding: settings.encoding,
        }
    }

    fn is_plain(self) -> bool {
        let plain = Self { encoding: self.encoding, ..Self::of(&Settings::default(), false) };
        self == plain
    }

    /// Returns the JSON text, made from the text it would be by default.
    pub fn write(self, kind: Option<Kind>, plain: Vec<u8>) -> Vec<u8> {
        let rewritten = kind.filter(|_| !self.is_plain()).and_then(|kind| self.rewrite(kind, &plain));
        rewritten.unwrap_or(plain)
    }

    fn rewrite(self, kind: Kind, plain: &[u8]) -> Option<Vec<u8>> {
        let mut value: Value = serde_json::from_slice(plain).ok()?;
        match kind {
            Kind::Events => self.arrange(value.as_array_mut()?, false),
            Kind::Conversation => self.conversation(&mut value),
            Kind::Page => self.page(value.as_object_mut()?),
        }
        if self.fields != Fields::Twice {
            return serde_json::to_vec(&value).ok();
        }
        let mut text = Vec::with_capacity(2 * plain.len());
        write_twice(&value, &mut text);
        Some(text)
    }

    fn page(self, page: &mut Map<String, Value>) {
        for rows in page.values_mut().filter_map(Value::as_array_mut) {
            for row in rows.iter_mut() {
                self.conversation(row);
            }
            if self.repeats == Repeats::Rows {
                double(rows);
            }
        }
        if self.fields == Fields::Absent {
            page.retain(|_, value| !value.is_null() && *value != json!(false));
        }
    }

    /// Returns a 200 that says it is JSON.
    pub fn respond(self, text: Vec<u8>) -> Response {
        let mut response = json_response(Body::empty());
        let body = match self.encoding {
            Encoding::Plain => Bytes::from(text),
            Encoding::Gzip => {
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                gzip(&text).into()
            }
        };
        *response.body_mut() = Body::from(body);
        response
    }

    fn conversation(self, row: &mut Value) {
        if let Some(events) = row["events"].as_array_mut() {
            self.arrange(events, true);
        }
        for article in row["usedArticles"].as_array_mut().into_iter().flatten() {
            self.string(article, "title");
        }
        for name in ["status", "channel", "subjectPreview"] {
            self.string(row, name);
        }
        self.empty_fields(row);
    }

    /// Arranges events of a conversation, or of an answer to a message (which is never shortened).
    fn arrange(self, events: &mut Vec<Value>, shortened: bool) {
        if let Some(last) = self.last_events.filter(|_| shortened) {
            events.drain(..events.len().saturating_sub(last));
        }
        match self.order {
            EventOrder::Stored => {}
            EventOrder::NewestFirst => events.reverse(),
            EventOrder::Mixed => events.sort_by_cached_key(|event| event["id"].as_str().map(hash)),
        }
        if self.repeats == Repeats::Events {
            double(events);
        }
        for event in events {
            for article in event["usedArticles"].as_array_mut().into_iter().flatten() {
                self.string(article, "title");
            }
            for tag in event["tags"].as_array_mut().into_iter().flatten() {
                self.string(tag, "name");
            }
            if event["role"] == "finibot" && self.strings == Strings::Nul {
                self.string(event, "message");
            }
            self.empty_fields(event);
        }
    }

    fn string(self, holder: &mut Value, name: &str) {
        let Some(Value::String(text)) = holder.get_mut(name) else { return };
        match self.strings {
            Strings::Plain => {}
            Strings::Nul => text.push('\0'),
            Strings::Huge => text.extend(std::iter::repeat_n('x', 20_000)),
        }
    }

    fn empty_fields(self, holder: &mut Value) {
        let Some(fields) = holder.as_object_mut() else { return };
        let empty = |name: &str, value: &Value| {
            value.is_null()
                || OPTIONAL.contains(&name)
                || value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(Map::is_empty)
        };
        match self.fields {
            Fields::Complete | Fields::Twice => {}
            Fields::Absent => fields.retain(|name, value| !empty(name, value)),
            Fields::Null => {
                fields
                    .iter_mut()
                    .filter(|(name, value)| empty(name, value))
                    .for_each(|(_, value)| *value = Value::Null);
            }
        }
    }
}

/// Returns a 200 with a body that says it is JSON.
pub fn json_response(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

fn double(entries: &mut Vec<Value>) {
    *entries = std::mem::take(entries).into_iter().flat_map(|entry| [entry.clone(), entry]).collect();
}

/// Writes every key twice with the same value, except where a value holds further objects.
fn write_twice(value: &Value, out: &mut Vec<u8>) {
    fn plain(value: &Value, out: &mut Vec<u8>) {
        // Writing a tree into memory cannot fail.
        let _ = serde_json::to_writer(out, value);
    }
    match value {
        Value::Object(fields) => {
            out.push(b'{');
            let mut first = true;
            for (key, value) in fields {
                let times =
                    if value.as_array().is_some_and(|entries| entries.iter().any(Value::is_object)) { 1 } else { 2 };
                for _ in 0..times {
                    if !std::mem::take(&mut first) {
                        out.push(b',');
                    }
                    plain(&Value::String(key.clone()), out);
                    out.push(b':');
                    if times == 1 { write_twice(value, out) } else { plain(value, out) }
                }
            }
            out.push(b'}');
        }
        Value::Array(entries) => {
            out.push(b'[');
            for (n, entry) in entries.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_twice(entry, out);
            }
            out.push(b']');
        }
        other => plain(other, out),
    }
}

/// Hashes by FNV-1a: any order will do that is the same each time.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Makes a gzip file (RFC 1952) of stored blocks: the form matters here, not the size.
fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = text.chunks(usize::from(u16::MAX)).peekable();
    if blocks.peek().is_none() {
        out.extend([1, 0, 0, 255, 255]);
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    out.extend(crc32(text).to_le_bytes());
    // The length modulo 2³², as the format has it.
    out.extend(u32::try_from(text.len() & 0xffff_ffff).unwrap_or_default().to_le_bytes());
    out
}

/// CRC-32 of each byte (RFC 1952, section 8).
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256; nothing else converts in a constant")]
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| (crc >> 8) ^ CRC[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_standards() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn keys_stand_there_twice_but_nothing_grows_without_bounds() {
        let mut out = Vec::new();
        write_twice(&json!({"a": 1, "rows": [{"b": null}]}), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":1,"a":1,"rows":[{"b":null,"b":null}]}"#);
    }
}
