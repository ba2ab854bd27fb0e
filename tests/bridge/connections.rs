//! What every answer carries, and what no request may.

use serde_json::json;

use crate::harness::{Setup, random_token, unique};

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
    for path in [
        "frontends/web/pause",
        "frontends/web/resume",
        "frontends/web/ping",
        "deliveries/none/retry",
        "deliveries/replay/none/pause",
        "deliveries/replay/none/resume",
        "deliveries/replay/none/cancel",
    ] {
        let act = bridge.admin("POST", &format!("/admin/v1/{path}"));
        let answer = act.json(&json!({"reson": "a test"})).send().await;
        answer.problem(422, "invalid_request");
        assert_eq!(named(&answer.json()), "reson", "{path}");
        assert!(answer.text.contains("`reason`"), "{path}: {}", answer.text);
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
async fn an_empty_list_is_an_object_without_members_as_php_writes_it() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let message =
        json!({"conversation_id": "c", "text": unique("Hello"), "metadata": [], "user": {"id": "u", "attributes": []}});
    bridge.post(&message).await.expect(202);
    for (path, body) in [
        ("/v1/conversations/c/tokens", json!([])),
        ("/v1/conversations/c/tokens", json!({"attributes": []})),
        ("/v1/users/u/tokens", json!([])),
        ("/v1/conversations/c/handoff", json!([])),
    ] {
        let answer = bridge.call("POST", path).json(&body).send().await;
        assert!(answer.status < 300, "{path} {body}: {}", answer.text);
    }
    bridge.admin("POST", "/admin/v1/frontends/web/resume").json(&json!([])).send().await.expect(200);
    let refused = bridge.call("POST", "/v1/conversations/c/tokens").json(&json!({"attributes": ["a"]})).send().await;
    refused.problem(422, "invalid_request");
    bridge.call("POST", "/v1/conversations/c/tokens").json(&json!(["a"])).send().await.problem(400, "invalid_json");
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
