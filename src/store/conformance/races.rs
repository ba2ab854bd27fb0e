//! Many at once: no transaction undoes another's decision. With SQLite one writer ensures it, with PostgreSQL locks.

use std::collections::HashSet;

use futures_util::future::{join, join_all};

use super::{lanes::delivered, talk::*, *};

suite!(
    many_writers_leave_no_gap,
    one_message_posted_many_times_at_once_is_stored_once,
    waiting_turns_are_counted_right_by_many_at_once,
    a_turn_is_claimed_by_one,
    a_lane_is_claimed_by_one,
    one_event_found_twice_at_once_is_told_once,
    one_fini_conversation_is_bound_to_one_of_two_at_once,
    what_is_filed_while_a_lane_closes_is_delivered,
    a_replay_and_an_attempt_at_once_lose_nothing,
    erasing_and_recording_at_once_leave_nothing_behind,
);

async fn many_writers_leave_no_gap(fixture: Fixture) {
    let posts = (0..200).map(|number| {
        let message = new_message(&format!("c-{}", number % 5), &format!("m-{number}"), at(number));
        fixture.store.accept(message)
    });
    for accepted in join_all(posts).await {
        assert!(matches!(accepted, Ok(Accepted::New { .. })), "{accepted:?}");
    }
    for conversation in 0..5 {
        // Reading the feed checks its numbers.
        let feed = fixture.feed(&format!("c-{conversation}")).await;
        let distinct: HashSet<_> = feed.iter().map(|event| event["data"]["message"]["id"].to_string()).collect();
        assert_eq!((feed.len(), distinct.len()), (40, 40));
    }
}

async fn one_message_posted_many_times_at_once_is_stored_once(fixture: Fixture) {
    for round in 0..5 {
        let posts = (0..8).map(|_| fixture.store.accept(new_message("c-1", &format!("m-{round}"), at(round))));
        let accepted: Vec<_> = join_all(posts).await.into_iter().map(|accepted| accepted.expect("answers")).collect();
        let new = accepted.iter().filter(|accepted| matches!(accepted, Accepted::New { .. })).count();
        let repeated = accepted.iter().filter(|accepted| matches!(accepted, Accepted::Duplicate { .. })).count();
        assert_eq!((new, repeated), (1, 7), "{accepted:?}");
    }
    assert_eq!(fixture.feed("c-1").await.len(), 5);
}

async fn waiting_turns_are_counted_right_by_many_at_once(fixture: Fixture) {
    join_all((0..40).map(|number| {
        let conversation = format!("c-{number}");
        let fixture = &fixture;
        async move { fixture.post(&conversation, "m", at(0)).await }
    }))
    .await;
    let claims = (0..4).map(|_| fixture.claim_with(claim_of(at(1), 5)));
    let claimed: usize = join_all(claims).await.iter().map(|claimed| claimed.turns.len()).sum();
    let waiting = fixture.store.queued_turns().await.expect("counts");
    assert_eq!(waiting, [(web(), u64::try_from(40 - claimed).expect("fewer"))]);
    assert_eq!(fixture.store.backlog(&LeftAlone::default(), at(1)).await.expect("counts").queued_turns, waiting[0].1);
}

async fn a_turn_is_claimed_by_one(fixture: Fixture) {
    const TURNS: usize = 30;
    for number in 0..TURNS {
        fixture.post(&format!("c-{number}"), "m", at(0)).await;
    }
    let mut claimed = HashSet::new();
    let mut permits = HashSet::new();
    // A claim may find due turns claimed by others and return nothing; it never takes one from them.
    while claimed.len() < TURNS {
        for claim in join_all((0..6).map(|_| fixture.claim_with(claim_of(at(1), 4)))).await {
            for turn in claim.turns {
                assert!(permits.insert(turn.permit), "a permit pays for one request");
                assert!(claimed.insert(turn.key), "{:?} was handed out twice", turn.key);
            }
        }
    }
    let used = fixture.store.budget_use(Duration::from_mins(1), at(1)).await.expect("answers").used();
    assert_eq!(usize::try_from(used), Ok(TURNS));
}

async fn a_lane_is_claimed_by_one(fixture: Fixture) {
    const LANES: usize = 30;
    for number in 0..LANES {
        fixture.owing(&format!("c-{number}"), 2).await;
    }
    let mut claimed = HashSet::new();
    while claimed.len() < LANES {
        for head in join_all((0..6).map(|_| fixture.claim(at(1), 4))).await.into_iter().flatten() {
            assert_eq!(head.sequence, 2);
            assert!(claimed.insert(head.conversation.key), "{:?} was handed out twice", head.conversation);
        }
    }
    assert!(fixture.claim(at(1), LANES).await.is_empty());
}

