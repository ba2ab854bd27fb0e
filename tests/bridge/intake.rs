//! `POST /v1/messages`: what is accepted, what is refused and how.

use serde_json::{Value, json};

use crate::harness::{Allow, Frontend, Setup, eventually, unique};
use fini_bridge::sandbox::{Fault, FaultKind, FaultParams, FaultRoute};

fn message(id: &str, text: &str) -> Value {
    json!({"conversation_id": "c", "message_id": id, "text": text})
}

fn errors(problem: &Value) -> Vec<String> {
    let errors = problem["errors"].as_array().expect("a list of errors");
    errors
        .iter()
        .map(|error| {
            assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
            error["field"].as_str().expect("a field").to_owned()
        })
        .collect()
}

#[tokio::test]
async fn a_message_is_stored_before_it_is_answered() {
    // Killed between its claim and Fini, the turn is first proven absent there.
    let mut bridge = Setup::new().set("turns.absence_window", "\"1s\"").start().await;
    let text = unique("Where is my order?");
    let answer = bridge.post(&message("m-1", &text)).await.expect(202);
    let expected = json!({"conversation_id": "c", "message_id": "m-1", "status": "queued", "duplicate": false, "expected_wait_ms": null});
    assert_eq!(answer.json(), expected);
    bridge.kill9().await;
    bridge.restart().await;
    let end = bridge.end_of("c", "m-1").await;
    assert_eq!(end["type"], "turn.completed");
    bridge.finish().await;
}

#[tokio::test]
async fn what_the_frontend_posts_gets_its_number_at_once() {
    let mut bridge = Setup::new().start().await;
    let text = unique("Hello, is anybody there?");
    bridge.post(&message("m-1", &text)).await.expect(202);
    let first = &bridge.events("c").await[0];
    assert_eq!((&first["sequence"], &first["type"]), (&json!(1), &json!("message.created")));
    assert_eq!((&first["data"]["origin"], &first["data"]["message"]["id"]), (&json!("frontend"), &json!("m-1")));
    assert_eq!(first["data"]["message"]["text"], text.as_str());
    bridge.finish().await;
}

#[tokio::test]
async fn a_repeat_sends_nothing_and_tells_the_present_status() {
    let mut bridge = Setup::new().start().await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 600);
    let body = message("m-1", &unique("Where is my order?"));
    bridge.post(&body).await.expect(202);
    let statuses = eventually("the answer in a repeat", async || {
        let repeat = bridge.post(&body).await.expect(202).json();
        assert_eq!((&repeat["duplicate"], &repeat["message_id"]), (&json!(true), &json!("m-1")));
        let status = repeat["status"].as_str().expect("a status").to_owned();
        assert!(["queued", "sending", "answered"].contains(&status.as_str()), "{status}");
        (status == "answered").then_some(status)
    })
    .await;
    assert_eq!(statuses, "answered");
    // Keys in another order are the same content.
    let text = body["text"].as_str().expect("a text").to_owned();
    let raw = format!(r#"{{"text": {text:?}, "message_id":"m-1","conversation_id":"c", "role":"user"}}"#);
    let call = bridge.call("POST", "/v1/messages").header("content-type", "application/json").body(raw);
    assert_eq!(call.send().await.expect(202).json()["duplicate"], true);
    assert_eq!(bridge.metric("fini_bridge_messages_accepted_total{frontend=\"web\"}").await, Some(1.0));
    bridge.finish().await;
}

#[tokio::test]
async fn every_status_a_repeat_can_tell() {
    let mut bridge = Setup::new().set("fini.late_reply_window", "\"300ms\"").start().await;
    bridge.allow(Allow::Unbound);
    let mirrored = json!({"conversation_id": "c", "message_id": "a-1", "text": unique("I take over"), "role": "agent"});
    let answered = json!({"conversation_id": "c", "message_id": "m-1", "text": unique("Where is my order?")});
    for (body, status) in [(&answered, "answered"), (&mirrored, "stored")] {
        bridge.post(body).await.expect(202);
        let id = body["message_id"].as_str().expect("an id");
        bridge.end_of("c", id).await;
        assert_eq!(bridge.post(body).await.expect(202).json()["status"], status);
    }
    let params = FaultParams { status: Some(400), ..FaultParams::default() };
    bridge.sandbox.add_fault(Fault::new(FaultRoute::GenerateAnswer, FaultKind::Status).with(params)).expect("valid");
    bridge.allow(Allow::Unsent);
    let refused = json!({"conversation_id": "d", "message_id": "m-1", "text": unique("Not today")});
    bridge.post(&refused).await.expect(202);
    assert_eq!(bridge.end_of("d", "m-1").await["data"]["code"], "fini_rejected");
    assert_eq!(bridge.post(&refused).await.expect(202).json()["status"], "failed");
    bridge.finish().await;
}

