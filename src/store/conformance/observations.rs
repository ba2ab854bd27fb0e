//! Recording what Fini said: its effects on the conversation, from whichever look and however often.

use super::{talk::*, *};
use crate::domain::{
    conversation::State,
    turn::FailureCode,
    vendor::{FiniEvent, FiniKind, FiniRole},
};

suite!(
    an_event_is_shown_once_whoever_finds_it,
    what_another_conversation_saw_is_not_shown,
    a_snapshot_counts_only_for_what_is_bound_to_it,
    an_escalation_is_reported_once_and_watched_longer,
    a_conversation_is_watched_from_its_last_sign_of_life,
    the_snapshot_is_read_after_every_response,
    internal_events_never_leave,
    a_picture_of_before_says_nothing,
    a_human_takes_over_under_any_status,
    a_changed_rating_is_reported,
    what_fini_changes_of_a_message_is_told_once,
    a_message_that_turns_up_late_is_recognised,
    a_late_message_of_a_joined_turn_is_recognised_too,
    two_looks_at_the_same_time_show_an_event_once,
);

const ESCALATED: &str = "Escalated to Human Agent";
const DAY: Duration = Duration::from_hours(24);

async fn an_event_is_shown_once_whoever_finds_it(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let all = vec![own_event("c-1-e1", "m-0"), reply("c-1-e2"), by_other_bot("e-3")];
    let first = fixture.read(key, "i-1", Says::default(), all.clone(), at(10)).await;
    assert_eq!((first.added, first.new_events.len()), (1, 1));
    let second = fixture.read(key, "i-1", Says::default(), all.clone(), at(20)).await;
    assert_eq!((second.counted, second.added, second.new_events.len()), (true, 0, 0));

    fixture.post("c-1", "m-1", at(30)).await;
    let turn = fixture.claim_turn(at(31)).await;
    let everything = [all, vec![own_event("e-4", "m-1"), reply("e-5")]].concat();
    assert_eq!(fixture.respond(&turn, everything, at(32)).await.added, 2);
    let feed = fixture.feed("c-1").await;
    let shown: Vec<_> = feed.iter().filter_map(|event| event["data"]["message"]["id"].as_str()).collect();
    assert_eq!(shown, ["m-0", "c-1-e2", "e-3", "m-1", "e-5"]);
    assert_eq!(feed[3]["interaction_id"], "i-1");
}

async fn what_another_conversation_saw_is_not_shown(fixture: Fixture) {
    fixture.bound_talk("c-1", "i-1", at(0)).await;
    let other = fixture.bound_talk("c-2", "i-2", at(5)).await;
    let others = [own_event("c-1-e1", "m-0"), reply("c-1-e2")];
    let recorded = fixture.read(other, "i-2", Says::default(), others.to_vec(), at(9)).await;
    assert_eq!((recorded.added, recorded.new_events.len()), (0, 0));
    let events = [others.to_vec(), vec![own_event("c-2-e1", "m-0"), reply("e-9")]].concat();
    let recorded = fixture.read(other, "i-2", Says::default(), events, at(10)).await;
    assert_eq!((recorded.added, recorded.new_events.len()), (1, 1));
    let last = fixture.feed("c-2").await.pop().expect("events");
    assert_eq!(last["data"]["message"]["id"], "e-9");
}

async fn a_snapshot_counts_only_for_what_is_bound_to_it(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let recorded = fixture.read(key, "i-2", Says::status(ESCALATED), vec![by_agent("e-3")], at(10)).await;
    assert_eq!((recorded.counted, recorded.added, recorded.state), (false, 0, Some(State::Open)));
    let unbound = fixture.post("c-2", "m-1", at(20)).await;
    assert!(!fixture.read(unbound, "i-1", Says::default(), vec![by_agent("e-4")], at(21)).await.counted);
    let nobody = fixture.read(ConversationKey(9999), "i-1", Says::default(), vec![by_agent("e-5")], at(22)).await;
    assert_eq!(nobody, Recorded::default());
}

