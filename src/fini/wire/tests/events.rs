//! Events, alone and as the answer of Generate Answer.

use super::*;

#[test]
fn reads_every_documented_field_of_an_event() {
    let event = one(&full_event());
    assert_eq!(event.id.as_str(), "ev-1");
    assert_eq!(event.created_at, Timestamp::from_millis(1_763_700_000_123));
    assert_eq!((event.role, event.kind), (FiniRole::Bot, FiniKind::Message));
    assert_eq!(event.text.as_deref(), Some("It is on its way."));
    assert_eq!(event.rating.csat_rating, Some(4.into()));
    assert_eq!(event.rating.feedback.as_deref(), Some("quick"));
    assert_eq!(event.rating.approved, Some(true));
    assert_eq!(event.articles.len(), 1);
    assert_eq!(event.articles[0].url.as_deref(), Some("https://help.example/t"));
    assert_eq!(event.attachments[0]["sizeBytes"], 12);
    assert_eq!(event.tags[0]["name"], "shipping");
    assert_eq!(event.raw, full_event());
}

#[test]
fn a_rating_of_zero_is_a_rating_and_null_is_none() {
    let rated = |rating: Value| one(&json!({"id": "e", "csatRating": rating})).rating.csat_rating;
    assert_eq!(rated(json!(0)), Some(0.into()));
    assert_eq!(rated(json!(4.5)).map(|number| number.to_string()).as_deref(), Some("4.5"));
    assert_eq!(rated(json!("3")), Some(3.into()));
    assert_eq!(rated(json!(null)), None);
    assert_eq!(rated(json!("good")), None);
}

#[test]
fn unknown_words_are_values() {
    let event = one(&json!({"id": "e", "role": "supervisor", "type": "video_call", "new": {"deep": 1}}));
    assert_eq!(event.role, FiniRole::Unknown("supervisor".into()));
    assert_eq!(event.kind, FiniKind::Unknown("video_call".into()));
    assert_eq!(event.raw["new"]["deep"], 1);
    let bare = one(&json!({"id": "e"}));
    assert_eq!(bare.kind, FiniKind::Unknown(String::new()));
}

#[test]
fn an_internal_note_stays_internal_however_it_is_spelled() {
    for spelling in ["internalnote", "internalNote", "internal_note", "INTERNAL-NOTE"] {
        assert_eq!(one(&json!({"id": "e", "type": spelling})).kind, FiniKind::InternalNote, "{spelling}");
    }
}

#[test]
fn wrong_types_count_as_missing() {
    let event = one(&json!({
        "id": 17, "createdAt": [], "role": 5, "type": {}, "message": {"text": "x"}, "csatRating": [],
        "feedback": 1, "approved": "yes", "attachments": {}, "tags": "t", "usedArticles": [null, 3, {}, {"id": "a"}]
    }));
    assert_eq!(event.id.as_str(), "17");
    assert_eq!(event.created_at, Timestamp::ZERO);
    assert_eq!(event.text, None);
    assert!(event.rating.is_empty());
    assert!(event.attachments.is_empty() && event.tags.is_empty());
    assert_eq!(event.articles.len(), 1);
}

#[test]
fn times_are_read_in_every_form_that_was_seen() {
    let at = |value: Value| timestamp(Some(&value)).map(Timestamp::as_millis);
    let expected = Some(1_749_640_953_007);
    assert_eq!(at(json!(1_749_640_953_007_i64)), expected);
    assert_eq!(at(json!(1_749_640_953_007.0)), expected);
    assert_eq!(at(json!("1749640953007")), expected);
    assert_eq!(at(json!("2025-06-11T11:22:33.007Z")), expected);
    assert_eq!(at(json!("2025-06-11T13:22:33.007+02:00")), expected);
    assert_eq!(at(json!("2025-06-11 11:22:33.007")), expected);
    for nothing in [json!(null), json!(""), json!("soon"), json!(1e300), json!("1e300"), json!("NaN"), json!({})] {
        assert_eq!(at(nothing.clone()), None, "{nothing}");
    }
}

#[test]
fn an_event_without_id_has_the_same_one_at_every_reading() {
    let mut event = full_event();
    event["id"] = Value::Null;
    let first = one(&event);
    assert!(first.id.as_str().starts_with("sha256:"));

    event["csatRating"] = json!(1);
    event["attachments"] = json!([{"originalUrl": "https://files.example/a.png?signature=2"}]);
    assert_eq!(one(&event).id, first.id);

    event["message"] = json!("something else");
    assert_ne!(one(&event).id, first.id);
}

