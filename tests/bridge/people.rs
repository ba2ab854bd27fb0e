//! A person's conversations: listed for that person and nobody else, read marks that follow over devices, anonymous visitors who
//! log in, and everything of a person erased with proof at Fini.

#![expect(clippy::needless_pass_by_value, reason = "JSON literals read best where they are handed over")]

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Answer, Bridge, Frontend, Setup, Stream, browser_token, database, epoch_seconds, unique, within};

fn token(bridge: &Bridge, more: Value) -> String {
    let now = epoch_seconds();
    let mut claims = json!({"iss": "fini-bridge", "frontend": "web", "iat": now, "exp": now + 600});
    for (name, value) in more.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    browser_token(bridge.web().browser_token_secret.as_ref().expect("configured"), &claims)
}

async fn with(bridge: &Bridge, token: &str, method: &str, path: &str) -> Answer {
    bridge.anonymous(method, path).bearer(token).send().await
}

/// A customer whom the backend names writes, and is answered.
async fn says(bridge: &mut Bridge, user: &str, conversation: &str) {
    let id = unique("m").replace(' ', "-");
    let message = json!({"conversation_id": conversation, "message_id": id, "text": unique("Where is my order?"),
        "user": {"id": user}});
    bridge.post(&message).await.expect(202);
    bridge.end_of(conversation, &id).await;
}

fn ids(page: &Value) -> Vec<&str> {
    page["conversations"].as_array().expect("a list").iter().filter_map(|one| one["conversation_id"].as_str()).collect()
}

/// The next hint of this type.
async fn hint(stream: &mut Stream, kind: &str) -> Value {
    loop {
        let event = stream.next_or_hint().await.expect("the stream goes on");
        if event.event == kind {
            assert_eq!(event.id, "", "a hint has no id");
            return event.data;
        }
    }
}

