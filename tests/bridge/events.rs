//! What the feed says about what happens at Fini: every type of event, with exactly its data.

use serde_json::{Value, json};

use crate::harness::{Bridge, Setup, eventually, unique};
use fini_bridge::sandbox::Feedback;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn data(event: &Value) -> &Value {
    &event["data"]
}

/// Waits until the conversation's feed has shown `marker`, another bot's message written last; what Fini had before is in.
async fn caught_up(bridge: &Bridge, conversation: &str) -> Vec<Value> {
    let marker = unique("A marker of the test");
    let interaction = bridge.bound(conversation).await;
    remark(bridge, &interaction, &marker);
    bridge.event(conversation, "the marker", |event| event["data"]["message"]["text"] == marker.as_str()).await;
    bridge.events(conversation).await
}

fn of_kind<'a>(feed: &'a [Value], kind: &str) -> Vec<&'a Value> {
    feed.iter().filter(|event| event["type"] == kind).collect()
}

fn inject(bridge: &Bridge, interaction: &str, fields: Value) -> String {
    let Value::Object(fields) = fields else { panic!("an object") };
    bridge.sandbox.inject(interaction, &fields).expect("it exists").id.clone()
}

/// Another automation writes: neither the bot nor a human.
fn remark(bridge: &Bridge, interaction: &str, text: &str) {
    inject(bridge, interaction, json!({"role": "otherbot", "type": "message", "message": text}));
}

