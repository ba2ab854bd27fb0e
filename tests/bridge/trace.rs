//! Correlation: what a message's request said of itself goes on to Fini and to the callbacks that the message causes.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::harness::{Bridge, Reply, Setup, database, eventually, unique, within};
use fini_bridge::sandbox::{RequestRecord, Route};

const SPAN: &str = "00f067aa0ba902b7";

/// A trace nobody else has, and the header that tells it.
fn new_trace() -> (String, String) {
    let trace = format!("{:032x}", fastrand::u128(1..));
    (trace.clone(), format!("00-{trace}-{SPAN}-01"))
}

/// The span of a `traceparent` of this trace, which must be neither the caller's nor another flag's.
fn span_in(trace: &str, traceparent: &str) -> String {
    let parts: Vec<&str> = traceparent.split('-').collect();
    let [version, id, span, flags] = parts[..] else { panic!("not a traceparent: {traceparent:?}") };
    assert_eq!((version, id, flags), ("00", trace, "01"), "{traceparent}");
    assert!(span.len() == 16 && span != SPAN && span != "0".repeat(16), "{traceparent}");
    span.to_owned()
}

/// Posts a text with these headers; gives the message's id and the id that the answer gave the request.
async fn post(bridge: &mut Bridge, conversation: &str, text: &str, headers: &[(&str, &str)]) -> (String, String) {
    let id = unique("m").replace(' ', "-");
    let body = json!({"conversation_id": conversation, "message_id": id, "text": unique(text)});
    let call = headers.iter().fold(bridge.message(&body), |call, (name, value)| call.header(name, value));
    let answer = call.send().await.expect(202);
    (id, answer.header("x-request-id").to_owned())
}

/// What the vendor was asked by this route, oldest first.
fn asked(bridge: &Bridge, route: Route) -> Vec<RequestRecord> {
    bridge.sandbox.audit(1_000, false).latest.into_iter().filter(|request| request.route == route).collect()
}

/// The lines of this message that name this request.
fn lines(bridge: &Bridge, message: &str, request: &str) -> Vec<Value> {
    let of = |line: &Value| line["message"] == message && line["request_id"] == request;
    bridge.log().into_iter().filter(of).collect()
}

#[tokio::test]
async fn a_message_is_followed_from_its_request_to_fini_and_to_its_callbacks() {
    let mut bridge = Setup::new().start().await;
    let (trace, header) = new_trace();
    bridge.receiver.script([Reply::Status(503)]);
    let headers = [("x-request-id", "order-desk:17"), ("traceparent", header.as_str()), ("tracestate", "other=1")];
    let (id, request) = post(&mut bridge, "c", "Where is my order?", &headers).await;
    assert_eq!(request, "order-desk:17");
    bridge.end_of("c", &id).await;
    bridge.receiver.wait_for("c", "turn.completed").await;

    let mut spans = BTreeSet::new();
    let sent = asked(&bridge, Route::GenerateAnswer);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].told.request_id.as_deref(), Some("order-desk:17"));
    spans.insert(span_in(&trace, sent[0].told.traceparent.as_deref().expect("the send is part of the trace")));
    let attempts = bridge.receiver.of("c");
    assert_eq!(attempts.len(), 3, "the reply twice, the end once");
    for attempt in &attempts {
        assert_eq!(attempt.header("x-request-id"), "order-desk:17", "{}", attempt.kind());
        assert!(!attempt.headers.contains_key("tracestate"), "{}", attempt.kind());
        spans.insert(span_in(&trace, attempt.header("traceparent")));
    }
    assert_eq!(attempts[0].body, attempts[1].body, "only headers differ");
    assert_eq!(spans.len(), 4, "each request is a span of its own");

    for message in ["request", "fini request", "turn completed", "callback failed", "callback delivered"] {
        let lines = lines(&bridge, message, "order-desk:17");
        assert!(!lines.is_empty(), "{message:?} names the request");
        assert!(lines.iter().all(|line| line["trace_id"] == trace.as_str()), "{lines:?}");
    }
    // Sweeps are nobody's request.
    bridge.bound("c").await;
    let lists = asked(&bridge, Route::List);
    assert!(!lists.is_empty());
    assert!(lists.iter().all(|list| list.told.request_id.is_none() && list.told.traceparent.is_none()));
    bridge.finish().await;
}

