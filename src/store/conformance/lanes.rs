//! Leases of lanes, and what the tests of the outbox share.

use super::{talk::token, *};

suite!(
    lanes_of_a_claim_whose_answer_was_lost_are_freed,
    a_lane_is_kept_under_a_lease_of_its_own,
    a_lane_that_was_kept_unheard_is_freed_alone,
    a_dead_process_s_lanes_are_freed,
    held_destinations_are_on_record,
    changes_are_announced,
);

async fn lanes_of_a_claim_whose_answer_was_lost_are_freed(fixture: Fixture) {
    for conversation in ["c-1", "c-2", "c-3"] {
        fixture.owing(conversation, 1).await;
    }
    let [held] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    let lost = fixture.claim(at(0), 2).await;
    let token = lost[0].token.clone();
    assert_eq!(lost.len(), 2);
    assert_eq!(fixture.store.void_lanes(&Token("another".into()), None).await.expect("answers"), 0);
    assert_eq!(fixture.store.void_lanes(&token, None).await.expect("frees"), 2);
    assert_eq!(fixture.store.void_lanes(&token, None).await.expect("answers"), 0);
    let again = fixture.claim(at(1), 3).await;
    assert_eq!(again.len(), 2, "what others hold stays theirs");
    assert!(again.iter().all(|head| head.attempts == 0));
    assert_eq!(fixture.store.void_lanes(&token, None).await.expect("answers"), 0, "they are in other hands");
    assert!(!fixture.finish(delivered(&lost[0], at(2))).await.counted, "who was lost is fenced off");
    assert!(fixture.finish(delivered(&held, at(2))).await.counted);
}

async fn a_lane_is_kept_under_a_lease_of_its_own(fixture: Fixture) {
    fixture.owing("c-1", 2).await;
    let [head] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    let next = fixture.finish(FinishDelivery { keep_lane: Some(lease(at(10))), ..delivered(&head, at(10)) }).await.next;
    assert!(fixture.claim(lease_end(at(0)), 1).await.is_empty(), "the lease it was claimed under counts no more");
    let [again] = fixture.claim(lease_end(at(10)), 1).await.try_into().expect("the lease has ended");
    assert_eq!(Some(again.id), next.map(|next| next.id));
}

async fn a_lane_that_was_kept_unheard_is_freed_alone(fixture: Fixture) {
    fixture.owing("kept", 2).await;
    fixture.owing("other", 1).await;
    let heads = fixture.claim(at(0), 2).await;
    let of = |id: &str| heads.iter().find(|head| head.conversation.id.as_str() == id).expect("claimed");
    let finish = FinishDelivery { keep_lane: Some(lease(at(10))), ..delivered(of("kept"), at(10)) };
    let next = fixture.finish(finish.clone()).await.next.expect("the lane is kept for its next head");
    // A worker that lost the answer sends the completion once more.
    let repeated = fixture.finish(finish).await;
    assert!(!repeated.counted && repeated.next.is_none());
    let lane = Lane { conversation: next.conversation.key, destination: main() };
    assert_eq!(fixture.store.void_lanes(&next.token, Some(&lane)).await.expect("frees"), 1);
    let [again] = fixture.claim(at(11), 2).await.try_into().expect("the next head, and no other");
    assert_eq!((again.id, again.attempts), (next.id, 0));
}

async fn a_dead_process_s_lanes_are_freed(fixture: Fixture) {
    fixture.owing("c-1", 1).await;
    fixture.owing("c-2", 1).await;
    assert_eq!(fixture.claim(at(0), 2).await.len(), 2);
    let restarted = |now| Lease { owner: Owner(Arc::from("restarted")), ..lease(now) };
    let freed = fixture.store.recover_lanes(&restarted(at(1))).await.expect("recovers");
    // Elsewhere another process may well be alive: its lanes are free once its leases have ended.
    assert_eq!(freed, if fixture.store.may_be_shared() { 0 } else { 2 });
    let ended = lease_end(at(0));
    fixture.store.recover_lanes(&restarted(ended)).await.expect("recovers");
    assert_eq!(fixture.claim(ended, 2).await.len(), 2);
    let own = fixture.store.recover_lanes(&lease(ended)).await.expect("recovers");
    assert_eq!(own, 0, "a process keeps its own");
}

async fn held_destinations_are_on_record(fixture: Fixture) {
    let store = &fixture.store;
    let hold = |reason: &str, since| DestinationHold { destination: main(), reason: reason.to_owned(), since };
    assert_eq!(store.held_destinations().await.expect("lists"), []);
    assert!(!store.release_destination(&main()).await.expect("answers"));
    store.hold_destination(&hold("gone", at(1))).await.expect("holds");
    store.hold_destination(&hold("gone", at(2))).await.expect("holds");
    assert_eq!(store.held_destinations().await.expect("lists"), [hold("gone", at(1))]);
    store.hold_destination(&hold("operator", at(3))).await.expect("holds");
    store.hold_destination(&hold("gone", at(4))).await.expect("holds");
    assert_eq!(store.held_destinations().await.expect("lists"), [hold("operator", at(3))]);
    assert!(store.release_destination(&main()).await.expect("releases"));
    assert_eq!(store.held_destinations().await.expect("lists"), []);
}

