//! The ends of a claimed turn other than an answer.

use super::{talk::*, *};
use crate::{
    domain::{
        resend::Tries,
        turn::{FailureCode, TurnState},
    },
    store::Hold,
};

suite!(
    what_was_not_sent_is_sent_again_later,
    a_claim_whose_answer_was_lost_is_void,
    an_outdated_token_changes_nothing,
    a_lost_turn_is_looked_for_and_never_sent_blindly,
    proven_absence_allows_another_send,
    what_a_send_asked_for_outlasts_the_proof,
    another_message_that_arrived_is_known,
    what_was_seen_is_never_sent_again,
    a_failure_is_told_to_the_frontend,
    a_refused_first_message_leaves_the_next_one_free,
    an_unclear_first_message_holds_the_next_one_back,
    only_what_can_fail_fails,
    looks_come_in_order_and_are_counted,
    a_dead_process_loses_its_turns,
    a_process_that_no_longer_says_that_it_lives_is_dead,
    what_waits_too_long_fails,
    what_waits_is_counted_over_restarts,
);

async fn what_was_not_sent_is_sent_again_later(fixture: Fixture) {
    fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(1)).await;
    assert!(fixture.store.release_turn(turn.key, &turn.token, at(2), at(500), "throttled").await.expect("releases"));
    assert_eq!(fixture.state_of("c-1", "m-1").await, TurnState::Queued);
    let early = fixture.claim_with(claim_of(at(499), 5)).await;
    assert_eq!((early.turns.len(), early.next), (0, Some(at(500))));
    let again = fixture.claim_turn(at(500)).await;
    assert_eq!((again.key, again.attempt, again.resends), (turn.key, 2, 0));
    assert_ne!(again.token, turn.token);
}

async fn a_claim_whose_answer_was_lost_is_void(fixture: Fixture) {
    for (conversation, message) in [("c-1", "m-1"), ("c-1", "m-2"), ("c-2", "m-1")] {
        fixture.post(conversation, message, at(0)).await;
    }
    let joining = ClaimTurns { join_window: Duration::from_millis(10), ..claim_of(at(20), 5) };
    let lost = joining.token.clone();
    assert_eq!(fixture.claim_with(joining).await.turns.len(), 2);
    assert_eq!(fixture.store.void_claim(&Token("another".into()), at(21)).await.expect("answers"), 0);
    assert_eq!(fixture.store.void_claim(&lost, at(21)).await.expect("voids"), 2);
    assert_eq!(fixture.store.void_claim(&lost, at(22)).await.expect("answers"), 0);
    // They begin anew, each message by itself, and as if nothing had been sent for them.
    let again = fixture.claim_with(claim_of(at(23), 5)).await.turns;
    let messages: Vec<_> = again.iter().map(|turn| (turn.conversation.id.as_str(), turn.messages.len())).collect();
    assert_eq!(messages, [("c-1", 1), ("c-2", 1)]);
    assert!(again.iter().all(|turn| turn.resends == 0 && turn.token != lost && !turn.is_bound));
    assert_eq!(fixture.store.void_claim(&lost, at(24)).await.expect("answers"), 0, "they are in other hands");
}

async fn an_outdated_token_changes_nothing(fixture: Fixture) {
    fixture.post("c-1", "m-1", at(0)).await;
    let old = fixture.claim_turn(at(1)).await;
    let store = &fixture.store;
    assert!(store.release_turn(old.key, &old.token, at(2), at(2), "").await.expect("releases"));
    let new = fixture.claim_turn(at(3)).await;
    assert!(!store.release_turn(old.key, &old.token, at(4), at(4), "").await.expect("answers"));
    assert!(!store.lose_sight(old.key, &old.token, at(4), at(5), at(4), "").await.expect("answers"));
    let refused = failure(FailureCode::FiniRejected);
    assert!(!store.fail_turn(old.key, Hold::Sender(old.token.clone()), at(4), &refused).await.expect("answers"));
    let recorded = fixture.respond(&old, vec![own_event("e-1", "m-1"), reply("e-2")], at(4)).await;
    assert_eq!((recorded.counted, recorded.added, recorded.turn), (false, 0, Some(TurnState::Sending)));
    assert_eq!(fixture.feed("c-1").await.len(), 1);

    let recorded = fixture.respond(&new, vec![own_event("e-1", "m-1"), reply("e-2")], at(5)).await;
    assert!(recorded.counted);
    assert!(!store.fail_turn(new.key, Hold::Sender(new.token.clone()), at(6), &refused).await.expect("answers"));
}