#[tokio::test]
async fn no_trace_is_begun_where_none_came_in() {
    let mut bridge = Setup::new().start().await;
    let (trace, valid) = new_trace();
    let upper = valid.to_uppercase();
    for given in [None, Some("00-0-0-0"), Some(upper.as_str())] {
        let headers: Vec<_> = given.map(|given| ("traceparent", given)).into_iter().collect();
        let conversation = unique("c").replace(' ', "-");
        let (id, request) = post(&mut bridge, &conversation, "Where is my order?", &headers).await;
        assert!(request.starts_with("req_"), "{request}");
        bridge.end_of(&conversation, &id).await;
        let end = bridge.receiver.wait_for(&conversation, "turn.completed").await;
        assert_eq!(end.header("x-request-id"), request);
        assert!(!end.headers.contains_key("traceparent"), "{given:?}");
        let sent = asked(&bridge, Route::GenerateAnswer).pop().expect("it was sent");
        assert_eq!((sent.told.request_id, sent.told.traceparent), (Some(request), None), "{given:?}");
    }
    // What an agent writes later belongs to no request of the frontend.
    let headers = [("traceparent", valid.as_str())];
    let (id, _) = post(&mut bridge, "c", "Where is my order?", &headers).await;
    bridge.end_of("c", &id).await;
    let interaction = bridge.bound("c").await;
    span_in(&trace, bridge.receiver.wait_for("c", "turn.completed").await.header("traceparent"));
    let said = bridge.sandbox.agent_message(&interaction, "Ada here, how can I help?").expect("it exists").id.clone();
    let callback = eventually("the agent's message to be delivered", async || {
        bridge.receiver.of("c").into_iter().find(|one| one.event["data"]["message"]["id"] == said.as_str())
    })
    .await;
    for name in ["x-request-id", "traceparent"] {
        assert!(!callback.headers.contains_key(name), "{name}");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn a_killed_bridge_goes_on_with_the_same_trace() {
    // No sweep finds the reply before the lookup does.
    let mut bridge = Setup::new().set("poll.sweep_interval", "\"60s\"").start().await;
    bridge.turn("c", "Hello").await;
    bridge.bound("c").await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 1_000);
    let ((first, first_header), (second, second_header)) = (new_trace(), new_trace());
    let headers = [("x-request-id", "first"), ("traceparent", first_header.as_str())];
    let (one, _) = post(&mut bridge, "c", "This is under way", &headers).await;
    let headers = [("x-request-id", "second"), ("traceparent", second_header.as_str())];
    let (two, _) = post(&mut bridge, "c", "And this waits", &headers).await;
    eventually("the first to be under way", async || (asked(&bridge, Route::GenerateAnswer).len() == 2).then_some(()))
        .await;
    bridge.kill9().await;
    bridge.restart().await;
    for id in [&one, &two] {
        assert_eq!(bridge.end_of("c", id).await["data"]["outcome"], "answered");
    }

    // The first was read back, not sent again; the second was sent by the new process.
    let told = |route, request: &str| -> Vec<String> {
        let of = |asked: &RequestRecord| asked.told.request_id.as_deref() == Some(request);
        let all = asked(&bridge, route).into_iter().filter(of);
        all.map(|asked| asked.told.traceparent.expect("a trace")).collect()
    };
    let (sent, read) = (told(Route::GenerateAnswer, "first"), told(Route::Get, "first"));
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(!read.is_empty(), "its lookup names its request");
    let spans: BTreeSet<_> = sent.iter().chain(&read).map(|traceparent| span_in(&first, traceparent)).collect();
    assert_eq!(spans.len(), 1 + read.len());
    let sent = told(Route::GenerateAnswer, "second");
    assert_eq!(sent.len(), 1);
    span_in(&second, &sent[0]);
    for (id, trace, request) in [(one, &first, "first"), (two, &second, "second")] {
        let end = eventually("its end to be delivered", async || {
            bridge.receiver.of("c").into_iter().find(|one| one.event["data"]["message_id"] == id.as_str())
        })
        .await;
        assert_eq!(end.header("x-request-id"), request);
        span_in(trace, end.header("traceparent"));
        assert_eq!(lines(&bridge, "turn completed", request).len(), 1);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn another_replica_goes_on_with_the_same_trace() {
    let Some(store) = database().await else { return };
    let mut bridge = Setup::new().store(&store).start().await;
    bridge.vendor_down().await;
    let (trace, header) = new_trace();
    let headers = [("x-request-id", "taken-over"), ("traceparent", header.as_str())];
    let (id, _) = post(&mut bridge, "c", "Is anybody there?", &headers).await;
    bridge.join().await;
    bridge.next_replica();
    bridge.kill9().await;
    bridge.next_replica();
    bridge.vendor_up().await;
    // Where the first one died in the middle of a send, the second has to find that out.
    within(Duration::from_secs(60), "the end of the turn", async || {
        bridge.events("c").await.into_iter().find(|event| event["data"]["message_id"] == id.as_str())
    })
    .await;
    let end = bridge.receiver.wait_for("c", "turn.completed").await;
    span_in(&trace, end.header("traceparent"));
    let sent = asked(&bridge, Route::GenerateAnswer);
    assert!(sent.iter().all(|sent| sent.told.request_id.as_deref() == Some("taken-over")), "{sent:?}");
    span_in(&trace, sent[0].told.traceparent.as_deref().expect("it is part of the trace"));
    bridge.finish().await;
}
