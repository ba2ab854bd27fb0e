//! The frontend's log: every event of a frontend over all its conversations, in the order in which they became durable.
//!
//! A position is a number, but never shown as one: a cursor names the position *and* proves the event that stands there. So
//! an invented cursor is told from one that was given out, and a log that was restored from a backup, where other events got
//! the same numbers, is never taken for the one that the reader knew.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::{
    WallTime,
    event::EVENT_TYPES,
    ids::{ConversationId, EventId, FrontendName},
    nearest,
};

/// The type of the only event that stands in the log but in no feed.
pub const ERASED: &str = "conversation.erased";

/// A place in a frontend's log: behind a certain event, or before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCursor {
    /// Its number; 0 is before the first event.
    pub position: i64,
    /// The proof of the event.
    tag: u64,
}

impl LogCursor {
    /// The place before the first event.
    pub const START: Self = Self { position: 0, tag: 0 };

    /// Returns the place behind the event at this position.
    pub fn behind(position: i64, event: &EventId) -> Self {
        let digest = Sha256::digest(event.as_str().as_bytes());
        Self { position, tag: digest.iter().take(8).fold(0, |tag, byte| tag << 8 | u64::from(*byte)) }
    }

    /// Parses a cursor; `None` if the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (position, tag) = text.strip_prefix("log_")?.split_once('_')?;
        let cursor =
            Self { position: i64::from_str_radix(position, 16).ok()?, tag: u64::from_str_radix(tag, 16).ok()? };
        // Each cursor has one spelling: what a program changed on the way is not the same cursor.
        (cursor.position >= 0 && cursor.to_string() == text).then_some(cursor)
    }
}

impl fmt::Display for LogCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log_{:x}_{:016x}", self.position, self.tag)
    }
}

/// A choice of event types: `*`, `group.*` or full types, as in `callback_events`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeFilter(Vec<String>);

impl TypeFilter {
    /// Adds a pattern; a text may hold several, with commas between. Returns the fault of one that matches nothing.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        for pattern in text.split(',').map(str::trim) {
            let types = || EVENT_TYPES.into_iter().chain([ERASED]);
            let matches = |kind: &str| match pattern.strip_suffix(".*") {
                Some(group) => kind.split_once('.').is_some_and(|(first, _)| first == group),
                None => kind == pattern,
            };
            if pattern != "*" && !types().any(matches) {
                return Err(match nearest::closest(pattern, types()) {
                    Some(near) => format!("matches no event type; did you mean \"{near}\"?"),
                    None => "matches no event type; write *, a group such as conversation.*, or a type".to_owned(),
                });
            }
            self.0.push(pattern.to_owned());
        }
        Ok(())
    }

    /// Takes patterns that were checked before.
    pub const fn trusted(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    /// Returns the patterns; none for all.
    pub fn patterns(&self) -> &[String] {
        &self.0
    }

    /// Returns true if events of this type are wanted; without any pattern, all are.
    pub fn wants(&self, kind: &str) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(group) => kind.starts_with(group),
                None => pattern == kind,
            })
    }
}

/// Returns the body of the event that reports an erasure: without a feed number, and with only the hash of the id.
pub fn erased_body(id: &EventId, at: WallTime, frontend: &FrontendName, conversation: &ConversationId) -> String {
    serde_json::json!({
        "id": id, "type": ERASED, "timestamp": at.point().to_string(), "frontend": frontend,
        "conversation_id": conversation.erased(), "interaction_id": null, "sequence": null, "data": {},
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_as_it_was_written_and_no_other_way() {
        let event = EventId::trusted("evt_1");
        for cursor in [LogCursor::START, LogCursor::behind(1, &event), LogCursor::behind(i64::MAX, &event)] {
            assert_eq!(LogCursor::parse(&cursor.to_string()), Some(cursor));
        }
        let written = LogCursor::behind(10, &event).to_string();
        for other in [
            written.to_uppercase(),
            written.replace("log_a", "log_0a"),
            written.replace("log_a", "log_+a"),
            written.replace("log_a", "log_-a"),
            written[..written.len() - 1].to_owned(),
            format!("{written} "),
            String::new(),
            "log_".to_owned(),
            "17".to_owned(),
            "log_0_0".to_owned(),
        ] {
            assert_eq!(LogCursor::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn another_event_at_the_same_position_is_another_place() {
        let [one, other] = ["evt_1", "evt_2"].map(EventId::trusted);
        assert_ne!(LogCursor::behind(7, &one), LogCursor::behind(7, &other));
    }

    #[test]
    fn a_filter_takes_all_groups_and_types_and_refuses_what_matches_nothing() {
        let mut filter = TypeFilter::default();
        assert!(filter.wants("turn.failed"), "without any pattern");
        filter.add("conversation.*, turn.completed").expect("known");
        assert!(filter.wants(ERASED) && filter.wants("turn.completed") && !filter.wants("turn.failed"));
        filter.add("*").expect("known");
        assert!(filter.wants("turn.failed"));
        for wrong in ["", "turn", "turns.*", "message.create", "conversation.*.x", "message.created,"] {
            assert!(TypeFilter::default().add(wrong).is_err(), "{wrong:?}");
        }
        assert!(TypeFilter::default().add("message.create").expect_err("unknown").contains("message.created"));
    }

    #[test]
    fn an_erasure_tells_no_id() {
        let (id, conversation) = (EventId::trusted("evt_1"), ConversationId::trusted("web-1"));
        let body = erased_body(&id, WallTime::from_millis(0), &FrontendName::trusted("web"), &conversation);
        assert!(!body.contains("web-1") && body.contains(conversation.erased().as_str()));
    }
}
