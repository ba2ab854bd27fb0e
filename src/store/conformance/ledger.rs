//! Recording what Fini said: its effects on the turn.

use super::{talk::*, *};
use crate::domain::{
    conversation::State,
    turn::TurnState,
    vendor::{FiniKind, FiniRole},
};

suite!(
    an_answer_is_recorded_in_one_go,
    every_message_of_a_joined_turn_gets_its_own_end,
    a_late_reply_is_found_by_reading,
    an_empty_response_leaves_the_outcome_unclear,
    a_reader_does_not_settle_what_a_sender_waits_for,
    nobody_answers_a_mirrored_message,
    the_turn_attribute_alone_proves_nothing,
    silence_and_handover_end_a_turn,
    only_wanted_events_are_filed,
    a_message_without_a_reply_holds_the_next_for_the_hold_window,
    a_reply_is_told_of_its_own_message_whatever_was_sent_meanwhile,
    late_turns_end_like_others,
    a_message_seen_before_its_answer_holds_from_then_on,
    a_mark_survives_a_restart,
);

async fn an_answer_is_recorded_in_one_go(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(1)).await;
    let recorded = fixture.respond(&turn, vec![own_event("e-1", "m-1"), reply("e-2")], at(50)).await;
    assert_eq!((recorded.counted, recorded.added), (true, 2));
    assert_eq!(recorded.turn, Some(TurnState::Answered));
    assert_eq!(ends(&recorded), [("answered", at(0))]);
    assert_eq!(recorded.new_events, [at(0)], "our own message is no news");

    let feed = fixture.feed("c-1").await;
    assert_eq!(kinds(&feed), ["message.created", "message.created", "turn.completed"]);
    assert_eq!(feed[1]["data"]["origin"], "fini");
    assert_eq!(feed[1]["data"]["in_reply_to"], "m-1");
    assert_eq!(feed[1]["data"]["message"]["id"], "e-2");
    assert_eq!(feed[1]["data"]["message"]["author"], "bot");
    assert_eq!(feed[2]["data"], serde_json::json!({"message_id": "m-1", "outcome": "answered", "replies": 1}));
    let view = fixture.turn("c-1", "m-1").await;
    assert_eq!((view.state, view.events.len()), (TurnState::Answered, 3));

    let conversation = fixture.conversation("c-1").await;
    assert_eq!(conversation.pending_deliveries, 2, "what the frontend posted is not called back");
    assert_eq!((conversation.last_sequence, conversation.updated_at), (3, SHOWN));
    let unbound = fixture.store.unbound(5).await.expect("reads");
    assert_eq!((unbound[0].conversation.key, unbound[0].wanted_since), (key, at(50)));
}

async fn every_message_of_a_joined_turn_gets_its_own_end(fixture: Fixture) {
    for message in ["m-1", "m-2", "m-3"] {
        fixture.post("c-1", message, at(0)).await;
    }
    let joining = ClaimTurns { join_window: Duration::from_millis(10), ..claim_of(at(10), 1) };
    let turn = fixture.claim_with(joining).await.turns.remove(0);
    let sent = said("e-1", FiniRole::User, &turn.text);
    let recorded = fixture.respond(&turn, vec![sent, reply("e-2")], at(20)).await;
    assert_eq!(recorded.added, 4);
    let feed = fixture.feed("c-1").await;
    let ends: Vec<_> = feed[4..].iter().map(|event| event["data"]["message_id"].as_str().expect("an id")).collect();
    assert_eq!(ends, ["m-1", "m-2", "m-3"]);
    assert_eq!(feed[3]["data"]["in_reply_to"], "m-3", "a reply answers the last of them");

    // Each of them shows its own message, the reply and its own end.
    for message in ["m-1", "m-2", "m-3"] {
        let view = fixture.turn("c-1", message).await;
        assert_eq!(view.state, TurnState::Answered);
        let events: Vec<_> = view.events.iter().map(|body| json(body)).collect();
        assert_eq!(kinds(&events), ["message.created", "message.created", "turn.completed"]);
        assert_eq!(events[0]["data"]["message"]["id"], message);
        assert_eq!(events[1]["data"]["message"]["id"], "e-2");
        assert_eq!(events[2]["data"]["message_id"], message);
    }
}

