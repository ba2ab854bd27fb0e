//! Conversations, pages, agents and the legacy history.

use super::*;

#[test]
fn reads_a_page_under_either_name() {
    let conversation = conversation_with(&json!([full_event()]));
    for name in ["interactions", "conversations"] {
        let body = json!({name: [conversation], "hasMore": true, "nextCursor": "conv-1", "prevCursor": null});
        let page = parse_page(body.to_string().as_bytes()).expect("a page");
        assert_eq!((page.conversations.len(), page.malformed), (1, 0));
        assert!(page.has_more);
        assert_eq!((page.next_cursor.as_deref(), page.prev_cursor), (Some("conv-1"), None));
        assert_eq!(page.conversations[0].id.as_str(), "conv-1");
        assert_eq!(page.conversations[0].latest_at(), Some(Timestamp::from_millis(1_763_700_000_123)));

        let parsed = page.conversations[0].parse().expect("a conversation");
        assert_eq!(parsed.status.as_deref(), Some("Escalated to Human Agent"));
        assert_eq!(parsed.resolved, Some(false));
        assert_eq!(parsed.conversation_attribute(), Some("k1"));
        assert_eq!(parsed.turn_attribute(), Some("t9"));
        assert_eq!(parsed.created_at, Timestamp::from_millis(1_763_699_000_000));
        assert_eq!(parsed.events.len(), 1);
    }
    let bare = parse_page(json!([conversation]).to_string().as_bytes()).expect("a page");
    assert_eq!((bare.conversations.len(), bare.has_more), (1, false));
}

#[test]
fn an_empty_page_is_no_failure_but_a_page_without_list_is() {
    for empty in [r#"{"interactions":[]}"#, r#"{"conversations":null}"#, "[]"] {
        assert!(parse_page(empty.as_bytes()).expect("a page").conversations.is_empty(), "{empty}");
    }
    let both = r#"{"interactions":[],"conversations":[{"id":"c"}]}"#;
    assert_eq!(parse_page(both.as_bytes()).expect("a page").conversations.len(), 1);
    for garbled in ["", "{}", r#"{"message":"ok"}"#, r#"{"interactions":7}"#, "7", "<html></html>"] {
        assert!(parse_page(garbled.as_bytes()).is_err(), "{garbled}");
    }
}

#[test]
fn one_malformed_conversation_does_not_spoil_the_page() {
    let good = conversation_with(&json!([]));
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let body = format!(
        r#"{{"interactions":[{good},null,{{"createdAt":1}},{{"id":"deep","events":[{deep},{event}]}},{{"id":"odd","events":7}}]}}"#,
        event = full_event()
    );
    let page = parse_page(body.as_bytes()).expect("a page");
    assert_eq!(page.malformed, 2);
    let parsed: Vec<_> = page.conversations.iter().map(crate::fini::RawConversation::parse).collect();
    assert!(parsed[0].is_ok());
    assert_eq!(parsed[1].as_ref().expect("the event beside the deep one").events.len(), 1);
    assert!(parsed[2].is_err(), "events of an unknown form are not the same as no events");
}

#[test]
fn the_digest_changes_with_the_conversation_and_only_with_it() {
    let page = |rating: i64| {
        let mut event = full_event();
        event["csatRating"] = json!(rating);
        let body = json!({"interactions": [conversation_with(&json!([event]))]}).to_string();
        parse_page(body.as_bytes()).expect("a page").conversations.remove(0)
    };
    assert_eq!(page(1).digest, page(1).digest);
    assert_ne!(page(1).digest, page(2).digest);
    // `printf '{"id":"c"}' | sha256sum`, the first 16 digits: replicas of any version agree.
    let known = parse_page(br#"[{"id":"c"}]"#).expect("a page").conversations.remove(0);
    assert_eq!(known.digest, 0xcf9b_3160_c4a5_a9fa);
}

#[test]
fn get_gives_the_conversation_that_was_asked_for_or_nothing() {
    let asked = InteractionId::trusted("CONV-1");
    let body = conversation_with(&json!([full_event()]));
    let read = |body: &Value| parse_single(body.to_string().as_bytes(), &asked);
    assert_eq!(read(&body).expect("it").events.len(), 1);
    assert_eq!(read(&body).expect("it").id, asked);
    assert_eq!(read(&json!({"data": body})).expect("wrapped").events.len(), 1);
    assert_eq!(read(&json!({"events": [full_event()]})).expect("without id").id, asked);
    assert!(read(&json!({"id": "conv-2", "events": []})).is_err());
    assert!(read(&json!({"data": {"id": "conv-2", "events": []}})).is_err());
    assert!(read(&json!({"message": "ok"})).is_err());
    assert!(read(&json!({"id": "conv-1", "events": "none"})).is_err());
    assert!(parse_single(b"", &asked).is_err());
}

#[test]
fn reads_agents() {
    let body = br#"[{"id":"b1","name":"Fini","createdAt":"2025-06-11T11:22:33.007Z"},{"id":"b2"},{"name":"?"},null]"#;
    let agents = parse_agents(body).expect("agents");
    assert_eq!(agents.len(), 2);
    assert_eq!(agents[0].created_at, Some(Timestamp::from_millis(1_749_640_953_007)));
    assert_eq!((agents[1].id.as_str(), agents[1].name.as_str()), ("b2", ""));
    assert!(parse_agents(b"{}").is_err());
}

#[test]
fn reads_both_shapes_of_the_history() {
    let grouped = json!({"hasMore": true, "conversations": [{
        "id": "h1", "source": "widget", "escalation": false, "categories": ["billing"], "createdAt": 5,
        "updatedAt": 9, "botRequests": [{"question": "Hello", "answer": "Hi", "createdAt": 6, "basedOn": [{}]}]
    }]});
    let page = parse_history(grouped.to_string().as_bytes()).expect("a page");
    assert_eq!(page.following(), Some("h1"));
    assert_eq!(page.conversations[0].categories, ["billing"]);
    assert_eq!(page.conversations[0].requests[0].answer.as_deref(), Some("Hi"));
    assert_eq!(page.conversations[0].requests[0].based_on.len(), 1);

    let flat = json!([{
        "botName": "Fini", "createdAt": 1_704_000_000_000_i64, "source": "api", "question": "Q",
        "answer": "A", "categories": "general", "basedOn": [], "messageHistory": [{"role": "system"}]
    }]);
    let page = parse_history(flat.to_string().as_bytes()).expect("a page");
    assert_eq!((page.has_more, page.following()), (false, None));
    let conversation = &page.conversations[0];
    assert_eq!((conversation.id.as_deref(), conversation.source.as_deref()), (None, Some("api")));
    assert_eq!(conversation.requests[0].bot_name.as_deref(), Some("Fini"));
    assert_eq!(conversation.requests[0].categories, ["general"]);
    assert_eq!(conversation.raw["messageHistory"][0]["role"], "system");
    assert!(parse_history(br#"{"message":"ok"}"#).is_err());
}
