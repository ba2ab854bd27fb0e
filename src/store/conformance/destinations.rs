//! Several destinations of one frontend: each has its own lanes, order, retries, pauses and dead letters.

use super::{lanes::*, *};
use crate::domain::destination::{MAIN, Subscription};

suite!(
    each_destination_has_its_own_queue_in_the_order_of_the_feed,
    what_one_fails_to_take_delays_no_other,
    a_pause_and_a_wish_to_be_left_alone_are_one_destination_s,
    a_dead_letter_holds_back_its_own_lane_alone_and_is_replayed_there,
    what_nobody_can_attempt_expires_where_it_is_owed,
    what_a_browser_posted_is_owed_to_all_and_what_a_server_posted_to_those_who_ask,
    lanes_of_every_destination_outlive_a_crash_and_go_with_an_erasure,
    lists_show_and_pick_destinations,
);

const AGE: Duration = Duration::from_mins(1);

/// Returns the frontend with two destinations: its own callback, and a desk that also gets messages posted by the server.
fn shop() -> FrontendName {
    FrontendName::trusted("shop")
}

fn own() -> Destination {
    Destination::main(shop())
}

fn desk() -> Destination {
    Destination::new(shop(), "desk")
}

/// Returns the subscriptions of `shop`.
pub(super) fn wanted() -> (FrontendName, Vec<Subscription>) {
    let one =
        |name: &str, posted| Subscription { destination: name.to_owned(), patterns: vec!["*".to_owned()], posted };
    (shop(), vec![one(MAIN, false), one("desk", true)])
}

impl Fixture {
    /// Posts a message into a conversation of `shop`, by its server or by a browser.
    async fn ask(&self, conversation: &str, message: &str, by_browser: bool, now: Timestamp) -> ConversationKey {
        let counted_for = by_browser.then(|| "customer".to_owned());
        let message = NewMessage { frontend: shop(), counted_for, ..new_message(conversation, message, now) };
        match self.store.accept(message).await.expect("accepts") {
            Accepted::New { conversation, .. } => conversation,
            other => panic!("{other:?}"),
        }
    }

    /// Makes a conversation whose first event is owed to the desk, and so many more to both.
    async fn owing_both(&self, conversation: &str, callbacks: usize) -> ConversationKey {
        let key = self.ask(conversation, "m", false, at(0)).await;
        for _ in 0..callbacks {
            self.store.owe(key, at(0)).await.expect("files");
        }
        key
    }

    async fn claim_of(&self, destination: Destination, now: Timestamp) -> Vec<ClaimedDelivery> {
        let permits = vec![DeliveryPermits { destination, first: 9, retries: 9 }];
        let claim = ClaimDeliveries { lease: lease(now), token: super::talk::token(), permits };
        self.store.claim_deliveries(claim).await.expect("claims")
    }

    async fn next_of(&self, destination: Destination) -> Option<Timestamp> {
        self.store.next_delivery_at(&[destination]).await.expect("answers")
    }

    async fn sequences_of(&self, destination: Destination, now: Timestamp) -> Vec<i64> {
        let mut sequences = Vec::new();
        for head in self.claim_of(destination, now).await {
            sequences.extend(self.drain(head, now).await);
        }
        sequences
    }
}

async fn each_destination_has_its_own_queue_in_the_order_of_the_feed(fixture: Fixture) {
    fixture.owing_both("c", 3).await;
    let permits = [own(), desk()].map(|destination| DeliveryPermits { destination, first: 9, retries: 9 });
    let claim = ClaimDeliveries { lease: lease(at(1)), token: super::talk::token(), permits: permits.into() };
    let heads = fixture.store.claim_deliveries(claim).await.expect("claims");
    let mut seen = Vec::new();
    for head in heads {
        let destination = head.destination.name.clone();
        assert_eq!(head.conversation.frontend, shop());
        seen.push((destination, fixture.drain(head, at(1)).await));
    }
    seen.sort();
    assert_eq!(seen, [("desk".to_owned(), vec![1, 2, 3, 4]), (MAIN.to_owned(), vec![2, 3, 4])]);
    assert_eq!((fixture.next_of(own()).await, fixture.next_of(desk()).await), (None, None));
}

async fn what_one_fails_to_take_delays_no_other(fixture: Fixture) {
    fixture.owing_both("c", 2).await;
    let [stuck] = fixture.claim_of(desk(), at(1)).await.try_into().expect("one head");
    // While the desk's lane is leased, and after it failed.
    assert_eq!(fixture.sequences_of(own(), at(1)).await, [2, 3]);
    let retry = FinishDelivery { outcome: DeliveryOutcome::RetryAt(at(500)), ..failed(&stuck, at(2)) };
    assert!(fixture.finish(retry).await.counted);
    assert_eq!(fixture.next_of(desk()).await, Some(at(500)));
    let key = stuck.conversation.key;
    fixture.store.owe(key, at(3)).await.expect("files");
    assert_eq!(fixture.sequences_of(own(), at(3)).await, [4]);
    assert_eq!(fixture.next_of(desk()).await, Some(at(500)), "its own order holds");
    assert_eq!(fixture.sequences_of(desk(), at(500)).await, [1, 2, 3, 4]);
}

