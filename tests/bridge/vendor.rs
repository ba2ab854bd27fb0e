//! Fini as it is: ids that are never told, limits, keys, late replies and everything its documentation leaves open.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Allow, Bridge, Setup, eventually, unique, within};
use fini_bridge::sandbox::{
    AttributeMode, DEFAULT_BOT_ID, Fault, FaultKind, FaultParams, FaultRoute, ListKey, ListOrder, ResolveMode, Route,
    Settings, SinceReading,
};

fn requests(bridge: &Bridge, route: Route) -> u64 {
    bridge.sandbox.audit(0, false).routes.get(route.name()).map_or(0, |statuses| statuses.values().sum())
}

/// Ids of every Fini event in a feed.
fn shown(feed: &[Value]) -> Vec<String> {
    let id = |event: &Value| {
        let data = &event["data"];
        (data["origin"] != "frontend")
            .then(|| data["message"]["id"].as_str().or_else(|| data["event_id"].as_str()).map(str::to_owned))?
    };
    feed.iter().filter_map(id).collect()
}

#[tokio::test]
async fn many_new_conversations_are_found_with_few_requests() {
    let mut bridge = Setup::new().set("poll.sweep_interval", "\"1s\"").start().await;
    let mut posted = Vec::new();
    for n in 0..40 {
        let conversation = format!("c-{n}");
        posted.push((conversation.clone(), bridge.say(&conversation, "Where is my order?").await.0));
    }
    for (conversation, id) in &posted {
        bridge.end_of(conversation, id).await;
        bridge.bound(conversation).await;
    }
    let (lists, gets) = (requests(&bridge, Route::List), requests(&bridge, Route::Get));
    assert!(lists <= 20 && gets <= 10, "{lists} List and {gets} Get requests for 40 conversations");
    let mut ids: Vec<_> = Vec::new();
    for (conversation, _) in &posted {
        ids.push(bridge.bound(conversation).await);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 40, "no two share one");
    bridge.finish().await;
}

/// One whole story under one reading of the documentation.
async fn story(what: &str, vendor: impl FnOnce(&mut Settings)) {
    let mut bridge = Setup::new().vendor(vendor).start().await;
    for conversation in ["c", "d"] {
        let (_, end) = bridge.turn(conversation, "Where is my order?").await;
        assert_eq!(end["data"]["outcome"], "answered", "{what}");
    }
    let (c, d) = (bridge.bound("c").await, bridge.bound("d").await);
    assert_ne!(c, d, "{what}");
    let (_, end) = bridge.turn("c", "Give me a human").await;
    assert_eq!(end["type"], "turn.completed", "{what}");
    bridge.state("c", "escalated").await;
    let text = unique("Hello, this is Ada");
    let id = bridge.sandbox.agent_message(&c, &text).expect("it exists").id.clone();
    bridge.event("c", "the agent's message", |event| event["data"]["message"]["id"] == id.as_str()).await;
    assert!(!shown(&bridge.events("d").await).contains(&id), "{what}");
    bridge.finish().await;
}

#[tokio::test]
async fn since_may_mean_creation() {
    story("created", |vendor| vendor.since_reading = SinceReading::Created).await;
}

#[tokio::test]
async fn list_may_be_keyed_and_ordered_otherwise() {
    story("newer pages", |vendor| {
        vendor.list_key = ListKey::Conversations;
        vendor.list_order = ListOrder::AnyEvent;
        vendor.list_untouched = true;
        vendor.unknown_id_status = 404;
    })
    .await;
}

#[tokio::test]
async fn list_may_lag_behind() {
    story("lag", |vendor| vendor.list_lag_ms = 3_000).await;
}

#[tokio::test]
async fn attributes_may_be_ignored() {
    story("ignored", |vendor| vendor.user_attributes = AttributeMode::Ignore).await;
}

#[tokio::test]
async fn attributes_may_be_kept_from_the_first_message_or_replaced() {
    story("first only", |vendor| vendor.user_attributes = AttributeMode::FirstOnly).await;
    story("replaced", |vendor| vendor.user_attributes = AttributeMode::Replace).await;
}

#[tokio::test]
async fn clocks_may_differ() {
    story("ahead", |vendor| vendor.clock_offset_ms = 90_000).await;
    story("behind", |vendor| vendor.clock_offset_ms = -90_000).await;
}

#[tokio::test]
async fn statuses_may_be_missing() {
    story("none", |vendor| vendor.open_status = None).await;
}

