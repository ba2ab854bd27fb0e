//! Conversations of one person that Fini merges into one.

use super::{talk::*, *};
use crate::domain::{conversation::State, turn::TurnState, vendor::FiniEvent};

suite!(
    a_newer_conversation_of_the_same_person_goes_on_with_it,
    a_message_takes_it_up_again,
    while_the_other_is_being_answered_a_message_waits,
    open_turns_of_the_older_end,
    an_answer_to_the_older_is_still_recorded,
    only_one_vouched_for_person_is_the_same,
    what_the_newer_one_has_lost_begins_anew,
);

/// Posts a message of a person for whom `user` is vouched.
async fn post_by(fixture: &Fixture, conversation: &str, message: &str, user: Option<&str>, now: Timestamp) {
    let message = NewMessage { vouched_user: user.map(str::to_owned), ..new_message(conversation, message, now) };
    assert!(matches!(fixture.store.accept(message).await.expect("accepts"), Accepted::New { .. }));
}

/// Makes a conversation of a person that is bound to `i-1`; its events are `e-1` and `e-2`.
async fn older(fixture: &Fixture, user: Option<&str>) -> ConversationKey {
    post_by(fixture, "older", "m-1", user, at(0)).await;
    let turn = fixture.claim_turn(at(0)).await;
    fixture.respond(&turn, vec![own_event("e-1", "m-1"), reply("e-2")], at(1)).await;
    assert_eq!(fixture.bind(turn.conversation.key, "i-1", at(2)).await, Bound::Now);
    turn.conversation.key
}

/// Makes another one, whose message Fini puts into the same; answered by `e-5` and `e-6`.
async fn newer(fixture: &Fixture, user: Option<&str>) -> ConversationKey {
    post_by(fixture, "newer", "m-2", user, at(10)).await;
    let turn = fixture.claim_turn(at(10)).await;
    fixture.respond(&turn, vec![own_event("e-5", "m-2"), reply("e-6")], at(11)).await;
    turn.conversation.key
}

/// Returns everything in it: before the newer one began a person wrote something that nobody has read yet.
fn everything() -> Vec<FiniEvent> {
    vec![own_event("e-1", "m-1"), reply("e-2"), by_other_bot("e-3"), own_event("e-5", "m-2"), reply("e-6")]
}

async fn shown(fixture: &Fixture, conversation: &str) -> Vec<String> {
    let feed = fixture.feed(conversation).await;
    let by_fini = feed.iter().filter(|event| event["data"]["origin"] == "fini");
    by_fini.map(|event| event["data"]["message"]["id"].as_str().expect("an id").to_owned()).collect()
}

/// Makes both, and has the newer one go on with it.
async fn gone_on(fixture: &Fixture) -> (ConversationKey, ConversationKey) {
    let older = older(fixture, Some("u-1")).await;
    let newer = newer(fixture, Some("u-1")).await;
    assert_eq!(fixture.bind_to(newer, snapshot("i-1", at(0), everything()), at(12)).await, Bound::Now);
    (older, newer)
}

async fn a_newer_conversation_of_the_same_person_goes_on_with_it(fixture: Fixture) {
    let (older, newer) = gone_on(&fixture).await;
    let (one, other) = (fixture.conversation("older").await, fixture.conversation("newer").await);
    assert_eq!((one.state, one.interaction), (State::Continued, None));
    assert_eq!((other.state, other.interaction), (State::Open, Some(interaction("i-1"))));
    let feed = fixture.feed("older").await;
    let continued = feed.iter().find(|event| event["type"] == "conversation.continued").expect("is told");
    assert_eq!(continued["data"], serde_json::json!({"by": "newer"}));
    assert_eq!(feed.last().expect("events")["data"]["state"], "continued");
    // Earlier events belong to the older one; later ones go to the one in which the customer wrote last.
    let later = [everything(), vec![by_other_bot("e-7")]].concat();
    assert!(!fixture.read(older, "i-1", Says::default(), later.clone(), at(13)).await.counted);
    assert_eq!(fixture.read(newer, "i-1", Says::default(), later, at(13)).await.added, 1);
    assert_eq!(shown(&fixture, "older").await, ["e-2", "e-3"]);
    assert_eq!(shown(&fixture, "newer").await, ["e-6", "e-7"]);
    assert!(fixture.store.unbound(5).await.expect("reads").is_empty());
}

async fn a_message_takes_it_up_again(fixture: Fixture) {
    let (older, newer) = gone_on(&fixture).await;
    post_by(&fixture, "older", "m-3", Some("u-1"), at(20)).await;
    let turn = fixture.claim_turn(at(21)).await;
    assert_eq!((turn.conversation.key, turn.is_bound), (older, true));
    let (one, other) = (fixture.conversation("older").await, fixture.conversation("newer").await);
    assert_eq!(
        (one.state, one.interaction, turn.binding_version),
        (State::Open, Some(interaction("i-1")), one.binding_version)
    );
    assert_eq!((other.state, other.interaction), (State::Continued, None));
    fixture.respond(&turn, vec![own_event("e-8", "m-3"), reply("e-9")], at(22)).await;
    let later = [everything(), vec![own_event("e-8", "m-3"), reply("e-9"), by_other_bot("e-10")]].concat();
    assert!(!fixture.read(newer, "i-1", Says::default(), later.clone(), at(23)).await.counted);
    assert_eq!(fixture.read(older, "i-1", Says::default(), later, at(23)).await.added, 1);
    assert_eq!(shown(&fixture, "older").await, ["e-2", "e-3", "e-9", "e-10"]);
    assert_eq!(shown(&fixture, "newer").await, ["e-6"]);
    let told = fixture.feed("newer").await.into_iter().find(|event| event["type"] == "conversation.continued");
    assert_eq!(told.expect("is told")["data"]["by"], "older");
}