#[tokio::test]
async fn each_message_says_its_format_and_what_was_recorded_keeps_its_bytes() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "*Where* is my order?").await;
    let before = bridge.events("c").await;
    bridge.stop().await;
    bridge.restart_with(|setup| setup.set_web("text_format", r#""markdown""#)).await;
    bridge.turn("c", "*Where* is it?").await;
    let interaction = bridge.bound("c").await;
    inject(&bridge, &interaction, json!({"role": "agent", "type": "message", "message": "I look into **it**"}));
    bridge.event("c", "the agent", |event| event["data"]["message"]["author"] == "agent").await;
    let desk = json!({"conversation_id": "c", "message_id": "desk", "role": "otherbot", "text": "2*3*4"});
    bridge.post(&desk).await.expect(202);
    bridge.end_of("c", "desk").await;
    let feed = bridge.events("c").await;
    assert_eq!(feed[..before.len()], before, "what was told stays as it was told");
    let told: Vec<_> = of_kind(&feed, "message.created")
        .iter()
        .map(|event| {
            let message = &event["data"]["message"];
            [message["author"].as_str().expect("an author"), message["format"].as_str().expect("a format")]
        })
        .collect();
    let wanted = [
        ["user", "plain"],
        ["bot", "plain"],
        ["user", "plain"],
        ["bot", "markdown"],
        ["agent", "markdown"],
        ["otherbot", "plain"],
    ];
    assert_eq!(told, wanted);
    bridge.finish().await;
}

#[tokio::test]
async fn the_envelope_and_a_message_have_exactly_their_members() {
    let mut bridge = Setup::new().start().await;
    let (id, text) = bridge.say("c", "Where is my order?").await;
    bridge.end_of("c", &id).await;
    let interaction = bridge.bound("c").await;
    let feed = caught_up(&bridge, "c").await;
    for event in &feed {
        let wanted = ["conversation_id", "data", "frontend", "id", "interaction_id", "sequence", "timestamp", "type"];
        assert_eq!(keys(event), wanted);
        assert!(event["id"].as_str().is_some_and(|id| id.starts_with("evt_")), "{event}");
        assert_eq!((&event["frontend"], &event["conversation_id"]), (&json!("web"), &json!("c")));
        let time = event["timestamp"].as_str().expect("a text");
        assert!(time.len() == "2026-11-21T05:00:00.123Z".len() && time.ends_with('Z'), "{time}");
        time.parse::<jiff::Timestamp>().expect("RFC 3339");
    }
    assert_eq!(feed[0]["interaction_id"], Value::Null, "nobody knows it yet");
    assert_eq!(feed.last().expect("an event")["interaction_id"], interaction.as_str());

    let own = data(&feed[0]);
    assert_eq!(keys(own), ["in_reply_to", "message", "origin"]);
    let message_keys = ["articles", "attachments", "author", "created_at", "format", "id", "tags", "text"];
    assert_eq!(keys(&own["message"]), message_keys);
    assert_eq!((&own["message"]["author"], &own["in_reply_to"]), (&json!("user"), &Value::Null));
    assert_eq!(own["message"]["text"], text.as_str());

    let reply = feed.iter().find(|event| data(event)["message"]["author"] == "bot").expect("the bot replied");
    let reply = data(reply);
    assert_eq!(keys(&reply["message"]), message_keys);
    assert_eq!((&reply["origin"], &reply["in_reply_to"]), (&json!("fini"), &json!(id)));
    let stored = bridge.sandbox.conversation(&interaction).expect("it exists");
    let original = stored.events.iter().find(|event| event.role == "finibot").expect("the bot replied");
    assert_eq!(reply["message"]["id"], original.id.as_str(), "Fini's id of it");
    assert_eq!(reply["message"]["text"], original.message.as_deref().expect("a text"));
    let created: jiff::Timestamp = reply["message"]["created_at"].as_str().expect("a time").parse().expect("RFC 3339");
    assert_eq!(created.as_millisecond(), original.created_at);
    let articles = reply["message"]["articles"].as_array().expect("a list");
    assert_eq!(articles.len(), original.used_articles.len());
    assert_eq!((keys(&articles[0]), &articles[0]["title"]), (vec!["id", "title", "url"], &json!("Track your order")));

    let end = of_kind(&feed, "turn.completed")[0];
    assert_eq!(data(end), &json!({"message_id": id, "outcome": "answered", "replies": 1}));
    bridge.finish().await;
}

#[tokio::test]
async fn texts_pass_through_unaltered() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    let texts = [
        "two\nlines\r\nand \"quotes\", a \\ and a tab\t.",
        "<script>alert('x')</script> & <b>bold</b>",
        "Grüße, 日本語, \u{1F469}\u{200D}\u{1F469}\u{200D}\u{1F467}, \u{202E}right to left",
        "   spaces around   ",
        "\u{7f}\u{1}\u{2028}",
    ];
    for text in texts {
        let id = bridge.sandbox.agent_message(&interaction, text).expect("it exists").id.clone();
        let shown = bridge.event("c", "the text", |event| data(event)["message"]["id"] == id.as_str()).await;
        assert_eq!(data(&shown)["message"]["text"], text);
    }
    let mut posted = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let text = unique(text);
        let body = json!({"conversation_id": "c", "message_id": format!("own-{index}"), "text": text});
        bridge.post(&body).await.expect(202);
        posted.push(text);
    }
    for (index, text) in posted.iter().enumerate() {
        bridge.end_of("c", &format!("own-{index}")).await;
        assert_eq!(bridge.times_stored(text), 1, "{text:?}");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn several_replies_belong_to_one_turn() {
    let mut bridge = Setup::new().start().await;
    let (id, end) = bridge.turn("c", "Where is my order? Please say it twice").await;
    assert_eq!(data(&end), &json!({"message_id": id, "outcome": "answered", "replies": 2}));
    let feed = caught_up(&bridge, "c").await;
    let replies = feed.iter().filter(|event| data(event)["in_reply_to"] == id.as_str()).count();
    assert_eq!(replies, 2);
    bridge.finish().await;
}

#[tokio::test]
async fn a_bot_that_keeps_silent_ends_the_turn() {
    let mut bridge = Setup::new().start().await;
    let (id, end) = bridge.turn("c", "no reply, please").await;
    assert_eq!(data(&end), &json!({"message_id": id, "outcome": "no_reply", "replies": 0}));
    bridge.finish().await;
}

#[tokio::test]
async fn an_escalation_that_only_the_status_shows() {
    let mut bridge = Setup::new().start().await;
    let (id, _) = bridge.turn("c", "I want to talk to a human").await;
    let escalated = bridge.event_of("c", "conversation.escalated").await;
    assert_eq!(data(&escalated), &json!({"reason": "status", "status_text": "Escalated to Human Agent"}));
    let view = bridge.state("c", "escalated").await;
    assert_eq!(view["status_text"], "Escalated to Human Agent");
    let feed = caught_up(&bridge, "c").await;
    let ends = of_kind(&feed, "turn.completed");
    assert_eq!((ends.len(), &data(ends[0])["message_id"]), (1, &json!(id)));
    let changes = of_kind(&feed, "conversation.status_changed");
    let last = data(changes.last().expect("a change"));
    assert_eq!(keys(last), ["awaiting_customer", "previous_state", "state", "status_text"]);
    assert_eq!((&last["state"], &last["previous_state"]), (&json!("escalated"), &json!("open")));
    // A human has it now: the bot stays silent, and nobody waits for it.
    let (_, end) = bridge.turn("c", "Hello? Is somebody there?").await;
    assert_eq!((&end["type"], &data(&end)["outcome"]), (&json!("turn.completed"), &json!("escalated")));
    assert_eq!(of_kind(&bridge.events("c").await, "conversation.escalated").len(), 1, "once per escalation");
    bridge.finish().await;
}

#[tokio::test]
async fn an_escalation_without_a_word() {
    let mut bridge = Setup::new().start().await;
    let (id, end) = bridge.turn("c", "silently fetch somebody").await;
    assert_eq!(data(&end), &json!({"message_id": id, "outcome": "escalated", "replies": 0}));
    let escalated = bridge.event_of("c", "conversation.escalated").await;
    assert_eq!(data(&escalated)["reason"], "silent_escalation");
    assert_eq!(keys(data(&escalated)), ["reason", "status_text"]);
    bridge.state("c", "escalated").await;
    let feed = caught_up(&bridge, "c").await;
    assert_eq!(of_kind(&feed, "conversation.escalated").len(), 1);
    bridge.finish().await;
}

#[tokio::test]
async fn each_escalation_is_told_once() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    for count in 1..=2 {
        bridge.sandbox.set_status(&interaction, Some("escalated to human AGENT")).expect("it exists");
        bridge.sandbox.agent_message(&interaction, &unique("I take over")).expect("it exists");
        bridge.state("c", "escalated").await;
        assert_eq!(of_kind(&caught_up(&bridge, "c").await, "conversation.escalated").len(), count);
        // Another status is no sign that anybody has come, or has gone.
        bridge.sandbox.set_status(&interaction, Some("Open")).expect("it exists");
        assert_eq!(of_kind(&caught_up(&bridge, "c").await, "conversation.escalated").len(), count);
        assert_eq!(bridge.conversation("c").await["state"], "escalated");
        bridge.sandbox.bot_message(&interaction, &unique("It is me again")).expect("it exists");
        bridge.state("c", "open").await;
        assert_eq!(of_kind(&caught_up(&bridge, "c").await, "conversation.escalated").len(), count);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn human_agents_are_heard() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "I want to talk to a human").await;
    let interaction = bridge.bound("c").await;
    let text = unique("Hello, this is Ada from support");
    let id = bridge.sandbox.agent_message(&interaction, &text).expect("it exists").id.clone();
    let event = bridge.event("c", "the agent", |event| data(event)["message"]["id"] == id.as_str()).await;
    assert_eq!(event["type"], "message.created");
    let data = data(&event);
    assert_eq!((&data["message"]["author"], &data["message"]["text"]), (&json!("agent"), &json!(text)));
    assert_eq!((&data["origin"], &data["in_reply_to"]), (&json!("fini"), &Value::Null));
    let callback = eventually("the agent's words at the frontend", async || {
        bridge.receiver.of("c").into_iter().find(|one| one.event["data"]["message"]["id"] == id.as_str())
    })
    .await;
    assert_eq!(callback.event, event);
    bridge.finish().await;
}

