//! The binding of conversations to Fini conversations.

use super::{talk::*, *};
use crate::domain::{
    conversation::State,
    ids::FiniEventId,
    turn::{FailureCode, TurnState},
    vendor::{FiniEvent, FiniRole},
};

suite!(
    a_binding_frees_what_waits,
    what_looks_for_its_conversation_is_known_from_the_claim_on,
    what_was_given_up_still_tells_which_conversation_it_began,
    a_look_for_a_binding_is_postponed_and_counted,
    what_is_looked_for_is_summed_up,
    two_conversations_are_never_bound_to_one,
    what_was_mixed_in_never_reaches_the_owner,
    while_the_mixed_in_is_being_answered_its_reply_is_nobodys,
    a_response_counts_though_its_events_were_read_first,
    an_answer_outweighs_a_reservation,
    a_lost_answer_of_the_mixed_in_reaches_nobody_and_is_not_sent_again,
    absence_is_not_proved_of_what_a_quarantine_hides,
    an_own_message_behind_the_mixed_in_is_found_with_its_reply,
    a_message_of_somebody_who_is_looked_for_shows_nothing_until_it_is_clear_whose_it_is,
    an_own_message_that_somebody_else_says_too_waits_until_it_is_clear_whose_it_is,
    of_two_who_say_the_same_the_one_whose_message_fini_names_has_it,
    a_past_that_a_cut_list_hides_quarantines_when_it_shows,
    a_list_that_may_be_cut_says_nothing_of_words_that_nobody_saw,
    what_the_desk_wrote_first_is_the_conversations_own_past,
    what_is_erased_or_pruned_stays_withheld_from_others,
    racing_bindings_end_in_one,
    an_operator_binds_a_quarantined_conversation,
    an_operator_lets_a_quarantined_conversation_begin_anew,
    a_quarantine_survives_a_late_response,
    a_lost_conversation_begins_anew,
    a_conversation_that_was_never_found_begins_anew,
    what_was_never_found_nor_known_to_arrive_is_unclear,
    what_a_list_never_shows_is_not_called_lost,
    only_what_is_lost_is_lost,
    owners_are_told,
);

/// Makes a conversation whose first message was answered, not bound yet.
async fn answered(fixture: &Fixture, conversation: &str, now: Timestamp) -> ConversationKey {
    let key = fixture.post(conversation, "m-1", now).await;
    let turn = fixture.claim_turn(now).await;
    let events = vec![own_event(&format!("{conversation}-e1"), "m-1"), reply(&format!("{conversation}-e2"))];
    fixture.respond(&turn, events, now).await;
    key
}

async fn a_binding_frees_what_waits(fixture: Fixture) {
    let key = answered(&fixture, "c-1", at(0)).await;
    fixture.post("c-1", "m-2", at(1)).await;
    let mut changes = fixture.store.listen();
    assert_eq!(fixture.store.binding(key).await.expect("reads"), Some((None, 0)));
    assert_eq!(fixture.bind(key, "i-1", at(2)).await, Bound::Now);
    assert_eq!(changes.next().await, Heard::Change(Change::Reading));
    assert_eq!(changes.next().await, Heard::Change(Change::Turns));
    assert_eq!(changes.next().await, Heard::Change(Change::Binding(key)));
    assert_eq!(fixture.store.binding(key).await.expect("reads"), Some((Some(interaction("i-1")), 1)));
    assert_eq!(fixture.bind(key, "i-1", at(3)).await, Bound::Already);
    assert_eq!(fixture.bind(key, "i-2", at(3)).await, Bound::Stale);
    assert!(fixture.store.unbound(5).await.expect("reads").is_empty());
    let turn = fixture.claim_turn(at(4)).await;
    assert!(turn.is_bound);
    // Messages in Fini belong to a conversation only after something was sent for it.
    let untouched = fixture.post("c-2", "m-1", at(5)).await;
    assert_eq!(fixture.bind(untouched, "i-3", at(6)).await, Bound::Stale);
    assert_eq!(fixture.bind(ConversationKey(999), "i-3", at(6)).await, Bound::Stale);
    assert_eq!(fixture.store.binding(ConversationKey(999)).await.expect("reads"), None);
}

