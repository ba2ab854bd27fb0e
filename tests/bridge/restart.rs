//! Stopping in order and being killed: what was accepted is neither lost nor sent twice, and nothing is told anew.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Allow, Bridge, Reply, Setup, eventually, unique, within};

/// Waits until a text is at the vendor, where its reply is still being made.
async fn under_way(bridge: &Bridge, text: &str) {
    eventually("the message to be under way", async || (bridge.times_stored(text) == 1).then_some(())).await;
}

#[tokio::test]
async fn a_slow_turn_is_finished_before_the_end() {
    for signal in ["TERM", "INT"] {
        let mut bridge = Setup::new().start().await;
        bridge.turn("c", "Hello").await;
        bridge.bound("c").await;
        bridge.sandbox.set(|settings| settings.reply_latency_ms = 2_000);
        let (id, text) = bridge.say("c", "This takes a while").await;
        under_way(&bridge, &text).await;
        let (queued, _) = bridge.say("c", "And this comes after it").await;
        bridge.signal(signal).await;
        // Not ready any more, but still there for whoever looks, until what is under way is done.
        let readiness = eventually("the bridge not to be ready", async || {
            Some(bridge.admin("GET", "/readyz").send().await).filter(|answer| answer.status == 503)
        })
        .await;
        assert_eq!(readiness.json()["ready"], false);
        bridge.admin("GET", "/healthz").send().await.expect(200);
        // What is on its way meanwhile is taken in, or told where it can go; nothing is begun with it.
        let late =
            bridge.message(&json!({"conversation_id": "c", "message_id": "late", "text": "Late"})).attempt().await;
        let is_taken = late.as_ref().is_some_and(|late| late.status == 202);
        if let Some(refused) = late.filter(|_| !is_taken) {
            refused.problem(503, "shutting_down");
        }
        bridge.ended().await;
        assert_eq!(bridge.sandbox.audit(0, true).inbound.values().flatten().count(), 2, "no new work was begun");
        bridge.sandbox.set(|settings| settings.reply_latency_ms = 0);
        bridge.restart().await;
        let feed = bridge.events("c").await;
        let end = feed.iter().find(|event| event["data"]["message_id"] == id.as_str());
        assert_eq!(end.expect("it was finished before the end")["data"]["outcome"], "answered");
        assert_eq!(bridge.end_of("c", &queued).await["data"]["outcome"], "answered");
        if is_taken {
            assert_eq!(bridge.end_of("c", "late").await["data"]["outcome"], "answered");
        }
        bridge.finish().await;
    }
}

#[tokio::test]
async fn whoever_waits_is_answered_when_the_bridge_stops() {
    let mut bridge = Setup::new().start().await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 3_000);
    let text = unique("This takes a while");
    let call = bridge.message(&json!({"conversation_id": "c", "message_id": "m-1", "text": text}));
    let waiting = call.header("prefer", "wait=30").send();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(waiting);
    under_way(&bridge, &text).await;
    bridge.terminate().await;
    let answer = tasks.join_next().await.expect("one").expect("it does not panic");
    assert!([200, 202].contains(&answer.status), "{}", answer.text);
    bridge.ended().await;
    bridge.restart().await;
    bridge.finish().await;
}

#[tokio::test]
async fn what_takes_longer_than_the_grace_is_read_back() {
    let mut bridge = Setup::new().set("server.shutdown_grace", "\"300ms\"").start().await;
    bridge.turn("c", "Hello").await;
    bridge.bound("c").await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 4_000);
    let (id, text) = bridge.say("c", "This takes too long").await;
    under_way(&bridge, &text).await;
    let started = std::time::Instant::now();
    bridge.stop().await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    bridge.restart().await;
    assert_eq!(bridge.end_of("c", &id).await["data"]["outcome"], "answered");
    bridge.finish().await;
}

#[tokio::test]
async fn killed_while_fini_is_answering() {
    for is_new in [false, true] {
        let mut bridge = Setup::new().start().await;
        if !is_new {
            bridge.turn("c", "Hello").await;
            bridge.bound("c").await;
        }
        bridge.sandbox.set(|settings| settings.reply_latency_ms = 1_000);
        let (id, text) = bridge.say("c", "This is under way").await;
        let (next, _) = bridge.say("c", "And this waits").await;
        under_way(&bridge, &text).await;
        bridge.kill9().await;
        bridge.restart().await;
        assert_eq!(bridge.end_of("c", &id).await["data"]["outcome"], "answered", "new: {is_new}");
        assert_eq!(bridge.end_of("c", &next).await["data"]["outcome"], "answered", "new: {is_new}");
        assert_eq!(bridge.times_stored(&text), 1);
        bridge.finish().await;
    }
}

