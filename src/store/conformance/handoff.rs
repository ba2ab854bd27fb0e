//! The right to speak to the customer, in the transaction that records.

use super::{talk::*, *};
use crate::domain::{
    conversation::State,
    event::EscalationReason,
    handoff::{Agent, Desk, Place, Speaker},
    turn::TurnState,
};

suite!(
    a_reply_on_its_way_is_withheld_from_the_claim_on_and_shown_after_the_return,
    a_claim_is_exclusive_and_one_of_two_at_once_gets_it,
    every_way_in_leads_to_one_request_that_says_what_is_known,
    a_push_that_nobody_knows_is_kept_until_its_conversation_is_bound,
    words_of_an_action_that_may_be_another_customers_are_left_out,
    waiting_and_its_end_are_told_once_whoever_looks,
    a_desk_claims_by_speaking_and_its_words_are_idle_no_longer,
    a_handoff_survives_a_kill_and_ends_with_an_erasure,
);

fn agent(id: &str) -> Agent {
    Agent { id: id.to_owned(), name: format!("Agent {id}"), avatar_url: None }
}

fn claim(by: &str, joins: bool) -> HandoffAct {
    HandoffAct::Claim { agent: agent(by), joins }
}

fn request() -> HandoffAct {
    HandoffAct::Request { reason: EscalationReason::Requested, note: Some("in a hurry".to_owned()), begins: false }
}

impl Fixture {
    async fn act(&self, act: HandoffAct, now: Timestamp) -> HandedOff {
        self.store.hand_off(&web(), &id("c-1"), act, now).await.expect("answers")
    }

    async fn done(&self, act: HandoffAct, now: Timestamp) -> Conversation {
        match self.act(act, now).await {
            HandedOff::Done(found) => *found,
            other => panic!("{other:?}"),
        }
    }

    async fn speaker(&self) -> Speaker {
        self.conversation("c-1").await.handoff.speaker()
    }
}

async fn a_reply_on_its_way_is_withheld_from_the_claim_on_and_shown_after_the_return(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-1", "m-1", at(10)).await;
    let turn = fixture.claim_turn(at(10)).await;
    assert_eq!(turn.speaker, None, "Fini is told of no human before there was one");
    let claimed = fixture.done(claim("ada", false), at(20)).await;
    assert_eq!((claimed.handoff.speaker(), claimed.state), (Speaker::Human, State::Escalated));
    let recorded = fixture.respond(&turn, vec![own_event("e-3", "m-1"), reply("e-4")], at(30)).await;
    assert_eq!((recorded.turn, ends(&recorded)), (Some(TurnState::Stored), vec![("stored", at(10))]));
    let feed = fixture.feed("c-1").await;
    assert_eq!(
        kinds(&feed[4..]),
        ["handoff.claimed", "conversation.status_changed", "message.created", "turn.completed"]
    );
    assert_eq!((&feed[6]["data"]["withheld"], &feed[7]["data"]["replies"]), (&true.into(), &0.into()));

    // Messages found by reading are withheld too, and so are their changes.
    let mut changed = reply("e-4");
    changed.text = Some("another text".to_owned());
    fixture
        .read(key, "i-1", Says::default(), [begun("c-1"), vec![own_event("e-3", "m-1"), changed]].concat(), at(40))
        .await;
    assert_eq!(fixture.feed("c-1").await.len(), 8);
    fixture.post("c-1", "m-2", at(50)).await;
    let turn = fixture.claim_turn(at(50)).await;
    assert_eq!(turn.speaker, Some(Speaker::Human));
    let recorded = fixture.respond(&turn, vec![own_event("e-5", "m-2")], at(60)).await;
    assert_eq!(recorded.turn, Some(TurnState::Stored), "no answer is awaited");

    fixture.done(HandoffAct::Return, at(70)).await;
    assert_eq!(fixture.kinds("c-1", 10).await, ["handoff.returned", "conversation.status_changed"]);
    fixture.post("c-1", "m-3", at(80)).await;
    let turn = fixture.claim_turn(at(80)).await;
    assert_eq!(turn.speaker, Some(Speaker::Bot), "Fini is told that the bot has it again");
    let recorded = fixture.respond(&turn, vec![own_event("e-6", "m-3"), reply("e-7")], at(90)).await;
    assert_eq!(recorded.turn, Some(TurnState::Answered));
    let last = fixture.feed("c-1").await;
    assert!(last[last.len() - 2]["data"].get("withheld").is_none());
    assert_eq!(fixture.act(HandoffAct::Return, at(100)).await, HandedOff::NoHandoff);
}

