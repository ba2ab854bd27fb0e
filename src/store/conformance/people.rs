//! A person's conversations: listed, read, claimed, and erased as a whole.

use super::{talk::*, *};
use crate::domain::{
    conversation::State,
    person::{Claim, LastMessage, Place},
};

suite!(
    a_person_is_shown_the_newest_conversation_first,
    a_list_goes_on_behind_its_place,
    a_browser_is_shown_the_newest_message_that_is_for_it,
    a_conversation_in_which_two_were_named_is_in_no_list,
    a_read_mark_never_goes_back_nor_beyond_the_feed,
    an_anonymous_conversation_is_given_once,
    everything_of_a_person_is_erased,
    an_erasure_goes_on_where_a_process_died,
    what_a_person_had_at_fini_is_counted,
);

/// Stores a message of a known user.
async fn says(fixture: &Fixture, user: &str, conversation: &str, message: &str, now: Timestamp) -> ConversationKey {
    let known = NewMessage { vouched_user: Some(user.to_owned()), ..new_message(conversation, message, now) };
    match fixture.store.accept(known).await.expect("accepts") {
        Accepted::New { conversation, .. } => conversation,
        other => panic!("{other:?}"),
    }
}

async fn list(fixture: &Fixture, user: &str, behind: Option<&Place>, limit: usize) -> Vec<Listed> {
    fixture.store.conversations_of(&web(), user, behind, limit, true).await.expect("lists")
}

fn ids(listed: &[Listed]) -> Vec<&str> {
    listed.iter().map(|one| one.id.as_str()).collect()
}

fn said_in(last: Option<&LastMessage>) -> (&str, &str) {
    last.map_or(("", ""), |last| (last.author.as_str(), last.text.as_str()))
}

async fn a_person_is_shown_the_newest_conversation_first(fixture: Fixture) {
    assert_eq!(list(&fixture, "u-1", None, 10).await, []);
    says(&fixture, "u-1", "c-1", "m-1", at(1)).await;
    says(&fixture, "u-2", "c-2", "m-1", at(2)).await;
    says(&fixture, "u-1", "c-3", "m-1", at(3)).await;
    fixture.post("c-4", "m-1", at(4)).await;
    let app = NewMessage {
        frontend: FrontendName::trusted("app"),
        vouched_user: Some("u-1".to_owned()),
        ..new_message("c-5", "m-1", at(5))
    };
    fixture.store.accept(app).await.expect("accepts");
    assert_eq!(ids(&list(&fixture, "u-1", None, 10).await), ["c-3", "c-1"]);
    says(&fixture, "u-1", "c-1", "m-2", at(6)).await;
    let listed = list(&fixture, "u-1", None, 10).await;
    assert_eq!(ids(&listed), ["c-1", "c-3"]);
    assert_eq!(said_in(listed[0].last_message.as_ref()), ("user", "text of m-2"));
    assert_eq!((listed[0].state, listed[0].last_sequence, listed[0].read_sequence), (State::Open, 2, 0));
    assert_eq!(listed[0].updated_at, SHOWN);
    fixture.store.erase(&web(), &id("c-1"), false, at(7)).await.expect("erases");
    assert_eq!(ids(&list(&fixture, "u-1", None, 10).await), ["c-3"]);
}

async fn a_list_goes_on_behind_its_place(fixture: Fixture) {
    // Several of the same moment are told apart by their ids.
    for number in 0..7 {
        says(&fixture, "u-1", &format!("c-{number}"), "m-1", at(number / 3)).await;
    }
    let (mut seen, mut behind) = (Vec::new(), None);
    loop {
        let page = list(&fixture, "u-1", behind.as_ref(), 2).await;
        let Some(last) = page.last() else { break };
        behind = Some(last.place.clone());
        seen.extend(ids(&page).into_iter().map(str::to_owned));
    }
    assert_eq!(seen, ["c-6", "c-5", "c-4", "c-3", "c-2", "c-1", "c-0"]);
}