async fn an_escalation_is_reported_once_and_watched_longer(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.store.schedule_read(key, None, 0).await.expect("schedules");
    let recorded = fixture.read(key, "i-1", Says::status(ESCALATED), begun("c-1"), at(10)).await;
    assert_eq!((recorded.added, recorded.state), (3, Some(State::Escalated)));
    assert_eq!(
        fixture.kinds("c-1", 3).await,
        ["conversation.escalated", "handoff.requested", "conversation.status_changed"]
    );
    assert_eq!(fixture.read(key, "i-1", Says::status(ESCALATED), begun("c-1"), at(20)).await.added, 0);
    let conversation = fixture.conversation("c-1").await;
    assert_eq!((conversation.state, conversation.status_text.as_deref()), (State::Escalated, Some(ESCALATED)));
    assert_eq!(conversation.watch_until, Some(at(10).plus(7 * DAY)));

    // Another judgement is no sign that anybody has come.
    let recorded = fixture.read(key, "i-1", Says::status("In progress"), begun("c-1"), at(30)).await;
    assert_eq!((recorded.added, recorded.state), (1, Some(State::Escalated)));
    let recorded = fixture.read(key, "i-1", Says::status(ESCALATED), begun("c-1"), at(35)).await;
    assert_eq!((recorded.added, recorded.state), (1, Some(State::Escalated)), "it is the same escalation");
    let resolved = Says { resolved: Some(true), ..Says::default() };
    let recorded = fixture.read(key, "i-1", resolved, begun("c-1"), at(40)).await;
    assert_eq!((recorded.added, recorded.state), (3, Some(State::Resolved)), "the handoff ends with it");
    assert_eq!(fixture.conversation("c-1").await.watch_until, Some(at(40).plus(DAY)));
}

async fn a_conversation_is_watched_from_its_last_sign_of_life(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    assert_eq!(fixture.conversation("c-1").await.watch_until, Some(at(0).plus(DAY)));
    let known = vec![own_event("c-1-e1", "m-0"), reply("c-1-e2")];
    fixture.read(key, "i-1", Says::default(), known, at(5_000)).await;
    assert_eq!(fixture.conversation("c-1").await.watch_until, Some(at(0).plus(DAY)), "reading alone is no life");
    fixture.read(key, "i-1", Says::default(), vec![by_other_bot("e-3")], at(6_000)).await;
    assert_eq!(fixture.conversation("c-1").await.watch_until, Some(at(6_000).plus(DAY)));
}

async fn the_snapshot_is_read_after_every_response(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.store.schedule_read(key, None, 0).await.expect("schedules");
    fixture.post("c-1", "m-1", at(10)).await;
    let turn = fixture.claim_turn(at(11)).await;
    fixture.respond(&turn, vec![own_event("e-3", "m-1"), reply("e-4")], at(12)).await;
    // A sweep has the chance to bring the snapshot first.
    assert_eq!(fixture.store.due_reads(at(12), 5).await.expect("reads").len(), 0);
    let due = fixture.store.due_reads(at(12 + 3_000), 5).await.expect("reads");
    assert_eq!((due[0].conversation.key, due[0].due_at, due[0].interaction.as_str()), (key, at(12 + 3_000), "i-1"));
    // An older look does not replace it; one that shows all that the response showed does.
    fixture.read(key, "i-1", Says::default(), vec![], at(100)).await;
    assert_eq!(fixture.store.due_reads(at(5_000), 5).await.expect("reads").len(), 1);
    let all = vec![own_event("c-1-e1", "m-0"), reply("c-1-e2"), own_event("e-3", "m-1"), reply("e-4")];
    fixture.read(key, "i-1", Says::default(), all, at(200)).await;
    assert_eq!(fixture.store.due_reads(at(12_999), 5).await.expect("reads").len(), 0);
    // Its status may be judged later than the reply: it is read once more, in its turn among the rest.
    let due = fixture.store.due_reads(at(20_000), 5).await.expect("reads");
    assert_eq!((due.len(), due[0].due_at), (1, at(12 + 13_000)));
    let all = vec![own_event("c-1-e1", "m-0"), reply("c-1-e2"), own_event("e-3", "m-1"), reply("e-4")];
    let recorded = fixture.read(key, "i-1", Says::default(), all, at(12 + 10_000)).await;
    assert_eq!(recorded.judge_at, None);
    assert_eq!(fixture.store.due_reads(at(60_000), 5).await.expect("reads").len(), 0, "and not once more");
}

