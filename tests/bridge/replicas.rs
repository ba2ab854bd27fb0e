//! Several replicas on one PostgreSQL: one bridge, no matter how many processes, and whatever becomes of one of them.

use std::time::Duration;

use fini_bridge::service::reader::{LEASE, TAKEN_OVER_WITHIN, TRIED_EVERY};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::harness::{Allow, Bridge, Setup, Stream, database, eventually, said, unique, within};

/// What a killed or frozen replica was sending is looked for once its process counts as dead.
const TAKEN_OVER: Duration = Duration::from_secs(60);

/// So many replicas with this setup, unless there is no PostgreSQL.
async fn replicas(count: usize, setup: Setup) -> Option<Bridge> {
    let mut bridge = setup.store(&database().await?).start().await;
    while bridge.replicas() < count {
        bridge.join().await;
    }
    Some(bridge)
}

/// Waits for the end of a turn that may take longer than most.
async fn end_of(bridge: &Bridge, conversation: &str, id: &str) -> Value {
    within(TAKEN_OVER, &format!("the end of {id}"), async || {
        let feed = bridge.events(conversation).await;
        feed.into_iter().find(|event| event["data"]["message_id"] == id)
    })
    .await
}

/// The texts that the vendor stored of a conversation, in its order.
fn stored(bridge: &Bridge, interaction: &str) -> Vec<String> {
    let inbound = bridge.sandbox.audit(0, true).inbound;
    inbound.get(interaction).into_iter().flatten().map(|message| message.content.clone()).collect()
}

async fn under_way(bridge: &Bridge, text: &str) {
    eventually("the message to be under way", async || (bridge.times_stored(text) == 1).then_some(())).await;
}