#[tokio::test]
async fn the_same_id_with_other_content_is_a_conflict() {
    let mut bridge = Setup::new().start().await;
    let body = message("m-1", &unique("Where is my order?"));
    bridge.post(&body).await.expect(202);
    let changes = [
        ("text", json!(unique("Something else altogether"))),
        ("role", json!("agent")),
        ("user", json!({"id": "u-1"})),
        ("channel", json!("email")),
        ("metadata", json!({"a": 1})),
    ];
    for (field, value) in changes {
        let mut other = body.clone();
        other[field] = value;
        let refused = bridge.message(&other).send().await.problem(409, "message_conflict");
        assert!(refused["detail"].as_str().is_some_and(|said| said.contains("channel")), "{refused}");
    }
    // Another conversation has ids of its own.
    let mut elsewhere = body.clone();
    elsewhere["conversation_id"] = json!("d");
    elsewhere["text"] = json!(unique("Same id, other conversation"));
    assert_eq!(bridge.post(&elsewhere).await.expect(202).json()["duplicate"], false);
    bridge.finish().await;
}

#[tokio::test]
async fn the_idempotency_key_is_the_message_id() {
    let mut bridge = Setup::new().start().await;
    let text = unique("Where is my order?");
    let body = json!({"conversation_id": "c", "text": text});
    let first = bridge.message(&body).header("idempotency-key", "key-1").send().await.expect(202).json();
    assert_eq!(first["message_id"], "key-1");
    let repeat = bridge.message(&body).header("idempotency-key", "key-1").send().await.expect(202).json();
    assert_eq!(repeat["duplicate"], true);
    // The body's own id is the more specific one.
    let named = bridge.message(&message("m-2", &unique("And another"))).header("idempotency-key", "key-1");
    assert_eq!(named.send().await.expect(202).json()["message_id"], "m-2");
    bridge.finish().await;
}

#[tokio::test]
async fn without_an_id_the_bridge_makes_one() {
    let mut bridge = Setup::new().start().await;
    let text = unique("Where is my order?");
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answer = bridge.post(&json!({"conversation_id": "c", "text": text})).await.expect(202).json();
        assert_eq!(answer["duplicate"], false);
        ids.push(answer["message_id"].as_str().expect("an id").to_owned());
    }
    assert_ne!(ids[0], ids[1]);
    for id in &ids {
        bridge.end_of("c", id).await;
    }
    assert_eq!(bridge.times_stored(&text), 2);
    bridge.finish().await;
}

