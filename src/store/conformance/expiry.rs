//! Callbacks that a receiver puts off, and those that nobody can attempt for too long.

use super::{lanes::*, *};

suite!(
    what_a_receiver_puts_off_keeps_its_place_and_its_chances,
    a_frontend_is_left_alone_for_the_longest_that_was_asked_for,
    what_a_paused_frontend_is_owed_expires_and_is_pruned,
    what_is_young_enough_or_in_somebody_s_hands_does_not_expire,
    an_expired_callback_blocks_its_lane_where_dead_letters_do,
    what_stands_behind_a_dead_letter_expires_too,
    a_replay_begins_its_age_anew,
);

const AGE: Duration = Duration::from_mins(1);

/// Returns the time at which a callback due at the beginning is too old.
fn too_late() -> Timestamp {
    at(0).plus(AGE)
}

impl Fixture {
    async fn expire(&self, now: Timestamp, hold_lane: bool) -> u64 {
        let given_up = self.store.expire_deliveries(now, AGE, hold_lane).await.expect("expires");
        assert!(given_up.iter().all(|(destination, count)| *destination == main() && *count > 0));
        given_up.iter().map(|(_, count)| count).sum()
    }

    async fn hold(&self) {
        let hold = DestinationHold { destination: main(), reason: "operator".to_owned(), since: at(0) };
        self.store.hold_destination(&hold).await.expect("holds");
    }
}

async fn what_a_receiver_puts_off_keeps_its_place_and_its_chances(fixture: Fixture) {
    fixture.owing("first", 2).await;
    let [head] = fixture.claim(at(1), 1).await.try_into().expect("one head");
    let later = fixture.post("second", "m", at(2)).await;
    fixture.store.owe(later, at(2)).await.expect("files");
    let refused = FinishDelivery { outcome: DeliveryOutcome::Refused, status: Some(429), ..failed(&head, at(3)) };
    let finished = fixture.finish(FinishDelivery { keep_lane: Some(lease(at(3))), ..refused }).await;
    assert!(finished.counted && finished.next.is_none(), "whoever was refused does not go on");
    fixture.store.defer_destination(&main(), at(50)).await.expect("defers");
    let shown = fixture.shown(&head.id).await;
    assert_eq!((shown.attempts, shown.last_status, shown.next_attempt_at), (1, Some(429), Some(at(50))));
    assert_eq!(fixture.next_at().await, Some(at(50)));
    assert!(fixture.claim(at(49), 5).await.is_empty());
    let [again, other] = fixture.claim(at(50), 5).await.try_into().expect("both lanes");
    assert_eq!((&again.id, again.attempts), (&head.id, 0), "first come, first served, with all its chances");
    assert_eq!(other.conversation.key, later);
}

async fn a_frontend_is_left_alone_for_the_longest_that_was_asked_for(fixture: Fixture) {
    fixture.owing("c-1", 1).await;
    for until in [10, 30, 20] {
        fixture.store.defer_destination(&main(), at(until)).await.expect("defers");
    }
    assert_eq!(fixture.next_at().await, Some(at(30)));
    assert_eq!(fixture.store.held_destinations().await.expect("lists"), [], "it is no pause");
    fixture.hold().await;
    assert!(fixture.store.release_destination(&main()).await.expect("releases"));
    assert_eq!(fixture.claim(at(5), 1).await.len(), 1, "whoever resumes it means now");
}

async fn what_a_paused_frontend_is_owed_expires_and_is_pruned(fixture: Fixture) {
    fixture.hold().await;
    for conversation in ["c-1", "c-2"] {
        fixture.owing(conversation, 2).await;
    }
    assert_eq!(fixture.expire(too_late().minus(Duration::from_millis(1)), false).await, 0);
    assert_eq!(fixture.expire(too_late(), false).await, 4);
    assert_eq!(fixture.expire(too_late(), false).await, 0);
    let dead = fixture.all(DeliveryState::Dead).await;
    assert_eq!(dead.len(), 4);
    for one in &dead {
        assert_eq!((one.dead_end.as_deref(), one.attempts, one.next_attempt_at), (Some("expired"), 0, None));
        assert!(one.last_error.is_some());
    }
    assert_eq!(fixture.store.number("SELECT COUNT(*) FROM lanes").await.expect("counts"), 0);
    let retention = Duration::from_hours(24);
    assert!(fixture.store.prune(too_late().plus(retention), retention, 100).await.expect("prunes") >= 4);
    assert_eq!(fixture.store.number("SELECT COUNT(*) FROM deliveries").await.expect("counts"), 0);
}

