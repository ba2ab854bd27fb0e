//! Callbacks: signed, in order, each until it is acknowledged or given up.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Allow, Callback, Frontend, Reply, Setup, epoch_seconds, eventually, random_secret, unique};

fn gap(from: &Callback, to: &Callback) -> Duration {
    to.at.duration_since(from.at)
}

#[tokio::test]
async fn each_attempt_has_the_same_bytes_and_a_timestamp_of_its_own() {
    let setup = Setup::new().set("delivery.retry_schedule", "[\"1100ms\", \"1100ms\"]");
    let mut bridge = setup.start().await;
    bridge.receiver.script([Reply::Status(500), Reply::Status(503)]);
    bridge.turn("c", "Where is my order?").await;
    let attempts = bridge.receiver.wait_attempts("c", 3).await;
    let first = &attempts[0];
    for attempt in &attempts[..3] {
        assert_eq!((attempt.id(), &attempt.body), (first.id(), &first.body));
        assert_eq!(attempt.line, "POST /callback/web HTTP/1.1");
    }
    let times: Vec<i64> =
        attempts[..3].iter().map(|one| one.header("webhook-timestamp").parse().expect("seconds")).collect();
    assert!(times[0] < times[1] && times[1] < times[2], "{times:?}");
    assert_ne!(attempts[0].header("webhook-signature"), attempts[1].header("webhook-signature"));
    let signatures: Vec<_> = first.header("webhook-signature").split(' ').collect();
    assert_eq!(signatures.len(), 1);
    assert!(signatures[0].starts_with("v1,"), "{signatures:?}");
    bridge.finish().await;
}

#[tokio::test]
async fn whatever_is_no_2xx_is_tried_again() {
    let setup = Setup::new().set("delivery.timeout", "\"400ms\"").set("delivery.lease", "\"6s\"");
    let mut bridge =
        setup.set("delivery.retry_schedule", &format!("[{}]", vec!["\"20ms\""; 20].join(", "))).start().await;
    let mut script: Vec<Reply> = [301, 302, 303, 307, 308]
        .map(|status| Reply::Header(status, "location", format!("{}/callback/elsewhere", bridge.receiver.url)))
        .into();
    script.extend([400, 401, 404, 409, 422, 429, 500, 502, 503, 304].map(Reply::Status));
    script.extend([Reply::Reset, Reply::Hang]);
    let count = script.len();
    bridge.receiver.script(script);
    bridge.turn("c", "Where is my order?").await;
    let attempts = bridge.receiver.wait_attempts("c", count + 1).await;
    assert!(attempts[..=count].iter().all(|one| one.id() == attempts[0].id()));
    assert!(attempts.iter().all(|one| one.frontend == "web"), "a redirect was followed");
    bridge.finish().await;
}