async fn a_claim_is_exclusive_and_one_of_two_at_once_gets_it(fixture: Fixture) {
    assert_eq!(fixture.act(claim("ada", false), at(0)).await, HandedOff::Unknown);
    fixture.post("c-1", "m-1", at(0)).await;
    let (web, c_1) = (web(), id("c-1"));
    let by = |agent: &str| fixture.store.hand_off(&web, &c_1, claim(agent, false), at(1));
    let (one, other) = tokio::join!(by("ada"), by("bob"));
    let both = [one.expect("answers"), other.expect("answers")];
    let won = both.iter().filter(|done| matches!(done, HandedOff::Done(_))).count();
    let owner = fixture.conversation("c-1").await.handoff.agent().cloned().expect("somebody");
    assert_eq!(won, 1);
    assert!(both.contains(&HandedOff::AlreadyClaimed(owner.clone())));
    fixture.done(claim(&owner.id, false), at(2)).await;
    assert_eq!(fixture.kinds("c-1", 1).await, ["handoff.claimed", "conversation.status_changed"], "once per agent");

    fixture.done(claim("eve", true), at(3)).await;
    fixture.done(HandoffAct::Leave { agent: Some(owner.id) }, at(4)).await;
    let left = fixture.done(HandoffAct::Leave { agent: None }, at(5)).await;
    assert_eq!((left.handoff.speaker(), left.handoff.is_fenced()), (Speaker::Waiting, true));
    let told = ["handoff.agent_joined", "handoff.agent_left", "handoff.agent_left"];
    assert_eq!(fixture.kinds("c-1", 3).await, told);
}

async fn every_way_in_leads_to_one_request_that_says_what_is_known(fixture: Fixture) {
    fixture
        .store
        .set_desk(&web(), &Desk { open: false, next_open: Some("2027-01-04T08:00:00Z".to_owned()) })
        .await
        .expect("notes");
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let mut message = inbound("c-1", "m-1", "text of m-1", Role::User);
    message.user_id = Some("u-9".to_owned());
    message.attributes = serde_json::from_str(r#"{"plan":"Pro"}"#).expect("JSON");
    fixture.store.accept(wrap(message, at(10))).await.expect("accepts");
    let turn = fixture.claim_turn(at(10)).await;
    let mut tagged = reply("e-4");
    tagged.tags = vec!["billing".into(), "angry".into()];
    fixture.respond(&turn, vec![own_event("e-3", "m-1"), tagged], at(11)).await;

    fixture.done(request(), at(20)).await;
    fixture.done(request(), at(21)).await;
    let meant = Meant { interaction: Some(interaction("i-1")), attribute: None };
    let pushed =
        fixture.store.push(meant, Some("by the action".to_owned()), at(22)).await.expect("takes").expect("known");
    assert_eq!((pushed.handoff.speaker(), pushed.position), (Speaker::Waiting, Some(1)));
    assert!(pushed.desk.is_some_and(|desk| !desk.open));
    fixture.read(key, "i-1", Says::status("Escalated to Human Agent"), begun("c-1"), at(30)).await;
    let feed = fixture.feed("c-1").await;
    let of = |kind: &str| feed.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    let (escalated, requested) = (of("conversation.escalated"), of("handoff.requested"));
    assert_eq!((escalated.len(), requested.len()), (1, 1));
    assert_eq!(
        requested[0]["data"],
        json(
            r#"{"reason":"requested","note":"in a hurry","user":{"id":"u-9","attributes":{"plan":"Pro"}},
                "tags":["billing","angry"],"desk_open":false,"next_open":"2027-01-04T08:00:00Z"}"#
        )
    );
    let sequence = |event: &Value| event["sequence"].as_i64().expect("a number");
    assert_eq!(sequence(requested[0]), sequence(escalated[0]) + 1);

    let place = Place { position: 2, expected_wait_seconds: Some(90) };
    fixture.done(HandoffAct::Position(place), at(40)).await;
    fixture.done(HandoffAct::Position(place), at(41)).await;
    assert_eq!(fixture.conversation("c-1").await.handoff.place(), Some(place));
    fixture.done(claim("ada", false), at(50)).await;
    assert_eq!(fixture.act(HandoffAct::Position(place), at(51)).await, HandedOff::NoHandoff, "nobody waits any more");
    let last = fixture.feed("c-1").await;
    assert_eq!(kinds(&last[last.len() - 2..]), ["handoff.position", "handoff.claimed"]);
    assert_eq!(fixture.store.words(key, 1).await.expect("reads").len(), 1);
    assert_eq!(fixture.store.words(key, 50).await.expect("reads").len(), 4);
}

