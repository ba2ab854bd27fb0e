//! Deliveries as operators see them.

use super::{lanes::*, *};
use crate::domain::ids::DeliveryId;

suite!(
    a_dead_letter_is_replayed_under_a_fresh_schedule,
    a_replay_keeps_its_old_place_in_the_lane,
    what_was_delivered_can_be_sent_again,
    a_pending_one_is_hurried,
    a_replay_under_way_does_not_disturb_an_attempt,
    what_is_not_there_is_not_replayed,
    dead_letters_are_replayed_by_filter,
    many_dead_letters_are_replayed_in_batches,
    pages_are_newest_first_and_complete,
    lists_are_filtered,
);

/// Makes the heads that are due dead letters.
async fn bury(fixture: &Fixture, now: Timestamp, lanes: usize) -> Vec<ClaimedDelivery> {
    let heads = fixture.claim(now, lanes).await;
    for head in &heads {
        let outcome = DeliveryOutcome::Dead { hold_lane: false, end: DeadEnd::Exhausted };
        fixture.finish(FinishDelivery { outcome, ..failed(head, now) }).await;
    }
    heads
}

async fn a_dead_letter_is_replayed_under_a_fresh_schedule(fixture: Fixture) {
    fixture.owing("c-1", 1).await;
    for attempt in 0..3 {
        let [head] = fixture.claim(at(attempt), 1).await.try_into().expect("one head");
        let outcome = DeliveryOutcome::RetryAt(at(attempt + 1));
        fixture.finish(FinishDelivery { outcome, ..failed(&head, at(attempt)) }).await;
    }
    let [dead] = bury(&fixture, at(3), 1).await.try_into().expect("one head");
    assert_eq!(dead.attempts, 3);
    let shown = fixture.store.retry_delivery(&dead.id, at(10)).await.expect("replays").expect("is there");
    assert_eq!((shown.state, shown.attempts, shown.replays), (DeliveryState::Pending, 4, 1));
    assert_eq!((shown.next_attempt_at, shown.dead_end), (Some(at(10)), None));
    let [again] = fixture.claim(at(10), 1).await.try_into().expect("due at once");
    assert_eq!((&again.id, &again.event_id, &again.body), (&dead.id, &dead.event_id, &dead.body));
    assert_eq!(again.attempts, 0, "the schedule begins anew");
    fixture.finish(FinishDelivery { outcome: DeliveryOutcome::RetryAt(at(11)), ..failed(&again, at(10)) }).await;
    assert_eq!(fixture.claim(at(11), 1).await[0].attempts, 1);
    assert_eq!(fixture.shown(&dead.id).await.attempts, 5, "but what was tried is not forgotten");
}

async fn a_replay_keeps_its_old_place_in_the_lane(fixture: Fixture) {
    fixture.owing("c-1", 3).await;
    let [first] = bury(&fixture, at(0), 1).await.try_into().expect("one head");
    fixture.store.retry_delivery(&first.id, at(5)).await.expect("replays").expect("is there");
    let [head] = fixture.claim(at(5), 1).await.try_into().expect("one head");
    assert_eq!(fixture.drain(head, at(6)).await, [2, 3, 4]);
}

async fn what_was_delivered_can_be_sent_again(fixture: Fixture) {
    fixture.owing("c-1", 1).await;
    let [head] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    fixture.finish(delivered(&head, at(1))).await;
    let shown = fixture.store.retry_delivery(&head.id, at(2)).await.expect("replays").expect("is there");
    assert_eq!((shown.state, shown.delivered_at, shown.replays), (DeliveryState::Pending, None, 1));
    let [again] = fixture.claim(at(2), 1).await.try_into().expect("due at once");
    assert_eq!((&again.event_id, &again.body), (&head.event_id, &head.body));
}

async fn a_pending_one_is_hurried(fixture: Fixture) {
    fixture.owing("c-1", 1).await;
    let [head] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    fixture.finish(FinishDelivery { outcome: DeliveryOutcome::RetryAt(at(10_000)), ..failed(&head, at(1)) }).await;
    let shown = fixture.store.retry_delivery(&head.id, at(5)).await.expect("hurries").expect("is there");
    assert_eq!((shown.next_attempt_at, shown.replays), (Some(at(5)), 0));
    let [again] = fixture.claim(at(5), 1).await.try_into().expect("due at once");
    assert_eq!(again.attempts, 0);
}

async fn a_replay_under_way_does_not_disturb_an_attempt(fixture: Fixture) {
    fixture.owing("c-1", 2).await;
    let [first] = bury(&fixture, at(0), 1).await.try_into().expect("one head");
    let [second] = fixture.claim(at(1), 1).await.try_into().expect("the lane went on");
    fixture.store.retry_delivery(&first.id, at(2)).await.expect("replays").expect("is there");
    assert!(fixture.claim(at(2), 1).await.is_empty(), "one at a time");
    let done = FinishDelivery { keep_lane: Some(lease(at(3))), ..delivered(&second, at(3)) };
    let finished = fixture.finish(done).await;
    assert!(finished.counted);
    assert_eq!(finished.next.map(|next| next.sequence), Some(2));
}

async fn what_is_not_there_is_not_replayed(fixture: Fixture) {
    let nobody = DeliveryId::trusted("dlv_none");
    assert_eq!(fixture.store.retry_delivery(&nobody, at(0)).await.expect("answers"), None);
    assert_eq!(fixture.store.delivery(&nobody).await.expect("answers"), None);
}

