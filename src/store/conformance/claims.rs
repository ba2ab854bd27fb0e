//! Claiming turns: the order of people, and the cost.

use super::{talk::*, *};
use crate::domain::turn::TurnState;

suite!(
    a_conversation_sends_one_at_a_time_oldest_first,
    frontends_are_served_in_rounds,
    one_person_has_one_place_among_the_others,
    somebody_who_wrote_very_much_hides_nobody,
    frontends_that_are_not_named_are_left_alone,
    the_budget_pays_for_every_claim,
    an_unbound_conversation_waits_for_its_binding,
    messages_that_wait_long_enough_go_out_as_one,
    only_one_voice_is_joined,
    a_claim_that_took_all_it_could_asks_again_at_once,
    everything_that_was_posted_is_handed_out,
);

async fn a_conversation_sends_one_at_a_time_oldest_first(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-1", "m-1", at(10)).await;
    fixture.post("c-1", "m-2", at(11)).await;
    fixture.post("c-2", "m-1", at(12)).await;
    let claimed = fixture.claim_with(claim_of(at(20), 10)).await;
    let heads: Vec<_> = claimed.turns.iter().map(|turn| (turn.conversation.id.as_str(), turn.text.as_str())).collect();
    assert_eq!(heads, [("c-1", "text of m-1"), ("c-2", "text of m-1")]);
    let first = &claimed.turns[0];
    assert_eq!(first.conversation, ConversationRef { key, frontend: web(), id: id("c-1") });
    assert_eq!((first.is_bound, first.attempt, first.resends, first.accepted_at), (true, 1, 0, at(10)));
    assert_eq!(first.binding_version, fixture.conversation("c-1").await.binding_version);
    assert_eq!(claimed.next, None, "what waits behind a turn in flight is not due by time");
    assert_eq!(fixture.state_of("c-1", "m-1").await, TurnState::Sending);
    assert_eq!(fixture.state_of("c-1", "m-2").await, TurnState::Queued);

    fixture.assert_nothing_due(at(30)).await;
    fixture.respond(first, vec![own_event("e-3", "m-1"), reply("e-4")], at(40)).await;
    assert_eq!(fixture.claim_turn(at(40)).await.messages, [message_id("m-2")]);
}

async fn frontends_are_served_in_rounds(fixture: Fixture) {
    for number in 0..5 {
        fixture.post(&format!("busy-{number}"), "m", at(number)).await;
    }
    let app = FrontendName::trusted("app");
    for number in 0..2 {
        let other = new_message(&format!("calm-{number}"), "m", at(100));
        fixture.store.accept(NewMessage { frontend: app.clone(), ..other }).await.expect("accepts");
    }
    let claim = ClaimTurns { frontends: vec![web(), app], ..claim_of(at(200), 5) };
    let claimed = fixture.claim_with(claim).await;
    let order: Vec<_> = claimed.turns.iter().map(|turn| turn.conversation.id.as_str()).collect();
    assert_eq!(order, ["busy-0", "calm-0", "busy-1", "calm-1", "busy-2"]);
}

/// Stores a message of a known person.
async fn post_of(fixture: &Fixture, user: &str, conversation: &str, now: Timestamp) {
    let known = NewMessage { vouched_user: Some(user.to_owned()), ..new_message(conversation, "m", now) };
    assert!(matches!(fixture.store.accept(known).await.expect("accepts"), Accepted::New { .. }));
}

/// Claims conversations one by one, a second apart, and returns them.
async fn handed_out(fixture: &Fixture, from: i64, count: usize) -> Vec<String> {
    let mut order = Vec::new();
    for number in 0..count {
        let now = at(from + 1000 * i64::try_from(number).expect("small"));
        let claimed = fixture.claim_with(claim_of(now, 1)).await;
        order.extend(claimed.turns.iter().map(|turn| turn.conversation.id.as_str().to_owned()));
    }
    order
}

