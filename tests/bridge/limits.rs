//! One customer's share: of messages, of reads, of memory, of time; and what is left of somebody who was erased.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Duration, Instant, timeout},
};

use crate::harness::{
    Allow, Bridge, DEADLINE, Frontend, Setup, Stream, browser_token, epoch_seconds, eventually, unique,
};

/// A token of so many seconds for a conversation of the first frontend, and of a user where one is named.
fn token(bridge: &mut Bridge, conversation: &str, user: Option<&str>, seconds: i64) -> String {
    let now = epoch_seconds();
    let mut claims = json!({"iss": "fini-bridge", "frontend": "web", "conversation_id": conversation, "iat": now, "exp": now + seconds});
    if let Some(user) = user {
        claims["sub"] = json!(user);
    }
    let token = browser_token(bridge.web().browser_token_secret.as_ref().expect("configured"), &claims);
    bridge.keep_private(&token);
    token
}

fn message(conversation: &str, id: &str) -> Value {
    json!({"conversation_id": conversation, "message_id": id, "text": unique("Where is my order?")})
}

async fn from_browser(bridge: &mut Bridge, token: &str, message: &Value) -> (u16, u64, String) {
    let answer = bridge.anonymous("POST", "/v1/messages").bearer(token).json(message).send().await;
    if answer.status == 202 {
        bridge.remember("web", message);
    }
    let retry_after = answer.header("retry-after").parse().unwrap_or_default();
    (answer.status, retry_after, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn one_person_writes_so_much_in_a_minute_in_all_conversations_together() {
    let mut bridge = Setup::new().set("limits.browser_messages_per_user", "3").start().await;
    let (a, b) = (token(&mut bridge, "a", Some("u-1"), 60), token(&mut bridge, "b", Some("u-1"), 60));
    let first = message("a", "m-1");
    assert_eq!(from_browser(&mut bridge, &a, &first).await.0, 202);
    assert_eq!(from_browser(&mut bridge, &b, &message("b", "m-1")).await.0, 202);
    assert_eq!(from_browser(&mut bridge, &a, &message("a", "m-2")).await.0, 202);
    let (status, retry_after, code) = from_browser(&mut bridge, &b, &message("b", "m-2")).await;
    assert_eq!((status, code.as_str()), (429, "rate_limited"));
    assert!((1..=60).contains(&retry_after), "{retry_after}");
    // A repeat is no further message, another person has a minute of its own, and so has a conversation without a user.
    assert_eq!(from_browser(&mut bridge, &a, &first).await.0, 202);
    for (conversation, user) in [("c", Some("u-2")), ("d", None)] {
        let other = token(&mut bridge, conversation, user, 60);
        assert_eq!(from_browser(&mut bridge, &other, &message(conversation, "m-1")).await.0, 202);
    }
    bridge.turn("a", "The frontend's own server is not counted").await;
    bridge.finish().await;
}

#[tokio::test]
async fn one_person_reads_so_much_in_a_minute() {
    let mut bridge = Setup::new().set("limits.browser_reads_per_user", "5").start().await;
    bridge.turn("a", "Where is my order?").await;
    let (one, other) = (token(&mut bridge, "a", Some("u-1"), 60), token(&mut bridge, "a", Some("u-2"), 60));
    let read = |token: &str, path: &str| bridge.anonymous("GET", &format!("/v1/conversations/a{path}")).bearer(token);
    for path in ["", "/events", "", "/events"] {
        read(&one, path).send().await.expect(200);
    }
    drop(Stream::open(read(&one, "/stream")).await);
    for path in ["", "/events", "/stream"] {
        let answer = read(&one, path).send().await;
        answer.problem(429, "rate_limited");
        assert!((1..=60).contains(&answer.header("retry-after").parse::<u64>().expect("seconds")));
    }
    read(&other, "/events").send().await.expect(200);
    for _ in 0..10 {
        bridge.call("GET", "/v1/conversations/a/events").send().await.expect(200);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn so_many_bytes_wait_in_one_conversation() {
    let setup = Setup::new().set("limits.bytes_waiting_per_conversation", "\"40KiB\"");
    let mut bridge = setup.vendor(|vendor| vendor.reply_latency_ms = 1500).start().await;
    let long = |id: &str| json!({"conversation_id": "a", "message_id": id, "text": unique(&"long ".repeat(3000))});
    bridge.message(&long("m-0")).send().await.expect(202);
    // The first is under way; what follows waits for it.
    bridge.event("a", "the first message", |event| event["data"]["message"]["id"] == "m-0").await;
    let (mut stored, mut refused) = (1, None);
    for number in 1..6 {
        let answer = bridge.message(&long(&format!("m-{number}"))).send().await;
        if answer.status == 202 {
            stored += 1;
        } else {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("one too many");
    refused.problem(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().expect("seconds") >= 1);
    assert!((2..=4).contains(&stored), "{stored} of 15 kB each");
    bridge.post(&json!({"conversation_id": "b", "text": unique(&"long ".repeat(3000))})).await.expect(202);
    bridge.finish().await;
}

/// A feed of so many long messages, of an agent, for whom no reply is awaited.
async fn long_feed(bridge: &mut Bridge, conversation: &str, messages: usize) {
    // Fini is told of one after the other; these tests are not about that.
    for open in [Allow::OpenTurns, Allow::Unbound, Allow::Unsent] {
        bridge.allow(open);
    }
    let mut tasks = JoinSet::new();
    for number in 0..messages {
        let text = unique(&"what was said ".repeat(1100));
        let body = json!({"conversation_id": conversation, "message_id": format!("m-{number}"), "text": text, "role": "agent"});
        tasks.spawn(bridge.message(&body).send());
    }
    for answer in tasks.join_all().await {
        answer.expect(202);
    }
}

#[tokio::test]
async fn a_page_has_about_a_mebibyte_and_the_next_one_the_rest() {
    let mut bridge = Setup::new().start().await;
    long_feed(&mut bridge, "a", 90).await;
    let (mut after, mut pages) = (0, 0);
    loop {
        let path = format!("/v1/conversations/a/events?limit=500&after={after}");
        let answer = bridge.call("GET", &path).send().await.expect(200);
        assert!(answer.text.len() < (1 << 20) + 20_000, "{} bytes", answer.text.len());
        let page = answer.json();
        for event in page["events"].as_array().expect("events") {
            assert_eq!(event["sequence"], after + 1);
            after += 1;
        }
        pages += 1;
        if page["has_more"] == false {
            break;
        }
    }
    assert!(pages >= 2 && after >= 90, "{pages} pages up to {after}");
    bridge.finish().await;
}

#[tokio::test]
async fn a_stream_ends_with_its_token_whether_it_waits_for_news_or_for_its_reader() {
    let mut bridge = Setup::new().start().await;
    long_feed(&mut bridge, "a", 60).await;
    bridge.turn("b", "Where is my order?").await;
    let (begun, seconds) = (Instant::now(), 3);
    let (unread, quiet) = (token(&mut bridge, "a", None, seconds), token(&mut bridge, "b", None, seconds));
    let mut socket = TcpStream::connect(bridge.url.trim_start_matches("http://")).await.expect("connects");
    let head = format!(
        "GET /v1/conversations/a/stream?access_token={unread} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("writes");
    let call = bridge.anonymous("GET", "/v1/conversations/b/stream").bearer(&quiet);
    let mut stream = Stream::open(call).await;
    while stream.next_or_hint().await.is_some() {}
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(1) && waited < Duration::from_secs(5), "{waited:?}");
    // Nothing of the other one is read until it must have ended.
    let left = (Duration::from_secs(5)).saturating_sub(begun.elapsed());
    tokio::time::sleep(left).await;
    let mut taken = Vec::new();
    let read = timeout(DEADLINE, socket.read_to_end(&mut taken)).await;
    assert!(read.is_ok(), "still open {:?} after its token's end", begun.elapsed());
    assert!(taken.len() < 700_000, "{} bytes were sent to nobody", taken.len());
    bridge.finish().await;
}

#[tokio::test]
async fn a_browser_that_reads_as_fast_as_it_can_keeps_no_other_frontend_waiting() {
    let setup = Setup::new().set("limits.browser_reads_per_user", "0").frontend(Frontend::new("app"));
    let mut bridge = setup.start().await;
    long_feed(&mut bridge, "a", 60).await;
    let greedy = token(&mut bridge, "a", Some("u-1"), 600);
    let app = bridge.frontends[1].tokens[0].clone();
    let body = json!({"conversation_id": "own", "message_id": "m", "text": unique("Of another frontend")});
    bridge.remember("app", &body);
    bridge.anonymous("POST", "/v1/messages").bearer(&app).json(&body).send().await.expect(202);
    let mut flood = JoinSet::new();
    for _ in 0..64 {
        let call = bridge.anonymous("GET", "/v1/conversations/a/events?limit=500").bearer(&greedy);
        flood.spawn(async move {
            let mut statuses = Vec::new();
            for _ in 0..4 {
                statuses.push(call.clone().send().await.status);
            }
            statuses
        });
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let asked = Instant::now();
        bridge.anonymous("GET", "/v1/conversations/own/events").bearer(&app).send().await.expect(200);
        slowest = slowest.max(asked.elapsed());
    }
    let statuses = flood.join_all().await.concat();
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&429), "64 answers at once are more than one person needs");
    assert!(slowest < Duration::from_secs(2), "another frontend waited {slowest:?}");
    bridge.finish().await;
}

#[tokio::test]
async fn what_was_erased_is_in_no_file_once_that_is_told_and_only_a_hash_of_its_id_is_left() {
    let mut bridge = Setup::new().start().await;
    let conversation = unique("conversation").replace(' ', "-");
    let (_, text) = bridge.say(&conversation, "Where is my order?").await;
    let (old, user) = (token(&mut bridge, &conversation, Some("u-of-the-erased"), 600), "u-of-the-erased");
    from_browser(&mut bridge, &old, &message(&conversation, "b-1")).await;
    bridge.end_of(&conversation, "b-1").await;
    eventually("the callbacks to be made", async || bridge.deliveries("state=pending").await.is_empty().then_some(()))
        .await;
    assert!(bridge.is_on_disk(&text) && bridge.is_on_disk(&conversation) && bridge.is_on_disk(user));
    let path = format!("/v1/conversations/{conversation}");
    let told = bridge.call("DELETE", &path).send().await.expect(202).json();
    assert_eq!(told["local"], "erased");
    for gone in [&text, &conversation, user] {
        assert!(!bridge.is_on_disk(gone), "{gone} is still on disk");
    }
    bridge.known_forget("web", &conversation);
    bridge.call("DELETE", &path).send().await.problem(404, "not_found");
    // Under the same id begins another conversation; who could read the first cannot read that one.
    bridge.say(&conversation, "Somebody else's first word").await;
    let answer = bridge.anonymous("GET", &path).bearer(&old).send().await;
    answer.problem(401, "unauthorized");
    let (status, ..) = from_browser(&mut bridge, &old, &message(&conversation, "b-2")).await;
    assert_eq!(status, 401);
    let minted = bridge.call("POST", &format!("{path}/tokens")).send().await.expect(200).json();
    let new = minted["token"].as_str().expect("a token").to_owned();
    bridge.keep_private(&new);
    bridge.anonymous("GET", &path).bearer(&new).send().await.expect(200);
    eventually("the second conversation's turn", async || {
        bridge.events(&conversation).await.iter().any(|event| event["type"] == "turn.completed").then_some(())
    })
    .await;
    // The harness takes what is under one id for one conversation.
    bridge.known_forget("web", &conversation);
    bridge.finish().await;
}

#[cfg(unix)]
#[tokio::test]
async fn the_database_and_the_files_beside_it_are_their_owners_alone() {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

    let mut bridge = Setup::new().start().await;
    bridge.turn("a", "Where is my order?").await;
    let file = bridge.config_file();
    let folder = Path::new(&file).parent().expect("a folder").to_owned();
    let modes = || {
        let files = fs::read_dir(&folder).expect("reads").flatten();
        let ours = files.filter(|file| file.file_name().to_string_lossy().starts_with("bridge.db"));
        ours.map(|file| (file.path(), file.metadata().expect("is there").permissions().mode() & 0o777))
            .collect::<Vec<_>>()
    };
    assert!(modes().len() >= 3);
    assert!(modes().iter().all(|(_, mode)| *mode == 0o600), "{:?}", modes());
    bridge.stop().await;
    for (path, _) in modes() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("ours");
    }
    bridge.restart().await;
    bridge.turn("a", "And now?").await;
    assert!(modes().iter().all(|(path, mode)| *mode == 0o600 || path.ends_with("bridge.db.lock")), "{:?}", modes());
    bridge.finish().await;
}

#[tokio::test]
async fn controls_have_no_place_in_ids_and_attributes() {
    let bridge = Setup::new().start().await;
    for user in [
        json!({"id": "u\u{1b}[2J"}),
        json!({"id": "u\n"}),
        json!({"id": "u", "attributes": {"na\u{7}me": "x"}}),
        json!({"id": "u", "attributes": {"name": "x\u{0}"}}),
    ] {
        let body = json!({"conversation_id": "c", "text": unique("Hello"), "user": user});
        bridge.call("POST", "/v1/messages").json(&body).send().await.problem(422, "invalid_message");
    }
    let wish = json!({"user_id": "u\t"});
    bridge.call("POST", "/v1/conversations/c/tokens").json(&wish).send().await.problem(422, "invalid_request");
    bridge.finish().await;
}

#[tokio::test]
async fn while_somebody_reads_in_the_file_an_erasure_is_pending_and_it_ends_by_itself() {
    let mut bridge = Setup::new().start().await;
    let (_, text) = bridge.say("a", "Where is my order?").await;
    eventually("the turn and its callbacks to be over", async || {
        let is_over = bridge.events("a").await.iter().any(|event| event["type"] == "turn.completed");
        (is_over && bridge.deliveries("state=pending").await.is_empty()).then_some(())
    })
    .await;
    // A backup, say: it reads the database as it is at this moment.
    let file = bridge.config_file().replace("config.toml", "bridge.db");
    let backup = rusqlite::Connection::open(&file).expect("opens");
    backup.execute_batch("BEGIN").expect("begins");
    let turns: i64 = backup.query_row("SELECT COUNT(*) FROM turns", [], |row| row.get(0)).expect("reads");
    assert!(turns >= 1);
    let told = bridge.call("DELETE", "/v1/conversations/a").send().await.expect(202).json();
    assert_eq!(told["local"], "pending");
    assert!(bridge.is_on_disk(&text), "the reader still has it");
    bridge.call("GET", "/v1/conversations/a").send().await.problem(404, "not_found");
    bridge.known_forget("web", "a");
    let again = bridge.call("DELETE", "/v1/conversations/a").send().await.expect(202).json();
    assert_eq!(again["local"], "pending");
    drop(backup);
    bridge.call("DELETE", "/v1/conversations/a").send().await.problem(404, "not_found");
    assert!(!bridge.is_on_disk(&text), "what is not pending any more is gone");
    bridge.finish().await;
}

#[tokio::test]
async fn what_a_receiver_answered_is_a_text_and_shown_on_request_alone() {
    let bridge = Setup::new().start().await;
    let ping = "/admin/v1/frontends/web/ping";
    let answer = bridge.admin("POST", ping).send().await.expect(200).json();
    assert_eq!((answer["delivered"].as_bool(), answer["response"].is_null()), (Some(true), true), "{answer}");
    let answer = bridge.admin("POST", &format!("{ping}?content=true")).send().await.expect(200).json();
    assert!(answer["response"].is_string(), "{answer}");
    bridge.finish().await;
}
