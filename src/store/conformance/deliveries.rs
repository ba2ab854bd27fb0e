//! Attempts at callbacks: in order, one at a time, by the holder of the lane.

use super::{lanes::*, talk::token, *};

suite!(
    the_head_is_handed_out_with_all_that_an_attempt_needs,
    a_lane_drains_in_order_under_one_claim,
    a_lane_goes_only_as_far_as_its_head,
    a_retry_waits_for_its_time_and_counts,
    what_was_not_attempted_spends_no_attempt,
    first_attempts_and_retries_keep_to_their_permits_and_neither_waits_for_the_other,
    the_earliest_due_goes_first,
    an_outdated_token_changes_nothing,
    a_dead_letter_lets_the_lane_go_on,
    a_dead_letter_may_hold_its_lane,
    what_was_delivered_stays_on_record,
    whatever_a_receiver_answers_can_be_recorded,
    many_workers_deliver_everything_once_and_in_order,
);

async fn the_head_is_handed_out_with_all_that_an_attempt_needs(fixture: Fixture) {
    let key = fixture.owing("c-1", 1).await;
    let [head] = fixture.claim(at(7), 5).await.try_into().expect("one head");
    assert_eq!(head.conversation.key, key);
    assert_eq!((head.conversation.frontend.as_str(), head.conversation.id.as_str()), ("web", "c-1"));
    assert_eq!((head.sequence, head.kind.as_str(), head.body.as_str()), (2, "message.created", "{\"sequence\":2}"));
    assert_eq!((head.attempts, head.recorded_at), (0, at(0)));
    assert!(head.id.as_str().starts_with("dlv_") && head.event_id.as_str().starts_with("evt_"));
    assert!(fixture.claim(at(7), 5).await.is_empty(), "the lane is in somebody's hands");
}

async fn a_lane_drains_in_order_under_one_claim(fixture: Fixture) {
    fixture.owing("c-1", 4).await;
    let [mut head] = fixture.claim(at(1), 5).await.try_into().expect("one head");
    let token = head.token.clone();
    for sequence in 2..=5 {
        assert_eq!((head.sequence, &head.token), (sequence, &token));
        let finished =
            fixture.finish(FinishDelivery { keep_lane: Some(lease(at(2))), ..delivered(&head, at(2)) }).await;
        assert!(finished.counted);
        match finished.next {
            Some(next) => head = next,
            None => assert_eq!(sequence, 5),
        }
    }
    assert_eq!(fixture.store.number("SELECT COUNT(*) FROM lanes").await.expect("counts"), 0);
    assert_eq!(fixture.next_at().await, None);
}

async fn a_lane_goes_only_as_far_as_its_head(fixture: Fixture) {
    fixture.owing("c-1", 2).await;
    let [head] = fixture.claim(at(1), 5).await.try_into().expect("one head");
    let finished = fixture.finish(delivered(&head, at(2))).await;
    assert!(finished.counted && finished.next.is_none(), "nobody asked to keep the lane");
    let [next] = fixture.claim(at(2), 5).await.try_into().expect("the lane is free again");
    assert_eq!(next.sequence, 3);
    assert_ne!(next.token, head.token);
    fixture.finish(FinishDelivery { outcome: DeliveryOutcome::RetryAt(at(500)), ..delivered(&next, at(3)) }).await;
    fixture.store.owe(next.conversation.key, at(4)).await.expect("files");
    assert!(fixture.claim(at(499), 5).await.is_empty(), "what comes after the head waits for it");
    assert_eq!(fixture.claim(at(500), 5).await[0].sequence, 3);
}

async fn a_retry_waits_for_its_time_and_counts(fixture: Fixture) {
    fixture.owing("c-1", 1).await;
    let [head] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    let failed = FinishDelivery {
        outcome: DeliveryOutcome::RetryAt(at(100)),
        status: Some(503),
        error: Some("unavailable".to_owned()),
        response: Some("come back later".to_owned()),
        keep_lane: Some(lease(at(1))),
        ..delivered(&head, at(1))
    };
    let finished = fixture.finish(failed).await;
    assert!(finished.counted && finished.next.is_none());
    assert_eq!(fixture.next_at().await, Some(at(100)));
    assert!(fixture.claim(at(99), 1).await.is_empty());
    let [again] = fixture.claim(at(100), 1).await.try_into().expect("due again");
    assert_eq!((&again.id, &again.event_id, &again.body), (&head.id, &head.event_id, &head.body));
    assert_eq!(again.attempts, 1);
    let shown = fixture.shown(&head.id).await;
    assert_eq!((shown.state, shown.attempts, shown.last_status), (DeliveryState::Pending, 1, Some(503)));
    assert_eq!(shown.last_error.as_deref(), Some("unavailable"));
    assert_eq!(shown.last_response.as_deref(), Some("come back later"));
    assert_eq!(shown.next_attempt_at, Some(at(100)));
}