async fn a_pause_and_a_wish_to_be_left_alone_are_one_destination_s(fixture: Fixture) {
    fixture.owing_both("c", 1).await;
    let hold = DestinationHold { destination: desk(), reason: "gone".to_owned(), since: at(0) };
    fixture.store.hold_destination(&hold).await.expect("holds");
    assert_eq!(fixture.store.held_destinations().await.expect("lists"), [hold]);
    assert!(fixture.claim_of(desk(), at(1)).await.is_empty());
    assert_eq!((fixture.next_of(desk()).await, fixture.next_of(own()).await), (None, Some(at(0))));
    let due = fixture.store.backlog(&LeftAlone::default(), at(1)).await.expect("counts").oldest_due_delivery;
    assert_eq!(due, Some(at(0)), "the one that is not held");
    fixture.store.defer_destination(&own(), at(70)).await.expect("defers");
    assert!(fixture.claim_of(own(), at(60)).await.is_empty());
    assert!(fixture.store.release_destination(&desk()).await.expect("releases"));
    assert_eq!(fixture.sequences_of(desk(), at(60)).await, [1, 2]);
    assert_eq!(fixture.sequences_of(own(), at(70)).await, [2]);
}

async fn a_dead_letter_holds_back_its_own_lane_alone_and_is_replayed_there(fixture: Fixture) {
    fixture.owing_both("c", 1).await;
    let [head] = fixture.claim_of(desk(), at(1)).await.try_into().expect("one head");
    let outcome = DeliveryOutcome::Dead { hold_lane: true, end: DeadEnd::Exhausted };
    fixture.finish(FinishDelivery { outcome, ..failed(&head, at(2)) }).await;
    assert!(fixture.claim_of(desk(), at(9)).await.is_empty(), "what is behind it waits");
    assert_eq!(fixture.sequences_of(own(), at(9)).await, [2], "the other goes on");
    let dead = fixture.shown(&head.id).await;
    assert_eq!((&dead.destination, dead.state), (&desk(), DeliveryState::Dead));
    fixture.store.retry_delivery(&head.id, at(10)).await.expect("replays").expect("is there");
    assert_eq!(fixture.sequences_of(desk(), at(10)).await, [1, 2]);
    assert!(fixture.claim_of(own(), at(10)).await.is_empty(), "nothing is sent twice to the other");
}

async fn what_nobody_can_attempt_expires_where_it_is_owed(fixture: Fixture) {
    fixture.owing_both("c", 1).await;
    assert_eq!(fixture.sequences_of(own(), at(1)).await, [2]);
    let given_up = fixture.store.expire_deliveries(at(0).plus(AGE), AGE, true).await.expect("expires");
    assert_eq!(given_up, [(desk(), 2)]);
    assert_eq!(fixture.store.expire_deliveries(at(0).plus(AGE), AGE, true).await.expect("answers"), []);
    assert_eq!(fixture.all(DeliveryState::Dead).await.len(), 2);
    assert_eq!(fixture.next_of(desk()).await, None, "the lane is held by the first of them");
}

async fn what_a_browser_posted_is_owed_to_all_and_what_a_server_posted_to_those_who_ask(fixture: Fixture) {
    fixture.ask("server", "m", false, at(0)).await;
    assert!(fixture.claim_of(own(), at(1)).await.is_empty());
    assert_eq!(fixture.sequences_of(desk(), at(1)).await, [1]);
    fixture.ask("browser", "m", true, at(2)).await;
    assert_eq!(fixture.sequences_of(own(), at(3)).await, [1]);
    assert_eq!(fixture.sequences_of(desk(), at(3)).await, [1]);
}

async fn lanes_of_every_destination_outlive_a_crash_and_go_with_an_erasure(fixture: Fixture) {
    fixture.owing_both("c", 1).await;
    assert_eq!(fixture.claim_of(desk(), at(1)).await.len(), 1);
    let fixture = fixture.reopen().await;
    let restarted = Lease { owner: Owner(Arc::from("restarted")), ..lease(lease_end(at(1))) };
    assert_eq!(fixture.store.recover_lanes(&restarted).await.expect("recovers"), 1);
    let lost = fixture.claim_of(desk(), lease_end(at(1))).await;
    assert_eq!(lost.len(), 1);
    assert_eq!(fixture.store.void_lanes(&lost[0].token, None).await.expect("frees"), 1);
    let conversation = ConversationId::trusted("c");
    fixture.store.erase(&shop(), &conversation, false, at(9)).await.expect("erases");
    assert!(fixture.claim_of(desk(), lease_end(lease_end(at(9)))).await.is_empty());
    assert_eq!(fixture.store.number("SELECT COUNT(*) FROM destination_lanes").await.expect("counts"), 0);
}

async fn lists_show_and_pick_destinations(fixture: Fixture) {
    fixture.owing_both("c", 1).await;
    fixture.owing("other", 1).await;
    let list = async |frontend: Option<FrontendName>, destination: Option<&str>| {
        let destination = destination.map(str::to_owned);
        let filter = DeliveryFilter { frontend, destination, ..DeliveryFilter::default() };
        let page = fixture.store.deliveries(&filter, None, 100).await.expect("lists");
        let mut all: Vec<_> = page.deliveries.iter().map(|one| one.destination.to_string()).collect();
        all.sort();
        all.join(" ")
    };
    assert_eq!(list(None, None).await, "shop shop/desk shop/desk web");
    assert_eq!(list(Some(shop()), None).await, "shop shop/desk shop/desk");
    assert_eq!(list(Some(shop()), Some("desk")).await, "shop/desk shop/desk");
    assert_eq!(list(Some(shop()), Some(MAIN)).await, "shop");
    assert_eq!(list(None, Some(MAIN)).await, "shop web");
    assert_eq!(list(None, Some("desk")).await, "shop/desk shop/desk");
    assert_eq!(list(Some(web()), Some("desk")).await, "");
}