async fn words_of_an_action_that_may_be_another_customers_are_left_out(fixture: Fixture) {
    fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.bound_talk("c-2", "i-2", at(1)).await;
    let push = async |id: &str, words: &str, now| {
        let meant = Meant { interaction: Some(interaction(id)), attribute: None };
        fixture.store.push(meant, Some(words.to_owned()), now).await.expect("takes").expect("known")
    };
    let noted = async |conversation: &str| {
        let feed = fixture.feed(conversation).await;
        let requested = feed.iter().find(|event| event["type"] == "handoff.requested").expect("is told");
        requested["data"]["note"].clone()
    };
    push("i-1", "nobody else begins", at(10)).await;
    assert_eq!(noted("c-1").await, "nobody else begins");
    // Fini may be putting this one into any conversation that it has.
    fixture.post("c-3", "m-1", at(11)).await;
    fixture.claim_turn(at(11)).await;
    push("i-2", "somebody else begins", at(12)).await;
    assert_eq!(noted("c-2").await, Value::Null);
}

async fn a_push_that_nobody_knows_is_kept_until_its_conversation_is_bound(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    let turn = fixture.claim_turn(at(0)).await;
    let meant = Meant { interaction: Some(interaction("i-1")), attribute: None };
    assert_eq!(fixture.store.push(meant, Some("urgent".to_owned()), at(1)).await.expect("takes"), None);
    let (open, kept) = fixture.store.open_handoffs(None, 10).await.expect("lists");
    assert_eq!((open.len(), kept.len(), kept[0].note.as_deref()), (0, 1, Some("urgent")));
    fixture.respond(&turn, vec![own_event("e-1", "m-1"), reply("e-2")], at(2)).await;
    assert_eq!(fixture.bind(key, "i-1", at(3)).await, Bound::Now);
    let conversation = fixture.conversation("c-1").await;
    assert_eq!((conversation.handoff.speaker(), conversation.state), (Speaker::Waiting, State::Escalated));
    assert_eq!(conversation.handoff.reason(), Some(EscalationReason::Action));
    let (open, kept) = fixture.store.open_handoffs(Some(&web()), 10).await.expect("lists");
    assert_eq!((open.len(), kept.len()), (1, 0));
    // By our own key the conversation is known earlier.
    let by_key = Meant { interaction: Some(interaction("i-1")), attribute: Some(turn.conversation_attribute) };
    assert!(fixture.store.meant(&by_key).await.expect("reads").is_some());
    let foreign = Meant { interaction: Some(interaction("i-9")), ..by_key };
    assert_eq!(
        fixture.store.meant(&foreign).await.expect("reads"),
        None,
        "a key on another conversation proves nothing"
    );
}

