//! Things that Fini's List cannot give: a page that is too large or too slow, a row that nobody can read, a conversation that it
//! never shows, one of thousands of events. Reading of all others goes on, and nothing is lost.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Allow, Bridge, Setup, epoch_millis, eventually, unique, within};
use fini_bridge::sandbox::{Fault, FaultKind, FaultParams, FaultRoute, ListRefusal, ResolveMode, Seed, SinceReading};

/// The time that finding the size of a page may take, where a page that is too slow costs a whole deadline.
const PATIENCE: Duration = Duration::from_secs(150);

fn setup() -> Setup {
    Setup::new().set("poll.sweep_interval", "\"100ms\"")
}

/// An agent writes in each; each is told what was written in it.
async fn agents_are_heard(bridge: &Bridge, conversations: &[String]) {
    let mut written = Vec::new();
    for conversation in conversations {
        let interaction = bridge.bound(conversation).await;
        let event = bridge.sandbox.agent_message(&interaction, &unique("This is Ada")).expect("it exists");
        written.push((conversation, event.id.clone()));
    }
    for (conversation, id) in written {
        within(PATIENCE, &format!("the agent's message in {conversation}"), async || {
            let feed = bridge.events(conversation).await;
            feed.iter().any(|event| event["data"]["message"]["id"] == id.as_str()).then_some(())
        })
        .await;
    }
}

/// So many conversations with an answered turn, bound.
async fn many(bridge: &mut Bridge, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|number| format!("c-{number}")).collect();
    for (conversation, id) in bridge.say_in_each(names.clone(), "Where is my order?").await {
        bridge.end_of(&conversation, &id).await;
        bridge.bound(&conversation).await;
    }
    names
}

/// How often a page of this size was asked for, from the moment at which it is first called.
struct Asked(u64);

impl Asked {
    fn since_now(bridge: &Bridge, limit: u32) -> Self {
        let nothing = FaultParams { ms: Some(0), ..FaultParams::default() };
        let watch =
            Fault::new(FaultRoute::List, FaultKind::Delay).times(1).containing(format!("limit={limit}")).with(nothing);
        Self(bridge.sandbox.add_fault(watch).expect("valid"))
    }

    fn is_seen(&self, bridge: &Bridge) -> bool {
        bridge.sandbox.faults().iter().any(|fault| fault.id == self.0 && fault.struck > 0)
    }
}

#[tokio::test]
async fn a_conversation_larger_than_a_page_may_be_hides_no_other_and_is_read_by_itself() {
    let mut bridge = setup().start().await;
    let names = many(&mut bridge, 12).await;
    let large = bridge.bound(&names[5]).await;
    bridge.sandbox.set(|settings| {
        settings.list_max_bytes = Some(60_000);
        settings.list_refusal = ListRefusal::Internal;
    });
    for _ in 0..3 {
        bridge.sandbox.agent_message(&large, &unique(&"long ".repeat(6_000))).expect("it exists");
    }
    agents_are_heard(&bridge, &names).await;
    // At the top of List it is in the way of every page.
    agents_are_heard(&bridge, &names[5..6]).await;
    within(PATIENCE, "the large one to be named", async || {
        let log = bridge.log();
        let mut named = log.iter().filter(|line| line["level"] == "ERROR");
        named
            .any(|line| line["message"].as_str().is_some_and(|text| text.contains("cannot give a conversation")))
            .then_some(())
    })
    .await;
    agents_are_heard(&bridge, &names).await;
    // Once Fini can give it, pages grow again by themselves.
    bridge.sandbox.set(|settings| settings.list_max_bytes = None);
    let grown = Asked::since_now(&bridge, 100);
    within(PATIENCE, "pages of the full size", async || grown.is_seen(&bridge).then_some(())).await;
    agents_are_heard(&bridge, &names).await;
    bridge.finish().await;
}