async fn a_lost_turn_is_looked_for_and_never_sent_blindly(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(1)).await;
    assert!(fixture.store.lose_sight(turn.key, &turn.token, at(2), at(50), at(2), "timed out").await.expect("loses"));
    fixture.assert_nothing_due(at(10_000)).await;
    assert_eq!(fixture.store.next_look_at().await.expect("reads"), Some(at(50)));
    assert!(fixture.look_due(at(49)).await.is_empty());
    let due = fixture.store.turns_to_read(at(50), 5).await.expect("reads");
    let [due] = due.as_slice() else { panic!("{due:?}") };
    assert_eq!((due.key, due.state, due.conversation.key), (turn.key, TurnState::Unclear, key));
    assert_eq!((due.sent_at, due.since, due.looks, due.tries), (at(1), at(2), 0, Tries { count: 1, since: at(1) }));
    assert_eq!((due.interaction.as_ref(), due.detail.as_str()), (None, "timed out"));
    assert_eq!(due.turn_attribute, turn.turn_attribute);
    assert_eq!(due.conversation_attribute, turn.conversation_attribute);
}

async fn proven_absence_allows_another_send(fixture: Fixture) {
    fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(1)).await;
    assert!(
        !fixture.store.prove_absent(turn.key, turn.attempt, at(2), at(2)).await.expect("answers"),
        "it is not unclear"
    );
    fixture.store.lose_sight(turn.key, &turn.token, at(2), at(3), at(2), "reset").await.expect("loses");
    assert!(fixture.store.prove_absent(turn.key, turn.attempt, at(4), at(4)).await.expect("proves"));
    assert!(!fixture.store.prove_absent(turn.key, turn.attempt, at(4), at(4)).await.expect("answers"));
    let again = fixture.claim_turn(at(4)).await;
    assert_eq!((again.key, again.attempt, again.resends), (turn.key, 2, 1));
    // A look that began before the second send says nothing about it, whenever it ends.
    fixture.store.lose_sight(again.key, &again.token, at(4), at(5), at(4), "reset").await.expect("loses");
    assert!(!fixture.store.prove_absent(turn.key, turn.attempt, at(5), at(5)).await.expect("answers"));
    fixture.store.postpone_look(turn.key, turn.attempt, at(99)).await.expect("answers");
    let unclear = failure(FailureCode::UnclearOutcome);
    let failed = fixture.store.fail_turn(turn.key, Hold::Looked(turn.attempt), at(5), &unclear).await;
    assert!(!failed.expect("answers"));
    let due = fixture.store.turns_to_read(at(5), 5).await.expect("reads");
    assert_eq!(due.iter().map(|due| (due.attempt, due.looks)).collect::<Vec<_>>(), [(2, 0)]);
    assert!(fixture.store.prove_absent(again.key, again.attempt, at(6), at(6)).await.expect("proves"));
}

async fn what_a_send_asked_for_outlasts_the_proof(fixture: Fixture) {
    fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(1)).await;
    fixture.store.lose_sight(turn.key, &turn.token, at(2), at(3), at(47), "503").await.expect("loses");
    assert!(fixture.store.prove_absent(turn.key, turn.attempt, at(20), at(21)).await.expect("proves"));
    fixture.assert_nothing_due(at(46)).await;
    let again = fixture.claim_turn(at(47)).await;
    fixture.store.lose_sight(again.key, &again.token, at(48), at(49), at(48), "503").await.expect("loses");
    let due = fixture.store.turns_to_read(at(49), 5).await.expect("reads");
    assert_eq!(due[0].tries, Tries { count: 2, since: at(1) });
}

async fn another_message_that_arrived_is_known(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(1)).await;
    fixture.store.lose_sight(turn.key, &turn.token, at(2), at(3), at(2), "503").await.expect("loses");
    let others = async |frontend: FrontendName, since| {
        fixture.store.others_arrived(&[frontend], key, since).await.expect("reads")
    };
    assert!(!others(web(), at(1)).await);
    fixture.bound_talk("c-2", "i-2", at(5)).await;
    assert!(others(web(), at(1)).await);
    assert!(!others(web(), at(500)).await, "nothing since");
    assert!(!others(FrontendName::trusted("app"), at(1)).await, "another bot's");
}

async fn what_was_seen_is_never_sent_again(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-1", "m-1", at(10)).await;
    let turn = fixture.claim_turn(at(11)).await;
    fixture.read(key, "i-1", Says::default(), vec![own_event("e-1", "m-1")], at(12)).await;
    fixture.store.lose_sight(turn.key, &turn.token, at(13), at(14), at(13), "timed out").await.expect("loses");
    assert!(!fixture.store.prove_absent(turn.key, turn.attempt, at(15), at(15)).await.expect("answers"));
    let recorded = fixture.read(key, "i-1", Says::default(), vec![own_event("e-1", "m-1")], at(16)).await;
    assert_eq!(recorded.turn, Some(TurnState::Awaiting));
}

