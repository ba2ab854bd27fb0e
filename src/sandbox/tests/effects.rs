//! Faults that do not need a real connection.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::*;

fn generate(kind: FaultKind) -> Fault {
    Fault::new(FaultRoute::GenerateAnswer, kind)
}

fn hello() -> Value {
    json!({"botId": DEFAULT_BOT_ID, "content": "Hello"})
}

fn stored(bench: &Bench) -> usize {
    bench.sandbox.audit(0, true).times_stored("Hello")
}

/// Sets one fault and sends one message. Returns the bench and the response.
async fn struck(fault: Fault) -> (Bench, Reply) {
    let bench = Bench::new();
    bench.sandbox.add_fault(fault).unwrap();
    let reply = bench.generate(&hello()).await;
    (bench, reply)
}

#[tokio::test]
async fn a_status_comes_as_json_as_a_page_or_as_given() {
    let params = FaultParams { status: Some(400), message: Some(json!(["one", "two"])), ..FaultParams::default() };
    let (bench, reply) = struck(generate(FaultKind::Status).with(params)).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["message"], stored(&bench)), (400, &json!(["one", "two"]), 0));

    let params = FaultParams { status: Some(502), html: true, ..FaultParams::default() };
    let (_, reply) = struck(generate(FaultKind::Status).with(params)).await;
    assert_eq!((reply.status.as_u16(), &reply.headers["content-type"].to_str().unwrap()[..9]), (502, "text/html"));

    let params = FaultParams {
        status: Some(503),
        body: Some("{}".into()),
        retry_after: Some(json!(9)),
        ..FaultParams::default()
    };
    let (_, reply) = struck(generate(FaultKind::Status).with(params)).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json(), &reply.headers["retry-after"].to_str().unwrap()),
        (503, json!({}), &"9")
    );
}

#[tokio::test]
async fn refusals_store_nothing() {
    for (kind, status) in [(FaultKind::RateLimited, 429), (FaultKind::Unauthorised, 401), (FaultKind::Forbidden, 403)] {
        let (bench, reply) = struck(generate(kind)).await;
        assert_eq!((reply.status.as_u16(), stored(&bench)), (status, 0), "{kind:?}");
        assert!(reply.headers.get("retry-after").is_none());
        assert_eq!(bench.sandbox.audit(0, true).faults[kind.name()], 1);
    }
    let params = FaultParams { retry_after: Some(json!("Thu, 01 Jan 2026 00:01:00 GMT")), ..FaultParams::default() };
    let (_, reply) = struck(generate(FaultKind::RateLimited).with(params)).await;
    assert_eq!(reply.headers["retry-after"], "Thu, 01 Jan 2026 00:01:00 GMT");
}

#[tokio::test]
async fn a_500_may_hide_a_stored_message_with_or_without_a_reply() {
    for (reply_made, events) in [(None, 2), (Some(false), 1)] {
        let params = FaultParams { reply: reply_made, ..FaultParams::default() };
        let (bench, reply) = struck(generate(FaultKind::StoreThen500).with(params)).await;
        assert_eq!((reply.status.as_u16(), stored(&bench)), (500, 1));
        assert_eq!(bench.sandbox.conversation("latest").unwrap().events.len(), events);
    }
}

#[tokio::test]
async fn what_is_refused_anyway_is_not_struck_after_storing() {
    let bench = Bench::new();
    bench.sandbox.add_fault(generate(FaultKind::StoreThen500)).unwrap();
    assert_eq!(bench.generate(&json!({})).await.status, 400);
}

#[tokio::test]
async fn a_reply_can_be_kept_back() {
    let params = FaultParams { ms: Some(7_000), ..FaultParams::default() };
    let (bench, reply) = struck(generate(FaultKind::EventsOnlyUser).with(params)).await;
    assert_eq!(kinds(&reply.json()), ["user/message"]);
    bench.pass(6_999);
    assert_eq!(bench.sandbox.conversation("latest").unwrap().events.len(), 1);
    bench.pass(1);
    assert_eq!(bench.sandbox.conversation("latest").unwrap().events.len(), 2);
}