async fn what_looks_for_its_conversation_is_known_from_the_claim_on(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    assert!(fixture.store.unbound(5).await.expect("reads").is_empty());
    let turn = fixture.claim_turn(at(1)).await;
    let unbound = fixture.store.unbound(5).await.expect("reads");
    let [wanted] = unbound.as_slice() else { panic!("{unbound:?}") };
    assert_eq!((wanted.conversation.key, wanted.attribute.as_str()), (key, turn.conversation_attribute.as_str()));
    assert_eq!((wanted.first_sent_at, wanted.look_at, wanted.looks), (at(1), Timestamp::MAX, 0));
    let open = wanted.open.as_ref().map(|open| (open.role, open.text.as_str(), open.sent_at));
    assert_eq!((wanted.events.as_slice(), open), ([].as_slice(), Some((Role::User, "text of m-1", at(1)))));

    fixture.respond(&turn, vec![own_event("e-1", "m-1"), reply("e-2")], at(2)).await;
    let unbound = fixture.store.unbound(5).await.expect("reads");
    let [wanted] = unbound.as_slice() else { panic!("{unbound:?}") };
    let mut events = wanted.events.clone();
    events.sort();
    assert_eq!(events, [FiniEventId::trusted("e-1"), FiniEventId::trusted("e-2")]);
    assert_eq!((wanted.open.as_ref(), wanted.wanted_since, wanted.look_at), (None, at(2), at(2)));
    assert_eq!(wanted.own_since, Some(at(0)));
    // A sweep may be faster than the response.
    fixture.post("c-2", "m-1", at(3)).await;
    let turn = fixture.claim_turn(at(4)).await;
    assert_eq!(fixture.bind(turn.conversation.key, "i-2", at(5)).await, Bound::Now);
    let recorded = fixture.respond(&turn, vec![own_event("e-3", "m-1"), reply("e-4")], at(6)).await;
    assert_eq!(recorded.turn, Some(TurnState::Answered));
}

async fn what_was_given_up_still_tells_which_conversation_it_began(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(1)).await;
    lose_sight(&fixture, &turn, at(2)).await;
    let failure = failure(FailureCode::UnclearOutcome);
    assert!(fixture.store.fail_turn(turn.key, Hold::Looked(1), at(9), &failure).await.expect("writes"));
    let unbound = fixture.store.unbound(5).await.expect("reads");
    let [wanted] = unbound.as_slice() else { panic!("{unbound:?}") };
    let open = wanted.open.as_ref().map(|open| (open.text.as_str(), open.sent_at, open.is_given_up));
    assert_eq!((wanted.conversation.key, open), (key, Some(("text of m-1", at(1), true))));
}

async fn a_look_for_a_binding_is_postponed_and_counted(fixture: Fixture) {
    let first = answered(&fixture, "c-1", at(0)).await;
    let second = answered(&fixture, "c-2", at(5)).await;
    fixture.store.postpone_binding(first, at(100)).await.expect("postpones");
    fixture.store.postpone_binding(first, at(200)).await.expect("postpones");
    let unbound = fixture.store.unbound(5).await.expect("reads");
    let looks: Vec<_> = unbound.iter().map(|wanted| (wanted.conversation.key, wanted.look_at, wanted.looks)).collect();
    assert_eq!(looks, [(first, at(200), 2), (second, at(5), 0)]);
    assert_eq!(fixture.store.unbound(1).await.expect("reads").len(), 1);
}

async fn what_is_looked_for_is_summed_up(fixture: Fixture) {
    let sum_up = async |now, limit| fixture.store.unbound_summary(now, limit).await.expect("reads");
    assert_eq!(sum_up(at(0), 5).await, UnboundSummary::default());
    fixture.post("c-1", "m-1", at(0)).await;
    fixture.claim_turn(at(1)).await;
    // Sent, but not wanted yet: nobody has to look.
    assert_eq!(sum_up(at(9), 5).await, UnboundSummary { count: 1, due_since: None, look_at: None });
    let second = answered(&fixture, "c-2", at(2)).await;
    answered(&fixture, "c-3", at(4)).await;
    fixture.store.postpone_binding(second, at(100)).await.expect("postpones");
    let three = UnboundSummary { count: 3, due_since: Some(at(4)), look_at: Some(at(4)) };
    assert_eq!(sum_up(at(9), 5).await, three);
    assert_eq!(sum_up(at(100), 5).await, UnboundSummary { due_since: Some(at(2)), ..three });
    assert_eq!(sum_up(at(3), 5).await, UnboundSummary { due_since: None, ..three });
    let oldest = UnboundSummary { count: 2, due_since: None, look_at: Some(at(100)) };
    assert_eq!(sum_up(at(9), 2).await, oldest, "no more of them than are listed");
}

async fn two_conversations_are_never_bound_to_one(fixture: Fixture) {
    let owner = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let other = answered(&fixture, "c-2", at(10)).await;
    fixture.post("c-2", "m-2", at(11)).await;
    let owner = ConversationRef { key: owner, frontend: web(), id: id("c-1") };
    assert_eq!(fixture.bind(other, "i-1", at(12)).await, Bound::Quarantined { owner: Some(owner) });
    let conversation = fixture.conversation("c-2").await;
    assert_eq!((conversation.state, conversation.interaction), (State::Quarantined, None));
    assert!(conversation.note.is_some_and(|note| note.contains("i-1") && note.contains("c-1")));
    let last = fixture.feed("c-2").await.pop().expect("events");
    assert_eq!((&last["type"], &last["data"]["state"]), (&"conversation.status_changed".into(), &"quarantined".into()));
    fixture.assert_nothing_due(at(1_000)).await;
    assert!(fixture.store.unbound(5).await.expect("reads").is_empty());
    assert_eq!(fixture.bind(other, "i-2", at(13)).await, Bound::Stale, "an operator decides now");
    // Messages posted meanwhile are kept and wait.
    fixture.post("c-2", "m-3", at(14)).await;
    fixture.assert_nothing_due(at(1_000)).await;
    assert_eq!(fixture.conversation("c-1").await.state, State::Open);
}

