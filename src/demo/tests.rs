//! The router as the page and the bridge see it, with a stand-in for the sandbox and the admin listener on loopback.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::*;
use crate::domain::WallTime;
use crate::sandbox::{DEFAULT_API_KEY, DEFAULT_BOT_ID, Sandbox, SandboxConfig};
use crate::signature::{Signer, token};

const NOW_MS: i64 = 1_795_000_000_000;

struct Fixed;

impl WallClock for Fixed {
    fn now(&self) -> WallTime {
        WallTime::from_millis(NOW_MS)
    }
}

fn secret(byte: u8) -> CallbackSecret {
    CallbackSecret::generate([byte; 32])
}

fn settings(elsewhere: &str) -> DemoSettings {
    DemoSettings {
        sandbox_url: elsewhere.to_owned(),
        bridge_url: elsewhere.to_owned(),
        token: "a-token-of-the-frontend".into(),
        admin_url: elsewhere.to_owned(),
        frontend: "demo".to_owned(),
        callback_secrets: vec![secret(1)],
        browser_token_secret: TokenSecret::new(&"t".repeat(32)).unwrap(),
        wall: Arc::new(Fixed),
        stopping: CancellationToken::new(),
    }
}

fn client() -> reqwest::Client {
    // Another test may have installed it already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Nothing listens there: port 9 (discard) is not served on loopback.
const NOWHERE: &str = "http://127.0.0.1:9";

fn demo() -> Router {
    router(settings(NOWHERE), client())
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn post_json(path: &str, body: &Value) -> Request<Body> {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    request.body(body.to_string().into()).unwrap()
}

fn signed_callback(id: &str, secret: CallbackSecret, body: &str) -> Request<Body> {
    let at = NOW_MS / 1000;
    Request::post("/demo/callback")
        .header("webhook-id", id)
        .header("webhook-timestamp", at.to_string())
        .header("webhook-signature", Signer::new(secret).sign(id, at, body.as_bytes(), at))
        .body(body.to_owned().into())
        .unwrap()
}

/// Reads the page's stream until it has `count` callbacks.
async fn rows(router: &Router, path: &str, count: usize) -> Vec<Value> {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let mut stream = response.into_body().into_data_stream();
    let mut rows = Vec::new();
    while rows.len() < count {
        let chunk = stream.next().await.unwrap().unwrap();
        let text = String::from_utf8(chunk.to_vec()).unwrap();
        if text.contains("event: callback\n") {
            let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            rows.push(serde_json::from_str(data).unwrap());
        }
    }
    rows
}

#[tokio::test]
async fn the_page_is_served_under_a_strict_policy_and_names_only_files_that_exist() {
    let router = demo();
    let request = Request::get("/").body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-security-policy"], page::PAGE.policy);
    page::PAGE.assert_whole("/demo/assets/", &["/v1/client.js", "/v1/markdown.js"]);
    for shared_or_own in ["dom.js", "customer.js"] {
        let path = format!("/demo/assets/{shared_or_own}");
        let (status, _) = send(&router, Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::OK);
    }
    let (status, _) = send(&router, Request::get("/demo/assets/other.js").body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn callbacks_are_verified_shown_in_order_and_known_when_repeated() {
    let router = demo();
    let body = r#"{"type":"message.created","sequence":2}"#;
    assert_eq!(send(&router, signed_callback("evt_1", secret(1), body)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(send(&router, signed_callback("evt_2", secret(2), body)).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&router, signed_callback("evt_1", secret(1), body)).await.0, StatusCode::NO_CONTENT);
    let rows = rows(&router, "/demo/callbacks/stream", 3).await;
    let facts: Vec<_> =
        rows.iter().map(|row| (row["n"].clone(), row["verified"].clone(), row["repeat"].clone())).collect();
    assert_eq!(json!(facts), json!([[1, true, false], [2, false, false], [3, true, true]]));
    assert_eq!(rows[0]["event"]["sequence"], 2);
    let reason = rows[1]["reason"].as_str().unwrap();
    assert!(reason.contains("matches"), "{reason}");
}

#[tokio::test]
async fn a_receiver_that_is_switched_off_refuses_and_still_shows_the_attempt() {
    let router = demo();
    let (status, _) = send(&router, post_json("/demo/callbacks/receiver", &json!({ "working": false }))).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = send(&router, signed_callback("evt_1", secret(1), "{}")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    send(&router, post_json("/demo/callbacks/receiver", &json!({ "working": true }))).await;
    let (status, _) = send(&router, signed_callback("evt_1", secret(1), "not json")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let rows = rows(&router, "/demo/callbacks/stream?after=0", 2).await;
    assert_eq!(rows[0]["status"], 503);
    assert_eq!((&rows[1]["event"], &rows[1]["body"]), (&Value::Null, &json!("not json")));
}

#[tokio::test]
async fn streams_end_when_the_demo_stops() {
    let settings = settings(NOWHERE);
    let stopping = settings.stopping.clone();
    let router = router(settings, client());
    let request = Request::get("/demo/callbacks/stream").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    stopping.cancel();
    response.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn the_vendors_inbox_does_what_a_human_does_there_and_nothing_else() {
    let sandbox = Sandbox::new(SandboxConfig::instant());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = axum::serve(listener, sandbox.router()).into_future();
    let router = router(settings(&url), client());
    let get = async |path: &str| {
        let (status, body) = send(&router, Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str::<Value>(&body).unwrap()
    };
    let checks = async {
        let message = json!({ "content": "Hello", "botId": DEFAULT_BOT_ID, "metadata": { "user_attributes": { "chat": "c-1" } } });
        let ask = client().post(format!("{url}/v2/hc-interactions/events/public")).bearer_auth(DEFAULT_API_KEY);
        assert!(ask.json(&message).send().await.unwrap().status().is_success());
        let list = get("/demo/fini/conversations").await;
        let conversation = &list["conversations"][0];
        assert_eq!(conversation["userAttributes"]["chat"], "c-1");
        let path = format!("/demo/fini/conversations/{}", conversation["id"].as_str().unwrap());
        for (action, body) in [
            ("status", json!({ "status": "Escalated to Human Agent" })),
            ("agent-message", json!({ "text": "A person" })),
            ("note", json!({ "text": "Between us" })),
            ("resolve", json!({ "resolved": true })),
        ] {
            let (status, answer) = send(&router, post_json(&format!("{path}/{action}"), &body)).await;
            assert!(status.is_success(), "{action}: {status} {answer}");
        }
        let after = get(&path).await;
        assert_eq!((&after["status"], &after["resolved"]), (&json!("Escalated to Human Agent"), &json!(true)));
        let kinds: Vec<_> =
            after["events"].as_array().unwrap().iter().map(|event| json!([event["role"], event["type"]])).collect();
        assert!(kinds.contains(&json!(["agent", "message"])) && kinds.iter().any(|kind| kind[1] == "internalnote"));
        for path in [format!("{path}/events"), "/demo/fini/conversations/c%2F..%2Fx/note".to_owned()] {
            let (status, _) = send(&router, post_json(&path, &json!({}))).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        }
    };
    tokio::select! {
        _ = serving => unreachable!("the sandbox serves until it is dropped"),
        () = checks => {}
    }
}

#[tokio::test]
async fn the_desk_acts_by_the_bridges_handoff_routes_with_the_frontends_token_and_no_others() {
    let (seen, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let bridge = Router::new().fallback(async move |request: Request<Body>| {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let path = head.uri.to_string();
        let bearer = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let _ = seen.send((format!("{} {path}", head.method), bearer.unwrap_or_default(), body.clone()));
        if path.contains("/c-none") {
            StatusCode::NOT_FOUND.into_response()
        } else {
            axum::Json(json!({"seen": body})).into_response()
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = axum::serve(listener, bridge).into_future();
    let router = router(settings(&url), client());
    let checks = async {
        let agent = json!({ "agent": { "id": "ada", "name": "Ada" } });
        let word = json!({ "conversation_id": "c-1", "role": "agent", "text": "Hello" });
        let desk = json!({ "open": false, "next_open": null });
        let put = Request::put("/demo/desk").header(header::CONTENT_TYPE, "application/json");
        for (request, expected, body) in [
            (
                post_json("/demo/desk/conversations/c-1/claim", &agent),
                "POST /v1/conversations/c-1/handoff/claim",
                &agent,
            ),
            (
                post_json("/demo/desk/conversations/a%2F..%3Fb/typing", &agent),
                "POST /v1/conversations/a%2F..%3Fb/handoff/typing",
                &agent,
            ),
            (post_json("/demo/desk/messages", &word), "POST /v1/messages", &word),
            (put.body(desk.to_string().into()).unwrap(), "PUT /v1/desk", &desk),
        ] {
            let (status, answer) = send(&router, request).await;
            assert_eq!((status, answer), (StatusCode::OK, json!({ "seen": body }).to_string()), "{expected}");
            let (path, bearer, given) = asked.recv().await.unwrap();
            assert_eq!((path.as_str(), bearer.as_str(), &given), (expected, "Bearer a-token-of-the-frontend", body));
        }
        for request in [
            post_json("/demo/desk/conversations/c-1/tokens", &json!({})),
            post_json("/demo/desk/conversations/%2E%2E/claim", &agent),
            post_json("/demo/desk/messages", &json!({ "conversation_id": "c-1", "role": "user", "text": "Hello" })),
        ] {
            assert!(send(&router, request).await.0.is_client_error());
        }
        assert!(asked.is_empty(), "none of these was asked");

        // A conversation with a token or in a callback is known; one that has not begun is not shown.
        let attributes = json!({ "name": "Maya", "plan": "Pro" });
        for id in ["c-1", "c-none"] {
            send(&router, post_json("/demo/token", &json!({ "conversation_id": id, "attributes": attributes }))).await;
        }
        let body = r#"{"type":"message.created","conversation_id":"c-2"}"#;
        send(&router, signed_callback("evt_1", secret(1), body)).await;
        let (_, listed) = send(&router, Request::get("/demo/desk").body(Body::empty()).unwrap()).await;
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let customers: Vec<&Value> =
            listed["conversations"].as_array().unwrap().iter().map(|each| &each["customer"]).collect();
        assert_eq!(customers, [&json!({ "name": null, "plan": null }), &attributes]);
        assert_eq!(listed["desk"], desk);
    };
    tokio::select! {
        _ = serving => unreachable!("it serves until it is dropped"),
        () = checks => {}
    }
}

#[tokio::test]
async fn missing_neighbours_are_told_and_not_fatal() {
    let router = demo();
    let (status, _) = send(&router, Request::get("/demo/fini/conversations").body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    let (status, body) = send(&router, Request::get("/demo/budget").body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    let figures: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(figures, json!({ "available": false, "ready": null, "watched": null, "sent": null, "read": null }));
}

#[tokio::test]
async fn tokens_are_for_one_conversation_and_a_quarter_of_an_hour() {
    let (status, body) =
        send(&demo(), post_json("/demo/token", &json!({ "conversation_id": "c-1", "user": "u" }))).await;
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_str(&body).unwrap();
    let now = NOW_MS / 1000;
    let key = settings(NOWHERE).browser_token_secret;
    let claims = token::verify(answer["token"].as_str().unwrap(), &key, now).unwrap();
    assert_eq!((claims.frontend.as_str(), claims.conversation_id.as_deref()), ("demo", Some("c-1")));
    assert_eq!((claims.sub.as_deref(), claims.exp - now), (Some("u"), 900));
    let expires_at = WallTime::from_millis(NOW_MS).point().plus(std::time::Duration::from_mins(15));
    assert_eq!(answer["expires_at"], expires_at.to_string());
    let (status, _) = send(&demo(), post_json("/demo/token", &json!({ "conversation_id": "" }))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_page_of_another_origin_and_a_foreign_name_get_nothing() {
    let router = guarded(demo(), "127.0.0.1:8080".parse().unwrap());
    let asked = async |host: &str, origin: Option<&str>| {
        let mut request = Request::post("/demo/token").header(header::HOST, host);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        send(&router, request.body(Body::empty()).unwrap()).await.0
    };
    assert_eq!(asked("evil.example", None).await, StatusCode::FORBIDDEN);
    assert_eq!(asked("127.0.0.1:8080", Some("https://evil.example")).await, StatusCode::FORBIDDEN);
    assert_ne!(asked("127.0.0.1:8080", Some("http://127.0.0.1:8080")).await, StatusCode::FORBIDDEN);
    assert_ne!(asked("localhost:8080", None).await, StatusCode::FORBIDDEN);
}
