//! Conversations as they are seen, and erasing them.

use super::{talk::*, *};
use crate::domain::{conversation::State, ids::FiniEventId};

suite!(
    a_conversation_shows_where_it_stands,
    it_shows_when_it_is_looked_for_next,
    nothing_that_was_said_survives_erasure,
    an_erased_id_begins_anew,
    of_an_erased_conversation_its_hash_is_left,
    an_erased_conversation_gives_back_what_waited,
    what_does_not_exist_is_not_erased,
    what_fini_is_to_delete_is_tried_until_it_has_ended,
    only_what_is_bound_and_wanted_is_deleted_at_fini,
    what_was_not_found_before_its_erasure_is_looked_for,
    what_is_also_somebody_elses_is_not_deleted,
);

async fn a_conversation_shows_where_it_stands(fixture: Fixture) {
    assert_eq!(fixture.store.conversation(&web(), &id("c-1")).await.expect("reads"), None);
    let key = fixture.bound_talk("c-1", "i-1", at(5)).await;
    fixture.post("c-1", "m-1", at(9)).await;
    let conversation = fixture.conversation("c-1").await;
    assert_eq!(conversation.reference, ConversationRef { key, frontend: web(), id: id("c-1") });
    assert_eq!((conversation.state, conversation.status_text), (State::Open, None));
    assert_eq!((conversation.interaction, conversation.binding_version), (Some(interaction("i-1")), 1));
    assert_eq!((conversation.last_sequence, conversation.queued), (4, 1));
    assert_eq!((conversation.created_at, conversation.updated_at), (SHOWN, SHOWN));
    assert_eq!((conversation.pending_deliveries, conversation.dead_deliveries), (2, 0));
    assert_eq!(conversation.erased_at, None);
    let app = FrontendName::trusted("app");
    assert_eq!(fixture.store.conversation(&app, &id("c-1")).await.expect("reads"), None);
}

async fn it_shows_when_it_is_looked_for_next(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    assert_eq!(fixture.conversation("c-1").await.next_read_at, None);
    let turn = fixture.claim_turn(at(1)).await;
    fixture.respond(&turn, vec![own_event("e-1", "m-1")], at(2)).await;
    assert_eq!(fixture.conversation("c-1").await.next_read_at, Some(at(2)), "its binding is wanted now");
    fixture.store.postpone_binding(key, at(20_000)).await.expect("postpones");
    assert_eq!(fixture.conversation("c-1").await.next_read_at, Some(at(10_002)), "then comes its turn");
}

async fn nothing_that_was_said_survives_erasure(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-1", "m-1", at(10)).await;
    let turn = fixture.claim_turn(at(11)).await;
    let mut changes = fixture.store.listen();
    let erased = fixture.store.erase(&web(), &id("c-1"), false, at(12)).await.expect("erases");
    assert_eq!(erased, Some(Some(interaction("i-1"))));
    assert_eq!(changes.next().await, Heard::Change(Change::Binding(key)));
    for sql in [
        "SELECT COUNT(*) FROM turns",
        "SELECT COUNT(*) FROM events",
        "SELECT COUNT(*) FROM deliveries",
        "SELECT COUNT(*) FROM lanes",
        "SELECT COUNT(*) FROM marks",
        "SELECT COUNT(*) FROM conversations WHERE interaction_id IS NOT NULL OR attribute <> ''",
    ] {
        assert_eq!(fixture.store.number(sql).await.expect("counts"), 0, "{sql}");
    }
    assert_eq!(fixture.store.conversation(&web(), &id("c-1")).await.expect("reads"), None);
    assert_eq!(fixture.store.feed(&web(), &id("c-1"), 0, most(10)).await.expect("reads"), None);
    assert_eq!(fixture.store.turn(&web(), &id("c-1"), &message_id("m-0"), IdSpace::Server).await.expect("reads"), None);
    assert_eq!(fixture.store.binding(key).await.expect("reads"), None);

    // A completion in flight finds nothing to complete, and a late look nothing to show.
    assert!(!fixture.respond(&turn, vec![own_event("e-3", "m-1"), reply("e-4")], at(13)).await.counted);
    assert!(!fixture.store.release_turn(turn.key, &turn.token, at(13), at(13), "").await.expect("answers"));
    assert!(!fixture.read(key, "i-1", Says::default(), vec![by_agent("e-5")], at(14)).await.counted);
    assert_eq!(fixture.store.number("SELECT COUNT(*) FROM events").await.expect("counts"), 0);
}

