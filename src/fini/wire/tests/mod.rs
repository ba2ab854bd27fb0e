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

/// An event as the field reference describes it.
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
