//! Generate Answer and what the bot makes of trigger words.

use super::*;

const EVENT_FIELDS: [&str; 14] = [
    "approved",
    "attachments",
    "createdAt",
    "csatRating",
    "externalCreatedAt",
    "externalId",
    "feedback",
    "id",
    "message",
    "resolved",
    "role",
    "tags",
    "type",
    "usedArticles",
];

fn fields(value: &Value) -> Vec<&str> {
    let mut fields: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    fields
}

#[tokio::test]
async fn a_question_is_answered_with_both_events_and_never_the_conversation_id() {
    let bench = Bench::new();
    let (id, events) = bench.start("Where is my order?").await;
    assert_eq!(kinds(&events), ["user/message", "finibot/message"]);
    for event in events.as_array().unwrap() {
        assert_eq!(fields(event), EVENT_FIELDS);
        assert_eq!(event["createdAt"], START);
    }
    assert_eq!(events[0]["message"], "Where is my order?");
    assert_eq!(fields(&events[1]["usedArticles"][0]), ["documentUrl", "id", "title"]);
    assert!(!events.to_string().contains(&id));
}

#[tokio::test]
async fn a_conversation_can_be_continued_by_its_id() {
    let bench = Bench::new();
    let (id, _) = bench.start("Hello").await;
    bench.go_on(&id, "Where is my order?").await;
    assert_eq!(bench.read(&id).await.json()["events"].as_array().unwrap().len(), 4);
    assert_eq!(bench.sandbox.conversation_count(), 1);
}

#[tokio::test]
async fn other_roles_are_stored_without_a_reply() {
    let bench = Bench::new();
    let (id, _) = bench.start("Hello").await;
    for role in ["agent", "otherbot", "finibot"] {
        let reply = bench.generate(&json!({"interactionId": id, "content": "From elsewhere", "role": role})).await;
        assert_eq!(kinds(&reply.json()), [format!("{role}/message")]);
    }
}

#[tokio::test]
async fn metadata_sets_the_channel_and_is_merged_into_the_attributes() {
    let bench = Bench::new();
    let say = |content: &'static str, attributes: Value| json!({"botId": DEFAULT_BOT_ID, "content": content, "metadata": {"user_attributes": attributes, "channel": "chat"}});
    bench.generate(&say("Hello", json!({"email": "c@example.com", "plan": "Pro"}))).await;
    let id = bench.sandbox.conversation("email:c@example.com").unwrap().id.to_string();
    let more = json!({"interactionId": id, "content": "Hi", "metadata": {"user_attributes": {"plan": "Free", "n": 1}}});
    bench.generate(&more).await;
    let wrapper = bench.read(&id).await.json();
    assert_eq!(wrapper["userAttributes"], json!({"email": "c@example.com", "plan": "Free", "n": 1}));
    assert_eq!(wrapper["channel"], "chat");
}

#[tokio::test]
async fn what_happens_to_later_attributes_can_be_chosen() {
    for (mode, wanted) in [
        (AttributeMode::Merge, json!({"a": 1, "b": 2})),
        (AttributeMode::FirstOnly, json!({"a": 1})),
        (AttributeMode::Replace, json!({"b": 2})),
        (AttributeMode::Ignore, json!({})),
    ] {
        let bench = Bench::with(|config| config.settings.user_attributes = mode);
        let first = json!({"botId": DEFAULT_BOT_ID, "content": "Hi", "metadata": {"user_attributes": {"a": 1}}});
        bench.generate(&first).await;
        let second = json!({"interactionId": bench.sandbox.conversation("latest").unwrap().id.to_string(), "content": "Hi", "metadata": {"user_attributes": {"b": 2}}});
        bench.generate(&second).await;
        assert_eq!(
            Value::Object(bench.sandbox.conversation("latest").unwrap().user_attributes.clone()),
            wanted,
            "{mode:?}"
        );
    }
}

#[tokio::test]
async fn malformed_bodies_are_refused_with_every_reason() {
    let bench = Bench::new();
    let reply = bench.generate(&json!({"role": "customer", "metadata": 3})).await;
    assert_eq!(reply.status, 400);
    let error = reply.json();
    assert_eq!((&error["statusCode"], &error["error"]), (&json!(400), &json!("Bad Request")));
    // content, role, both ids missing, metadata.
    assert_eq!(error["message"].as_array().unwrap().len(), 4);
    for body in [
        json!({"botId": DEFAULT_BOT_ID}),
        json!({"botId": DEFAULT_BOT_ID, "content": " "}),
        json!({"content": "Hi"}),
        json!([]),
    ] {
        assert_eq!(bench.generate(&body).await.status, 400, "{body}");
    }
    let broken = bench.send("POST", "/v2/hc-interactions/events/public", "Bearer fini_sandbox", b"{".to_vec()).await;
    assert_eq!(broken.status, 400);
    assert_eq!(bench.sandbox.conversation_count(), 0);
}

#[tokio::test]
async fn unknown_ids_are_internal_errors() {
    let bench = Bench::new();
    for target in [
        json!({"interactionId": "0b8626b0-4cc8-4a3d-8fc2-f18ad1a4a1a8"}),
        json!({"interactionId": "nonsense"}),
        json!({"botId": "0b8626b0-4cc8-4a3d-8fc2-f18ad1a4a1a8"}),
    ] {
        let mut body = target;
        body["content"] = "Hi".into();
        assert_eq!(bench.generate(&body).await.status, 500);
    }
    assert_eq!(bench.sandbox.audit(0, true).inbound.len(), 0);
}

