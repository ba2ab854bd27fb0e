//! Named operators: what each role may do, and the row that each act leaves in the audit.

use serde_json::{Value, json};

use crate::harness::{Bridge, Call, Setup, random_token};

/// The tokens of three operators, one of each role; the one in the middle may see texts.
struct Tokens {
    read: String,
    operate: String,
    erase: String,
}

fn setup() -> (Setup, Tokens) {
    let tokens = Tokens { read: random_token(), operate: random_token(), erase: random_token() };
    let operator = |name: &str, texts: bool, token: &str| {
        format!("{{ name = \"{name}\", role = \"{name}\", texts = {texts}, token = \"{token}\" }}")
    };
    let operators = [
        operator("read", false, &tokens.read),
        operator("operate", true, &tokens.operate),
        operator("erase", false, &tokens.erase),
    ];
    (Setup::new().set("admin.operators", &format!("[{}]", operators.join(", "))), tokens)
}

/// The harness asks without a token at the end.
fn without_tokens(setup: Setup) -> Setup {
    setup.set("admin.operators", "[]").set("admin.token", "\"\"")
}

/// Every route, with a body where it takes one, and the least role that may use it.
fn routes() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let none = Value::Null;
    vec![
        ("GET", "/admin/v1/deliveries", none.clone(), "read"),
        ("GET", "/admin/v1/deliveries/dlv_0", none.clone(), "read"),
        ("POST", "/admin/v1/deliveries/retry", json!({"frontend": "web"}), "operate"),
        ("POST", "/admin/v1/deliveries/dlv_0/retry", none.clone(), "operate"),
        (
            "POST",
            "/admin/v1/deliveries/replay",
            json!({"frontend": "web", "since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z", "dry_run": true}),
            "operate",
        ),
        ("GET", "/admin/v1/deliveries/replay/rpl_0", none.clone(), "read"),
        ("POST", "/admin/v1/deliveries/replay/rpl_0/pause", none.clone(), "operate"),
        ("POST", "/admin/v1/deliveries/replay/rpl_0/resume", none.clone(), "operate"),
        ("POST", "/admin/v1/deliveries/replay/rpl_0/cancel", none.clone(), "operate"),
        ("GET", "/admin/v1/frontends", none.clone(), "read"),
        ("POST", "/admin/v1/frontends/web/pause", none.clone(), "operate"),
        ("POST", "/admin/v1/frontends/web/resume", none.clone(), "operate"),
        ("POST", "/admin/v1/frontends/web/ping", none.clone(), "operate"),
        ("GET", "/admin/v1/conversations/web/nobody", none.clone(), "read"),
        ("POST", "/admin/v1/conversations/web/nobody/bind", json!({"new": true}), "operate"),
        ("DELETE", "/admin/v1/conversations/web/nobody", none.clone(), "erase"),
        ("GET", "/admin/v1/conversations?q=nobody", none.clone(), "read"),
        ("GET", "/admin/v1/handoffs", none.clone(), "read"),
        ("GET", "/admin/v1/quarantines", none.clone(), "read"),
        ("GET", "/admin/v1/lanes", none.clone(), "read"),
        ("GET", "/admin/v1/figures?window=1h", none.clone(), "read"),
        ("GET", "/admin/v1/configuration", none.clone(), "read"),
        ("GET", "/admin/v1/budget", none.clone(), "read"),
        ("POST", "/admin/v1/budget/permits", json!({"class": "get"}), "operate"),
        ("GET", "/admin/v1/report", none.clone(), "read"),
        ("GET", "/admin/v1/audit", none.clone(), "read"),
        ("GET", "/admin/v1/operators/me", none, "read"),
    ]
}

fn call(bridge: &Bridge, method: &str, path: &str, body: &Value) -> Call {
    let call = bridge.admin(method, path);
    if body.is_null() { call } else { call.json(body) }
}