async fn a_failure_is_told_to_the_frontend(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    let mut changes = fixture.store.listen();
    let turn = fixture.claim_turn(at(1)).await;
    let refused = failure(FailureCode::FiniRejected);
    assert!(fixture.store.fail_turn(turn.key, Hold::Sender(turn.token.clone()), at(2), &refused).await.expect("fails"));
    let view = fixture.turn("c-1", "m-1").await;
    assert_eq!(view.state, TurnState::Failed);
    let closing = json(view.events.last().expect("events"));
    assert_eq!(closing["type"], "turn.failed");
    let expected = serde_json::json!({
        "message_id": "m-1", "code": "fini_rejected", "detail": "as told", "may_resend": false
    });
    assert_eq!(closing["data"], expected);
    assert_eq!(fixture.conversation("c-1").await.pending_deliveries, 1);
    let mut heard = Vec::new();
    while !heard.contains(&Heard::Change(Change::Settled(key))) {
        heard.push(changes.next().await);
    }
    assert!(heard.contains(&Heard::Change(Change::Feed(key))));
    assert!(heard.contains(&Heard::Change(Change::Deliveries)));
}

async fn a_refused_first_message_leaves_the_next_one_free(fixture: Fixture) {
    fixture.post("c-1", "m-1", at(0)).await;
    fixture.post("c-1", "m-2", at(1)).await;
    let turn = fixture.claim_turn(at(2)).await;
    let refused = failure(FailureCode::FiniRejected);
    assert!(fixture.store.fail_turn(turn.key, Hold::Sender(turn.token.clone()), at(3), &refused).await.expect("fails"));
    let next = fixture.claim_turn(at(3)).await;
    assert_eq!((next.messages.as_slice(), next.is_bound), ([message_id("m-2")].as_slice(), false));
}

async fn an_unclear_first_message_holds_the_next_one_back(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    fixture.post("c-1", "m-2", at(1)).await;
    let turn = fixture.claim_turn(at(2)).await;
    fixture.store.lose_sight(turn.key, &turn.token, at(3), at(4), at(3), "reset").await.expect("loses");
    let unclear = failure(FailureCode::UnclearOutcome);
    assert!(fixture.store.fail_turn(turn.key, Hold::Looked(turn.attempt), at(50), &unclear).await.expect("fails"));
    fixture.assert_nothing_due(at(60)).await;
    let wanted = fixture.store.unbound(5).await.expect("reads");
    assert_eq!((wanted[0].conversation.key, wanted[0].wanted_since, wanted[0].look_at), (key, at(50), at(50)));
    assert!(fixture.store.lose(key, None, at(70), "not found").await.expect("loses"));
    assert_eq!(fixture.claim_turn(at(70)).await.messages, [message_id("m-2")]);
}

async fn only_what_can_fail_fails(fixture: Fixture) {
    let store = &fixture.store;
    fixture.post("c-1", "m-1", at(0)).await;
    let unclear = failure(FailureCode::UnclearOutcome);
    let turn = fixture.claim_turn(at(1)).await;
    assert!(
        !store.fail_turn(turn.key, Hold::Looked(turn.attempt), at(2), &unclear).await.expect("answers"),
        "its sender has it"
    );
    store.lose_sight(turn.key, &turn.token, at(2), at(3), at(2), "").await.expect("loses");
    assert!(!store.fail_turn(turn.key, Hold::Sender(turn.token.clone()), at(4), &unclear).await.expect("answers"));
    assert!(store.fail_turn(turn.key, Hold::Looked(turn.attempt), at(4), &unclear).await.expect("fails"));
    assert!(
        !store.fail_turn(turn.key, Hold::Looked(turn.attempt), at(5), &unclear).await.expect("answers"),
        "it is over"
    );
    assert_eq!(fixture.kinds("c-1", 1).await, ["turn.failed"]);
}

async fn looks_come_in_order_and_are_counted(fixture: Fixture) {
    let mut keys = Vec::new();
    for (number, look_at) in [(1, 30), (2, 10), (3, 20)] {
        fixture.post(&format!("c-{number}"), "m", at(0)).await;
        let turn = fixture.claim_turn(at(1)).await;
        fixture.store.lose_sight(turn.key, &turn.token, at(2), at(look_at), at(2), "").await.expect("loses");
        keys.push(turn.key);
    }
    assert_eq!(fixture.look_due(at(30)).await, [keys[1], keys[2], keys[0]]);
    fixture.store.postpone_look(keys[1], 1, at(99)).await.expect("postpones");
    assert_eq!(fixture.look_due(at(30)).await, [keys[2], keys[0]]);
    assert_eq!(fixture.store.next_look_at().await.expect("reads"), Some(at(20)));
    let later = fixture.store.turns_to_read(at(99), 5).await.expect("reads");
    assert_eq!(later.iter().map(|turn| turn.looks).collect::<Vec<_>>(), [0, 0, 1]);
}