async fn a_late_reply_is_found_by_reading(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(1)).await;
    let recorded = fixture.respond(&turn, vec![own_event("e-1", "m-1")], at(10)).await;
    assert_eq!((recorded.turn, recorded.added, ends(&recorded)), (Some(TurnState::Awaiting), 0, vec![]));
    assert_eq!(fixture.look_due(at(10_010)).await, [turn.key]);
    fixture.bind(key, "i-1", at(20)).await;
    fixture.post("c-1", "m-2", at(25)).await;
    fixture.assert_nothing_due(at(29)).await;

    let events = vec![own_event("e-1", "m-1"), reply("e-2")];
    let recorded = fixture.read(key, "i-1", Says::default(), events, at(30)).await;
    assert_eq!((recorded.turn, ends(&recorded)), (Some(TurnState::Answered), vec![("answered", at(0))]));
    assert_eq!(fixture.turn("c-1", "m-1").await.events.len(), 3);
    assert!(fixture.look_due(at(20_000)).await.is_empty());
    assert_eq!(fixture.claim_turn(at(30)).await.messages, [message_id("m-2")]);
}

async fn an_empty_response_leaves_the_outcome_unclear(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(1)).await;
    let recorded = fixture.respond(&turn, vec![], at(10)).await;
    assert_eq!(recorded.turn, Some(TurnState::Unclear));
    assert_eq!(fixture.look_due(at(10_010)).await, [turn.key]);
    let unbound = fixture.store.unbound(5).await.expect("reads");
    assert_eq!(
        (unbound[0].wanted_since, unbound[0].open.as_ref().map(|open| open.text.as_str())),
        (at(10), Some("text of m-1"))
    );

    fixture.bind(key, "i-1", at(20)).await;
    let recorded = fixture.read(key, "i-1", Says::default(), vec![own_event("e-1", "m-1")], at(30)).await;
    assert_eq!(recorded.turn, Some(TurnState::Awaiting), "it is there, its reply is not");
    assert_eq!(fixture.look_due(at(10_030)).await, [turn.key]);
    let recorded = fixture.read(key, "i-1", Says::default(), vec![own_event("e-1", "m-1"), reply("e-2")], at(40)).await;
    assert_eq!(recorded.turn, Some(TurnState::Answered));
}

async fn a_reader_does_not_settle_what_a_sender_waits_for(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-1", "m-1", at(10)).await;
    let turn = fixture.claim_turn(at(11)).await;
    let events = vec![own_event("c-1-e1", "m-0"), reply("c-1-e2"), own_event("e-1", "m-1"), reply("e-2")];
    let recorded = fixture.read(key, "i-1", Says::default(), events, at(12)).await;
    let stays = (1, Some(TurnState::Sending), vec![]);
    assert_eq!((recorded.added, recorded.turn, ends(&recorded)), stays, "the reply is shown at once");
    assert_eq!(fixture.state_of("c-1", "m-1").await, TurnState::Sending);

    let recorded = fixture.respond(&turn, vec![own_event("e-1", "m-1"), reply("e-2")], at(13)).await;
    assert_eq!((recorded.added, recorded.turn), (1, Some(TurnState::Answered)), "and not a second time");
    assert!(recorded.new_events.is_empty());
    let feed = fixture.feed("c-1").await;
    assert_eq!(kinds(&feed[3..]), ["message.created", "message.created", "turn.completed"]);
    assert_eq!(feed[5]["data"]["replies"], 1);
    assert_eq!(fixture.turn("c-1", "m-1").await.events.len(), 3);
}