#[tokio::test]
async fn resolved_and_opened_again() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    bridge.sandbox.set_resolved(&interaction, Some(true)).expect("it exists");
    bridge.sandbox.agent_message(&interaction, "Glad that I could be of help").expect("it exists");
    let event = bridge.event_of("c", "conversation.resolved").await;
    assert_eq!(data(&event), &json!({"resolved": true}));
    bridge.state("c", "resolved").await;
    bridge.turn("c", "One more thing after all").await;
    bridge.state("c", "open").await;
    let feed = caught_up(&bridge, "c").await;
    let changes: Vec<_> = of_kind(&feed, "conversation.status_changed")
        .iter()
        .map(|event| (data(event)["previous_state"].clone(), data(event)["state"].clone()))
        .filter(|(from, to)| from != to)
        .collect();
    assert_eq!(changes, [(json!("open"), json!("resolved")), (json!("resolved"), json!("open"))]);
    bridge.finish().await;
}

#[tokio::test]
async fn statuses_are_read_as_configured_and_others_pass_through() {
    let setup = Setup::new()
        .set("fini.escalated_statuses", "[\"With a colleague\"]")
        .set("fini.resolved_statuses", "[\"Closed\"]");
    let mut bridge = setup.start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    let set = |status: &str| {
        bridge.sandbox.set_status(&interaction, Some(status)).expect("it exists");
        remark(&bridge, &interaction, &unique("It is now different"));
    };
    set("Waiting for parts");
    let change = bridge.event_of("c", "conversation.status_changed").await;
    let wanted = json!({"state": "open", "previous_state": "open", "status_text": "Waiting for parts",
        "awaiting_customer": false});
    assert_eq!(data(&change), &wanted);
    set("with a COLLEAGUE");
    assert_eq!(bridge.state("c", "escalated").await["status_text"], "with a COLLEAGUE");
    set("closed");
    bridge.state("c", "resolved").await;
    assert_eq!(data(&bridge.event_of("c", "conversation.resolved").await), &json!({"resolved": true}));
    bridge.finish().await;
}