#[tokio::test]
async fn replies_may_come_late() {
    let mut bridge = Setup::new().start().await;
    for n in 0..2 {
        let (id, end) = bridge.turn("c", "Answer me later").await;
        let wanted = json!({"message_id": id, "outcome": "answered", "replies": 1});
        assert_eq!(end["data"], wanted, "turn {n}");
        let feed = bridge.events("c").await;
        let reply = feed.iter().find(|event| event["data"]["in_reply_to"] == id.as_str()).expect("the reply");
        assert!(reply["sequence"].as_i64() < end["sequence"].as_i64(), "the turn ends after its reply");
    }
    // A message that waits behind a late reply is sent after it.
    let (first, _) = bridge.say("c", "Answer me later").await;
    let (second, _) = bridge.say("c", "And this at once").await;
    let (first, second) = (bridge.end_of("c", &first).await, bridge.end_of("c", &second).await);
    assert!(first["sequence"].as_i64() < second["sequence"].as_i64());
    bridge.finish().await;
}

#[tokio::test]
async fn a_reply_that_does_not_come_holds_the_next_message_for_a_while_only() {
    let mut bridge = Setup::new().set("fini.hold_window", "\"500ms\"").start().await;
    bridge.turn("c", "Hello").await;
    let interaction = bridge.bound("c").await;
    // Stored, and answered by nobody; and the same without a word of the failure.
    let (silent, _) = bridge.say("c", "Please fail").await;
    let (slow, _) = bridge.say("c", "Answer me later 3600").await;
    let (next, _) = bridge.say("c", "Where is my order?").await;
    let end = bridge.end_of("c", &next).await;
    assert_eq!(end["data"], json!({"message_id": next, "outcome": "answered", "replies": 1}));
    let feed = bridge.events("c").await;
    for open in [&silent, &slow] {
        assert!(
            !feed
                .iter()
                .any(|event| event["type"] != "message.created" && event["data"]["message_id"] == open.as_str())
        );
    }
    // Late, but each to its own message, in their order.
    for open in [&silent, &slow] {
        let reply =
            bridge.sandbox.bot_message(&interaction, &unique("Here I am after all")).expect("it exists").id.clone();
        let end = bridge.end_of("c", open).await;
        assert_eq!(end["data"], json!({"message_id": open, "outcome": "answered", "replies": 1}));
        let feed = bridge.events("c").await;
        let told = feed.iter().find(|event| event["data"]["message"]["id"] == reply.as_str()).expect("told");
        assert_eq!(told["data"]["in_reply_to"], open.as_str());
    }
    let unasked = bridge.sandbox.bot_message(&interaction, &unique("One more thing")).expect("it exists").id.clone();
    let told = bridge.event("c", "the message", |event| event["data"]["message"]["id"] == unasked.as_str()).await;
    assert_eq!(told["data"]["in_reply_to"], Value::Null);
    bridge.finish().await;
}

#[tokio::test]
async fn a_reply_is_told_of_its_own_message_when_the_next_was_answered_before() {
    let setup = Setup::new().set("fini.hold_window", "\"300ms\"").vendor(|vendor| {
        vendor.late_reply_ms = 4_000;
        vendor.reply_latency_ms = 200;
    });
    let mut bridge = setup.start().await;
    let (first, _) = bridge.say("c", "Answer me later").await;
    let (second, _) = bridge.say("c", "Where is my order?").await;
    let (first_end, second_end) = (bridge.end_of("c", &first).await, bridge.end_of("c", &second).await);
    assert!(second_end["sequence"].as_i64() < first_end["sequence"].as_i64(), "nothing waits for nothing");
    let feed = bridge.events("c").await;
    for id in [&first, &second] {
        let replies = feed.iter().filter(|event| event["data"]["in_reply_to"] == id.as_str()).count();
        assert_eq!(replies, 1, "{id}");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn a_bot_may_write_unasked() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    let id = bridge.sandbox.bot_message(&interaction, "Your order has just left us").expect("it exists").id.clone();
    let event = bridge.event("c", "the message", |event| event["data"]["message"]["id"] == id.as_str()).await;
    assert_eq!((&event["data"]["message"]["author"], &event["data"]["in_reply_to"]), (&json!("bot"), &Value::Null));
    bridge.finish().await;
}

#[tokio::test]
async fn an_escalation_may_show_in_the_status_alone_without_any_message() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    bridge.sandbox.set_status(&interaction, Some("Escalated to Human Agent")).expect("it exists");
    let event = bridge.event_of("c", "conversation.escalated").await;
    assert_eq!(event["data"]["reason"], "status");
    bridge.finish().await;
}