#[tokio::test]
async fn create_or_resolve_has_three_readings() {
    let say = |email: &str| json!({"botId": DEFAULT_BOT_ID, "content": "Hi", "metadata": {"user_attributes": {"email": email}}});
    for (mode, wanted) in [(ResolveMode::AlwaysNew, 3), (ResolveMode::NewestOfBot, 1), (ResolveMode::SameAttribute, 2)]
    {
        let bench = Bench::with(|config| config.settings.resolve_mode = mode);
        for email in ["a@example.com", "b@example.com", "a@example.com"] {
            bench.generate(&say(email)).await;
        }
        assert_eq!(bench.sandbox.conversation_count(), wanted, "{mode:?}");
    }
}

#[tokio::test]
async fn trigger_words_choose_the_outcome() {
    let bench = Bench::new();
    for (text, wanted) in [
        ("no reply", vec!["user/message", "finibot/no_reply"]),
        ("silently", vec!["user/message", "finibot/silent_escalation"]),
        ("form", vec!["user/message", "finibot/widget_form"]),
        ("note", vec!["user/message", "finibot/message", "finibot/internalnote"]),
        ("debounce", vec!["user/message", "finibot/debounce", "finibot/message"]),
        ("odd", vec!["user/message", "finibot/message", "workflow/message", "finibot/card_carousel"]),
        ("later", vec!["user/message"]),
    ] {
        let (_, events) = bench.start(text).await;
        assert_eq!(kinds(&events), wanted, "{text}");
    }
}

#[tokio::test]
async fn odd_events_carry_fields_nobody_knows() {
    let bench = Bench::new();
    let (_, events) = bench.start("odd").await;
    assert_eq!(events[2]["workflow"]["step"], 3);
    assert!(events[2]["id"].is_string() && events[2]["createdAt"].is_i64());
}

#[tokio::test]
async fn an_escalation_shows_in_the_status_and_silences_the_bot_until_it_is_over() {
    let bench = Bench::new();
    let (id, events) = bench.start("I want a human").await;
    assert_eq!(kinds(&events), ["user/message", "finibot/message"]);
    assert_eq!(bench.read(&id).await.json()["status"], "Escalated to Human Agent");
    assert_eq!(kinds(&bench.go_on(&id, "Are you there?").await), ["user/message"]);
    bench.sandbox.set_status(&id, Some("Open")).unwrap();
    assert_eq!(kinds(&bench.go_on(&id, "Hello bot").await).len(), 2);
}

#[tokio::test]
async fn a_silent_escalation_shows_only_as_an_event() {
    let bench = Bench::new();
    let (id, _) = bench.start("silently").await;
    assert_eq!(bench.read(&id).await.json()["status"], "Open");
    assert_eq!(kinds(&bench.go_on(&id, "Are you there?").await), ["user/message"]);
}

#[tokio::test]
async fn resolving_ends_the_human_care_and_writing_again_reopens() {
    let bench = Bench::new();
    let (id, _) = bench.start("human").await;
    bench.sandbox.set_resolved(&id, Some(true)).unwrap();
    let resolved = bench.read(&id).await.json();
    assert_eq!((&resolved["resolved"], &resolved["status"]), (&json!(true), &json!("Escalated to Human Agent")));
    assert_eq!(bench.go_on(&id, "Hello").await.as_array().unwrap().len(), 2);
    let reopened = bench.read(&id).await.json();
    assert_eq!((&reopened["resolved"], &reopened["status"]), (&Value::Null, &json!("Open")));
}

#[tokio::test]
async fn a_late_reply_turns_up_when_its_time_has_come() {
    let bench = Bench::new();
    let (id, _) = bench.start("later 30").await;
    bench.pass(29_999);
    assert_eq!(bench.read(&id).await.json()["events"].as_array().unwrap().len(), 1);
    bench.pass(1);
    let events = bench.read(&id).await.json()["events"].clone();
    assert_eq!(kinds(&events), ["user/message", "finibot/message"]);
    assert_eq!(events[1]["createdAt"], START + 30_000);
}

#[tokio::test]
async fn a_failed_reply_leaves_the_message_stored() {
    let bench = Bench::new();
    let reply = bench.generate(&json!({"botId": DEFAULT_BOT_ID, "content": "please fail"})).await;
    assert_eq!(reply.status, 500);
    assert_eq!(bench.sandbox.audit(0, true).times_stored("please fail"), 1);
    assert_eq!(bench.sandbox.conversation("latest").unwrap().events.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reply_takes_its_time_and_comes_even_when_nobody_waits() {
    let bench = Bench::with(|config| config.settings.reply_latency_ms = 2_000);
    let begun = tokio::time::Instant::now();
    bench.start("Hello").await;
    assert_eq!(begun.elapsed().as_millis(), 2_000);

    bench.pass(1);
    let body = json!({"botId": DEFAULT_BOT_ID, "content": "Hello again"});
    let gone = tokio::time::timeout(std::time::Duration::from_millis(500), bench.generate(&body)).await;
    assert!(gone.is_err());
    assert_eq!(bench.sandbox.conversation("latest").unwrap().events.len(), 1);
    bench.pass(2_000);
    assert_eq!(bench.sandbox.conversation("latest").unwrap().events.len(), 2);
}
