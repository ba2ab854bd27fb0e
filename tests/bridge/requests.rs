//! Requests that are wrong, hundreds of them and of every kind: each is refused in the one shape that all errors have, with a code
//! of the contract's table, and none of them is a fault of the bridge's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Bridge, Setup, browser_token, epoch_seconds};

/// The codes of the public API with their statuses, as its documentation has them.
const CODES: &[(&str, u16)] = &[
    ("invalid_json", 400),
    ("unauthorized", 401),
    ("forbidden", 403),
    ("not_found", 404),
    ("method_not_allowed", 405),
    ("request_timeout", 408),
    ("message_conflict", 409),
    ("browser_tokens_disabled", 409),
    ("too_large", 413),
    ("unsupported_media_type", 415),
    ("invalid_message", 422),
    ("invalid_request", 422),
    ("backlog_full", 429),
    ("too_many_streams", 429),
];

/// A request as bytes: clients would tidy up what is to be tried.
struct Raw {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Raw {
    fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn json(self, body: impl Into<Vec<u8>>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    /// Sends it on a connection of its own; gives status, headers and body.
    async fn send(&self, bridge: &Bridge) -> (u16, BTreeMap<String, String>, String) {
        let address = bridge.url.trim_start_matches("http://");
        let mut head = format!("{} {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").expect("a string takes any text");
        }
        write!(head, "content-length: {}\r\n\r\n", self.body.len()).expect("a string takes any text");
        let mut stream = TcpStream::connect(address).await.expect("the bridge listens");
        stream.write_all(&[head.as_bytes(), &self.body].concat()).await.expect("the bridge reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("the bridge answers");
        let answer = String::from_utf8(answer).expect("answers are UTF-8");
        let (head, body) =
            answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{} {}: {answer:?}", self.method, self.target));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        (status, headers, body.to_owned())
    }
}

/// Checks one refusal in every part.
async fn is_refused(bridge: &Bridge, request: &Raw) -> String {
    let (status, headers, body) = request.send(bridge).await;
    let header = |name: &str| headers.get(name).map_or("", String::as_str);
    let what = format!("{} {} {:?}: {status} {headers:?} {body}", request.method, request.target, request.headers);
    assert!((400..500).contains(&status), "{what}");
    assert_eq!(header("content-type"), "application/problem+json", "{what}");
    assert_eq!(header("cache-control"), "no-store", "{what}");
    let problem: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {what}"));
    let code = problem["code"].as_str().unwrap_or_else(|| panic!("no code: {what}"));
    assert!(CODES.contains(&(code, status)), "{code} is not {status} in the table: {what}");
    assert_eq!(problem["status"], status, "{what}");
    assert_eq!(problem["request_id"].as_str(), Some(header("x-request-id")), "{what}");
    for member in ["type", "title"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {what}");
    }
    for error in problem["errors"].as_array().into_iter().flatten() {
        assert!(error["field"].is_string() && error["message"].is_string(), "{what}");
    }
    code.to_owned()
}

fn bad_paths(token: &str, browser: &str) -> Vec<Raw> {
    let ids = [
        "%ff",
        "%c3%28",
        "%00",
        "%2f",
        "%2e%2e",
        ".",
        "..",
        "a%20b",
        "%",
        "%zz",
        "a%0d%0ab",
        "*",
        "\u{7e}%7f",
        "%F0%9F%98%80",
    ];
    let mut all = Vec::new();
    for id in ids.into_iter().map(str::to_owned).chain(["x".repeat(201), "x".repeat(4000)]) {
        for rest in ["", "/events", "/stream", "/nothing", "/events/", "/"] {
            for credentials in [Some(token), Some(browser), None] {
                let request = Raw::new("GET", &format!("/v1/conversations/{id}{rest}"));
                all.push(match credentials {
                    Some(token) => request.bearer(token),
                    None => request,
                });
            }
        }
        all.push(Raw::new("DELETE", &format!("/v1/conversations/{id}")).bearer(token));
        all.push(Raw::new("POST", &format!("/v1/conversations/{id}/tokens")).bearer(token));
    }
    for user in ["%ff", ".", "%2e", "..", "%00", &"u".repeat(201)] {
        all.push(Raw::new("POST", &format!("/v1/users/{user}/tokens")).bearer(token));
    }
    for target in [
        "/",
        "//",
        "/v1",
        "/v2/messages",
        "/v1/messages/",
        "/V1/messages",
        "/v1/messages%2f",
        "/%ff",
        "/v1/users",
        "/admin/v1/budget",
        "/metrics",
        "/readyz",
    ] {
        all.push(Raw::new("GET", target).bearer(token));
    }
    for method in ["GET", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "FOO"] {
        all.push(Raw::new(method, "/v1/messages").bearer(token));
    }
    for (method, target) in [
        ("POST", "/v1/conversations/c"),
        ("PUT", "/v1/conversations/c/events"),
        ("POST", "/v1/conversations/c/stream"),
        ("GET", "/v1/conversations/c/tokens"),
        ("GET", "/v1/users/u/tokens"),
        ("POST", "/openapi.json"),
        ("DELETE", "/healthz"),
    ] {
        all.push(Raw::new(method, target).bearer(token));
    }
    all
}

fn bad_queries(token: &str) -> Vec<Raw> {
    let pages = [
        "after=abc",
        "after=-1",
        "after=1.5",
        "after=99999999999999999999",
        "after=%ff",
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1e3",
    ];
    // A stream begins at the first event where its reader's position is none.
    let routes = |query: &str| if query.starts_with("after") { &["events"][..] } else { &["events", "stream"] };
    let reads = pages.iter().flat_map(|query| {
        routes(query)
            .iter()
            .map(move |route| Raw::new("GET", &format!("/v1/conversations/c/{route}?{query}")).bearer(token))
    });
    let erasures = ["upstream=maybe", "upstream=", "upstream=TRUE"];
    let erasures = erasures.map(|query| Raw::new("DELETE", &format!("/v1/conversations/c?{query}")).bearer(token));
    let tokens = ["access_token=", "access_token=x", "access_token=a.b.c", "access_token=%ff"];
    let tokens = tokens.map(|query| Raw::new("GET", &format!("/v1/conversations/c/stream?{query}")));
    reads.chain(erasures).chain(tokens).collect()
}

/// Bodies that are no JSON, or no message at all.
fn no_messages(token: &str) -> Vec<Raw> {
    let post = |body: &[u8]| Raw::new("POST", "/v1/messages").bearer(token).json(body);
    let mut all: Vec<Raw> = [
        &b""[..],
        b" ",
        b"{",
        b"}",
        b"[]",
        b"null",
        b"1",
        b"\"x\"",
        b"{\"a\"",
        b"{\"text\":}",
        b"{'text':1}",
        b"\xff\xfe{\x00}\x00",
        b"{\"text\":\"\xff\"}",
        b"{\"text\":\"a\nb\"}",
        b"{\"text\":\"\\x\"}",
        b"{\"text\":\"\\ud800\"}",
        b"{\"text\":\"\\ud83d\",\"conversation_id\":\"c\"}",
        b"{\"conversation_id\":\"c\",\"text\":\"hi\",}",
        b"{\"conversation_id\":\"c\",\"text\":\"hi\"} {}",
        b"{\"n\":01}",
        b"{\"n\":1e}",
        b"{\"n\":NaN}",
    ]
    .into_iter()
    .map(post)
    .collect();
    all.push(post("[".repeat(100_000).as_bytes()));
    all.push(post(format!("{{\"metadata\":{}1{}}}", "{\"a\":".repeat(5_000), "}".repeat(5_000)).as_bytes()));
    all
}

/// Messages of which a member is wrong.
fn bad_members(token: &str) -> Vec<Raw> {
    let post = |body: &Value| Raw::new("POST", "/v1/messages").bearer(token).json(body.to_string());
    let mut all = Vec::new();
    // Each member with each wrong kind of value.
    let good = json!({"conversation_id": "c", "message_id": "m", "text": "hi", "role": "user", "user": {"id": "u", "attributes": {}},
        "channel": "chat", "metadata": {}});
    let wrong =
        [json!(1), json!(true), json!([1]), json!({"a": 1}), json!(""), json!("\u{0}"), json!("x".repeat(20_000))];
    let takes = |name: &str, value: &Value| match name {
        "metadata" => value.is_object(),
        "text" => {
            value.is_string()
                && !matches!(value.as_str(), Some("" | "\u{0}"))
                && value.as_str().is_some_and(|text| text.len() < 16_001)
        }
        _ => false,
    };
    for name in good.as_object().expect("an object").keys() {
        for value in wrong.iter().filter(|value| !takes(name, value)) {
            let mut body = good.clone();
            body[name] = value.clone();
            all.push(post(&body));
        }
    }
    for (name, value) in [
        ("id", json!(7)),
        ("id", json!("")),
        ("id", json!("u".repeat(201))),
        ("attributes", json!("x")),
        ("ID", json!("u")),
    ] {
        let mut body = good.clone();
        body["user"][name] = value;
        all.push(post(&body));
    }
    for unknown in ["messageId", "conversationId", "attachments", "files", "", "\u{0}", "text ", &"y".repeat(1000)] {
        let mut body = good.clone();
        body[unknown] = json!("x");
        all.push(post(&body));
    }
    for text in ["   ", "\u{a0}", "\u{0}", &"x".repeat(16_001), &"\u{1F600}".repeat(16_001)] {
        all.push(post(&json!({"conversation_id": "c", "text": text})));
    }
    all.push(post(&json!({"conversation_id": "c", "text": "x".repeat(300_000)})));
    all
}

/// A good message under headers that are wrong.
fn bad_headers(token: &str) -> Vec<Raw> {
    let post = |body: &[u8]| Raw::new("POST", "/v1/messages").bearer(token).json(body);
    let mut all = Vec::new();
    let fine = json!({"conversation_id": "c", "text": "hi"}).to_string();
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "json",
        "",
    ] {
        all.push(
            Raw::new("POST", "/v1/messages").bearer(token).header("content-type", media_type).body(fine.as_bytes()),
        );
    }
    for encoding in ["gzip", "br", "identity, gzip"] {
        all.push(post(fine.as_bytes()).header("content-encoding", encoding));
    }
    for preference in ["wait", "wait=", "wait=abc", "wait=-1", "wait=1.5", "respond-async, wait"] {
        all.push(post(fine.as_bytes()).header("prefer", preference));
    }
    for key in ["", "a b", &"k".repeat(201)] {
        all.push(post(fine.as_bytes()).header("idempotency-key", key));
    }
    all
}

/// What a page may not say, and wishes for tokens that nobody can have.
fn bad_tokens(token: &str, browser: &str) -> Vec<Raw> {
    let mut all = Vec::new();
    for more in [
        json!({"user": {"id": "other"}}),
        json!({"metadata": {"a": 1}}),
        json!({"role": "agent"}),
        json!({"conversation_id": "d"}),
    ] {
        let mut body = json!({"conversation_id": "c", "text": "hi"});
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        all.push(Raw::new("POST", "/v1/messages").bearer(browser).json(body.to_string()));
    }
    for path in ["/v1/conversations/c/tokens", "/v1/users/u/tokens"] {
        for body in [
            "{",
            "[1]",
            "1",
            "{\"ttl\":60}",
            "{\"ttl_seconds\":0}",
            "{\"ttl_seconds\":3601}",
            "{\"ttl_seconds\":\"60\"}",
            "{\"ttl_seconds\":1e400}",
            "{\"origins\":[]}",
            "{\"origins\":\"x\"}",
            "{\"origins\":[1]}",
            "{\"origins\":[\"shop.example\"]}",
            "{\"origins\":[\"https://shop.example/\"]}",
            "{\"attributes\":[1]}",
            "{\"attributes\":\"\\ud800\"}",
            "{\"user\":\"u\"}",
            "{\"userId\":\"u\"}",
        ] {
            all.push(Raw::new("POST", path).bearer(token).json(body));
        }
    }
    all
}

fn bad_credentials(token: &str) -> Vec<Raw> {
    let values = [
        "",
        "Bearer",
        "Bearer ",
        "bearer  ",
        "Basic dXNlcjpwYXNz",
        "Token x",
        "Bearer a.b.c",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
        "Bearer \u{fc}",
    ];
    let values = values
        .iter()
        .map(|value| (*value).to_owned())
        .chain([format!("Bearer {token}x"), format!("Bearer {}", "x".repeat(9000))]);
    let routes = [
        ("GET", "/v1/conversations/c"),
        ("GET", "/v1/conversations/c/stream"),
        ("POST", "/v1/messages"),
        ("POST", "/v1/users/u/tokens"),
    ];
    let mut all = Vec::new();
    for value in values {
        for (method, target) in routes {
            all.push(Raw::new(method, target).header("authorization", &value));
        }
    }
    all.push(Raw::new("GET", "/v1/conversations/c").bearer(token).bearer(token));
    for (id, timestamp, signature) in
        [("x", "1", "v1,x"), ("", "", ""), ("x", "soon", "v1,"), ("x", "99999999999999999999", "v9,x")]
    {
        let request =
            Raw::new("POST", "/v1/messages").json("{}").header("webhook-id", id).header("webhook-timestamp", timestamp);
        all.push(request.header("webhook-signature", signature));
    }
    all
}

#[tokio::test]
async fn every_bad_request_gets_a_problem_of_the_table() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let token = bridge.web().tokens[0].clone();
    let now = epoch_seconds();
    let claims = json!({"iss": "fini-bridge", "frontend": "web", "conversation_id": "c", "iat": now, "exp": now + 600});
    let browser = browser_token(bridge.web().browser_token_secret.as_ref().expect("configured"), &claims);
    let kinds = [
        ("paths", bad_paths(&token, &browser)),
        ("queries", bad_queries(&token)),
        ("bodies", no_messages(&token)),
        ("members", bad_members(&token)),
        ("headers", bad_headers(&token)),
        ("tokens", bad_tokens(&token, &browser)),
        ("credentials", bad_credentials(&token)),
    ];
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = 0;
    for (kind, requests) in kinds {
        for request in &requests {
            *codes.entry(is_refused(&bridge, request).await).or_default() += 1;
        }
        println!("{kind}: {} bad requests", requests.len());
        count += requests.len();
    }
    println!("{count} bad requests, each refused in its shape: {codes:?}");
    assert!(count >= 400, "{count}");
    let page = bridge.events("c").await;
    assert!(page.iter().all(|event| event["data"]["message"]["text"] != "hi"), "nothing of them was stored: {page:?}");
    bridge.finish().await;
}