async fn nobody_answers_a_mirrored_message(fixture: Fixture) {
    let desk = wrap(inbound("c-1", "m-1", "text of m-1", Role::Agent), at(0));
    fixture.store.accept(desk).await.expect("accepts");
    let turn = fixture.claim_turn(at(1)).await;
    let recorded = fixture.respond(&turn, vec![said("e-1", FiniRole::Agent, "text of m-1")], at(2)).await;
    assert_eq!((recorded.turn, ends(&recorded)), (Some(TurnState::Stored), vec![("stored", at(0))]));
    let feed = fixture.feed("c-1").await;
    assert_eq!(kinds(&feed), ["message.created", "turn.completed"], "our own words do not come back");
    assert_eq!(feed[1]["data"]["outcome"], "stored");
}

async fn the_turn_attribute_alone_proves_nothing(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    for (role, message, then) in [(Role::User, "m-1", TurnState::Awaiting), (Role::Agent, "m-2", TurnState::Stored)] {
        fixture.store.accept(wrap(inbound("c-1", message, "hi", role), at(10))).await.expect("accepts");
        let turn = fixture.claim_turn(at(11)).await;
        fixture.store.lose_sight(turn.key, &turn.token, at(12), at(13), at(12), "reset").await.expect("loses");
        let other = Says { turn_attribute: Some("another".to_owned()), ..Says::default() };
        assert_eq!(fixture.read(key, "i-1", other, vec![], at(14)).await.turn, Some(TurnState::Unclear));
        let own = Says { turn_attribute: Some(turn.turn_attribute.clone()), ..Says::default() };
        assert_eq!(fixture.read(key, "i-1", own, vec![], at(15)).await.turn, Some(TurnState::Unclear), "{role:?}");
        let fini_role = if role == Role::User { FiniRole::User } else { FiniRole::Agent };
        let event = said(&format!("e-{message}"), fini_role, "hi");
        let recorded = fixture.read(key, "i-1", Says::default(), vec![event.clone()], at(16)).await;
        assert_eq!(recorded.turn, Some(then), "{role:?}: only the event does");
        if then == TurnState::Awaiting {
            fixture.read(key, "i-1", Says::default(), vec![event, reply("e-2")], at(17)).await;
        }
    }
}

async fn silence_and_handover_end_a_turn(fixture: Fixture) {
    for (conversation, kind, outcome) in
        [("c-1", FiniKind::NoReply, "no_reply"), ("c-2", FiniKind::SilentEscalation, "escalated")]
    {
        fixture.post(conversation, "m-1", at(0)).await;
        let turn = fixture.claim_turn(at(1)).await;
        let ids = [format!("{conversation}-e1"), format!("{conversation}-e2")];
        let recorded =
            fixture.respond(&turn, vec![own_event(&ids[0], "m-1"), of_kind(kind, reply(&ids[1]))], at(2)).await;
        assert_eq!(recorded.turn, Some(TurnState::Answered));
        assert_eq!(ends(&recorded), [(outcome, at(0))]);
        let last = fixture.feed(conversation).await.pop().expect("events");
        assert_eq!(last["data"], serde_json::json!({"message_id": "m-1", "outcome": outcome, "replies": 0}));
    }
    let view = fixture.turn("c-2", "m-1").await;
    let events: Vec<_> = view.events.iter().map(|body| json(body)).collect();
    let all = [
        "message.created",
        "conversation.escalated",
        "handoff.requested",
        "conversation.status_changed",
        "turn.completed",
    ];
    assert_eq!(kinds(&events), all);
}