async fn an_erased_id_begins_anew(fixture: Fixture) {
    let before = fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.store.erase(&web(), &id("c-1"), false, at(1)).await.expect("erases");
    let after = fixture.post("c-1", "m-0", at(2)).await;
    assert_ne!(before, after);
    let turn = fixture.claim_turn(at(3)).await;
    assert_eq!((turn.conversation.key, turn.is_bound), (after, false));
    // Fini may continue its own conversation for it: the mapping is gone, so that one has no owner.
    assert_eq!(fixture.bind(after, "i-1", at(4)).await, Bound::Now);
    assert_eq!(fixture.conversation("c-1").await.last_sequence, 1);
}

async fn of_an_erased_conversation_its_hash_is_left(fixture: Fixture) {
    assert_eq!(fixture.store.erased_at(&web(), &id("c-1")).await.expect("reads"), None);
    let mut known = new_message("c-1", "m-1", at(0));
    known.vouched_user = Some("u-1".to_owned());
    fixture.store.accept(known).await.expect("accepts");
    fixture.store.erase(&web(), &id("c-1"), true, at(1)).await.expect("erases");
    assert!(fixture.store.erased_at(&web(), &id("c-1")).await.expect("reads").is_some());
    assert_eq!(fixture.store.erased_at(&web(), &id("c-2")).await.expect("reads"), None);
    assert!(fixture.store.scrub().await.expect("answers"), "nobody reads");
    for sql in [
        "SELECT COUNT(*) FROM conversations WHERE conversation_id = 'c-1' OR user_id IS NOT NULL",
        "SELECT COUNT(*) FROM erasures WHERE conversation_id = 'c-1'",
        "SELECT COUNT(*) FROM erasure_searches WHERE conversation_id = 'c-1'",
    ] {
        assert_eq!(fixture.store.number(sql).await.expect("counts"), 0, "{sql}");
    }
    // The sha256 of only the id, so that anybody who knows the id finds it.
    let hash = "sha256:%";
    let found = format!("SELECT COUNT(*) FROM conversations WHERE conversation_id LIKE '{hash}'");
    assert_eq!(fixture.store.number(&found).await.expect("counts"), 1);
}

async fn an_erased_conversation_gives_back_what_waited(fixture: Fixture) {
    for message in ["m-1", "m-2"] {
        fixture.post("c-1", message, at(0)).await;
    }
    fixture.post("c-2", "m-1", at(0)).await;
    assert_eq!(fixture.store.erase(&web(), &id("c-1"), false, at(1)).await.expect("erases"), Some(None));
    assert_eq!(fixture.store.queued_turns().await.expect("counts"), [(web(), 1)]);
    assert_eq!(fixture.claim_turn(at(2)).await.conversation.id, id("c-2"));
}

async fn what_does_not_exist_is_not_erased(fixture: Fixture) {
    assert_eq!(fixture.store.erase(&web(), &id("c-1"), false, at(0)).await.expect("answers"), None);
    fixture.post("c-1", "m-1", at(0)).await;
    let app = FrontendName::trusted("app");
    assert_eq!(fixture.store.erase(&app, &id("c-1"), false, at(1)).await.expect("answers"), None);
    assert!(fixture.store.erase(&web(), &id("c-1"), false, at(1)).await.expect("erases").is_some());
    assert_eq!(fixture.store.erase(&web(), &id("c-1"), false, at(2)).await.expect("answers"), None);
}

