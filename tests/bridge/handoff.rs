//! Human handoff: who may speak to the customer, and what everybody is told of it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Allow, Answer, Bridge, Setup, Stream, browser_token, database, epoch_seconds, eventually, unique,
};

/// The key of Fini's own requests.
const ACTION_KEY: &str = "an-action-key-of-the-tests-0001";

fn ada() -> Value {
    json!({"id": "ada", "name": "Ada Lovelace", "avatar_url": "https://desk.example/ada.png"})
}

fn bob() -> Value {
    json!({"id": "bob", "name": "Bob", "avatar_url": null})
}

/// The same on each store there is.
async fn on_each_store(setup: impl Fn() -> Setup, test: impl AsyncFn(Bridge)) {
    test(setup().start().await).await;
    if let Some(url) = database().await {
        test(setup().store(&url).start().await).await;
    }
}

async fn act(bridge: &Bridge, conversation: &str, act: &str, body: &Value) -> Answer {
    bridge.call("POST", &format!("/v1/conversations/{conversation}/handoff{act}")).json(body).send().await
}

fn token_for(bridge: &Bridge, conversation: &str) -> String {
    let now = epoch_seconds();
    let claims = json!({
        "iss": "fini-bridge", "frontend": bridge.web().name, "conversation_id": conversation, "iat": now, "exp": now + 600,
    });
    browser_token(bridge.web().browser_token_secret.as_deref().expect("it has one"), &claims)
}

async fn browser(bridge: &Bridge, conversation: &str) -> Stream {
    let token = token_for(bridge, conversation);
    let path = format!("/v1/conversations/{conversation}/stream");
    Stream::open(bridge.anonymous("GET", &path).bearer(&token)).await
}

fn of_kind<'a>(feed: &'a [Value], kind: &str) -> Vec<&'a Value> {
    feed.iter().filter(|event| event["type"] == kind).collect()
}

/// Says something with a reply that is on its way for long enough.
async fn slow(bridge: &mut Bridge, conversation: &str) -> (String, String) {
    let said = bridge.say(conversation, "Where is my order?").await;
    eventually("the message to be on its way", async || (bridge.times_stored(&said.1) == 1).then_some(())).await;
    said
}

