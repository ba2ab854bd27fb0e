//! What operators have: health, metrics, the log and the admin API.

use serde_json::{Value, json};

use crate::harness::{Reply, Setup, eventually, random_token, unique};

#[tokio::test]
async fn a_healthy_bridge_says_so() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.admin("GET", "/healthz").send().await.expect(200);
    let readiness = bridge.admin("GET", "/readyz").send().await.expect(200).json();
    assert_eq!(readiness["ready"], true);
    let checks = readiness["checks"].as_object().expect("each check");
    assert!(checks.len() >= 3, "{readiness}");
    assert!(checks.values().all(|check| check["ok"] == true), "{readiness}");
    bridge.finish().await;
}

#[tokio::test]
async fn every_metric_is_there_from_the_start() {
    let bridge = Setup::new().start().await;
    let answer = bridge.admin("GET", "/metrics").send().await.expect(200);
    let kind = answer.header("content-type");
    assert!(kind.starts_with("text/plain") || kind.starts_with("application/openmetrics-text"), "{kind}");
    for sample in [
        "fini_bridge_messages_accepted_total{frontend=\"web\"} 0",
        "fini_bridge_turns_total{frontend=\"web\",outcome=\"answered\"} 0",
        "fini_bridge_turns_total{frontend=\"web\",outcome=\"unclear_outcome\"} 0",
        "fini_bridge_turn_duration_seconds_count 0",
        "fini_bridge_fini_requests_total{route=\"generate_answer\",status=\"200\"} 0",
        "fini_bridge_fini_request_duration_seconds_count{route=\"generate_answer\"} 0",
        "fini_bridge_fini_budget_used ",
        "fini_bridge_fini_budget_limit ",
        "fini_bridge_event_lag_seconds_count 0",
        "fini_bridge_deliveries_total{frontend=\"web\",destination=\"main\",outcome=\"delivered\"} 0",
        "fini_bridge_delivery_latency_seconds_count 0",
        "fini_bridge_backlog{kind=\"deliveries\"} 0",
        "fini_bridge_backlog{kind=\"turns\"} 0",
        "fini_bridge_oldest_due_seconds{kind=\"turns\"} 0",
        "fini_bridge_watched_conversations 0",
        "fini_bridge_cache_hits_total 0",
        "fini_bridge_cache_misses_total 0",
    ] {
        let found = answer.text.lines().any(|line| line.starts_with(sample));
        assert!(found, "{sample} is missing in\n{}", answer.text);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn metrics_count_what_happens() {
    let mut bridge = Setup::new().start().await;
    bridge.receiver.script([Reply::Status(500)]);
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    bridge.turn("c", "no reply, please").await;
    bridge.turn("c", "no reply, please").await;
    bridge.receiver.wait_for("c", "turn.completed").await;
    let at_least = |sample: &'static str, least: f64| {
        let bridge = &bridge;
        async move {
            eventually(&format!("{sample} to be at least {least}"), async || {
                bridge.metric(sample).await.filter(|value| *value >= least)
            })
            .await
        }
    };
    assert!((at_least("fini_bridge_messages_accepted_total{frontend=\"web\"}", 3.0).await - 3.0).abs() < 0.1);
    at_least("fini_bridge_turns_total{frontend=\"web\",outcome=\"answered\"}", 1.0).await;
    at_least("fini_bridge_turns_total{frontend=\"web\",outcome=\"no_reply\"}", 1.0).await;
    at_least("fini_bridge_turn_duration_seconds_count", 2.0).await;
    at_least("fini_bridge_fini_requests_total{route=\"generate_answer\",status=\"200\"}", 2.0).await;
    at_least("fini_bridge_fini_request_duration_seconds_count{route=\"list_conversations\"}", 1.0).await;
    at_least("fini_bridge_event_lag_seconds_count", 1.0).await;
    at_least("fini_bridge_deliveries_total{frontend=\"web\",destination=\"main\",outcome=\"delivered\"}", 3.0).await;
    at_least("fini_bridge_deliveries_total{frontend=\"web\",destination=\"main\",outcome=\"retried\"}", 1.0).await;
    at_least("fini_bridge_delivery_latency_seconds_count", 3.0).await;
    at_least("fini_bridge_watched_conversations", 1.0).await;
    at_least("fini_bridge_cache_hits_total", 1.0).await;
    bridge.finish().await;
}

#[tokio::test]
async fn labels_are_closed_sets() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("a-conversation-of-its-own", "Where is my order?").await;
    for n in 0..50 {
        bridge.call("GET", &format!("/v1/conversations/unknown-{n}/events")).send().await;
        bridge.call("GET", &format!("/no/such/path/{n}")).send().await;
        bridge.call("BREW", &format!("/no/such/{n}")).send().await;
    }
    let text = bridge.metrics().await;
    for needle in ["unknown-", "/no/such", "BREW", "a-conversation-of-its-own"] {
        assert!(!text.contains(needle), "{needle} has become a label");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn the_log_follows_a_message_from_the_request_to_its_delivery() {
    let mut bridge = Setup::new().start().await;
    let text = unique("Where is my order?");
    let body = json!({"conversation_id": "c", "message_id": "m-1", "text": text});
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let call = bridge.message(&body).header("x-request-id", "req-of-the-test");
    call.header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01")).send().await.expect(202);
    let interaction = bridge.bound("c").await;
    let callback = bridge.receiver.wait_for("c", "turn.completed").await;
    let find = |what: &'static str, wanted: &dyn Fn(&Value) -> bool| {
        bridge.log().into_iter().find(|line| wanted(line)).unwrap_or_else(|| panic!("no line for {what}"))
    };
    let request = find("the request", &|line| line["request_id"] == "req-of-the-test");
    for (field, value) in [
        ("frontend", json!("web")),
        ("conversation_id", json!("c")),
        ("status", json!(202)),
        ("trace_id", json!(trace)),
    ] {
        assert_eq!(request[field], value, "{request}");
    }
    assert!(request["duration_ms"].is_u64(), "{request}");
    let sent = find("the send", &|line| line["route"] == "generate_answer");
    assert_eq!(
        (&sent["conversation_id"], &sent["message_id"], &sent["attempt"]),
        (&json!("c"), &json!("m-1"), &json!(1))
    );
    assert_eq!((&sent["frontend"], &sent["status"]), (&json!("web"), &json!(200)));
    find("the binding", &|line| line["interaction_id"] == interaction.as_str() && line["conversation_id"] == "c");
    let delivered = eventually("the delivery in the log", async || {
        bridge.log().into_iter().find(|line| line["event_id"] == callback.id())
    })
    .await;
    for (field, value) in [
        ("frontend", json!("web")),
        ("conversation_id", json!("c")),
        ("sequence", json!(callback.sequence())),
        ("attempt", json!(1)),
        ("status", json!(200)),
    ] {
        assert_eq!(delivered[field], value, "{delivered}");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn the_log_keeps_to_one_line_whatever_callers_send() {
    let mut bridge = Setup::new().start().await;
    let secret = random_token();
    bridge.keep_private(&secret);
    let injected = "x\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}\u{1b}[31m";
    bridge.call("GET", &format!("/v1/conversations/{}", urlencode(injected))).send().await;
    bridge
        .call("GET", &format!("/v1/conversations/c/stream?access_token={secret}"))
        .without("authorization")
        .send()
        .await;
    bridge.call("POST", "/v1/messages").json(&json!({"conversation_id": injected, "text": injected})).send().await;
    bridge.anonymous("GET", "/v1/conversations/c").bearer(&secret).send().await;
    bridge.anonymous("GET", &format!("/{secret}")).send().await;
    bridge.call("GET", "/v1/conversations/c").header("user-agent", &secret).header("cookie", &secret).send().await;
    bridge.message(&json!({"conversation_id": "c", "message_id": "m-1", "text": injected})).send().await.expect(202);
    bridge.end_of("c", "m-1").await;
    assert!(!bridge.log().iter().any(|line| line["message"] == "forged"));
    bridge.finish().await;
}

fn urlencode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn texts_are_logged_only_on_request() {
    // The final check looks for every text in the log; this test would not end well if content were on by default.
    let mut bridge = Setup::new().set("log.level", "\"trace\"").start().await;
    bridge.turn("c", "My card number is 4111 1111 1111 1111").await;
    let interaction = bridge.bound("c").await;
    let text = unique("The agent says something private");
    bridge.sandbox.agent_message(&interaction, &text).expect("it exists");
    bridge.event("c", "the agent", |event| event["data"]["message"]["text"] == text.as_str()).await;
    bridge.receiver.script([Reply::Status(500)]);
    bridge.turn("c", "Something else that is private").await;
    bridge.finish().await;
}

#[tokio::test]
async fn the_admin_api_has_a_token_of_its_own() {
    let token = random_token();
    let mut bridge = Setup::new().set("admin.token", &format!("{token:?}")).start().await;
    bridge.keep_private(&token);
    let routes = [
        ("GET", "deliveries"),
        ("POST", "deliveries/retry"),
        ("POST", "deliveries/x/retry"),
        ("POST", "frontends/web/pause"),
        ("POST", "frontends/web/resume"),
        ("POST", "frontends/web/ping"),
        ("GET", "conversations/web/c"),
        ("POST", "conversations/web/c/bind"),
        ("GET", "budget"),
    ];
    for (method, path) in routes {
        let call = || bridge.admin(method, &format!("/admin/v1/{path}"));
        call().send().await.problem(401, "unauthorized");
        call().bearer(&random_token()).send().await.problem(401, "unauthorized");
        call().bearer(&bridge.web().tokens[0]).send().await.problem(401, "unauthorized");
        assert_ne!(call().bearer(&token).send().await.status, 401, "{path}");
    }
    // What probes and Prometheus read needs none.
    for path in ["/healthz", "/readyz", "/metrics"] {
        bridge.admin("GET", path).send().await.expect(200);
    }
    bridge.stop().await;
    bridge.restart_with(|setup| setup.set("admin.token", "\"\"")).await;
    bridge.finish().await;
}

#[tokio::test]
async fn the_public_listener_has_no_admin_routes_and_the_other_way_round() {
    let bridge = Setup::new().start().await;
    for path in ["/readyz", "/metrics", "/admin/v1/budget", "/admin/v1/deliveries"] {
        bridge.call("GET", path).send().await.problem(404, "not_found");
    }
    let inside = bridge.admin("GET", "/v1/conversations/c").bearer(&bridge.web().tokens[0]).send().await;
    inside.problem(404, "not_found");
    bridge.finish().await;
}

#[tokio::test]
async fn deliveries_are_listed_filtered_and_paged() {
    let mut bridge = Setup::new().start().await;
    for conversation in ["c", "d"] {
        bridge.turn(conversation, "Where is my order? Say it twice").await;
        bridge.receiver.wait_for(conversation, "turn.completed").await;
    }
    let all = eventually("all deliveries", async || {
        Some(bridge.deliveries("state=delivered").await).filter(|all| all.len() >= 6)
    })
    .await;
    assert!(all.iter().all(|one| one["state"] == "delivered" && one["delivered_at"].is_string()));
    let of_c = bridge.deliveries("frontend=web&conversation_id=c").await;
    assert!(!of_c.is_empty() && of_c.iter().all(|one| one["conversation_id"] == "c"), "{of_c:?}");
    assert!(bridge.deliveries("frontend=nobody").await.is_empty());
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/admin/v1/deliveries?limit=2{cursor}");
        let page = bridge.admin("GET", &path).send().await.expect(200).json();
        let keys: Vec<_> = page.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(keys, ["deliveries", "next_cursor"]);
        let found = page["deliveries"].as_array().expect("a list").clone();
        assert!(found.len() <= 2);
        paged.extend(found);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", urlencode(next)),
            None => break,
        }
    }
    let ids = |list: &[Value]| {
        let mut ids: Vec<String> = list.iter().map(|one| one["id"].to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&paged), ids(&bridge.deliveries("").await), "each once");
    for query in ["state=lost", "limit=x", "colour=red"] {
        let answer = bridge.admin("GET", &format!("/admin/v1/deliveries?{query}")).send().await;
        assert!((400..500).contains(&answer.status), "{query}: {}", answer.text);
    }
    bridge.admin("POST", "/admin/v1/deliveries/nothing/retry").send().await.problem(404, "not_found");
    bridge.finish().await;
}

#[tokio::test]
async fn a_conversation_is_shown_without_texts_unless_asked() {
    let mut bridge = Setup::new().start().await;
    let (id, text) = bridge.say("c", "My secret order").await;
    bridge.end_of("c", &id).await;
    let interaction = bridge.bound("c").await;
    let path = "/admin/v1/conversations/web/c";
    let view = bridge.admin("GET", path).send().await.expect(200);
    assert!(!view.text.contains(&text));
    let view = view.json();
    assert_eq!((&view["state"], &view["interaction_id"]), (&json!("open"), &json!(interaction)));
    assert_eq!(view["last_sequence"], bridge.events("c").await.len());
    let whole = bridge.admin("GET", &format!("{path}?content=true")).send().await.expect(200).text;
    assert!(whole.contains(&text));
    for unknown in ["/admin/v1/conversations/web/d", "/admin/v1/conversations/nobody/c"] {
        bridge.admin("GET", unknown).send().await.problem(404, "not_found");
    }
    bridge.finish().await;
}