/// Many conversations, and a receiver that is in trouble of every kind, again and again, at random. What `finish` audits is
/// the point: nothing is lost, nothing overtakes, and what comes again has the same id and the same bytes.
#[tokio::test]
async fn no_kind_of_trouble_loses_or_reorders_anything() {
    let setup = Setup::new().set("delivery.timeout", "\"300ms\"").set("delivery.lease", "\"6s\"");
    let mut bridge =
        setup.set("delivery.retry_schedule", &format!("[{}]", vec!["\"30ms\""; 100].join(", "))).start().await;
    let mut dice = fastrand::Rng::with_seed(20_261_121);
    let elsewhere = "http://169.254.169.254/latest/meta-data";
    let script: Vec<Reply> = (0..150)
        .map(|_| match dice.u32(0..14) {
            0 => Reply::Hang,
            1 => Reply::Drip,
            2 => Reply::Reset,
            3 => Reply::Flood(500),
            4 => Reply::Header(429, "retry-after", "0".to_owned()),
            5 => Reply::Header(429, "retry-after", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
            6 => Reply::Header(307, "location", elsewhere.to_owned()),
            7 => Reply::Status(503),
            8 => Reply::Status(404),
            _ => Reply::Status(200),
        })
        .collect();
    bridge.receiver.script(script);
    let mut posted = Vec::new();
    for n in 0..40 {
        let conversation = format!("c-{}", n % 10);
        posted.push((conversation.clone(), bridge.say(&conversation, &unique("Where is my order?")).await.0));
    }
    for (conversation, id) in &posted {
        bridge.end_of(conversation, id).await;
    }
    bridge.finish().await;
}

#[tokio::test]
async fn every_2xx_is_an_acknowledgement() {
    let mut bridge = Setup::new().start().await;
    bridge.receiver.script([200, 201, 202, 204, 206, 299].map(Reply::Status));
    for n in 0..3 {
        bridge.turn(&format!("c-{n}"), "Where is my order?").await;
    }
    eventually("six callbacks", async || (bridge.receiver.all().len() >= 6).then_some(())).await;
    bridge.finish().await;
}

#[tokio::test]
async fn the_schedule_is_kept_with_a_little_jitter_upwards() {
    let setup = Setup::new().set("delivery.retry_schedule", "[\"200ms\", \"900ms\", \"400ms\"]");
    let mut bridge = setup.start().await;
    bridge.receiver.script(vec![Reply::Status(500); 3]);
    bridge.turn("c", "Where is my order?").await;
    let attempts = bridge.receiver.wait_attempts("c", 4).await;
    for (index, step) in [200, 900, 400].into_iter().enumerate() {
        let waited = gap(&attempts[index], &attempts[index + 1]);
        let step = Duration::from_millis(step);
        assert!(waited >= step, "attempt {} came after {waited:?}, before {step:?}", index + 2);
        assert!(waited < step * 2 + Duration::from_secs(2), "attempt {} came after {waited:?}", index + 2);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_the_next_two_steps() {
    let setup = Setup::new().set("delivery.retry_schedule", "[\"100ms\", \"1900ms\", \"100ms\", \"3s\", \"100ms\"]");
    let mut bridge = setup.start().await;
    let date =
        || httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(epoch_seconds().unsigned_abs() + 600));
    bridge.receiver.script([
        Reply::Header(500, "retry-after", "1".to_owned()),
        Reply::Header(502, "retry-after", "0".to_owned()),
        Reply::Header(504, "retry-after", date()),
        Reply::Header(503, "retry-after", "nonsense".to_owned()),
    ]);
    bridge.turn("c", "Where is my order?").await;
    let attempts = bridge.receiver.wait_attempts("c", 5).await;
    // Seconds between the step and the limit of two steps; less than the step; a date far beyond; no time at all.
    let bounds = [(1000, 1900), (1900, 3000), (3100, 4400), (3000, 4400)];
    for (index, (least, most)) in bounds.into_iter().enumerate() {
        let waited = gap(&attempts[index], &attempts[index + 1]).as_millis();
        assert!((least..most).contains(&waited), "attempt {} came after {waited} ms", index + 2);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn gone_pauses_the_endpoint_until_it_is_resumed() {
    let mut bridge = Setup::new().frontend(Frontend::new("desk")).start().await;
    bridge.receiver.script([Reply::Status(410)]);
    bridge.turn("c", "Where is my order?").await;
    let first = bridge.receiver.wait_attempts("c", 1).await.remove(0);
    bridge.turn("d", "Somebody else writes").await;
    // Another frontend is not concerned.
    let desk = bridge.frontends[1].tokens[0].clone();
    let body = json!({"conversation_id": "e", "message_id": "m-1", "text": unique("From the desk")});
    bridge.remember("desk", &body);
    bridge.anonymous("POST", "/v1/messages").bearer(&desk).json(&body).send().await.expect(202);
    bridge.receiver.wait_for("e", "turn.completed").await;
    assert_eq!(bridge.receiver.all().iter().filter(|one| one.frontend == "web").count(), 1, "it is paused");
    let waiting = bridge.deliveries("state=pending&frontend=web").await;
    assert!(waiting.len() >= 4, "{waiting:?}");
    // A pause outlives a restart.
    bridge.stop().await;
    bridge.restart().await;
    bridge.turn("e-2", "Something to wait for").await;
    assert_eq!(bridge.receiver.all().iter().filter(|one| one.frontend == "web").count(), 1, "it is still paused");
    bridge.admin("POST", "/admin/v1/frontends/web/resume").send().await.expect(200);
    let delivered = bridge.receiver.wait_for("c", "message.created").await;
    assert_eq!((delivered.id(), &delivered.body), (first.id(), &first.body));
    bridge.finish().await;
}

#[tokio::test]
async fn a_conversation_waits_for_its_oldest_callback_and_others_do_not() {
    let mut bridge = Setup::new().start().await;
    bridge.receiver.script_for("stuck", [Reply::Status(500), Reply::Status(500), Reply::Hold]);
    bridge.turn("stuck", "Where is my order? Say it twice").await;
    bridge.receiver.wait_attempts("stuck", 3).await;
    for n in 0..5 {
        let conversation = format!("free-{n}");
        bridge.turn(&conversation, "Where is mine?").await;
        bridge.receiver.wait_for(&conversation, "turn.completed").await;
    }
    let attempts = bridge.receiver.of("stuck");
    assert_eq!(attempts.len(), 3, "nothing overtakes what is under way");
    assert!(attempts.iter().all(|one| one.id() == attempts[0].id()));
    bridge.receiver.release();
    bridge.receiver.wait_for("stuck", "turn.completed").await;
    bridge.finish().await;
}

#[tokio::test]
async fn conversations_are_called_back_in_parallel() {
    let mut bridge = Setup::new().start().await;
    bridge.receiver.otherwise(Reply::Hold);
    for n in 0..10 {
        bridge.say(&format!("c-{n}"), "Where is my order?").await;
    }
    eventually("ten callbacks under way at once", async || {
        (bridge.receiver.all().iter().filter(|one| one.answered.is_none()).count() == 10).then_some(())
    })
    .await;
    bridge.receiver.release();
    bridge.finish().await;
}

#[tokio::test]
async fn an_exhausted_callback_is_a_dead_letter_and_the_conversation_goes_on() {
    let mut bridge = Setup::new().set("delivery.retry_schedule", "[\"30ms\", \"30ms\"]").start().await;
    bridge.receiver.script_for("c", vec![Reply::Status(500); 3]);
    bridge.turn("c", "Where is my order?").await;
    let dead = bridge.dead_letters(1).await.remove(0);
    let keys: Vec<_> = dead.as_object().expect("an object").keys().map(String::as_str).collect();
    for key in [
        "id",
        "event_id",
        "frontend",
        "conversation_id",
        "sequence",
        "type",
        "state",
        "attempts",
        "next_attempt_at",
        "last_status",
        "last_error",
        "created_at",
        "delivered_at",
    ] {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
    let attempts = bridge.receiver.of("c");
    assert_eq!(dead["event_id"], attempts[0].id());
    assert_eq!((&dead["state"], &dead["attempts"], &dead["last_status"]), (&json!("dead"), &json!(3), &json!(500)));
    assert_eq!((&dead["type"], &dead["frontend"]), (&json!("message.created"), &json!("web")));
    assert!(dead["delivered_at"].is_null() && dead["next_attempt_at"].is_null());
    bridge.receiver.wait_for("c", "turn.completed").await;
    assert_eq!(bridge.receiver.of("c")[..3].iter().filter(|one| one.id() == attempts[0].id()).count(), 3);

    // Replayed, it is the same callback.
    let id = dead["id"].as_str().expect("an id");
    let retried = bridge.admin("POST", &format!("/admin/v1/deliveries/{id}/retry")).send().await;
    assert!((200..300).contains(&retried.status), "{}", retried.text);
    let delivered = eventually("the replay", async || {
        bridge.receiver.of("c").into_iter().find(|one| one.id() == attempts[0].id() && one.is_delivered())
    })
    .await;
    assert_eq!(delivered.body, attempts[0].body);
    bridge.dead_letters(0).await;
    bridge.allow(Allow::Undelivered);
    bridge.allow(Allow::Repeats);
    bridge.finish().await;
}

#[tokio::test]
async fn dead_letters_are_replayed_by_filter() {
    let mut bridge =
        Setup::new().frontend(Frontend::new("desk")).set("delivery.retry_schedule", "[\"20ms\"]").start().await;
    bridge.receiver.otherwise(Reply::Status(500));
    for conversation in ["c", "d"] {
        bridge.turn(conversation, "Where is my order?").await;
    }
    let desk = bridge.frontends[1].tokens[0].clone();
    let body = json!({"conversation_id": "c", "message_id": "m-1", "text": unique("From the desk")});
    bridge.remember("desk", &body);
    bridge.anonymous("POST", "/v1/messages").bearer(&desk).json(&body).send().await.expect(202);
    eventually("all of them dead", async || {
        let open = bridge.deliveries("state=pending").await.len();
        let dead = bridge.deliveries("state=dead").await.len();
        (open == 0 && dead >= 6).then_some(())
    })
    .await;
    let all = bridge.deliveries("state=dead").await.len();
    let of = |frontend: &str, conversation: &str| {
        let path = format!("state=dead&frontend={frontend}&conversation_id={conversation}");
        let bridge = &bridge;
        async move { bridge.deliveries(&path).await.len() }
    };
    let mine = of("web", "c").await;
    assert!(mine >= 2);
    let retry = |filter: serde_json::Value| bridge.admin("POST", "/admin/v1/deliveries/retry").json(&filter);
    let none = retry(json!({"frontend": "web", "until": "2020-01-01T00:00:00Z"})).send().await.expect(200).json();
    assert_eq!(none, json!({"retried": 0}));
    bridge.receiver.otherwise(Reply::Status(200));
    let some = retry(json!({"frontend": "web", "conversation_id": "c"})).send().await.expect(200).json();
    assert_eq!(some, json!({"retried": mine}));
    bridge.receiver.wait_for("c", "turn.completed").await;
    eventually("the rest to be what is left", async || {
        (bridge.deliveries("state=dead").await.len() == all - mine).then_some(())
    })
    .await;
    let rest = retry(json!({"since": "2020-01-01T00:00:00Z"})).send().await.expect(200).json();
    assert_eq!(rest, json!({"retried": all - mine}));
    bridge.dead_letters(0).await;
    bridge.allow(Allow::Undelivered);
    bridge.allow(Allow::Repeats);
    bridge.finish().await;
}

#[tokio::test]
async fn private_addresses_are_refused_unless_allowed() {
    // Both by the literal address and by a name that leads there; nothing must even connect.
    for host in ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "0.0.0.0"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let port = listener.local_addr().expect("it is bound").port();
        let setup = Setup::new()
            .set("delivery.allow_networks", "[]")
            .set("delivery.allow_http", "false")
            .set("delivery.retry_schedule", "[\"20ms\"]")
            .web(|web| web.callback_url = Some(format!("https://{host}:{port}/callback")));
        let mut bridge = setup.start().await;
        bridge.turn("c", "Where is my order?").await;
        let dead = eventually("dead letters", async || {
            Some(bridge.deliveries("state=dead").await).filter(|dead| dead.len() >= 2)
        })
        .await;
        for letter in dead {
            assert!(letter["last_status"].is_null(), "{letter}");
            assert!(letter["last_error"].as_str().is_some_and(|text| !text.is_empty()), "{letter}");
        }
        let connected = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
        assert!(connected.is_err(), "{host} was connected to");
        bridge.allow(Allow::Undelivered);
        bridge.finish().await;
    }
}

#[tokio::test]
async fn plain_http_goes_to_allowed_networks_only() {
    let setup = Setup::new()
        .set("delivery.allow_networks", "[\"10.0.0.0/8\"]")
        .set("delivery.retry_schedule", "[\"20ms\"]")
        .web(|web| web.callback_url = Some("http://localhost:9/callback".to_owned()));
    let mut bridge = setup.start().await;
    bridge.turn("c", "Where is my order?").await;
    let dead =
        eventually("dead letters", async || Some(bridge.deliveries("state=dead").await).filter(|dead| dead.len() >= 2))
            .await;
    assert!(dead[0]["last_status"].is_null());
    bridge.allow(Allow::Undelivered);
    bridge.finish().await;
}

#[tokio::test]
async fn while_secrets_rotate_all_of_them_sign() {
    let mut bridge = Setup::new().web(|web| web.callback_secrets.push(random_secret())).start().await;
    bridge.turn("c", "Where is my order?").await;
    let callback = bridge.receiver.wait_for("c", "turn.completed").await;
    let signatures: Vec<_> = callback.header("webhook-signature").split(' ').collect();
    assert_eq!(signatures.len(), 2);
    assert!(signatures.iter().all(|one| one.starts_with("v1,")), "{signatures:?}");
    bridge.bound("c").await;
    bridge.stop().await;
    // The old one is taken out: what is sent from now on carries the new one alone.
    let new = bridge.web().callback_secrets[1].clone();
    bridge.receiver.expect_secrets("web", std::slice::from_ref(&new));
    bridge.restart_with(|setup| setup.web(|web| web.callback_secrets = vec![new])).await;
    let (id, _) = bridge.turn("c", "And on it goes").await;
    let after = eventually("a callback of the new turn", async || {
        bridge.receiver.of("c").into_iter().find(|one| one.event["data"]["message_id"] == id.as_str())
    })
    .await;
    assert_eq!(after.header("webhook-signature").split(' ').count(), 1);
    bridge.finish().await;
}

#[tokio::test]
async fn a_frontend_gets_the_events_it_wants() {
    let wanted = ["conversation.*".to_owned(), "message.created".to_owned()];
    let mut bridge = Setup::new().web(|web| web.callback_events = wanted.into()).start().await;
    bridge.turn("c", "I want to talk to a human, form or no form, odd as it is").await;
    bridge.receiver.wait_for("c", "conversation.escalated").await;
    let kinds: Vec<_> = bridge.receiver.of("c").iter().map(|one| one.kind().to_owned()).collect();
    assert!(kinds.iter().all(|kind| kind == "message.created" || kind.starts_with("conversation.")), "{kinds:?}");
    // The feed has them all; the final check compares the two.
    bridge.event_of("c", "turn.completed").await;
    bridge.finish().await;
}

#[tokio::test]
async fn a_frontend_may_do_without_callbacks() {
    let mut bridge = Setup::new().web(|web| web.callbacks = false).start().await;
    bridge.turn("c", "Where is my order?").await;
    assert!(bridge.deliveries("").await.is_empty());
    assert!(bridge.receiver.all().is_empty());
    bridge.finish().await;
}

#[tokio::test]
async fn operators_pause_resume_and_ping() {
    let mut bridge = Setup::new().start().await;
    let post = |path: &str| bridge.admin("POST", &format!("/admin/v1/frontends/{path}"));
    post("nobody/pause").send().await.problem(404, "not_found");
    let ping = post("web/ping").send().await.expect(200).json();
    assert_eq!((&ping["delivered"], &ping["status"]), (&json!(true), &json!(200)), "{ping}");
    let pinged = bridge.receiver.all().remove(0);
    assert_eq!((pinged.kind(), pinged.conversation()), ("ping", ""));
    bridge.receiver.script([Reply::Status(500)]);
    let ping = post("web/ping").send().await.expect(200).json();
    assert_eq!((&ping["delivered"], &ping["status"]), (&json!(false), &json!(500)), "{ping}");
    post("web/pause").send().await.expect(200);
    let before = bridge.receiver.all().len();
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    assert_eq!(bridge.receiver.all().len(), before, "paused");
    assert!(bridge.deliveries("state=pending").await.len() >= 2);
    bridge.admin("POST", "/admin/v1/frontends/web/resume").send().await.expect(200);
    bridge.receiver.wait_for("c", "turn.completed").await;
    bridge.finish().await;
}

#[tokio::test]
async fn a_ping_that_is_taken_ends_what_the_breaker_holds() {
    let schedule = format!("[{}]", vec!["\"150ms\""; 60].join(", "));
    let mut bridge = Setup::new().set("delivery.retry_schedule", &schedule).start().await;
    bridge.receiver.otherwise(Reply::Status(503));
    bridge.say_in_each((0..30).map(|n| format!("c{n}")).collect(), "Where is my order?").await;
    let breaker = async || {
        let shown = bridge.admin("GET", "/admin/v1/frontends").send().await.expect(200).json();
        shown["frontends"][0]["breaker"].as_str().expect("a word").to_owned()
    };
    eventually("the breaker to open", async || (breaker().await == "open").then_some(())).await;
    let ping = async || bridge.admin("POST", "/admin/v1/frontends/web/ping").send().await.expect(200).json();
    assert_eq!(ping().await["delivered"], false);
    assert_ne!(breaker().await, "closed", "one that is refused opens nothing");
    bridge.receiver.otherwise(Reply::Status(200));
    assert_eq!(ping().await["delivered"], true);
    assert_eq!(breaker().await, "closed");
    eventually("everything to be delivered", async || {
        bridge.deliveries("state=pending").await.is_empty().then_some(())
    })
    .await;
    bridge.finish().await;
}

#[tokio::test]
async fn a_receiver_that_is_away_gets_everything_in_order_when_it_is_back() {
    let setup = Setup::new().set("delivery.retry_schedule", &format!("[{}]", vec!["\"150ms\""; 60].join(", ")));
    let mut bridge = setup.start().await;
    bridge.receiver.otherwise(Reply::Reset);
    for n in 0..4 {
        bridge.turn("c", &format!("Message number {n}")).await;
    }
    bridge.receiver.wait_attempts("c", 5).await;
    bridge.receiver.otherwise(Reply::Status(200));
    eventually("everything to be delivered", async || {
        bridge.deliveries("state=pending").await.is_empty().then_some(())
    })
    .await;
    let delivered: Vec<i64> =
        bridge.receiver.of("c").iter().filter(|one| one.is_delivered()).map(Callback::sequence).collect();
    let mut sorted = delivered.clone();
    sorted.sort_unstable();
    assert_eq!(delivered, sorted);
    bridge.finish().await;
}

#[tokio::test]
async fn a_retry_does_not_wait_while_slots_are_free() {
    let setup = Setup::new()
        .set("delivery.max_in_flight_per_frontend", "4")
        .set("delivery.timeout", "\"60s\"")
        .set("delivery.retry_schedule", "[\"300ms\", \"300ms\"]");
    let mut bridge = setup.start().await;
    // First attempts take half of the slots, and then all but one.
    for (conversation, held) in [("c", ["held-0", "held-1"].as_slice()), ("d", &["held-2"])] {
        for held in held {
            bridge.receiver.script_for(held, [Reply::Hold]);
            bridge.say(held, &unique("Where is my order?")).await;
            bridge.receiver.wait_attempts(held, 1).await;
        }
        bridge.receiver.script_for(conversation, [Reply::Status(500)]);
        bridge.turn(conversation, "Where is mine?").await;
        let attempts = bridge.receiver.wait_attempts(conversation, 2).await;
        assert!(gap(&attempts[0], &attempts[1]) < Duration::from_secs(5), "{:?}", gap(&attempts[0], &attempts[1]));
        bridge.receiver.wait_for(conversation, "turn.completed").await;
    }
    assert!(bridge.receiver.of("held-0")[0].answered.is_none());
    bridge.receiver.release();
    bridge.finish().await;
}

#[tokio::test]
async fn a_wish_about_the_pace_holds_the_whole_endpoint_and_climbs_no_schedule() {
    let setup = Setup::new()
        .frontend(Frontend::new("desk"))
        .set("delivery.retry_schedule", "[\"200ms\", \"2800ms\"]")
        .set("delivery.timeout", "\"10s\"");
    let mut bridge = setup.start().await;
    let wait = |status| Reply::Header(status, "retry-after", "1".to_owned());
    bridge.receiver.script_for("c", [wait(429), wait(503), wait(429), wait(429), wait(503)]);
    bridge.turn("c", "Where is my order?").await;
    let first = bridge.receiver.wait_attempts("c", 1).await.remove(0);
    bridge.turn("d", "Somebody else writes").await;
    let desk = bridge.frontends[1].tokens[0].clone();
    let body = json!({"conversation_id": "e", "message_id": "m-1", "text": unique("From the desk")});
    bridge.remember("desk", &body);
    bridge.anonymous("POST", "/v1/messages").bearer(&desk).json(&body).send().await.expect(202);
    bridge.receiver.wait_for("e", "turn.completed").await;
    let waiting = bridge.deliveries("state=pending&frontend=web&conversation_id=c").await;
    assert!(waiting.iter().any(|one| one["last_status"] == 429 || one["last_status"] == 503), "{waiting:?}");
    bridge.receiver.wait_for("c", "turn.completed").await;
    bridge.receiver.wait_for("d", "turn.completed").await;
    let web: Vec<_> = bridge.receiver.all().into_iter().filter(|one| one.frontend == "web").collect();
    for pair in web.windows(2).filter(|pair| matches!(pair[0].answered, Some((429 | 503, _)))) {
        assert!(gap(&pair[0], &pair[1]) >= Duration::from_millis(990), "{:?}", gap(&pair[0], &pair[1]));
    }
    let attempts = bridge.receiver.of("c");
    assert!(
        attempts[..6].iter().all(|one| one.id() == first.id()),
        "more attempts than the schedule has, and none given up"
    );
    bridge.finish().await;
}

#[tokio::test]
async fn a_wish_about_the_pace_outlives_a_restart() {
    let setup = Setup::new().set("delivery.retry_schedule", "[\"1s\", \"5s\"]");
    let mut bridge = setup.start().await;
    bridge.receiver.script_for("c", [Reply::Header(429, "retry-after", "4".to_owned())]);
    bridge.turn("c", "Where is my order?").await;
    let refused = bridge.receiver.wait_attempts("c", 1).await.remove(0);
    eventually("the attempt to be on record", async || {
        let shown = bridge.deliveries("state=pending&conversation_id=c").await;
        shown.iter().any(|one| one["last_status"] == 429).then_some(())
    })
    .await;
    bridge.kill9().await;
    bridge.restart().await;
    let again = bridge.receiver.wait_attempts("c", 2).await.remove(1);
    assert!(gap(&refused, &again) >= Duration::from_millis(3_990), "{:?}", gap(&refused, &again));
    bridge.receiver.wait_for("c", "turn.completed").await;
    bridge.finish().await;
}

/// Forty conversations of two events and more, and a receiver that takes ten a second.
#[tokio::test]
async fn a_receiver_with_a_limit_gets_what_it_takes_and_its_neighbours_notice_nothing() {
    let setup = Setup::new().frontend(Frontend::new("desk")).rate_limit(1_000, 10_000);
    // The schedule bounds how long a wish is heeded: with the first steps of the built-in one, a second is.
    let setup = setup.set("delivery.retry_schedule", "[\"1s\", \"5s\", \"20s\"]");
    let mut bridge = setup.set("fini.rate_limit", "{ requests = 1000, window = \"10s\" }").start().await;
    bridge.admin("POST", "/admin/v1/frontends/web/pause").send().await.expect(200);
    let conversations: Vec<_> = (0..40).map(|n| format!("c-{n}")).collect();
    let posted = bridge.say_in_each(conversations, "Where is my order?").await;
    for (conversation, id) in &posted {
        bridge.end_of(conversation, id).await;
    }
    let owed = bridge.deliveries("state=pending&frontend=web&limit=500").await.len();
    assert!(owed >= 80, "{owed}");
    bridge.receiver.script_for("e", vec![Reply::Status(200); 10]);
    bridge.receiver.otherwise(Reply::PerSecond(10));
    let started = std::time::Instant::now();
    bridge.admin("POST", "/admin/v1/frontends/web/resume").send().await.expect(200);
    let desk = bridge.frontends[1].tokens[0].clone();
    let body = json!({"conversation_id": "e", "message_id": "m-1", "text": unique("From the desk")});
    bridge.remember("desk", &body);
    bridge.anonymous("POST", "/v1/messages").bearer(&desk).json(&body).send().await.expect(202);
    bridge.receiver.wait_for("e", "turn.completed").await;
    let neighbour = started.elapsed();
    crate::harness::within(Duration::from_secs(60), "everything to be delivered", async || {
        bridge.deliveries("state=pending").await.is_empty().then_some(())
    })
    .await;
    let (took, ideal) = (started.elapsed(), Duration::from_millis(owed as u64 * 100));
    let all: Vec<_> = bridge.receiver.all().into_iter().filter(|one| one.frontend == "web").collect();
    let refused = all.iter().filter(|one| matches!(one.answered, Some((429, _)))).count();
    println!("{owed} owed, {refused} refused, {took:?} (ideal {ideal:?}); the neighbour's turn took {neighbour:?}");
    assert!(refused * 10 < all.len(), "{refused} of {} were refused", all.len());
    assert!(took < ideal * 2, "{took:?}, ideal {ideal:?}");
    assert!(neighbour < Duration::from_secs(5), "{neighbour:?}");
    bridge.finish().await;
}

#[tokio::test]
async fn a_connection_that_ends_between_two_callbacks_costs_no_attempt() {
    let mut bridge = Setup::new().set("delivery.retry_schedule", "[\"5s\", \"5s\"]").start().await;
    // The second callback of the lane finds the kept connection closing.
    bridge.receiver.script_for("c", [Reply::Status(200), Reply::Reset]);
    bridge.turn("c", "Where is my order?").await;
    bridge.receiver.wait_for("c", "turn.completed").await;
    let attempts = bridge.receiver.of("c");
    assert_eq!(attempts[1].id(), attempts[2].id());
    assert!(gap(&attempts[1], &attempts[2]) < Duration::from_secs(2), "{:?}", gap(&attempts[1], &attempts[2]));
    eventually("it to be on record as one attempt", async || {
        let delivered = bridge.deliveries("state=delivered&conversation_id=c").await;
        let one = delivered.iter().find(|one| one["event_id"] == attempts[1].id())?;
        assert_eq!((&one["attempts"], &one["last_error"]), (&json!(1), &serde_json::Value::Null));
        Some(())
    })
    .await;
    bridge.finish().await;
}

#[tokio::test]
async fn no_secret_of_the_address_is_written_anywhere() {
    let setup = Setup::new().set("delivery.retry_schedule", "[\"20ms\"]");
    let mut bridge = setup.start().await;
    let url = format!("{}/callback/h00k-s3cret/web", bridge.receiver.url);
    bridge.stop().await;
    bridge.restart_with(|setup| setup.web(|web| web.callback_url = Some(url))).await;
    let to = "/callback/h00k-s3cret/web/?again=h00k-s3cret".to_owned();
    bridge.receiver.script_for("c", vec![Reply::Header(308, "location", to); 4]);
    bridge.turn("c", "Where is my order?").await;
    let dead = bridge.dead_letters(2).await;
    for letter in &dead {
        let error = letter["last_error"].as_str().expect("a reason");
        assert!(error.contains("308") && error.contains("path"), "{error}");
        let shown = bridge.admin("GET", "/admin/v1/deliveries?state=dead").send().await.expect(200).text;
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    assert!(bridge.log().iter().all(|line| !line.to_string().contains("s3cret")), "it stands in the log");
    bridge.allow(Allow::Undelivered);
    bridge.finish().await;
}

#[tokio::test]
async fn what_a_paused_frontend_is_owed_becomes_a_dead_letter_and_can_be_replayed() {
    let setup = Setup::new().set("delivery.max_age", "\"2s\"").set("delivery.retry_schedule", "[\"100ms\"]");
    let mut bridge = setup.start().await;
    bridge.admin("POST", "/admin/v1/frontends/web/pause").send().await.expect(200);
    bridge.turn("c", "Where is my order?").await;
    let dead = eventually("them to be given up", async || {
        let dead = bridge.deliveries("state=dead").await;
        (dead.len() >= 2 && bridge.deliveries("state=pending").await.is_empty()).then_some(dead)
    })
    .await;
    assert!(bridge.receiver.all().is_empty());
    bridge.admin("POST", "/admin/v1/frontends/web/resume").send().await.expect(200);
    let all = json!({"frontend": "web"});
    let retried = bridge.admin("POST", "/admin/v1/deliveries/retry").json(&all).send().await.expect(200).json();
    assert_eq!(retried, json!({"retried": dead.len()}));
    // Older than ever, and owed anew.
    bridge.receiver.wait_for("c", "turn.completed").await;
    bridge.dead_letters(0).await;
    bridge.finish().await;
}