async fn only_wanted_events_are_filed(fixture: Fixture) {
    let quiet = FrontendName::trusted("quiet");
    let message = NewMessage { frontend: quiet.clone(), ..new_message("c-1", "m-1", at(0)) };
    fixture.store.accept(message).await.expect("accepts");
    let claim = ClaimTurns { frontends: vec![quiet.clone()], ..claim_of(at(1), 1) };
    let turn = fixture.claim_with(claim).await.turns.remove(0);
    assert_eq!(fixture.respond(&turn, vec![own_event("e-1", "m-1"), reply("e-2")], at(2)).await.added, 2);
    let conversation = fixture.store.conversation(&quiet, &id("c-1")).await.expect("reads").expect("is there");
    assert_eq!((conversation.last_sequence, conversation.pending_deliveries), (3, 0));
}

async fn a_message_without_a_reply_holds_the_next_for_the_hold_window(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-1", "m-1", at(10)).await;
    fixture.post("c-1", "m-2", at(10)).await;
    let first = fixture.claim_turn(at(11)).await;
    fixture.assert_nothing_due(at(60_000)).await;
    assert_eq!(fixture.respond(&first, vec![own_event("e-3", "m-1")], at(12)).await.turn, Some(TurnState::Awaiting));
    let held = fixture.claim_with(claim_of(at(20_011), 10)).await;
    assert_eq!((held.turns.len(), held.next), (0, Some(at(20_012))));
    let second = fixture.claim_turn(at(20_012)).await;
    assert_eq!(second.messages, [message_id("m-2")]);
    assert_eq!(fixture.state_of("c-1", "m-1").await, TurnState::Late);
    assert_eq!(fixture.look_due(at(60_000)).await, [first.key], "it is looked for as before");

    // Messages that come meanwhile wait for the second alone, and are held no longer either.
    fixture.post("c-1", "m-3", at(20_020)).await;
    fixture.assert_nothing_due(at(60_000)).await;
    fixture.respond(&second, vec![own_event("e-4", "m-2")], at(20_030)).await;
    fixture.post("c-1", "m-4", at(20_040)).await;
    fixture.assert_nothing_due(at(40_029)).await;
    assert_eq!(fixture.claim_turn(at(40_030)).await.messages, [message_id("m-3")]);
    let fixture = fixture.reopen().await;
    fixture.assert_nothing_due(at(60_000)).await;
    let all =
        [begun("c-1"), vec![own_event("e-3", "m-1"), reply("e-5"), own_event("e-4", "m-2"), reply("e-6")]].concat();
    let recorded = fixture.read(key, "i-1", Says::default(), all, at(40_040)).await;
    assert_eq!(ends(&recorded), [("answered", at(10)), ("answered", at(10))]);
}

async fn a_reply_is_told_of_its_own_message_whatever_was_sent_meanwhile(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    for message in ["m-1", "m-2"] {
        fixture.post("c-1", message, at(10)).await;
    }
    let first = fixture.claim_turn(at(11)).await;
    fixture.respond(&first, vec![own_event("e-3", "m-1")], at(12)).await;
    let second = fixture.claim_turn(at(20_012)).await;
    // Until Fini answers, the turn of this reply cannot be told.
    let shown = [begun("c-1"), vec![own_event("e-3", "m-1"), own_event("e-4", "m-2"), reply("e-5")]].concat();
    let recorded = fixture.read(key, "i-1", Says::default(), shown.clone(), at(20_013)).await;
    assert_eq!((recorded.added, recorded.doubtful), (0, true));
    let recorded = fixture.respond(&second, vec![own_event("e-4", "m-2"), reply("e-6")], at(20_014)).await;
    assert_eq!(ends(&recorded), [("answered", at(10))]);
    let shown = [shown, vec![reply("e-6")]].concat();
    let recorded = fixture.read(key, "i-1", Says::default(), shown, at(20_015)).await;
    assert_eq!((ends(&recorded), recorded.turn), (vec![("answered", at(10))], None));
    let feed = fixture.feed("c-1").await;
    let answers: Vec<_> = feed.iter().filter(|event| event["data"]["in_reply_to"].is_string()).collect();
    let answers: Vec<_> =
        answers.iter().map(|event| (&event["data"]["message"]["id"], &event["data"]["in_reply_to"])).collect();
    assert_eq!(answers[1..], [(&"e-6".into(), &"m-2".into()), (&"e-5".into(), &"m-1".into())]);
    let view = fixture.turn("c-1", "m-1").await;
    let events: Vec<_> = view.events.iter().map(|body| json(body)).collect();
    assert_eq!(kinds(&events), ["message.created", "message.created", "turn.completed"]);
    assert_eq!(events[2]["data"], serde_json::json!({"message_id": "m-1", "outcome": "answered", "replies": 1}));
}

