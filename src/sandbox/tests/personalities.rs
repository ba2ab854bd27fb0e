//! Checks every answer to every open question: that it can be drawn, is told apart, and shows on the wire as it says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use uuid::Uuid;

use super::*;

fn bench(row: &str, answer: &str) -> Bench {
    let bench = Bench::new();
    let personality = Personality::with(row, answer).unwrap_or_else(|| panic!("{row} has no {answer}"));
    bench.sandbox.apply_personality(&personality).unwrap();
    bench
}

fn say(text: &str, attributes: &Value) -> Value {
    json!({"botId": DEFAULT_BOT_ID, "content": text, "metadata": {"user_attributes": attributes}})
}

#[test]
fn every_answer_is_drawn_by_some_seed_and_told_as_it_was_drawn() {
    let mut missing: BTreeSet<(&str, &str)> =
        ROWS.iter().flat_map(|row| row.answers.iter().map(|(answer, _)| (row.name, *answer))).collect();
    for seed in 0..2_000 {
        let drawn = Personality::random(seed);
        assert_eq!(drawn, Personality::random(seed));
        let kept = serde_json::from_str(&drawn.to_text()).unwrap();
        assert_eq!(Personality::from_value(kept).unwrap(), drawn, "it can be kept");
        let told = drawn.describe();
        assert_eq!(told.len(), ROWS.len());
        for answer in &told {
            missing.remove(answer);
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn each_answer_is_told_apart_from_all_others_and_is_one_the_sandbox_takes() {
    let plain: BTreeMap<_, _> = Personality::plain().describe().into_iter().collect();
    for row in ROWS {
        assert_eq!(plain[row.name], row.answers[row.answers.len() - 1].0);
        for (answer, what) in row.answers {
            let what: Value =
                serde_json::from_str(what).unwrap_or_else(|error| panic!("{}: {answer}: {error}", row.name));
            let one = Personality::with(row.name, answer).unwrap();
            assert_eq!(one.faults.len(), what["faults"].as_array().map_or(0, Vec::len), "{}: {answer}", row.name);
            let mut wanted = plain.clone();
            wanted.insert(row.name, *answer);
            assert_eq!(one.describe().into_iter().collect::<BTreeMap<_, _>>(), wanted);
            Sandbox::new(SandboxConfig::instant()).apply_personality(&one).unwrap();
        }
    }
    assert!(Personality::with("weather", "fine").is_none() && Personality::with("strings", "fine").is_none());
    assert!(Personality::from_value(json!({"settings": {"weather": "fine"}})).is_err());
    assert!(Personality::from_value(json!({"faults": [{"kind": "fine"}]})).is_err());
}

#[tokio::test]
async fn first_messages_join_whom_they_join() {
    let everybody = [("a", "a@example.com"), ("b", "b@example.com"), ("a", "b@example.com")];
    for (answer, open, resolved) in [
        ("always_new", 3, 3),
        ("latest_of_the_bot", 1, 1),
        ("any_of_the_user", 2, 2),
        ("open_of_the_user", 2, 3),
        ("open_of_the_email", 2, 3),
    ] {
        for (resolves, wanted) in [(false, open), (true, resolved)] {
            let bench = bench("resolve", answer);
            for (user, email) in everybody {
                bench.generate(&say("Hello", &json!({"user_id": user, "email": email}))).await;
                if resolves {
                    bench.sandbox.set_resolved("latest", Some(true)).unwrap();
                }
                bench.pass(1);
            }
            assert_eq!(bench.sandbox.conversation_count(), wanted, "{answer}, resolved: {resolves}");
        }
    }
}

#[tokio::test]
async fn another_bots_conversation_is_continued_only_across_bots() {
    for (answer, wanted) in [("within_the_bot", 2), ("across_bots", 1)] {
        let other = "0b8626b0-4cc8-4a3d-8fc2-f18ad1a4a1a8";
        let bench = Bench::with(|config| config.bots.push(Bot { id: other.into(), name: "Other".into() }));
        bench.sandbox.apply_personality(&Personality::with("resolve_where", answer).unwrap()).unwrap();
        bench.sandbox.set(|settings| settings.resolve_mode = ResolveMode::NewestOfBot);
        bench.generate(&say("Hello", &json!({}))).await;
        bench.generate(&json!({"botId": other, "content": "Hello"})).await;
        assert_eq!(bench.sandbox.conversation_count(), wanted, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_first_messages_in_flight_find_each_other_when_their_replies_are_ready() {
    for (answer, seen_meanwhile) in [("arrival", 1), ("reply_ready", 0)] {
        let begun = tokio::time::Instant::now();
        let clock: Clock = Arc::new(move || START + i64::try_from(begun.elapsed().as_millis()).unwrap());
        let sandbox = Sandbox::new(SandboxConfig { clock, seed: Some(1), ..SandboxConfig::instant() });
        sandbox.apply_personality(&Personality::with("resolve_when", answer).unwrap()).unwrap();
        sandbox.set(|settings| {
            settings.resolve_mode = ResolveMode::NewestOfBot;
            settings.reply_latency_ms = 2_000;
        });
        let send = |text: &'static str, after: u64| {
            let sandbox = &sandbox;
            async move {
                tokio::time::sleep(std::time::Duration::from_millis(after)).await;
                let body = say(text, &json!({"who": text})).to_string().into_bytes();
                let path = "/v2/hc-interactions/events/public";
                sandbox.call("POST", path, Some(DEFAULT_API_KEY), body).await.unwrap()
            }
        };
        let meanwhile = async {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            sandbox.conversation_count()
        };
        let (first, second, seen) = tokio::join!(send("one", 0), send("two", 1_000), meanwhile);
        assert_eq!((first.status, second.status, seen), (200, 200, seen_meanwhile), "{answer}");
        assert_eq!(begun.elapsed().as_millis(), 3_000);
        assert_eq!(sandbox.conversation_count(), 1);
        let events: Value = serde_json::from_slice(&second.body).unwrap();
        assert_eq!(kinds(&events), ["user/message", "finibot/message"]);
        assert_eq!(events[0]["createdAt"], START + 1_000);
    }
}

#[tokio::test]
async fn attributes_come_back_when_and_as_they_do() {
    for (answer, at_once, later) in [
        ("at_once", json!({"a": 1, "b": 2}), json!({"a": 1, "b": 2})),
        ("later", json!({}), json!({"a": 1, "b": 2})),
        ("latest_turn", json!({"b": 2}), json!({"b": 2})),
        ("first_turn", json!({"a": 1}), json!({"a": 1})),
        ("never", json!({}), json!({})),
    ] {
        let bench = bench("attributes", answer);
        bench.generate(&say("Hello", &json!({"a": 1}))).await;
        let id = bench.sandbox.conversation("a:1").unwrap().id.to_string();
        let more = json!({"interactionId": id, "content": "Hi", "metadata": {"user_attributes": {"b": 2}}});
        bench.generate(&more).await;
        assert_eq!(bench.read(&id).await.json()["userAttributes"], at_once, "{answer}");
        bench.pass(30_000);
        assert_eq!(bench.read(&id).await.json()["userAttributes"], later, "{answer}");
        assert_eq!(bench.list("").await["interactions"][0]["userAttributes"], later, "{answer}");
    }
}

/// Sends until one send is struck; returns what is stored of it, and how many events its conversation then has.
#[tokio::test]
async fn a_500_on_a_send_means_what_it_means() {
    for (answer, stored, events, attributes) in [
        ("nothing_stored", 0, None, false),
        ("stored_reply_follows", 1, Some(2), true),
        ("stored_and_answered", 1, Some(2), true),
        ("stored_never_answered", 1, Some(1), true),
        ("metadata_only", 0, Some(0), true),
    ] {
        let mut personality = Personality::with("send_500", answer).unwrap();
        personality.faults[0].probability = None;
        let bench = Bench::new();
        bench.sandbox.apply_personality(&personality).unwrap();
        let reply = bench.generate(&say("Hello", &json!({"key": "k"}))).await;
        assert_eq!((reply.status.as_u16(), reply.json()["statusCode"].clone()), (500, json!(500)), "{answer}");
        assert_eq!(bench.sandbox.audit(0, true).times_stored("Hello"), stored, "{answer}");
        let found = bench.sandbox.conversation("latest").ok();
        assert_eq!(found.as_ref().map(|found| found.events.len()), events, "{answer}");
        assert_eq!(found.is_some_and(|found| found.user_attributes.contains_key("key")), attributes, "{answer}");
        assert_eq!(bench.list("").await["interactions"].as_array().unwrap().len(), usize::from(events.is_some()));
    }
}

#[tokio::test]
async fn an_outage_is_about_one_thing_and_ends_when_it_ends() {
    let other = "0b8626b0-4cc8-4a3d-8fc2-f18ad1a4a1a8";
    let certain = |row: &str, answer: &str| {
        let bench = Bench::with(|config| config.bots.push(Bot { id: other.into(), name: "Other".into() }));
        let mut personality = Personality::with(row, answer).unwrap();
        personality.faults[0].probability = None;
        bench.sandbox.apply_personality(&personality).unwrap();
        bench
    };
    let bench = certain("send_500", "one_bot_for_ever");
    for _ in 0..3 {
        assert_eq!(bench.generate(&say("Hello", &json!({}))).await.status, 500);
        assert_eq!(bench.generate(&json!({"botId": other, "content": "Hello"})).await.status, 200);
        bench.pass(1_000_000);
    }

    let bench = certain("send_500", "one_conversation_for_a_time");
    let (struck, _) = bench.start("Hello").await;
    let (spared, _) = bench.start("Hello").await;
    let again = async |id: &str| bench.generate(&json!({"interactionId": id, "content": "Hi"})).await.status.as_u16();
    assert_eq!((again(&struck).await, again(&spared).await, again(&struck).await), (500, 200, 500));
    bench.pass(90_000);
    assert_eq!(again(&struck).await, 200);

    let bench = certain("refusals", "firewall_dislikes_a_text");
    for _ in 0..2 {
        let reply = bench.generate(&say("DROP TABLE", &json!({}))).await;
        assert_eq!((reply.status.as_u16(), &reply.headers["content-type"].to_str().unwrap()[..9]), (403, "text/html"));
        assert_eq!(bench.generate(&say("Hello", &json!({}))).await.status, 200);
        bench.pass(1_000_000);
    }
}

#[tokio::test]
async fn who_refuses_shows_in_the_shape_of_the_answer() {
    for (answer, status, vendors, reads_too) in [
        ("key_401", 401, true, true),
        ("scope_403", 403, true, false),
        ("gateway_404", 404, false, true),
        ("gateway_405", 405, false, false),
        ("gateway_502", 502, false, true),
        ("writes_503_with_retry_after", 503, true, false),
    ] {
        let mut personality = Personality::with("refusals", answer).unwrap();
        personality.faults[0].probability = None;
        let bench = Bench::new();
        bench.sandbox.apply_personality(&personality).unwrap();
        let reply = bench.generate(&say("Hello", &json!({}))).await;
        assert_eq!(reply.status, status, "{answer}");
        assert_eq!(serde_json::from_slice::<Value>(&reply.bytes).is_ok(), vendors, "{answer}");
        assert_eq!(reply.headers.contains_key("retry-after"), status == 503, "{answer}");
        let read = bench.get("/v2/bots/public").await;
        assert_eq!(read.status.as_u16() == status, reads_too, "{answer}");
        bench.pass(60_000);
        assert_eq!(bench.generate(&say("Hello", &json!({}))).await.status, 200, "{answer}");
    }
    for (answer, status, naming) in [("bot_403", 403, "bot"), ("id_404", 404, "Conversation")] {
        let bench =
            Bench::with(|config| config.bots.push(Bot { id: Uuid::from_u128(7).to_string(), name: "B".into() }));
        let (id, _) = bench.start("Hello").await;
        let mut personality = Personality::with("refusals", answer).unwrap();
        personality.faults[0].probability = None;
        bench.sandbox.apply_personality(&personality).unwrap();
        let reply = bench.generate(&json!({"interactionId": id, "content": "Hi"})).await;
        assert_eq!(reply.status, status);
        assert!(reply.json()["message"].as_str().unwrap().contains(naming), "{answer}");
        assert_eq!(bench.read(&id).await.status, 200);
    }
    let bench = bench("unknown_id", "is_404");
    assert_eq!(bench.read("0b8626b0-4cc8-4a3d-8fc2-f18ad1a4a1a8").await.status, 404);
}

#[tokio::test]
async fn get_has_a_bad_minute_in_which_list_shows_the_conversation() {
    for (answer, others) in [("bad_minute", 500), ("bad_minute_of_one", 200)] {
        let mut personality = Personality::with("get_500", answer).unwrap();
        personality.faults[0].probability = None;
        let bench = Bench::new();
        let (id, _) = bench.start("Hello").await;
        let (other, _) = bench.start("Hello").await;
        bench.sandbox.apply_personality(&personality).unwrap();
        assert_eq!((bench.read(&id).await.status.as_u16(), bench.read(&other).await.status.as_u16()), (500, others));
        assert_eq!(bench.listed("").await.len(), 2);
        bench.pass(60_000);
        assert_eq!((bench.read(&id).await.status.as_u16(), bench.read(&other).await.status.as_u16()), (200, 200));
    }
}

#[tokio::test(start_paused = true)]
async fn list_shows_late_short_little_or_nothing() {
    let bench_of = |row, answer| {
        let bench = bench(row, answer);
        bench.sandbox.seed(&Seed { conversations: 100, events_each: 60, ..Seed::default() }).unwrap();
        bench.pass(10_000);
        bench
    };
    let bench = bench_of("list_lag", "seconds");
    let (id, _) = bench.start("Hello").await;
    assert!(!bench.listed("limit=1").await.contains(&id));
    bench.pass(10_000);
    assert!(bench.listed("limit=1").await.contains(&id));

    let bench = bench_of("list_history", "last_events");
    let page = bench.list("limit=1").await;
    let row = &page["interactions"][0];
    let shown = row["events"].as_array().unwrap();
    assert!((1..=20).contains(&shown.len()));
    let whole = bench.read(row["id"].as_str().unwrap()).await.json();
    let whole = whole["events"].as_array().unwrap();
    assert_eq!((whole.len(), shown.as_slice()), (60, &whole[60 - shown.len()..]));

    let bench = bench_of("list_page", "capped");
    let page = bench.list("limit=100").await;
    assert!((5..=25).contains(&page["interactions"].as_array().unwrap().len()) && page["hasMore"] == true);
    assert!(page["nextCursor"].is_string());

    let path = "/v2/hc-interactions/public?limit=100";
    for (answer, status, vendors) in [
        ("rows_400", 400, true),
        ("rows_500", 500, true),
        ("rows_too_slow", 504, false),
        ("rows_too_large", 200, true),
        ("bytes_500", 500, true),
        ("bytes_too_slow", 504, false),
        ("bytes_too_large", 200, true),
    ] {
        let bench = bench_of("list_size", answer);
        let begun = tokio::time::Instant::now();
        let reply = bench.get(path).await;
        assert_eq!(reply.status, status, "{answer}");
        assert_eq!(begun.elapsed().as_secs(), if status == 504 { 60 } else { 0 });
        assert_eq!(reply.bytes.len() > 40_000_000, status == 200, "{answer}");
        assert_eq!(serde_json::from_slice::<Value>(&reply.bytes).is_ok(), vendors, "{answer}");
        assert_eq!(bench.list("limit=1").await["interactions"].as_array().unwrap().len(), 1, "{answer}");
    }
}

#[tokio::test]
async fn a_cursor_is_lost_in_five_ways() {
    for (answer, status, rows, has_more) in [
        ("lost_400", 400, 0, Value::Null),
        ("lost_500", 500, 0, Value::Null),
        ("empty_page", 200, 0, json!(false)),
        ("empty_page_with_more", 200, 0, json!(true)),
        ("from_the_top", 200, 2, json!(true)),
        ("kept", 200, 2, json!(true)),
    ] {
        let mut personality = Personality::with("list_cursor", answer).unwrap();
        personality.faults.iter_mut().for_each(|fault| fault.probability = Some(1.0));
        let bench = Bench::new();
        bench.sandbox.apply_personality(&personality).unwrap();
        bench.sandbox.seed(&Seed { conversations: 5, ..Seed::default() }).unwrap();
        let first = bench.list("limit=2").await;
        let cursor = first["nextCursor"].as_str().unwrap();
        let reply = bench.get(&format!("/v2/hc-interactions/public?limit=2&cursor={cursor}")).await;
        assert_eq!(reply.status, status, "{answer}");
        let page = reply.json();
        assert_eq!(page["interactions"].as_array().map_or(0, Vec::len), rows, "{answer}");
        assert_eq!(page["hasMore"], has_more, "{answer}");
        assert_eq!(page["interactions"] == first["interactions"], answer == "from_the_top", "{answer}");
    }
    let mut personality = Personality::with("list_empty", "at_times").unwrap();
    personality.faults[0].probability = Some(1.0);
    let bench = Bench::new();
    bench.start("Hello").await;
    bench.sandbox.apply_personality(&personality).unwrap();
    assert!(bench.listed("").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn times_and_orders_are_as_they_are() {
    let exchange = async |row: &str, answer: &str| {
        let bench = bench(row, answer);
        bench.pass(789);
        bench.sandbox.set(|settings| settings.late_reply_ms = 5_000);
        let (id, _) = bench.start("Hello, answer later").await;
        bench.pass(5_000);
        let events = bench.read(&id).await.json()["events"].clone();
        let at = |n: usize| events[n]["createdAt"].as_i64().unwrap() - START;
        (at(0), at(1))
    };
    assert_eq!(exchange("times", "seconds").await, (0, 5_000));
    assert_eq!(exchange("times", "milliseconds").await, (789, 5_789));
    assert_eq!(exchange("reply_time", "equal").await, (789, 789));
    let (asked, answered) = exchange("reply_time", "before").await;
    assert!(asked == 789 && (-211..789).contains(&answered), "{answered}");

    for (answer, first) in [("stored", "user"), ("newest_first", "finibot")] {
        let (id, events) = bench("event_order", answer).start("Hello").await;
        assert_eq!((events[0]["role"].as_str().unwrap(), id.len()), (first, 36));
    }
    let bench = bench("event_order", "mixed");
    bench.sandbox.seed(&Seed { conversations: 1, events_each: 40, ..Seed::default() }).unwrap();
    let page = bench.list("limit=1").await;
    let times: Vec<i64> = page["interactions"][0]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["createdAt"].as_i64().unwrap())
        .collect();
    assert!(!times.is_sorted() && !times.iter().rev().is_sorted());
    assert_eq!(bench.list("limit=1").await, page);
}

#[tokio::test]
async fn statuses_come_from_whom_they_come() {
    let statuses = async |answer: &str, texts: &[&str]| {
        let bench = bench("status", answer);
        bench.sandbox.set(|settings| settings.status_after_ms = 5_000);
        let (id, _) = bench.start(texts[0]).await;
        let mut seen = vec![bench.read(&id).await.json()["status"].clone()];
        for text in &texts[1..] {
            bench.pass(5_000);
            seen.push(bench.read(&id).await.json()["status"].clone());
            bench.go_on(&id, text).await;
        }
        bench.pass(5_000);
        seen.push(bench.read(&id).await.json()["status"].clone());
        seen
    };
    assert_eq!(statuses("none", &["human"]).await, [Value::Null, Value::Null]);
    assert_eq!(statuses("other_words", &["human"]).await, ["In the queue", "In the queue"]);
    let words = ["Resolved", "Waiting for Customer"];
    let judged = statuses("judged", &["Hello", "Hello", "Hello", "human", "Hello", "Hello"]).await;
    assert_eq!(judged[0], Value::Null);
    assert!(judged[1..4].iter().all(|status| words.contains(&status.as_str().unwrap())), "{judged:?}");
    assert!(judged[4..].iter().all(|status| status == "Escalated to Human Agent"), "{judged:?}");
    let again = statuses("judged_again", &["human", "?", "?", "?", "?", "?", "?", "?", "?"]).await;
    assert_eq!(again[1], "Escalated to Human Agent");
    assert!(again[2..].iter().any(|status| words.contains(&status.as_str().unwrap())), "{again:?}");

    for (answer, wanted) in [("silent", None), ("as_the_status", Some(true)), ("against_the_status", Some(false))] {
        let bench = bench("resolved", answer);
        bench.sandbox.set(|settings| settings.status_by = StatusBy::Judge);
        let (id, _) = bench.start("Hello").await;
        bench.pass(3_000);
        let row = bench.read(&id).await.json();
        let agrees = row["resolved"].as_bool().map(|resolved| resolved == (row["status"] == "Resolved"));
        assert_eq!(agrees, wanted, "{answer}");
    }
}

#[tokio::test]
async fn an_escalation_shows_by_its_signs() {
    let escalated = json!("Escalated to Human Agent");
    for text in ["human", "silently"] {
        for (answer, status, event, later_status, later_event) in [
            ("status", true, false, true, false),
            ("event", false, true, false, true),
            ("status_then_event", true, false, true, true),
            ("event_then_status", false, true, true, true),
            ("as_asked", text == "human", text == "silently", text == "human", text == "silently"),
        ] {
            let bench = bench("escalation", answer);
            bench.sandbox.set(|settings| settings.escalation_gap_ms = 9_000);
            let (id, _) = bench.start(text).await;
            let signs = async || {
                let row = bench.read(&id).await.json();
                (row["status"] == escalated, kinds(&row["events"]).contains(&"finibot/silent_escalation".to_owned()))
            };
            assert_eq!(signs().await, (status, event), "{answer}, {text}");
            bench.pass(9_000);
            assert_eq!(signs().await, (later_status, later_event), "{answer}, {text}");
        }
    }
    let silent_escalations = async |bench: &Bench, id: &str| {
        kinds(&bench.read(id).await.json()["events"]).iter().filter(|kind| *kind == "finibot/silent_escalation").count()
    };
    for (answer, next, twice) in [
        ("silent", vec!["user/message"], 1),
        ("no_reply", vec!["user/message", "finibot/no_reply"], 1),
        ("answers", vec!["user/message", "finibot/message"], 2),
    ] {
        let bench = bench("after_escalation", answer);
        let (id, _) = bench.start("silently").await;
        assert_eq!(kinds(&bench.go_on(&id, "Hello").await), next, "{answer}");
        bench.go_on(&id, "silently").await;
        assert_eq!(silent_escalations(&bench, &id).await, twice, "{answer}");
    }
    for (answer, after_human, after_hello) in
        [("nobody", false, false), ("after_escalation", true, false), ("unasked", false, true)]
    {
        let bench = bench("human", answer);
        for (text, wanted) in [("human", after_human), ("Hello", after_hello)] {
            let mut came = false;
            for _ in 0..30 {
                let (id, _) = bench.start(text).await;
                bench.pass(120_000);
                came |= kinds(&bench.read(&id).await.json()["events"]).contains(&"agent/message".to_owned());
            }
            assert_eq!(came, wanted, "{answer}, {text}");
        }
    }
}

#[tokio::test]
async fn replies_come_as_they_come() {
    let (user, bot) = ("user/message", "finibot/message");
    for (answer, in_the_answer, at_last) in [
        ("in_the_answer", vec![user, bot], vec![user, bot]),
        ("later", vec![user], vec![user, bot]),
        ("never", vec![user], vec![user]),
        ("several", vec![user, bot, bot], vec![user, bot, bot, bot]),
        ("before_its_message", vec![bot, user], vec![bot, user]),
        ("after_an_agent", vec![user, bot], vec![user, "agent/message", bot]),
    ] {
        let bench = bench("reply", answer);
        bench.sandbox.set(|settings| settings.reply_manner_odds = 1.0);
        let (id, events) = bench.start("Hello").await;
        assert_eq!(kinds(&events), in_the_answer, "{answer}");
        bench.pass(60_000);
        assert_eq!(kinds(&bench.read(&id).await.json()["events"]), at_last, "{answer}");
    }
    let bench = bench("reply", "mixed");
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        let (id, _) = bench.start("Hello").await;
        bench.pass(60_000);
        seen.insert(kinds(&bench.read(&id).await.json()["events"]));
    }
    assert_eq!(seen.len(), 5, "in the answer and later look alike in the end: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_bot_is_slow() {
    let bench = bench("latency", "seconds");
    let begun = tokio::time::Instant::now();
    bench.start("Hello").await;
    assert!((1..=45).contains(&begun.elapsed().as_secs()));
}

/// Unpacks the sandbox's gzip: stored blocks only.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let (mut rest, mut text) = (&bytes[10..], Vec::new());
    assert_eq!(bytes[..3], [0x1f, 0x8b, 8]);
    loop {
        let mut head = [0; 5];
        rest.read_exact(&mut head).unwrap();
        let length = usize::from(u16::from_le_bytes([head[1], head[2]]));
        assert_eq!(u16::from_le_bytes([head[1], head[2]]), !u16::from_le_bytes([head[3], head[4]]));
        text.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
        if head[0] == 1 {
            assert_eq!(rest[4..], u32::try_from(text.len()).unwrap().to_le_bytes());
            return text;
        }
    }
}

#[tokio::test]
async fn bodies_are_packed_unasked() {
    let bench = bench("encoding", "gzip");
    let reply = bench.generate(&say("Hello", &json!({}))).await;
    assert_eq!(reply.headers["content-encoding"], "gzip");
    let events: Value = serde_json::from_slice(&unpacked(&reply.bytes)).unwrap();
    assert_eq!(kinds(&events), ["user/message", "finibot/message"]);
    bench.sandbox.seed(&Seed { conversations: 100, events_each: 20, ..Seed::default() }).unwrap();
    let reply = bench.get("/v2/hc-interactions/public?limit=100").await;
    let page: Value = serde_json::from_slice(&unpacked(&reply.bytes)).unwrap();
    assert_eq!(page["interactions"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn fields_that_hold_nothing_are_null_absent_or_there_twice() {
    for (answer, tags, external) in [
        ("complete", Some(json!([])), Some(Value::Null)),
        ("null", Some(Value::Null), Some(Value::Null)),
        ("absent", None, None),
    ] {
        let bench = bench("fields", answer);
        let (id, events) = bench.start("Hello").await;
        let row = bench.read(&id).await.json();
        for event in [&events[0], &row["events"][0], &bench.list("").await["interactions"][0]["events"][0]] {
            assert_eq!(event.get("tags").cloned(), tags, "{answer}");
            assert_eq!(event["message"], "Hello");
        }
        assert_eq!(row.get("externalId").cloned(), external, "{answer}");
        assert_eq!(row.get("url").is_some_and(Value::is_string), answer == "complete");
    }
    let bench = bench("fields", "twice");
    let (id, _) = bench.start("Hello").await;
    let text = String::from_utf8(bench.read(&id).await.bytes).unwrap();
    assert_eq!(text.matches("\"status\":\"Open\"").count(), 2);
    assert_eq!(text.matches("\"message\":\"Hello\"").count(), 2);
    assert_eq!(text.matches("\"events\":").count(), 1);
}

#[tokio::test]
async fn readings_repeat_what_they_repeat() {
    for (answer, rows, events) in [("nothing", 1, 2), ("events", 1, 4), ("rows", 2, 2)] {
        let bench = bench("repeats", answer);
        bench.start("Hello").await;
        let page = bench.list("").await;
        assert_eq!(page["interactions"].as_array().unwrap().len(), rows, "{answer}");
        assert_eq!(page["interactions"][0]["events"].as_array().unwrap().len(), events, "{answer}");
    }
}

#[tokio::test]
async fn tags_articles_ratings_and_texts_are_filled_in_later() {
    let bench = bench("annotations", "later");
    let (id, events) = bench.start("Where is my order?").await;
    assert_eq!((&events[1]["usedArticles"], &events[1]["csatRating"]), (&json!([]), &Value::Null));
    bench.pass(60_000);
    let event = bench.read(&id).await.json()["events"][1].clone();
    assert_eq!(event["usedArticles"][0]["title"], "Track your order");
    assert!(event["tags"][0]["name"].is_string() && event["csatRating"].is_u64());
    assert_eq!(event["id"], events[1]["id"]);

    let bench = self::bench("texts", "filled_in_later");
    let (id, events) = bench.start("Hello").await;
    assert_eq!((&events[0]["message"], &events[1]["message"]), (&json!("Hello"), &Value::Null));
    bench.pass(10_000);
    assert!(bench.read(&id).await.json()["events"][1]["message"].as_str().unwrap().len() > 3);
}

#[tokio::test]
async fn strings_hold_what_no_database_likes() {
    let bench = bench("strings", "nul");
    let (id, _) = bench.start("Where is my order?").await;
    let row = bench.read(&id).await.json();
    assert_eq!((&row["status"], &row["events"][0]["message"]), (&json!("Open\0"), &json!("Where is my order?")));
    assert!(row["events"][1]["message"].as_str().unwrap().ends_with('\0'));
    assert!(row["usedArticles"][0]["title"].as_str().unwrap().ends_with('\0'));

    let bench = self::bench("strings", "huge");
    let (id, _) = bench.start("Where is my order?").await;
    let row = bench.read(&id).await.json();
    assert!(
        row["status"].as_str().unwrap().len() > 20_000
            && row["usedArticles"][0]["title"].as_str().unwrap().len() > 20_000
    );
}

#[tokio::test]
async fn the_window_the_order_and_untouched_rows_can_be_drawn_too() {
    let old =
        Seed { conversations: 1, from_ms: Some(START - 3_600_000), to_ms: Some(START - 3_600_000), ..Seed::default() };
    for (answer, rows) in [("by_update", 1), ("by_creation", 0)] {
        let bench = bench("list_since", answer);
        bench.sandbox.seed(&old).unwrap();
        bench.sandbox.agent_message("latest", "Here I am").unwrap();
        assert_eq!(bench.listed(&format!("since={}", START - 60_000)).await.len(), rows, "{answer}");
    }
    for (answer, moved) in [("messages", false), ("any_event", true)] {
        let bench = bench("list_order", answer);
        let (first, _) = bench.start("Hello").await;
        bench.pass(1_000);
        bench.start("Hello").await;
        bench.pass(1_000);
        bench.sandbox.note(&first, "Internal").unwrap();
        assert_eq!(bench.listed("limit=1").await[0] == first, moved, "{answer}");
    }
    for (answer, rows) in [("hidden", 0), ("shown", 1)] {
        let bench = bench("list_untouched", answer);
        let message = json!({"botId": DEFAULT_BOT_ID, "content": "From elsewhere", "role": "agent"});
        bench.generate(&message).await;
        assert_eq!(bench.listed("").await.len(), rows, "{answer}");
    }
}

#[tokio::test]
async fn people_at_the_inbox_begin_and_customers_write_past_the_route() {
    let bench = Bench::new();
    let attributes = json!({"email": "c@example.com"}).as_object().cloned().unwrap();
    let begun = bench.sandbox.agent_begins(DEFAULT_BOT_ID, attributes, "Your parcel is late.");
    bench.sandbox.customer_message("email:c@example.com", "Thank you").unwrap();
    let row = bench.read(&begun.id.to_string()).await.json();
    assert_eq!(kinds(&row["events"]), ["agent/message", "user/message"]);
    assert_eq!(bench.listed("").await, [begun.id.to_string()]);
    assert!(bench.sandbox.audit(0, true).inbound.is_empty());
    bench.sandbox.set(|settings| settings.resolve_mode = ResolveMode::SameAttribute);
    bench.generate(&say("Hello", &json!({"email": "c@example.com"}))).await;
    assert_eq!(bench.sandbox.conversation_count(), 1);
}