async fn a_picture_of_before_says_nothing(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let mut rated = begun("c-1");
    rated[1].rating.csat_rating = Some(5.into());
    let all = [rated, vec![by_agent("e-3")]].concat();
    let says = Says { status: Some(ESCALATED), resolved: Some(true), ..Says::default() };
    let recorded = fixture.read(key, "i-1", says, all.clone(), at(10)).await;
    assert_eq!(recorded.state, Some(State::Resolved));
    let told = fixture.feed("c-1").await.len();
    // It lacks known events: neither its status nor its ratings count.
    let recorded = fixture.read(key, "i-1", Says::status("Open"), begun("c-1"), at(20)).await;
    assert_eq!((recorded.added, recorded.judge_at.is_some()), (0, true));
    // It shows everything, but was read earlier.
    let source = Source::Snapshot {
        created_at: at(0),
        is_whole: false,
        interaction: interaction("i-1"),
        status: Some("Open".to_owned()),
        resolved: None,
        turn_attribute: None,
        as_of: at(9),
        look_at: at(10_000),
    };
    let record = Record { conversation: key, source, events: all.clone(), now: at(30) };
    let recorded = fixture.store.record(record).await.expect("records");
    assert_eq!((recorded.state, recorded.judge_at.is_some()), (Some(State::Resolved), true));
    assert_eq!(fixture.feed("c-1").await.len(), told);
    // An event that has been missing for longer than any lag was deleted or cut off.
    let recorded = fixture.read(key, "i-1", Says::status("Open"), begun("c-1"), at(60_011)).await;
    assert_eq!(recorded.state, Some(State::Open));
}

async fn a_human_takes_over_under_any_status(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-1", "m-1", at(10)).await;
    let turn = fixture.claim_turn(at(11)).await;
    fixture.respond(&turn, vec![own_event("e-3", "m-1")], at(12)).await;
    let all = [begun("c-1"), vec![own_event("e-3", "m-1"), by_agent("e-4")]].concat();
    let recorded = fixture.read(key, "i-1", Says::status("With Ada"), all.clone(), at(20)).await;
    assert_eq!((ends(&recorded), recorded.state), (vec![("escalated", at(10))], Some(State::Escalated)));
    let feed = fixture.feed("c-1").await;
    let escalated = feed.iter().find(|event| event["type"] == "conversation.escalated").expect("told");
    assert_eq!(escalated["data"]["reason"], "human_message");
    let given_back = [all, vec![reply("e-5")]].concat();
    let recorded = fixture.read(key, "i-1", Says::status("With Ada"), given_back, at(30)).await;
    assert_eq!(recorded.state, Some(State::Open));
}

async fn internal_events_never_leave(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let note = FiniEvent { kind: FiniKind::InternalNote, ..by_agent("e-3") };
    let timing = FiniEvent { kind: FiniKind::Debounce, ..reply("e-4") };
    assert_eq!(fixture.read(key, "i-1", Says::default(), vec![note, timing], at(10)).await.added, 0);
    assert_eq!(fixture.feed("c-1").await.len(), 3);
}