#[tokio::test]
async fn an_escalation_is_told_once_where_list_lags_eight_seconds_behind() {
    let mut bridge = Setup::new().vendor(|vendor| vendor.list_lag_ms = 8_000).start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    bridge.turn("c", "I want to talk to a human").await;
    bridge.state("c", "escalated").await;
    bridge.sandbox.set_resolved(&interaction, Some(true)).expect("it exists");
    bridge.state("c", "resolved").await;
    // What is written now is shown by List once it has passed everything that came before.
    let feed = caught_up(&bridge, "c").await;
    assert_eq!(of_kind(&feed, "conversation.escalated").len(), 1);
    assert_eq!(of_kind(&feed, "conversation.resolved").len(), 1);
    let states: Vec<_> =
        of_kind(&feed, "conversation.status_changed").iter().map(|event| data(event)["state"].clone()).collect();
    let mut changes = states.clone();
    changes.dedup();
    assert_eq!(changes, ["escalated", "resolved"], "{states:?}");
    bridge.finish().await;
}

#[tokio::test]
async fn another_silent_escalation_after_the_bot_answered_is_told_too() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "silently fetch somebody").await;
    bridge.state("c", "escalated").await;
    let interaction = bridge.bound("c").await;
    bridge.sandbox.set_status(&interaction, Some("Open")).expect("it exists");
    let (_, end) = bridge.turn("c", "Where is my order?").await;
    assert_eq!(data(&end)["outcome"], "answered", "the bot answers on");
    bridge.turn("c", "silently fetch somebody after all").await;
    let feed = caught_up(&bridge, "c").await;
    assert_eq!(of_kind(&feed, "conversation.escalated").len(), 2);
    bridge.finish().await;
}

#[tokio::test]
async fn a_human_takes_over_under_a_status_that_nobody_configured() {
    let setup = Setup::new().vendor(|vendor| vendor.escalated_status = "With a colleague".into());
    let mut bridge = setup.start().await;
    bridge.turn("c", "I want to talk to a human").await;
    let interaction = bridge.bound("c").await;
    let (id, text) = bridge.say("c", "Hello? Is somebody there?").await;
    eventually("the message at Fini, and the status", async || {
        let is_told = bridge.conversation("c").await["status_text"] == "With a colleague";
        (is_told && bridge.times_stored(&text) == 1).then_some(())
    })
    .await;
    bridge.sandbox.agent_message(&interaction, &unique("Ada here")).expect("it exists");
    let end = bridge.end_of("c", &id).await;
    assert_eq!((&data(&end)["outcome"], &data(&end)["replies"]), (&json!("escalated"), &json!(1)));
    let escalated = bridge.event_of("c", "conversation.escalated").await;
    assert_eq!(data(&escalated), &json!({"reason": "human_message", "status_text": "With a colleague"}));
    bridge.state("c", "escalated").await;
    let (_, end) = bridge.turn("c", "Thank you, Ada").await;
    assert_eq!(data(&end)["outcome"], "escalated", "nobody waits for the bot");
    bridge.sandbox.bot_message(&interaction, &unique("Is there anything else?")).expect("it exists");
    bridge.state("c", "open").await;
    bridge.finish().await;
}

