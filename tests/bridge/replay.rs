//! Replays by range over the operators' API.

use serde_json::{Value, json};

use crate::harness::{Allow, Bridge, Callback, Destination, Setup, eventually};

async fn begin(bridge: &Bridge, body: &Value) -> Value {
    bridge.admin("POST", "/admin/v1/deliveries/replay").json(body).send().await.expect(202).json()
}

async fn ended(bridge: &Bridge, id: &Value) -> Value {
    let path = format!("/admin/v1/deliveries/replay/{}", id.as_str().expect("an id"));
    eventually("the replay to end", async || {
        let answer = bridge.admin("GET", &path).attempt().await?;
        Some(answer.expect(200).json()).filter(|replay| replay["state"] == "done")
    })
    .await
}

fn taken(bridge: &Bridge, at: &str) -> Vec<Callback> {
    bridge.receiver.at(at).into_iter().filter(Callback::is_delivered).collect()
}

/// Two conversations of a bridge with a desk, everything delivered.
async fn told(setup: Setup) -> Bridge {
    let mut bridge = setup.destination(Destination::new("desk")).start().await;
    for conversation in ["a", "b"] {
        bridge.turn(conversation, "Where is my order?").await;
        bridge.bound(conversation).await;
    }
    eventually("everything to be delivered", async || {
        let open = bridge.deliveries("state=pending").await.len();
        (open == 0 && bridge.deliveries("state=delivered").await.len() >= 10).then_some(())
    })
    .await;
    bridge.allow(Allow::Repeats);
    bridge
}

const ALWAYS: (&str, &str) = ("2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z");

#[tokio::test]
async fn what_was_delivered_is_sent_again_under_its_old_ids_in_its_old_order_to_whom_it_is_asked_for() {
    let bridge = told(Setup::new()).await;
    let (since, until) = ALWAYS;
    let (main, desk) = (taken(&bridge, "web"), taken(&bridge, "web-desk"));
    let mut wish = json!({"frontend": "web", "destination": "desk", "since": since, "until": until, "dry_run": true});
    let dry = bridge.admin("POST", "/admin/v1/deliveries/replay").json(&wish).send().await.expect(200).json();
    assert_eq!(dry, json!({"matched": desk.len()}));
    wish["dry_run"] = json!(false);
    wish["per_second"] = json!(1000);
    let begun = begin(&bridge, &wish).await;
    assert_eq!((&begun["matched"], &begun["state"]), (&json!(desk.len()), &json!("running")));
    let end = ended(&bridge, &begun["id"]).await;
    assert_eq!((&end["sent"], &end["failed"]), (&json!(desk.len()), &json!(0)));
    let again = taken(&bridge, "web-desk").split_off(desk.len());
    for conversation in ["a", "b"] {
        let of = |all: &[Callback]| -> Vec<(String, Vec<u8>)> {
            let own = all.iter().filter(|one| one.conversation() == conversation);
            own.map(|one| (one.id().to_owned(), one.body.clone())).collect()
        };
        assert_eq!(of(&again), of(&desk), "the same ids and bytes in the same order");
    }
    assert_eq!(taken(&bridge, "web").len(), main.len(), "nothing to anybody else");
    let wish = json!({"frontend": "web", "since": since, "until": until, "types": ["turn.*"], "per_second": 1000});
    let end = ended(&bridge, &begin(&bridge, &wish).await["id"]).await;
    assert_eq!((&end["matched"], &end["sent"]), (&json!(4), &json!(4)), "two turns at both");
    bridge.finish().await;
}

#[tokio::test]
async fn a_replay_survives_kills_and_sends_each_event_once() {
    let mut bridge = told(Setup::new()).await;
    let (since, until) = ALWAYS;
    let before = taken(&bridge, "web-desk").len();
    let wish = json!({"frontend": "web", "destination": "desk", "since": since, "until": until, "per_second": 5});
    let begun = begin(&bridge, &wish).await;
    eventually("the first of it", async || (taken(&bridge, "web-desk").len() > before).then_some(())).await;
    bridge.kill9().await;
    bridge.restart().await;
    let end = ended(&bridge, &begun["id"]).await;
    assert_eq!(end["sent"], begun["matched"]);
    let again = taken(&bridge, "web-desk").split_off(before);
    let mut ids: Vec<_> = again.iter().map(|one| one.id().to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), before, "every event");
    // What was under way when the process died may have come once more.
    assert!(again.len() <= before + 2, "{} for {before}", again.len());
    bridge.finish().await;
}

#[tokio::test]
async fn a_replay_is_paused_resumed_and_cancelled_and_bad_ones_are_refused() {
    let bridge = told(Setup::new()).await;
    let (since, until) = ALWAYS;
    let wish = json!({"frontend": "web", "since": since, "until": until, "per_second": 1});
    let begun = begin(&bridge, &wish).await;
    let path = format!("/admin/v1/deliveries/replay/{}", begun["id"].as_str().expect("an id"));
    for (act, state) in [("pause", "paused"), ("resume", "running"), ("cancel", "cancelled"), ("resume", "cancelled")] {
        let answer = bridge.admin("POST", &format!("{path}/{act}")).send().await.expect(200).json();
        assert_eq!(answer["state"], state, "{act}");
    }
    for wrong in [
        json!({"since": since, "until": until}),
        json!({"frontend": "nobody", "since": since, "until": until}),
        json!({"frontend": "web", "since": "yesterday", "until": until}),
        json!({"frontend": "web", "since": since}),
        json!({"frontend": "web", "since": since, "until": until, "per_second": 0}),
        json!({"frontend": "web", "since": since, "until": until, "types": ["turns.*"]}),
        json!({"frontend": "web", "since": since, "until": until, "dry": true}),
    ] {
        let answer = bridge.admin("POST", "/admin/v1/deliveries/replay").json(&wrong).send().await;
        answer.problem(422, "invalid_request");
    }
    bridge.admin("GET", "/admin/v1/deliveries/replay/rpl_0").send().await.problem(404, "not_found");
    bridge.finish().await;
}