/// Reads the messages of Fini's that a conversation's feed shows.
async fn shown(fixture: &Fixture, conversation: &str) -> Vec<String> {
    let feed = fixture.feed(conversation).await;
    let by_fini = feed.iter().filter(|event| event["data"]["origin"] == "fini");
    by_fini.map(|event| event["data"]["message"]["id"].as_str().expect("an id").to_owned()).collect()
}

/// Makes a conversation with an answer, into whose Fini conversation `i-1` Fini puts the message `m-9` of `c-2`, which is
/// claimed.
async fn mixed(fixture: &Fixture) -> (ConversationKey, ClaimedTurn) {
    let owner = fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-2", "m-9", at(10)).await;
    (owner, fixture.claim_turn(at(11)).await)
}

/// Makes the same, found out at once: `c-2` is quarantined.
async fn quarantined(fixture: &Fixture) -> (ConversationKey, ClaimedTurn) {
    let (owner, turn) = mixed(fixture).await;
    let bound = fixture.bind(turn.conversation.key, "i-1", at(12)).await;
    assert!(matches!(bound, Bound::Quarantined { owner: Some(_) }), "{bound:?}");
    (owner, turn)
}

async fn lose_sight(fixture: &Fixture, turn: &ClaimedTurn, now: Timestamp) {
    assert!(fixture.store.lose_sight(turn.key, &turn.token, now, now, now, "status 500").await.expect("loses"));
}

async fn what_was_mixed_in_never_reaches_the_owner(fixture: Fixture) {
    let (owner, turn) = quarantined(&fixture).await;
    let answer = || vec![own_event("e-5", "m-9"), reply("e-6")];
    fixture.respond(&turn, answer(), at(13)).await;
    // The next writer may mean either of them.
    let everything = || [vec![reply("c-1-e2")], answer(), vec![by_other_bot("e-7")]].concat();
    let recorded = fixture.read(owner, "i-1", Says::default(), everything(), at(14)).await;
    assert_eq!((recorded.counted, recorded.added, recorded.withheld), (true, 0, 1));
    let recorded = fixture.read(owner, "i-1", Says::default(), everything(), at(15)).await;
    assert_eq!((recorded.counted, recorded.doubtful, recorded.withheld), (true, false, 0), "once is enough");
    // Once the owner has written again, it is an answer to that.
    fixture.post("c-1", "m-1", at(16)).await;
    let own = fixture.claim_turn(at(17)).await;
    fixture.respond(&own, vec![own_event("e-8", "m-1"), reply("e-9")], at(18)).await;
    let later = [everything(), vec![own_event("e-8", "m-1"), reply("e-9"), by_other_bot("e-10")]].concat();
    assert_eq!(fixture.read(owner, "i-1", Says::default(), later, at(19)).await.added, 1);
    assert_eq!(shown(&fixture, "c-1").await, ["c-1-e2", "e-9", "e-10"]);
    assert_eq!(shown(&fixture, "c-2").await, ["e-6"]);
}

async fn while_the_mixed_in_is_being_answered_its_reply_is_nobodys(fixture: Fixture) {
    let (owner, turn) = quarantined(&fixture).await;
    // Fini has stored the reply, but nobody has the response yet.
    let everything = || vec![reply("c-1-e2"), own_event("e-5", "m-9"), reply("e-6"), by_other_bot("e-7")];
    let recorded = fixture.read(owner, "i-1", Says::default(), everything(), at(13)).await;
    assert_eq!((recorded.counted, recorded.added, recorded.doubtful), (true, 0, true));
    fixture.respond(&turn, vec![own_event("e-5", "m-9"), reply("e-6")], at(14)).await;
    let recorded = fixture.read(owner, "i-1", Says::default(), everything(), at(15)).await;
    assert_eq!((recorded.counted, recorded.added, recorded.doubtful), (true, 0, false));
    assert_eq!(
        (shown(&fixture, "c-1").await, shown(&fixture, "c-2").await),
        (vec!["c-1-e2".to_owned()], vec!["e-6".to_owned()])
    );
}