#[tokio::test]
async fn a_reply_on_its_way_when_a_desk_claims_never_reaches_a_browser() {
    let setup = || Setup::new().vendor(|vendor| vendor.reply_latency_ms = 1200);
    on_each_store(setup, async |mut bridge| {
        bridge.turn("c", "Hello there").await;
        let (id, _) = slow(&mut bridge, "c").await;
        let claimed = act(&bridge, "c", "/claim", &json!({"agent": ada()})).await.expect(200).json();
        assert_eq!((&claimed["state"], &claimed["handoff"]["speaker"]), (&json!("escalated"), &json!("human")));
        assert_eq!(claimed["handoff"]["agent"], ada());
        let end = bridge.end_of("c", &id).await;
        assert_eq!(end["data"], json!({"message_id": id, "outcome": "stored", "replies": 0}));
        let word = bridge.event("c", "the withheld reply", |event| event["data"]["withheld"] == true).await;
        assert_eq!((&word["type"], &word["data"]["message"]["author"]), (&json!("message.created"), &json!("bot")));
        // It is called back, so that the company knows; the customer's browser sees that there is something.
        let called = eventually("the callback", async || {
            bridge.receiver.of("c").into_iter().map(|callback| callback.event).find(|event| event["id"] == word["id"])
        });
        assert_eq!(called.await["data"]["withheld"], true);
        let mut stream = browser(&bridge, "c").await;
        let seen = stream.take(usize::try_from(word["sequence"].as_i64().expect("a number")).expect("small")).await;
        let last = seen.last().expect("the last");
        assert_eq!((last.event.as_str(), &last.data["data"]), ("hidden", &json!({})));
        let path = "/v1/conversations/c?with=transcript&messages=3";
        let theirs = bridge.anonymous("GET", path).bearer(&token_for(&bridge, "c")).send().await.expect(200).json();
        let ours = bridge.call("GET", path).send().await.expect(200).json();
        let count = |view: &Value| view["transcript"].as_array().expect("a list").len();
        assert_eq!((count(&ours), count(&theirs)), (3, 2));
        assert_eq!(ours["transcript"][2]["withheld"], true);

        // Given back, the bot is heard again.
        act(&bridge, "c", "/return", &json!({"to": "bot"})).await.expect(200);
        let (_, end) = bridge.turn("c", "And the invoice?").await;
        assert_eq!(end["data"]["outcome"], "answered");
        let feed = bridge.events("c").await;
        assert_eq!(of_kind(&feed, "handoff.returned")[0]["data"], json!({"by": "desk"}));
        let shown = feed.iter().filter(|event| event["data"]["withheld"] == true).count();
        assert_eq!(shown, 1);
        bridge.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_desk_takes_over_speaks_leaves_and_gives_back() {
    on_each_store(Setup::new, async |mut bridge| {
        bridge.turn("c", "Where is my order?").await;
        let view = bridge.conversation("c").await;
        assert_eq!(
            view["handoff"],
            json!({"speaker": "bot", "reason": null, "requested_at": null, "claimed_at": null, "agent": null,
                "position": null, "expected_wait_seconds": null})
        );
        for (what, body) in
            [("/position", json!({"position": 1})), ("/leave", json!({})), ("/return", json!({"to": "bot"}))]
        {
            act(&bridge, "c", what, &body).await.problem(409, "no_handoff");
        }
        let asked = act(&bridge, "c", "", &json!({"note": "Order 17 is late"})).await.expect(200).json();
        assert_eq!((&asked["state"], &asked["handoff"]["speaker"]), (&json!("escalated"), &json!("waiting")));
        assert_eq!(asked["handoff"]["reason"], "requested");
        assert!(asked["handoff"]["requested_at"].is_string());
        let again = act(&bridge, "c", "", &json!({})).await.expect(200).json();
        assert_eq!(again["handoff"]["requested_at"], asked["handoff"]["requested_at"], "asking again changes nothing");
        let place = json!({"position": 3, "expected_wait_seconds": 240});
        let placed = act(&bridge, "c", "/position", &place).await.expect(200).json();
        assert_eq!(placed["handoff"]["position"], 3);

        act(&bridge, "c", "/claim", &json!({"agent": ada()})).await.expect(200);
        act(&bridge, "c", "/claim", &json!({"agent": ada()})).await.expect(200);
        let refused = act(&bridge, "c", "/claim", &json!({"agent": bob()})).await.problem(409, "already_claimed");
        assert_eq!(refused["agent"], ada(), "who has it");
        let word = unique("I look into it");
        let message =
            json!({"conversation_id": "c", "message_id": "d-1", "role": "agent", "text": word, "agent": ada()});
        bridge.post(&message).await.expect(202);
        bridge.end_of("c", "d-1").await;
        let message =
            json!({"conversation_id": "c", "message_id": "d-2", "role": "agent", "text": "Me too", "agent": bob()});
        bridge.post(&message).await.expect(202);
        bridge.end_of("c", "d-2").await;
        act(&bridge, "c", "/leave", &json!({"agent": {"id": "ada"}})).await.expect(200);
        let alone = act(&bridge, "c", "/leave", &json!({})).await.expect(200).json();
        assert_eq!((&alone["handoff"]["speaker"], &alone["handoff"]["agent"]), (&json!("waiting"), &json!(null)));
        act(&bridge, "c", "/return", &json!({"to": "bot"})).await.expect(200);

        let feed = bridge.events("c").await;
        let told: Vec<&str> = feed
            .iter()
            .filter_map(|event| event["type"].as_str())
            .filter(|kind| kind.starts_with("handoff.") || *kind == "conversation.escalated")
            .collect();
        assert_eq!(
            told,
            [
                "conversation.escalated",
                "handoff.requested",
                "handoff.position",
                "handoff.claimed",
                "handoff.agent_joined",
                "handoff.agent_left",
                "handoff.agent_left",
                "handoff.returned"
            ]
        );
        assert_eq!(of_kind(&feed, "handoff.requested")[0]["data"]["note"], "Order 17 is late");
        assert_eq!(of_kind(&feed, "handoff.position")[0]["data"], place);
        assert_eq!(of_kind(&feed, "handoff.agent_joined")[0]["data"], json!({"agent": bob()}));
        assert_eq!(bridge.times_stored(&word), 1, "mirrored into Fini once");
        let repeats = feed.iter().filter(|event| event["data"]["message"]["text"] == word.as_str()).count();
        assert_eq!(repeats, 1, "and no news when it is read back");
        bridge.finish().await;
    })
    .await;
}

#[tokio::test]
async fn the_customer_asks_for_a_human_and_sees_no_more_than_is_for_it() {
    let mut bridge = Setup::new().start().await;
    bridge
        .call("PUT", "/v1/desk")
        .json(&json!({"open": false, "next_open": "2027-01-04T08:00:00Z"}))
        .send()
        .await
        .expect(200);
    bridge.turn("c", "Where is my order?").await;
    let mut stream = browser(&bridge, "c").await;
    let token = token_for(&bridge, "c");
    let path = "/v1/conversations/c/handoff";
    let asks = bridge.anonymous("POST", path).bearer(&token).json(&json!({"note": "quickly"})).send();
    assert_eq!(asks.await.expect(200).json()["handoff"]["speaker"], "waiting");
    let requested = loop {
        let event = stream.next().await.expect("goes on");
        if event.event == "handoff.requested" {
            break event.data;
        }
    };
    assert_eq!(
        requested["data"],
        json!({"reason": "requested", "desk_open": false, "next_open": "2027-01-04T08:00:00Z"})
    );
    let whole = bridge.event_of("c", "handoff.requested").await;
    assert_eq!((&whole["data"]["note"], &whole["data"]["desk_open"]), (&json!("quickly"), &json!(false)));
    for (what, body) in [("/claim", json!({"agent": ada()})), ("/return", json!({})), ("/typing", json!({}))] {
        let call = bridge.anonymous("POST", &format!("{path}{what}")).bearer(&token).json(&body);
        call.send().await.problem(403, "forbidden");
    }
    // Nobody has to write first.
    let first =
        bridge.anonymous("POST", "/v1/conversations/new/handoff").bearer(&token_for(&bridge, "new")).send().await;
    assert_eq!(first.expect(200).json()["handoff"]["speaker"], "waiting");
    bridge.turn("new", "Where is my order?").await;
    assert_eq!(bridge.conversation("new").await["handoff"]["speaker"], "waiting");
    let other = bridge.anonymous("POST", "/v1/conversations/other/handoff").bearer(&token).send().await;
    other.problem(403, "forbidden");
    act(&bridge, "c", "/typing", &json!({"agent": {"id": "ada"}})).await.expect(204);
    let typing = loop {
        let event = stream.next_or_hint().await.expect("goes on");
        if event.event == "typing" {
            break event;
        }
    };
    assert_eq!((typing.id.as_str(), typing.data), ("", json!({"author": "agent"})));
    bridge.finish().await;
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let faults = async |path: &str, body: Value| -> Vec<String> {
        let problem = act(&bridge, "c", path, &body).await.problem(422, "invalid_request");
        let errors = problem["errors"].as_array().expect("a list");
        errors.iter().map(|error| error["field"].as_str().expect("a text").to_owned()).collect()
    };
    assert_eq!(faults("/claim", json!({})).await, ["agent"]);
    assert_eq!(faults("/claim", json!({"agent": {"id": "a"}})).await, ["agent.name"]);
    assert_eq!(faults("/claim", json!({"agent": {"id": "a", "name": "A", "avatar": 1}})).await, ["agent.avatar"]);
    let script = json!({"agent": {"id": "a", "name": "A", "avatar_url": "javascript:alert(1)"}});
    assert_eq!(faults("/claim", script).await, ["agent.avatar_url"]);
    assert_eq!(faults("/position", json!({"position": 0})).await, ["position"]);
    assert_eq!(faults("/position", json!({"place": 1})).await, ["place", "position"]);
    assert_eq!(faults("/return", json!({"to": "desk"})).await, ["to"]);
    assert_eq!(faults("", json!({"notes": "x"})).await, ["notes"]);
    let desk = bridge.call("PUT", "/v1/desk").json(&json!({"open": "yes", "next_open": "tomorrow"})).send().await;
    assert_eq!(desk.problem(422, "invalid_request")["errors"].as_array().expect("a list").len(), 2);
    let as_user = json!({"conversation_id": "c", "text": "hi", "agent": ada()});
    bridge.call("POST", "/v1/messages").json(&as_user).send().await.problem(422, "invalid_message");
    act(&bridge, "nobody", "", &json!({})).await.problem(404, "not_found");
    bridge.call("GET", "/v1/conversations/c?with=everything").send().await.problem(422, "invalid_request");
    bridge.finish().await;
}

#[tokio::test]
async fn fini_asks_by_its_action_and_reads_who_has_it() {
    let setup = || Setup::new().set("fini.action_key", &format!("{ACTION_KEY:?}"));
    on_each_store(setup, async |mut bridge| {
        bridge.turn("c", "Where is my order?").await;
        let interaction = bridge.bound("c").await;
        let fini = |path: &str, body: &Value| bridge.anonymous("POST", path).header("x-api-key", ACTION_KEY).json(body);
        let escalate = "/v1/fini/actions/escalate";
        let wrong = bridge.anonymous("POST", escalate).json(&json!({"interaction_id": interaction}));
        wrong.clone().send().await.problem(401, "unauthorized");
        wrong.header("x-api-key", "an-action-key-of-the-tests-0002").send().await.problem(401, "unauthorized");
        let owner =
            fini("/v1/fini/attributes", &json!({"interaction_id": interaction})).send().await.expect(200).json();
        assert_eq!(owner, json!({"owner": "bot", "human_since": null, "desk_open": null, "next_open": null}));
        bridge.call("PUT", "/v1/desk").json(&json!({"open": true})).send().await.expect(200);

        let body = json!({"interaction_id": interaction, "reason": "angry", "summary": "Order is late", "priority": 1});
        let answer = fini(escalate, &body).send().await.expect(200).json();
        assert_eq!(
            answer,
            json!({"accepted": true, "open": true, "position": 1, "wait_minutes": null, "next_open": null})
        );
        let requested = bridge.event_of("c", "handoff.requested").await;
        assert_eq!(requested["data"]["reason"], "action");
        assert_eq!(requested["data"]["note"], "priority 1: angry: Order is late");
        // Polling finds the same, and it is told once.
        bridge.sandbox.set_status(&interaction, Some("Escalated to Human Agent")).expect("it exists");
        eventually("the status to be read", async || {
            (bridge.conversation("c").await["status_text"] == "Escalated to Human Agent").then_some(())
        })
        .await;
        act(&bridge, "c", "/position", &json!({"position": 2, "expected_wait_seconds": 61})).await.expect(200);
        let again = fini(escalate, &body).send().await.expect(200).json();
        assert_eq!((&again["position"], &again["wait_minutes"]), (&json!(2), &json!(2)));
        let feed = bridge.events("c").await;
        let counts = ["conversation.escalated", "handoff.requested"].map(|kind| of_kind(&feed, kind).len());
        assert_eq!(counts, [1, 1]);
        act(&bridge, "c", "/claim", &json!({"agent": ada()})).await.expect(200);
        let owner =
            fini("/v1/fini/attributes", &json!({"interaction_id": interaction})).send().await.expect(200).json();
        assert_eq!((&owner["owner"], &owner["desk_open"]), (&json!("human"), &json!(true)));
        assert!(owner["human_since"].is_string());

        let stray = fini(escalate, &json!({"interaction_id": "nobody-knows-it", "reason": "angry"})).send().await;
        assert_eq!(stray.expect(200).json()["accepted"], true);
        let seen = bridge.admin("GET", "/admin/v1/handoffs").send().await.expect(200).json();
        assert_eq!(seen["unmatched"][0]["interaction_id"], "nobody-knows-it");
        assert_eq!(seen["handoffs"][0]["conversation_id"], "c");
        bridge.finish().await;
    })
    .await;
}

#[tokio::test]
async fn without_a_key_fini_has_no_routes_here() {
    let bridge = Setup::new().start().await;
    for path in ["/v1/fini/actions/escalate", "/v1/fini/attributes"] {
        bridge.anonymous("POST", path).json(&json!({})).send().await.problem(404, "not_found");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn nobody_comes_and_the_customer_is_asked_for_an_address_or_given_back() {
    let handoff = r#"{ claim_timeout = "1s", on_unclaimed = { ask = "Leave us your address, and we write to you." } }"#;
    let mut bridge = Setup::new().set_web("handoff", handoff).start().await;
    bridge.turn("c", "Where is my order?").await;
    act(&bridge, "c", "", &json!({})).await.expect(200);
    let unclaimed = bridge.event_of("c", "handoff.unclaimed").await;
    assert_eq!(unclaimed["data"]["then"], "ask");
    let asked = bridge
        .event("c", "the question", |event| {
            event["data"]["message"]["text"] == "Leave us your address, and we write to you."
        })
        .await;
    assert_eq!(asked["data"]["message"]["author"], "otherbot");
    assert_eq!(bridge.conversation("c").await["handoff"]["speaker"], "waiting");
    bridge.stop().await;
    let back = r#"{ claim_timeout = "1s", on_unclaimed = "bot" }"#;
    bridge.restart_with(|setup| setup.set_web("handoff", back)).await;
    bridge.turn("c-2", "Where is my order?").await;
    act(&bridge, "c-2", "", &json!({})).await.expect(200);
    let unclaimed = bridge.event_of("c-2", "handoff.unclaimed").await;
    assert_eq!(unclaimed["data"]["then"], "bot");
    bridge.state("c-2", "open").await;
    assert_eq!(bridge.conversation("c-2").await["handoff"]["speaker"], "bot");
    bridge.finish().await;
}

#[tokio::test]
async fn a_claim_is_kept_through_a_kill_and_holds_on_every_replica() {
    let Some(url) = database().await else { return };
    let mut bridge = Setup::new().store(&url).vendor(|vendor| vendor.reply_latency_ms = 2000).start().await;
    bridge.join().await;
    bridge.turn("c", "Hello there").await;
    let (id, _) = slow(&mut bridge, "c").await;
    bridge.next_replica();
    act(&bridge, "c", "/claim", &json!({"agent": ada()})).await.expect(200);
    let end = bridge.end_of("c", &id).await;
    assert_eq!(end["data"]["outcome"], "stored", "the other replica's reply is withheld");
    bridge.next_replica();
    assert_eq!(bridge.conversation("c").await["handoff"]["agent"], ada());
    bridge.finish().await;
}

#[tokio::test]
async fn a_kill_between_claim_and_reply_lets_no_word_of_the_bot_through() {
    let mut bridge = Setup::new().vendor(|vendor| vendor.reply_latency_ms = 1500).start().await;
    bridge.turn("c", "Hello there").await;
    let (id, _) = slow(&mut bridge, "c").await;
    act(&bridge, "c", "/claim", &json!({"agent": ada()})).await.expect(200);
    bridge.kill9().await;
    bridge.restart().await;
    let end = bridge.end_of("c", &id).await;
    assert_eq!((&end["type"], &end["data"]["replies"]), (&json!("turn.completed"), &json!(0)));
    tokio::time::timeout(
        Duration::from_secs(20),
        bridge.event("c", "the reply", |event| event["data"]["withheld"] == true),
    )
    .await
    .expect("it is found by reading");
    let bots = bridge.events("c").await;
    let shown =
        bots.iter().filter(|event| event["data"]["message"]["author"] == "bot" && event["data"]["withheld"].is_null());
    assert_eq!(shown.count(), 1, "only what it said before");
    bridge.allow(Allow::Repeats);
    bridge.finish().await;
}
