//! The latest messages of a conversation as one list, for an agent that takes it over: each in its present form.

use serde_json::Value;

use crate::domain::shown::to_browser;

/// Returns the messages of these feed events (`message.created`, and what changed them), oldest first. A browser sees less.
pub(super) fn of(bodies: &[String], is_browser: bool) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    for body in bodies {
        let Ok(event) = serde_json::from_str::<Value>(body) else { continue };
        let kind = event["type"].as_str().unwrap_or_default();
        let event = if is_browser {
            let shown = to_browser(kind, body, event["sequence"].as_i64().unwrap_or_default());
            serde_json::from_str(&shown.body).unwrap_or_default()
        } else {
            event
        };
        let data = &event["data"];
        match event["type"].as_str() {
            Some("message.created") => {
                let mut message = data["message"].clone();
                if data["withheld"] == true {
                    message["withheld"] = Value::Bool(true);
                }
                messages.push(message);
            }
            Some("message.updated") => {
                let changed = messages.iter_mut().find(|message| message["id"] == data["message_id"]);
                let (Some(message), Some(parts)) = (changed, data["changed"].as_object()) else { continue };
                for (name, value) in parts {
                    message[name.as_str()] = value.clone();
                }
            }
            _ => {}
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, sequence: i64, data: &Value) -> String {
        format!(
            r#"{{"id":"evt_1","type":"{kind}","timestamp":"t","frontend":"web","conversation_id":"c","interaction_id":null,"sequence":{sequence},"data":{data}}}"#
        )
    }

    fn message(id: &str, text: &str) -> Value {
        json!({"id": id, "author": "bot", "text": text, "tags": ["a"]})
    }

    #[test]
    fn messages_are_as_they_are_now_and_customers_see_their_own() {
        let bodies = [
            event("message.created", 1, &json!({"message": message("1", "one"), "origin": "fini"})),
            event("message.created", 2, &json!({"message": message("2", "two"), "withheld": true})),
            event("message.updated", 3, &json!({"message_id": "1", "changed": {"text": "One", "tags": ["b"]}})),
        ];
        let whole = of(&bodies, false);
        assert_eq!(whole[0], json!({"id": "1", "author": "bot", "text": "One", "tags": ["b"]}));
        assert_eq!((whole.len(), &whole[1]["withheld"]), (2, &json!(true)));
        let seen = of(&bodies, true);
        assert_eq!(seen, [json!({"id": "1", "author": "bot", "text": "One", "tags": []})]);
    }
}
