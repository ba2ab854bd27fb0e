//! The control routes.

use super::*;

async fn send(bench: &Bench, method: &str, path: &str, body: Value) -> Reply {
    bench.send(method, &format!("/_sandbox/{path}"), "", body.to_string().into_bytes()).await
}

#[tokio::test]
async fn an_agent_can_do_everything_an_inbox_can() {
    let bench = Bench::new();
    bench.generate(&json!({"botId": DEFAULT_BOT_ID, "content": "Hello", "metadata": {"user_attributes": {"email": "c@example.com"}}})).await;
    let at = "conversations/email:c@example.com";
    for (deed, body, status) in [
        ("agent-message", json!({"text": "I am Ada."}), 201),
        ("note", json!({"text": "Between us."}), 201),
        ("bot-message", json!({"text": "One more thing."}), 201),
        ("status", json!({"status": "Escalated to Human Agent"}), 200),
        ("resolve", json!({"resolved": true}), 200),
        ("events", json!({"role": "martian", "type": "wave", "arms": 4}), 201),
    ] {
        assert_eq!(send(&bench, "POST", &format!("{at}/{deed}"), body).await.status, status, "{deed}");
    }
    let shown = send(&bench, "GET", at, Value::Null).await.json();
    let wanted =
        ["user/message", "finibot/message", "agent/message", "agent/internalnote", "finibot/message", "martian/wave"];
    assert_eq!(kinds(&shown["events"]), wanted);
    let odd = &shown["events"][5];
    assert_eq!(odd.as_object().unwrap().len(), 5, "only what was given, and id and createdAt: {odd}");
    assert_eq!(shown["sandbox"]["humanOwned"], false);
    assert_eq!(bench.read(shown["id"].as_str().unwrap()).await.json().get("sandbox"), None);
}

#[tokio::test]
async fn feedback_is_kept_on_its_event_zero_included() {
    let bench = Bench::new();
    let (id, events) = bench.start("Hello").await;
    let rate = async |body: Value| send(&bench, "POST", &format!("conversations/{id}/feedback"), body).await;
    assert_eq!(rate(json!({"event_id": events[1]["id"], "csat_rating": 0})).await.status, 200);
    assert_eq!(rate(json!({"event_id": events[1]["id"], "feedback": "Hm", "approved": true})).await.status, 200);
    let wrapper = bench.read(&id).await.json();
    let rated = &wrapper["events"][1];
    assert_eq!((&rated["csatRating"], &rated["feedback"], &rated["approved"]), (&json!(0), &json!("Hm"), &json!(true)));
    assert_eq!(wrapper["hasFeedback"], true);
    assert_eq!(rate(json!({"event_id": "nobody", "approved": true})).await.status, 404);
}

#[tokio::test]
async fn injected_events_keep_their_own_id_and_time() {
    let bench = Bench::new();
    let (id, _) = bench.start("Hello").await;
    let given = json!({"id": "evt", "createdAt": START - 5, "role": "agent", "type": "message", "message": null, "usedArticles": null});
    send(&bench, "POST", &format!("conversations/{id}/events"), given.clone()).await;
    assert_eq!(bench.read(&id).await.json()["events"][2], given);
}