#[tokio::test]
async fn a_page_of_more_rows_than_fini_gives_is_asked_for_in_smaller_ones_however_it_is_refused() {
    for refusal in [ListRefusal::BadRequest, ListRefusal::Internal] {
        let mut bridge = setup().start().await;
        let names = many(&mut bridge, 12).await;
        bridge.sandbox.set(|settings| {
            settings.list_max_rows = Some(5);
            settings.list_refusal = refusal;
        });
        agents_are_heard(&bridge, &names).await;
        let (id, _) = bridge.say("late", "Where is my order?").await;
        bridge.end_of("late", &id).await;
        bridge.bound("late").await;
        // A row that is larger than a page may be, somewhere below the first page.
        let large = bridge.bound(&names[0]).await;
        bridge.sandbox.agent_message(&large, &unique(&"long ".repeat(6_000))).expect("it exists");
        agents_are_heard(&bridge, &names[1..]).await;
        bridge.sandbox.set(|settings| {
            settings.list_max_rows = None;
            settings.list_max_bytes = Some(25_000);
        });
        agents_are_heard(&bridge, &names).await;
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_page_that_takes_longer_than_the_deadline_is_asked_for_in_smaller_ones() {
    let mut bridge = setup().start().await;
    let names = many(&mut bridge, 3).await;
    let now = epoch_millis();
    let others = Seed { conversations: 60, from_ms: Some(now - 30_000), to_ms: Some(now - 10_000), ..Seed::default() };
    bridge.sandbox.seed(&others).expect("valid");
    bridge.sandbox.set(|settings| {
        settings.list_max_rows = Some(30);
        settings.list_refusal = ListRefusal::Timeout;
    });
    // Bound by reading List, and so only once its pages are small enough; what goes on meanwhile needs no List.
    let (id, _) = bridge.say("late", "Where is my order?").await;
    bridge.end_of("late", &id).await;
    agents_are_heard(&bridge, &names).await;
    within(PATIENCE, "the binding", async || {
        bridge.conversation("late").await["interaction_id"].is_string().then_some(())
    })
    .await;
    agents_are_heard(&bridge, &["late".to_owned()]).await;
    bridge.finish().await;
}

#[tokio::test]
async fn a_conversation_that_list_never_shows_is_read_however_many_are_watched_longer() {
    let setup = setup().vendor(|vendor| vendor.resolve_mode = ResolveMode::NewestOfBot);
    let mut bridge = setup.start().await;
    // Begun before the longest window of List, and continued: an operator says that it is this customer's.
    let began = Some(epoch_millis() - 100 * 24 * 60 * 60 * 1_000);
    let old = Seed { conversations: 1, from_ms: began, to_ms: began, ..Seed::default() };
    let interaction = bridge.sandbox.seed(&old).expect("valid").last_id.expect("one was made");
    bridge.say("old", "It is me again").await;
    bridge.state("old", "quarantined").await;
    bridge.sandbox.set(|settings| {
        settings.resolve_mode = ResolveMode::AlwaysNew;
        settings.since_reading = SinceReading::Created;
    });
    let bind =
        bridge.admin("POST", "/admin/v1/conversations/web/old/bind").json(&json!({"interaction_id": interaction}));
    bind.send().await.expect(200);
    let names = many(&mut bridge, 80).await;
    agents_are_heard(&bridge, &["old".to_owned(), names[0].clone()]).await;
    agents_are_heard(&bridge, &["old".to_owned()]).await;
    bridge.finish().await;
}

#[tokio::test]
async fn rows_that_nobody_can_read_are_counted_and_said_and_hide_no_other() {
    const SAMPLE: &str = "fini_bridge_list_rows_left_out_total{reason=\"unreadable\"}";
    let mut bridge = setup().start().await;
    let names = many(&mut bridge, 2).await;
    assert_eq!(bridge.metric(SAMPLE).await, Some(0.0));
    let page = json!({"interactions": [17, {"id": "x", "events": 3}], "hasMore": false});
    let params = FaultParams { status: Some(200), body: Some(page.to_string()), ..FaultParams::default() };
    bridge.sandbox.add_fault(Fault::new(FaultRoute::List, FaultKind::Status).times(2).with(params)).expect("valid");
    eventually("both rows to be counted", async || {
        bridge.metric(SAMPLE).await.is_some_and(|count| count >= 4.0).then_some(())
    })
    .await;
    let log = bridge.log();
    let of = |message: &str| log.iter().find(|line| line["message"] == message).cloned().unwrap_or_default();
    assert_eq!(of("unreadable conversations left out of a List page")["conversations"], 1);
    assert_eq!(of("unreadable conversation left out")["interaction_id"], "x");
    agents_are_heard(&bridge, &names).await;
    bridge.finish().await;
}

/// When an event of a feed was recorded.
fn recorded_at(event: &Value) -> &str {
    event["timestamp"].as_str().expect("a time")
}

#[tokio::test]
async fn thousands_of_events_at_once_are_told_in_order_and_nobody_waits_for_them() {
    const EVENTS: usize = 5_000;
    let setup = setup().web(|web| web.callback_events = vec!["turn.*".to_owned()]);
    let mut bridge = setup.start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    bridge.stop().await;
    let mut written = Vec::with_capacity(EVENTS);
    for number in 0..EVENTS {
        written
            .push(bridge.sandbox.agent_message(&interaction, &format!("line {number}")).expect("it exists").id.clone());
    }
    bridge.restart().await;
    let mut others = Vec::new();
    let feed = within(PATIENCE, "all of them", async || {
        let conversation = format!("d-{}", others.len());
        bridge.say(&conversation, "Where is my order?").await;
        others.push(conversation);
        let feed = bridge.events("c").await;
        let told = feed.iter().filter(|event| event["data"]["message"]["author"] == "agent").count();
        (told >= EVENTS).then_some(feed)
    })
    .await;
    let told: Vec<&Value> = feed.iter().filter(|event| event["data"]["message"]["author"] == "agent").collect();
    let ids: Vec<&str> = told.iter().filter_map(|event| event["data"]["message"]["id"].as_str()).collect();
    assert_eq!(ids, written, "each once, in order");
    let (first, last) = (recorded_at(told[0]), recorded_at(told[EVENTS - 1]));
    let mut accepted = Vec::new();
    for conversation in &others {
        accepted.push(recorded_at(&bridge.events(conversation).await[0]).to_owned());
    }
    let between = accepted.iter().filter(|at| first < at.as_str() && at.as_str() < last).count();
    assert!(between >= 1, "nothing was accepted between {first} and {last}: {accepted:?}");
    bridge.state("c", "escalated").await;
    bridge.allow(Allow::Unbound);
    bridge.finish().await;
}