async fn a_response_counts_though_its_events_were_read_first(fixture: Fixture) {
    let (owner, turn) = quarantined(&fixture).await;
    let response = || vec![own_event("e-5", "m-9"), reply("e-6")];
    let mixed = || [vec![reply("c-1-e2")], response()].concat();
    assert_eq!(fixture.read(owner, "i-1", Says::default(), mixed(), at(12)).await.added, 0);
    let recorded = fixture.respond(&turn, response(), at(13)).await;
    assert_eq!((recorded.state, recorded.turn), (Some(State::Quarantined), Some(TurnState::Answered)));
    assert_eq!(shown(&fixture, "c-2").await, ["e-6"]);
    assert_eq!(fixture.kinds("c-2", 0).await.iter().filter(|kind| *kind == "message.created").count(), 2);
    // A repeat adds nothing, and the owner is shown none of it.
    assert_eq!(fixture.respond(&turn, response(), at(14)).await.added, 0);
    let read = fixture.read(owner, "i-1", Says::default(), mixed(), at(15)).await;
    assert_eq!((read.counted, read.added, read.doubtful), (true, 0, false));
}

async fn an_answer_outweighs_a_reservation(fixture: Fixture) {
    let (owner, other) = quarantined(&fixture).await;
    lose_sight(&fixture, &other, at(13)).await;
    fixture.post("c-1", "m-1", at(14)).await;
    let own = fixture.claim_turn(at(15)).await;
    lose_sight(&fixture, &own, at(16)).await;
    // Both wait, and both answers were lost: the owner of this reply cannot be told.
    let everything = || vec![reply("c-1-e2"), own_event("e-5", "m-9"), own_event("e-6", "m-1"), reply("e-7")];
    let recorded = fixture.read(owner, "i-1", Says::default(), everything(), at(17)).await;
    assert_eq!((recorded.added, recorded.withheld, recorded.turn), (0, 1, Some(TurnState::Awaiting)));
    // An answer to the owner that names it tells its owner, whichever it was reserved for.
    fixture
        .store
        .fail_turn(own.key, Hold::Looked(1), at(18), &failure(FailureCode::NoReplyInTime))
        .await
        .expect("ends");
    fixture.post("c-1", "m-2", at(19)).await;
    let own = fixture.claim_turn(at(20)).await;
    let recorded = fixture.respond(&own, vec![own_event("e-8", "m-2"), reply("e-7")], at(21)).await;
    assert_eq!(recorded.turn, Some(TurnState::Answered));
    assert_eq!(shown(&fixture, "c-1").await, ["c-1-e2", "e-7"]);
    assert!(shown(&fixture, "c-2").await.is_empty());
}

async fn a_lost_answer_of_the_mixed_in_reaches_nobody_and_is_not_sent_again(fixture: Fixture) {
    let (owner, turn) = mixed(&fixture).await;
    lose_sight(&fixture, &turn, at(12)).await;
    let stored = || vec![reply("c-1-e2"), own_event("e-5", "m-9")];
    // Its owner has to be found out first.
    let recorded = fixture.read(owner, "i-1", Says::default(), stored(), at(13)).await;
    assert_eq!((recorded.counted, recorded.added, recorded.doubtful), (true, 0, true));
    assert!(matches!(fixture.bind(turn.conversation.key, "i-1", at(14)).await, Bound::Quarantined { .. }));
    fixture.read(owner, "i-1", Says::default(), stored(), at(15)).await;
    // The reply is written late.
    let late = [stored(), vec![reply("e-6")]].concat();
    let recorded = fixture.read(owner, "i-1", Says::default(), late, at(16)).await;
    assert_eq!((recorded.added, recorded.withheld, recorded.doubtful), (0, 1, false));
    assert_eq!(shown(&fixture, "c-1").await, ["c-1-e2"]);
    let key = turn.conversation.key;
    assert!(
        !fixture.store.prove_absent(turn.key, turn.attempt, at(17), at(17)).await.expect("answers"),
        "it stands there"
    );
    assert_eq!(fixture.store.settle_quarantine(key, None, at(18)).await.expect("settles"), Bound::Now);
    let closing = fixture.feed("c-2").await.into_iter().find(|event| event["type"] == "turn.failed").expect("the end");
    assert_eq!((&closing["data"]["code"], &closing["data"]["may_resend"]), (&"interaction_lost".into(), &false.into()));
    fixture.assert_nothing_due(at(1_000)).await;
    // However it ended: an answer to it does not belong to the owner.
    let later = [stored(), vec![reply("e-6"), reply("e-7")]].concat();
    assert_eq!(fixture.read(owner, "i-1", Says::default(), later, at(19)).await.added, 0);
}