#[tokio::test]
async fn waiting_gives_the_events_of_the_turn() {
    let mut bridge = Setup::new().start().await;
    let call = bridge.message(&message("m-1", &unique("Where is my order?"))).header("prefer", "wait=30");
    let answer = call.send().await.expect(200);
    let body = answer.json();
    assert_eq!((&body["status"], &body["duplicate"]), (&json!("answered"), &json!(false)));
    assert_eq!((&body["conversation_id"], &body["message_id"]), (&json!("c"), &json!("m-1")));
    assert_eq!(body["state"], "open", "of the conversation");
    let events = body["events"].as_array().expect("events");
    let replies: Vec<_> = events.iter().filter(|event| event["type"] == "message.created").collect();
    assert!(replies.iter().any(|event| event["data"]["in_reply_to"] == "m-1"), "{body}");
    assert_eq!(events.last().expect("at least one")["type"], "turn.completed");
    let feed = bridge.events("c").await;
    for event in events {
        assert!(feed.contains(event), "{event} is not in the feed");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn a_repeat_may_wait_for_a_turn_that_is_over() {
    let mut bridge = Setup::new().start().await;
    let body = message("m-1", &unique("Where is my order?"));
    let first = bridge.message(&body).header("prefer", "wait=30").send().await.expect(200).json();
    let repeat = bridge.message(&body).header("prefer", "wait=30").send().await.expect(200).json();
    assert_eq!(repeat["duplicate"], true);
    assert_eq!(repeat["events"], first["events"]);
    bridge.finish().await;
}

#[tokio::test]
async fn waiting_ends_with_202_when_the_turn_takes_longer() {
    let mut bridge = Setup::new().start().await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 2_500);
    let call = bridge.message(&message("m-1", &unique("Where is my order?"))).header("prefer", "wait=1");
    let answer = call.send().await.expect(202).json();
    assert!(["queued", "sending"].contains(&answer["status"].as_str().unwrap_or_default()), "{answer}");
    assert!(answer.get("events").is_none());
    bridge.finish().await;
}

#[tokio::test]
async fn agents_and_bots_of_the_house_are_mirrored() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    for role in ["agent", "otherbot"] {
        let text = unique("This is somebody of the house");
        let body = json!({"conversation_id": "c", "message_id": role, "text": text, "role": role});
        bridge.post(&body).await.expect(202);
        let end = bridge.end_of("c", role).await;
        assert_eq!((&end["type"], &end["data"]["outcome"]), (&json!("turn.completed"), &json!("stored")));
        assert_eq!(end["data"]["replies"], 0);
        let feed = bridge.events("c").await;
        let shown: Vec<_> = feed.iter().filter(|event| event["data"]["message"]["text"] == text.as_str()).collect();
        assert_eq!(shown.len(), 1, "once in the feed, as what the frontend posted");
        assert_eq!(shown[0]["data"]["message"]["author"], role);
        let id = bridge.bound("c").await;
        let stored = bridge.sandbox.conversation(&id).expect("it exists");
        let event = stored.events.iter().find(|event| event.message.as_deref() == Some(&text)).expect("stored");
        assert_eq!(event.role, role);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn what_comes_with_a_message_reaches_the_vendor() {
    let mut bridge = Setup::new().start().await;
    let text = unique("Where is my order?");
    let body = json!({
        "conversation_id": "c", "message_id": "m-1", "text": text, "channel": "chat", "metadata": {"page": "/help"},
        "user": {"id": "u-9", "attributes": {"email": "c@example.com", "plan": "Pro"}},
    });
    bridge.post(&body).await.expect(202);
    bridge.end_of("c", "m-1").await;
    let id = bridge.bound("c").await;
    let stored = bridge.sandbox.conversation(&id).expect("it exists");
    assert_eq!(stored.user_attributes["email"], "c@example.com");
    assert_eq!(stored.user_attributes["plan"], "Pro");
    assert_eq!(stored.channel.as_deref(), Some("chat"));
    bridge.finish().await;
}

#[tokio::test]
async fn faults_in_fields_are_told_all_at_once() {
    let bridge = Setup::new().start().await;
    let long = "x".repeat(16_001);
    let long_id = "x".repeat(201);
    let cases = [
        (json!({"text": "t"}), &["conversation_id"][..]),
        (json!({"conversation_id": "c"}), &["text"]),
        (json!({}), &["conversation_id", "text"]),
        (json!({"conversation_id": "", "text": ""}), &["conversation_id", "text"]),
        (json!({"conversation_id": "a b", "text": " \n\t "}), &["conversation_id", "text"]),
        (json!({"conversation_id": "é", "text": "\u{2003}"}), &["conversation_id", "text"]),
        (json!({"conversation_id": "a/b", "text": "t"}), &["conversation_id"]),
        (json!({"conversation_id": long_id, "text": "t"}), &["conversation_id"]),
        (json!({"conversation_id": 7, "text": 7}), &["conversation_id", "text"]),
        (json!({"conversation_id": null, "text": null}), &["conversation_id", "text"]),
        (json!({"conversation_id": "c", "text": long}), &["text"]),
        (json!({"conversation_id": "c", "text": "t", "message_id": ""}), &["message_id"]),
        (json!({"conversation_id": "c", "text": "t", "message_id": "a b"}), &["message_id"]),
        (json!({"conversation_id": "c", "text": "t", "message_id": "ü"}), &["message_id"]),
        (json!({"conversation_id": "c", "text": "t", "message_id": long_id}), &["message_id"]),
        (json!({"conversation_id": "c", "text": "t", "message_id": 17}), &["message_id"]),
        (json!({"conversation_id": "c", "text": "t", "role": "finibot"}), &["role"]),
        (json!({"conversation_id": "c", "text": "t", "role": "User"}), &["role"]),
        (json!({"conversation_id": "c", "text": "t", "user": "u"}), &["user"]),
        (json!({"conversation_id": "c", "text": "t", "user": {"id": 9}}), &["user.id"]),
        (json!({"conversation_id": "c", "text": "t", "user": {"attributes": [1]}}), &["user.attributes"]),
        (json!({"conversation_id": "c", "text": "t", "channel": 1}), &["channel"]),
        (json!({"conversation_id": "c", "text": "t", "metadata": "m"}), &["metadata"]),
        (
            json!({"conversation_id": "a b", "text": "", "role": "x", "metadata": 1}),
            &["conversation_id", "text", "role", "metadata"],
        ),
    ];
    for (body, fields) in cases {
        let problem = bridge.call("POST", "/v1/messages").json(&body).send().await.problem(422, "invalid_message");
        let mut found = errors(&problem);
        let mut wanted: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{body}");
    }
    let header = bridge.call("POST", "/v1/messages").json(&json!({"conversation_id": "c", "text": "t"}));
    let problem = header.header("idempotency-key", "a b").send().await.problem(422, "invalid_message");
    assert_eq!(errors(&problem), ["message_id"]);
    let not_an_object = bridge.call("POST", "/v1/messages").json(&json!(["c"])).send().await;
    not_an_object.problem(422, "invalid_message");
    bridge.call("GET", "/v1/conversations/c").send().await.problem(404, "not_found");
    bridge.finish().await;
}

#[tokio::test]
async fn the_longest_of_everything_is_accepted() {
    let mut bridge = Setup::new().start().await;
    let conversation = format!("AZaz09._~:@+=-{}", "x".repeat(186));
    let id = format!("!~{}", "y".repeat(198));
    // Characters, not bytes.
    let text = format!("{}{}", unique("ü"), "é".repeat(16_000 - unique("ü").chars().count()));
    assert_eq!(text.chars().count(), 16_000);
    let body = json!({"conversation_id": conversation, "message_id": id, "text": text});
    bridge.post(&body).await.expect(202);
    assert_eq!(bridge.end_of(&conversation, &id).await["type"], "turn.completed");
    assert_eq!(bridge.times_stored(&text), 1);
    let view = bridge.conversation(&conversation).await;
    assert_eq!(view["conversation_id"], conversation.as_str());
    bridge.finish().await;
}

#[tokio::test]
async fn bodies_that_are_not_json() {
    let bridge = Setup::new().start().await;
    let post = || bridge.call("POST", "/v1/messages").header("content-type", "application/json");
    for body in ["", "{", "not json", "{\"conversation_id\": \"c\", }", "\u{0}"] {
        post().body(body).send().await.problem(400, "invalid_json");
    }
    post().body(vec![b'"', 0xff, 0xfe, b'"']).send().await.problem(400, "invalid_json");
    let valid = message("m-1", "t").to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "multipart/form-data"] {
        post().header("content-type", kind).body(valid.clone()).send().await.problem(415, "unsupported_media_type");
    }
    post().without("content-type").body(valid).send().await.problem(415, "unsupported_media_type");
    bridge.call("GET", "/v1/conversations/c").send().await.problem(404, "not_found");
    bridge.finish().await;
}

#[tokio::test]
async fn json_may_name_its_character_set() {
    let mut bridge = Setup::new().start().await;
    let call = bridge.message(&message("m-1", &unique("Where is my order?")));
    call.header("content-type", "application/json; charset=utf-8").send().await.expect(202);
    bridge.finish().await;
}

#[tokio::test]
async fn bodies_over_the_limit() {
    let mut bridge = Setup::new().set("server.max_body", "\"4KiB\"").start().await;
    let padded = |size: usize| {
        let body =
            json!({"conversation_id": "c", "message_id": "m-1", "text": "Does this fit?", "metadata": {"pad": ""}});
        let pad = size - body.to_string().len();
        json!({"conversation_id": "c", "message_id": "m-1", "text": "Does this fit?", "metadata": {"pad": "x".repeat(pad)}})
    };
    bridge.message(&padded(4097)).send().await.problem(413, "too_large");
    bridge.message(&padded(4096)).send().await.expect(202);
    bridge.finish().await;
}

#[tokio::test]
async fn a_full_conversation_says_so() {
    let mut bridge = Setup::new().set("turns.max_waiting_per_conversation", "3").start().await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 1_500);
    bridge.say("c", "The first one is on its way").await;
    eventually("the first message to be under way", async || {
        (bridge.sandbox.audit(0, true).inbound.len() == 1).then_some(())
    })
    .await;
    for _ in 0..3 {
        bridge.say("c", "This one waits").await;
    }
    let refused = bridge.post(&message("m-9", &unique("One too many"))).await;
    refused.problem(429, "backlog_full");
    let wait: u64 = refused.header("retry-after").parse().expect("whole seconds");
    assert!((1..=3600).contains(&wait), "{wait}");
    // Others are not affected, and neither is a repeat of what is in.
    bridge.say("d", "Somebody else").await;
    eventually("room again", async || {
        let again = bridge.post(&message("m-9", &unique("One too many"))).await;
        (again.status == 202).then_some(())
    })
    .await;
    bridge.finish().await;
}