/// The bot's newest conversation is continued for whoever comes: `first` is bound, then `second` writes.
async fn mixed_up(latency: u64) -> Bridge {
    let setup = Setup::new().set("poll.sweep_interval", "\"20ms\"").vendor(|vendor| {
        vendor.resolve_mode = ResolveMode::NewestOfBot;
        vendor.reply_latency_ms = latency;
    });
    let mut bridge = setup.start().await;
    bridge.turn("first", "Where is my order?").await;
    bridge.bound("first").await;
    bridge.say("second", "I want to return the blue shoes").await;
    bridge.state("second", "quarantined").await;
    bridge.allow(Allow::Unbound);
    bridge
}

#[tokio::test]
async fn a_reused_conversation_is_quarantined_and_nobody_sees_the_others_messages() {
    for latency in [0, 700] {
        let mut bridge = mixed_up(latency).await;
        let interaction = bridge.bound("first").await;
        let stored = bridge.sandbox.conversation(&interaction).expect("it exists");
        // Both are in there; the first customer's part ends where the second one's begins.
        let begin = stored
            .events
            .iter()
            .position(|event| event.message.as_deref().is_some_and(|text| text.contains("blue shoes")));
        let begin = begin.expect("Fini reused the conversation");
        let mine: Vec<&str> = stored.events[..begin].iter().map(|event| event.id.as_str()).collect();
        bridge
            .end_of("second", bridge.events("second").await[0]["data"]["message"]["id"].as_str().expect("an id"))
            .await;
        bridge.sandbox.agent_message(&interaction, "Is this about the shoes?").expect("it exists");
        bridge.turn("first", "Still here").await;
        let first = bridge.events("first").await;
        let second = bridge.events("second").await;
        assert!(!Value::from(first.clone()).to_string().contains("blue shoes"), "latency {latency}");
        for id in shown(&second) {
            assert!(!mine.contains(&id.as_str()), "latency {latency}: the second customer was shown {id}");
            assert!(!shown(&first).contains(&id), "latency {latency}: both customers were shown {id}");
        }
        let replies: Vec<String> = bridge.sandbox.conversation(&interaction).expect("it exists").events[begin..]
            .iter()
            .take(2)
            .map(|event| event.id.clone())
            .collect();
        for id in replies {
            assert!(
                !shown(&first).contains(&id),
                "latency {latency}: the first customer was shown what the second asked and got"
            );
        }
        bridge.finish().await;
    }
}

#[tokio::test]
async fn an_operator_settles_a_quarantine_with_a_new_conversation() {
    let mut bridge = mixed_up(0).await;
    let error = bridge.log().into_iter().find(|line| line["level"] == "ERROR").expect("the operator is told");
    assert_eq!(error["conversation_id"], "second");
    eventually("the quarantine in the metrics", async || {
        (bridge.metric("fini_bridge_backlog{kind=\"quarantined\"}").await == Some(1.0)).then_some(())
    })
    .await;
    let view = bridge.admin("GET", "/admin/v1/conversations/web/second").send().await.expect(200).json();
    assert_eq!(view["state"], "quarantined");
    // Nothing is sent for it meanwhile, but it is accepted.
    let (waiting, text) = bridge.say("second", "Hello? The shoes?").await;
    bridge.turn("first", "I go on").await;
    assert_eq!(bridge.times_stored(&text), 0);
    let bind = |conversation: &str, body: Value| {
        bridge.admin("POST", &format!("/admin/v1/conversations/web/{conversation}/bind")).json(&body)
    };
    let taken = bridge.bound("first").await;
    bind("second", json!({"interaction_id": taken})).send().await.problem(409, "already_bound");
    bind("first", json!({"new": true})).send().await.problem(409, "not_quarantined");
    bind("nobody", json!({"new": true})).send().await.problem(404, "not_found");
    for wrong in
        [json!({}), json!({"new": false}), json!({"new": true, "interaction_id": "x"}), json!({"interaction_id": 7})]
    {
        let answer = bind("second", wrong).send().await;
        assert!((400..500).contains(&answer.status), "{}", answer.text);
    }
    bridge.sandbox.set(|settings| settings.resolve_mode = ResolveMode::AlwaysNew);
    bind("second", json!({"new": true})).send().await.expect(200);
    let end = bridge.end_of("second", &waiting).await;
    assert_eq!(end["data"]["outcome"], "answered");
    assert_eq!(bridge.times_stored(&text), 1);
    assert_ne!(bridge.bound("second").await, taken);
    bridge.finish().await;
}