async fn what_fini_is_to_delete_is_tried_until_it_has_ended(fixture: Fixture) {
    let store = &fixture.store;
    fixture.bound_talk("c-1", "i-1", at(0)).await;
    store.erase(&web(), &id("c-1"), true, at(5)).await.expect("erases");
    let state = async || store.erasure(&web(), &id("c-1")).await.expect("reads").map(|(_, state)| state);
    assert_eq!(state().await, Some(ErasureState::Pending));
    assert_eq!(store.next_erasure_at().await.expect("reads"), Some(at(5)));
    assert_eq!(store.claim_erasure(at(4), at(60)).await.expect("claims"), None, "not due yet");

    let taken = store.claim_erasure(at(6), at(60)).await.expect("claims").expect("due");
    assert_eq!((taken.interaction.as_str(), taken.requested_at, taken.attempts), ("i-1", at(5), 1));
    assert_eq!(store.claim_erasure(at(7), at(61)).await.expect("claims"), None, "somebody is at it");
    // The process that took it died.
    let again = store.claim_erasure(at(60), at(120)).await.expect("claims").expect("due again");
    assert_eq!(again.attempts, 2);
    store.end_erasure(&again.interaction, ErasureEnd::Later(at(90)), at(61)).await.expect("records");
    assert_eq!(store.next_erasure_at().await.expect("reads"), Some(at(90)));
    assert_eq!(state().await, Some(ErasureState::Pending));

    let last = store.claim_erasure(at(90), at(150)).await.expect("claims").expect("due");
    store.end_erasure(&last.interaction, ErasureEnd::Erased, at(91)).await.expect("records");
    assert_eq!((state().await, store.next_erasure_at().await.expect("reads")), (Some(ErasureState::Erased), None));
    // The slow process's result no longer changes anything.
    store.end_erasure(&last.interaction, ErasureEnd::Later(at(200)), at(92)).await.expect("records");
    assert_eq!(state().await, Some(ErasureState::Erased));
    store.prune(at(10_000), std::time::Duration::from_secs(1), 100).await.expect("prunes");
    assert_eq!(state().await, None);
}

async fn only_what_is_bound_and_wanted_is_deleted_at_fini(fixture: Fixture) {
    fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-2", "m-1", at(0)).await;
    fixture.store.erase(&web(), &id("c-1"), false, at(1)).await.expect("erases");
    fixture.store.erase(&web(), &id("c-2"), true, at(1)).await.expect("erases");
    assert_eq!(fixture.store.next_erasure_at().await.expect("reads"), None);
    for conversation in ["c-1", "c-2"] {
        assert_eq!(fixture.store.erasure(&web(), &id(conversation)).await.expect("reads"), None);
    }
}

async fn what_was_not_found_before_its_erasure_is_looked_for(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(1)).await;
    let store = &fixture.store;
    assert_eq!(store.erase(&web(), &id("c-1"), true, at(2)).await.expect("erases"), Some(None));
    let state = async || store.erasure(&web(), &id("c-1")).await.expect("reads");
    assert_eq!(state().await, Some((None, ErasureState::Pending)));
    let search = async || store.erasure_searches(5).await.expect("reads").into_iter().next();
    let kept = search().await.expect("it is looked for");
    assert_eq!((kept.conversation, &kept.attribute), (key, &turn.conversation_attribute));
    assert_eq!((kept.events.len(), kept.texts.len(), kept.first_sent_at), (0, 1, at(1)));
    assert!(kept.busy_until.is_some(), "its message is on its way");
    // The answer to the message on its way names the events that identify it.
    assert!(!fixture.respond(&turn, vec![own_event("e-1", "m-1")], at(3)).await.counted);
    let kept = search().await.expect("it is looked for");
    assert_eq!((kept.events, kept.busy_until), (vec![FiniEventId::trusted("e-1")], None));

    let pending = Some(ErasureState::Pending);
    let later = store.end_erasure_search(key, SearchEnd::Later(at(9)), at(4)).await;
    assert_eq!(later.expect("records"), pending);
    assert_eq!(search().await.map(|search| (search.look_at, search.looks)), Some((at(9), 1)));
    let found = SearchEnd::Found(interaction("i-1"), at(1));
    assert_eq!(store.end_erasure_search(key, found, at(10)).await.expect("records"), pending);
    assert_eq!(state().await, Some((Some(interaction("i-1")), ErasureState::Pending)));
    assert_eq!(store.next_erasure_at().await.expect("reads"), Some(at(10)));
    assert_eq!(search().await, None);
}

async fn what_is_also_somebody_elses_is_not_deleted(fixture: Fixture) {
    fixture.bound_talk("c-2", "i-2", at(0)).await;
    let key = fixture.post("c-1", "m-1", at(1)).await;
    fixture.claim_turn(at(2)).await;
    let store = &fixture.store;
    store.erase(&web(), &id("c-1"), true, at(3)).await.expect("erases");
    let found = SearchEnd::Found(interaction("i-2"), at(2));
    assert_eq!(store.end_erasure_search(key, found, at(4)).await.expect("records"), Some(ErasureState::Failed));
    assert_eq!(store.erasure(&web(), &id("c-1")).await.expect("reads"), Some((None, ErasureState::Failed)));
    assert_eq!(store.next_erasure_at().await.expect("reads"), None);
    assert_eq!(store.end_erasure_search(key, SearchEnd::Nothing, at(5)).await.expect("answers"), None, "it has ended");
}
