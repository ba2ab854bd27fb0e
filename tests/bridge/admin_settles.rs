//! Quarantines as operators see and settle them.

use std::path::Path;

use fini_bridge::sandbox::{DEFAULT_BOT_ID, ResolveMode};
use serde_json::{Value, json};

use crate::{
    harness::{Allow, Answer, Bridge, Setup, database, random_token},
    program::run,
};

/// The bot's newest conversation is continued for whoever comes: `first` is bound, then `second` gets into the same.
async fn mixed_up(store: Option<String>, setup: Setup) -> Bridge {
    let setup = setup.set("poll.sweep_interval", "\"20ms\"").vendor(|vendor| {
        vendor.resolve_mode = ResolveMode::NewestOfBot;
    });
    let setup = if let Some(url) = store { setup.store(&url) } else { setup };
    let mut bridge = setup.start().await;
    bridge.turn("first", "Where is my order?").await;
    bridge.bound("first").await;
    bridge.say("second", "I want to return the blue shoes").await;
    bridge.state("second", "quarantined").await;
    bridge.sandbox.set(|settings| settings.resolve_mode = ResolveMode::AlwaysNew);
    bridge.allow(Allow::Unbound);
    bridge
}

async fn on_both() -> Vec<Bridge> {
    let mut bridges = vec![mixed_up(None, Setup::new()).await];
    if let Some(url) = database().await {
        bridges.push(mixed_up(Some(url), Setup::new()).await);
    }
    bridges
}

async fn bind(bridge: &Bridge, body: Value) -> Answer {
    bridge.admin("POST", "/admin/v1/conversations/web/second/bind").json(&body).send().await
}

/// Somebody's conversation that the bridge knows nothing of.
async fn elsewhere(bridge: &Bridge, text: &str) -> String {
    let body = json!({"botId": DEFAULT_BOT_ID, "content": text});
    bridge.vendor_call("POST", "/v2/hc-interactions/events/public").json(&body).send().await.expect(200);
    bridge.sandbox.conversations(1)[0].id.to_string()
}

