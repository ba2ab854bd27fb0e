//! Who may call: bearer tokens and signed requests of a frontend's backend, and what of another frontend they see.

use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::harness::{Bridge, Call, Frontend, Setup, epoch_seconds, random_secret, random_token, unique};

fn message(text: &str) -> Value {
    json!({"conversation_id": "c", "message_id": "m-1", "text": text})
}

/// Signs a call as the reference library does.
pub fn signed(call: Call, secret: &str, id: &str, timestamp: i64, body: &str) -> Call {
    let signature = Webhook::new(secret).expect("a valid secret").sign(id, timestamp, body.as_bytes());
    call.header("webhook-id", id)
        .header("webhook-timestamp", &timestamp.to_string())
        .header("webhook-signature", &signature.expect("UTF-8"))
}

pub fn post(bridge: &Bridge, body: &Value) -> Call {
    bridge.anonymous("POST", "/v1/messages").json(body)
}

#[tokio::test]
async fn without_valid_credentials_nothing_is_told() {
    let bridge = Setup::new().start().await;
    let token = bridge.web().tokens[0].clone();
    let routes = [
        ("POST", "/v1/messages"),
        ("GET", "/v1/conversations/c"),
        ("GET", "/v1/conversations/c/events"),
        ("GET", "/v1/conversations/c/stream"),
        ("POST", "/v1/conversations/c/tokens"),
        ("DELETE", "/v1/conversations/c"),
    ];
    for (method, path) in routes {
        let call = || bridge.anonymous(method, path).header("content-type", "application/json");
        let attempts = [
            call(),
            call().bearer(""),
            call().bearer(&random_token()),
            call().bearer(&token[..token.len() - 1]),
            call().bearer(&format!("{token}x")),
            call().bearer(&token.to_lowercase()),
            call().header("authorization", &token),
            call().header("authorization", &format!("Basic {token}")),
            call().bearer("a.b.c"),
        ];
        for attempt in attempts {
            let answer = attempt.send().await;
            answer.problem(401, "unauthorized");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
        }
    }
    // A caller without credentials is not told what is wrong with its body either.
    post(&bridge, &json!({})).send().await.problem(401, "unauthorized");
    bridge.finish().await;
}

#[tokio::test]
async fn every_token_of_a_frontend_is_good() {
    let mut bridge = Setup::new().web(|web| web.tokens.push(random_token())).start().await;
    let second = bridge.web().tokens[1].clone();
    let body = message(&unique("Where is my order?"));
    bridge.remember("web", &body);
    post(&bridge, &body).bearer(&second).send().await.expect(202);
    let lower = post(&bridge, &body).header("authorization", &format!("bearer {second}"));
    assert_eq!(lower.send().await.expect(202).json()["duplicate"], true, "the scheme's name has no case (RFC 9110)");
    bridge.finish().await;
}

#[tokio::test]
async fn a_signature_proves_the_message_that_it_was_made_for_and_opens_nothing_else() {
    let mut bridge = Setup::new().web(|web| web.signing_secrets.push(random_secret())).start().await;
    let secrets = bridge.web().signing_secrets.clone();
    let body = message(&unique("Where is my order?"));
    bridge.remember("web", &body);
    for secret in &secrets {
        let call = signed(post(&bridge, &body), secret, "req_1", epoch_seconds(), &body.to_string());
        call.send().await.expect(202);
    }
    for (method, path) in [
        ("GET", "/v1/conversations/c"),
        ("GET", "/v1/conversations/c/events"),
        ("GET", "/v1/conversations/c/stream"),
        ("POST", "/v1/conversations/c/tokens"),
        ("DELETE", "/v1/conversations/c?upstream=true"),
    ] {
        let call = bridge.anonymous(method, path).header("content-type", "application/json");
        signed(call, &secrets[0], "req_2", epoch_seconds(), "").send().await.problem(401, "unauthorized");
    }
    bridge.conversation("c").await;
    bridge.finish().await;
}

#[tokio::test]
async fn a_captured_signed_message_without_an_id_of_its_own_is_one_message_however_often_it_is_replayed() {
    let mut bridge = Setup::new().start().await;
    let secret = bridge.web().signing_secrets[0].clone();
    let text = unique("Where is my order?");
    let body = json!({"conversation_id": "c", "text": text});
    bridge.remember("web", &json!({"conversation_id": "c", "message_id": "msg_1", "text": text}));
    let now = epoch_seconds();
    let first = signed(post(&bridge, &body), &secret, "msg_1", now, &body.to_string()).send().await.expect(202).json();
    assert_eq!((first["message_id"].as_str(), first["duplicate"].as_bool()), (Some("msg_1"), Some(false)));
    let replay =
        signed(post(&bridge, &body), &secret, "msg_1", now, &body.to_string()).header("idempotency-key", "other");
    let again = replay.send().await.expect(202).json();
    assert_eq!((again["message_id"].as_str(), again["duplicate"].as_bool()), (Some("msg_1"), Some(true)));
    bridge.finish().await;
}

