//! Sends whose outcome nobody tells: whatever happened, each message is at Fini exactly once, or its failure is visible.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Allow, Bridge, Setup, eventually, unique, within};
use fini_bridge::sandbox::{AttributeMode, Fault, FaultKind, FaultParams, FaultRoute};

/// Proving that a message is absent takes longer than any lag of Fini's reads, on purpose.
const PATIENCE: Duration = Duration::from_secs(75);

/// Every way in which Generate Answer can leave its caller in the dark.
fn faults() -> Vec<(&'static str, FaultKind, FaultParams)> {
    let none = FaultParams::default;
    vec![
        ("store then 500", FaultKind::StoreThen500, none()),
        (
            "store then 502 from a proxy",
            FaultKind::StoreThen500,
            FaultParams { status: Some(502), html: true, ..none() },
        ),
        ("store then hang", FaultKind::StoreThenHang, none()),
        ("store then reset", FaultKind::StoreThenReset, none()),
        ("store then reset at once", FaultKind::StoreThenReset, FaultParams { at_once: true, ..none() }),
        ("JSON that breaks off", FaultKind::TruncatedJson, none()),
        ("a body that breaks off", FaultKind::TruncatedJson, FaultParams { cut: true, ..none() }),
        ("noise", FaultKind::Garbage, none()),
        ("an empty array", FaultKind::EmptyArray, none()),
        ("a flood", FaultKind::HugeBody, none()),
        ("one byte at a time", FaultKind::Drip, FaultParams { interval_ms: Some(1), ..none() }),
        ("500", FaultKind::Status, none()),
        ("502 from a proxy", FaultKind::Status, FaultParams { status: Some(502), html: true, ..none() }),
        ("503", FaultKind::Status, FaultParams { status: Some(503), ..none() }),
        ("reset before", FaultKind::ResetBefore, none()),
        ("hang before", FaultKind::HangBefore, none()),
        ("reset, and stored later", FaultKind::ResetThenStore, FaultParams { ms: Some(1_500), ..none() }),
    ]
}

async fn end_of(bridge: &Bridge, conversation: &str, message: &str) -> Value {
    within(PATIENCE, &format!("the end of the turn of {message} in {conversation}"), async || {
        bridge.events(conversation).await.into_iter().find(|event| {
            event["type"].as_str().is_some_and(|kind| kind.starts_with("turn."))
                && event["data"]["message_id"] == message
        })
    })
    .await
}

/// Strikes one message in each of many conversations, each in another way.
async fn strike_all(bridge: &mut Bridge) {
    let mut struck = Vec::new();
    for (index, (what, kind, params)) in faults().into_iter().enumerate() {
        let text = unique(&format!("Where is my order number {index}?"));
        bridge
            .sandbox
            .add_fault(Fault::new(FaultRoute::GenerateAnswer, kind).containing(&text).with(params))
            .expect("valid");
        let (conversation, id) = (format!("c-{index}"), format!("struck-{index}"));
        let body = json!({"conversation_id": conversation, "message_id": id, "text": text});
        bridge.post(&body).await.expect(202);
        struck.push((what, conversation, id, text));
        // A Fini that only fails is left alone for longer and longer; this one also works.
        bridge.turn(&format!("calm-{index}"), "Hello").await;
    }
    for (what, conversation, id, text) in &struck {
        let end = end_of(bridge, conversation, id).await;
        assert_eq!(end["type"], "turn.completed", "{what}: {end}");
        assert_eq!(end["data"]["outcome"], "answered", "{what}: {end}");
        assert_eq!(bridge.times_stored(text), 1, "{what}");
        let feed = bridge.events(conversation).await;
        let own = feed.iter().filter(|event| event["data"]["message"]["text"] == text.as_str()).count();
        assert_eq!(own, 1, "{what}: the frontend's own message is shown once");
    }
    for (what, conversation, ..) in &struck {
        let (_, end) = bridge.turn(conversation, "And on it goes").await;
        assert_eq!(end["data"]["outcome"], "answered", "{what}");
    }
}