async fn absence_is_not_proved_of_what_a_quarantine_hides(fixture: Fixture) {
    let (_, turn) = quarantined(&fixture).await;
    lose_sight(&fixture, &turn, at(13)).await;
    assert!(!fixture.store.prove_absent(turn.key, turn.attempt, at(14), at(14)).await.expect("answers"));
    let closing = fixture.feed("c-2").await.pop().expect("the end of the turn");
    assert_eq!((&closing["type"], &closing["data"]["code"]), (&"turn.failed".into(), &"unclear_outcome".into()));
    assert_eq!(closing["data"]["may_resend"], false);
}

async fn an_own_message_behind_the_mixed_in_is_found_with_its_reply(fixture: Fixture) {
    let (owner, other) = quarantined(&fixture).await;
    fixture.post("c-1", "m-1", at(13)).await;
    let own = fixture.claim_turn(at(14)).await;
    lose_sight(&fixture, &own, at(15)).await;
    let everything =
        || vec![reply("c-1-e2"), own_event("e-5", "m-9"), own_event("e-6", "m-1"), reply("e-7"), reply("e-8")];
    let recorded = fixture.read(owner, "i-1", Says::default(), everything(), at(16)).await;
    assert_eq!((recorded.turn, recorded.added), (Some(TurnState::Awaiting), 0), "the other is owed a reply too");
    fixture.respond(&other, vec![own_event("e-5", "m-9"), reply("e-7")], at(17)).await;
    let recorded = fixture.read(owner, "i-1", Says::default(), everything(), at(18)).await;
    assert_eq!(recorded.turn, Some(TurnState::Answered));
    assert_eq!(shown(&fixture, "c-1").await, ["c-1-e2", "e-8"]);
    assert_eq!(shown(&fixture, "c-2").await, ["e-7"]);
}

async fn a_message_of_somebody_who_is_looked_for_shows_nothing_until_it_is_clear_whose_it_is(fixture: Fixture) {
    let (owner, turn) = mixed(&fixture).await;
    let stranger = |text: &str| said("e-8", FiniRole::User, text);
    let mixed = || vec![reply("c-1-e2"), stranger(&format!(" {}", turn.text)), reply("e-9")];
    let recorded = fixture.read(owner, "i-1", Says::default(), mixed(), at(12)).await;
    assert_eq!((recorded.counted, recorded.added, recorded.doubtful), (true, 0, true));
    let unfinished = FiniEvent { text: None, ..stranger("") };
    let recorded = fixture.read(owner, "i-1", Says::default(), vec![reply("c-1-e2"), unfinished], at(12)).await;
    assert_eq!((recorded.added, recorded.doubtful), (0, true), "its text may be filled in later");
    // It was stored in a Fini conversation of its own: this one came in another way.
    fixture.respond(&turn, vec![own_event("e-20", "m-9"), reply("e-21")], at(13)).await;
    let recorded = fixture.read(owner, "i-1", Says::default(), mixed(), at(14)).await;
    assert_eq!((recorded.counted, recorded.added), (true, 2));
}

async fn an_own_message_that_somebody_else_says_too_waits_until_it_is_clear_whose_it_is(fixture: Fixture) {
    let (owner, other) = mixed(&fixture).await;
    fixture.post("c-1", "m-9", at(11)).await;
    let turn = fixture.claim_turn(at(11)).await;
    lose_sight(&fixture, &turn, at(12)).await;
    let read = || {
        fixture.read(
            owner,
            "i-1",
            Says::default(),
            vec![reply("c-1-e2"), own_event("e-8", "m-9"), reply("e-9")],
            at(14),
        )
    };
    let recorded = read().await;
    assert_eq!((recorded.turn, recorded.added, recorded.doubtful), (Some(TurnState::Unclear), 0, true));
    fixture.respond(&other, vec![own_event("e-20", "m-9"), reply("e-21")], at(15)).await;
    assert_eq!(read().await.turn, Some(TurnState::Answered));
}

async fn of_two_who_say_the_same_the_one_whose_message_fini_names_has_it(fixture: Fixture) {
    let (owner, other) = mixed(&fixture).await;
    lose_sight(&fixture, &other, at(12)).await;
    fixture.post("c-1", "m-9", at(13)).await;
    let turn = fixture.claim_turn(at(14)).await;
    lose_sight(&fixture, &turn, at(15)).await;
    let named = || Says { turn_attribute: Some(turn.turn_attribute.clone()), ..Says::default() };
    let others = || Says { turn_attribute: Some("another".to_owned()), ..Says::default() };
    let one = || vec![reply("c-1-e2"), own_event("e-8", "m-9"), reply("e-9")];
    let two = || [one(), vec![own_event("e-10", "m-9")]].concat();
    let (soon, later) = (at(10_000), at(30_000));
    for (says, events, now) in [(named(), one(), soon), (others(), one(), later), (named(), two(), later)] {
        let recorded = fixture.read(owner, "i-1", says, events, now).await;
        assert_eq!((recorded.turn, recorded.added, recorded.withheld), (Some(TurnState::Unclear), 0, 0));
    }
    assert_eq!(fixture.read(owner, "i-1", named(), one(), later).await.turn, Some(TurnState::Answered));
    assert_eq!(shown(&fixture, "c-1").await, ["c-1-e2", "e-9"]);
}