async fn what_was_not_attempted_spends_no_attempt(fixture: Fixture) {
    fixture.owing("c-1", 1).await;
    let [head] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    fixture.finish(FinishDelivery { outcome: DeliveryOutcome::RetryAt(at(1)), ..failed(&head, at(1)) }).await;
    let [head] = fixture.claim(at(1), 1).await.try_into().expect("one head");
    fixture.finish(FinishDelivery { outcome: DeliveryOutcome::Unattempted(at(9)), ..delivered(&head, at(2)) }).await;
    let shown = fixture.shown(&head.id).await;
    assert_eq!((shown.attempts, shown.last_status, shown.next_attempt_at), (1, Some(500), Some(at(9))));
    assert_eq!(fixture.claim(at(9), 1).await[0].attempts, 1);
}

async fn first_attempts_and_retries_keep_to_their_permits_and_neither_waits_for_the_other(fixture: Fixture) {
    for number in 0..4 {
        fixture.owing(&format!("retry-{number}"), 1).await;
    }
    for head in fixture.claim(at(0), 4).await {
        fixture.finish(FinishDelivery { outcome: DeliveryOutcome::RetryAt(at(10)), ..failed(&head, at(1)) }).await;
    }
    for number in 0..3 {
        let key = fixture.post(&format!("first-{number}"), "m", at(15)).await;
        fixture.store.owe(key, at(20)).await.expect("files");
    }
    let claimed = async |first, retries| {
        let permits = vec![DeliveryPermits { destination: main(), first, retries }];
        let claim = ClaimDeliveries { lease: lease(at(30)), token: token(), permits };
        let heads = fixture.store.claim_deliveries(claim).await.expect("claims");
        heads.into_iter().map(|head| head.attempts).collect::<Vec<_>>()
    };
    assert!(claimed(0, 0).await.is_empty());
    assert_eq!(
        claimed(2, 1).await,
        [1, 0],
        "the earliest due, no more than there are slots, retries as far as they may"
    );
    assert_eq!(claimed(1, 1).await, [1], "a retry that has waited longer goes before a first attempt");
    assert_eq!(claimed(5, 0).await, [0, 0], "and takes no slot that is not its own");
    assert!(claimed(5, 0).await.is_empty());
    assert_eq!(claimed(5, 5).await, [1, 1]);
}

async fn the_earliest_due_goes_first(fixture: Fixture) {
    for (conversation, due) in [("late", 30), ("early", 10), ("middle", 20)] {
        let key = fixture.post(conversation, "m", at(0)).await;
        fixture.store.owe(key, at(due)).await.expect("files");
    }
    assert_eq!(fixture.next_at().await, Some(at(10)));
    let order: Vec<_> = fixture.claim(at(25), 2).await.iter().map(|head| head.conversation.id.to_string()).collect();
    assert_eq!(order, ["early", "middle"], "and what is not due stays");
    let other = FrontendName::trusted("app");
    let other = Destination::main(other);
    let none = fixture.store.next_delivery_at(std::slice::from_ref(&other)).await.expect("answers");
    assert_eq!(none, None, "other frontends have nothing to do with it");
}

async fn an_outdated_token_changes_nothing(fixture: Fixture) {
    fixture.owing("c-1", 2).await;
    let [dead] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    assert!(fixture.claim(lease_end(at(0)).minus(Duration::from_millis(1)), 1).await.is_empty());
    let taken_over = lease_end(at(0));
    assert_eq!(fixture.next_at().await, Some(taken_over), "it is asked for when the lease ends");
    let [alive] = fixture.claim(taken_over, 1).await.try_into().expect("the lease has ended");
    assert_eq!(alive.id, dead.id);
    for outcome in [
        DeliveryOutcome::Delivered,
        DeliveryOutcome::RetryAt(at(1)),
        DeliveryOutcome::Unattempted(at(1)),
        DeliveryOutcome::Dead { hold_lane: true, end: DeadEnd::Exhausted },
    ] {
        let late = FinishDelivery { outcome, keep_lane: Some(lease(at(1))), ..delivered(&dead, taken_over) };
        let finished = fixture.finish(late).await;
        assert!(!finished.counted && finished.next.is_none());
    }
    let shown = fixture.shown(&dead.id).await;
    assert_eq!((shown.state, shown.attempts), (DeliveryState::Pending, 0));
    assert!(fixture.claim(taken_over, 1).await.is_empty(), "the lane is still in the right hands");
    assert!(fixture.finish(delivered(&alive, taken_over)).await.counted);
    assert!(!fixture.finish(delivered(&alive, taken_over)).await.counted, "it is over");
}