async fn a_changed_rating_is_reported(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let mut rated = begun("c-1");
    rated[1].rating.csat_rating = Some(0.into());
    for (now, added) in [(10, 1), (20, 0)] {
        assert_eq!(fixture.read(key, "i-1", Says::default(), rated.clone(), at(now)).await.added, added);
    }
    rated[1].rating.feedback = Some("thanks".to_owned());
    assert_eq!(fixture.read(key, "i-1", Says::default(), rated, at(30)).await.added, 1);
    let last = fixture.feed("c-1").await.pop().expect("events");
    let expected = serde_json::json!({
        "event_id": "c-1-e2", "csat_rating": 0, "feedback": "thanks", "approved": null
    });
    assert_eq!((&last["type"], &last["data"]), (&"feedback.updated".into(), &expected));
}

async fn what_fini_changes_of_a_message_is_told_once(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let fixture = fixture.reopen().await;
    let mut events = begun("c-1");
    events[0].tags = vec!["ours".into()];
    events[1].tags = vec!["Refund".into()];
    for (now, added) in [(10, 1), (20, 0)] {
        assert_eq!(fixture.read(key, "i-1", Says::default(), events.clone(), at(now)).await.added, added);
    }
    let last = fixture.feed("c-1").await.pop().expect("events");
    let expected = serde_json::json!({"message_id": "c-1-e2", "changed": {"tags": ["Refund"]}});
    assert_eq!((&last["type"], &last["data"]), (&"message.updated".into(), &expected));
    // A tag that a snapshot leaves out was not taken back.
    assert_eq!(fixture.read(key, "i-1", Says::default(), begun("c-1"), at(30)).await.added, 0);
    events[1].text = Some("another text".to_owned());
    assert_eq!(fixture.read(key, "i-1", Says::default(), events, at(40)).await.added, 1);
}

async fn a_message_that_turns_up_late_is_recognised(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-1", "m-1", at(10)).await;
    let turn = fixture.claim_turn(at(11)).await;
    fixture.store.lose_sight(turn.key, &turn.token, at(12), at(13), at(12), "reset").await.expect("loses");
    let unclear = failure(FailureCode::UnclearOutcome);
    fixture.store.fail_turn(turn.key, Hold::Looked(turn.attempt), at(14), &unclear).await.expect("fails");

    let recorded = fixture.read(key, "i-1", Says::default(), vec![own_event("e-3", "m-1"), reply("e-4")], at(20)).await;
    assert_eq!((recorded.added, recorded.new_events.len()), (1, 1), "the reply alone is new");
    // The same words once more are another message.
    let again = said("e-5", FiniRole::User, "text of m-1");
    assert_eq!(fixture.read(key, "i-1", Says::default(), vec![again], at(30)).await.added, 1);
}

async fn a_late_message_of_a_joined_turn_is_recognised_too(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-1", "m-1", at(10)).await;
    fixture.post("c-1", "m-2", at(10)).await;
    let joining = ClaimTurns { join_window: Duration::from_millis(1), ..claim_of(at(20), 1) };
    let turn = fixture.claim_with(joining).await.turns.remove(0);
    let recorded = fixture.respond(&turn, vec![reply("e-3")], at(21)).await;
    assert_eq!(ends(&recorded), [("answered", at(10))]);
    let sent = said("e-4", FiniRole::User, &turn.text);
    assert_eq!(fixture.read(key, "i-1", Says::default(), vec![sent], at(30)).await.added, 0);
    let part = said("e-5", FiniRole::User, "text of m-2");
    assert_eq!(fixture.read(key, "i-1", Says::default(), vec![part], at(31)).await.added, 1);
}

async fn two_looks_at_the_same_time_show_an_event_once(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let looks = (0..20).map(|_| fixture.read(key, "i-1", Says::default(), vec![by_other_bot("e-3")], at(10)));
    let added: usize = futures_util::future::join_all(looks).await.iter().map(|recorded| recorded.added).sum();
    assert_eq!(added, 1);
    assert_eq!(fixture.feed("c-1").await.len(), 4);
}