async fn late_turns_end_like_others(fixture: Fixture) {
    let late = async |conversation: &str| {
        let key = fixture.bound_talk(conversation, &format!("i-{conversation}"), at(0)).await;
        fixture.post(conversation, "m-1", at(10)).await;
        let first = fixture.claim_turn(at(11)).await;
        let sent = own_event(&format!("{conversation}-e3"), "m-1");
        fixture.respond(&first, vec![sent], at(12)).await;
        fixture.post(conversation, "m-2", at(13)).await;
        (key, first, fixture.claim_turn(at(20_012)).await)
    };
    let failed = crate::domain::turn::FailureCode::NoReplyInTime;
    let (_, first, _) = late("c-1").await;
    let hold = Hold::Looked(first.attempt);
    assert!(fixture.store.fail_turn(first.key, hold, at(20_020), &failure(failed)).await.expect("fails"));
    assert_eq!(fixture.kinds("c-1", 5).await, ["turn.failed"]);

    let (key, _, second) = late("c-2").await;
    fixture.respond(&second, vec![own_event("c-2-e4", "m-2"), reply("c-2-e5")], at(20_021)).await;
    let all = [
        begun("c-2"),
        vec![own_event("c-2-e3", "m-1"), own_event("c-2-e4", "m-2"), reply("c-2-e5"), by_agent("c-2-e6")],
    ];
    let recorded = fixture.read(key, "i-c-2", Says::default(), all.concat(), at(20_030)).await;
    assert_eq!((ends(&recorded), recorded.state), (vec![("escalated", at(10))], Some(State::Escalated)));

    let (key, ..) = late("c-3").await;
    assert!(fixture.store.lose(key, Some(&interaction("i-c-3")), at(20_040), "gone").await.expect("loses"));
    assert_eq!(fixture.state_of("c-3", "m-1").await, TurnState::Failed);
    assert_eq!(fixture.state_of("c-3", "m-2").await, TurnState::Failed);
}

async fn a_message_seen_before_its_answer_holds_from_then_on(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-1", "m-1", at(10)).await;
    fixture.post("c-1", "m-2", at(10)).await;
    let first = fixture.claim_turn(at(11)).await;
    let seen = [begun("c-1"), vec![own_event("e-3", "m-1")]].concat();
    fixture.read(key, "i-1", Says::default(), seen, at(1_000)).await;
    fixture.assert_nothing_due(at(60_000)).await;
    // Its request ends without an answer: Fini provably has the message, and has had it for long.
    fixture
        .store
        .lose_sight(first.key, &first.token, at(120_000), at(121_000), at(120_000), "deadline")
        .await
        .expect("records");
    assert_eq!(fixture.state_of("c-1", "m-1").await, TurnState::Awaiting);
    assert_eq!(fixture.claim_turn(at(120_000)).await.messages, [message_id("m-2")]);
}

async fn a_mark_survives_a_restart(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let fixture = fixture.reopen().await;
    let events = vec![own_event("c-1-e1", "m-0"), reply("c-1-e2"), reply("e-3")];
    assert_eq!(fixture.read(key, "i-1", Says::default(), events.clone(), at(10)).await.added, 1);
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.read(key, "i-1", Says::default(), events, at(20)).await.added, 0);
    assert_eq!(fixture.feed("c-1").await.len(), 4);
}