async fn one_event_found_twice_at_once_is_told_once(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let before = fixture.feed("c-1").await.len();
    for round in 0..5 {
        let look = || {
            let events = vec![by_other_bot(&format!("agent-{round}"))];
            fixture.read(key, "i-1", Says::default(), events, at(10))
        };
        let added: usize = join_all((0..6).map(|_| look())).await.iter().map(|recorded| recorded.added).sum();
        assert_eq!(added, 1);
    }
    assert_eq!(fixture.feed("c-1").await.len(), before + 5);
}

async fn one_fini_conversation_is_bound_to_one_of_two_at_once(fixture: Fixture) {
    for round in 0..5 {
        let mut keys = Vec::new();
        for name in ["a", "b"] {
            let conversation = format!("{name}-{round}");
            let key = fixture.post(&conversation, "m", at(0)).await;
            let turn = fixture.claim_turn(at(0)).await;
            let event = format!("{conversation}-e");
            fixture.respond(&turn, vec![own_event(&event, "m"), reply(&format!("{event}-r"))], at(0)).await;
            keys.push(key);
        }
        let wanted = format!("i-{round}");
        let (one, other) = join(fixture.bind(keys[0], &wanted, at(1)), fixture.bind(keys[1], &wanted, at(1))).await;
        match (&one, &other) {
            (Bound::Now, Bound::Quarantined { owner: Some(owner) }) => assert_eq!(owner.key, keys[0]),
            (Bound::Quarantined { owner: Some(owner) }, Bound::Now) => assert_eq!(owner.key, keys[1]),
            _ => panic!("{one:?} and {other:?}"),
        }
    }
}

/// The last callback of a lane is delivered at the very moment at which the next one is filed: whichever comes first,
/// the next one has a lane.
async fn what_is_filed_while_a_lane_closes_is_delivered(fixture: Fixture) {
    let key = fixture.owing("c-1", 1).await;
    for round in 0..40 {
        let [head] = fixture.claim(at(round), 1).await.try_into().expect("what was filed has a lane");
        let done = FinishDelivery {
            keep_lane: (round % 2 == 0).then(|| lanes::lease(at(round))),
            ..delivered(&head, at(round))
        };
        let (finished, filed) = join(fixture.finish(done), fixture.store.owe(key, at(round))).await;
        assert!(finished.counted);
        filed.expect("files");
        if let Some(next) = finished.next {
            let outcome = DeliveryOutcome::Unattempted(at(round));
            fixture.finish(FinishDelivery { outcome, ..delivered(&next, at(round)) }).await;
        }
    }
}

async fn a_replay_and_an_attempt_at_once_lose_nothing(fixture: Fixture) {
    let key = fixture.owing("c-1", 1).await;
    let [first] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    fixture.finish(delivered(&first, at(0))).await;
    for round in 1..30 {
        fixture.store.owe(key, at(round)).await.expect("files");
        let [head] = fixture.claim(at(round), 1).await.try_into().expect("one head");
        let (finished, replayed) =
            join(fixture.finish(delivered(&head, at(round))), fixture.store.retry_delivery(&first.id, at(round))).await;
        assert!(finished.counted);
        replayed.expect("replays").expect("is there");
        let [again] = fixture.claim(at(round), 1).await.try_into().expect("the replayed one is due");
        assert_eq!(again.id, first.id);
        fixture.finish(delivered(&again, at(round))).await;
        assert_eq!(fixture.store.number("SELECT COUNT(*) FROM lanes").await.expect("counts"), 0);
    }
}

async fn erasing_and_recording_at_once_leave_nothing_behind(fixture: Fixture) {
    for round in 0..10 {
        let name = format!("c-{round}");
        let key = fixture.bound_talk(&name, &format!("i-{round}"), at(0)).await;
        fixture.post(&name, "m-1", at(1)).await;
        let turn = fixture.claim_turn(at(1)).await;
        let (erased, _) = join(
            fixture.store.erase(&web(), &id(&name), false, at(2)),
            fixture.respond(&turn, vec![own_event(&format!("{name}-e3"), "m-1"), reply(&format!("{name}-e4"))], at(2)),
        )
        .await;
        assert_eq!(erased.expect("erases"), Some(Some(interaction(&format!("i-{round}")))));
        assert_eq!(fixture.store.conversation(&web(), &id(&name)).await.expect("reads"), None);
        assert_eq!(fixture.claim(at(3), 5).await.len(), 0, "nothing is owed any more");
        for table in ["turns", "events", "marks", "deliveries", "lanes"] {
            let left = fixture.store.number(&format!("SELECT COUNT(*) FROM {table}")).await.expect("counts");
            assert_eq!(left, 0, "{table} of {key:?}");
        }
        assert_eq!(fixture.post(&name, "m-0", at(4)).await, fixture.conversation(&name).await.reference.key);
        fixture.store.erase(&web(), &id(&name), false, at(5)).await.expect("erases");
        assert!(fixture.store.queued_turns().await.expect("counts").is_empty());
    }
}
