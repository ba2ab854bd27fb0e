//! Answers written from the field reference, and everything that may come instead.

mod conversations;
mod events;
mod robustness;

use serde_json::json;

use super::*;
use crate::domain::{
    ids::InteractionId,
    vendor::{FiniEvent, FiniKind, FiniRole},
};

/// Returns an event as the field reference describes it.
fn full_event() -> Value {
    json!({
        "id": "ev-1", "createdAt": 1_763_700_000_123_i64, "role": "finibot", "type": "message",
        "message": "It is on its way.", "externalId": null, "externalCreatedAt": null,
        "csatRating": 4, "feedback": "quick", "approved": true, "resolved": null,
        "attachments": [{"originalUrl": "https://files.example/a.png", "sizeBytes": 12}],
        "tags": [{"id": "t", "name": "shipping", "groupId": null}],
        "usedArticles": [{"id": "art", "title": "Tracking", "documentUrl": "https://help.example/t"}]
    })
}

fn conversation_with(events: &Value) -> Value {
    json!({
        "id": "conv-1", "createdAt": 1_763_699_000_000_i64, "source": "api", "channel": "chat",
        "status": "Escalated to Human Agent", "externalId": null, "url": "https://app.example/conv-1",
        "subjectPreview": "Where is", "hasFeedback": false, "resolved": false,
        "userAttributes": {"plan": "Pro", "bridge_conversation": "k1", "bridge_turn": "t9"},
        "usedArticles": [], "usedSubfolders": [], "events": events
    })
}

fn events(body: impl AsRef<[u8]>) -> Vec<FiniEvent> {
    parse_events(body.as_ref()).expect("events")
}

fn one(event: &Value) -> FiniEvent {
    events(json!([event]).to_string()).pop().expect("one event")
}

fn ids(events: &[FiniEvent]) -> Vec<&str> {
    events.iter().map(|event| event.id.as_str()).collect()
}

#[test]
fn tags_are_read_in_whatever_list_they_come() {
    let tag = |id: &str, name: &str, group: Option<&str>| Tag {
        id: id.to_owned(),
        name: name.to_owned(),
        group: group.map(str::to_owned),
    };
    let bare = br#"[{"id": "t1", "name": "Resolved", "groupId": "g1"}, {"id": "t2"}, 3]"#;
    assert_eq!(parse_tags(bare).expect("a list"), [tag("t1", "Resolved", Some("g1"))]);
    let wrapped = br#"{"total": 1, "tagGroups": [{"id": 7, "name": "Conversation Status", "isOutputTagGroup": true}]}"#;
    assert_eq!(parse_tags(wrapped).expect("a list"), [tag("7", "Conversation Status", None)]);
    for none in [&b"{}"[..], b"", b"<html>", b"null"] {
        assert!(parse_tags(none).is_err());
    }
}