async fn changes_are_announced(fixture: Fixture) {
    let key = fixture.owing("c-1", 2).await;
    let mut listener = fixture.store.listen();
    let mut told = async || {
        let told = tokio::time::timeout(Duration::from_secs(10), async {
            while listener.next().await != Heard::Change(Change::Deliveries) {}
        });
        told.await.expect("it is announced");
    };
    fixture.store.owe(key, at(0)).await.expect("files");
    told().await;
    let [head] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    fixture.finish(delivered(&head, at(1))).await;
    told().await;
    fixture.store.retry_delivery(&head.id, at(2)).await.expect("replays").expect("is there");
    told().await;
    fixture
        .store
        .hold_destination(&DestinationHold { destination: main(), reason: "gone".to_owned(), since: at(3) })
        .await
        .expect("holds");
    assert!(fixture.store.release_destination(&main()).await.expect("releases"));
    told().await;
}

/// Returns a lease of the tests' process that begins at `now`.
pub(super) fn lease(now: Timestamp) -> Lease {
    Lease { owner: Owner(Arc::from("tests")), now, until: lease_end(now) }
}

/// Returns its end.
pub(super) fn lease_end(now: Timestamp) -> Timestamp {
    now.plus(Duration::from_secs(30))
}

/// Returns the end of an attempt that the receiver took; the lane is freed.
pub(super) fn delivered(head: &ClaimedDelivery, now: Timestamp) -> FinishDelivery {
    FinishDelivery {
        id: head.id.clone(),
        lane: Lane { conversation: head.conversation.key, destination: head.destination.clone() },
        token: head.token.clone(),
        now,
        outcome: DeliveryOutcome::Delivered,
        status: Some(200),
        error: None,
        response: None,
        keep_lane: None,
    }
}

/// Returns the end of an attempt answered with a 500; the caller sets the outcome.
pub(super) fn failed(head: &ClaimedDelivery, now: Timestamp) -> FinishDelivery {
    FinishDelivery { status: Some(500), error: Some("failed".to_owned()), ..delivered(head, now) }
}

impl Fixture {
    /// Makes a conversation of `web` that owes so many callbacks, due at the beginning; its own message is event 1.
    pub(super) async fn owing(&self, conversation: &str, callbacks: usize) -> ConversationKey {
        let key = self.post(conversation, "m", at(0)).await;
        for _ in 0..callbacks {
            self.store.owe(key, at(0)).await.expect("files");
        }
        key
    }

    /// Claims up to so many lanes of `web`, retries or not.
    pub(super) async fn claim(&self, now: Timestamp, lanes: usize) -> Vec<ClaimedDelivery> {
        let permits = vec![DeliveryPermits { destination: main(), first: lanes, retries: lanes }];
        self.store
            .claim_deliveries(ClaimDeliveries { lease: lease(now), token: token(), permits })
            .await
            .expect("claims")
    }

    pub(super) async fn finish(&self, finish: FinishDelivery) -> Finished {
        self.store.finish_delivery(finish).await.expect("finishes")
    }

    /// Delivers a head and all that follows it in its lane; returns the sequences.
    pub(super) async fn drain(&self, head: ClaimedDelivery, now: Timestamp) -> Vec<i64> {
        let mut sequences = Vec::new();
        let mut head = Some(head);
        while let Some(held) = head.take() {
            sequences.push(held.sequence);
            let done = FinishDelivery { keep_lane: Some(lease(now)), ..delivered(&held, now) };
            head = self.finish(done).await.next;
        }
        sequences
    }

    /// Returns the time at which the next lane of `web` may be claimed.
    pub(super) async fn next_at(&self) -> Option<Timestamp> {
        self.store.next_delivery_at(&[main()]).await.expect("answers")
    }

    /// Reads a delivery that must be there.
    pub(super) async fn shown(&self, id: &crate::domain::ids::DeliveryId) -> Delivery {
        self.store.delivery(id).await.expect("reads").expect("is there")
    }

    /// Reads all deliveries of a state, newest first.
    pub(super) async fn all(&self, state: DeliveryState) -> Vec<Delivery> {
        let filter = DeliveryFilter { state: Some(state), ..DeliveryFilter::default() };
        let page = self.store.deliveries(&filter, None, 10_000).await.expect("lists");
        assert_eq!(page.next_cursor, None);
        page.deliveries
    }
}
