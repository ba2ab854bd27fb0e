//! Get, List's rules, List agents and the deletes.

use super::*;

const DAY: i64 = 86_400_000;

#[tokio::test]
async fn a_wrapper_has_every_documented_field() {
    let bench = Bench::new();
    let (id, events) = bench.start("Where is my order?").await;
    let wrapper = bench.read(&id).await.json();
    let mut fields: Vec<&str> = wrapper.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let documented = [
        "channel",
        "createdAt",
        "events",
        "externalId",
        "hasFeedback",
        "id",
        "resolved",
        "source",
        "status",
        "subjectPreview",
        "url",
        "usedArticles",
        "usedSubfolders",
        "userAttributes",
    ];
    assert_eq!(fields, documented);
    assert_eq!(wrapper["events"], events);
    assert_eq!(wrapper["source"], "api");
    assert_eq!(wrapper["subjectPreview"], "Where is my order?");
    assert_eq!(wrapper["usedArticles"], events[1]["usedArticles"]);
    assert_eq!(bench.list("").await["interactions"][0], wrapper);
}

#[tokio::test]
async fn unknown_conversations_are_internal_errors_or_what_was_chosen() {
    let bench = Bench::new();
    for id in ["0b8626b0-4cc8-4a3d-8fc2-f18ad1a4a1a8", "nonsense"] {
        assert_eq!(bench.read(id).await.status, 500);
    }
    bench.sandbox.set(|settings| settings.unknown_id_status = 404);
    assert_eq!(bench.read("nonsense").await.status, 404);
}

#[tokio::test]
async fn the_newest_message_comes_first_and_a_status_moves_nothing() {
    let bench = Bench::new();
    let (first, _) = bench.start("Hello").await;
    bench.pass(1_000);
    let (second, _) = bench.start("Hello").await;
    assert_eq!(bench.listed("").await, [second.clone(), first.clone()]);
    bench.pass(1_000);
    bench.sandbox.set_status(&first, Some("Escalated to Human Agent")).unwrap();
    bench.sandbox.note(&first, "between us").unwrap();
    assert_eq!(bench.listed("").await, [second.clone(), first.clone()]);
    bench.sandbox.agent_message(&first, "Hello, I am Ada.").unwrap();
    assert_eq!(bench.listed("").await, [first, second]);
}

#[tokio::test]
async fn notes_move_a_conversation_when_any_event_does() {
    let bench = Bench::with(|config| config.settings.list_order = ListOrder::AnyEvent);
    let (first, _) = bench.start("Hello").await;
    bench.pass(1_000);
    let (second, _) = bench.start("Hello").await;
    bench.pass(1_000);
    bench.sandbox.note(&first, "between us").unwrap();
    assert_eq!(bench.listed("").await, [first, second]);
}

#[tokio::test]
async fn only_conversations_the_bot_touched_are_listed() {
    let bench = Bench::new();
    bench.generate(&json!({"botId": DEFAULT_BOT_ID, "content": "From our desk", "role": "agent"})).await;
    assert!(bench.listed("").await.is_empty());
    bench.sandbox.set(|settings| settings.list_untouched = true);
    assert_eq!(bench.listed("").await.len(), 1);
    bench.sandbox.set(|settings| settings.list_untouched = false);
    bench.sandbox.bot_message("latest", "Can I help?").unwrap();
    assert_eq!(bench.listed("").await.len(), 1);
}

#[tokio::test]
async fn windows_have_rules() {
    let bench = Bench::new();
    let now = START;
    for (query, why) in [
        (format!("since={now}&until={now}"), "equal"),
        (format!("since={}&until={now}", now + 1), "later"),
        (format!("since={}", now + 1), "until is now"),
        (format!("until={}", now - 8 * DAY), "since is seven days ago"),
        (format!("since={}&until={now}", now - 90 * DAY - 1), "over 90 days"),
        ("since=yesterday".into(), "not a number"),
        ("since=-5".into(), "negative"),
        ("limit=0".into(), "below"),
        ("limit=101".into(), "above"),
        ("cursor=abc".into(), "no UUID"),
        ("botId=abc".into(), "no UUID"),
        ("direction=sideways".into(), "no direction"),
    ] {
        let reply = bench.get(&format!("/v2/hc-interactions/public?{query}")).await;
        assert_eq!(reply.status, 400, "{why}");
        assert!(reply.json()["message"].is_string(), "{why}");
    }
    bench.list(&format!("since={}&until={now}", now - 90 * DAY)).await;
    let unknown = bench.get("/v2/hc-interactions/public?cursor=0b8626b0-4cc8-4a3d-8fc2-f18ad1a4a1a8").await;
    assert_eq!(unknown.status, 500);
}

#[tokio::test]
async fn the_window_is_read_in_two_ways_and_defaults_to_seven_days() {
    let bench = Bench::new();
    let (old, _) = bench.start("Hello").await;
    bench.pass(8 * DAY);
    let (new, _) = bench.start("Hello").await;
    assert_eq!(bench.listed("").await, std::slice::from_ref(&new));
    bench.sandbox.agent_message(&old, "Still there?").unwrap();
    bench.pass(1);
    assert_eq!(bench.listed("").await.len(), 2);
    bench.sandbox.set(|settings| settings.since_reading = SinceReading::Created);
    assert_eq!(bench.listed("").await, std::slice::from_ref(&new));
    let window = format!("since={START}&until={}", START + 1);
    assert_eq!(bench.listed(&window).await, [old]);
    bench.sandbox.set(|settings| settings.since_reading = SinceReading::Updated);
    assert!(bench.listed(&window).await.is_empty());
}

