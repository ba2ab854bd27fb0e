//! Browser tokens: one conversation, as its user, for at most an hour.

use serde_json::{Value, json};

use crate::harness::{Bridge, Frontend, Setup, browser_token, epoch_millis, epoch_seconds, random_token, unique};

pub fn claims(conversation: &str) -> Value {
    let now = epoch_seconds();
    json!({"iss": "fini-bridge", "frontend": "web", "conversation_id": conversation, "iat": now, "exp": now + 600})
}

pub fn own(bridge: &Bridge, claims: &Value) -> String {
    browser_token(bridge.web().browser_token_secret.as_ref().expect("configured"), claims)
}

/// The routes of a conversation that a browser may use, tried with a token.
pub async fn reads(bridge: &Bridge, conversation: &str, token: &str) -> Vec<u16> {
    let mut statuses = Vec::new();
    for path in ["", "/events", "/stream"] {
        let call = bridge.anonymous("GET", &format!("/v1/conversations/{conversation}{path}")).bearer(token);
        statuses.push(call.response().await.expect("an answer").status().as_u16());
    }
    statuses
}

#[tokio::test]
async fn the_bridge_mints_tokens() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let before = epoch_millis();
    let minted = bridge.call("POST", "/v1/conversations/c/tokens").send().await.expect(200).json();
    let keys: Vec<_> = minted.as_object().expect("an object").keys().cloned().collect();
    assert_eq!(keys, ["expires_at", "token"]);
    let expires: jiff::Timestamp = minted["expires_at"].as_str().expect("a time").parse().expect("RFC 3339");
    let life = expires.as_millisecond() - before;
    assert!((0..=3_602_000).contains(&life), "{life}");
    let token = minted["token"].as_str().expect("a token").to_owned();
    bridge.keep_private(&token);
    assert_eq!(reads(&bridge, "c", &token).await, [200; 3]);
    let body = json!({"conversation_id": "c", "message_id": "b-1", "text": unique("From the browser")});
    bridge.remember("web", &body);
    bridge.anonymous("POST", "/v1/messages").bearer(&token).json(&body).send().await.expect(202);
    bridge.end_of("c", "b-1").await;
    bridge.finish().await;
}

#[tokio::test]
async fn the_customers_backend_mints_tokens_too() {
    let mut bridge = Setup::new().start().await;
    let mut claims = claims("c");
    claims["sub"] = json!("u-9");
    let token = own(&bridge, &claims);
    bridge.keep_private(&token);
    let text = unique("The first word comes from the browser");
    let body = json!({"conversation_id": "c", "message_id": "b-1", "text": text, "user": {"id": "u-9"}});
    bridge.remember("web", &body);
    bridge.anonymous("POST", "/v1/messages").bearer(&token).json(&body).send().await.expect(202);
    bridge.end_of("c", "b-1").await;
    assert_eq!(reads(&bridge, "c", &token).await, [200; 3]);
    let id = bridge.bound("c").await;
    let stored = bridge.sandbox.conversation(&id).expect("it exists");
    assert_eq!(stored.user_attributes["user_id"], "u-9", "the token says who speaks, not the page");
    bridge.finish().await;
}

#[tokio::test]
async fn a_token_opens_one_conversation_and_nothing_else() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.turn("d", "Where is mine?").await;
    let token = own(&bridge, &claims("c"));
    assert_eq!(reads(&bridge, "d", &token).await, [403; 3]);
    assert_eq!(reads(&bridge, "never-heard-of", &token).await, [403; 3]);
    let call = |method: &str, path: &str| bridge.anonymous(method, path).bearer(&token);
    call("POST", "/v1/messages")
        .json(&json!({"conversation_id": "d", "text": "t"}))
        .send()
        .await
        .problem(403, "forbidden");
    for role in ["agent", "otherbot"] {
        let body = json!({"conversation_id": "c", "text": "t", "role": role});
        call("POST", "/v1/messages").json(&body).send().await.problem(403, "forbidden");
    }
    call("POST", "/v1/conversations/c/tokens").send().await.problem(403, "forbidden");
    call("DELETE", "/v1/conversations/c").send().await.problem(403, "forbidden");
    call("DELETE", "/v1/conversations/c?upstream=true").send().await.problem(403, "forbidden");
    bridge.call("GET", "/v1/conversations/c").send().await.expect(200);
    bridge.finish().await;
}