#[tokio::test]
async fn empty_answers_hide_what_is_there() {
    let (bench, reply) = struck(generate(FaultKind::EmptyArray)).await;
    assert_eq!((reply.json(), stored(&bench)), (json!([]), 1));
    bench.sandbox.add_fault(Fault::new(FaultRoute::List, FaultKind::EmptyArray)).unwrap();
    let page = bench.list("").await;
    assert_eq!(page, json!({"interactions": [], "hasMore": false, "nextCursor": null, "prevCursor": null}));
    assert_eq!(bench.listed("").await.len(), 1);
}

#[tokio::test]
async fn broken_bodies_hide_a_stored_message() {
    let (bench, reply) = struck(generate(FaultKind::TruncatedJson)).await;
    assert_eq!((reply.status.as_u16(), stored(&bench)), (200, 1));
    assert_eq!(reply.bytes.first(), Some(&b'['));
    assert!(serde_json::from_slice::<Value>(&reply.bytes).is_err());

    let (bench, reply) = struck(generate(FaultKind::Garbage)).await;
    assert_eq!((reply.status.as_u16(), stored(&bench)), (200, 1));
    assert!(std::str::from_utf8(&reply.bytes).is_err());
}

#[tokio::test]
async fn a_huge_body_means_the_same() {
    let params = FaultParams { bytes: Some(3_000_000), ..FaultParams::default() };
    let (_, reply) = struck(generate(FaultKind::HugeBody).with(params)).await;
    assert!(reply.bytes.len() > 3_000_000);
    assert_eq!(kinds(&reply.json()), ["user/message", "finibot/message"]);
}

#[tokio::test(start_paused = true)]
async fn drops_come_one_by_one() {
    let begun = Instant::now();
    let params = FaultParams { interval_ms: Some(10), ..FaultParams::default() };
    let (_, reply) = struck(generate(FaultKind::Drip).with(params)).await;
    assert_eq!(kinds(&reply.json()).len(), 2);
    assert_eq!(begun.elapsed(), Duration::from_millis(10) * u32::try_from(reply.bytes.len()).unwrap());
}

#[tokio::test(start_paused = true)]
async fn delays_and_hangs_take_their_time() {
    let begun = Instant::now();
    let params = FaultParams { ms: Some(4_000), ..FaultParams::default() };
    let (bench, reply) = struck(generate(FaultKind::Delay).with(params.clone())).await;
    assert_eq!((reply.status.as_u16(), stored(&bench), begun.elapsed().as_millis()), (200, 1, 4_000));

    for (kind, times) in [(FaultKind::HangBefore, 0), (FaultKind::StoreThenHang, 1)] {
        let (bench, reply) = struck(generate(kind).with(params.clone())).await;
        assert_eq!((reply.status.as_u16(), stored(&bench)), (504, times));
        bench.sandbox.add_fault(generate(kind)).unwrap();
        let body = hello();
        assert!(timeout(Duration::from_hours(1), bench.generate(&body)).await.is_err());
        let report = bench.sandbox.audit(0, true);
        assert_eq!(report.routes["generate_answer"]["none"], 1);
        assert_eq!(report.times_stored("Hello"), 2 * times);
    }
}

#[tokio::test]
async fn faults_meet_only_the_requests_they_name() {
    let bench = Bench::new();
    bench.sandbox.add_fault(generate(FaultKind::StoreThen500).containing("second").times(1)).unwrap();
    assert_eq!(bench.generate(&json!({"botId": DEFAULT_BOT_ID, "content": "first"})).await.status, 200);
    assert_eq!(bench.get("/v2/bots/public").await.status, 200);
    assert_eq!(bench.generate(&json!({"botId": DEFAULT_BOT_ID, "content": "second"})).await.status, 500);
    assert_eq!(bench.generate(&json!({"botId": DEFAULT_BOT_ID, "content": "second"})).await.status, 200);
}
