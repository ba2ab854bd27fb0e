//! Fini goes on with an older conversation for a new one of ours: whose past that is decides what is told, and to whom.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Allow, Bridge, Frontend, Setup, epoch_millis, eventually, unique, within};
use fini_bridge::sandbox::{ResolveMode, Seed};

/// The time that finding out may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Words of somebody else, from before.
const PAST: &str = "The one with the red hat was here before";

/// Ids of every Fini event that a frontend was shown of a conversation, by feed or callback.
async fn shown(bridge: &Bridge, frontend: &Frontend, conversation: &str) -> Vec<String> {
    let mut events = bridge.feed(frontend, conversation).await.unwrap_or_default();
    let callbacks = bridge.receiver.of(conversation).into_iter().filter(|one| one.frontend == frontend.name);
    events.extend(callbacks.map(|callback| callback.event));
    let id = |event: &Value| {
        let data = &event["data"];
        (data["origin"] != "frontend")
            .then(|| data["message"]["id"].as_str().or_else(|| data["event_id"].as_str()).map(str::to_owned))?
    };
    events.iter().filter_map(id).collect()
}

/// Ids of the events that a Fini conversation has now.
fn there(bridge: &Bridge, interaction: &str) -> Vec<String> {
    bridge.sandbox.conversation(interaction).expect("it exists").events.iter().map(|event| event.id.clone()).collect()
}

/// Posts on behalf of a user, for whom the frontend's own server vouches; gives the message's id.
async fn say_as(
    bridge: &mut Bridge,
    frontend: &Frontend,
    conversation: &str,
    user: Option<&str>,
    text: &str,
) -> String {
    let id = unique("m").replace(' ', "-");
    let mut body = json!({"conversation_id": conversation, "message_id": id, "text": unique(text)});
    if let Some(user) = user {
        body["user"] = json!({"id": user, "attributes": {"email": "c@example.com"}});
    }
    bridge.remember(&frontend.name, &body);
    bridge.call("POST", "/v1/messages").bearer(&frontend.tokens[0]).json(&body).send().await.expect(202);
    id
}

/// The same, until its turn has come to its end.
async fn turn_as(bridge: &mut Bridge, conversation: &str, user: &str, text: &str) {
    let web = bridge.web().clone();
    let id = say_as(bridge, &web, conversation, Some(user), text).await;
    assert_eq!(bridge.end_of(conversation, &id).await["data"]["outcome"], "answered");
}

async fn agent_writes(bridge: &Bridge, interaction: &str, conversation: &str) -> String {
    let id = bridge.sandbox.agent_message(interaction, &unique("This is Ada")).expect("it exists").id.clone();
    bridge.event(conversation, "the agent's message", |event| event["data"]["message"]["id"] == id.as_str()).await;
    id
}

/// Fini goes on with a conversation, begun so long ago, of somebody of whom nobody here knows.
async fn a_strangers_past(age_ms: i64, last_events: Option<usize>) {
    let what = format!("{age_ms} ms old, the last {last_events:?} listed");
    let setup = Setup::new().set("poll.sweep_interval", "\"100ms\"").vendor(|vendor| {
        vendor.resolve_mode = ResolveMode::NewestOfBot;
        vendor.list_last_events = last_events;
    });
    let mut bridge = setup.start().await;
    let began = Some(epoch_millis() - age_ms);
    let seed = Seed {
        conversations: 1,
        events_each: 4,
        from_ms: began,
        to_ms: began,
        text: Some(PAST.into()),
        ..Seed::default()
    };
    let interaction = bridge.sandbox.seed(&seed).expect("valid").last_id.expect("one was made");
    let past = there(&bridge, &interaction);
    let (id, _) = bridge.say("c", "Where is my order?").await;
    within(PATIENCE, &format!("the quarantine: {what}"), async || {
        (bridge.conversation("c").await["state"] == "quarantined").then_some(())
    })
    .await;
    bridge.end_of("c", &id).await;
    let agent = bridge.sandbox.agent_message(&interaction, &unique("For the one with the hat")).expect("it exists");
    let (past, agent) = (past, agent.id.clone());
    // Another conversation of ours, begun anew, shows that reading has gone on since.
    bridge.sandbox.set(|settings| settings.resolve_mode = ResolveMode::AlwaysNew);
    bridge.turn("d", "Something else").await;
    let other = bridge.bound("d").await;
    agent_writes(&bridge, &other, "d").await;
    let web = bridge.web().clone();
    let told = shown(&bridge, &web, "c").await;
    assert!(!told.iter().any(|id| past.contains(id) || *id == agent), "{what}: {told:?}");
    let feed = json!(bridge.events("c").await).to_string();
    assert!(!feed.contains(PAST), "{what}: {feed}");
    bridge.allow(Allow::Unbound);
    bridge.finish().await;
}

#[tokio::test]
async fn of_a_strangers_conversation_nothing_is_told_however_little_list_shows_of_it() {
    // Older than any difference of clocks, and so young that its creation alone says nothing.
    for (age_ms, last_events) in [(600_000, Some(1)), (60_000, Some(1)), (60_000, Some(2)), (60_000, None)] {
        a_strangers_past(age_ms, last_events).await;
    }
}

/// Fini continues the person's conversation, whatever bot.
fn of_one_person() -> Setup {
    Setup::new().set("poll.sweep_interval", "\"100ms\"").vendor(|vendor| {
        vendor.resolve_mode = ResolveMode::SameAttribute;
        vendor.resolve_attribute = "user_id".into();
    })
}