#[tokio::test]
async fn one_conversation_over_three_replicas_keeps_its_order() {
    let Some(mut bridge) = replicas(3, Setup::new().vendor(|vendor| vendor.reply_latency_ms = 40)).await else {
        return;
    };
    let mut posted = Vec::new();
    for n in 0..12 {
        let (id, text) = bridge.say("c", &format!("Message {n}")).await;
        posted.push((id, text));
        bridge.next_replica();
    }
    for (id, _) in &posted {
        assert_eq!(bridge.end_of("c", id).await["data"]["outcome"], "answered");
        bridge.next_replica();
    }
    let interaction = bridge.bound("c").await;
    let texts: Vec<&String> = posted.iter().map(|(_, text)| text).collect();
    assert_eq!(stored(&bridge, &interaction).iter().collect::<Vec<_>>(), texts);
    // Whoever is asked shows the same feed.
    let feed = bridge.events("c").await;
    for _ in 1..bridge.replicas() {
        bridge.next_replica();
        assert_eq!(bridge.events("c").await, feed);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn a_message_posted_to_two_replicas_is_one_message() {
    let Some(mut bridge) = replicas(2, Setup::new()).await else { return };
    let text = unique("Where is my order?");
    let message = json!({"conversation_id": "c", "message_id": "m-1", "text": text});
    let first = bridge.message(&message);
    bridge.next_replica();
    let second = bridge.message(&message);
    let (first, second) = tokio::join!(first.send(), second.send());
    let duplicates = [first.expect(202).json(), second.expect(202).json()].map(|answer| answer["duplicate"] == true);
    assert_eq!(duplicates.iter().filter(|duplicate| **duplicate).count(), 1, "{duplicates:?}");
    bridge.end_of("c", "m-1").await;
    bridge.finish().await;
}

#[tokio::test]
async fn all_replicas_share_one_budget() {
    let setup = Setup::new().rate_limit(12, 3_000).set("poll.sweep_interval", "\"100ms\"");
    let Some(mut bridge) = replicas(3, setup).await else { return };
    let mut posted = Vec::new();
    for n in 0..3 {
        posted.extend(bridge.say_in_each((0..9).map(|c| format!("c-{n}-{c}")).collect(), "Where is my order?").await);
        bridge.next_replica();
    }
    for (conversation, id) in &posted {
        end_of(&bridge, conversation, id).await;
        bridge.next_replica();
    }
    let audit = bridge.sandbox.audit(0, false);
    assert_eq!(audit.throttled, 0, "{} requests in one window", audit.max_in_window);
    assert!((10..=12).contains(&audit.max_in_window), "{} requests in one window", audit.max_in_window);
    bridge.finish().await;
}

/// Two replicas of which only the second, the one that is spoken to afterwards, can do anything at Fini.
async fn one_hand_and_one_voice() -> Option<Bridge> {
    let url = database().await?;
    let key = format!("fini_{}", crate::harness::random_token());
    let mut bridge = Setup::new().set("fini.api_key", &format!("{key:?}")).store(&url).start().await;
    bridge.keep_private(&key);
    bridge
        .join_with(|setup| {
            let key = setup.api_key.clone();
            setup.set("fini.api_key", &format!("{key:?}"))
        })
        .await;
    Some(bridge)
}

#[tokio::test]
async fn a_stream_shows_what_another_replica_does() {
    let Some(mut bridge) = one_hand_and_one_voice().await else { return };
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    bridge.next_replica();
    let mut stream = bridge.stream("c", "").await;
    let (id, _) = bridge.say("c", "And what about the other one?").await;
    let agent = bridge.sandbox.agent_message(&interaction, "A person speaks").expect("it exists").id.clone();
    wait_in(&mut stream, |event| event["data"]["message_id"] == id.as_str()).await;
    let mut again = bridge.stream("c", "").await;
    wait_in(&mut again, |event| event["data"]["message"]["id"] == agent.as_str()).await;
    drop((stream, again));
    bridge.next_replica();
    bridge.finish().await;
}

async fn wait_in(stream: &mut Stream, wanted: impl Fn(&Value) -> bool) {
    while !wanted(&stream.next().await.expect("the stream goes on").data) {}
}

#[tokio::test]
async fn waiting_ends_when_another_replica_has_the_answer() {
    let Some(mut bridge) = one_hand_and_one_voice().await else { return };
    bridge.turn("c", "Where is my order?").await;
    bridge.next_replica();
    for n in 0..3 {
        let message = json!({"conversation_id": "c", "message_id": format!("m-{n}"), "text": unique("And now?")});
        let answer = bridge.message(&message).header("prefer", "wait=30").send().await.expect(200).json();
        assert_eq!(answer["status"], "answered");
        let events = answer["events"].as_array().expect("the turn's events");
        assert!(events.iter().any(|event| event["type"] == "turn.completed"), "{events:?}");
    }
    bridge.next_replica();
    bridge.finish().await;
}

/// Who reads, until when (by the database's time, in milliseconds), and what time it is there.
async fn reading_lease(url: &str) -> (String, i64, i64) {
    let asked =
        "SELECT owner, until, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) FROM leases WHERE name = $1";
    let mut connection = PgConnection::connect(url).await.expect("connects");
    let found = sqlx::query_as(asked).bind(LEASE.0).fetch_optional(&mut connection).await.expect("answers");
    connection.close().await.expect("closes");
    found.unwrap_or_default()
}

/// How soon another one reads is a matter of the lease: it is bounded by how long a dead process can hold it and by how often
/// the others try, and both are asserted, here and beside the lease itself. What it came to on this machine is printed.
#[tokio::test]
async fn another_replica_reads_when_the_reading_one_dies_or_stops() {
    let Some(url) = database().await else { return };
    let mut bridge = Setup::new().store(&url).start().await;
    bridge.join().await;
    bridge.join().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    let lease = i64::try_from(LEASE.1.as_millis()).expect("seconds fit");
    for orderly in [false, true] {
        bridge.find_reader().await;
        let (dead, ..) = reading_lease(&url).await;
        if orderly {
            bridge.stop().await;
        } else {
            bridge.kill9().await;
        }
        let (left_to, until, died_at) = reading_lease(&url).await;
        let id = bridge.sandbox.agent_message(&interaction, "Who hears me?").expect("it exists").id.clone();
        let taken_until = eventually("another one to take the lease", async || {
            let (owner, until, _) = reading_lease(&url).await;
            (!owner.is_empty() && owner != dead).then_some(until)
        })
        .await;
        if orderly {
            assert_ne!(left_to, dead, "it is given back at the end");
        } else if left_to == dead {
            // Its own idea of the database's time may be off by as long as the database took to answer.
            assert!(until - died_at <= lease + 1_000, "a dead process holds it for {} ms", until - died_at);
            assert!(taken_until - lease >= until, "two had it at the same time");
            said(&format!(
                "takeover of the reading after a kill: {} ms ; the lease left {} ms, tried every {} ms, bound {} ms",
                taken_until - lease - died_at,
                until - died_at,
                TRIED_EVERY.as_millis(),
                TAKEN_OVER_WITHIN.as_millis()
            ));
        }
        bridge.find_reader().await;
        bridge.event("c", "the agent's message", |event| event["data"]["message"]["id"] == id.as_str()).await;
    }
    bridge.finish().await;
}

#[tokio::test]
async fn what_a_killed_replica_was_sending_is_found_by_another() {
    let Some(mut bridge) = replicas(1, Setup::new()).await else { return };
    bridge.turn("c", "Hello").await;
    bridge.bound("c").await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 2_000);
    let (id, text) = bridge.say("c", "This is under way").await;
    let (next, _) = bridge.say("c", "And this waits").await;
    under_way(&bridge, &text).await;
    bridge.kill9().await;
    bridge.join().await;
    assert_eq!(end_of(&bridge, "c", &id).await["data"]["outcome"], "answered");
    assert_eq!(end_of(&bridge, "c", &next).await["data"]["outcome"], "answered");
    bridge.allow(Allow::Repeats);
    bridge.finish().await;
}

#[tokio::test]
async fn a_replica_that_was_frozen_changes_nothing_afterwards() {
    let Some(mut bridge) = replicas(1, Setup::new()).await else { return };
    bridge.turn("c", "Hello").await;
    bridge.bound("c").await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 1_000);
    let (id, text) = bridge.say("c", "This is under way").await;
    under_way(&bridge, &text).await;
    bridge.signal("STOP").await;
    bridge.join().await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 0);
    let (next, _) = bridge.say("c", "And this came meanwhile").await;
    assert_eq!(end_of(&bridge, "c", &id).await["data"]["outcome"], "answered");
    assert_eq!(end_of(&bridge, "c", &next).await["data"]["outcome"], "answered");
    let before = bridge.events("c").await;
    bridge.next_replica();
    bridge.signal("CONT").await;
    // It is all there again, and has nothing to add to what is told already.
    bridge.turn("c", "Welcome back").await;
    assert_eq!(bridge.events("c").await[..before.len()], before[..]);
    // Frozen in the middle of a transaction, it finds its session ended.
    bridge.allow(Allow::FailedLoops);
    bridge.finish().await;
}