#[tokio::test]
async fn a_person_lists_the_conversations_newest_first() {
    let mut bridge = Setup::new().start().await;
    for conversation in ["first", "second", "third"] {
        says(&mut bridge, "u-9", conversation).await;
    }
    says(&mut bridge, "u-1", "theirs").await;
    bridge.turn("nobodys", "Where is my order?").await;
    says(&mut bridge, "u-9", "first").await;
    let token = token(&bridge, json!({"sub": "u-9"}));
    let page = with(&bridge, &token, "GET", "/v1/users/u-9/conversations").await.expect(200).json();
    assert_eq!(ids(&page), ["first", "third", "second"]);
    assert_eq!(page["next_cursor"], Value::Null);
    let newest = &page["conversations"][0];
    let mut names: Vec<&String> = newest.as_object().expect("an object").keys().collect();
    names.sort();
    assert_eq!(names, ["conversation_id", "last_message", "last_sequence", "read_sequence", "state", "updated_at"]);
    let last = bridge.events("first").await.into_iter().rfind(|event| event["type"] == "message.created");
    let message = last.expect("there are messages")["data"]["message"].clone();
    let expected = json!({"author": message["author"], "text": message["text"], "created_at": message["created_at"]});
    assert_eq!(newest["last_message"], expected);
    assert_eq!((&newest["state"], &newest["read_sequence"]), (&json!("open"), &json!(0)));
    assert!(newest["last_sequence"].as_i64() >= Some(6), "{newest}");
    let server = bridge.call("GET", "/v1/users/u-9/conversations").send().await.expect(200).json();
    assert_eq!(server, page);
    bridge.finish().await;
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let mut bridge = Setup::new().start().await;
    let names: Vec<String> = (0..53).map(|number| format!("c-{number}")).collect();
    for name in &names {
        let message =
            json!({"conversation_id": name, "message_id": "m", "text": unique("hello"), "user": {"id": "ü 9/x"}});
        bridge.post(&message).await.expect(202);
    }
    for name in &names {
        bridge.end_of(name, "m").await;
    }
    let path = "/v1/users/%C3%BC%209%2Fx/conversations";
    let first = bridge.call("GET", path).send().await.expect(200).json();
    let cursor = first["next_cursor"].as_str().expect("there is more").to_owned();
    let second = bridge.call("GET", &format!("{path}?cursor={cursor}")).send().await.expect(200).json();
    assert_eq!(second["next_cursor"], Value::Null);
    let mut seen: Vec<String> = [ids(&first), ids(&second)].concat().into_iter().map(str::to_owned).collect();
    assert_eq!(seen.len(), 53);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 53, "each once");
    for bad in ["x", "%20", "", "AAAA"] {
        bridge.call("GET", &format!("{path}?cursor={bad}")).send().await.problem(400, "invalid_cursor");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn nobody_lists_marks_claims_or_erases_what_is_anothers() {
    let other = Frontend::new("other");
    let foreign = other.tokens[0].clone();
    let mut bridge = Setup::new().frontend(other).start().await;
    says(&mut bridge, "u-1", "theirs").await;
    says(&mut bridge, "u-9", "own").await;
    let users = token(&bridge, json!({"sub": "u-9"}));
    let one = token(&bridge, json!({"conversation_id": "own", "sub": "u-9"}));
    // The same answer whether the person exists or not.
    let mut answers = Vec::new();
    for (token, user) in [(&users, "u-1"), (&users, "never"), (&one, "u-1"), (&one, "u-9"), (&users, "U-9")] {
        let mut problem =
            with(&bridge, token, "GET", &format!("/v1/users/{user}/conversations")).await.problem(403, "forbidden");
        problem["request_id"] = Value::Null;
        answers.push(problem);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    for token in [&users, &one] {
        for conversation in ["theirs", "never"] {
            let call = bridge.anonymous("POST", &format!("/v1/conversations/{conversation}/read")).bearer(token);
            call.json(&json!({"sequence": 1})).send().await.problem(403, "forbidden");
        }
        for (method, path) in [("POST", "/v1/users/u-9/claim"), ("DELETE", "/v1/users/u-9"), ("GET", "/v1/users/u-9")] {
            let call = bridge.anonymous(method, path).bearer(token).json(&json!({"conversation_id": "own"}));
            call.send().await.problem(403, "forbidden");
        }
    }
    // Another frontend's server sees nothing of this one's.
    let call = |method: &str, path: &str| bridge.anonymous(method, path).bearer(&foreign);
    assert_eq!(ids(&call("GET", "/v1/users/u-9/conversations").send().await.expect(200).json()), Vec::<&str>::new());
    let mark = call("POST", "/v1/conversations/own/read").json(&json!({"sequence": 1}));
    mark.send().await.problem(404, "not_found");
    let claim = call("POST", "/v1/users/u-9/claim").json(&json!({"conversation_id": "own"}));
    claim.send().await.problem(404, "not_found");
    call("DELETE", "/v1/users/u-9").send().await.problem(404, "not_found");
    assert_eq!(ids(&bridge.call("GET", "/v1/users/u-9/conversations").send().await.expect(200).json()), ["own"]);
    bridge.finish().await;
}

#[tokio::test]
async fn a_read_mark_follows_to_the_other_devices() {
    let mut bridge = Setup::new().start().await;
    says(&mut bridge, "u-9", "c").await;
    let (of_user, of_one) =
        (token(&bridge, json!({"sub": "u-9"})), token(&bridge, json!({"conversation_id": "c", "sub": "u-9"})));
    let mut tab = Stream::open(bridge.anonymous("GET", "/v1/conversations/c/stream").bearer(&of_one)).await;
    let mark = async |token: &str, sequence: i64| {
        let call = bridge.anonymous("POST", "/v1/conversations/c/read").bearer(token);
        call.json(&json!({"sequence": sequence})).send().await.expect(200).json()
    };
    let last = bridge.conversation("c").await["last_sequence"].as_i64().expect("a number");
    let expected = |read: i64| json!({"conversation_id": "c", "read_sequence": read, "last_sequence": last});
    assert_eq!(mark(&of_user, 2).await, expected(2));
    assert_eq!(hint(&mut tab, "read.updated").await, json!({"sequence": 2}));
    // Never back; and what is not there cannot have been read.
    assert_eq!(mark(&of_one, 1).await, expected(2));
    assert_eq!(mark(&bridge.web().tokens[0], 1_000_000).await, expected(last));
    assert_eq!(hint(&mut tab, "read.updated").await, json!({"sequence": last}));
    // A device that comes later is told where it stands, and so is the list.
    let mut later = Stream::open(bridge.anonymous("GET", "/v1/conversations/c/stream").bearer(&of_user)).await;
    assert_eq!(hint(&mut later, "read.updated").await, json!({"sequence": last}));
    let page = with(&bridge, &of_user, "GET", "/v1/users/u-9/conversations").await.expect(200).json();
    assert_eq!(page["conversations"][0]["read_sequence"], last);
    assert_eq!(bridge.conversation("c").await["read_sequence"], last);
    // It is no event: nothing of it is in the feed or called back.
    assert!(bridge.events("c").await.iter().all(|event| event["type"] != "read.updated"));
    for bad in [json!({}), json!({"sequence": -1}), json!({"sequence": "2"}), json!({"sequence": 1, "upto": 2})] {
        bridge.call("POST", "/v1/conversations/c/read").json(&bad).send().await.problem(422, "invalid_request");
    }
    drop((tab, later));
    bridge.finish().await;
}

#[tokio::test]
async fn a_read_mark_is_told_by_every_replica() {
    let Some(url) = database().await else { return };
    let mut bridge = Setup::new().store(&url).start().await;
    says(&mut bridge, "u-9", "c").await;
    let mut tab = bridge.stream("c", "").await;
    bridge.join().await;
    let call = bridge.call("POST", "/v1/conversations/c/read").json(&json!({"sequence": 1}));
    call.send().await.expect(200);
    let told = tokio::time::timeout(std::time::Duration::from_secs(10), hint(&mut tab, "read.updated"));
    assert_eq!(told.await.expect("long before a heartbeat"), json!({"sequence": 1}));
    drop(tab);
    bridge.finish().await;
}

#[tokio::test]
async fn a_visitor_who_logs_in_keeps_the_conversation() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("visit", "Where is my order?").await;
    let known = token(&bridge, json!({"sub": "u-9"}));
    with(&bridge, &known, "GET", "/v1/conversations/visit").await.problem(403, "forbidden");
    let claim = async |user: &str, body: Value| {
        bridge.call("POST", &format!("/v1/users/{user}/claim")).json(&body).send().await
    };
    let visit = json!({"conversation_id": "visit"});
    for _ in 0..2 {
        let claimed = claim("u-9", visit.clone()).await.expect(200).json();
        assert_eq!(claimed, json!({"conversation_id": "visit", "user_id": "u-9"}));
    }
    with(&bridge, &known, "GET", "/v1/conversations/visit").await.expect(200);
    let page = with(&bridge, &known, "GET", "/v1/users/u-9/conversations").await.expect(200).json();
    assert_eq!(ids(&page), ["visit"]);
    claim("u-1", visit).await.problem(409, "of_another_user");
    claim("u-9", json!({"conversation_id": "never"})).await.problem(404, "not_found");
    for bad in [json!({}), json!({"conversation_id": "a b"}), json!({"conversation": "visit"})] {
        claim("u-9", bad).await.problem(422, "invalid_request");
    }
    bridge.finish().await;
}

async fn is_erased(mut bridge: Bridge, restarts: bool) {
    for conversation in ["first", "second"] {
        says(&mut bridge, "u-9", conversation).await;
        bridge.bound(conversation).await;
    }
    says(&mut bridge, "u-1", "theirs").await;
    let mut at_fini = Vec::new();
    for conversation in ["first", "second"] {
        at_fini.push(bridge.bound(conversation).await);
    }
    let old = token(&bridge, json!({"sub": "u-9"}));
    bridge.call("GET", "/v1/users/u-9").send().await.problem(404, "not_found");
    let erased = bridge.call("DELETE", "/v1/users/u-9?upstream=true").send().await.expect(202).json();
    assert_eq!((&erased["user_id"], &erased["local"]), (&json!("u-9"), &json!("erased")), "{erased}");
    assert_eq!(erased["conversations"]["erased"], 2, "{erased}");
    if restarts {
        bridge.kill9().await;
        bridge.restart().await;
    }
    // A deletion that a crash cut short is due again after a minute.
    let proved = within(Duration::from_secs(100), "the proof", async || {
        let now = bridge.call("GET", "/v1/users/u-9").send().await.expect(200).json();
        (now["upstream"] == "erased").then_some(now)
    })
    .await;
    assert_eq!(proved["conversations"], json!({"erased": 2, "proved": 2, "pending": 0, "failed": 0}));
    assert!(at_fini.iter().all(|id| bridge.sandbox.conversation(id).is_err()));
    for conversation in ["first", "second"] {
        bridge.call("GET", &format!("/v1/conversations/{conversation}")).send().await.problem(404, "not_found");
        bridge.known_forget("web", conversation);
    }
    assert_eq!(ids(&bridge.call("GET", "/v1/users/u-1/conversations").send().await.expect(200).json()), ["theirs"]);
    // A page that was left open begins nothing anew in that person's name; one with a new token does.
    for path in ["/v1/users/u-9/conversations", "/v1/conversations/first"] {
        with(&bridge, &old, "GET", path).await;
    }
    with(&bridge, &old, "GET", "/v1/users/u-9/conversations").await.problem(401, "unauthorized");
    let body = json!({"conversation_id": "anew", "message_id": "m", "text": unique("hello")});
    bridge.anonymous("POST", "/v1/messages").bearer(&old).json(&body).send().await.problem(401, "unauthorized");
    let minted = bridge.call("POST", "/v1/users/u-9/tokens").send().await.expect(200).json();
    let new = minted["token"].as_str().expect("a token").to_owned();
    let page = with(&bridge, &new, "GET", "/v1/users/u-9/conversations").await.expect(200).json();
    assert_eq!(ids(&page), Vec::<&str>::new());
    bridge.finish().await;
}

#[tokio::test]
async fn everything_of_a_person_is_erased_and_proved_at_fini() {
    is_erased(Setup::new().start().await, false).await;
}

#[tokio::test]
async fn an_erasure_of_a_person_survives_a_crash() {
    is_erased(Setup::new().start().await, true).await;
}

#[tokio::test]
async fn a_person_is_erased_on_a_shared_database() {
    let Some(url) = database().await else { return };
    is_erased(Setup::new().store(&url).start().await, true).await;
}