#[tokio::test]
async fn a_full_frontend_says_so_and_others_go_on() {
    let setup = Setup::new().frontend(Frontend::new("desk"));
    let setup = setup.set("turns.max_waiting_per_frontend", "2").set("turns.max_waiting_per_conversation", "2");
    let mut bridge = setup.start().await;
    let params = FaultParams { ms: Some(1_500), ..FaultParams::default() };
    let slow = Fault::new(FaultRoute::GenerateAnswer, FaultKind::Delay).times(100).with(params);
    bridge.sandbox.add_fault(slow).expect("valid");
    bridge.say("c", "The first one is on its way").await;
    eventually("the first message to be under way", async || {
        (bridge.sandbox.audit(1, false).routes.contains_key("generate_answer")).then_some(())
    })
    .await;
    for _ in 0..2 {
        bridge.say("c", "This one waits").await;
    }
    bridge.post(&json!({"conversation_id": "new", "text": "One too many"})).await.problem(429, "backlog_full");
    let desk = bridge.frontends[1].tokens[0].clone();
    let body = json!({"conversation_id": "c", "message_id": "m-1", "text": unique("From the desk")});
    bridge.remember("desk", &body);
    bridge.anonymous("POST", "/v1/messages").bearer(&desk).json(&body).send().await.expect(202);
    bridge.known_forget("web", "new");
    bridge.finish().await;
}

