//! The feed as server-sent events.

use std::time::Duration;

use crate::harness::{Setup, Stream, eventually, within};

#[tokio::test]
async fn the_stream_shows_the_feed_as_it_grows() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let mut stream = bridge.stream("c", "").await;
    assert!(stream.content_type.starts_with("text/event-stream"), "{}", stream.content_type);
    let mut seen = stream.take(3).await;
    let (id, _) = bridge.say("c", "And on it goes").await;
    loop {
        let event = stream.next().await.expect("the stream goes on");
        let ends = event.data["data"]["message_id"] == id.as_str();
        seen.push(event);
        if ends {
            break;
        }
    }
    let feed = bridge.events("c").await;
    for (event, (index, entry)) in seen.iter().zip(feed.iter().enumerate()) {
        assert_eq!(event.id, (index + 1).to_string());
        assert_eq!(event.event, entry["type"].as_str().expect("a type"));
        assert_eq!(&event.data, entry);
    }
    let callback = bridge.receiver.wait_for("c", "turn.completed").await;
    let same = seen.iter().find(|event| event.data["id"] == callback.id()).expect("streamed as well");
    assert_eq!(same.raw.as_bytes(), callback.body, "one object, whichever way it goes out");
    drop(stream);
    bridge.finish().await;
}

#[tokio::test]
async fn a_stream_resumes_where_it_was_left() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    let mut by_query = bridge.stream("c", "?after=2").await;
    assert_eq!(by_query.next().await.expect("an event").id, "3");
    let call = bridge.call("GET", "/v1/conversations/c/stream?after=2").header("last-event-id", "1");
    let mut by_header = Stream::open(call).await;
    assert_eq!(
        by_header.next().await.expect("an event").id,
        "2",
        "what the browser saw last is newer than the address"
    );
    let last = bridge.conversation("c").await["last_sequence"].as_i64().expect("a number");
    let mut at_end = bridge.stream("c", &format!("?after={last}")).await;
    bridge.say("c", "One more").await;
    assert_eq!(at_end.next().await.expect("an event").id, (last + 1).to_string());
    drop((by_query, by_header, at_end));
    bridge.finish().await;
}

#[tokio::test]
async fn everybody_is_told_that_an_answer_is_on_its_way() {
    let mut bridge = Setup::new().vendor(|vendor| vendor.reply_latency_ms = 700).start().await;
    bridge.turn("c", "Where is my order?").await;
    let last = bridge.conversation("c").await["last_sequence"].as_i64().expect("a number");
    let mut stream = bridge.stream("c", &format!("?after={last}")).await;
    let (id, _) = bridge.say("c", "And on it goes").await;
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.push(stream.next_or_hint().await.expect("the stream goes on"));
    }
    let kinds: Vec<&str> = seen.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(kinds, ["message.created", "turn.started", "message.created", "turn.completed"]);
    assert_eq!(seen[1].data, serde_json::json!({"message_id": id}));
    assert_eq!(seen[1].id, "", "a hint has no number: a reader resumes where it was");
    assert!(bridge.events("c").await.iter().all(|event| event["type"] != "turn.started"));
    drop(stream);
    bridge.finish().await;
}