#[test]
fn events_come_oldest_first() {
    let at = |id: &str, at: i64| json!({"id": id, "createdAt": 1_763_700_000_000_i64 + at});
    let newest_first = json!([at("d", 3), at("c", 2), at("b", 2), at("a", 1)]).to_string();
    assert_eq!(ids(&events(newest_first)), ["a", "b", "c", "d"]);
    let oldest_first = json!([at("a", 1), at("b", 2), at("c", 2), at("d", 3)]).to_string();
    assert_eq!(ids(&events(oldest_first)), ["a", "b", "c", "d"]);
    let without_time = json!([at("a", 1), {"id": "b"}, at("c", 2)]).to_string();
    assert_eq!(ids(&events(without_time)), ["a", "b", "c"]);
}

#[test]
fn nothing_is_taken_that_a_database_cannot_hold() {
    let body = r#"[{"id":"e\u0000","role":"ro\u0000le","type":"ty\u0000pe","message":"a\u0000b \\u0000","tags":["t\u0000"],
        "usedArticles":[{"id":"a\u0000","title":"t\u0000"}],"new":{"k\u0000":"v\u0000"}}]"#;
    let event = events(body).remove(0);
    assert_eq!(event.id.as_str(), "e\u{fffd}");
    assert_eq!(event.text.as_deref(), Some("a\u{fffd}b \\u0000"));
    assert_eq!(event.role, FiniRole::Unknown("ro\u{fffd}le".into()));
    assert_eq!((&event.raw["new"]["k\u{fffd}"], &event.tags[0]), (&json!("v\u{fffd}"), &json!("t\u{fffd}")));
    assert_eq!((event.articles[0].id.as_str(), event.articles[0].title.as_str()), ("a\u{fffd}", "t\u{fffd}"));
}

#[test]
fn an_event_that_is_there_twice_is_one_and_tells_what_either_says() {
    let list =
        json!([{"id": "e", "message": null}, {"id": "f"}, {"id": "e", "message": "late"}, {"id": "e", "message": "x"}]);
    let events = events(list.to_string());
    assert_eq!(ids(&events), ["e", "f"]);
    assert_eq!(events[0].text.as_deref(), Some("late"));
}

#[test]
fn a_flood_is_cut_to_what_is_newest() {
    let at = |n: i64| json!({"id": n.to_string(), "createdAt": 1_763_700_000_000_i64 + n});
    let events = events(Value::from((0..150_000).map(at).collect::<Vec<_>>()).to_string());
    assert_eq!((events.len(), events[0].id.as_str()), (bounds::EVENTS, "50000"));
    let long = one(&json!({"id": "i".repeat(3_000), "message": "x".repeat(1_000_000)}));
    assert!(long.id.as_str().starts_with("sha256:"), "no index takes it");
    assert_eq!(long.text.map(|text| text.len()), Some(bounds::TEXT));
}

#[test]
fn only_links_that_lead_somewhere_are_handed_out() {
    let event = one(&json!({
        "id": "e", "usedArticles": [{"id": "a", "title": "t", "documentUrl": "javascript:alert(1)"}, {"documentUrl": "/x"}],
        "attachments": [{"originalUrl": "javascript:alert(1)", "name": "n"}]
    }));
    assert_eq!((event.articles[0].title.as_str(), event.articles[0].url.as_deref()), ("t", None));
    assert_eq!(event.articles.len(), 2);
    assert_eq!(event.attachments[0], json!({"originalUrl": null, "name": "n"}));
}

#[test]
fn generate_answer_is_taken_in_unambiguous_shapes_only() {
    let event = full_event();
    assert_eq!(events("[]"), []);
    assert_eq!(events(json!([event]).to_string()).len(), 1);
    assert_eq!(events(json!({"events": [event]}).to_string()).len(), 1);
    assert_eq!(events(event.to_string()).len(), 1);
    assert_eq!(events(format!("\u{feff} {}\n", json!([event]))).len(), 1);
    assert_eq!(events(json!([null, event, 3]).to_string()).len(), 1);
    for garbled in ["", " ", "{}", "null", "[1]", "[{}]", "\"ok\"", "<html>", "[{\"id\":\"e\"}", r#"{"ok":true}"#] {
        assert!(parse_events(garbled.as_bytes()).is_err(), "{garbled}");
    }
    assert!(parse_events(br#"{"events": {"id": 1}}"#).is_err());
}

#[test]
fn text_cut_inside_an_emoji_is_readable() {
    let body = r#"[{"id":"e","message":"cut \ud83d","feedback":"\ude00 \ud83d\ude00 \\ud83d"}]"#;
    let event = events(body).remove(0);
    assert_eq!(event.text.as_deref(), Some("cut \u{fffd}"));
    assert_eq!(event.rating.feedback.as_deref(), Some("\u{fffd} \u{1f600} \\ud83d"));
    let invalid = [br#"[{"id":"e","message":"a"#.as_slice(), b"\xff", br#"b"}]"#].concat();
    assert_eq!(events(invalid)[0].text.as_deref(), Some("a\u{fffd}b"));
}