#[tokio::test]
async fn killed_between_the_response_and_its_delivery() {
    let mut bridge = Setup::new().start().await;
    bridge.receiver.script([Reply::Hold]);
    let (id, _) = bridge.say("c", "Where is my order?").await;
    let first = bridge.receiver.wait_attempts("c", 1).await.remove(0);
    bridge.end_of("c", &id).await;
    let before = bridge.events("c").await;
    bridge.kill9().await;
    bridge.restart().await;
    bridge.receiver.wait_for("c", "turn.completed").await;
    let again = bridge.receiver.of("c").remove(1);
    assert_eq!((again.id(), &again.body), (first.id(), &first.body));
    assert_eq!(bridge.events("c").await[..before.len()], before[..]);
    bridge.finish().await;
}

#[tokio::test]
async fn killed_between_an_acknowledgement_and_its_record() {
    // The frontend has seen the callback, the bridge does not know: it comes again, under the same id, and only that one.
    let mut bridge = Setup::new().start().await;
    bridge.receiver.script([Reply::Hold]);
    bridge.say("c", "Where is my order?").await;
    bridge.receiver.wait_attempts("c", 1).await;
    bridge.signal("STOP").await;
    bridge.receiver.release();
    let first =
        eventually("the acknowledgement", async || bridge.receiver.of("c").into_iter().find(|one| one.is_delivered()))
            .await;
    bridge.kill9().await;
    bridge.restart().await;
    bridge.receiver.wait_for("c", "turn.completed").await;
    let all = bridge.receiver.of("c");
    assert_eq!((all[1].id(), &all[1].body), (first.id(), &first.body));
    assert_eq!(all.iter().filter(|one| one.id() == first.id()).count(), 2);
    bridge.allow(Allow::Repeats);
    bridge.finish().await;
}

#[tokio::test]
async fn killed_again_and_again_under_load() {
    let mut bridge = Setup::new().vendor(|vendor| vendor.reply_latency_ms = 120).start().await;
    let mut posted = Vec::new();
    for round in 0_usize..6 {
        for n in 0..12 {
            let conversation = format!("c-{}", n % 4);
            posted.push((conversation.clone(), bridge.say(&conversation, &format!("Round {round}")).await.0));
        }
        // Somewhere in the middle of everything: after a few answers, not at a time.
        let until = bridge.sandbox.audit(0, false).requests + 3 * (round as u64) + 1;
        eventually("some requests", async || (bridge.sandbox.audit(0, false).requests >= until).then_some(())).await;
        bridge.kill9().await;
        bridge.restart().await;
    }
    for (conversation, id) in &posted {
        let what = format!("the end of {id} in {conversation}");
        let end = within(Duration::from_secs(90), &what, async || {
            let feed = bridge.events(conversation).await;
            feed.into_iter().find(|event| event["data"]["message_id"] == id.as_str())
        })
        .await;
        assert_eq!(end["data"]["outcome"], "answered", "{end}");
    }
    bridge.allow(Allow::Repeats);
    bridge.finish().await;
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order? Say it twice").await;
    bridge.turn("d", "I want to talk to a human").await;
    bridge.state("d", "escalated").await;
    bridge.bound("c").await;
    eventually("every callback to be delivered", async || {
        bridge.deliveries("state=pending").await.is_empty().then_some(())
    })
    .await;
    let feeds = [bridge.events("c").await, bridge.events("d").await];
    let views = [bridge.conversation("c").await, bridge.conversation("d").await];
    let (callbacks, stored) = (bridge.receiver.all().len(), bridge.sandbox.audit(0, true).inbound);
    for orderly in [true, false] {
        if orderly {
            bridge.stop().await;
        } else {
            bridge.kill9().await;
        }
        bridge.restart().await;
        let lists = bridge.sandbox.audit(0, false).requests;
        eventually("a sweep after the restart", async || {
            (bridge.sandbox.audit(0, false).requests >= lists + 2).then_some(())
        })
        .await;
        assert_eq!([bridge.events("c").await, bridge.events("d").await], feeds);
        assert_eq!([bridge.conversation("c").await, bridge.conversation("d").await], views);
        assert_eq!(bridge.receiver.all().len(), callbacks);
        assert_eq!(format!("{:?}", bridge.sandbox.audit(0, true).inbound), format!("{stored:?}"));
    }
    bridge.finish().await;
}

#[tokio::test]
async fn what_happened_meanwhile_is_found_after_the_restart() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    bridge.stop().await;
    let id = bridge.sandbox.agent_message(&interaction, "Said while nobody listened").expect("it exists").id.clone();
    bridge.sandbox.set_status(&interaction, Some("Escalated to Human Agent")).expect("it exists");
    bridge.restart().await;
    bridge.event("c", "the agent's message", |event| event["data"]["message"]["id"] == id.as_str()).await;
    bridge.state("c", "escalated").await;
    bridge.finish().await;
}

#[tokio::test]
async fn one_file_serves_one_process() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let (status, stderr) = bridge.second_process().await;
    assert_eq!(status.code(), Some(1), "{stderr}");
    bridge.turn("c", "And on it goes").await;
    bridge.finish().await;
}