#[tokio::test]
async fn a_late_answer_is_announced_while_its_message_waits_and_while_it_is_awaited() {
    let mut bridge = Setup::new().set("fini.hold_window", "\"12s\"").start().await;
    bridge.turn("c", "Where is my order?").await;
    let last = bridge.conversation("c").await["last_sequence"].as_i64().expect("a number");
    let mut stream = bridge.stream("c", &format!("?after={last}")).await;
    let (slow, _) = bridge.say("c", "Answer me later 3600").await;
    let (next, _) = bridge.say("c", "And on it goes").await;
    let mut hints = Vec::new();
    loop {
        let event = stream.next_or_hint().await.expect("the stream goes on");
        if event.id.is_empty() {
            let message = if event.data["message_id"] == slow.as_str() { "slow" } else { "next" };
            hints.push((message, event.event, event.data));
        } else if event.data["data"]["message_id"] == next.as_str() {
            break;
        }
    }
    let told: Vec<_> = hints.iter().map(|(message, kind, _)| (*message, kind.as_str())).collect();
    let (started, delayed) = ("turn.started", "turn.delayed");
    // Before the next is sent, at least; how long it takes then is another matter.
    let until_sent = told.iter().position(|told| *told == ("next", started)).expect("it is sent");
    let wanted = [("slow", started), ("slow", delayed), ("next", delayed), ("slow", delayed)];
    assert!(told[..until_sent].starts_with(&wanted), "after 5 s, and when the estimate has doubled: {told:?}");
    // The second of the next may come just before it is sent, or just after.
    assert!(told.iter().filter(|told| **told == ("next", delayed)).count() >= 2, "{told:?}");
    let expected = |index: usize| {
        let data: &serde_json::Value = &hints[index].2;
        assert_eq!(data.as_object().map(serde_json::Map::len), Some(2), "{data}");
        data["expected_at"].as_str().expect("a time").parse::<jiff::Timestamp>().expect("RFC 3339")
    };
    // Each is told by the clock on the wall, which is read anew: to the millisecond nobody can say.
    let apart = expected(3).duration_since(expected(1)).as_millis();
    assert!((9_990..=10_010).contains(&apart), "{apart} ms");
    drop(stream);
    let interaction = bridge.bound("c").await;
    bridge.sandbox.bot_message(&interaction, "Here I am after all").expect("it exists");
    bridge.end_of("c", &slow).await;
    bridge.finish().await;
}

#[tokio::test]
async fn many_readers_see_the_same() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.turn("d", "Not for the readers of c").await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(bridge.stream("c", "").await);
    }
    bridge.turn("c", "Say it twice").await;
    let count = bridge.events("c").await.len();
    let first: Vec<String> = streams[0].take(count).await.into_iter().map(|event| event.raw).collect();
    for stream in &mut streams[1..] {
        let same: Vec<String> = stream.take(count).await.into_iter().map(|event| event.raw).collect();
        assert_eq!(same, first);
    }
    drop(streams);
    bridge.finish().await;
}

#[tokio::test]
async fn a_quiet_stream_has_a_heartbeat() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    let response = bridge.call("GET", "/v1/conversations/c/stream?after=1000").response().await.expect("an answer");
    let mut response = response;
    let mut said = String::new();
    within(Duration::from_secs(20), "a comment", async || {
        let chunk = response.chunk().await.expect("the stream stays open").expect("it does not end");
        said.push_str(&String::from_utf8_lossy(&chunk));
        said.lines().any(|line| line.starts_with(':')).then_some(())
    })
    .await;
    drop(response);
    bridge.finish().await;
}

#[tokio::test]
async fn streams_end_with_the_bridge_and_go_on_after_it() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    let mut stream = bridge.stream("c", "").await;
    let seen = stream.take(3).await;
    bridge.terminate().await;
    while stream.next().await.is_some() {}
    bridge.ended().await;
    bridge.restart().await;
    let call = bridge.call("GET", "/v1/conversations/c/stream").header("last-event-id", &seen[2].id);
    let mut resumed = Stream::open(call).await;
    bridge.say("c", "After the restart").await;
    assert_eq!(resumed.next().await.expect("an event").id, "4");
    drop(resumed);
    bridge.finish().await;
}

#[tokio::test]
async fn an_unknown_conversation_has_no_stream() {
    let bridge = Setup::new().start().await;
    bridge.call("GET", "/v1/conversations/c/stream").send().await.problem(404, "not_found");
    bridge.finish().await;
}

#[tokio::test]
async fn streams_are_limited_per_address_and_per_frontend() {
    let mut bridge = Setup::new()
        .set("server.trusted_proxies", "[\"127.0.0.0/8\"]")
        .set("server.max_streams_per_address", "2")
        .set("server.max_streams_per_frontend", "3")
        .start()
        .await;
    bridge.turn("c", "Where is my order?").await;
    let from = |hops: &str| bridge.call("GET", "/v1/conversations/c/stream").header("x-forwarded-for", hops);
    let [one, other] = [Stream::open(from("203.0.113.1")).await, Stream::open(from("203.0.113.1")).await];
    let refused = from("203.0.113.1").send().await;
    refused.problem(429, "too_many_streams");
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    // What the caller itself writes into the header stands before what the proxy has added.
    from("198.51.100.7, 203.0.113.1").send().await.problem(429, "too_many_streams");
    let third = Stream::open(from("203.0.113.2")).await;
    from("203.0.113.3").send().await.problem(429, "too_many_streams");
    // Reading is not streaming.
    bridge.call("GET", "/v1/conversations/c/events").header("x-forwarded-for", "203.0.113.1").send().await.expect(200);
    drop(other);
    let room = eventually("the room of a stream that was closed", async || {
        let response = from("203.0.113.1").header("accept", "text/event-stream").response().await.ok()?;
        (response.status() == 200).then_some(response)
    });
    drop((room.await, one, third));
    bridge.finish().await;
}