#[tokio::test]
async fn a_quarantine_is_shown_with_both_sides() {
    for bridge in on_both().await {
        let taken = bridge.bound("first").await;
        let page = bridge.admin("GET", "/admin/v1/quarantines").send().await.expect(200).json();
        let all = page["quarantines"].as_array().expect("a list");
        assert_eq!((all.len(), &page["next_cursor"]), (1, &Value::Null), "{page}");
        assert_eq!(
            (&all[0]["conversation_id"], &all[0]["ours"]["conversation_id"]),
            (&json!("second"), &json!("second"))
        );
        assert_eq!((&all[0]["interaction_id"], &all[0]["theirs"]["conversation_id"]), (&json!(taken), &json!("first")));
        assert_eq!(all[0]["theirs"]["interaction_id"], taken.as_str());
        assert!(all[0]["since"].is_string() && all[0]["note"].is_string(), "{page}");
        let other = bridge.admin("GET", "/admin/v1/quarantines?frontend=nobody").send().await;
        other.problem(404, "not_found");
        bind(&bridge, json!({"new": true})).await.expect(200);
        let page = bridge.admin("GET", "/admin/v1/quarantines").send().await.expect(200).json();
        assert_eq!(page["quarantines"], json!([]));
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_dry_run_says_whose_history_it_would_bring_and_changes_nothing() {
    for mut bridge in on_both().await {
        bridge.say("second", "Hello? The shoes?").await;
        let text = "Begun by somebody at the vendor's";
        let other = elsewhere(&bridge, text).await;
        let dry = |content: &str| {
            let path = format!("/admin/v1/conversations/web/second/bind{content}");
            bridge.admin("POST", &path).json(&json!({"interaction_id": other, "dry_run": true}))
        };
        let shown = dry("").send().await.expect(200).json();
        let history = &shown["history"];
        assert_eq!((&shown["dry_run"], &shown["waiting_messages"]), (&json!(true), &json!(1)), "{shown}");
        assert_eq!((&history["messages"]["user"], &history["names"]), (&json!(1), &Value::Null), "{shown}");
        assert_eq!(
            history["latest"][0],
            json!({"author": "user", "created_at": history["first_message_at"], "text": null})
        );
        let with_texts = dry("?content=true").send().await.expect(200).json();
        assert_eq!(with_texts["history"]["latest"][0]["text"], text);
        assert_eq!(bridge.conversation("second").await["state"], "quarantined", "nothing is changed");
        let audit = bridge.admin("GET", "/admin/v1/audit").send().await.expect(200).json();
        let acts: Vec<_> = audit["audit"].as_array().expect("a list").iter().map(|row| &row["act"]).collect();
        assert_eq!(acts, ["texts.read", "conversation.bind.dry_run", "conversation.bind.dry_run"]);
        let new = bind(&bridge, json!({"new": true, "dry_run": true})).await.expect(200).json();
        assert_eq!(new["history"], Value::Null);
        let taken = bridge.bound("first").await;
        bind(&bridge, json!({"interaction_id": taken, "dry_run": true})).await.problem(409, "already_bound");
        let path = "/admin/v1/conversations/web/first/bind";
        let call = bridge.admin("POST", path).json(&json!({"interaction_id": other, "dry_run": true}));
        call.send().await.problem(409, "not_quarantined");
        bind(&bridge, json!({"interaction_id": other, "dry_run": "yes"})).await.problem(422, "invalid_request");
        bind(&bridge, json!({"interaction_id": other})).await.expect(200);
        assert_eq!(bridge.bound("second").await, other);
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_conversation_that_fini_does_not_know_is_bound_to_nobody() {
    for mut bridge in on_both().await {
        let (waiting, _) = bridge.say("second", "Hello? The shoes?").await;
        bind(&bridge, json!({"interaction_id": "nonsense"})).await.problem(409, "unknown_interaction");
        let other = elsewhere(&bridge, "Begun by somebody at the vendor's").await;
        bridge.vendor_down().await;
        bind(&bridge, json!({"interaction_id": other})).await.problem(503, "fini_unavailable");
        assert_eq!(bridge.conversation("second").await["state"], "quarantined");
        bridge.vendor_up().await;
        bind(&bridge, json!({"new": true})).await.expect(200);
        assert_eq!(bridge.end_of("second", &waiting).await["data"]["outcome"], "answered");
        bridge.finish().await;
    }
}

#[tokio::test]
async fn the_texts_of_a_history_are_for_those_who_may_see_texts() {
    let token = random_token();
    let operators = format!("[{{ name = \"ada\", role = \"operate\", texts = false, token = \"{token}\" }}]");
    let mut bridge = mixed_up(None, Setup::new().set("admin.operators", &operators)).await;
    let other = elsewhere(&bridge, "Begun by somebody at the vendor's").await;
    let dry = |content: &str| {
        let path = format!("/admin/v1/conversations/web/second/bind{content}");
        bridge.admin("POST", &path).bearer(&token).json(&json!({"interaction_id": other, "dry_run": true}))
    };
    dry("?content=true").send().await.problem(403, "forbidden");
    assert!(dry("").send().await.expect(200).json()["history"]["latest"][0]["text"].is_null());
    bridge.stop().await;
    bridge.restart_with(|setup| setup.set("admin.operators", "[]")).await;
    bind(&bridge, json!({"new": true})).await.expect(200);
    bridge.finish().await;
}

#[tokio::test]
async fn a_quarantine_is_settled_from_the_command_line() {
    for bridge in on_both().await {
        let other = elsewhere(&bridge, "Begun by somebody at the vendor's").await;
        let (path, admin) = (bridge.config_file(), bridge.admin_url.clone());
        let call = async |arguments: &[&str]| {
            let whole = [&["bind", "web", "second"], arguments, &["--config", &path, "--admin", &admin]].concat();
            run(Path::new("/"), &whole, &[]).await
        };
        let dry = call(&["--to", &other, "--dry-run"]).await;
        let shown: Value = serde_json::from_slice(&dry.stdout).expect("JSON");
        assert_eq!((dry.status.code(), &shown["history"]["messages"]["user"]), (Some(0), &json!(1)), "{shown}");
        assert_eq!(call(&["--to", "nonsense", "--yes"]).await.status.code(), Some(1));
        let done = call(&["--to", &other, "--yes", "--reason", "a complaint"]).await;
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(bridge.bound("second").await, other);
        let audit = bridge.admin("GET", "/admin/v1/audit?limit=1").send().await.expect(200).json();
        assert_eq!(audit["audit"][0]["reason"], "a complaint");
        bridge.finish().await;
    }
}
