//! Spans by OTLP, of a program that was built with the feature `otlp`: run by `tests/deploy/run traces`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use crate::harness::{Bridge, Reply, Setup, eventually, unique};
use fini_bridge::sandbox::Route;

const CALLER: &str = "00f067aa0ba902b7";

/// A span as the collector got it; ids in hex.
#[derive(Clone, Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    failed: bool,
}

/// A collector that keeps what it gets.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    raw: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    async fn start(tasks: &mut JoinSet<()>) -> (Self, String) {
        let collector = Self::default();
        let own = collector.clone();
        let take = async move |headers: HeaderMap, body: Bytes| own.take(&headers, &body);
        let router = Router::new().route("/v1/traces", post(take));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        tasks.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        (collector, address)
    }

    fn take(&self, headers: &HeaderMap, body: &[u8]) {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        self.raw.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(body);
        let spans = inside(body, &[1, 2, 2]).into_iter().map(span);
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
    }

    fn of(&self, trace: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| span.trace == trace).cloned().collect()
    }
}

/// The fields of a protobuf message: number, and either its varint or its bytes.
fn fields(mut message: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let (number, bytes) = match tag & 7 {
            0 => (varint(&mut message), &message[..0]),
            1 => (0, take(&mut message, 8)),
            2 => (0, {
                let length = varint(&mut message);
                take(&mut message, usize::try_from(length).expect("short"))
            }),
            5 => (0, take(&mut message, 4)),
            other => panic!("wire type {other}"),
        };
        found.push((tag >> 3, number, bytes));
    }
    found
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(message, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = message.split_at(length);
    *message = rest;
    taken
}

/// The messages at the end of this path of fields.
fn inside<'a>(message: &'a [u8], path: &[u64]) -> Vec<&'a [u8]> {
    let Some((first, rest)) = path.split_first() else { return vec![message] };
    fields(message)
        .into_iter()
        .filter(|(field, ..)| field == first)
        .flat_map(|(_, _, inner)| inside(inner, rest))
        .collect()
}

/// `opentelemetry.proto.trace.v1.Span`, as its definition numbers the fields.
fn span(message: &[u8]) -> Span {
    let hex = |field| inside(message, &[field]).concat().iter().map(|byte| format!("{byte:02x}")).collect();
    let number = |message: &[u8], field| {
        fields(message).iter().find(|(at, ..)| *at == field).map_or(0, |(_, number, _)| *number)
    };
    Span {
        trace: hex(1),
        id: hex(2),
        parent: hex(4),
        name: String::from_utf8(inside(message, &[5]).concat()).expect("names are text"),
        kind: number(message, 6),
        failed: inside(message, &[15]).first().is_some_and(|status| number(status, 3) == 2),
    }
}

async fn bridge(tasks: &mut JoinSet<()>) -> (Bridge, Collector) {
    let (collector, address) = Collector::start(tasks).await;
    (Setup::new().set("telemetry.otlp_endpoint", &format!("{address:?}")).start().await, collector)
}

#[tokio::test]
async fn spans_stand_below_the_caller_s() {
    let mut tasks = JoinSet::new();
    let (mut bridge, collector) = bridge(&mut tasks).await;
    bridge.receiver.script([Reply::Status(503)]);
    let trace = format!("{:032x}", fastrand::u128(1..));
    let text = unique("Where is my order?");
    let body = json!({"conversation_id": "c", "message_id": "m-1", "text": text});
    let call = bridge.message(&body).header("traceparent", &format!("00-{trace}-{CALLER}-01"));
    call.send().await.expect(202);
    bridge.receiver.wait_for("c", "turn.completed").await;
    let spans = eventually("all spans", async || Some(collector.of(&trace)).filter(|spans| spans.len() >= 5)).await;

    let [request] = spans.iter().filter(|span| span.kind == 2).collect::<Vec<_>>()[..] else { panic!("{spans:?}") };
    assert_eq!((request.parent.as_str(), request.name.as_str()), (CALLER, "POST /v1/messages"));
    let mut made: Vec<_> = spans.iter().filter(|span| span.kind == 3).collect();
    assert!(made.iter().all(|span| span.parent == request.id), "{spans:?}");
    made.sort_by_key(|span| (&span.name, !span.failed));
    let made: Vec<_> = made.iter().map(|span| (span.name.as_str(), span.failed)).collect();
    let wanted = [
        ("callback message.created", true),
        ("callback message.created", false),
        ("callback turn.completed", false),
        ("fini generate_answer", false),
    ];
    assert_eq!(made, wanted);

    // What was told to others are these very spans.
    let sent = bridge.sandbox.audit(100, false).latest.into_iter().find(|asked| asked.route == Route::GenerateAnswer);
    let sent = sent.and_then(|sent| sent.told.traceparent).expect("a traceparent");
    let told =
        bridge.receiver.of("c").iter().map(|attempt| attempt.header("traceparent").to_owned()).collect::<Vec<_>>();
    for header in told.iter().chain([&sent]) {
        assert!(spans.iter().any(|span| *header == format!("00-{trace}-{}-01", span.id)), "{header}");
    }
    let raw = collector.raw.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(!raw.windows(text.len()).any(|window| window == text.as_bytes()), "no texts in spans");
    bridge.finish().await;
}

#[tokio::test]
async fn a_trace_begins_here_where_none_came_in_and_is_not_recorded_against_the_caller_s_will() {
    let mut tasks = JoinSet::new();
    let (mut bridge, collector) = bridge(&mut tasks).await;
    let quiet = format!("{:032x}", fastrand::u128(1..));
    let body = json!({"conversation_id": "quiet", "message_id": "m-1", "text": unique("Not recorded")});
    bridge.message(&body).header("traceparent", &format!("00-{quiet}-{CALLER}-00")).send().await.expect(202);
    let end = bridge.receiver.wait_for("quiet", "turn.completed").await;
    assert!(
        end.header("traceparent").starts_with(&format!("00-{quiet}-")) && end.header("traceparent").ends_with("-00")
    );

    bridge.say("c", "Where is my order?").await;
    let end = bridge.receiver.wait_for("c", "turn.completed").await;
    let trace = end.header("traceparent").split('-').nth(1).expect("a trace").to_owned();
    // The last spans are sent at the end.
    bridge.stop().await;
    let spans = collector.of(&trace);
    let [root] = spans.iter().filter(|span| span.parent.is_empty()).collect::<Vec<_>>()[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(root.name, "POST /v1/messages");
    assert_eq!(spans.len(), 4, "{spans:?}");
    assert!(collector.of(&quiet).is_empty());
    bridge.restart().await;
    bridge.finish().await;
}

#[tokio::test]
async fn a_collector_that_is_gone_costs_spans_alone() {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let address = format!("http://{}", gone.local_addr().expect("it is bound"));
    drop(gone);
    let mut bridge = Setup::new().set("telemetry.otlp_endpoint", &format!("{address:?}")).start().await;
    let (_, end) = bridge.turn("c", "Where is my order?").await;
    assert_eq!(end["data"]["outcome"], "answered");
    eventually("the loss to be said", async || {
        bridge.log().into_iter().find(|line| line["message"] == "spans could not be exported")
    })
    .await;
    bridge.finish().await;
}
