//! Checks the requests on the wire, and the results when all is well.

use super::*;
use crate::{domain::Timestamp, fini::Direction};

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("not an object: {other}"),
    }
}

#[tokio::test]
async fn generate_answer_is_one_json_post_with_the_write_key() {
    let event = r#"[{"id":"e1","createdAt":1,"role":"finibot","type":"message","message":"Soon."}]"#;
    let server = Server::answering(ok(event)).await;
    let departure = Departure::untold();
    let events = server.client().generate_answer(&send(), &departure).await.expect("events");
    assert_eq!(events[0].text.as_deref(), Some("Soon."));
    assert!(departure.has_left());

    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].line, "POST /v2/hc-interactions/events/public HTTP/1.1");
    assert_eq!(seen[0].header("authorization"), Some(format!("Bearer {WRITE_KEY}").as_str()));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(seen[0].header("transfer-encoding"), None);
    let agent = format!("fini-bridge/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(seen[0].header("user-agent"), Some(agent.as_str()));
    let expected = json!({"content": "Where is my order 4711?", "role": "user", "botId": "bot-1"});
    assert_eq!(seen[0].json(), expected);
}

#[test]
fn metadata_is_merged_and_the_typed_fields_win() {
    let request = GenerateAnswer {
        role: Role::OtherBot,
        target: Target::Conversation(id("conv-1")),
        attributes: object(json!({"plan": "Pro"})),
        channel: Some("chat".to_owned()),
        metadata: object(json!({
            "user_attributes": {"plan": "Free", "country": "US"}, "channel": "mail", "page": "/cart"
        })),
        ..send()
    };
    let expected = json!({
        "content": "Where is my order 4711?", "role": "otherbot", "interactionId": "conv-1",
        "metadata": {"user_attributes": {"plan": "Pro", "country": "US"}, "channel": "chat", "page": "/cart"}
    });
    assert_eq!(answer_body(&request), expected);

    let odd = GenerateAnswer {
        attributes: object(json!({"plan": "Pro"})),
        metadata: object(json!({"user_attributes": "not an object"})),
        ..send()
    };
    assert_eq!(answer_body(&odd)["metadata"], json!({"user_attributes": {"plan": "Pro"}}));
}