async fn a_person_goes_on(last_events: Option<usize>) {
    let mut bridge = of_one_person().vendor(|vendor| vendor.list_last_events = last_events).start().await;
    let web = bridge.web().clone();
    turn_as(&mut bridge, "older", "u-1", "Where is my order?").await;
    let interaction = bridge.bound("older").await;
    agent_writes(&bridge, &interaction, "older").await;
    let before = there(&bridge, &interaction);

    turn_as(&mut bridge, "newer", "u-1", "I have another question").await;
    assert_eq!(bridge.bound("newer").await, interaction, "Fini goes on with it");
    let continued = bridge.event_of("older", "conversation.continued").await;
    assert_eq!(continued["data"], json!({"by": "newer"}));
    bridge.state("older", "continued").await;
    assert_eq!(bridge.conversation("older").await["interaction_id"], Value::Null);
    bridge.state("newer", "open").await;
    let agent = agent_writes(&bridge, &interaction, "newer").await;
    let told = shown(&bridge, &web, "newer").await;
    assert!(!told.iter().any(|id| before.contains(id)), "old words are no news: {told:?}");
    assert!(!shown(&bridge, &web, "older").await.contains(&agent), "told where the customer wrote last, alone");

    // A message into the other one takes it up again.
    turn_as(&mut bridge, "older", "u-1", "Back to the first one").await;
    assert_eq!(bridge.bound("older").await, interaction);
    bridge.state("newer", "continued").await;
    let continued = bridge.event_of("newer", "conversation.continued").await;
    assert_eq!(continued["data"], json!({"by": "older"}));
    let agent = agent_writes(&bridge, &interaction, "older").await;
    assert!(!shown(&bridge, &web, "newer").await.contains(&agent));
    let (older, newer) = (shown(&bridge, &web, "older").await, shown(&bridge, &web, "newer").await);
    assert!(older.iter().all(|id| !newer.contains(id)), "{older:?} {newer:?}");
    assert_eq!(bridge.sandbox.conversation_count(), 1);
    let held = bridge.metric("fini_bridge_backlog{kind=\"quarantined\"}").await;
    assert_eq!(held, Some(0.0), "no operator has to settle anything");
    bridge.allow(Allow::Unbound);
    bridge.finish().await;
}

#[tokio::test]
async fn a_person_goes_on_in_the_conversation_in_which_they_wrote_last() {
    a_person_goes_on(None).await;
}

#[tokio::test]
async fn a_person_goes_on_also_where_list_shows_only_the_last_words() {
    a_person_goes_on(Some(2)).await;
}

#[tokio::test]
async fn what_a_human_wrote_while_nobody_read_stays_with_the_conversation_before() {
    let mut bridge = of_one_person().start().await;
    turn_as(&mut bridge, "older", "u-1", "Where is my order?").await;
    let interaction = bridge.bound("older").await;
    bridge.stop().await;
    let agent = bridge.sandbox.agent_message(&interaction, &unique("It is on its way")).expect("it exists").id.clone();
    // The first thing that happens after the restart is the new conversation: its answer comes before any reading.
    bridge.sandbox.set(|settings| settings.list_lag_ms = 2_000);
    bridge.restart().await;
    turn_as(&mut bridge, "newer", "u-1", "I have another question").await;
    assert_eq!(bridge.bound("newer").await, interaction);
    bridge.event("older", "the agent's message", |event| event["data"]["message"]["id"] == agent.as_str()).await;
    bridge.state("older", "continued").await;
    let web = bridge.web().clone();
    assert!(!shown(&bridge, &web, "newer").await.contains(&agent));
    bridge.allow(Allow::Unbound);
    bridge.finish().await;
}

/// The second conversation is quarantined, and neither is shown a word of the other's.
async fn is_kept_apart(bridge: &mut Bridge, first: &Frontend, second: &Frontend, what: &str) {
    let path = "/v1/conversations/second";
    eventually(&format!("the quarantine of the second: {what}"), async || {
        let found = bridge.anonymous("GET", path).bearer(&second.tokens[0]).send().await.expect(200).json();
        (found["state"] == "quarantined").then_some(())
    })
    .await;
    let told = [shown(bridge, first, "first").await, shown(bridge, second, "second").await];
    assert!(told[0].iter().all(|id| !told[1].contains(id)), "{what}: {told:?}");
    bridge.allow(Allow::Unbound);
}

#[tokio::test]
async fn whoever_is_not_provably_the_same_person_is_kept_apart() {
    let people =
        [(Some("u-1"), Some("u-2"), "two users"), (Some("u-1"), None, "nobody vouches"), (None, None, "two unknown")];
    for (one, other, what) in people {
        let mut bridge = of_one_person().vendor(|vendor| vendor.resolve_mode = ResolveMode::NewestOfBot).start().await;
        let web = bridge.web().clone();
        let id = say_as(&mut bridge, &web, "first", one, "Where is my order?").await;
        bridge.end_of("first", &id).await;
        bridge.bound("first").await;
        say_as(&mut bridge, &web, "second", other, "I have another question").await;
        is_kept_apart(&mut bridge, &web, &web, what).await;
        bridge.finish().await;
    }
}

#[tokio::test]
async fn the_same_user_of_another_frontend_is_kept_apart() {
    let mut bridge = of_one_person().frontend(Frontend::new("app")).start().await;
    let (web, app) = (bridge.web().clone(), bridge.frontends[1].clone());
    let id = say_as(&mut bridge, &web, "first", Some("u-1"), "Where is my order?").await;
    bridge.end_of("first", &id).await;
    bridge.bound("first").await;
    say_as(&mut bridge, &app, "second", Some("u-1"), "I have another question").await;
    is_kept_apart(&mut bridge, &web, &app, "another frontend").await;
    bridge.finish().await;
}