#[tokio::test]
async fn nobody_waits_for_an_answer_where_a_human_is_said_to_have_what_was_resolved() {
    let mut bridge =
        Setup::new().vendor(|vendor| vendor.open_status = Some("Escalated to Human Agent".into())).start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.state("c", "escalated").await;
    let interaction = bridge.bound("c").await;
    bridge.sandbox.set_resolved(&interaction, Some(true)).expect("it exists");
    bridge.state("c", "resolved").await;
    // Still a human's, by its status, and the bot says nothing.
    let (_, end) = bridge.turn("c", "Please answer me later 3000").await;
    assert_eq!(data(&end)["outcome"], "escalated");
    assert_eq!(bridge.conversation("c").await["state"], "escalated");
    bridge.finish().await;
}

#[tokio::test]
async fn a_resolution_that_looks_like_the_one_before_is_told_too() {
    let mut bridge = Setup::new().vendor(|vendor| vendor.open_status = Some(" RESOLVED ".into())).start().await;
    for count in 1..=2 {
        let (_, end) = bridge.turn("c", "Where is my order?").await;
        assert_eq!(data(&end)["outcome"], "answered");
        bridge.state("c", "resolved").await;
        let feed = bridge.events("c").await;
        let told: Vec<_> =
            of_kind(&feed, "conversation.resolved").iter().map(|event| data(event)["resolved"].clone()).collect();
        assert_eq!(told, [true, false, true][..count * 2 - 1]);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn the_customer_is_asked_for_something_until_they_answer() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    assert_eq!(bridge.conversation("c").await["awaiting_customer"], false);
    bridge.sandbox.set_status(&interaction, Some("waiting for customer")).expect("it exists");
    let asked = bridge.event("c", "the question", |event| data(event)["awaiting_customer"] == true).await;
    let wanted = json!({"state": "open", "previous_state": "open", "status_text": "waiting for customer",
        "awaiting_customer": true});
    assert_eq!((&asked["type"], data(&asked)), (&json!("conversation.status_changed"), &wanted));
    assert_eq!(bridge.conversation("c").await["awaiting_customer"], true);
    bridge.turn("c", "It is 4711").await;
    assert_eq!(bridge.conversation("c").await["awaiting_customer"], false);
    let last = bridge.events("c").await;
    let last = of_kind(&last, "conversation.status_changed").last().map(|event| data(event).clone());
    assert_eq!(last.expect("told")["awaiting_customer"], false);
    bridge.finish().await;
}

#[tokio::test]
async fn a_form_is_presented() {
    let mut bridge = Setup::new().start().await;
    let (id, end) = bridge.turn("c", "Give me the form").await;
    assert_eq!(end["type"], "turn.completed");
    assert_eq!(data(&end)["message_id"], id.as_str());
    let form = bridge.event_of("c", "form.presented").await;
    assert_eq!(keys(data(&form)), ["event_id", "raw", "text"]);
    let raw = &data(&form)["raw"];
    assert_eq!((&raw["id"], &raw["type"]), (&data(&form)["event_id"], &json!("widget_form")));
    assert_eq!(raw["message"], data(&form)["text"]);
    bridge.finish().await;
}

#[tokio::test]
async fn ratings_are_told_when_they_change_and_zero_is_one() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    let stored = bridge.sandbox.conversation(&interaction).expect("it exists");
    let event_id = stored.events.iter().find(|event| event.role == "finibot").expect("a reply").id.clone();
    let rate = |csat: Option<u32>, words: Option<&str>, approved: Option<bool>| {
        let feedback = Feedback {
            event_id: event_id.clone(),
            csat_rating: csat.map(Into::into),
            feedback: words.map(str::to_owned),
            approved,
        };
        bridge.sandbox.feedback(&interaction, &feedback).expect("it exists");
    };
    let rated = async |count: usize| {
        let told = eventually("the rating", async || {
            let feed = bridge.events("c").await;
            (of_kind(&feed, "feedback.updated").len() >= count).then_some(())
        });
        told.await;
        caught_up(&bridge, "c").await
    };
    rate(Some(0), None, None);
    let first = rated(1).await;
    let ratings = of_kind(&first, "feedback.updated");
    assert_eq!(ratings.len(), 1);
    assert_eq!(data(ratings[0]), &json!({"event_id": event_id, "csat_rating": 0, "feedback": null, "approved": null}));
    rate(Some(5), Some("Much better now"), Some(true));
    let second = rated(2).await;
    let ratings = of_kind(&second, "feedback.updated");
    assert_eq!(ratings.len(), 2);
    let wanted = json!({"event_id": event_id, "csat_rating": 5, "feedback": "Much better now", "approved": true});
    assert_eq!(data(ratings[1]), &wanted);
    rate(Some(5), Some("Much better now"), Some(true));
    assert_eq!(of_kind(&caught_up(&bridge, "c").await, "feedback.updated").len(), 2);
    bridge.finish().await;
}