async fn what_is_young_enough_or_in_somebody_s_hands_does_not_expire(fixture: Fixture) {
    let old = fixture.owing("old", 1).await;
    fixture.store.owe(old, too_late()).await.expect("files");
    fixture.owing("held", 1).await;
    let now = too_late();
    let heads = fixture.claim(now, 2).await;
    let held = heads.iter().find(|head| head.conversation.id.as_str() == "held").expect("claimed");
    let other = heads.iter().find(|head| head.id != held.id).expect("claimed");
    fixture.finish(FinishDelivery { outcome: DeliveryOutcome::Unattempted(at(0)), ..delivered(other, now) }).await;
    assert_eq!(fixture.expire(now, false).await, 1);
    let [next] = fixture.claim(now, 5).await.try_into().expect("the rest of the lane goes on");
    assert_eq!((next.conversation.key, next.sequence), (old, 3));
    assert!(fixture.finish(delivered(held, now)).await.counted);
}

async fn an_expired_callback_blocks_its_lane_where_dead_letters_do(fixture: Fixture) {
    let key = fixture.owing("c-1", 2).await;
    fixture.store.owe(key, too_late()).await.expect("files");
    fixture.hold().await;
    assert_eq!(fixture.expire(too_late(), true).await, 2, "all that is too old, not one each time");
    fixture.store.release_destination(&main()).await.expect("releases");
    assert!(fixture.claim(too_late(), 1).await.is_empty());
    let first = fixture.all(DeliveryState::Dead).await.pop().expect("dead letters, newest first");
    assert_eq!(first.sequence, 2);
    fixture.store.retry_delivery(&first.id, too_late()).await.expect("replays").expect("is there");
    let [head] = fixture.claim(too_late(), 1).await.try_into().expect("the lane goes on");
    assert_eq!(fixture.drain(head, too_late()).await, [2, 4]);
}

async fn what_stands_behind_a_dead_letter_expires_too(fixture: Fixture) {
    fixture.owing("c-1", 3).await;
    let [head] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    let outcome = DeliveryOutcome::Dead { hold_lane: true, end: DeadEnd::Exhausted };
    fixture.finish(FinishDelivery { outcome, ..failed(&head, at(0)) }).await;
    assert_eq!(fixture.expire(too_late(), true).await, 2);
    assert_eq!(fixture.all(DeliveryState::Pending).await, []);
    fixture.store.owe(head.conversation.key, too_late()).await.expect("files");
    assert!(fixture.claim(too_late(), 1).await.is_empty(), "it is blocked by the first of them");
    fixture.store.retry_delivery(&head.id, too_late()).await.expect("replays").expect("is there");
    assert_eq!(fixture.claim(too_late(), 1).await.len(), 1);
}

async fn a_replay_begins_its_age_anew(fixture: Fixture) {
    fixture.owing("c-1", 1).await;
    fixture.hold().await;
    assert_eq!(fixture.expire(too_late(), false).await, 1);
    fixture.store.release_destination(&main()).await.expect("releases");
    let dead = fixture.all(DeliveryState::Dead).await.remove(0);
    let replayed = too_late().plus(AGE);
    fixture.store.retry_delivery(&dead.id, replayed).await.expect("replays").expect("is there");
    let [head] = fixture.claim(replayed, 1).await.try_into().expect("due at once");
    assert_eq!((head.recorded_at, head.owed_since), (at(0), replayed));
    fixture
        .finish(FinishDelivery { outcome: DeliveryOutcome::Unattempted(replayed), ..delivered(&head, replayed) })
        .await;
    assert_eq!(fixture.expire(replayed.plus(AGE).minus(Duration::from_millis(1)), false).await, 0);
    assert_eq!(fixture.expire(replayed.plus(AGE), false).await, 1);
}
