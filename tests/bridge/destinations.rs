//! Several receivers of one frontend's feed: each with its own order, retries, pauses, secrets and dead letters.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Allow, Bridge, Callback, Destination, Reply, Setup, database, eventually, unique};

/// One further destination, which tries soon again and for long.
fn desk() -> Destination {
    Destination::new("desk")
        .set("retry_schedule", "[\"50ms\", \"100ms\", \"200ms\", \"400ms\", \"800ms\", \"2s\", \"4s\"]")
}

fn kinds(callbacks: &[Callback]) -> Vec<String> {
    callbacks.iter().map(|callback| callback.kind().to_owned()).collect()
}

async fn delivered_at(bridge: &Bridge, destination: &str, count: usize) -> Vec<Callback> {
    eventually(&format!("{count} callbacks at {destination}"), async || {
        let taken: Vec<_> = bridge.receiver.at(destination).into_iter().filter(Callback::is_delivered).collect();
        (taken.len() >= count).then_some(taken)
    })
    .await
}

#[tokio::test]
async fn every_destination_gets_what_it_wants_in_order_signed_by_its_own_secret() {
    let crm = Destination { callback_events: vec!["turn.*".to_owned()], ..Destination::new("crm") };
    let mut bridge = Setup::new().destination(desk()).destination(crm).start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.turn("c", "And another thing").await;
    let feed = bridge.events("c").await;
    let at_desk = delivered_at(&bridge, "web-desk", feed.len()).await;
    assert!(at_desk.iter().map(|callback| &callback.event).eq(feed.iter()), "a desk sees what the customer wrote");
    assert_eq!(kinds(&delivered_at(&bridge, "web-crm", 2).await), ["turn.completed", "turn.completed"]);
    let own = delivered_at(&bridge, "web", 4).await;
    assert!(own.iter().all(|callback| callback.event["data"]["origin"] != "frontend"), "it knows what it posted");
    let same = own.iter().find(|callback| callback.id() == at_desk[1].id()).expect("both got the reply");
    assert_eq!(same.body, at_desk[1].body, "the same bytes under the same id");
    assert_ne!(same.header("webhook-signature"), at_desk[1].header("webhook-signature"));
    let sample = r#"fini_bridge_deliveries_total{frontend="web",destination="desk",outcome="delivered"}"#;
    let counted = bridge.metric(sample).await.expect("a sample");
    assert!(counted >= 6.0, "{counted}");
    bridge.finish().await;
}

#[tokio::test]
async fn a_dead_or_slow_destination_delays_no_other() {
    for trouble in [Reply::Status(500), Reply::Hang, Reply::Reset] {
        let setup = Setup::new().destination(desk().set("timeout", "\"300ms\"").set("max_in_flight", "2"));
        let mut bridge = setup.start().await;
        bridge.receiver.always_at("web-desk", Some(trouble));
        let names: Vec<String> = (0..8).map(|number| format!("c-{number}")).collect();
        for (conversation, id) in bridge.say_in_each(names.clone(), "Where is my order?").await {
            bridge.end_of(&conversation, &id).await;
        }
        for name in &names {
            bridge.receiver.wait_for(name, "turn.completed").await;
        }
        assert!(bridge.receiver.at("web").iter().all(Callback::is_delivered));
        eventually("nothing to be owed to the other", async || {
            bridge.deliveries("state=pending&destination=main").await.is_empty().then_some(())
        })
        .await;
        assert!(!bridge.deliveries("state=pending&destination=desk").await.is_empty());
        // What was held back comes, all of it and in order.
        bridge.receiver.always_at("web-desk", None);
        delivered_at(&bridge, "web-desk", 3 * names.len()).await;
        bridge.finish().await;
    }
}

#[tokio::test]
async fn dead_letters_pauses_and_replays_are_one_destination_s() {
    let short = Destination::new("desk").set("retry_schedule", "[\"10ms\"]");
    let mut bridge = Setup::new().destination(short).start().await;
    bridge.receiver.always_at("web-desk", Some(Reply::Status(500)));
    bridge.turn("c", "Where is my order?").await;
    let dead = bridge.dead_letters(3).await;
    assert!(dead.iter().all(|one| one["destination"] == "desk" && one["frontend"] == "web"), "{dead:?}");
    assert_eq!(dead[0]["attempts"], 2, "its own schedule");
    bridge.receiver.always_at("web-desk", Some(Reply::Status(410)));
    let filter = json!({"frontend": "web", "destination": "desk"});
    let answer = bridge.admin("POST", "/admin/v1/deliveries/retry").json(&filter).send().await.expect(200).json();
    assert_eq!(answer["retried"], 3);
    let paused = async |bridge: &Bridge| {
        let all = bridge.admin("GET", "/admin/v1/frontends").send().await.expect(200).json();
        let destinations = all["frontends"][0]["destinations"].as_array().expect("a list").clone();
        destinations.iter().map(|one| (one["destination"].clone(), !one["paused"].is_null())).collect::<Vec<_>>()
    };
    eventually("the pause by 410", async || {
        (paused(&bridge).await == [(json!("main"), false), (json!("desk"), true)]).then_some(())
    })
    .await;
    let (id, _) = bridge.say("c", "And another thing").await;
    bridge.end_of("c", &id).await;
    bridge.receiver.wait_for("c", "turn.completed").await;
    bridge.receiver.always_at("web-desk", None);
    let resume = bridge.admin("POST", "/admin/v1/frontends/web/resume?destination=desk");
    assert_eq!(resume.send().await.expect(200).json()["was_paused"], true);
    delivered_at(&bridge, "web-desk", 6).await;
    for (act, state) in [("pause", true), ("resume", false)] {
        bridge.admin("POST", &format!("/admin/v1/frontends/web/{act}")).send().await.expect(200);
        assert_eq!(paused(&bridge).await, [(json!("main"), state), (json!("desk"), state)], "all of them");
    }
    bridge.admin("POST", "/admin/v1/frontends/web/pause?destination=nobody").send().await.problem(404, "not_found");
    let ping = bridge.admin("POST", "/admin/v1/frontends/web/ping?destination=desk").send().await.expect(200).json();
    assert_eq!((&ping["destination"], &ping["delivered"]), (&json!("desk"), &json!(true)));
    // A dead letter lets what is behind it go on.
    bridge.allow(Allow::Undelivered);
    bridge.allow(Allow::Repeats);
    bridge.finish().await;
}

