//! Chat history in both shapes.

use super::*;

const PATH: &str = "/v2/bots/requests/public";

async fn conversations(bench: &Bench, query: &str) -> Vec<Value> {
    let reply = bench.get(&format!("{PATH}?{query}")).await;
    assert_eq!(reply.status, 200, "{query}");
    reply.json()["conversations"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_paged_shape_has_every_documented_field() {
    let bench = Bench::new();
    let (id, events) = bench.start("Where is my order?").await;
    let rating =
        Feedback { event_id: events[1]["id"].as_str().unwrap().into(), approved: Some(false), ..Feedback::default() };
    bench.sandbox.feedback(&id, &rating).unwrap();
    let entry = conversations(&bench, "").await.remove(0);
    let request = &entry["botRequests"][0];
    for field in [
        "answer",
        "basedOn",
        "categories",
        "createdAt",
        "escalation",
        "expectingUserFollowup",
        "feedbackType",
        "question",
        "reasoning",
    ] {
        assert!(request.get(field).is_some(), "{field}");
    }
    for field in [
        "botRequests",
        "categories",
        "channel",
        "createdAt",
        "escalation",
        "expectingUserFollowup",
        "externalId",
        "feedbackType",
        "hasLinks",
        "id",
        "source",
        "updatedAt",
        "url",
    ] {
        assert!(entry.get(field).is_some(), "{field}");
    }
    assert_eq!(request["question"], "Where is my order?");
    assert_eq!(request["answer"], events[1]["message"]);
    assert_eq!(
        (&entry["feedbackType"], &entry["hasLinks"], &entry["categories"]),
        (&json!("thumbs_down"), &json!(true), &json!(["orders"]))
    );
}

#[tokio::test]
async fn the_bare_shape_lists_questions_with_what_was_said_before() {
    let bench = Bench::with(|config| config.settings.history_shape = HistoryShape::Array);
    let (id, _) = bench.start("Hello").await;
    bench.go_on(&id, "How do refunds work?").await;
    let entries = bench.get(&format!("{PATH}?source=api")).await.json();
    assert_eq!(entries.as_array().unwrap().len(), 2);
    assert_eq!(entries[1]["question"], "How do refunds work?");
    assert_eq!(entries[1]["botName"], "Sandbox support agent");
    assert_eq!(entries[1]["createdAt"], START);
    assert_eq!(entries[1]["messageHistory"].as_array().unwrap().len(), 4);
    assert_eq!(entries[1]["basedOn"][0]["title"], "Refunds and returns");
}

#[tokio::test]
async fn filters_narrow_the_history() {
    let bench = Bench::new();
    let attributes = json!({"userId": "u-9"}).as_object().cloned().unwrap_or_default();
    for (text, attributes) in [("Where is my order?", Some(attributes)), ("a human please", None)] {
        let body = json!({"botId": DEFAULT_BOT_ID, "content": text, "metadata": {"user_attributes": attributes.unwrap_or_default()}});
        bench.generate(&body).await;
        bench.pass(1_000);
    }
    bench
        .sandbox
        .seed(&Seed { conversations: 1, source: "zendesk".into(), to_ms: Some(START - 1), ..Seed::default() })
        .unwrap();
    for (query, count) in [
        ("", 3),
        ("source=all", 3),
        ("source=api", 2),
        ("source=api&source=zendesk", 3),
        ("source=slack", 0),
        ("category=orders", 2),
        ("feedbackType=no_feedback", 3),
        ("feedbackType=thumbs_up", 0),
        ("escalation=true", 1),
        ("escalation=false", 2),
        ("hasLinks=true", 2),
        ("userId=u-9", 1),
        ("ticketId=t-1", 0),
        ("question=HUMAN", 1),
        (&format!("startEpoch={START}"), 2),
        (&format!("startEpoch={START}&endEpoch={START}"), 1),
    ] {
        assert_eq!(conversations(&bench, query).await.len(), count, "{query}");
    }
    for wrong in ["feedbackType=meh", "escalation=perhaps", "startEpoch=today", "limit=0", "direction=up", "cursor=abc"]
    {
        assert_eq!(bench.get(&format!("{PATH}?{wrong}")).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn pages_add_up() {
    let bench = Bench::new();
    bench.sandbox.seed(&Seed { conversations: 25, ..Seed::default() }).unwrap();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = bench.get(&format!("{PATH}?limit=10{cursor}")).await.json();
        seen.extend(ids(&page["conversations"]));
        if page["hasMore"] == false {
            break;
        }
        cursor = format!("&direction=next&cursor={}", seen.last().unwrap());
    }
    assert_eq!(seen.len(), 25);
    let back = bench.get(&format!("{PATH}?limit=5&direction=previous&cursor={}", seen[7])).await.json();
    assert_eq!(ids(&back["conversations"]), seen[2..7]);
}

#[tokio::test]
async fn seeded_texts_come_through_unchanged() {
    let bench = Bench::new();
    let text = "=1+1,\"quoted\"\r\nשלום 📦";
    bench.sandbox.seed(&Seed { conversations: 2, text: Some(text.into()), ..Seed::default() }).unwrap();
    let questions: Vec<Value> =
        conversations(&bench, "").await.iter().map(|entry| entry["botRequests"][0]["question"].clone()).collect();
    assert_eq!(questions, [text, text]);
}