async fn one_person_has_one_place_among_the_others(fixture: Fixture) {
    for number in 0..6 {
        post_of(&fixture, "flood", &format!("flood-{number}"), at(number)).await;
    }
    for number in 0..3 {
        post_of(&fixture, &format!("u-{number}"), &format!("c-{number}"), at(10 + number)).await;
    }
    fixture.post("nobody", "m", at(20)).await;
    let order = handed_out(&fixture, 100, 4).await;
    assert_eq!(order, ["flood-0", "c-0", "c-1", "c-2"]);
    // A newcomer has waited for less long than the one who was served at the beginning, and longer than one served since.
    post_of(&fixture, "u-9", "late", at(3_500)).await;
    let order = handed_out(&fixture, 4_100, 4).await;
    assert_eq!(order, ["nobody", "flood-1", "late", "flood-2"]);
    // All at once: a round over people, as long as there are several.
    for number in 0..2 {
        post_of(&fixture, "u-5", &format!("five-{number}"), at(8_500 + number)).await;
    }
    let claimed = fixture.claim_with(claim_of(at(9_000), 10)).await;
    let order: Vec<_> = claimed.turns.iter().map(|turn| turn.conversation.id.as_str()).collect();
    assert_eq!(order, ["flood-3", "five-0", "flood-4", "five-1", "flood-5"]);
}

async fn somebody_who_wrote_very_much_hides_nobody(fixture: Fixture) {
    for number in 0..40 {
        post_of(&fixture, "flood", &format!("flood-{number}"), at(number)).await;
        post_of(&fixture, "second", &format!("second-{number}"), at(number)).await;
    }
    fixture.post("c-1", "m", at(50)).await;
    fixture.post("c-2", "m", at(51)).await;
    let mut order = handed_out(&fixture, 100, 4).await;
    order[..2].sort();
    assert_eq!(order, ["flood-0", "second-0", "c-1", "c-2"]);
}

async fn frontends_that_are_not_named_are_left_alone(fixture: Fixture) {
    fixture.post("c-1", "m", at(0)).await;
    let claim = ClaimTurns { frontends: vec![FrontendName::trusted("app")], ..claim_of(at(1), 5) };
    let claimed = fixture.claim_with(claim).await;
    assert!(claimed.turns.is_empty() && claimed.next.is_none());
    assert_eq!(fixture.claim_with(ClaimTurns { frontends: vec![], ..claim_of(at(1), 5) }).await.turns.len(), 0);
}

async fn the_budget_pays_for_every_claim(fixture: Fixture) {
    for number in 0..3 {
        fixture.post(&format!("c-{number}"), "m", at(number)).await;
    }
    let budget = BudgetTerms { limit: 2, window: Duration::from_mins(1), share: 1, ..BudgetTerms::default() };
    let claimed = fixture.claim_with(ClaimTurns { budget, ..claim_of(at(10), 5) }).await;
    assert_eq!(claimed.turns.len(), 2);
    assert!(claimed.held_by_budget);
    assert_eq!(claimed.next, Some(at(60_010)));
    assert_ne!(claimed.turns[0].permit, claimed.turns[1].permit);
    let used = fixture.store.budget_use(budget.window, at(11)).await.expect("reads");
    assert_eq!(used.by_class, [2, 0, 0, 0]);

    let claimed = fixture.claim_with(ClaimTurns { budget, ..claim_of(at(60_009), 5) }).await;
    assert!(claimed.turns.is_empty() && claimed.held_by_budget);
    let claimed = fixture.claim_with(ClaimTurns { budget, ..claim_of(at(60_010), 5) }).await;
    assert_eq!((claimed.turns.len(), claimed.held_by_budget, claimed.next), (1, false, None));
}

async fn an_unbound_conversation_waits_for_its_binding(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    fixture.post("c-1", "m-2", at(1)).await;
    let turn = fixture.claim_turn(at(2)).await;
    assert!(!turn.is_bound);
    fixture.respond(&turn, vec![own_event("e-1", "m-1"), reply("e-2")], at(3)).await;
    fixture.assert_nothing_due(at(4)).await;
    assert_eq!(fixture.bind(key, "i-1", at(5)).await, Bound::Now);
    assert_eq!(fixture.claim_turn(at(6)).await.messages, [message_id("m-2")]);
}