async fn a_browser_is_shown_the_newest_message_that_is_for_it(fixture: Fixture) {
    let key = says(&fixture, "u-1", "c-1", "m-1", at(0)).await;
    for sequence in 2..60 {
        let body = format!(
            r#"{{"id":"evt_{sequence}","type":"message.created","timestamp":"t","frontend":"web","conversation_id":"c-1","interaction_id":null,"sequence":{sequence},"data":{{"withheld":true,"message":{{"id":"e-{sequence}","author":"bot","text":"no","created_at":"t","tags":[]}}}}}}"#
        );
        let sql = format!(
            "INSERT INTO events (conversation_key, sequence, id, kind, body, recorded_at) \
             VALUES ({}, {sequence}, 'evt_{sequence}', 'message.created', '{body}', 0)",
            key.0
        );
        fixture.store.execute(&sql).await.expect("writes");
    }
    let shown = async |is_browser| {
        let listed = fixture.store.conversations_of(&web(), "u-1", None, 10, is_browser).await.expect("lists");
        let last = listed[0].last_message.clone().expect("a message");
        (last.author, last.text)
    };
    assert_eq!(shown(true).await, ("user".to_owned(), "text of m-1".to_owned()));
    assert_eq!(shown(false).await, ("bot".to_owned(), "no".to_owned()));
    // A message that Fini changed later is shown as it is now.
    let body = r#"{"id":"evt_60","type":"message.updated","timestamp":"t","frontend":"web","conversation_id":"c-1","interaction_id":null,"sequence":60,"data":{"message_id":"m-1","changed":{"text":"changed"}}}"#;
    let sql = format!(
        "INSERT INTO events (conversation_key, sequence, id, kind, body, recorded_at) \
         VALUES ({}, 60, 'evt_60', 'message.updated', '{body}', 0)",
        key.0
    );
    fixture.store.execute(&sql).await.expect("writes");
    assert_eq!(shown(true).await, ("user".to_owned(), "changed".to_owned()));
}

async fn a_conversation_in_which_two_were_named_is_in_no_list(fixture: Fixture) {
    says(&fixture, "u-1", "c-1", "m-1", at(0)).await;
    says(&fixture, "u-2", "c-1", "m-2", at(1)).await;
    for user in ["u-1", "u-2"] {
        assert_eq!(list(&fixture, user, None, 10).await, []);
        let claim = fixture.store.claim_conversation(&web(), user, &id("c-1")).await.expect("answers");
        assert_eq!(claim, Some(Claim::Refused));
    }
}

async fn a_read_mark_never_goes_back_nor_beyond_the_feed(fixture: Fixture) {
    let mark = async |sequence| fixture.store.mark_read(&web(), &id("c-1"), sequence).await.expect("marks");
    assert_eq!(mark(1).await, None);
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let last_sequence = fixture.conversation("c-1").await.last_sequence;
    let mut changes = fixture.store.listen();
    for (asked, read_sequence) in [(2, 2), (1, 2), (0, 2), (i64::MAX, last_sequence), (3, last_sequence)] {
        assert_eq!(mark(asked).await, Some(ReadMark { read_sequence, last_sequence }), "{asked}");
    }
    assert_eq!(fixture.conversation("c-1").await.read_sequence, last_sequence);
    // Only a move is announced.
    for _ in 0..2 {
        assert_eq!(changes.next().await, Heard::Change(Change::Feed(key)));
    }
    fixture.post("c-2", "m-1", at(1)).await;
    assert_ne!(changes.next().await, Heard::Change(Change::Feed(key)));
    let (_, page) = fixture.store.feed(&web(), &id("c-1"), 0, most(1)).await.expect("reads").expect("there");
    assert_eq!(page.read_sequence, last_sequence);
    // Begun anew, nothing of it was read.
    fixture.store.erase(&web(), &id("c-1"), false, at(2)).await.expect("erases");
    fixture.post("c-1", "m-1", at(3)).await;
    assert_eq!(fixture.conversation("c-1").await.read_sequence, 0);
}

async fn an_anonymous_conversation_is_given_once(fixture: Fixture) {
    let claim = async |user| fixture.store.claim_conversation(&web(), user, &id("c-1")).await.expect("answers");
    assert_eq!(claim("u-1").await, None);
    fixture.post("c-1", "m-1", at(0)).await;
    assert_eq!(claim("u-1").await, Some(Claim::Given));
    assert_eq!(claim("u-1").await, Some(Claim::Known));
    assert_eq!(claim("u-2").await, Some(Claim::Refused));
    assert_eq!(ids(&list(&fixture, "u-1", None, 10).await), ["c-1"]);
    // A message that the visitor's page still posts without a name leaves it where it is.
    fixture.post("c-1", "m-2", at(1)).await;
    assert_eq!(ids(&list(&fixture, "u-1", None, 10).await), ["c-1"]);
    let app = FrontendName::trusted("app");
    assert_eq!(fixture.store.claim_conversation(&app, "u-1", &id("c-1")).await.expect("answers"), None);
}

async fn erasure(fixture: &Fixture, user: &str) -> Option<PersonErasure> {
    fixture.store.person_erasure(&web(), user).await.expect("reads")
}