#[tokio::test]
async fn an_operator_settles_a_quarantine_with_an_existing_conversation() {
    let mut bridge = mixed_up(0).await;
    bridge.sandbox.set(|settings| settings.resolve_mode = ResolveMode::AlwaysNew);
    let body = json!({"botId": DEFAULT_BOT_ID, "content": "Begun by somebody at the vendor's"});
    bridge.vendor_call("POST", "/v2/hc-interactions/events/public").json(&body).send().await.expect(200);
    let other = bridge.sandbox.conversations(1)[0].id.to_string();
    let path = "/admin/v1/conversations/web/second/bind";
    let answer = bridge.admin("POST", path).json(&json!({"interaction_id": other})).send().await.expect(200).json();
    assert_eq!((&answer["interaction_id"], &answer["state"]), (&json!(other), &json!("open")));
    let (_, end) = bridge.turn("second", "The shoes, please").await;
    assert_eq!(end["data"]["outcome"], "answered");
    assert_eq!(bridge.bound("second").await, other);
    bridge.finish().await;
}

#[tokio::test]
async fn customers_with_the_same_address_are_not_mixed_either() {
    let mut bridge = Setup::new().vendor(|vendor| vendor.resolve_mode = ResolveMode::SameAttribute).start().await;
    for conversation in ["c", "d"] {
        let text = unique("Where is my order?");
        let user = json!({"id": format!("u-{conversation}"), "attributes": {"email": "c@example.com"}});
        let body = json!({"conversation_id": conversation, "message_id": "m-1", "text": text, "user": user});
        bridge.post(&body).await.expect(202);
        bridge.end_of(conversation, "m-1").await;
        if conversation == "c" {
            bridge.bound("c").await;
        }
    }
    bridge.state("d", "quarantined").await;
    let (c, d) = (shown(&bridge.events("c").await), shown(&bridge.events("d").await));
    assert!(c.iter().all(|id| !d.contains(id)), "{c:?} {d:?}");
    bridge.allow(Allow::Unbound);
    bridge.finish().await;
}

/// Fini has to say twice, minutes apart, that it does not know a conversation before that is believed.
const GONE: Duration = Duration::from_secs(240);

#[tokio::test]
async fn a_conversation_that_is_gone_is_lost_and_begins_anew() {
    tokio::join!(gone(500), gone(404));
}

async fn gone(status: u16) {
    let mut bridge = Setup::new().vendor(|vendor| vendor.unknown_id_status = status).start().await;
    bridge.turn("d", "Somebody else").await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    bridge.bound("d").await;
    bridge.sandbox.vanish(&interaction).expect("it exists");
    let (id, text) = bridge.say("c", "Are you still there?").await;
    let end = within(GONE, "the end of the turn", async || {
        let feed = bridge.events("c").await;
        feed.into_iter().find(|event| event["data"]["message_id"] == id.as_str())
    })
    .await;
    assert_eq!((&end["type"], &end["data"]["code"]), (&json!("turn.failed"), &json!("interaction_lost")), "{status}");
    assert_eq!((end["data"]["may_resend"].as_bool(), bridge.times_stored(&text)), (Some(true), 0));
    bridge.state("c", "lost").await;
    // Whatever ends a turn is in the log and in the figures.
    let failed = bridge.log().into_iter().find(|line| line["message"] == "turn failed").expect("it is said");
    assert_eq!(
        (&failed["conversation_id"], &failed["message_id"], &failed["code"]),
        (&json!("c"), &json!(id), &json!("interaction_lost")),
        "{failed}"
    );
    let ended = "fini_bridge_turns_total{frontend=\"web\",outcome=\"interaction_lost\"}";
    assert_eq!(bridge.metric(ended).await, Some(1.0));
    let gets = requests(&bridge, Route::Get);
    let (_, end) = bridge.turn("c", "Then from the beginning").await;
    assert_eq!(end["data"]["outcome"], "answered");
    assert_ne!(bridge.bound("c").await, interaction);
    bridge.state("c", "open").await;
    assert!(requests(&bridge, Route::Get) - gets < 10, "what is gone must not be asked for again and again");
    bridge.allow(Allow::Unsent);
    bridge.finish().await;
}