async fn a_past_that_a_cut_list_hides_quarantines_when_it_shows(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(100_000)).await;
    let turn = fixture.claim_turn(at(100_000)).await;
    let then = |seconds: i64, event: FiniEvent| FiniEvent { created_at: at(seconds * 1_000), ..event };
    let own = || vec![then(100, own_event("e-3", "m-1")), then(101, reply("e-4"))];
    fixture.respond(&turn, own(), at(101_000)).await;
    // It holds the end of another customer's conversation, cut off but for the bot's reply.
    let cut = [vec![then(90, reply("e-2"))], own()].concat();
    assert_eq!(fixture.bind_to(key, snapshot("i-1", at(0), cut.clone()), at(102_000)).await, Bound::Now);
    let recorded = fixture.read(key, "i-1", Says::default(), cut.clone(), at(103_000)).await;
    assert_eq!((recorded.counted, recorded.added), (true, 0), "what was said before is no news");
    let whole = [vec![then(80, said("e-1", FiniRole::User, "of another customer"))], cut].concat();
    let recorded = fixture.read(key, "i-1", Says { is_whole: true, ..Says::default() }, whole, at(104_000)).await;
    assert_eq!((recorded.counted, recorded.quarantined, recorded.added), (false, true, 0));
    let conversation = fixture.conversation("c-1").await;
    assert_eq!((conversation.state, conversation.interaction), (State::Quarantined, None));
    assert_eq!(shown(&fixture, "c-1").await, ["e-4"]);
}

async fn a_list_that_may_be_cut_says_nothing_of_words_that_nobody_saw(fixture: Fixture) {
    let owner = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let late = |id: &str| FiniEvent { created_at: at(60_000), ..reply(id) };
    let recorded = fixture.read(owner, "i-1", Says::default(), vec![late("e-7")], at(61_000)).await;
    assert_eq!((recorded.added, recorded.doubtful), (0, true));
    let due = fixture.store.due_reads(at(61_000), 5).await.expect("reads");
    assert_eq!(due.iter().map(|read| read.conversation.key).collect::<Vec<_>>(), [owner], "it is read by itself");
    let whole = vec![own_event("c-1-e1", "m-0"), reply("c-1-e2"), late("e-7")];
    let says = Says { is_whole: true, ..Says::default() };
    assert_eq!(fixture.read(owner, "i-1", says, whole, at(62_000)).await.added, 1);
}

async fn what_the_desk_wrote_first_is_the_conversations_own_past(fixture: Fixture) {
    let mirrored = wrap(inbound("c-1", "m-1", "from the desk", Role::Agent), at(0));
    fixture.store.accept(mirrored).await.expect("accepts");
    let turn = fixture.claim_turn(at(1)).await;
    let key = turn.conversation.key;
    fixture.respond(&turn, vec![said("e-1", FiniRole::Agent, "from the desk")], at(2)).await;
    // Without a customer's message List leaves it out, so it is never found.
    assert!(fixture.store.lose(key, None, at(3), "not found").await.expect("gives up"));
    fixture.post("c-1", "m-2", at(600_000)).await;
    let turn = fixture.claim_turn(at(600_000)).await;
    let then = |event: FiniEvent| FiniEvent { created_at: at(600_000), ..event };
    let own = || vec![then(own_event("e-2", "m-2")), then(reply("e-3"))];
    fixture.respond(&turn, own(), at(601_000)).await;
    let whole = [vec![said("e-1", FiniRole::Agent, "from the desk")], own()].concat();
    assert_eq!(fixture.bind_to(key, snapshot("i-1", at(0), whole.clone()), at(602_000)).await, Bound::Now);
    let recorded = fixture.read(key, "i-1", Says { is_whole: true, ..Says::default() }, whole, at(603_000)).await;
    assert_eq!((recorded.counted, recorded.added, recorded.quarantined), (true, 0, false));
}

async fn what_is_erased_or_pruned_stays_withheld_from_others(fixture: Fixture) {
    let (owner, turn) = quarantined(&fixture).await;
    fixture.respond(&turn, vec![own_event("e-5", "m-9"), reply("e-6")], at(13)).await;
    fixture.store.erase(&web(), &id("c-2"), false, at(14)).await.expect("erases");
    let everything = vec![reply("c-1-e2"), own_event("e-5", "m-9"), reply("e-6"), by_other_bot("e-7")];
    assert_eq!(fixture.read(owner, "i-1", Says::default(), everything, at(15)).await.added, 0);
    assert_eq!(shown(&fixture, "c-1").await, ["c-1-e2"]);
}