#[tokio::test]
async fn a_signature_must_be_right_in_every_part() {
    let bridge = Setup::new().start().await;
    let secret = bridge.web().signing_secrets[0].clone();
    let (body, now) = (message(&unique("Where is my order?")), epoch_seconds());
    let (text, call) = (body.to_string(), || post(&bridge, &body));
    let good = || signed(call(), &secret, "req_1", now, &text);
    let attempts = [
        ("another secret", signed(call(), &random_secret(), "req_1", now, &text)),
        ("a callback secret", signed(call(), &bridge.web().callback_secrets[0], "req_1", now, &text)),
        ("another body", signed(call(), &secret, "req_1", now, &format!("{text} "))),
        ("another id", good().header("webhook-id", "req_2")),
        ("another time", good().header("webhook-timestamp", &(now + 1).to_string())),
        ("too old", signed(call(), &secret, "req_1", now - 310, &text)),
        ("too new", signed(call(), &secret, "req_1", now + 70, &text)),
        ("no id", good().without("webhook-id")),
        ("no time", good().without("webhook-timestamp")),
        ("no signature", good().without("webhook-signature")),
        ("no version", good().header("webhook-signature", "c2lnbmF0dXJl")),
        ("nothing", good().header("webhook-signature", "")),
        ("no number", good().header("webhook-timestamp", "soon")),
    ];
    for (what, attempt) in attempts {
        let answer = attempt.send().await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text);
        answer.problem(401, "unauthorized");
    }
    bridge.call("GET", "/v1/conversations/c").send().await.problem(404, "not_found");
    bridge.finish().await;
}

#[tokio::test]
async fn a_signature_of_the_last_five_minutes_is_good() {
    let mut bridge = Setup::new().start().await;
    let secret = bridge.web().signing_secrets[0].clone();
    let body = message(&unique("Where is my order?"));
    bridge.remember("web", &body);
    for offset in [-290, 50] {
        let call = signed(post(&bridge, &body), &secret, "req_1", epoch_seconds() + offset, &body.to_string());
        call.send().await.expect(202);
    }
    // Several signatures may stand side by side while secrets rotate.
    let now = epoch_seconds();
    let call = signed(post(&bridge, &body), &secret, "req_1", now, &body.to_string());
    let own = Webhook::new(&secret).expect("valid").sign("req_1", now, body.to_string().as_bytes()).expect("UTF-8");
    call.header("webhook-signature", &format!("v1,bm90IHRoaXMgb25l {own} v9,future")).send().await.expect(202);
    bridge.finish().await;
}

#[tokio::test]
async fn a_frontend_sees_only_its_own_conversations() {
    let mut bridge = Setup::new().frontend(Frontend::new("desk")).start().await;
    bridge.turn("c", "Where is my order?").await;
    let desk = bridge.frontends[1].tokens[0].clone();
    for (method, path) in [
        ("GET", "/v1/conversations/c"),
        ("GET", "/v1/conversations/c/events"),
        ("GET", "/v1/conversations/c/stream"),
        ("DELETE", "/v1/conversations/c"),
        ("DELETE", "/v1/conversations/c?upstream=true"),
    ] {
        bridge.anonymous(method, path).bearer(&desk).send().await.problem(404, "not_found");
    }
    bridge.call("GET", "/v1/conversations/c").send().await.expect(200);
    // The same id is another conversation there, with numbers and a Fini conversation of its own.
    let body = message(&unique("The desk has its own"));
    bridge.remember("desk", &body);
    let answer = post(&bridge, &body).bearer(&desk).send().await.expect(202).json();
    assert_eq!(answer["duplicate"], false);
    let call = bridge.anonymous("GET", "/v1/conversations/c/events").bearer(&desk);
    assert_eq!(call.send().await.expect(200).json()["events"][0]["sequence"], 1);
    bridge.finish().await;
}

#[tokio::test]
async fn pages_of_listed_origins_may_call_and_no_others() {
    let origin = "https://www.example.com";
    let bridge = Setup::new().set("server.cors_origins", &format!("[{origin:?}]")).start().await;
    let preflight = |from: &str| {
        let call = bridge.anonymous("OPTIONS", "/v1/messages").header("origin", from);
        call.header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,idempotency-key")
    };
    let answer = preflight(origin).send().await;
    assert_eq!(answer.header("access-control-allow-origin"), origin);
    let allowed = answer.header("access-control-allow-headers").to_lowercase();
    for header in ["authorization", "content-type", "idempotency-key"] {
        assert!(allowed.contains(header), "{allowed}");
    }
    for other in ["https://example.com", "http://www.example.com", "https://www.example.com.evil.example", "null"] {
        assert_eq!(preflight(other).send().await.header("access-control-allow-origin"), "");
    }
    let refused = bridge.anonymous("GET", "/v1/conversations/c").header("origin", origin).send().await;
    refused.problem(401, "unauthorized");
    assert_eq!(refused.header("access-control-allow-origin"), origin, "a page may read why it was refused");
    bridge.finish().await;
}