async fn while_the_other_is_being_answered_a_message_waits(fixture: Fixture) {
    let (older, newer) = gone_on(&fixture).await;
    post_by(&fixture, "newer", "m-3", Some("u-1"), at(20)).await;
    let turn = fixture.claim_turn(at(20)).await;
    assert_eq!(turn.conversation.key, newer);
    post_by(&fixture, "older", "m-4", Some("u-1"), at(21)).await;
    fixture.assert_nothing_due(at(22)).await;
    fixture.respond(&turn, vec![own_event("e-8", "m-3"), reply("e-9")], at(23)).await;
    let turn = fixture.claim_turn(at(1_000)).await;
    assert_eq!((turn.conversation.key, turn.is_bound), (older, true));
}

async fn open_turns_of_the_older_end(fixture: Fixture) {
    older(&fixture, Some("u-1")).await;
    post_by(&fixture, "older", "m-3", Some("u-1"), at(3)).await;
    let turn = fixture.claim_turn(at(3)).await;
    assert!(fixture.store.lose_sight(turn.key, &turn.token, at(4), at(4), at(4), "status 500").await.expect("loses"));
    let newer = newer(&fixture, Some("u-1")).await;
    fixture.bind_to(newer, snapshot("i-1", at(0), everything()), at(12)).await;
    let feed = fixture.feed("older").await;
    let end = feed.iter().find(|event| event["data"]["message_id"] == "m-3").expect("the end of the turn");
    assert_eq!((&end["data"]["code"], &end["data"]["may_resend"]), (&"unclear_outcome".into(), &false.into()));
    assert_eq!(fixture.state_of("older", "m-3").await, TurnState::Failed);
}

async fn an_answer_to_the_older_is_still_recorded(fixture: Fixture) {
    older(&fixture, Some("u-1")).await;
    post_by(&fixture, "older", "m-3", Some("u-1"), at(3)).await;
    let turn = fixture.claim_turn(at(3)).await;
    let newer = newer(&fixture, Some("u-1")).await;
    fixture.bind_to(newer, snapshot("i-1", at(0), everything()), at(12)).await;
    let both = [everything(), vec![own_event("e-7", "m-3"), reply("e-8")]].concat();
    let recorded = fixture.read(newer, "i-1", Says::default(), both, at(13)).await;
    assert_eq!((recorded.added, recorded.doubtful), (0, true));
    let recorded = fixture.respond(&turn, vec![own_event("e-7", "m-3"), reply("e-8")], at(14)).await;
    assert_eq!((recorded.state, recorded.turn), (Some(State::Continued), Some(TurnState::Answered)));
    assert_eq!(shown(&fixture, "older").await, ["e-2", "e-3", "e-8"]);
    assert_eq!(shown(&fixture, "newer").await, ["e-6"]);
}

async fn only_one_vouched_for_person_is_the_same(fixture: Fixture) {
    for (number, (one, other)) in
        [(None, None), (Some("u-1"), None), (Some("u-1"), Some("u-2"))].into_iter().enumerate()
    {
        let (older, newer) = (format!("older-{number}"), format!("newer-{number}"));
        let id = format!("i-{number}");
        let mut keys = Vec::new();
        for (conversation, user) in [(&older, one), (&newer, other)] {
            post_by(&fixture, conversation, "m", user, at(0)).await;
            let turn = fixture.claim_turn(at(0)).await;
            let event = format!("{conversation}-e");
            fixture.respond(&turn, vec![own_event(&event, "m"), reply(&format!("{event}-r"))], at(1)).await;
            keys.push(turn.conversation.key);
        }
        assert_eq!(fixture.bind(keys[0], &id, at(2)).await, Bound::Now);
        assert!(matches!(fixture.bind(keys[1], &id, at(3)).await, Bound::Quarantined { .. }), "{one:?} {other:?}");
    }
    // A conversation for which two persons were vouched belongs to nobody.
    older(&fixture, Some("u-1")).await;
    post_by(&fixture, "newer", "m-0", Some("u-2"), at(5)).await;
    let turn = fixture.claim_turn(at(5)).await;
    fixture.respond(&turn, vec![own_event("e-0", "m-0"), reply("e-00")], at(6)).await;
    post_by(&fixture, "newer", "m-9", Some("u-1"), at(7)).await;
    assert!(matches!(fixture.bind(turn.conversation.key, "i-1", at(8)).await, Bound::Quarantined { .. }));
}

async fn what_the_newer_one_has_lost_begins_anew(fixture: Fixture) {
    let (older, newer) = gone_on(&fixture).await;
    assert!(fixture.store.lose(newer, Some(&interaction("i-1")), at(13), "gone").await.expect("loses"));
    post_by(&fixture, "older", "m-3", Some("u-1"), at(20)).await;
    let turn = fixture.claim_turn(at(21)).await;
    assert_eq!((turn.conversation.key, turn.is_bound), (older, false));
    assert_eq!(fixture.conversation("older").await.state, State::Open);
}