#[tokio::test]
async fn tokens_that_are_no_tokens() {
    let mut bridge =
        Setup::new().frontend(Frontend { browser_token_secret: None, ..Frontend::new("desk") }).start().await;
    bridge.turn("c", "Where is my order?").await;
    let secret = bridge.web().browser_token_secret.clone().expect("configured");
    let now = epoch_seconds();
    let with = |name: &str, value: Value| {
        let mut changed = claims("c");
        changed[name] = value;
        own(&bridge, &changed)
    };
    let without = |name: &str| {
        let mut changed = claims("c");
        changed.as_object_mut().expect("an object").remove(name);
        own(&bridge, &changed)
    };
    let header = |header: Value, secret: &str| crate::harness::with_header(&header, secret, &claims("c"));
    let good = own(&bridge, &claims("c"));
    let parts: Vec<&str> = good.split('.').collect();
    let mut wider = claims("d");
    wider["exp"] = json!(now + 3000);
    let other_claims = browser_token(&random_token(), &wider);
    let swapped = format!("{}.{}.{}", parts[0], other_claims.split('.').nth(1).expect("three parts"), parts[2]);
    let mut lasting = claims("c");
    lasting["iat"] = json!(now);
    lasting["exp"] = json!(now + 3601);
    let mut over = claims("c");
    over["iat"] = json!(now - 3000);
    over["exp"] = json!(now - 90);
    let tokens = [
        ("expired", own(&bridge, &over)),
        ("longer than an hour", own(&bridge, &lasting)),
        ("no end", without("exp")),
        ("no beginning", without("iat")),
        ("no issuer", without("iss")),
        ("no conversation", without("conversation_id")),
        ("no frontend", without("frontend")),
        ("another issuer", with("iss", json!("somebody"))),
        ("another frontend", with("frontend", json!("desk"))),
        ("unknown frontend", with("frontend", json!("nobody"))),
        ("from the future", with("iat", json!(now + 500))),
        ("end as a text", with("exp", json!((now + 600).to_string()))),
        ("another secret", browser_token(&random_token(), &claims("c"))),
        ("a bearer token as the secret", browser_token(&bridge.web().tokens[0], &claims("c"))),
        ("no algorithm", header(json!({"alg": "none", "typ": "JWT"}), &secret)),
        ("another algorithm", header(json!({"alg": "HS512", "typ": "JWT"}), &secret)),
        ("unsigned", format!("{}.{}.", parts[0], parts[1])),
        ("claims exchanged", swapped),
    ];
    for (what, token) in tokens {
        let statuses = reads(&bridge, "c", &token).await;
        assert_eq!(statuses, [401; 3], "{what}");
    }
    assert_eq!(reads(&bridge, "c", &good).await, [200; 3]);
    // A frontend without the secret has no browser tokens at all.
    let desk = bridge.frontends[1].tokens[0].clone();
    let refused = bridge.anonymous("POST", "/v1/conversations/c/tokens").bearer(&desk).send().await;
    assert!((400..500).contains(&refused.status), "{}", refused.text);
    bridge.finish().await;
}

#[tokio::test]
async fn a_token_may_be_bound_to_origins() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let mut claims = claims("c");
    claims["origins"] = json!(["https://www.example.com", "https://app.example.com"]);
    let token = own(&bridge, &claims);
    let get = || bridge.anonymous("GET", "/v1/conversations/c").bearer(&token);
    get().header("origin", "https://app.example.com").send().await.expect(200);
    get().header("origin", "https://evil.example").send().await.problem(403, "forbidden");
    get().send().await.problem(403, "forbidden");
    bridge.finish().await;
}

#[tokio::test]
async fn only_streams_take_the_token_from_the_address() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let token = own(&bridge, &claims("c"));
    bridge.keep_private(&token);
    let at = |path: &str| bridge.anonymous("GET", &format!("/v1/conversations/c{path}?access_token={token}"));
    for path in ["", "/events"] {
        at(path).send().await.problem(401, "unauthorized");
    }
    let mut stream = crate::harness::Stream::open(at("/stream")).await;
    assert_eq!(stream.next().await.expect("an event").id, "1");
    let other = bridge.anonymous("GET", &format!("/v1/conversations/d/stream?access_token={token}"));
    other.send().await.problem(403, "forbidden");
    drop(stream);
    bridge.finish().await;
}
