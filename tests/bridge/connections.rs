//! What a refusal leaves of the connection it came over, and what every answer carries.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{Bridge, DEADLINE, Setup, random_token, unique};

/// One answer: status, head in lower case.
async fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut seen = Vec::new();
    let head = loop {
        let mut byte = [0; 1];
        let read = timeout(DEADLINE, stream.read(&mut byte)).await.expect("in time").expect("reads");
        assert_eq!(read, 1, "closed without an answer: {}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
        if seen.ends_with(b"\r\n\r\n") {
            break String::from_utf8_lossy(&seen).to_lowercase();
        }
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    timeout(DEADLINE, stream.read_exact(&mut body)).await.expect("in time").expect("reads");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head)
}

fn authority(bridge: &Bridge) -> String {
    bridge.url.trim_start_matches("http://").to_owned()
}

/// How a body comes after the head.
#[derive(Clone, Copy, Debug)]
enum Comes {
    Length(usize),
    Chunked(usize),
    Expected(usize),
}

impl Comes {
    fn head(self) -> String {
        match self {
            Self::Length(bytes) => format!("content-length: {bytes}\r\n"),
            Self::Chunked(_) => "transfer-encoding: chunked\r\n".to_owned(),
            Self::Expected(bytes) => format!("content-length: {bytes}\r\nexpect: 100-continue\r\n"),
        }
    }

    /// The body, unless its sender waits to be asked for it.
    fn body(self) -> Option<Vec<u8>> {
        match self {
            Self::Length(bytes) => Some(vec![b'x'; bytes]),
            Self::Chunked(bytes) => {
                Some([format!("{bytes:x}\r\n").into_bytes(), vec![b'x'; bytes], b"\r\n0\r\n\r\n".to_vec()].concat())
            }
            Self::Expected(_) => None,
        }
    }
}

#[tokio::test]
async fn after_any_early_refusal_the_connection_goes_on_or_says_that_it_ends() {
    let bridge = Setup::new().start().await;
    let good = format!("authorization: Bearer {}\r\n", bridge.web().tokens[0]);
    let bad = format!("authorization: Bearer {}\r\n", random_token());
    let json = "content-type: application/json\r\n";
    let refusals = [
        ("POST /v1/messages", format!("{bad}{json}"), 401),
        ("POST /v1/messages", json.to_owned(), 401),
        ("POST /v1/messages", format!("{good}content-type: text/plain\r\n"), 415),
        ("POST /v1/messages", format!("{good}{json}content-encoding: gzip\r\n"), 415),
        ("POST /v1/nothing", format!("{good}{json}"), 404),
        ("PUT /v1/messages", format!("{good}{json}"), 405),
        ("DELETE /v1/conversations/none", good.clone(), 404),
    ];
    let ways = [53, 60_000, 90_000].map(Comes::Length).into_iter();
    let ways = ways.chain([53, 90_000].map(Comes::Chunked)).chain([53, 90_000].map(Comes::Expected));
    let ways: Vec<Comes> = ways.collect();
    let mut reused = 0;
    for (line, headers, status) in &refusals {
        for way in &ways {
            let mut stream = TcpStream::connect(authority(&bridge)).await.expect("connects");
            let head = format!("{line} HTTP/1.1\r\nhost: bridge\r\n{headers}{}\r\n", way.head());
            stream.write_all(head.as_bytes()).await.expect("writes");
            stream.flush().await.expect("writes");
            // The body in packets of its own, as clients send it; a side that has closed may refuse it.
            if let Some(body) = way.body() {
                let _ = stream.write_all(&body).await;
            }
            let (answered, head) = answer(&mut stream).await;
            assert_eq!(answered, *status, "{line} {way:?}: {head}");
            if head.contains("connection: close") {
                continue;
            }
            reused += 1;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: bridge\r\n\r\n").await.expect("writes");
            assert_eq!(answer(&mut stream).await.0, 200, "{line} {way:?}: the next request on the connection");
        }
    }
    println!("{} refusals, {reused} connections went on", refusals.len() * ways.len());
    assert!(reused >= refusals.len() * 3, "small bodies cost no connection");
    bridge.finish().await;
}

#[tokio::test]
async fn no_answer_may_be_kept_by_a_cache_but_files_of_the_program() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    for path in ["/v1/conversations/c", "/v1/conversations/c/events", "/v1/conversations/none", "/nothing", "/healthz"]
    {
        let answer = bridge.call("GET", path).send().await;
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
    let answer = bridge.anonymous("GET", "/v1/client.js").send().await;
    assert!(answer.header("cache-control").contains("max-age"), "{}", answer.header("cache-control"));
    let answer = bridge.admin("GET", "/admin/v1/deliveries").send().await;
    assert_eq!(answer.header("cache-control"), "no-store");
    bridge.finish().await;
}

#[tokio::test]
async fn a_member_that_nobody_knows_is_refused_by_name_on_every_route() {
    let mut bridge = Setup::new().web(|web| web.browser_token_secret = Some(random_token())).start().await;
    let named = |answer: &serde_json::Value| answer["errors"][0]["field"].as_str().unwrap_or_default().to_owned();
    let message = |more: serde_json::Value| {
        let mut message = json!({"conversation_id": "c", "text": unique("Hello")});
        message.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        message
    };
    for (more, field) in [
        (json!({"attachments": []}), "attachments"),
        (json!({"messageId": "m"}), "messageId"),
        (json!({"user": {"id": "u", "attribute": {}}}), "user.attribute"),
    ] {
        let answer = bridge.call("POST", "/v1/messages").json(&message(more)).send().await;
        answer.problem(422, "invalid_message");
        assert_eq!(named(&answer.json()), field);
    }
    bridge.turn("c", "Where is my order?").await;
    for body in
        [json!({"ttl": 60}), json!({"origin": "https://a.example"}), json!({"userId": "u"}), json!({"origins": null})]
    {
        let answer = bridge.call("POST", "/v1/conversations/c/tokens").json(&body).send().await;
        answer.problem(422, "invalid_request");
        assert_eq!(named(&answer.json()), *body.as_object().and_then(|one| one.keys().next()).expect("a member"));
    }
    let answer = bridge.admin("POST", "/admin/v1/deliveries/retry").json(&json!({"frontnd": "web"})).send().await;
    answer.problem(422, "invalid_request");
    assert!(answer.text.contains("`frontend`"), "{}", answer.text);
    let answer =
        bridge.admin("POST", "/admin/v1/conversations/web/c/bind").json(&json!({"interactionId": "i"})).send().await;
    answer.problem(422, "invalid_request");
    bridge.finish().await;
}

#[tokio::test]
async fn an_operators_listener_without_a_token_is_no_use_to_pages_of_other_origins() {
    let bridge = Setup::new().start().await;
    let path = "/admin/v1/deliveries";
    bridge.admin("GET", path).send().await.expect(200);
    bridge.admin("GET", path).header("host", "evil.example").send().await.problem(403, "forbidden");
    bridge.admin("GET", path).header("origin", "https://evil.example").send().await.problem(403, "forbidden");
    bridge.admin("GET", "/metrics").header("host", "10.0.0.7:9090").send().await.expect(200);
    bridge.finish().await;
}