async fn messages_that_wait_long_enough_go_out_as_one(fixture: Fixture) {
    let joining = |now| ClaimTurns { join_window: Duration::from_millis(100), ..claim_of(now, 5) };
    fixture.post("c-1", "m-1", at(0)).await;
    fixture.post("c-1", "m-2", at(60)).await;
    let early = fixture.claim_with(joining(at(99))).await;
    assert!(early.turns.is_empty());
    assert_eq!(early.next, Some(at(100)));

    let claimed = fixture.claim_with(joining(at(100))).await;
    let [turn] = claimed.turns.as_slice() else { panic!("{claimed:?}") };
    assert_eq!(turn.messages, [message_id("m-1"), message_id("m-2")]);
    assert_eq!((turn.text.as_str(), turn.accepted_at), ("text of m-1\ntext of m-2", at(0)));
    assert_eq!(fixture.state_of("c-1", "m-2").await, TurnState::Sending);
    let used = fixture.store.budget_use(Duration::from_mins(1), at(100)).await.expect("reads");
    assert_eq!(used.used(), 1, "one turn is one request");

    // Given back, they part again, and a third one may join them.
    fixture.post("c-1", "m-3", at(110)).await;
    assert!(fixture.store.release_turn(turn.key, &turn.token, at(120), at(130), "busy").await.expect("releases"));
    let claimed = fixture.claim_with(joining(at(130))).await;
    assert_eq!(claimed.turns[0].messages.len(), 3);
    assert_eq!(claimed.turns[0].attempt, 2);
}

async fn only_one_voice_is_joined(fixture: Fixture) {
    let post = |message: InboundMessage| fixture.store.accept(wrap(message, at(0)));
    let user = |name: &str, by: &str| InboundMessage {
        user_id: Some(by.to_owned()),
        ..inbound("c-1", name, &format!("text of {name}"), Role::User)
    };
    post(user("m-1", "u-1")).await.expect("accepts");
    let mut second = user("m-2", "u-1");
    second.attributes.insert("plan".to_owned(), "Pro".into());
    post(second).await.expect("accepts");
    post(user("m-3", "u-2")).await.expect("accepts");
    post(inbound("c-2", "m-1", "from the desk", Role::Agent)).await.expect("accepts");
    post(inbound("c-2", "m-2", "from the desk", Role::Agent)).await.expect("accepts");

    // A desk's message never waits for its next one: each is mirrored at once, by itself.
    let joining = |now| ClaimTurns { join_window: Duration::from_millis(100), ..claim_of(now, 5) };
    let claimed = fixture.claim_with(joining(at(1))).await;
    let [turn] = claimed.turns.as_slice() else { panic!("{claimed:?}") };
    assert_eq!((turn.role, turn.messages.len()), (Role::Agent, 1));
    let claimed = fixture.claim_with(joining(at(100))).await;
    let [turn] = claimed.turns.as_slice() else { panic!("{claimed:?}") };
    assert_eq!(turn.messages, [message_id("m-1"), message_id("m-2")]);
    assert_eq!(turn.user_id.as_deref(), Some("u-1"));
    assert_eq!(turn.attributes["plan"], "Pro", "the latest word counts");
}

async fn a_claim_that_took_all_it_could_asks_again_at_once(fixture: Fixture) {
    for number in 0..3 {
        fixture.post(&format!("c-{number}"), "m", at(0)).await;
    }
    let claimed = fixture.claim_with(claim_of(at(5), 2)).await;
    assert_eq!((claimed.turns.len(), claimed.held_by_budget, claimed.next), (2, false, Some(at(5))));
}

async fn everything_that_was_posted_is_handed_out(fixture: Fixture) {
    let message = InboundMessage {
        user_id: Some("u-9".to_owned()),
        attributes: Map::from_iter([("email".to_owned(), Value::from("c@example.com"))]),
        channel: Some("chat".to_owned()),
        metadata: Map::from_iter([("page".to_owned(), Value::from(7))]),
        ..inbound("c-1", "m-1", "Wo ist mein Paket? 📦", Role::OtherBot)
    };
    fixture.store.accept(wrap(message.clone(), at(0))).await.expect("accepts");
    let fixture = fixture.reopen().await;
    let turn = fixture.claim_turn(at(1)).await;
    assert_eq!((turn.text, turn.role, turn.user_id), (message.text, message.role, message.user_id));
    assert_eq!((turn.attributes, turn.channel, turn.metadata), (message.attributes, message.channel, message.metadata));
    assert_ne!(turn.turn_attribute, turn.conversation_attribute);
}