async fn audit(bridge: &Bridge, token: &str) -> Vec<Value> {
    let page = bridge.admin("GET", "/admin/v1/audit?limit=500").bearer(token).send().await.expect(200).json();
    page["audit"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn every_route_takes_its_role_and_no_less() {
    let (setup, tokens) = setup();
    let mut bridge = setup.start().await;
    let rank = |role: &str| ["read", "operate", "erase"].iter().position(|one| *one == role).expect("a role");
    for (method, path, body, least) in routes() {
        call(&bridge, method, path, &body).send().await.problem(401, "unauthorized");
        call(&bridge, method, path, &body).bearer(&random_token()).send().await.problem(401, "unauthorized");
        for (role, token) in [("read", &tokens.read), ("operate", &tokens.operate), ("erase", &tokens.erase)] {
            let answer = call(&bridge, method, path, &body).bearer(token).send().await;
            if rank(role) < rank(least) {
                answer.problem(403, "forbidden");
            } else {
                assert!(![401, 403].contains(&answer.status), "{role} {method} {path}: {}", answer.text);
            }
        }
    }
    bridge.stop().await;
    bridge.restart_with(without_tokens).await;
    bridge.finish().await;
}

#[tokio::test]
async fn every_act_leaves_a_row_with_who_what_and_why_and_refused_ones_too() {
    let (setup, tokens) = setup();
    let mut bridge = setup.start().await;
    bridge.turn("c", "Where is my order?").await;
    let pause = |token: &str, reason: &str| {
        bridge.admin("POST", "/admin/v1/frontends/web/pause").bearer(token).json(&json!({"reason": reason}))
    };
    pause(&tokens.operate, "the receiver is being moved").send().await.expect(200);
    pause(&tokens.read, "just trying").send().await.problem(403, "forbidden");
    let resume = bridge.admin("POST", "/admin/v1/frontends/web/resume").bearer(&tokens.operate);
    resume.send().await.expect(200);
    let look =
        |token: &str, query: &str| bridge.admin("GET", &format!("/admin/v1/conversations/web/c{query}")).bearer(token);
    let without = look(&tokens.read, "").send().await.expect(200).json();
    assert!(without["events"][0]["data"].is_null(), "{without}");
    look(&tokens.read, "?content=true").send().await.problem(403, "forbidden");
    let with = look(&tokens.operate, "?content=true&reason=a+complaint").send().await.expect(200).json();
    assert!(with["events"][0]["data"]["message"]["text"].is_string());
    let me = bridge.admin("GET", "/admin/v1/operators/me").bearer(&tokens.operate).send().await.expect(200).json();
    assert_eq!(me, json!({"name": "operate", "role": "operate", "texts": true}));

    let rows: Vec<Value> = audit(&bridge, &tokens.read).await.into_iter().rev().collect();
    let seen: Vec<_> = rows
        .iter()
        .map(|row| json!([row["operator"], row["act"], row["object"], row["reason"], row["refused"]]))
        .collect();
    assert_eq!(
        seen,
        [
            json!(["operate", "frontend.pause", "frontends/web/pause", "the receiver is being moved", false]),
            json!(["read", "frontend.pause", "frontends/web/pause", "just trying", true]),
            json!(["operate", "frontend.resume", "frontends/web/resume", null, false]),
            json!(["read", "texts.read", "conversations/web/c", null, true]),
            json!(["operate", "texts.read", "conversations/web/c", "a complaint", false]),
        ]
    );
    assert!(rows.iter().all(|row| row["at"].as_str().is_some_and(|at| at.ends_with('Z'))));
    let first = bridge.admin("GET", "/admin/v1/audit?limit=2").bearer(&tokens.read).send().await.expect(200).json();
    let next = first["next_cursor"].as_str().expect("there is more");
    let second = bridge.admin("GET", &format!("/admin/v1/audit?cursor={next}&limit=500")).bearer(&tokens.read);
    assert_eq!(second.send().await.expect(200).json()["audit"].as_array().map(Vec::len), Some(3));

    // An operator who may erase does, and of the id the hash is left everywhere.
    let erase = bridge.admin("DELETE", "/admin/v1/conversations/web/c?reason=asked+by+the+customer");
    erase.bearer(&tokens.erase).send().await.expect(202);
    bridge.known_forget("web", "c");
    let again = bridge.admin("DELETE", "/admin/v1/conversations/web/c").bearer(&tokens.erase);
    again.send().await.problem(404, "not_found");
    let rows = audit(&bridge, &tokens.read).await;
    assert_eq!((&rows[0]["act"], &rows[1]["act"]), (&json!("conversation.erase"), &json!("conversation.erase")));
    let objects: Vec<&str> = rows.iter().filter_map(|row| row["object"].as_str()).collect();
    assert!(!objects.contains(&"conversations/web/c"), "{objects:?}");
    assert_eq!(objects.iter().filter(|object| object.contains("sha256:")).count(), 4, "{objects:?}");
    bridge.stop().await;
    bridge.restart_with(without_tokens).await;
    bridge.finish().await;
}

#[tokio::test]
async fn the_admin_token_may_all_and_without_any_token_the_machine_itself_may() {
    let token = random_token();
    let mut bridge = Setup::new().set("admin.token", &format!("{token:?}")).start().await;
    bridge.admin("POST", "/admin/v1/frontends/web/resume").bearer(&token).send().await.expect(200);
    assert_eq!(audit(&bridge, &token).await[0]["operator"], "admin");
    bridge.stop().await;
    bridge.restart_with(without_tokens).await;
    bridge.finish().await;
    let bridge = Setup::new().start().await;
    bridge.admin("POST", "/admin/v1/frontends/web/resume").send().await.expect(200);
    let rows = bridge.admin("GET", "/admin/v1/audit").send().await.expect(200).json();
    assert_eq!(rows["audit"][0]["operator"], "local");
    bridge.finish().await;
}