async fn everything_of_a_person_is_erased(fixture: Fixture) {
    let want = async |user| fixture.store.want_person_erased(&web(), user, false, at(10)).await.expect("answers");
    assert!(!want("u-1").await, "nobody knows such a person");
    assert_eq!(erasure(&fixture, "u-1").await, None);
    for number in 0..5 {
        says(&fixture, "u-1", &format!("c-{number}"), "m-1", at(number)).await;
    }
    says(&fixture, "u-2", "theirs", "m-1", at(5)).await;
    assert_eq!(fixture.store.erase_some(None, at(9), 10).await.expect("erases"), None, "nobody asked");
    assert!(want("u-1").await);
    assert!(fixture.store.persons_to_erase().await.expect("answers"));
    assert_eq!(fixture.store.erase_some(None, at(11), 2).await.expect("erases"), Some(2));
    assert!(!erasure(&fixture, "u-1").await.expect("asked for").is_done_here);
    // One that begins meanwhile is the person's too.
    says(&fixture, "u-1", "c-9", "m-1", at(12)).await;
    let web = web();
    while fixture.store.erase_some(Some((&web, "u-1")), at(13), 2).await.expect("erases").is_some() {}
    let done = erasure(&fixture, "u-1").await.expect("asked for");
    assert_eq!((done.is_done_here, done.conversations, done.upstream), (true, 6, false));
    assert!(!fixture.store.persons_to_erase().await.expect("answers"));
    assert_eq!(list(&fixture, "u-1", None, 10).await, []);
    assert_eq!(ids(&list(&fixture, "u-2", None, 10).await), ["theirs"]);
    for sql in [
        "SELECT COUNT(*) FROM person_erasures WHERE user_id IS NOT NULL OR person = 'u-1'",
        "SELECT COUNT(*) FROM conversations WHERE user_id = 'u-1'",
        "SELECT COUNT(*) FROM turns WHERE conversation_key IN (SELECT key FROM conversations WHERE erased_at IS NOT NULL)",
    ] {
        assert_eq!(fixture.store.number(sql).await.expect("counts"), 0, "{sql}");
    }
    assert!(fixture.store.person_erased_at(&web, "u-1").await.expect("reads").is_some());
    assert_eq!(fixture.store.person_erased_at(&web, "u-2").await.expect("reads"), None);
    // A new beginning is not erased.
    says(&fixture, "u-1", "c-new", "m-1", at(20)).await;
    assert_eq!(fixture.store.erase_some(None, at(21), 10).await.expect("erases"), None);
    assert_eq!(ids(&list(&fixture, "u-1", None, 10).await), ["c-new"]);
}

async fn an_erasure_goes_on_where_a_process_died(fixture: Fixture) {
    for number in 0..3 {
        says(&fixture, "u-1", &format!("c-{number}"), "m-1", at(number)).await;
    }
    assert!(fixture.store.want_person_erased(&web(), "u-1", true, at(10)).await.expect("answers"));
    assert_eq!(fixture.store.erase_some(None, at(11), 1).await.expect("erases"), Some(1));
    let fixture = fixture.reopen().await;
    while fixture.store.erase_some(None, at(12), 1).await.expect("erases").is_some() {}
    let done = erasure(&fixture, "u-1").await.expect("asked for");
    assert_eq!((done.is_done_here, done.conversations, done.upstream), (true, 3, true));
    let retention = Duration::from_secs(60);
    for (now, known) in [(at(50_000), true), (at(80_000), false)] {
        fixture.store.prune(now, retention, 100).await.expect("prunes");
        assert_eq!(erasure(&fixture, "u-1").await.is_some(), known);
    }
}

async fn what_a_person_had_at_fini_is_counted(fixture: Fixture) {
    for (conversation, interaction) in [("c-1", "i-1"), ("c-2", "i-2")] {
        fixture.bound_talk(conversation, interaction, at(0)).await;
        let claim = fixture.store.claim_conversation(&web(), "u-1", &id(conversation)).await.expect("answers");
        assert_eq!(claim, Some(Claim::Given));
    }
    says(&fixture, "u-1", "c-3", "m-1", at(1)).await;
    assert!(fixture.store.want_person_erased(&web(), "u-1", true, at(2)).await.expect("answers"));
    while fixture.store.erase_some(None, at(3), 10).await.expect("erases").is_some() {}
    let counts = async || {
        let erasure = erasure(&fixture, "u-1").await.expect("asked for");
        (erasure.conversations, erasure.proved, erasure.pending, erasure.failed)
    };
    assert_eq!(counts().await, (3, 0, 2, 0));
    fixture.store.end_erasure(&interaction("i-1"), ErasureEnd::Erased, at(4)).await.expect("records");
    assert_eq!(counts().await, (3, 1, 1, 0));
    fixture.store.end_erasure(&interaction("i-2"), ErasureEnd::Failed, at(5)).await.expect("records");
    assert_eq!(counts().await, (3, 1, 0, 1));
}
