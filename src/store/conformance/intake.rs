//! Taking messages in.

use super::*;
use crate::domain::turn::TurnState;

suite!(
    a_message_becomes_a_turn_and_a_feed_event,
    a_repeat_changes_nothing,
    other_content_under_the_same_id_is_a_conflict,
    what_a_browser_calls_its_messages_is_its_own_affair,
    a_full_backlog_stores_nothing,
    a_person_writes_so_much_in_any_minute,
    two_messages_at_once_are_both_counted,
    so_many_bytes_wait_in_a_conversation,
    frontends_and_conversations_are_apart,
    a_confined_person_writes_into_conversations_of_its_own,
    of_two_confined_persons_one_begins_a_conversation,
    whoever_waits_for_a_conversation_hears_that_it_began,
    numbers_are_kept_as_they_were_written,
);

async fn a_message_becomes_a_turn_and_a_feed_event(fixture: Fixture) {
    let store = &fixture.store;
    let key = fixture.post("c-1", "m-1", at(5)).await;
    let view = store
        .turn(&web(), &ConversationId::trusted("c-1"), &MessageId::trusted("m-1"), IdSpace::Server)
        .await
        .expect("reads")
        .expect("is there");
    assert_eq!((view.conversation, view.state), (key, TurnState::Queued));
    let [body] = view.events.as_slice() else { panic!("{view:?}") };
    let body = json(body);
    assert_eq!(body["sequence"], 1);
    assert_eq!(body["type"], "message.created");
    assert_eq!(body["conversation_id"], "c-1");
    assert_eq!(body["interaction_id"], Value::Null);
    assert_eq!(body["timestamp"], "2026-11-21T05:00:00.000Z", "the wall clock's time");
    assert_eq!(body["data"]["origin"], "frontend");
    assert_eq!(body["data"]["message"]["id"], "m-1");
    assert_eq!(body["data"]["message"]["text"], "text of m-1");
    assert!(body["id"].as_str().is_some_and(|id| id.starts_with("evt_")));
}

async fn a_repeat_changes_nothing(fixture: Fixture) {
    let conversation = fixture.post("c-1", "m-1", at(0)).await;
    let again = fixture.store.accept(new_message("c-1", "m-1", at(9))).await.expect("accepts");
    assert_eq!(again, Accepted::Duplicate { conversation, state: TurnState::Queued });
    let next = fixture.store.accept(new_message("c-1", "m-2", at(9))).await.expect("accepts");
    assert_eq!(next, Accepted::New { conversation, sequence: 2, is_next: false });
}

async fn other_content_under_the_same_id_is_a_conflict(fixture: Fixture) {
    fixture.post("c-1", "m-1", at(0)).await;
    let other = wrap(inbound("c-1", "m-1", "something else", Role::User), at(1));
    assert_eq!(fixture.store.accept(other).await.expect("answers"), Accepted::Conflict);
}

async fn what_a_browser_calls_its_messages_is_its_own_affair(fixture: Fixture) {
    let store = &fixture.store;
    let key = fixture.post("c-1", "m-1", at(0)).await;
    // It neither repeats the server's nor conflicts with it, whatever its text.
    let by_page = |message: &str, text: &str, now| {
        let message = wrap(inbound("c-1", message, text, Role::User), now);
        NewMessage { counted_for: Some("u-1".to_owned()), ..message }
    };
    let text = "text of m-1";
    let first = store.accept(by_page("m-1", text, at(1))).await.expect("accepts");
    assert_eq!(first, Accepted::New { conversation: key, sequence: 2, is_next: false });
    let repeat = store.accept(by_page("m-1", text, at(2))).await.expect("accepts");
    assert_eq!(repeat, Accepted::Duplicate { conversation: key, state: TurnState::Queued });
    assert_eq!(store.accept(by_page("m-1", "other", at(3))).await.expect("answers"), Accepted::Conflict);
    // Nor does it block the server's, and each sees its own.
    store.accept(by_page("m-2", "first", at(4))).await.expect("accepts");
    let second = store.accept(new_message("c-1", "m-2", at(5))).await.expect("accepts");
    assert!(matches!(second, Accepted::New { .. }), "{second:?}");
    for (space, text) in [(IdSpace::Browser, "first"), (IdSpace::Server, "text of m-2")] {
        let turn = store.turn(&web(), &ConversationId::trusted("c-1"), &MessageId::trusted("m-2"), space).await;
        let events = turn.expect("reads").expect("is there").events;
        let [body] = events.as_slice() else { panic!("{events:?}") };
        let message = &json(body)["data"]["message"];
        assert_eq!((&message["id"], &message["text"]), (&Value::from("m-2"), &Value::from(text)));
    }
    // Sent under the name that the page gave it.
    let claimed = store.claim_turns(super::talk::claim_of(at(9), 1)).await.expect("claims");
    assert_eq!(claimed.turns[0].messages, [MessageId::trusted("m-1")]);
    // Browsers' messages stored by the version before are recognised only for browsers.
    store.execute("UPDATE turns SET message_id = 'm-9' WHERE message_id = 'browser m-2'").await.expect("updates");
    let before = store.accept(by_page("m-9", "first", at(10))).await.expect("accepts");
    assert_eq!(before, Accepted::Duplicate { conversation: key, state: TurnState::Queued });
}