fn setup() -> Setup {
    Setup::new().set("fini.reply_timeout", "\"1500ms\"")
}

#[tokio::test]
async fn in_a_conversation_that_is_known() {
    let mut bridge = setup().start().await;
    for index in 0..faults().len() {
        bridge.say(&format!("c-{index}"), "Hello").await;
    }
    for index in 0..faults().len() {
        bridge.bound(&format!("c-{index}")).await;
    }
    strike_all(&mut bridge).await;
    bridge.finish().await;
}

#[tokio::test]
async fn in_a_conversation_that_has_just_begun() {
    let mut bridge = setup().start().await;
    strike_all(&mut bridge).await;
    bridge.finish().await;
}

#[tokio::test]
async fn where_fini_keeps_none_of_our_attributes() {
    let mut bridge = setup().vendor(|vendor| vendor.user_attributes = AttributeMode::Ignore).start().await;
    for index in 0..faults().len() {
        bridge.say(&format!("c-{index}"), "Hello").await;
    }
    for index in 0..faults().len() {
        bridge.bound(&format!("c-{index}")).await;
    }
    strike_all(&mut bridge).await;
    bridge.finish().await;
}

#[tokio::test]
async fn where_fini_lists_what_was_written_with_a_delay() {
    let mut bridge = setup().vendor(|vendor| vendor.list_lag_ms = 4_000).start().await;
    let mut struck = Vec::new();
    for (index, kind) in
        [FaultKind::StoreThen500, FaultKind::StoreThenReset, FaultKind::EmptyArray].into_iter().enumerate()
    {
        let text = unique("Where is my order?");
        bridge.sandbox.add_fault(Fault::new(FaultRoute::GenerateAnswer, kind).containing(&text)).expect("valid");
        let body = json!({"conversation_id": format!("c-{index}"), "message_id": "m-1", "text": text});
        bridge.post(&body).await.expect(202);
        struck.push(text);
    }
    for (index, text) in struck.iter().enumerate() {
        assert_eq!(end_of(&bridge, &format!("c-{index}"), "m-1").await["type"], "turn.completed");
        assert_eq!(bridge.times_stored(text), 1);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn equal_texts_stay_apart() {
    let mut bridge = setup().start().await;
    bridge.turn("c", "Hello").await;
    bridge.bound("c").await;
    let text = unique("yes");
    for n in 0..3 {
        if n == 1 {
            let fault = Fault::new(FaultRoute::GenerateAnswer, FaultKind::ResetBefore).containing(&text);
            bridge.sandbox.add_fault(fault).expect("valid");
        }
        let body = json!({"conversation_id": "c", "message_id": format!("m-{n}"), "text": text});
        bridge.post(&body).await.expect(202);
        let end = end_of(&bridge, "c", &format!("m-{n}")).await;
        assert_eq!(end["data"]["outcome"], "answered", "{end}");
        assert_eq!(bridge.times_stored(&text), n + 1);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn two_equal_texts_in_a_row_stay_apart_when_neither_is_answered_in_time() {
    // One arrived and one did not, and their answers say the same: nothing.
    for kinds in [[FaultKind::StoreThenHang, FaultKind::HangBefore], [FaultKind::HangBefore, FaultKind::StoreThenHang]]
    {
        let mut bridge = setup().start().await;
        bridge.turn("c", "Hello").await;
        bridge.bound("c").await;
        let text = unique("ok");
        for kind in kinds {
            bridge.sandbox.add_fault(Fault::new(FaultRoute::GenerateAnswer, kind).containing(&text)).expect("valid");
        }
        for id in ["m-1", "m-2"] {
            bridge.post(&json!({"conversation_id": "c", "message_id": id, "text": text})).await.expect(202);
        }
        let mut ends = Vec::new();
        for id in ["m-1", "m-2"] {
            let end = end_of(&bridge, "c", id).await;
            assert_eq!(end["data"]["outcome"], "answered", "{kinds:?}: {end}");
            ends.push(end["sequence"].as_i64());
        }
        assert!(ends.is_sorted(), "{kinds:?}: {ends:?}");
        assert_eq!(bridge.times_stored(&text), 2, "{kinds:?}");
        let feed = bridge.events("c").await;
        for id in ["m-1", "m-2"] {
            let replies = feed.iter().filter(|event| event["data"]["in_reply_to"] == id).count();
            assert_eq!(replies, 1, "{kinds:?}: {id}");
        }
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_message_without_a_reply_fails_visibly_and_must_not_be_sent_again() {
    let mut bridge = setup().set("fini.late_reply_window", "\"2s\"").start().await;
    bridge.turn("c", "Hello").await;
    bridge.bound("c").await;
    let (id, text) = bridge.say("c", "Please fail").await;
    let end = end_of(&bridge, "c", &id).await;
    assert_eq!(end["type"], "turn.failed");
    let keys: Vec<_> = end["data"].as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["code", "detail", "may_resend", "message_id"]);
    assert_eq!((&end["data"]["code"], &end["data"]["may_resend"]), (&json!("no_reply_in_time"), &json!(false)));
    assert!(end["data"]["detail"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(bridge.times_stored(&text), 1);
    // What comes after it is not held up, and a reply after all is still shown.
    let (_, end) = bridge.turn("c", "Is anybody there?").await;
    assert_eq!(end["data"]["outcome"], "answered");
    let interaction = bridge.bound("c").await;
    let late = bridge.sandbox.bot_message(&interaction, "Here I am after all").expect("it exists").id.clone();
    bridge.event("c", "the late reply", |event| event["data"]["message"]["id"] == late.as_str()).await;
    bridge.finish().await;
}

#[tokio::test]
async fn what_cannot_be_found_out_is_said() {
    let mut bridge = setup().set("fini.late_reply_window", "\"3s\"").start().await;
    bridge.turn("c", "Hello").await;
    bridge.bound("c").await;
    for route in [FaultRoute::Get, FaultRoute::List] {
        let broken = Fault::new(route, FaultKind::Status).times(10_000);
        let status = FaultParams { status: Some(503), ..FaultParams::default() };
        bridge.sandbox.add_fault(broken.with(status)).expect("valid");
    }
    bridge.sandbox.add_fault(Fault::new(FaultRoute::GenerateAnswer, FaultKind::StoreThenReset)).expect("valid");
    let (id, text) = bridge.say("c", "Where is my order?").await;
    let end = end_of(&bridge, "c", &id).await;
    assert_eq!((&end["type"], &end["data"]["code"]), (&json!("turn.failed"), &json!("unclear_outcome")));
    assert_eq!(end["data"]["may_resend"], false);
    assert_eq!(bridge.times_stored(&text), 1);
    bridge.sandbox.clear_faults();
    // Once Fini can be read again, its reply is shown, and the message itself is not shown twice.
    let shown = within(PATIENCE, "the reply", async || {
        let feed = bridge.events("c").await;
        let replies = feed.iter().filter(|event| event["data"]["message"]["author"] == "bot").count();
        (replies == 2).then_some(feed)
    })
    .await;
    assert_eq!(shown.iter().filter(|event| event["data"]["message"]["text"] == text.as_str()).count(), 1);
    bridge.finish().await;
}

/// A bridge that proves absence quickly, as far as Fini's List allows it.
fn quick() -> Setup {
    setup().set("turns.absence_window", "\"1s\"")
}

fn strikes(bridge: &Bridge, route: FaultRoute, kind: FaultKind, times: u32, params: FaultParams) {
    bridge.sandbox.add_fault(Fault::new(route, kind).times(times).with(params)).expect("valid");
}

/// A page of List that says nothing.
fn empty_page(has_more: bool) -> FaultParams {
    let body = json!({"interactions": [], "hasMore": has_more, "nextCursor": has_more.then_some("abc")});
    FaultParams { status: Some(200), body: Some(body.to_string()), ..FaultParams::default() }
}

#[tokio::test]
async fn a_message_that_never_arrives_while_others_do_fails_and_may_be_sent_again() {
    let mut bridge = quick().start().await;
    bridge.turn("c", "Hello").await;
    bridge.bound("c").await;
    let text = unique("This never arrives");
    let fault = Fault::new(FaultRoute::GenerateAnswer, FaultKind::ResetBefore).times(1_000).containing(&text);
    bridge.sandbox.add_fault(fault).expect("valid");
    let began = std::time::Instant::now();
    bridge.post(&json!({"conversation_id": "c", "message_id": "m-1", "text": text})).await.expect(202);
    let (next, _) = bridge.say("c", "This one waits for it").await;
    bridge.turn("d", "Others pass").await;
    let end = within(Duration::from_secs(120), "the end of the turn", async || {
        bridge.events("c").await.into_iter().find(|event| {
            event["type"].as_str().is_some_and(|kind| kind.starts_with("turn.")) && event["data"]["message_id"] == "m-1"
        })
    })
    .await;
    assert_eq!((&end["type"], &end["data"]["code"]), (&json!("turn.failed"), &json!("fini_unavailable")));
    assert_eq!(end["data"]["may_resend"], true);
    assert_eq!(bridge.times_stored(&text), 0);
    assert!(began.elapsed() >= Duration::from_secs(60), "{:?}", began.elapsed());
    let faults = bridge.sandbox.audit(0, false).faults;
    assert!(faults.get("reset_before").is_some_and(|struck| *struck >= 3), "{faults:?}");
    assert_eq!(end_of(&bridge, "c", &next).await["data"]["outcome"], "answered", "its conversation goes on");
    bridge.allow(Allow::Unsent);
    bridge.finish().await;
}

#[tokio::test]
async fn while_fini_takes_nothing_a_message_waits_as_long_as_the_window_says() {
    let mut bridge = quick().set("fini.late_reply_window", "\"12s\"").start().await;
    bridge.turn("c", "Hello").await;
    bridge.bound("c").await;
    let status = FaultParams { status: Some(503), ..FaultParams::default() };
    strikes(&bridge, FaultRoute::GenerateAnswer, FaultKind::Status, 1_000, status);
    let began = std::time::Instant::now();
    let (id, text) = bridge.say("c", "Where is my order?").await;
    let end = end_of(&bridge, "c", &id).await;
    assert_eq!((&end["type"], &end["data"]["code"]), (&json!("turn.failed"), &json!("fini_unavailable")));
    assert_eq!((end["data"]["may_resend"].as_bool(), bridge.times_stored(&text)), (Some(true), 0));
    assert!(began.elapsed() >= Duration::from_secs(12), "{:?}", began.elapsed());
    bridge.allow(Allow::Unsent);
    bridge.finish().await;
}

#[tokio::test]
async fn an_outage_of_writes_fails_nothing_and_what_it_asks_for_is_kept() {
    let mut bridge = quick().start().await;
    let params = FaultParams { status: Some(503), retry_after: Some(json!(8)), ..FaultParams::default() };
    strikes(&bridge, FaultRoute::GenerateAnswer, FaultKind::Status, 1_000, params);
    let mut posted = Vec::new();
    let began = std::time::Instant::now();
    for index in 0..3 {
        let (id, text) = bridge.say(&format!("c-{index}"), "Where is my order?").await;
        posted.push((format!("c-{index}"), id, text));
    }
    let sends = async |bridge: &Bridge| bridge.sandbox.audit(0, false).faults.get("status").copied().unwrap_or(0);
    // Each is proved absent within seconds, and sent again no sooner than was asked for.
    within(PATIENCE, "the second sends", async || (sends(&bridge).await > 3).then_some(())).await;
    assert!(began.elapsed() >= Duration::from_secs(8), "{:?}", began.elapsed());
    within(PATIENCE, "further sends", async || (sends(&bridge).await > 6).then_some(())).await;
    bridge.sandbox.clear_faults();
    for (conversation, id, text) in &posted {
        let end = end_of(&bridge, conversation, id).await;
        assert_eq!(end["data"]["outcome"], "answered", "{end}");
        assert_eq!(bridge.times_stored(text), 1);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn a_page_that_says_nothing_proves_no_absence() {
    for has_more in [true, false] {
        let mut bridge = quick().start().await;
        bridge.turn("d", "Somebody else").await;
        bridge.bound("d").await;
        strikes(&bridge, FaultRoute::List, FaultKind::Status, 10_000, empty_page(has_more));
        strikes(&bridge, FaultRoute::GenerateAnswer, FaultKind::StoreThen500, 1, FaultParams::default());
        let (id, text) = bridge.say("c", "Where is my order?").await;
        let pages = bridge.sandbox.audit(0, false).routes["list"].values().sum::<u64>();
        within(PATIENCE, "many empty pages", async || {
            let read = bridge.sandbox.audit(0, false).routes["list"].values().sum::<u64>();
            (read > pages + 30).then_some(())
        })
        .await;
        bridge.sandbox.clear_faults();
        let end = end_of(&bridge, "c", &id).await;
        assert_eq!((&end["data"]["outcome"], bridge.times_stored(&text)), (&json!("answered"), 1), "{has_more}: {end}");
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_first_message_that_nothing_tells_apart_is_never_doubled() {
    let setup = quick().set("fini.late_reply_window", "\"8s\"");
    let mut bridge = setup.vendor(|vendor| vendor.user_attributes = AttributeMode::Ignore).start().await;
    bridge.turn("d", "Somebody else").await;
    strikes(&bridge, FaultRoute::GenerateAnswer, FaultKind::StoreThen500, 1, FaultParams::default());
    let (id, text) = bridge.say("c", "Where is my order?").await;
    let end = end_of(&bridge, "c", &id).await;
    assert_eq!((&end["type"], &end["data"]["code"]), (&json!("turn.failed"), &json!("unclear_outcome")));
    assert_eq!((end["data"]["may_resend"].as_bool(), bridge.times_stored(&text)), (Some(false), 1));
    // What follows begins anew, within a time that has an end.
    let (id, _) = bridge.say("c", "Is anybody there?").await;
    assert_eq!(end_of(&bridge, "c", &id).await["data"]["outcome"], "answered");
    assert_eq!(bridge.times_stored(&text), 1);
    bridge.finish().await;
}

#[tokio::test]
async fn a_conversation_that_cannot_be_read_for_a_while_is_not_lost() {
    // List lags behind, so that it is Get that is asked first.
    let mut bridge = setup().vendor(|vendor| vendor.list_lag_ms = 9_000).start().await;
    bridge.turn("c", "Hello").await;
    let interaction = bridge.bound("c").await;
    bridge.turn("d", "Somebody else").await;
    strikes(&bridge, FaultRoute::Get, FaultKind::Status, 10_000, FaultParams::default());
    strikes(&bridge, FaultRoute::GenerateAnswer, FaultKind::StoreThen500, 1, FaultParams::default());
    let (id, text) = bridge.say("c", "Where is my order?").await;
    let end = end_of(&bridge, "c", &id).await;
    assert_eq!((&end["data"]["outcome"], bridge.times_stored(&text)), (&json!("answered"), 1), "List shows it: {end}");
    assert!(bridge.sandbox.audit(0, false).routes["get"].get("500") >= Some(&3), "Get failed again and again");
    let agent = bridge.sandbox.agent_message(&interaction, "I look into it").expect("it exists").id.clone();
    bridge.event("c", "the agent's message", |event| event["data"]["message"]["id"] == agent.as_str()).await;
    assert_eq!(bridge.conversation("c").await["state"], "escalated", "a human has it, and it is not lost");
    bridge.sandbox.clear_faults();
    bridge.turn("c", "Thank you").await;
    assert_eq!(bridge.bound("c").await, interaction);
    assert_eq!(bridge.sandbox.conversation_count(), 2, "no second Fini conversation was begun");
    bridge.finish().await;
}

#[tokio::test]
async fn what_fini_refuses_is_told_and_others_go_on() {
    let mut bridge = setup().start().await;
    bridge.turn("c", "Hello").await;
    for (index, status) in [400, 413, 422].into_iter().enumerate() {
        let text = unique("Fini does not like this");
        let message = json!(["content must be nicer", "and shorter"]);
        let params = FaultParams { status: Some(status), message: Some(message), ..FaultParams::default() };
        let fault = Fault::new(FaultRoute::GenerateAnswer, FaultKind::Status).containing(&text).with(params);
        bridge.sandbox.add_fault(fault).expect("valid");
        let id = format!("m-{index}");
        bridge.post(&json!({"conversation_id": "c", "message_id": id, "text": text})).await.expect(202);
        let end = bridge.end_of("c", &id).await;
        assert_eq!((&end["type"], &end["data"]["code"]), (&json!("turn.failed"), &json!("fini_rejected")));
        assert!(!end["data"]["detail"].as_str().expect("a text").contains(&text));
        assert_eq!(bridge.times_stored(&text), 0);
    }
    bridge.turn("c", "And on it goes").await;
    bridge.allow(Allow::Unsent);
    bridge.finish().await;
}

#[tokio::test]
async fn a_vendor_that_cannot_be_reached_delays_and_loses_nothing() {
    let mut bridge = setup().start().await;
    bridge.turn("c", "Hello").await;
    bridge.bound("c").await;
    bridge.vendor_down().await;
    let mut posted = Vec::new();
    for conversation in ["c", "c", "d"] {
        posted.push((conversation, bridge.say(conversation, "Where is my order?").await.0));
    }
    eventually("the bridge to notice", async || bridge.log().iter().any(|line| line["level"] == "WARN").then_some(()))
        .await;
    assert!(!bridge.events("c").await.iter().any(|event| event["type"] == "turn.failed"));
    bridge.vendor_up().await;
    for (conversation, id) in &posted {
        let end = end_of(&bridge, conversation, id).await;
        assert_eq!(end["data"]["outcome"], "answered", "{end}");
    }
    bridge.finish().await;
}

/// Posts while Fini can only be reached at `address`, which fails before a request can leave, and then lets it be found.
async fn never_left(address: &str) {
    let mut bridge = Setup::new().set("fini.base_url", &format!("{address:?}")).start().await;
    let mut posted = Vec::new();
    for conversation in ["c", "c", "d"] {
        let (id, text) = bridge.say(conversation, "Where is my order?").await;
        posted.push((conversation, id, text));
    }
    // Tried again and again, by a message or by a request that finds out for all of them: what never left may be repeated
    // as often as it takes.
    within(PATIENCE, "the third try", async || {
        let tries = bridge.log().iter().filter(|line| line["class"] == "never_left").count();
        (tries >= 3).then_some(())
    })
    .await;
    for conversation in ["c", "d"] {
        let feed = bridge.events(conversation).await;
        assert!(!feed.iter().any(|event| event["type"] == "turn.failed"), "{address}: {feed:?}");
    }
    bridge.stop().await;
    let vendor = bridge.vendor_url();
    bridge.restart_with(|setup| setup.set("fini.base_url", &format!("{vendor:?}"))).await;
    for (conversation, id, text) in &posted {
        let end = end_of(&bridge, conversation, id).await;
        assert_eq!(end["data"]["outcome"], "answered", "{address}: {end}");
        assert_eq!(bridge.times_stored(text), 1, "{address}");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_delays_and_loses_nothing() {
    // A name that never exists (RFC 6761).
    never_left("http://fini.invalid").await;
}

#[tokio::test]
async fn a_tls_handshake_that_fails_delays_and_loses_nothing() {
    use tokio::{io::AsyncWriteExt as _, net::TcpListener, task::JoinSet};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Whoever expects TLS cannot make anything of this; whether it is read at all does not matter.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    never_left(&format!("https://{address}")).await;
}