#[tokio::test]
async fn a_refused_key_stops_sending_and_recovers_by_itself() {
    for kind in [FaultKind::Unauthorised, FaultKind::Forbidden] {
        let mut bridge = Setup::new().start().await;
        bridge.turn("c", "Where is my order?").await;
        bridge.bound("c").await;
        let id = bridge.sandbox.add_fault(Fault::new(FaultRoute::Any, kind).times(10_000)).expect("valid");
        let (message, text) = bridge.say("c", "And now?").await;
        let readiness = eventually("the bridge not to be ready", async || {
            Some(bridge.admin("GET", "/readyz").send().await).filter(|answer| answer.status == 503)
        })
        .await;
        assert_eq!(readiness.json()["ready"], false);
        let before = requests(&bridge, Route::GenerateAnswer);
        assert!(!bridge.events("c").await.iter().any(|event| event["data"]["code"].is_string()), "nothing has failed");
        bridge.sandbox.remove_fault(id);
        let end = within(Duration::from_secs(40), "the end of the turn", async || {
            bridge.events("c").await.into_iter().find(|event| event["data"]["message_id"] == message.as_str())
        })
        .await;
        assert_eq!(end["data"]["outcome"], "answered");
        assert_eq!(bridge.times_stored(&text), 1);
        assert!(before < 5, "a refused key is not tried over and over: {before}");
        within(Duration::from_secs(40), "the bridge to be ready again", async || {
            (bridge.admin("GET", "/readyz").send().await.status == 200).then_some(())
        })
        .await;
        bridge.finish().await;
    }
}

#[tokio::test]
async fn two_keys_are_used_for_what_they_are_for() {
    use fini_bridge::sandbox::ApiKey;
    let mut setup = Setup::new();
    let (read, write) =
        (format!("fini_{}", unique("r").replace(' ', "")), format!("fini_{}", unique("w").replace(' ', "")));
    setup.sandbox.api_keys = vec![ApiKey::read_only(&read), ApiKey::write_only(&write)];
    let setup = setup
        .set("fini.api_key", "\"\"")
        .set("fini.read_api_key", &format!("{read:?}"))
        .set("fini.write_api_key", &format!("{write:?}"));
    let mut bridge = setup.start().await;
    bridge.keep_private(&read);
    bridge.keep_private(&write);
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    let answer = bridge.call("DELETE", "/v1/conversations/c?upstream=true").send().await.expect(202).json();
    assert_eq!(answer["upstream"], "erased");
    let audit = bridge.sandbox.audit(0, false);
    let refused: u64 =
        audit.routes.values().flat_map(|statuses| [statuses.get("401"), statuses.get("403")]).flatten().sum();
    assert_eq!(refused, 0, "{:?}", audit.routes);
    bridge.finish().await;
}

#[tokio::test]
async fn being_throttled_delays_and_loses_nothing() {
    for retry_after in [None, Some(json!(1)), Some(json!("nonsense"))] {
        let mut bridge = Setup::new().start().await;
        bridge.turn("c", "Where is my order?").await;
        let params = FaultParams { retry_after, ..FaultParams::default() };
        let fault = Fault::new(FaultRoute::GenerateAnswer, FaultKind::RateLimited).times(1).with(params);
        bridge.sandbox.add_fault(fault).expect("valid");
        let (id, text) = bridge.say("c", "And now?").await;
        let end = within(Duration::from_secs(30), "the end of the turn", async || {
            bridge.events("c").await.into_iter().find(|event| event["data"]["message_id"] == id.as_str())
        })
        .await;
        assert_eq!(end["data"]["outcome"], "answered");
        assert_eq!(bridge.times_stored(&text), 1);
        bridge.finish().await;
    }
}

#[tokio::test]
async fn reads_that_fail_in_every_way_hide_nothing_for_long() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    let kinds = [
        FaultKind::Status,
        FaultKind::ResetBefore,
        FaultKind::TruncatedJson,
        FaultKind::Garbage,
        FaultKind::EmptyArray,
        FaultKind::Delay,
        FaultKind::StoreThenReset,
    ];
    for route in [FaultRoute::List, FaultRoute::Get] {
        for kind in kinds {
            bridge.sandbox.add_fault(Fault::new(route, kind)).expect("valid");
        }
    }
    let id = bridge.sandbox.agent_message(&interaction, "Can you hear me?").expect("it exists").id.clone();
    within(Duration::from_secs(60), "the agent's message", async || {
        let feed = bridge.events("c").await;
        feed.iter().any(|event| event["data"]["message"]["id"] == id.as_str()).then_some(())
    })
    .await;
    bridge.finish().await;
}