async fn a_dead_process_loses_its_turns(fixture: Fixture) {
    for conversation in ["c-1", "c-2"] {
        fixture.post(conversation, "m", at(0)).await;
    }
    let theirs = fixture.claim_with(ClaimTurns { lease: lease("process-0", at(1)), ..claim_of(at(1), 1) }).await;
    let own = fixture.claim_turn(at(2)).await;
    let fixture = fixture.reopen().await;
    let store = &fixture.store;
    // A store that is not shared has no other living process, whatever its lease says.
    let expected = usize::from(!store.may_be_shared());
    assert_eq!(store.recover_turns(&lease(OWNER, at(3))).await.expect("recovers"), expected);
    assert_eq!(fixture.state_of(own.conversation.id.as_str(), "m").await, TurnState::Sending);
    let long_after = at(1_000_000);
    store.recover_turns(&lease(OWNER, long_after)).await.expect("recovers");
    for turn in [&theirs.turns[0], &own] {
        assert_eq!(fixture.state_of(turn.conversation.id.as_str(), "m").await, TurnState::Unclear);
        assert!(!fixture.respond(turn, vec![reply("e-1")], long_after).await.counted);
    }
    assert_eq!(fixture.look_due(long_after).await.len(), 2);
}

async fn a_process_that_no_longer_says_that_it_lives_is_dead(fixture: Fixture) {
    fixture.post("c-1", "m", at(0)).await;
    let turn =
        &fixture.claim_with(ClaimTurns { lease: lease("process-0", at(1)), ..claim_of(at(1), 1) }).await.turns[0];
    let store = &fixture.store;
    if !store.may_be_shared() {
        return;
    }
    let alive = Lease { until: at(15_000), ..lease("process-0", at(2)) };
    assert!(store.take_lease(&alive.owner.process_lease(), &alive).await.expect("takes"));
    assert_eq!(store.recover_turns(&lease(OWNER, at(14_999))).await.expect("recovers"), 0);
    assert_eq!(store.recover_turns(&lease("process-0", at(15_000))).await.expect("recovers"), 0, "it lives after all");
    assert_eq!(store.recover_turns(&lease(OWNER, at(15_000))).await.expect("recovers"), 1);
    assert_eq!(fixture.state_of("c-1", "m").await, TurnState::Unclear);
    assert!(!fixture.respond(turn, vec![reply("e-1")], at(15_001)).await.counted, "it is fenced off");
}

async fn what_waits_too_long_fails(fixture: Fixture) {
    fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-1", "m-1", at(10)).await;
    let sending = fixture.claim_turn(at(11)).await;
    for (conversation, message, when) in
        [("c-1", "m-2", 12), ("c-1", "m-3", 13), ("c-2", "m-1", 14), ("c-2", "m-2", 50)]
    {
        fixture.post(conversation, message, at(when)).await;
    }
    let unavailable = failure(FailureCode::FiniUnavailable);
    assert_eq!(fixture.store.expire_turns(at(100), at(50), &unavailable).await.expect("expires"), 3);
    assert_eq!(fixture.kinds("c-1", 6).await, ["turn.failed", "turn.failed"]);
    assert_eq!(fixture.state_of("c-1", "m-1").await, TurnState::Sending);
    assert_eq!(fixture.state_of("c-2", "m-2").await, TurnState::Queued);
    assert_eq!(fixture.store.queued_turns().await.expect("counts"), [(web(), 1)]);
    assert!(fixture.respond(&sending, vec![own_event("e-1", "m-1"), reply("e-2")], at(101)).await.counted);
    assert_eq!(fixture.claim_turn(at(102)).await.conversation.id, id("c-2"));
}

async fn what_waits_is_counted_over_restarts(fixture: Fixture) {
    for (conversation, message) in [("c-1", "m-1"), ("c-1", "m-2"), ("c-2", "m-1")] {
        fixture.post(conversation, message, at(0)).await;
    }
    assert_eq!(fixture.store.queued_turns().await.expect("counts"), [(web(), 3)]);
    let claimed = fixture.claim_with(claim_of(at(1), 1)).await;
    let turn = &claimed.turns[0];
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.queued_turns().await.expect("counts"), [(web(), 2)]);
    assert_eq!(fixture.conversation(turn.conversation.id.as_str()).await.queued, 1);
    assert!(fixture.store.release_turn(turn.key, &turn.token, at(2), at(2), "").await.expect("releases"));
    assert_eq!(fixture.store.queued_turns().await.expect("counts"), [(web(), 3)]);
}