async fn waiting_and_its_end_are_told_once_whoever_looks(fixture: Fixture) {
    fixture.post("c-1", "m-1", at(0)).await;
    fixture.done(request(), at(0)).await;
    assert_eq!(fixture.store.next_handoff_at().await.expect("tells"), Some(at(60_000)));
    assert_eq!(fixture.store.tick_handoffs(at(59_999), 10).await.expect("looks"), []);
    for now in [at(60_000), at(60_000), at(300_000), at(600_000), at(600_000)] {
        let (one, other) = tokio::join!(fixture.store.tick_handoffs(now, 10), fixture.store.tick_handoffs(now, 10));
        assert!(one.expect("looks").len() + other.expect("looks").len() <= 1);
    }
    let feed = fixture.feed("c-1").await;
    let told: Vec<&Value> = feed[4..].iter().map(|event| &event["data"]).collect();
    let expected = [
        r#"{"waiting_seconds":60}"#,
        r#"{"waiting_seconds":300}"#,
        r#"{"waited_seconds":600,"then":"stay","text":null}"#,
    ]
    .map(json);
    assert_eq!(told, expected.iter().collect::<Vec<_>>());
    let (waiting, since) = fixture.store.waiting_for_humans().await.expect("counts");
    assert_eq!((waiting, since), (1, Some(at(0))));
    fixture.done(claim("ada", false), at(700_000)).await;
    assert_eq!(fixture.store.waiting_for_humans().await.expect("counts"), (0, None));
}

async fn a_desk_claims_by_speaking_and_its_words_are_idle_no_longer(fixture: Fixture) {
    fixture.post("c-1", "m-1", at(0)).await;
    fixture.done(request(), at(1)).await;
    let word = |message: &str, by: Option<&str>, now| NewMessage {
        agent: by.map(agent),
        ..wrap(inbound("c-1", message, "I am here", Role::Agent), now)
    };
    for now in [at(10), at(11)] {
        fixture.store.accept(word("d-1", Some("ada"), now)).await.expect("accepts");
    }
    assert_eq!(fixture.kinds("c-1", 4).await, ["handoff.claimed", "message.created"], "a repeat claims nothing");
    fixture.store.accept(word("d-2", Some("bob"), at(12))).await.expect("accepts");
    fixture.store.accept(word("d-3", None, at(13))).await.expect("accepts");
    let told = ["handoff.agent_joined", "message.created", "message.created"];
    assert_eq!(fixture.kinds("c-1", 6).await, told);
    let day = 24 * 3_600_000;
    assert_eq!(fixture.store.tick_handoffs(at(day + 12), 10).await.expect("looks"), []);
    fixture.post("c-1", "m-2", at(day)).await;
    // The customer's message counts too.
    fixture.store.tick_handoffs(at(day + 13), 10).await.expect("looks");
    assert_eq!(fixture.speaker().await, Speaker::Human);
    fixture.store.tick_handoffs(at(2 * day), 10).await.expect("looks");
    assert_eq!(fixture.speaker().await, Speaker::Bot);
    let feed = fixture.feed("c-1").await;
    assert_eq!(kinds(&feed[feed.len() - 2..]), ["handoff.returned", "conversation.status_changed"]);
    assert_eq!(feed[feed.len() - 2]["data"]["by"], "idle");
    // A conversation that begins with a desk's message has that as its first event.
    let begins = NewMessage {
        agent: Some(agent("ada")),
        ..wrap(inbound("c-2", "d-1", "How can I help?", Role::Agent), at(2 * day))
    };
    fixture.store.accept(begins).await.expect("accepts");
    let told = ["message.created", "handoff.claimed", "conversation.status_changed"];
    assert_eq!(fixture.kinds("c-2", 0).await, told);
}

async fn a_handoff_survives_a_kill_and_ends_with_an_erasure(fixture: Fixture) {
    fixture.post("c-1", "m-1", at(0)).await;
    let before = fixture.done(claim("ada", false), at(1)).await.handoff;
    let fixture = fixture.reopen().await;
    let after = fixture.conversation("c-1").await.handoff;
    assert_eq!((&after, after.claimed_at()), (&before, Some(SHOWN)));
    assert!(fixture.store.erase(&web(), &id("c-1"), false, at(2)).await.expect("erases").is_some());
    assert_eq!(
        fixture.store.number("SELECT COUNT(*) FROM conversations WHERE handoff IS NOT NULL").await.expect("n"),
        0
    );
    assert_eq!(fixture.store.next_handoff_at().await.expect("tells"), None);
    fixture.post("c-1", "m-1", at(3)).await;
    assert_eq!(fixture.speaker().await, Speaker::Bot);
}