async fn a_full_backlog_stores_nothing(fixture: Fixture) {
    let mut limited = new_message("c-1", "m-1", at(0));
    limited.limits = BacklogLimits { per_conversation: 2, per_frontend: 3, ..limited.limits };
    let try_one = |conversation: &str, message: &str| {
        let again = new_message(conversation, message, at(1));
        fixture.store.accept(NewMessage { limits: limited.limits, ..again })
    };
    try_one("c-1", "m-1").await.expect("accepts");
    try_one("c-1", "m-2").await.expect("accepts");
    let full = try_one("c-1", "m-3").await.expect("answers");
    assert_eq!(full, Accepted::BacklogFull { waiting_in_frontend: 2, waiting_in_conversation: 2 });
    try_one("c-2", "m-1").await.expect("accepts");
    let full = try_one("c-3", "m-1").await.expect("answers");
    assert_eq!(full, Accepted::BacklogFull { waiting_in_frontend: 3, waiting_in_conversation: 0 });
    let nothing =
        fixture.store.turn(&web(), &ConversationId::trusted("c-3"), &MessageId::trusted("m-1"), IdSpace::Server).await;
    assert_eq!(nothing.expect("reads"), None);
    // A repeat is not a new message: it is answered however long the queue is.
    assert!(matches!(try_one("c-1", "m-2").await.expect("answers"), Accepted::Duplicate { .. }));
}

async fn a_person_writes_so_much_in_any_minute(fixture: Fixture) {
    let wanted = async |conversation: &str, message: &str, person: Option<&str>, second: i64| {
        let mut new = new_message(conversation, message, at(second * 1000));
        new.counted_for = person.map(str::to_owned);
        new.limits.browser_messages_per_user = 2;
        fixture.store.accept(new).await.expect("answers")
    };
    for (conversation, second) in [("c-1", 0), ("c-2", 20)] {
        assert!(matches!(wanted(conversation, "m-1", Some("user:u"), second).await, Accepted::New { .. }));
    }
    let wait = Duration::from_secs(30);
    assert_eq!(wanted("c-3", "m-1", Some("user:u"), 30).await, Accepted::TooFast { wait });
    assert!(matches!(wanted("c-1", "m-1", Some("user:u"), 30).await, Accepted::Duplicate { .. }));
    for other in [Some("user:v"), Some("conversation:u"), None] {
        let name = format!("c-of-{other:?}");
        assert!(matches!(wanted(&name, "m-1", other, 30).await, Accepted::New { .. }));
    }
    assert!(matches!(wanted("c-3", "m-1", Some("user:u"), 60).await, Accepted::New { .. }));
    assert!(matches!(wanted("c-3", "m-2", Some("user:u"), 60).await, Accepted::TooFast { .. }));
}

async fn two_messages_at_once_are_both_counted(fixture: Fixture) {
    let accepts = (0..12).map(|number| {
        let mut new = new_message(&format!("c-{number}"), "m-1", at(0));
        new.counted_for = Some("user:u".to_owned());
        new.limits.browser_messages_per_user = 5;
        fixture.store.accept(new)
    });
    let accepted = futures_util::future::join_all(accepts).await;
    let stored = accepted.iter().filter(|one| matches!(one, Ok(Accepted::New { .. }))).count();
    assert_eq!(stored, 5, "{accepted:?}");
}

async fn so_many_bytes_wait_in_a_conversation(fixture: Fixture) {
    let wanted = async |conversation: &str, message: &str| {
        let mut new = new_message(conversation, message, at(0));
        new.message.text = "x".repeat(600);
        new.limits.bytes_per_conversation = 1500;
        fixture.store.accept(new).await.expect("answers")
    };
    assert!(matches!(wanted("c-1", "m-1").await, Accepted::New { .. }));
    assert!(matches!(wanted("c-1", "m-2").await, Accepted::New { .. }));
    assert_eq!(wanted("c-1", "m-3").await, Accepted::TooLarge { waiting_in_frontend: 2 });
    assert!(matches!(wanted("c-2", "m-1").await, Accepted::New { .. }));
}