#[tokio::test]
async fn an_erased_binding_is_used_by_nobody() {
    let Some(mut bridge) = replicas(2, Setup::new().web(|web| web.callbacks = false)).await else { return };
    // Each replica in turn sends alone, so that both know the binding by heart.
    for round in 0..2 {
        bridge.next_replica();
        bridge.signal("STOP").await;
        bridge.next_replica();
        bridge.turn("c", &format!("Round {round}")).await;
        bridge.bound("c").await;
        bridge.next_replica();
        bridge.signal("CONT").await;
    }
    let old = bridge.bound("c").await;
    let known = stored(&bridge, &old).len();
    // The one sleeps while the other erases; then the one that slept is alone.
    bridge.signal("STOP").await;
    bridge.next_replica();
    bridge.call("DELETE", "/v1/conversations/c").send().await.expect(202);
    bridge.signal("STOP").await;
    bridge.next_replica();
    bridge.signal("CONT").await;
    let (_, text) = bridge.say("c", "Somebody new under the same name").await;
    let new = bridge.bound("c").await;
    assert_ne!(new, old);
    assert_eq!(stored(&bridge, &new), [text]);
    assert_eq!(stored(&bridge, &old).len(), known);
    bridge.next_replica();
    bridge.signal("CONT").await;
    bridge.turn("c", "And on it goes").await;
    assert_eq!(stored(&bridge, &new).len(), 2);
    bridge.allow(Allow::FailedLoops);
    bridge.finish().await;
}

#[tokio::test]
async fn a_lost_conversation_begins_anew_at_every_replica() {
    let Some(mut bridge) = replicas(3, Setup::new()).await else { return };
    for n in 0..3 {
        bridge.turn("c", &format!("Message {n}")).await;
        bridge.next_replica();
    }
    bridge.turn("d", "Somebody else").await;
    let old = bridge.bound("c").await;
    bridge.sandbox.vanish(&old).expect("it exists");
    bridge.say("c", "Are you still there?").await;
    // Fini has to say twice, minutes apart, that it does not know a conversation before that is believed.
    within(Duration::from_secs(240), "the conversation to be lost", async || {
        (bridge.conversation("c").await["state"] == "lost").then_some(())
    })
    .await;
    let mut last = String::new();
    for n in 0..3 {
        let (id, text) = bridge.say("c", &format!("Anew {n}")).await;
        assert_eq!(bridge.end_of("c", &id).await["data"]["outcome"], "answered");
        last = text;
        bridge.next_replica();
    }
    let new = bridge.bound("c").await;
    assert_ne!(new, old);
    assert_eq!(stored(&bridge, &new).last(), Some(&last));
    bridge.allow(Allow::Unsent);
    bridge.finish().await;
}
