//! Messages of erased conversations that turn up afterwards; and looks with very many events.

use super::{talk::*, *};
use crate::domain::{turn::TurnState, vendor::FiniEvent};

suite!(
    a_message_that_was_on_its_way_is_told_to_nobody,
    what_its_late_answer_names_stays_its_own,
    what_was_answered_before_anybody_knew_where_is_told_to_nobody,
    whoever_comes_into_its_fini_conversation_is_kept_apart,
    what_cannot_turn_up_any_more_is_forgotten,
    a_look_with_very_many_events_is_told_in_order,
    an_answer_with_very_many_events_ends_its_turn_once,
);

/// Makes a conversation `kept` that is bound to `i-1`, and one whose first message is on its way.
async fn on_its_way(fixture: &Fixture) -> (ConversationKey, ClaimedTurn) {
    let kept = fixture.bound_talk("kept", "i-1", at(0)).await;
    fixture.post("erased", "m-9", at(10)).await;
    (kept, fixture.claim_turn(at(10)).await)
}

async fn erase(fixture: &Fixture, now: Timestamp) {
    fixture.store.erase(&web(), &id("erased"), false, now).await.expect("erases").expect("it was there");
}

fn joined() -> Vec<FiniEvent> {
    [begun("kept"), vec![own_event("e-8", "m-9"), reply("e-9")]].concat()
}

async fn a_message_that_was_on_its_way_is_told_to_nobody(fixture: Fixture) {
    let (kept, _) = on_its_way(&fixture).await;
    erase(&fixture, at(11)).await;
    // While its answer may come, and after that.
    assert_eq!(fixture.read(kept, "i-1", Says::default(), joined(), at(12)).await.added, 0);
    assert_eq!(fixture.read(kept, "i-1", Says::default(), joined(), at(4_000)).await.added, 0);
    // The next message of its customer and the answers to that are shown again.
    fixture.post("kept", "m-2", at(4_001)).await;
    let turn = fixture.claim_turn(at(4_001)).await;
    let answer = vec![own_event("e-20", "m-2"), reply("e-21")];
    assert_eq!(fixture.respond(&turn, answer.clone(), at(4_002)).await.turn, Some(TurnState::Answered));
    let later = [joined(), answer, vec![by_agent("e-22")]].concat();
    assert!(fixture.read(kept, "i-1", Says::default(), later, at(4_003)).await.added >= 1);
    let told = serde_json::to_string(&fixture.feed("kept").await).expect("JSON");
    assert!(told.contains("e-22") && !told.contains("e-8") && !told.contains("e-9"), "{told}");
}

async fn what_its_late_answer_names_stays_its_own(fixture: Fixture) {
    let (kept, turn) = on_its_way(&fixture).await;
    erase(&fixture, at(11)).await;
    assert!(!fixture.respond(&turn, vec![own_event("e-8", "m-9"), reply("e-9")], at(12)).await.counted);
    assert_eq!(fixture.read(kept, "i-1", Says::default(), joined(), at(13)).await.added, 0);
    // A further word of the bot, before its own customer has spoken again, may be meant for either.
    let later = [joined(), vec![reply("e-10")]].concat();
    let recorded = fixture.read(kept, "i-1", Says::default(), later, at(14)).await;
    assert_eq!((recorded.added, recorded.withheld), (0, 1));
}

async fn what_was_answered_before_anybody_knew_where_is_told_to_nobody(fixture: Fixture) {
    let (kept, turn) = on_its_way(&fixture).await;
    fixture.respond(&turn, vec![own_event("e-8", "m-9"), reply("e-9")], at(11)).await;
    erase(&fixture, at(12)).await;
    assert_eq!(fixture.read(kept, "i-1", Says::default(), joined(), at(13)).await.added, 0);
}

async fn whoever_comes_into_its_fini_conversation_is_kept_apart(fixture: Fixture) {
    let (_, turn) = on_its_way(&fixture).await;
    fixture.respond(&turn, vec![own_event("e-8", "m-9"), reply("e-9")], at(11)).await;
    erase(&fixture, at(12)).await;
    fixture.post("next", "m-3", at(20)).await;
    let turn = fixture.claim_turn(at(20)).await;
    fixture.respond(&turn, vec![own_event("e-20", "m-3"), reply("e-21")], at(21)).await;
    let both = vec![own_event("e-8", "m-9"), reply("e-9"), own_event("e-20", "m-3"), reply("e-21")];
    let bound = fixture.bind_to(turn.conversation.key, snapshot("i-2", at(10), both), at(22)).await;
    assert_eq!(bound, Bound::Quarantined { owner: None });
}

async fn what_cannot_turn_up_any_more_is_forgotten(fixture: Fixture) {
    let (kept, _) = on_its_way(&fixture).await;
    erase(&fixture, at(11)).await;
    let day = Duration::from_hours(24);
    let later = at(11).plus(day + day);
    fixture.store.prune(later, Duration::from_hours(24 * 365), 100).await.expect("prunes");
    let recorded = fixture.read(kept, "i-1", Says::default(), joined(), later).await;
    assert!(recorded.added > 0, "the same words, days later, are somebody else's");
}

/// More than one part of a look.
const MANY: usize = 1_234;

fn many() -> Vec<FiniEvent> {
    (0..MANY).map(|number| by_other_bot(&format!("x-{number}"))).collect()
}

async fn a_look_with_very_many_events_is_told_in_order(fixture: Fixture) {
    let kept = fixture.bound_talk("kept", "i-1", at(0)).await;
    let before = fixture.feed("kept").await.len();
    let look = [begun("kept"), many()].concat();
    let recorded = fixture.read(kept, "i-1", Says::status("Resolved"), look.clone(), at(10)).await;
    assert_eq!((recorded.counted, recorded.new_events.len()), (true, MANY));
    let feed = fixture.feed("kept").await;
    let told: Vec<&str> =
        feed.iter().skip(before).filter_map(|event| event["data"]["message"]["id"].as_str()).collect();
    let ids: Vec<String> = (0..MANY).map(|number| format!("x-{number}")).collect();
    assert_eq!(told, ids);
    assert_eq!(recorded.added, feed.len() - before, "what the status says comes once, with the last part");
    assert_eq!(fixture.read(kept, "i-1", Says::status("Resolved"), look, at(11)).await.added, 0);
}

async fn an_answer_with_very_many_events_ends_its_turn_once(fixture: Fixture) {
    fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(0)).await;
    let replies = (0..MANY).map(|number| reply(&format!("x-{number}")));
    let recorded = fixture.respond(&turn, [own_event("e-1", "m-1")].into_iter().chain(replies).collect(), at(1)).await;
    assert_eq!((recorded.turn, recorded.ended.len()), (Some(TurnState::Answered), 1));
    let feed = fixture.feed("c-1").await;
    let end = feed.last().expect("events");
    assert_eq!((&end["type"], &end["data"]["replies"]), (&"turn.completed".into(), &MANY.into()));
    assert!(feed.iter().filter(|event| event["data"]["in_reply_to"] == "m-1").count() == MANY);
}