async fn a_dead_letter_lets_the_lane_go_on(fixture: Fixture) {
    fixture.owing("c-1", 2).await;
    let [head] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    let end = DeliveryOutcome::Dead { hold_lane: false, end: DeadEnd::Exhausted };
    let over = FinishDelivery { outcome: end, keep_lane: Some(lease(at(1))), ..failed(&head, at(1)) };
    let next = fixture.finish(over).await.next.expect("the next head is due");
    assert_eq!((next.sequence, &next.token), (3, &head.token));
    let shown = fixture.shown(&head.id).await;
    assert_eq!((shown.state, shown.dead_end.as_deref()), (DeliveryState::Dead, Some("exhausted")));
    assert_eq!((shown.next_attempt_at, shown.delivered_at), (None, None));
}

async fn a_dead_letter_may_hold_its_lane(fixture: Fixture) {
    let key = fixture.owing("c-1", 2).await;
    let [head] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    let end = DeliveryOutcome::Dead { hold_lane: true, end: DeadEnd::Expired };
    let over = FinishDelivery { outcome: end, keep_lane: Some(lease(at(1))), ..failed(&head, at(1)) };
    let finished = fixture.finish(over).await;
    assert!(finished.counted && finished.next.is_none());
    fixture.store.owe(key, at(2)).await.expect("files");
    assert_eq!(fixture.next_at().await, None, "a blocked lane is never due");
    assert!(fixture.claim(at(10_000_000), 1).await.is_empty());
    let waiting = fixture.all(DeliveryState::Pending).await[1].id.clone();
    fixture.store.retry_delivery(&waiting, at(3)).await.expect("hurries").expect("is there");
    assert!(fixture.claim(at(10_000_000), 1).await.is_empty(), "hurrying what waits does not let it pass");

    fixture.store.retry_delivery(&head.id, at(4)).await.expect("replays").expect("is there");
    let [head] = fixture.claim(at(4), 1).await.try_into().expect("the lane goes on");
    assert_eq!((head.sequence, head.attempts), (2, 0));
    let rest = fixture.drain(head, at(5)).await;
    assert_eq!(rest, [2, 3, 4]);
}

async fn what_was_delivered_stays_on_record(fixture: Fixture) {
    fixture.owing("c-1", 1).await;
    let [head] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    let done = FinishDelivery { status: Some(204), response: Some(String::new()), ..delivered(&head, at(5)) };
    fixture.finish(done).await;
    let shown = fixture.shown(&head.id).await;
    assert_eq!((shown.state, shown.attempts, shown.last_status), (DeliveryState::Delivered, 1, Some(204)));
    assert_eq!((shown.created_at, shown.delivered_at, shown.next_attempt_at), (at(0), Some(at(5)), None));
    assert_eq!((shown.last_error, shown.dead_end), (None, None));
}

async fn whatever_a_receiver_answers_can_be_recorded(fixture: Fixture) {
    fixture.owing("c-1", 1).await;
    let [head] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    let outcome = DeliveryOutcome::RetryAt(at(1));
    let response = Some("a\0b \u{1f980}".to_owned());
    assert!(fixture.finish(FinishDelivery { outcome, response, ..failed(&head, at(0)) }).await.counted);
    assert_eq!(fixture.shown(&head.id).await.last_response.as_deref(), Some("a\u{fffd}b \u{1f980}"));
}

/// Several workers on one outbox, each with faults: whatever they do, every conversation's callbacks arrive once and in
/// order, because only the holder of a lane's token moves it on.
async fn many_workers_deliver_everything_once_and_in_order(fixture: Fixture) {
    const LANES: usize = 12;
    const EVENTS: usize = 8;
    for number in 0..LANES {
        fixture.owing(&format!("c-{number}"), EVENTS).await;
    }
    let arrived = Arc::new(std::sync::Mutex::new(std::collections::HashMap::<String, Vec<i64>>::new()));
    let work = async |seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        while fixture.store.backlog(&LeftAlone::default(), at(0)).await.expect("counts").pending_deliveries > 0 {
            for head in fixture.claim(at(0), 3).await {
                let mut head = Some(head);
                while let Some(held) = head.take() {
                    let outcome = match random.u8(..4) {
                        0 => DeliveryOutcome::RetryAt(at(0)),
                        1 => DeliveryOutcome::Unattempted(at(0)),
                        _ => DeliveryOutcome::Delivered,
                    };
                    if matches!(outcome, DeliveryOutcome::Delivered) {
                        let mut arrived = arrived.lock().expect("no worker panics with it");
                        arrived.entry(held.conversation.id.to_string()).or_default().push(held.sequence);
                    }
                    let keep_lane = random.bool().then(|| lease(at(0)));
                    let finished =
                        fixture.finish(FinishDelivery { outcome, keep_lane, ..delivered(&held, at(0)) }).await;
                    assert!(finished.counted);
                    head = finished.next;
                }
            }
        }
    };
    futures_util::future::join_all((0..6).map(work)).await;
    let arrived = arrived.lock().expect("no worker panics with it");
    assert_eq!(arrived.len(), LANES);
    let in_order: Vec<i64> = (2..).take(EVENTS).collect();
    for (conversation, sequences) in arrived.iter() {
        assert_eq!(sequences, &in_order, "{conversation}");
    }
}