#[tokio::test]
async fn other_methods_and_routes() {
    let bridge = Setup::new().start().await;
    for (method, path, allowed) in [
        ("GET", "/v1/messages", &["POST"][..]),
        ("DELETE", "/v1/messages", &["POST"]),
        ("POST", "/v1/conversations/c", &["GET", "DELETE"]),
        ("POST", "/v1/conversations/c/events", &["GET"]),
        ("PUT", "/v1/conversations/c/stream", &["GET"]),
        ("GET", "/v1/conversations/c/tokens", &["POST"]),
    ] {
        let answer = bridge.call(method, path).send().await;
        answer.problem(405, "method_not_allowed");
        let allow: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        for method in allowed {
            assert!(allow.contains(method), "{path}: Allow is {allow:?}");
        }
    }
    for path in ["/", "/v1", "/v1/nothing", "/v2/messages", "/metrics", "/readyz", "/admin/v1/deliveries"] {
        bridge.call("GET", path).send().await.problem(404, "not_found");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn request_ids() {
    let bridge = Setup::new().start().await;
    let get = || bridge.call("GET", "/v1/conversations/c");
    let own = get().header("x-request-id", "abc-123_x.y").send().await;
    assert_eq!(own.problem(404, "not_found")["request_id"], "abc-123_x.y");
    let mut made = Vec::new();
    for insane in ["a b", "a\"b", &"x".repeat(300), "<script>"] {
        let answer = get().header("x-request-id", insane).send().await;
        answer.problem(404, "not_found");
        assert_ne!(answer.header("x-request-id"), insane);
        made.push(answer.header("x-request-id").to_owned());
    }
    made.push(get().send().await.header("x-request-id").to_owned());
    made.push(bridge.anonymous("GET", "/").send().await.header("x-request-id").to_owned());
    made.push(bridge.admin("GET", "/healthz").send().await.header("x-request-id").to_owned());
    assert!(made.iter().all(|id| !id.is_empty()), "{made:?}");
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 7, "each request has its own");
    bridge.finish().await;
}