async fn dead_letters_are_replayed_by_filter(fixture: Fixture) {
    for (conversation, recorded) in [("old", 10), ("mid", 20), ("new", 30)] {
        let key = fixture.post(conversation, "m", at(0)).await;
        fixture.store.owe(key, at(recorded)).await.expect("files");
    }
    assert_eq!(bury(&fixture, at(40), 5).await.len(), 3);
    let retry = async |filter: DeliveryFilter| fixture.store.retry_deliveries(&filter, at(50)).await.expect("replays");
    let all = DeliveryFilter::default;
    assert_eq!(retry(DeliveryFilter { frontend: Some(FrontendName::trusted("app")), ..all() }).await, 0);
    assert_eq!(retry(DeliveryFilter { state: Some(DeliveryState::Delivered), ..all() }).await, 0);
    assert_eq!(retry(DeliveryFilter { since: Some(at(20)), until: Some(at(30)), ..all() }).await, 1);
    assert_eq!(fixture.claim(at(50), 5).await[0].conversation.id.as_str(), "mid");
    assert_eq!(retry(DeliveryFilter { conversation: Some(ConversationId::trusted("new")), ..all() }).await, 1);
    assert_eq!(retry(DeliveryFilter { frontend: Some(web()), state: Some(DeliveryState::Dead), ..all() }).await, 1);
    assert_eq!(retry(all()).await, 0);
    assert_eq!(fixture.all(DeliveryState::Dead).await, []);
}

async fn many_dead_letters_are_replayed_in_batches(fixture: Fixture) {
    let key = fixture.owing("c-1", 1).await;
    fixture
        .store
        .execute(&format!(
            "WITH RECURSIVE numbers (n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1209) \
             INSERT INTO events (conversation_key, sequence, id, kind, body, recorded_at) \
                SELECT {key}, n, 'evt_' || n, 'message.created', '{{}}', 0 FROM numbers; \
             INSERT INTO deliveries (id, conversation_key, frontend, sequence, event_id, kind, state, attempts, \
                    recorded_at, finished_at) \
                SELECT 'dlv_' || sequence, {key}, 'web', sequence, id, kind, 'dead', 11, 0, 1 FROM events \
                WHERE conversation_key = {key} AND sequence >= 10",
            key = key.0
        ))
        .await
        .expect("fills");
    let retried = fixture.store.retry_deliveries(&DeliveryFilter::default(), at(0)).await.expect("replays");
    assert_eq!(retried, 1200);
    assert_eq!(fixture.store.backlog(&LeftAlone::default(), at(0)).await.expect("counts").pending_deliveries, 1201);
    assert_eq!(fixture.claim(at(0), 5).await.len(), 1, "they are all in one lane");
}

async fn pages_are_newest_first_and_complete(fixture: Fixture) {
    fixture.owing("c-1", 5).await;
    fixture.owing("c-2", 2).await;
    let mut seen = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = fixture.store.deliveries(&DeliveryFilter::default(), cursor.as_deref(), 3).await.expect("lists");
        assert!(page.deliveries.len() <= 3);
        seen.extend(page.deliveries.into_iter().map(|shown| (shown.conversation_id.to_string(), shown.sequence)));
        // A delivery filed between two pages is newer than the cursor and moves nothing.
        fixture.owing(&format!("later-{}", seen.len()), 1).await;
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<_> = [("c-2", 3), ("c-2", 2), ("c-1", 6), ("c-1", 5), ("c-1", 4), ("c-1", 3), ("c-1", 2)]
        .map(|(conversation, sequence)| (conversation.to_owned(), sequence))
        .into();
    assert_eq!(seen, expected);
    let nowhere = fixture.store.deliveries(&DeliveryFilter::default(), Some("no cursor"), 3).await.expect("answers");
    assert_eq!(nowhere, DeliveryPage::default());
}

async fn lists_are_filtered(fixture: Fixture) {
    for (conversation, recorded) in [("a", 10), ("b", 20), ("c", 30)] {
        let key = fixture.post(conversation, "m", at(0)).await;
        fixture.store.owe(key, at(recorded)).await.expect("files");
    }
    bury(&fixture, at(10), 5).await;
    let list = async |filter: DeliveryFilter| {
        let page = fixture.store.deliveries(&filter, None, 10).await.expect("lists");
        page.deliveries.into_iter().map(|shown| shown.conversation_id.to_string()).collect::<Vec<_>>().join(" ")
    };
    let all = DeliveryFilter::default;
    assert_eq!(list(all()).await, "c b a");
    assert_eq!(list(DeliveryFilter { state: Some(DeliveryState::Dead), ..all() }).await, "a");
    assert_eq!(list(DeliveryFilter { state: Some(DeliveryState::Pending), ..all() }).await, "c b");
    assert_eq!(list(DeliveryFilter { conversation: Some(ConversationId::trusted("b")), ..all() }).await, "b");
    let app = FrontendName::trusted("app");
    let of_both = DeliveryFilter { frontend: Some(app), conversation: Some(ConversationId::trusted("b")), ..all() };
    assert_eq!(list(of_both).await, "");
    assert_eq!(list(DeliveryFilter { frontend: Some(web()), since: Some(at(20)), ..all() }).await, "c b");
    assert_eq!(list(DeliveryFilter { until: Some(at(20)), ..all() }).await, "a");
}