#[tokio::test]
async fn unknown_roles_and_types_are_told_as_such() {
    let mut bridge = Setup::new().start().await;
    let (_, end) = bridge.turn("c", "Something odd").await;
    assert_eq!(data(&end)["outcome"], "answered");
    let feed = caught_up(&bridge, "c").await;
    let strange = of_kind(&feed, "fini.unrecognized");
    assert_eq!(strange.len(), 2);
    for event in &strange {
        assert_eq!(keys(data(event)), ["event_id", "raw", "role", "type"]);
        assert_eq!(data(event)["raw"]["id"], data(event)["event_id"]);
    }
    assert_eq!(data(strange[0])["role"], "workflow");
    assert_eq!((&data(strange[1])["role"], &data(strange[1])["type"]), (&json!("finibot"), &json!("card_carousel")));
    bridge.finish().await;
}

#[tokio::test]
async fn whatever_an_event_lacks_or_has_too_much() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    let plain = inject(&bridge, &interaction, json!({"role": "agent", "type": "message", "message": "Nothing else"}));
    let empty = inject(&bridge, &interaction, json!({"role": "agent", "type": "message", "message": null}));
    let rich = json!({
        "role": "agent", "type": "message", "message": "With everything", "externalId": "x-1", "csatRating": null,
        "attachments": [{"url": "https://files.example.com/a.pdf", "new": {"deep": [1, 2]}}], "tags": ["vip", {"a": 1}],
        "usedArticles": [{"id": "a-1", "title": "An article", "documentUrl": "https://help.example.com/a"}],
        "somethingNew": {"nested": true},
    });
    let rich = inject(&bridge, &interaction, rich);
    let bot = inject(&bridge, &interaction, json!({"role": "otherbot", "type": "message", "message": "Beep"}));
    let user = inject(&bridge, &interaction, json!({"role": "user", "type": "message", "message": "By e-mail"}));
    let nameless = inject(&bridge, &interaction, json!({"message": "Neither role nor type"}));
    let odd = inject(&bridge, &interaction, json!({"role": "agent", "type": 7, "message": "A type that is no text"}));
    let feed = caught_up(&bridge, "c").await;
    let find = |id: &str| {
        feed.iter()
            .find(|event| data(event)["message"]["id"] == id || data(event)["event_id"] == id)
            .unwrap_or_else(|| panic!("{id} is not in the feed"))
    };
    assert_eq!(data(find(&plain))["message"]["text"], "Nothing else");
    assert_eq!(data(find(&empty))["message"]["text"], "");
    let message = &data(find(&rich))["message"];
    assert_eq!(message["attachments"], json!([{"url": "https://files.example.com/a.pdf", "new": {"deep": [1, 2]}}]));
    assert_eq!(message["tags"], json!(["vip", {"a": 1}]));
    let article = json!([{"id": "a-1", "title": "An article", "url": "https://help.example.com/a"}]);
    assert_eq!(message["articles"], article);
    assert_eq!(data(find(&bot))["message"]["author"], "otherbot");
    assert_eq!(
        (&data(find(&user))["message"]["author"], &data(find(&user))["origin"]),
        (&json!("user"), &json!("fini"))
    );
    for id in [&nameless, &odd] {
        assert_eq!(find(id)["type"], "fini.unrecognized");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn internal_notes_and_debounce_never_leave() {
    let mut bridge = Setup::new().start().await;
    let (_, end) = bridge.turn("c", "Please debounce and take a note").await;
    assert_eq!(data(&end)["outcome"], "answered");
    let interaction = bridge.bound("c").await;
    let secret = unique("The customer is difficult");
    bridge.keep_private(&secret);
    bridge.sandbox.note(&interaction, &secret).expect("it exists");
    for role in ["agent", "finibot", "user", "workflow"] {
        for kind in ["internalnote", "debounce"] {
            let fields = json!({"role": role, "type": kind, "message": secret, "csatRating": 1});
            inject(&bridge, &interaction, fields);
        }
    }
    let feed = caught_up(&bridge, "c").await;
    let shown = Value::from(feed).to_string();
    let view = bridge.admin("GET", "/admin/v1/conversations/web/c?content=true").send().await.expect(200).text;
    let callbacks: String =
        bridge.receiver.all().iter().map(|one| String::from_utf8_lossy(&one.body).into_owned()).collect();
    for (where_, text) in [("feed", &shown), ("admin", &view), ("callbacks", &callbacks)] {
        for hidden in [&secret, "\"internalnote\"", "\"debounce\"", "Internal: this customer"] {
            assert!(!text.contains(hidden), "{hidden:?} in {where_}");
        }
    }
    assert!(!bridge.is_on_disk(&secret), "what is never shown need not be kept");
    bridge.finish().await;
}

#[tokio::test]
async fn one_at_a_time_in_the_order_they_were_posted() {
    let mut bridge = Setup::new().start().await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 60);
    let mut posted = Vec::new();
    for n in 0..8 {
        posted.push(bridge.say("c", &format!("Message number {n}")).await);
    }
    for (id, _) in &posted {
        assert_eq!(data(&bridge.end_of("c", id).await)["outcome"], "answered");
    }
    let interaction = bridge.bound("c").await;
    let stored = bridge.sandbox.conversation(&interaction).expect("it exists");
    let roles: Vec<_> = stored.events.iter().map(|event| event.role.to_string()).collect();
    assert_eq!(roles, ["user", "finibot"].repeat(8), "never two turns of one conversation at once");
    let texts: Vec<_> =
        stored.events.iter().filter(|event| event.role == "user").filter_map(|event| event.message.clone()).collect();
    assert_eq!(texts, posted.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>());
    bridge.finish().await;
}