#[tokio::test]
async fn reads_use_the_read_key_and_mark_their_departure() {
    let server = Server::answering(ok(r#"{"id":"conv-1","createdAt":5,"events":[]}"#)).await;
    let departure = Departure::untold();
    let conversation = server.client().get_conversation(&id("conv-1"), &departure).await.expect("it");
    assert_eq!(conversation.id, id("conv-1"));
    assert!(departure.has_left());
    let seen = server.seen();
    assert_eq!(seen[0].line, "GET /v2/hc-interactions/conv-1/public HTTP/1.1");
    assert_eq!(seen[0].header("authorization"), Some(format!("Bearer {READ_KEY}").as_str()));
    assert!(seen[0].body.is_empty());
}

#[tokio::test]
async fn an_untrusted_id_stays_one_path_segment() {
    let server = Server::answering(ok("{}")).await;
    let client = server.client();
    client.delete_conversation(&id("a/b?c#d e%41/.."), &Departure::untold()).await.expect("a success");
    assert_eq!(server.seen()[0].line, "DELETE /v2/hc-interactions/a%2Fb%3Fc%23d%20e%2541%2F../public HTTP/1.1");

    for impossible in ["", ".", ".."] {
        let departure = Departure::untold();
        let failure = client.delete_conversation(&id(impossible), &departure).await.expect_err("no such path");
        assert_eq!(failure.class(), "missing");
        assert!(!departure.has_left());
        let read = client.get_conversation(&id(impossible), &Departure::untold()).await;
        assert_eq!(read.expect_err("no such path").class(), "missing");
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn list_sends_what_was_asked_and_nothing_else() {
    let server = Server::answering(ok(r#"{"interactions":[],"hasMore":false}"#)).await;
    let client = server.client();
    client.list_conversations(&ListQuery::default(), &Departure::untold()).await.expect("a page");
    let query = ListQuery {
        since: Some(Timestamp::from_millis(1)),
        until: Some(Timestamp::from_millis(2)),
        limit: Some(100),
        cursor: Some("c&d".to_owned()),
        direction: Direction::Newer,
        bot_id: Some("bot-1".to_owned()),
        sources: vec!["widget".to_owned(), "ui".to_owned()],
        channels: vec!["chat".to_owned()],
    };
    client.list_conversations(&query, &Departure::untold()).await.expect("a page");
    let lines: Vec<String> = server.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines[0], "GET /v2/hc-interactions/public HTTP/1.1");
    let query = "since=1&until=2&limit=100&cursor=c%26d&direction=previous&botId=bot-1&source=widget%2Cui&channel=chat";
    assert_eq!(lines[1], format!("GET /v2/hc-interactions/public?{query} HTTP/1.1"));
}

#[tokio::test]
async fn history_repeats_its_sources() {
    let server = Server::answering(ok("[]")).await;
    let query = HistoryQuery {
        start: Some(Timestamp::from_millis(1)),
        end: Some(Timestamp::from_millis(2)),
        sources: vec!["api".to_owned(), "widget".to_owned()],
        escalation: Some(true),
        ..HistoryQuery::default()
    };
    server.client().chat_history(&query, &Departure::untold()).await.expect("a page");
    let query = "startEpoch=1&endEpoch=2&escalation=true&source=api&source=widget";
    assert_eq!(server.seen()[0].line, format!("GET /v2/bots/requests/public?{query} HTTP/1.1"));
}

#[tokio::test]
async fn deletions_use_the_write_key_and_need_no_body_in_the_answer() {
    let server = Server::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let client = server.client();
    client.delete_conversation(&id("c1"), &Departure::untold()).await.expect("a success");
    let batch = IdBatch::new([id("c1"), id("c2")]).expect("two ids");
    client.delete_conversations(&batch, &Departure::untold()).await.expect("a success");
    let seen = server.seen();
    assert_eq!(seen[0].line, "DELETE /v2/hc-interactions/c1/public HTTP/1.1");
    assert_eq!(seen[1].line, "DELETE /v2/hc-interactions/public HTTP/1.1");
    assert_eq!(seen[1].json(), json!({"ids": ["c1", "c2"]}));
    assert_eq!(seen[1].header("authorization"), Some(format!("Bearer {WRITE_KEY}").as_str()));
}

#[tokio::test]
async fn a_base_url_may_have_a_path() {
    let server = Server::answering(ok("[]")).await;
    let base = format!("http://{}/proxy/fini/?x=1#y", server.address).parse().expect("a URL");
    client(settings(base)).list_agents(&Departure::untold()).await.expect("agents");
    assert_eq!(server.seen()[0].line, "GET /proxy/fini/v2/bots/public HTTP/1.1");
}

#[tokio::test]
async fn every_finished_request_is_told_about() {
    let server = Server::answering(answer("503 Service Unavailable", "text/plain", "down")).await;
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let telling = Arc::clone(&told);
    let observer: Observer = Box::new(move |facts| {
        let class = facts.failure.map(Failure::class);
        telling.lock().expect("no panics").push(format!("{:?} {:?} {class:?}", facts.route, facts.status));
    });
    let client = FiniClient::new(settings(server.url("http")), observer).expect("a client");
    let _ = client.list_agents(&Departure::untold()).await;
    assert_eq!(*told.lock().expect("no panics"), ["ListAgents Some(503) Some(\"unclear\")"]);
}

#[test]
fn settings_that_cannot_work_are_refused_and_keys_are_never_shown() {
    let base = |url: &str| FiniClient::new(settings(url.parse().expect("a URL")), Box::new(|_| ()));
    for bad in ["ftp://example.com", "data:text/plain,x", "https://user:word@example.com", "https://user@example.com"] {
        assert!(matches!(base(bad), Err(ClientError::BaseUrl)), "{bad}");
    }
    for bad in ["", "with space", "line\nbreak", "schlüssel"] {
        let mut settings = settings("http://127.0.0.1:1".parse().expect("a URL"));
        settings.write_key = bad.into();
        let built = FiniClient::new(settings, Box::new(|_| ()));
        assert!(matches!(built, Err(ClientError::Key { which: "write" })), "{bad}");
    }
    let shown = format!("{:?}", base("http://127.0.0.1:1").expect("a client"));
    assert!(!shown.contains(READ_KEY) && !shown.contains(WRITE_KEY), "{shown}");
}

#[tokio::test]
async fn an_answer_counts_however_many_fields_a_proxy_adds() {
    for count in [100, 101, 250, 4_000] {
        let fields: Vec<String> = (0..count).map(|n| format!("x-edge-debug-{n}: {}\r\n", "v".repeat(40))).collect();
        let fields = fields.concat();
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}x-folded: one\r\n two\r\ncontent-length: 2\r\n\r\n[]");
        let server = Server::answering(answer).await;
        let agents = server.client().list_agents(&Departure::untold()).await;
        assert_eq!(agents.map(|agents| agents.len()), Ok(0), "{count} fields");
    }
}