#[tokio::test]
async fn what_a_browser_posted_is_called_back_and_what_the_server_posted_where_it_is_asked_for() {
    let quiet = Destination { posted: false, ..Destination::new("crm") };
    let mut bridge = Setup::new().destination(desk()).destination(quiet).start().await;
    let (by_server, _) = bridge.turn("server", "Where is my order?").await;
    let minted = bridge.call("POST", "/v1/conversations/browser/tokens").json(&json!({})).send().await.expect(200);
    let token = minted.json()["token"].as_str().expect("a token").to_owned();
    let text = unique("I am a customer");
    let message = json!({"conversation_id": "browser", "message_id": "m", "text": text});
    bridge.remember("web", &message);
    bridge.anonymous("POST", "/v1/messages").bearer(&token).json(&message).send().await.expect(202);
    bridge.end_of("browser", "m").await;
    for at in ["web", "web-desk", "web-crm"] {
        let told = delivered_at(&bridge, at, 5).await;
        let ids = |conversation: &str| -> Vec<Value> {
            let of = told.iter().filter(|one| one.conversation() == conversation && one.kind() == "message.created");
            of.map(|one| one.event["data"]["message"]["id"].clone()).collect()
        };
        assert!(ids("browser").contains(&json!("m")), "{at}");
        assert_eq!(ids("server").contains(&json!(by_server)), at == "web-desk", "{at}");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn a_frontend_may_have_destinations_and_no_callback_of_its_own() {
    let mut bridge = Setup::new().destination(desk()).web(|web| web.callbacks = false).start().await;
    bridge.turn("c", "Where is my order?").await;
    delivered_at(&bridge, "web-desk", 3).await;
    assert!(bridge.receiver.at("web").is_empty());
    bridge.finish().await;
}

#[tokio::test]
async fn further_headers_and_secrets_of_a_destination_change_with_their_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("headers");
    std::fs::write(&file, "X-Tenant: first\nAuthorization: Basic Zmlyc3Qtc2VjcmV0LW9mLXRoZS1kZXNr\n")
        .expect("writable");
    let mut bridge = Setup::new().destination(desk().set("headers_file", &format!("{file:?}"))).start().await;
    bridge.keep_private("Basic Zmlyc3Qtc2VjcmV0LW9mLXRoZS1kZXNr");
    bridge.turn("c", "Where is my order?").await;
    let told = delivered_at(&bridge, "web-desk", 3).await;
    assert!(
        told.iter().all(|one| one.header("x-tenant") == "first" && one.header("authorization").starts_with("Basic "))
    );
    assert!(bridge.receiver.at("web").iter().all(|one| one.header("x-tenant").is_empty()));
    std::fs::write(&file, "X-Tenant: second\n").expect("writable");
    bridge.signal("HUP").await;
    eventually("the new header to be in force", async || {
        let read =
            |line: &Value| line["message"] == "secrets read again" && line["changed"].to_string().contains("headers");
        bridge.log().iter().any(read).then_some(())
    })
    .await;
    bridge.turn("c", "And another thing").await;
    let told = delivered_at(&bridge, "web-desk", 6).await;
    assert_eq!((told[5].header("x-tenant"), told[5].header("authorization")), ("second", ""));
    bridge.finish().await;
}

#[tokio::test]
async fn replicas_share_the_destinations_and_a_crash_loses_nothing() {
    let Some(url) = database().await else { return };
    let mut bridge = Setup::new().store(&url).destination(desk()).start().await;
    bridge.join().await;
    bridge.receiver.always_at("web-desk", Some(Reply::Status(503)));
    let names: Vec<String> = (0..6).map(|number| format!("c-{number}")).collect();
    for (conversation, id) in bridge.say_in_each(names.clone(), "Where is my order?").await {
        bridge.end_of(&conversation, &id).await;
    }
    bridge.kill9().await;
    bridge.next_replica();
    bridge.receiver.always_at("web-desk", None);
    let within = Duration::from_secs(90);
    crate::harness::within(within, "everything at the desk", async || {
        let taken = bridge.receiver.at("web-desk").into_iter().filter(Callback::is_delivered).count();
        (taken >= 3 * names.len()).then_some(())
    })
    .await;
    bridge.allow(Allow::Repeats);
    bridge.finish().await;
}