#[tokio::test]
async fn what_is_posted_is_on_the_stream_before_the_stream_looks_for_itself() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    let last = bridge.conversation("c").await["last_sequence"].as_i64().expect("a number");
    let mut stream = bridge.stream("c", &format!("?after={last}")).await;
    bridge.turn("d", "Of no interest to the reader of c").await;
    let (id, _) = bridge.say("c", "And on it goes").await;
    assert_eq!(stream.next().await.expect("an event").data["data"]["message"]["id"], id.as_str());
    assert_eq!(stream.comments, 0, "with every heartbeat it looks for itself: too late");
    drop(stream);
    bridge.finish().await;
}

#[tokio::test]
async fn a_reader_that_remembers_nothing_begins_at_the_first_event_however_it_says_so() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    for query in ["?after=", "?after=undefined", "?after=null", "?after=-1"] {
        let mut stream = bridge.stream("c", query).await;
        assert_eq!(stream.next().await.expect("an event").id, "1", "{query}");
        bridge.call("GET", &format!("/v1/conversations/c/events{query}")).send().await.problem(422, "invalid_request");
    }
    let response = bridge.call("GET", "/v1/stream?after=").response().await.expect("answers");
    assert_eq!(response.status(), 200);
    drop(response);
    bridge.call("GET", "/v1/events?after=").send().await.problem(400, "invalid_cursor");
    bridge.finish().await;
}

#[tokio::test]
async fn a_position_beyond_the_feed_is_told_and_begins_at_the_first_event() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let mut stream = bridge.stream("c", "?after=500").await;
    let reset = stream.next_or_hint().await.expect("an event");
    assert_eq!((reset.event.as_str(), reset.id.as_str()), ("feed.reset", ""));
    assert!(reset.data["id"].is_null() && reset.data.get("sequence").is_none(), "{}", reset.data);
    assert_eq!(stream.next().await.expect("an event").id, "1");
    let page = bridge.call("GET", "/v1/conversations/c/events?after=500").send().await.expect(200).json();
    assert_eq!((page["reset"].as_bool(), page["events"][0]["sequence"].as_i64()), (Some(true), Some(1)));
    let page = bridge.call("GET", "/v1/conversations/c/events?after=1").send().await.expect(200).json();
    assert!(page.get("reset").is_none(), "{page}");
    drop(stream);
    bridge.finish().await;
}

/// What readers take from a stream that is cut off after some byte: the last id whose line is whole, as libraries that take it
/// at once do, and the events that were dispatched.
fn read_until(bytes: &[u8]) -> (usize, usize) {
    let text = String::from_utf8_lossy(bytes);
    let (mut id, mut dispatched) = (0, 0);
    let mut data = false;
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let line = line.trim_end_matches('\n');
        if let Some(value) = line.strip_prefix("id: ") {
            id = value.parse().expect("a sequence");
        }
        data |= line.starts_with("data: ");
        if line.is_empty() {
            assert!(data, "a blank line without data before it");
            dispatched += 1;
            data = false;
        }
    }
    (id, dispatched)
}

#[tokio::test]
async fn a_stream_that_is_cut_after_any_byte_loses_at_most_what_is_read_again() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let call = bridge.call("GET", "/v1/conversations/c/stream").header("accept", "text/event-stream");
    let mut response = call.response().await.expect("answers");
    let mut bytes = Vec::new();
    while bytes.windows(2).filter(|window| window == b"\n\n").count() < 3 {
        bytes.extend_from_slice(&response.chunk().await.expect("reads").expect("goes on"));
    }
    for cut in 0..=bytes.len() {
        let (id, dispatched) = read_until(&bytes[..cut]);
        // An id is taken only once its whole event is there: the blank line after it is the very next byte.
        assert!(id <= dispatched + 1, "cut after {cut} bytes");
        if id > dispatched {
            assert!(bytes[..cut].ends_with(format!("id: {id}\n").as_bytes()), "cut after {cut} bytes");
        }
    }
    drop(response);
    bridge.finish().await;
}
