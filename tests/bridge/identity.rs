//! Browser tokens as identities: who the customer is says the token alone, and what somebody with a page and a token tries
//! besides comes to nothing.

#![expect(clippy::needless_pass_by_value, reason = "JSON literals read best where they are handed over")]

use fini_bridge::sandbox::Feedback;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Bridge, Call, Setup, Stream, browser_token, epoch_seconds, eventually, mac, random_token, unique,
};

fn claims(more: Value) -> Value {
    let now = epoch_seconds();
    let mut claims = json!({"iss": "fini-bridge", "frontend": "web", "iat": now, "exp": now + 600});
    for (name, value) in more.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

fn token(bridge: &Bridge, more: Value) -> String {
    browser_token(bridge.web().browser_token_secret.as_ref().expect("configured"), &claims(more))
}

/// A message of a page, with what it adds.
fn page_message(bridge: &mut Bridge, token: &str, conversation: &str, more: Value) -> (String, Call) {
    let id = unique("m").replace(' ', "-");
    let mut body = json!({"conversation_id": conversation, "message_id": id, "text": unique("From the page")});
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    bridge.remember("web", &body);
    (id, bridge.anonymous("POST", "/v1/messages").bearer(token).json(&body))
}

/// What a page posts is accepted, and answered.
async fn posts(bridge: &mut Bridge, token: &str, conversation: &str, more: Value) {
    let (id, call) = page_message(bridge, token, conversation, more);
    call.send().await.expect(202);
    bridge.end_of(conversation, &id).await;
}

/// What a page posts is refused, and nothing is stored.
async fn is_refused(bridge: &mut Bridge, token: &str, conversation: &str, more: Value) -> Value {
    let (id, call) = page_message(bridge, token, conversation, more.clone());
    let problem = call.send().await.problem(403, "forbidden");
    let stored = bridge.events(conversation).await.iter().any(|event| event["data"]["message"]["id"] == id.as_str());
    assert!(!stored, "{more}");
    problem
}

async fn get(bridge: &Bridge, token: &str, path: &str) -> Answer {
    bridge.anonymous("GET", path).bearer(token).send().await
}

/// What Fini knows of the customer.
async fn at_fini(bridge: &Bridge, conversation: &str) -> Value {
    let id = bridge.bound(conversation).await;
    serde_json::to_value(&bridge.sandbox.conversation(&id).expect("it exists").user_attributes).expect("JSON")
}

#[tokio::test]
async fn who_the_customer_is_says_the_token_alone() {
    let mut bridge = Setup::new().set_web("browser_attributes", r#"["page"]"#).start().await;
    let own =
        json!({"conversation_id": "c", "sub": "u-9", "attributes": {"email": "own@example.com", "parcel": 9_400_111}});
    let token = token(&bridge, own);
    // What a page may say: nothing, its own user, what the token says too, and what browser_attributes names.
    let honest =
        json!({"user": {"id": "u-9", "attributes": {"email": "own@example.com", "page": "/cart"}}, "metadata": {}});
    posts(&mut bridge, &token, "c", honest).await;
    posts(&mut bridge, &token, "c", json!({})).await;
    for more in [
        json!({"user": {"id": "victim"}}),
        json!({"user": {"id": "U-9"}}),
        json!({"user": {"attributes": {"email": "victim@example.com"}}}),
        json!({"user": {"attributes": {"user_id": "victim"}}}),
        json!({"user": {"attributes": {"plan": "Enterprise"}}}),
        json!({"user": {"attributes": {"Page": "x"}}}),
        json!({"metadata": {"user_attributes": {"email": "victim@example.com"}}}),
        json!({"metadata": {"anything": 1}}),
    ] {
        let problem = is_refused(&mut bridge, &token, "c", more).await;
        assert!(!problem.to_string().contains("victim@"), "{problem}");
    }
    let known = at_fini(&bridge, "c").await;
    let expected = [("user_id", json!("u-9")), ("email", json!("own@example.com")), ("page", json!("/cart"))];
    for (name, value) in expected {
        assert_eq!(known[name], value, "{known}");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn a_token_that_names_nobody_lets_the_page_name_nobody() {
    let mut bridge = Setup::new().start().await;
    let token = token(&bridge, json!({"conversation_id": "c"}));
    posts(&mut bridge, &token, "c", json!({})).await;
    is_refused(&mut bridge, &token, "c", json!({"user": {"id": "victim"}})).await;
    assert_eq!(at_fini(&bridge, "c").await["user_id"], Value::Null);
    bridge.finish().await;
}

#[tokio::test]
async fn no_attribute_replaces_the_bridges_own_keys() {
    let mut bridge = Setup::new().start().await;
    let (first, _) = bridge.say("plain", "Where is my order?").await;
    bridge.end_of("plain", &first).await;
    let own: Vec<String> = at_fini(&bridge, "plain").await.as_object().expect("an object").keys().cloned().collect();
    assert!(own.len() >= 2, "the bridge's keys: {own:?}");
    let mut forged: serde_json::Map<String, Value> = own.iter().map(|name| (name.clone(), json!("forged"))).collect();
    forged.insert("user_id".to_owned(), json!("victim"));
    let token = token(&bridge, json!({"conversation_id": "c", "sub": "u-9", "attributes": forged}));
    posts(&mut bridge, &token, "c", json!({})).await;
    let message = json!({"conversation_id": "d", "message_id": "m", "text": unique("hello"),
        "user": {"id": "u-9", "attributes": forged}, "metadata": {"user_attributes": forged}});
    bridge.post(&message).await.expect(202);
    bridge.end_of("d", "m").await;
    for conversation in ["c", "d"] {
        let known = at_fini(&bridge, conversation).await;
        assert_eq!(known["user_id"], "u-9", "{known}");
        assert!(own.iter().all(|name| known[name] != "forged"), "{known}");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn a_users_token_opens_the_conversations_of_that_user_and_new_ones() {
    let mut bridge = Setup::new().start().await;
    for (conversation, user) in [("own", Some("u-9")), ("theirs", Some("u-1")), ("nobodys", None)] {
        let mut message = json!({"conversation_id": conversation, "message_id": "m", "text": unique("hello")});
        if let Some(user) = user {
            message["user"] = json!({"id": user});
        }
        bridge.post(&message).await.expect(202);
        bridge.end_of(conversation, "m").await;
    }
    let token = token(&bridge, json!({"sub": "u-9"}));
    for path in ["", "/events", "/stream"] {
        let call = bridge.anonymous("GET", &format!("/v1/conversations/own{path}")).bearer(&token);
        assert_eq!(call.response().await.expect("an answer").status().as_u16(), 200, "{path}");
    }
    posts(&mut bridge, &token, "own", json!({})).await;
    posts(&mut bridge, &token, "begun-here", json!({"user": {"id": "u-9"}})).await;
    get(&bridge, &token, "/v1/conversations/begun-here/events").await.expect(200);

    // Not its own, whether or not it exists: the same answer, to the last word but the request's id.
    let mut answers = Vec::new();
    for conversation in ["theirs", "nobodys", "never-heard-of"] {
        for path in ["", "/events", "/stream"] {
            let answer = get(&bridge, &token, &format!("/v1/conversations/{conversation}{path}")).await;
            let mut problem = answer.problem(403, "forbidden");
            problem["request_id"] = Value::Null;
            answers.push(problem);
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    for conversation in ["theirs", "nobodys"] {
        is_refused(&mut bridge, &token, conversation, json!({})).await;
        // Not even that a message of this id is there is told.
        let guess = json!({"conversation_id": conversation, "message_id": "m", "text": "other"});
        let call = bridge.anonymous("POST", "/v1/messages").bearer(&token).json(&guess);
        call.send().await.problem(403, "forbidden");
    }
    for (method, path) in [
        ("POST", "/v1/conversations/own/tokens"),
        ("DELETE", "/v1/conversations/own"),
        ("POST", "/v1/users/u-9/tokens"),
    ] {
        bridge.anonymous(method, path).bearer(&token).send().await.problem(403, "forbidden");
    }
    is_refused(&mut bridge, &token, "own", json!({"role": "agent"})).await;
    bridge.finish().await;
}

/// A page that guesses the ids of the backend's messages, with their text or another, is told nothing and is in nobody's way.
#[tokio::test]
async fn what_a_page_calls_its_messages_tells_it_nothing_of_the_servers() {
    let mut bridge = Setup::new().start().await;
    let text = unique("Your parcel is on its way");
    let message = json!({"conversation_id": "c", "message_id": "order-17", "text": text});
    bridge.post(&message).await.expect(202);
    bridge.end_of("c", "order-17").await;
    let token = token(&bridge, json!({"conversation_id": "c"}));
    let by_page = |text: &str| {
        let body = json!({"conversation_id": "c", "message_id": "order-17", "text": text});
        bridge.anonymous("POST", "/v1/messages").bearer(&token).header("prefer", "wait=20").json(&body)
    };
    let guess = by_page(&text).send().await.expect(200).json();
    assert_eq!((&guess["duplicate"], &guess["message_id"]), (&json!(false), &json!("order-17")), "{guess}");
    // Its own repeats are recognised all the same, and its own conflicts told.
    let repeat = by_page(&text).send().await.expect(200).json();
    assert_eq!(repeat["duplicate"], true, "{repeat}");
    by_page("something else").send().await.problem(409, "message_conflict");
    // The server's message is still the server's.
    let again = bridge.post(&message).await.expect(202).json();
    assert_eq!(again["duplicate"], true, "{again}");
    assert_eq!(bridge.times_stored(&text), 2, "each once");
    bridge.finish().await;
}

/// Two pages begin one conversation at the same moment: it is the first one's, and the other learns nothing.
#[tokio::test]
async fn who_comes_second_to_a_free_id_is_refused() {
    let mut bridge = Setup::new().start().await;
    for round in 0..8 {
        let conversation = format!("race-{round}");
        let mut calls = tokio::task::JoinSet::new();
        for user in ["u-1", "u-2"] {
            let token = token(&bridge, json!({"sub": user}));
            let (_, call) = page_message(&mut bridge, &token, &conversation, json!({}));
            calls.spawn(async move { (token, call.send().await) });
        }
        let mut statuses = Vec::new();
        for (token, answer) in calls.join_all().await {
            let may_read = get(&bridge, &token, &format!("/v1/conversations/{conversation}/events")).await.status;
            assert_eq!(may_read, if answer.status == 202 { 200 } else { 403 }, "{}", answer.text);
            statuses.push(answer.status);
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [202, 403]);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn an_own_conversation_that_has_not_begun_is_an_empty_page_and_a_silent_stream() {
    let mut bridge = Setup::new().start().await;
    let token = token(&bridge, json!({"conversation_id": "soon", "sub": "u-9"}));
    let page = get(&bridge, &token, "/v1/conversations/soon/events").await.expect(200).json();
    assert_eq!(page, json!({"events": [], "last_sequence": 0, "has_more": false}));
    let mut stream = Stream::open(bridge.anonymous("GET", "/v1/conversations/soon/stream").bearer(&token)).await;
    // What begins it is seen at once, not at the next heartbeat.
    bridge.say("soon", "Where is my order?").await;
    let seen = tokio::time::timeout(std::time::Duration::from_secs(10), stream.next()).await;
    let event = seen.expect("long before a heartbeat").expect("an event");
    assert_eq!((event.id.as_str(), event.event.as_str()), ("1", "message.created"));
    bridge.call("GET", "/v1/conversations/never/events").send().await.problem(404, "not_found");
    drop(stream);
    bridge.finish().await;
}

#[tokio::test]
async fn browsers_are_shown_nothing_that_is_not_for_customers() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let id = bridge.bound("c").await;
    let whisper = unique("WHISPER: the customer is a fraudster");
    bridge.keep_private(&whisper);
    let path = format!("/_sandbox/conversations/{id}/events");
    for event in [
        json!({"role": "agent", "type": "private_note", "message": whisper}),
        json!({"role": "supervisor", "type": "message", "message": whisper}),
    ] {
        bridge.vendor_call("POST", &path).json(&event).send().await;
    }
    let is_odd = |event: &&Value| event["type"] == "fini.unrecognized";
    eventually("both odd events", async || {
        Some(bridge.events("c").await.iter().filter(is_odd).count()).filter(|count| *count >= 2)
    })
    .await;
    bridge.turn("c", "Show me the form").await;
    let full = bridge.events("c").await;
    let token = token(&bridge, json!({"conversation_id": "c"}));
    let page = get(&bridge, &token, "/v1/conversations/c/events?limit=500").await.expect(200);
    for secret in [whisper.as_str(), "\"raw\"", "fini.unrecognized", "feedback.updated"] {
        assert!(!page.text.contains(secret), "{secret} in {}", page.text);
    }
    let shown = page.json()["events"].as_array().expect("a list").clone();
    let sequences = |events: &[Value]| events.iter().map(|event| event["sequence"].as_i64()).collect::<Vec<_>>();
    assert!(sequences(&full).starts_with(&sequences(&shown)) || sequences(&shown).starts_with(&sequences(&full)));
    for (shown, full) in shown.iter().zip(&full) {
        assert_eq!(shown["id"], full["id"]);
        if is_odd(&full) {
            assert_eq!((&shown["type"], &shown["data"]), (&json!("hidden"), &json!({})));
        } else {
            assert_eq!(shown["type"], full["type"]);
        }
        if shown["type"] == "message.created" {
            assert_eq!(shown["data"]["message"]["tags"], json!([]));
            assert_eq!(shown["data"]["message"]["text"], full["data"]["message"]["text"]);
        }
    }
    let mut stream = Stream::open(bridge.anonymous("GET", "/v1/conversations/c/stream").bearer(&token)).await;
    for expected in &shown {
        let event = stream.next().await.expect("an event");
        assert_eq!(event.event, expected["type"].as_str().expect("a type"));
        assert_eq!(event.data, *expected);
    }
    drop(stream);
    bridge.finish().await;
}

/// Every route there is, as the document names them, tried with a token for the conversation and its user.
#[tokio::test]
async fn a_browser_may_do_what_the_document_marks_and_nothing_else() {
    let mut bridge = Setup::new().start().await;
    let message = json!({"conversation_id": "c", "message_id": "m", "text": unique("hello"), "user": {"id": "u-9"}});
    bridge.post(&message).await.expect(202);
    bridge.end_of("c", "m").await;
    let token = token(&bridge, json!({"conversation_id": "c", "sub": "u-9"}));
    let users = self::token(&bridge, json!({"sub": "u-9"}));
    let document = bridge.anonymous("GET", "/openapi.json").send().await.expect(200).json();
    let (mut marked, mut others) = (Vec::new(), 0);
    for (path, item) in document["paths"].as_object().expect("an object") {
        let asked = path.replace("{conversation_id}", "c").replace("{user_id}", "u-9");
        for (method, operation) in item.as_object().expect("an object") {
            let schemes = operation["security"].as_array().expect("a list");
            let takes = |name: &str| schemes.iter().any(|scheme| scheme.get(name).is_some());
            let call = |token: &str| {
                let call = bridge.anonymous(&method.to_uppercase(), &asked).bearer(token);
                if method == "get" { call } else { call.json(&json!({})) }
            };
            for token in [&token, &users] {
                let status = call(token).response().await.expect("an answer").status().as_u16();
                if takes("browser_token") {
                    // A token for one conversation lists none, whoever it names.
                    let lists = path.ends_with("/conversations");
                    assert!(![401, 403, 404].contains(&status) || lists, "{method} {path}: {status}");
                } else if takes("frontend_token") {
                    assert_eq!(status, 403, "{method} {path}");
                } else {
                    assert!(takes("action_key") && [401, 404].contains(&status), "{method} {path}: {status}");
                }
            }
            if takes("browser_token") {
                marked.push(operation["operationId"].as_str().expect("an id").to_owned());
            } else {
                others += 1;
            }
        }
    }
    marked.sort_unstable();
    let wanted = [
        "getConversation",
        "getEvents",
        "listUserConversations",
        "markRead",
        "postMessage",
        "requestHuman",
        "streamEvents",
    ];
    assert_eq!(marked, wanted);
    assert!(others >= 14, "the server's own: {others}");
    bridge.finish().await;
}

/// Each of the things that are not for customers happens, and a page looks for them in every way there is.
#[tokio::test]
async fn no_way_shows_a_browser_more_than_another() {
    let mut bridge = Setup::new().start().await;
    let first =
        json!({"conversation_id": "c", "message_id": "m", "text": unique("Where is my order?"), "user": {"id": "u-9"}});
    bridge.post(&first).await.expect(202);
    bridge.end_of("c", "m").await;
    let id = bridge.bound("c").await;
    let [note, tag, opinion] = ["WHISPER-NOTE", "WHISPER-TAG", "WHISPER-OPINION"].map(unique);
    let inject = |fields: Value| {
        let Value::Object(fields) = fields else { panic!("an object") };
        bridge.sandbox.inject(&id, &fields).expect("it exists").id.clone()
    };
    let reply = bridge.event("c", "the reply", |event| event["data"]["message"]["author"] == "bot").await;
    let rating = Feedback {
        event_id: reply["data"]["message"]["id"].as_str().expect("an id").to_owned(),
        feedback: Some(opinion.clone()),
        ..Feedback::default()
    };
    bridge.sandbox.feedback(&id, &rating).expect("it exists");
    inject(json!({"role": "agent", "type": "private_note", "message": note}));
    inject(json!({"role": "agent", "type": "widget_form", "message": "Your size?", "secret": note}));
    let said = inject(json!({"role": "agent", "type": "message", "message": "I look into it", "tags": [tag]}));
    for kind in ["fini.unrecognized", "form.presented", "feedback.updated"] {
        bridge.event_of("c", kind).await;
    }
    let tagged = bridge.event("c", "the agent", |event| event["data"]["message"]["id"] == said.as_str()).await;
    assert_eq!(tagged["data"]["message"]["tags"], json!([tag]), "the server is told");

    let token = token(&bridge, json!({"sub": "u-9"}));
    let mut ways = Vec::new();
    for path in
        ["conversations/c/events?limit=500", "conversations/c?with=transcript&messages=100", "users/u-9/conversations"]
    {
        ways.push(get(&bridge, &token, &format!("/v1/{path}")).await.expect(200).text);
    }
    let newest = bridge.events("c").await.len();
    let mut stream = Stream::open(bridge.anonymous("GET", "/v1/conversations/c/stream").bearer(&token)).await;
    for _ in 0..newest {
        ways.push(stream.next().await.expect("an event").data.to_string());
    }
    drop(stream);
    let (_, call) = page_message(&mut bridge, &token, "c", json!({}));
    ways.push(call.header("prefer", "wait=20").send().await.text);
    for told in &ways {
        for hidden in [note.as_str(), &tag, &opinion, "\"raw\"", "csat_rating", "private_note"] {
            assert!(!told.contains(hidden), "{hidden} in {told}");
        }
    }
    assert!(ways[1].contains("I look into it"), "not hidden: {}", ways[1]);
    bridge.finish().await;
}

#[tokio::test]
async fn a_token_with_origins_reads_on_the_pages_own_origin() {
    let proxy = "server.trusted_proxies";
    for (is_behind, host) in [(false, "host"), (true, "x-forwarded-host")] {
        let setup = if is_behind { Setup::new().set(proxy, r#"["127.0.0.0/8"]"#) } else { Setup::new() };
        let mut bridge = setup.start().await;
        bridge.turn("c", "Where is my order?").await;
        let token = token(
            &bridge,
            json!({"conversation_id": "c", "origins": ["https://shop.example.com", "capacitor://localhost"]}),
        );
        let ask = |name: &str, site: &str| {
            let call = bridge.anonymous("GET", "/v1/conversations/c/events").bearer(&token);
            call.header(host, name).header("sec-fetch-site", site)
        };
        ask("shop.example.com", "same-origin").send().await.expect(200);
        ask("shop.example.com:443", "same-origin").send().await.expect(200);
        ask("shop.example.com", "same-origin").without("sec-fetch-site").send().await.problem(403, "forbidden");
        for (name, site) in [
            ("shop.example.com", "cross-site"),
            ("shop.example.com", "same-site"),
            ("shop.example.com", "none"),
            ("evil.example.com", "same-origin"),
            ("shop.example.com.evil.example", "same-origin"),
        ] {
            ask(name, site).send().await.problem(403, "forbidden");
        }
        // An Origin that is there counts, whatever else is said.
        let page = ask("shop.example.com", "same-origin");
        page.clone().header("origin", "capacitor://localhost").send().await.expect(200);
        page.header("origin", "https://evil.example").send().await.problem(403, "forbidden");
        if !is_behind {
            // Nobody but a trusted proxy says what was asked for.
            let forged = ask("evil.example.com", "same-origin").header("x-forwarded-host", "shop.example.com");
            forged.send().await.problem(403, "forbidden");
        }
        bridge.finish().await;
    }
}

#[tokio::test]
async fn origins_that_could_never_match_are_refused_when_the_token_is_made() {
    let bridge = Setup::new().start().await;
    let mint = |path: &str, body: Value| bridge.call("POST", path).json(&body);
    for path in ["/v1/conversations/c/tokens", "/v1/users/u-9/tokens"] {
        for origin in ["https://shop.example/", "shop.example", "https://*.shop.example", "null", "file:///x", ""] {
            let problem = mint(path, json!({"origins": [origin]})).send().await.problem(422, "invalid_request");
            assert_eq!(problem["errors"][0]["field"], "origins", "{problem}");
        }
        for origin in ["https://shop.example", "HTTPS://Shop.Example:443", "capacitor://localhost", "tauri://localhost"]
        {
            mint(path, json!({"origins": [origin]})).send().await.expect(200);
        }
        // What would be refused when it is presented is refused when it is made.
        mint(path, json!({"attributes": {"a": "x".repeat(9000)}})).send().await.problem(422, "invalid_request");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn the_bridge_mints_users_tokens() {
    let mut bridge = Setup::new().start().await;
    let wish = json!({"attributes": {"email": "own@example.com"}, "ttl_seconds": 60});
    let minted = bridge.call("POST", "/v1/users/u%2F9%40x/tokens").json(&wish).send().await.expect(200).json();
    let token = minted["token"].as_str().expect("a token").to_owned();
    bridge.keep_private(&token);
    posts(&mut bridge, &token, "c", json!({"user": {"id": "u/9@x"}})).await;
    let known = at_fini(&bridge, "c").await;
    assert_eq!((&known["user_id"], &known["email"]), (&json!("u/9@x"), &json!("own@example.com")));
    for body in
        [json!({"user_id": "u-1"}), json!({"ttl": 60}), json!({"attributes": [60]}), json!({"ttl_seconds": 3601})]
    {
        bridge.call("POST", "/v1/users/u-9/tokens").json(&body).send().await.problem(422, "invalid_request");
    }
    let long = "u".repeat(201);
    bridge.call("POST", &format!("/v1/users/{long}/tokens")).send().await.problem(422, "invalid_request");
    bridge.anonymous("POST", "/v1/users/u-9/tokens").send().await.problem(401, "unauthorized");
    bridge.finish().await;
}

#[tokio::test]
async fn tokens_rotate_by_a_list_of_secrets_of_which_the_first_signs() {
    let (old, new) = (random_token(), random_token());
    let list = format!("[{new:?}, {old:?}]");
    let setup = Setup::new().web(|web| web.browser_token_secret = None).set_web("browser_token_secrets", &list);
    let mut bridge = setup.start().await;
    bridge.turn("c", "Where is my order?").await;
    let claims = claims(json!({"conversation_id": "c"}));
    for secret in [&new, &old] {
        get(&bridge, &browser_token(secret, &claims), "/v1/conversations/c/events").await.expect(200);
    }
    let other = browser_token(&random_token(), &claims);
    get(&bridge, &other, "/v1/conversations/c/events").await.problem(401, "unauthorized");
    let minted = bridge.call("POST", "/v1/conversations/c/tokens").send().await.expect(200).json();
    let minted = minted["token"].as_str().expect("a token");
    let read: Value = {
        use base64::Engine as _;
        let payload = minted.split('.').nth(1).expect("three parts");
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).expect("base64url");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    assert_eq!(read["conversation_id"], "c");
    let (signed, signature) = minted.rsplit_once('.').expect("three parts");
    assert_eq!(signature, mac(&new, signed), "the first secret signs");
    bridge.finish().await;
}

#[tokio::test]
async fn a_token_in_the_address_counts_unless_a_bearer_token_is_sent() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let token = token(&bridge, json!({"conversation_id": "c"}));
    bridge.keep_private(&token);
    let status = async |query: &str, authorization: Option<&str>| {
        let mut call = bridge.anonymous("GET", &format!("/v1/conversations/c/stream?access_token={query}"));
        if let Some(authorization) = authorization {
            call = call.header("authorization", authorization);
        }
        call.response().await.expect("an answer").status().as_u16()
    };
    let server = bridge.web().tokens[0].clone();
    assert_eq!(status(&token, None).await, 200);
    assert_eq!(status(&token, Some("Basic c3RhZ2luZzpwYXNz")).await, 200, "browsers add it by themselves");
    assert_eq!(status("nonsense", Some(&format!("Bearer {server}"))).await, 200, "the header counts");
    assert_eq!(status(&token, Some("Bearer nonsense")).await, 401, "the header counts");
    assert_eq!(status(&token, Some("bearer")).await, 401, "the scheme is Bearer, whatever comes after it");
    assert_eq!(status(&server, None).await, 401, "a frontend's token lasts too long for an address");
    bridge.finish().await;
}

#[tokio::test]
async fn preflights_allow_the_headers_that_are_asked_for() {
    let origins = r#"["https://shop.example.com", "capacitor://localhost"]"#;
    let bridge = Setup::new().set("server.cors_origins", origins).start().await;
    let headers = "authorization,content-type,traceparent,tracestate,baggage,sentry-trace,x-datadog-trace-id";
    for origin in ["https://shop.example.com", "capacitor://localhost"] {
        let call = bridge.anonymous("OPTIONS", "/v1/messages").header("origin", origin);
        let call = call.header("access-control-request-method", "POST");
        let answer = call.header("access-control-request-headers", headers).send().await;
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("access-control-allow-headers"), headers);
    }
    bridge.finish().await;
}