async fn frontends_and_conversations_are_apart(fixture: Fixture) {
    let web_key = fixture.post("c-1", "m-1", at(0)).await;
    let app = FrontendName::trusted("app");
    let other = NewMessage { frontend: app.clone(), ..new_message("c-1", "m-1", at(0)) };
    let Accepted::New { conversation, sequence: 1, .. } = fixture.store.accept(other).await.expect("accepts") else {
        panic!("it is a conversation of its own");
    };
    assert_ne!(conversation, web_key);
    assert_ne!(fixture.post("c-2", "m-1", at(0)).await, web_key);
    let missing =
        fixture.store.turn(&app, &ConversationId::trusted("c-2"), &MessageId::trusted("m-1"), IdSpace::Server).await;
    assert_eq!(missing.expect("reads"), None);
}

async fn a_confined_person_writes_into_conversations_of_its_own(fixture: Fixture) {
    let by = |conversation: &str, message: &str, user: Option<&str>, only_own: bool| {
        let vouched_user = user.map(str::to_owned);
        fixture.store.accept(NewMessage { vouched_user, only_own, ..new_message(conversation, message, at(0)) })
    };
    for (conversation, user) in [("own", Some("u-9")), ("theirs", Some("u-1")), ("nobodys", None)] {
        by(conversation, "m-1", user, false).await.expect("accepts");
    }
    // With two people named by servers it belongs to nobody.
    by("both", "m-1", Some("u-9"), false).await.expect("accepts");
    by("both", "m-2", Some("u-1"), false).await.expect("accepts");
    for conversation in ["own", "free"] {
        let accepted = by(conversation, "m-3", Some("u-9"), true).await.expect("accepts");
        assert!(matches!(accepted, Accepted::New { .. }), "{conversation}: {accepted:?}");
    }
    for conversation in ["theirs", "nobodys", "both"] {
        for message in ["m-1", "m-3"] {
            let refused = by(conversation, message, Some("u-9"), true).await.expect("answers");
            assert_eq!(refused, Accepted::NotTheirs, "{conversation}");
        }
        let id = ConversationId::trusted(conversation);
        let nothing = fixture.store.turn(&web(), &id, &MessageId::trusted("m-3"), IdSpace::Server).await;
        assert_eq!(nothing.expect("reads"), None);
    }
    let person = async |conversation: &str| {
        let found = fixture.store.conversation(&web(), &ConversationId::trusted(conversation)).await;
        found.expect("reads").expect("is there").person
    };
    assert_eq!(person("own").await.as_deref(), Some("u-9"));
    assert_eq!(person("free").await.as_deref(), Some("u-9"));
    assert_eq!(person("nobodys").await, None);
    assert_eq!(person("both").await, None);
}

async fn of_two_confined_persons_one_begins_a_conversation(fixture: Fixture) {
    for round in 0..20 {
        let conversation = format!("c-{round}");
        let by = |user: &str| {
            let message = new_message(&conversation, &format!("m-{user}"), at(0));
            fixture.store.accept(NewMessage { vouched_user: Some(user.to_owned()), only_own: true, ..message })
        };
        let (one, other) = futures_util::join!(by("u-1"), by("u-2"));
        let outcomes = [one.expect("answers"), other.expect("answers")];
        let new = outcomes.iter().filter(|outcome| matches!(outcome, Accepted::New { sequence: 1, .. })).count();
        let refused = outcomes.iter().filter(|outcome| **outcome == Accepted::NotTheirs).count();
        assert_eq!((new, refused), (1, 1), "{outcomes:?}");
    }
}

async fn whoever_waits_for_a_conversation_hears_that_it_began(fixture: Fixture) {
    let unborn = ConversationKey::unborn(&web(), &ConversationId::trusted("c-1"));
    let mut follower = fixture.store.changes().follow(unborn, Topic::Feed);
    fixture.post("c-1", "m-1", at(0)).await;
    let heard = tokio::time::timeout(std::time::Duration::from_secs(5), follower.next()).await;
    assert!(heard.is_ok(), "nobody said that it began");
}

async fn numbers_are_kept_as_they_were_written(fixture: Fixture) {
    let written = r#"{"digits":9400111899223197428490,"exponent":1E5,"zeros":1.10}"#;
    let Ok(Value::Object(attributes)) = crate::domain::exact::value(written.as_bytes()) else { panic!("an object") };
    let mut message = new_message("c-1", "m-1", at(0));
    message.message.attributes = attributes;
    fixture.store.accept(message).await.expect("accepts");
    let turn = fixture.claim_turn(at(0)).await;
    assert_eq!(serde_json::to_string(&turn.attributes).expect("JSON"), written);
}