#[tokio::test]
async fn conversations_do_not_wait_for_each_other() {
    let mut bridge = Setup::new().start().await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 1_500);
    let started = std::time::Instant::now();
    let mut posted = Vec::new();
    for n in 0..20 {
        let conversation = format!("c-{n}");
        let (id, _) = bridge.say(&conversation, "Where is my order?").await;
        posted.push((conversation, id));
    }
    for (conversation, id) in &posted {
        bridge.end_of(conversation, id).await;
    }
    assert!(started.elapsed().as_secs() < 15, "twenty replies of 1.5 s took {:?}", started.elapsed());
    bridge.finish().await;
}

#[tokio::test]
async fn messages_that_wait_together_may_go_out_together() {
    let mut bridge = Setup::new().set("turns.join_window", "\"700ms\"").start().await;
    let mut posted = Vec::new();
    for part in ["My order", "has not arrived", "and it was urgent"] {
        posted.push(bridge.say("c", part).await);
    }
    for (id, _) in &posted {
        let end = bridge.end_of("c", id).await;
        assert_eq!(end["type"], "turn.completed", "{end}");
    }
    let audit = bridge.sandbox.audit(0, true);
    let stored: Vec<_> = audit.inbound.values().flatten().map(|inbound| inbound.content.clone()).collect();
    assert_eq!(stored.len(), 1, "{stored:?}");
    let texts: Vec<&str> = posted.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(stored[0], texts.join("\n"));
    let feed = bridge.events("c").await;
    let own = feed.iter().filter(|event| data(event)["origin"] == "frontend").count();
    assert_eq!(own, 3, "in the feed they stay what they were");
    bridge.allow(crate::harness::Allow::Unsent);
    bridge.finish().await;
}

#[tokio::test]
async fn an_event_found_in_several_ways_is_told_once() {
    // A sweep every 20 ms sees everything many times over, while responses are on their way.
    let mut bridge = Setup::new().set("poll.sweep_interval", "\"20ms\"").start().await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 300);
    let mut posted = Vec::new();
    for n in 0..6 {
        let conversation = format!("c-{}", n % 2);
        let (id, _) = bridge.say(&conversation, "Where is my order? Say it twice, odd as it is").await;
        posted.push((conversation, id));
    }
    for (conversation, id) in &posted {
        let end = bridge.end_of(conversation, id).await;
        assert_eq!(data(&end)["replies"], 2, "{end}");
    }
    for conversation in ["c-0", "c-1"] {
        let feed = caught_up(&bridge, conversation).await;
        let mut ids: Vec<&str> = feed
            .iter()
            .filter_map(|event| data(event)["message"]["id"].as_str().or_else(|| data(event)["event_id"].as_str()))
            .collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
        assert_eq!(of_kind(&feed, "fini.unrecognized").len(), 6);
        assert_eq!(of_kind(&feed, "turn.completed").len(), 3);
    }
    bridge.finish().await;
}