async fn racing_bindings_end_in_one(fixture: Fixture) {
    let mut keys = Vec::new();
    for number in 0..8 {
        keys.push(answered(&fixture, &format!("c-{number}"), at(number)).await);
    }
    let all = keys.iter().map(|key| fixture.bind(*key, "i-1", at(100)));
    let ends = futures_util::future::join_all(all).await;
    assert_eq!(ends.iter().filter(|end| **end == Bound::Now).count(), 1);
    assert_eq!(ends.iter().filter(|end| matches!(end, Bound::Quarantined { .. })).count(), 7);
}

async fn an_operator_binds_a_quarantined_conversation(fixture: Fixture) {
    fixture.bound_talk("c-1", "i-1", at(0)).await;
    let key = answered(&fixture, "c-2", at(10)).await;
    fixture.post("c-2", "m-2", at(11)).await;
    let store = &fixture.store;
    fixture.quarantine(key, "i-0", at(12)).await;
    assert_eq!(fixture.bind(key, "i-0", at(13)).await, Bound::Stale, "an operator decides now");
    let note = fixture.conversation("c-2").await.note.expect("a reason");
    assert!(note.contains("i-0") && note.contains("somebody else wrote before"), "{note}");
    let taken = store.settle_quarantine(key, Some(&interaction("i-1")), at(14)).await.expect("answers");
    assert!(matches!(taken, Bound::Quarantined { .. }), "not even an operator mixes two customers by mistake");
    let bound = store.settle_quarantine(key, Some(&interaction("i-2")), at(15)).await.expect("settles");
    assert_eq!(bound, Bound::Now);
    let conversation = fixture.conversation("c-2").await;
    assert_eq!((conversation.state, conversation.note), (State::Open, None));
    let again = store.settle_quarantine(key, Some(&interaction("i-2")), at(16)).await.expect("answers");
    assert_eq!(again, Bound::Stale);
    let nobody = store.settle_quarantine(ConversationKey(999), None, at(16)).await.expect("answers");
    assert_eq!(nobody, Bound::Stale);
    let turn = fixture.claim_turn(at(17)).await;
    assert!(turn.is_bound);
}

async fn an_operator_lets_a_quarantined_conversation_begin_anew(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    fixture.post("c-1", "m-2", at(1)).await;
    let turn = fixture.claim_turn(at(2)).await;
    fixture.store.lose_sight(turn.key, &turn.token, at(3), at(4), at(3), "reset").await.expect("loses");
    fixture.quarantine(key, "i-0", at(5)).await;
    assert_eq!(fixture.store.settle_quarantine(key, None, at(6)).await.expect("settles"), Bound::Now);
    assert_eq!(fixture.state_of("c-1", "m-1").await, TurnState::Failed, "nobody will find its answer any more");
    let feed = fixture.feed("c-1").await;
    let closing = feed.iter().find(|event| event["type"] == "turn.failed").expect("the end of the turn");
    assert_eq!((&closing["data"]["code"], &closing["data"]["may_resend"]), (&"interaction_lost".into(), &false.into()));
    let turn = fixture.claim_turn(at(7)).await;
    assert_eq!((turn.messages.as_slice(), turn.is_bound), ([message_id("m-2")].as_slice(), false));
    assert_eq!(fixture.conversation("c-1").await.state, State::Open);
}

async fn a_quarantine_survives_a_late_response(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(1)).await;
    fixture.quarantine(key, "i-0", at(2)).await;
    let handover = of_kind(crate::domain::vendor::FiniKind::SilentEscalation, reply("e-2"));
    let recorded = fixture.respond(&turn, vec![own_event("e-1", "m-1"), handover], at(3)).await;
    assert_eq!((recorded.state, recorded.turn), (Some(State::Quarantined), Some(TurnState::Answered)));
    assert_eq!(fixture.conversation("c-1").await.state, State::Quarantined);
    assert!(fixture.conversation("c-1").await.note.is_some());
    assert!(fixture.store.unbound(5).await.expect("reads").is_empty());
}