#[tokio::test]
async fn filters_take_lists() {
    let bench = Bench::with(|config| {
        config.bots.push(Bot { id: "11111111-2222-4333-8444-555555555555".into(), name: "Second".into() });
    });
    for (source, channel, bot_id) in [
        ("widget", "chat", None),
        ("ui", "chat", None),
        ("zendesk", "email", Some("11111111-2222-4333-8444-555555555555".to_owned())),
    ] {
        let seed =
            Seed { conversations: 1, source: source.into(), channel: Some(channel.into()), bot_id, ..Seed::default() };
        bench.sandbox.seed(&seed).unwrap();
    }
    bench.pass(10_000);
    for (query, count) in [
        ("source=widget", 1),
        ("source=widget,ui", 2),
        ("source=widget&source=zendesk", 2),
        ("channel=chat", 2),
        ("channel=chat,email", 3),
        ("channel=sms", 0),
        ("botId=11111111-2222-4333-8444-555555555555", 1),
        ("botId=11111111-2222-4333-8444-555555555555&channel=chat", 0),
        ("botId=0b8626b0-4cc8-4a3d-8fc2-f18ad1a4a1a8", 0),
    ] {
        assert_eq!(bench.listed(query).await.len(), count, "{query}");
    }
}

#[tokio::test]
async fn the_key_of_the_array_can_be_the_newer_one() {
    let bench = Bench::with(|config| config.settings.list_key = ListKey::Conversations);
    bench.start("Hello").await;
    let page = bench.list("").await;
    assert_eq!(page["conversations"].as_array().unwrap().len(), 1);
    assert!(page.get("interactions").is_none());
}

#[tokio::test]
async fn list_may_lag_behind_get() {
    let bench = Bench::with(|config| config.settings.list_lag_ms = 500);
    let (id, _) = bench.start("Hello").await;
    assert!(bench.listed("").await.is_empty());
    assert_eq!(bench.read(&id).await.status, 200);
    bench.pass(500);
    assert_eq!(bench.listed("").await, std::slice::from_ref(&id));
    bench.sandbox.agent_message(&id, "Hi").unwrap();
    assert_eq!(bench.list("").await["interactions"][0]["events"].as_array().unwrap().len(), 2);
    bench.sandbox.vanish(&id).unwrap();
    assert_eq!(bench.read(&id).await.status, 500);
    assert_eq!(bench.listed("").await.len(), 1);
    bench.sandbox.set(|settings| settings.list_lag_ms = 0);
    assert!(bench.listed("").await.is_empty());
}

#[tokio::test]
async fn agents_are_a_bare_array_with_times_as_text() {
    let reply = Bench::new().get("/v2/bots/public").await.json();
    assert_eq!(
        reply,
        json!([{"id": DEFAULT_BOT_ID, "name": "Sandbox support agent", "createdAt": "2026-01-01T00:00:00.000Z"}])
    );
}

#[tokio::test]
async fn deleting_always_answers_success_and_only_reading_proves_it() {
    let bench = Bench::new();
    let (id, _) = bench.start("Hello").await;
    let path = format!("/v2/hc-interactions/{id}/public");
    let delete = || bench.send("DELETE", &path, "Bearer fini_sandbox", Vec::new());
    bench.sandbox.set(|settings| settings.delete_works = false);
    assert_eq!(delete().await.status, 200);
    assert_eq!(bench.read(&id).await.status, 200);
    bench.sandbox.set(|settings| settings.delete_works = true);
    assert_eq!(delete().await.status, 200);
    assert_eq!(bench.read(&id).await.status, 500);
    assert_eq!(delete().await.status, 200);
    assert_eq!(bench.generate(&json!({"interactionId": id, "content": "Hi"})).await.status, 500);
}

#[tokio::test]
async fn bulk_delete_has_rules_and_deletes_what_it_can() {
    let bench = Bench::new();
    let delete = async |ids: Value| {
        bench
            .send(
                "DELETE",
                "/v2/hc-interactions/public",
                "Bearer fini_sandbox",
                json!({"ids": ids}).to_string().into_bytes(),
            )
            .await
            .status
    };
    let (first, _) = bench.start("Hello").await;
    let (second, _) = bench.start("Hello").await;
    let many: Vec<String> = (0..51_u128).map(|n| uuid::Uuid::from_u128(n).to_string()).collect();
    for wrong in [json!([]), json!(many), json!(["abc"]), json!([first, first]), json!(3), Value::Null, json!([1])] {
        assert_eq!(delete(wrong.clone()).await, 400, "{wrong}");
    }
    assert_eq!(bench.sandbox.conversation_count(), 2);
    assert_eq!(delete(json!([first, many[0]])).await, 406);
    assert_eq!(bench.read(&first).await.status, 500);
    assert_eq!(delete(json!([second])).await, 200);
    assert_eq!(bench.sandbox.conversation_count(), 0);
    bench.sandbox.set(|settings| settings.bulk_delete_406 = false);
    assert_eq!(delete(json!([second])).await, 200);
}