#[tokio::test]
async fn conversations_are_found_by_attribute() {
    let bench = Bench::new();
    for (n, email) in ["a@example.com", "b@example.com", "a@example.com"].iter().enumerate() {
        bench.pass(1_000);
        let body = json!({"botId": DEFAULT_BOT_ID, "content": format!("Hello {n}"), "metadata": {"user_attributes": {"email": email}}});
        bench.generate(&body).await;
    }
    let found = send(&bench, "GET", "conversations?attribute=email:a@example.com", Value::Null).await.json();
    let subjects: Vec<_> =
        found["conversations"].as_array().unwrap().iter().map(|known| known["subjectPreview"].clone()).collect();
    assert_eq!(subjects, ["Hello 2", "Hello 0"]);
    assert_eq!(found["total"], 3);
    assert_eq!(
        send(&bench, "GET", "conversations?limit=1", Value::Null).await.json()["conversations"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(send(&bench, "GET", "conversations?attribute=email", Value::Null).await.status, 400);
    assert_eq!(send(&bench, "GET", "conversations/email:nobody", Value::Null).await.status, 404);
}

#[tokio::test]
async fn a_conversation_can_vanish() {
    let bench = Bench::new();
    let (id, _) = bench.start("Hello").await;
    assert_eq!(send(&bench, "DELETE", &format!("conversations/{id}"), Value::Null).await.status, 204);
    assert_eq!(bench.read(&id).await.status, 500);
    assert_eq!(send(&bench, "DELETE", &format!("conversations/{id}"), Value::Null).await.status, 404);
}

#[tokio::test]
async fn settings_are_patched_field_by_field() {
    let bench = Bench::new();
    let patched = bench.patch(&json!({"list_key": "conversations", "clock_offset_ms": 5})).await;
    assert_eq!(patched.status, 200);
    assert_eq!(patched.json(), send(&bench, "GET", "settings", Value::Null).await.json());
    assert_eq!(bench.sandbox.settings().list_key, ListKey::Conversations);
    let (_, events) = bench.start("Hello").await;
    assert_eq!(events[0]["createdAt"], START + 5);
    let refused = bench.patch(&json!({"list_kee": 1})).await;
    assert_eq!(refused.status, 400);
    assert!(refused.json()["error"].as_str().unwrap().contains("list_kee"));
}

#[tokio::test]
async fn faults_are_set_listed_and_removed() {
    let bench = Bench::new();
    let set = send(
        &bench,
        "POST",
        "faults",
        json!({"route": "get", "kind": "status", "times": 2, "params": {"status": 503}}),
    )
    .await;
    assert_eq!((set.status.as_u16(), set.json()), (201, json!({"id": 1})));
    assert_eq!(bench.read("x").await.status, 503);
    let listed = send(&bench, "GET", "faults", Value::Null).await.json();
    assert_eq!((&listed["faults"][0]["struck"], &listed["faults"][0]["kind"]), (&json!(1), &json!("status")));
    assert_eq!(send(&bench, "DELETE", "faults/1", Value::Null).await.status, 204);
    assert_eq!(send(&bench, "DELETE", "faults/1", Value::Null).await.status, 404);
    send(&bench, "POST", "faults", json!({"kind": "garbage"})).await;
    assert_eq!(send(&bench, "DELETE", "faults", Value::Null).await.status, 204);
    assert!(bench.sandbox.faults().is_empty());
    for wrong in [json!({"kind": "nonsense"}), json!({"kind": "garbage", "route": "everything"}), json!({})] {
        assert_eq!(send(&bench, "POST", "faults", wrong).await.status, 400);
    }
}

#[tokio::test]
async fn the_audit_tells_what_was_asked_and_stored() {
    let bench = Bench::new();
    let (id, _) = bench.start("m-1").await;
    bench.go_on(&id, "m-2").await;
    bench.generate(&json!({"interactionId": id, "content": "m-2", "role": "agent"})).await;
    bench.list("").await;
    bench.read("x").await;
    let report = send(&bench, "GET", "audit?requests=2", Value::Null).await.json();
    assert_eq!(report["routes"], json!({"generate_answer": {"200": 3}, "list": {"200": 1}, "get": {"500": 1}}));
    assert_eq!(
        (&report["requests"], &report["max_in_window"], &report["throttled"]),
        (&json!(5), &json!(5), &json!(0))
    );
    let inbound: Vec<_> = report["inbound"][&id]
        .as_array()
        .unwrap()
        .iter()
        .map(|stored| (stored["role"].clone(), stored["content"].clone()))
        .collect();
    assert_eq!(inbound, [(json!("user"), json!("m-1")), (json!("user"), json!("m-2")), (json!("agent"), json!("m-2"))]);
    assert_eq!(report["latest"].as_array().unwrap().len(), 2);
    assert_eq!(report["latest"][1]["status"], 500);
    assert_eq!(bench.sandbox.audit(0, true).times_stored("m-2"), 2);
    assert_eq!(bench.sandbox.audit(0, true).count(Route::List, 200), 1);
    assert_eq!(send(&bench, "DELETE", "audit", Value::Null).await.status, 204);
    let report = send(&bench, "GET", "audit", Value::Null).await.json();
    assert_eq!((&report["requests"], &report["inbound"]), (&json!(0), &json!({})));
}

#[tokio::test]
async fn seeding_and_resetting() {
    let bench = Bench::new();
    let seeded = send(&bench, "POST", "seed", json!({"conversations": 5, "events_each": 3, "source": "slack"})).await;
    assert_eq!((seeded.status.as_u16(), &seeded.json()["events"]), (201, &json!(15)));
    bench.pass(10_000);
    assert_eq!(bench.listed("source=slack").await.len(), 5);
    assert_eq!(send(&bench, "POST", "reset", json!({})).await.status, 204);
    assert!(bench.listed("").await.is_empty());
}

#[tokio::test]
async fn the_page_explains_itself_and_escapes_what_it_shows() {
    let bench = Bench::with(|config| config.bots[0].name = "<b>&".into());
    let page = String::from_utf8(bench.get("/").await.bytes).unwrap();
    for part in
        ["silently", "store_then_reset", DEFAULT_BOT_ID, "&lt;b&gt;&amp;", "/_sandbox/audit", "reply_latency_ms"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("{{") && !page.contains("<b>&"));
}