async fn a_lost_conversation_begins_anew(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    for message in ["m-1", "m-2"] {
        fixture.post("c-1", message, at(10)).await;
    }
    let turn = fixture.claim_turn(at(11)).await;
    assert!(fixture.store.lose(key, Some(&interaction("i-1")), at(12), "Fini does not know it").await.expect("loses"));
    assert_eq!(fixture.state_of("c-1", "m-1").await, TurnState::Failed);
    let feed = fixture.feed("c-1").await;
    assert_eq!(kinds(&feed[5..]), ["turn.failed", "conversation.status_changed"]);
    assert_eq!((&feed[5]["data"]["code"], &feed[5]["data"]["may_resend"]), (&"interaction_lost".into(), &true.into()));
    let conversation = fixture.conversation("c-1").await;
    assert_eq!((conversation.state, conversation.interaction), (State::Lost, None));
    assert_eq!((conversation.binding_version, conversation.watch_until), (2, None));
    assert!(!fixture.respond(&turn, vec![reply("e-3")], at(13)).await.counted);

    let turn = fixture.claim_turn(at(14)).await;
    assert_eq!((turn.messages.as_slice(), turn.is_bound), ([message_id("m-2")].as_slice(), false));
    let recorded = fixture.respond(&turn, vec![own_event("e-4", "m-2"), reply("e-5")], at(15)).await;
    assert_eq!(recorded.state, Some(State::Open), "the customer goes on");
    let wanted = fixture.store.unbound(5).await.expect("reads").remove(0);
    assert_eq!(wanted.events.len(), 2, "what was said in the lost one is no evidence");
    assert_eq!(fixture.bind(key, "i-2", at(16)).await, Bound::Now);
}

async fn a_conversation_that_was_never_found_begins_anew(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(1)).await;
    fixture.respond(&turn, vec![own_event("e-1", "m-1")], at(2)).await;
    assert!(fixture.store.lose(key, None, at(3), "not found").await.expect("loses"));
    let closing = fixture.feed("c-1").await.remove(1);
    assert_eq!(closing["data"]["code"], "interaction_lost");
    assert_eq!(closing["data"]["may_resend"], false, "Fini does have the message");
    assert_eq!(fixture.conversation("c-1").await.note.as_deref(), Some("not found"));
    fixture.post("c-1", "m-2", at(4)).await;
    assert!(!fixture.claim_turn(at(5)).await.is_bound);
    // Two searches for the first one ended at the same time, and this one was slower.
    assert!(!fixture.store.lose(key, None, at(3), "not found").await.expect("answers"));
    assert_eq!(fixture.state_of("c-1", "m-2").await, TurnState::Sending);
}

async fn what_was_never_found_nor_known_to_arrive_is_unclear(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(1)).await;
    fixture.store.lose_sight(turn.key, &turn.token, at(2), at(3), at(2), "reset").await.expect("loses");
    assert!(fixture.store.lose(key, None, at(4), "not found").await.expect("gives up"));
    let closing = fixture.feed("c-1").await.remove(1);
    assert_eq!((&closing["data"]["code"], &closing["data"]["may_resend"]), (&"unclear_outcome".into(), &false.into()));
}

async fn what_a_list_never_shows_is_not_called_lost(fixture: Fixture) {
    let mirrored = |message| wrap(inbound("c-1", message, "text", Role::Agent), at(0));
    fixture.store.accept(mirrored("m-1")).await.expect("accepts");
    let turn = fixture.claim_turn(at(1)).await;
    let key = turn.conversation.key;
    fixture.respond(&turn, vec![said("e-1", FiniRole::Agent, "text")], at(2)).await;
    assert!(fixture.store.lose(key, None, at(3), "not found").await.expect("gives up"));
    let conversation = fixture.conversation("c-1").await;
    assert_eq!((conversation.state, conversation.note), (State::Open, None));
    assert_eq!(kinds(&fixture.feed("c-1").await), ["message.created", "turn.completed"], "nothing to tell");
    assert!(fixture.store.unbound(5).await.expect("reads").is_empty(), "nobody looks any longer");
    fixture.store.accept(mirrored("m-2")).await.expect("accepts");
    assert!(!fixture.claim_turn(at(4)).await.is_bound, "the next message begins anew");
}

async fn only_what_is_lost_is_lost(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    for wrong in [None, Some(interaction("i-2"))] {
        assert!(!fixture.store.lose(key, wrong.as_ref(), at(1), "").await.expect("answers"));
    }
    let untouched = fixture.post("c-2", "m-1", at(2)).await;
    assert!(!fixture.store.lose(untouched, None, at(3), "").await.expect("answers"), "nothing was sent for it");
    assert_eq!(fixture.bind(untouched, "i-2", at(3)).await, Bound::Stale);
    assert_eq!(fixture.bind(key, "i-2", at(3)).await, Bound::Stale, "it is bound");
    assert_eq!(fixture.conversation("c-1").await.state, State::Open);
}

async fn owners_are_told(fixture: Fixture) {
    let first = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let second = fixture.bound_talk("c-2", "i-\"2", at(1)).await;
    let asked = [interaction("i-\"2"), interaction("i-9"), interaction("i-1")];
    let mut owners = fixture.store.owners(&asked).await.expect("reads");
    owners.sort_by_key(|(_, owner)| owner.key);
    let of = |key, conversation: &str| ConversationRef { key, frontend: web(), id: id(conversation) };
    assert_eq!(owners, [(interaction("i-1"), of(first, "c-1")), (interaction("i-\"2"), of(second, "c-2"))]);
    assert!(fixture.store.owners(&[]).await.expect("reads").is_empty());
}
