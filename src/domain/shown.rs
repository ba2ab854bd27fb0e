//! Turns a feed event into what a customer's browser sees of it.
//!
//! A browser belongs to the customer, not to the company: it does not get what Fini says about the customer (tags, ratings,
//! anything the bridge does not recognise), nor what is kept from the customer. `hidden` stands in its place, under the same
//! number, so that the browser's feed has no gap. A type that is not named here is hidden: new types are for servers until
//! somebody decides otherwise.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

/// The type that stands in place of an event that is not for browsers.
pub const HIDDEN: &str = "hidden";

/// The members of `handoff.requested` that are for the customer too.
const ASKED_FOR_A_HUMAN: [&str; 3] = ["reason", "desk_open", "next_open"];

/// An event as a browser sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// Its type.
    pub kind: Cow<'a, str>,
    /// Its body.
    pub body: Cow<'a, str>,
}

/// The parts around the data of an event, byte by byte.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: &'a RawValue,
    #[serde(borrow)]
    frontend: &'a RawValue,
    #[serde(borrow)]
    conversation_id: &'a RawValue,
    #[serde(borrow)]
    interaction_id: &'a RawValue,
    sequence: i64,
    data: Value,
}

enum Verdict {
    AsItIs,
    Changed,
    Hidden,
}

/// Returns the event of number `sequence` as a browser sees it.
pub fn to_browser<'a>(kind: &'a str, body: &'a str, sequence: i64) -> Shown<'a> {
    // The bridge rendered every body; one that cannot be read is hidden all the same.
    let unreadable = || Shown {
        kind: HIDDEN.into(),
        body: json!({"type": HIDDEN, "sequence": sequence, "data": {}}).to_string().into(),
    };
    let Ok(mut event) = serde_json::from_str::<Envelope<'_>>(body) else { return unreadable() };
    match judge(kind, &mut event.data) {
        Verdict::AsItIs => return Shown { kind: kind.into(), body: body.into() },
        Verdict::Changed => {}
        Verdict::Hidden => {
            event.kind = HIDDEN.into();
            event.data = json!({});
        }
    }
    let kind = event.kind.clone().into_owned();
    serde_json::to_string(&event).map_or_else(|_| unreadable(), |body| Shown { kind: kind.into(), body: body.into() })
}

fn judge(kind: &str, data: &mut Value) -> Verdict {
    match kind {
        "turn.completed"
        | "turn.failed"
        | "conversation.escalated"
        | "conversation.status_changed"
        | "conversation.resolved"
        | "conversation.continued"
        | "handoff.claimed"
        | "handoff.agent_joined"
        | "handoff.agent_left"
        | "handoff.position"
        | "handoff.unclaimed"
        | "handoff.returned" => Verdict::AsItIs,
        "message.created" | "form.presented" if is_withheld(data) => Verdict::Hidden,
        "message.created" => match data.pointer_mut("/message/tags").and_then(Value::as_array_mut) {
            Some(tags) if !tags.is_empty() => {
                tags.clear();
                Verdict::Changed
            }
            _ => Verdict::AsItIs,
        },
        "message.updated" => match data.pointer_mut("/changed").and_then(Value::as_object_mut) {
            Some(changed) => match (changed.remove("tags"), changed.is_empty()) {
                (_, true) => Verdict::Hidden,
                (None, false) => Verdict::AsItIs,
                (Some(_), false) => Verdict::Changed,
            },
            None => Verdict::Hidden,
        },
        "form.presented" => match data.as_object_mut() {
            Some(form) => {
                form.remove("raw");
                Verdict::Changed
            }
            None => Verdict::Hidden,
        },
        "handoff.requested" => match data.as_object_mut() {
            Some(request) => {
                request.retain(|name, _| ASKED_FOR_A_HUMAN.contains(&name.as_str()));
                Verdict::Changed
            }
            None => Verdict::Hidden,
        },
        _ => Verdict::Hidden,
    }
}

fn is_withheld(data: &Value) -> bool {
    data["withheld"] == true && !mutated!("what is withheld reaches the customer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::EVENT_TYPES;

    fn shown(kind: &str, data: &Value) -> Value {
        let body = format!(
            r#"{{"id":"evt_1","type":"{kind}","timestamp":"t","frontend":"web","conversation_id":"c","interaction_id":null,"sequence":3,"data":{data}}}"#
        );
        let shown = to_browser(kind, &body, 3);
        let event: Value = serde_json::from_str(&shown.body).expect("JSON");
        assert_eq!(event["type"], *shown.kind);
        for (member, value) in [("id", json!("evt_1")), ("sequence", json!(3)), ("conversation_id", json!("c"))] {
            assert_eq!(event[member], value, "{kind}");
        }
        json!({"type": event["type"], "data": event["data"]})
    }

    #[test]
    fn what_is_not_for_customers_is_hidden_under_its_number() {
        let hidden = json!({"type": "hidden", "data": {}});
        for (kind, data) in [
            (
                "fini.unrecognized",
                json!({"event_id": "e", "role": "agent", "type": "private_note", "raw": {"message": "x"}}),
            ),
            ("feedback.updated", json!({"event_id": "e", "feedback": "x"})),
            ("handoff.waiting", json!({"waiting_seconds": 60})),
            ("message.created", json!({"message": {"text": "x", "tags": []}, "withheld": true})),
            ("message.updated", json!({"message_id": "m", "changed": {"tags": ["x"]}})),
            ("what.comes.later", json!({"x": 1})),
        ] {
            assert_eq!(shown(kind, &data), hidden, "{kind}");
        }
    }

    #[test]
    fn what_is_half_for_customers_loses_the_other_half() {
        for (kind, data, seen) in [
            (
                "message.created",
                json!({"message": {"text": "x", "tags": ["abusive"]}, "origin": "fini"}),
                json!({"message": {"text": "x", "tags": []}, "origin": "fini"}),
            ),
            (
                "message.updated",
                json!({"message_id": "m", "changed": {"text": "y", "tags": ["x"]}}),
                json!({"message_id": "m", "changed": {"text": "y"}}),
            ),
            (
                "form.presented",
                json!({"event_id": "e", "text": "f", "raw": {"x": 1}}),
                json!({"event_id": "e", "text": "f"}),
            ),
            (
                "handoff.requested",
                json!({"reason": "requested", "note": "n", "user": {}, "tags": [], "desk_open": true, "next_open": null}),
                json!({"reason": "requested", "desk_open": true, "next_open": null}),
            ),
        ] {
            assert_eq!(shown(kind, &data), json!({"type": kind, "data": seen}));
        }
    }

    #[test]
    fn the_rest_keeps_its_bytes() {
        let body = r#"{"id":"evt_1","type":"turn.completed","timestamp":"t","frontend":"web","conversation_id":"c","interaction_id":"i","sequence":3,"data":{"replies":1,"message_id":"m"}}"#;
        assert_eq!(to_browser("turn.completed", body, 3).body, body);
    }

    /// Forces a decision about what a customer sees of every new type.
    #[test]
    fn every_type_there_is_was_judged() {
        let hidden = ["fini.unrecognized", "feedback.updated", "message.updated", "handoff.waiting"];
        for kind in EVENT_TYPES.iter().filter(|kind| !hidden.contains(kind)) {
            assert_eq!(shown(kind, &json!({}))["type"], *kind);
        }
    }

    #[test]
    fn what_cannot_be_read_is_hidden() {
        let shown = to_browser("message.created", "no JSON", 7);
        assert_eq!((&*shown.kind, &*shown.body), ("hidden", r#"{"data":{},"sequence":7,"type":"hidden"}"#));
    }
}
