//! The feed: pages, and numbers without gaps.

use futures_util::future::join_all;

use super::{talk::*, *};

suite!(
    a_feed_is_read_in_pages,
    a_page_ends_with_its_bytes_and_has_one_entry_at_least,
    the_feed_of_nobody_is_nothing,
    what_is_being_answered_is_told,
    what_is_committed_wakes_who_follows,
    numbers_have_no_gaps_however_many_write,
    bodies_stay_the_same_over_restarts,
);

async fn a_feed_is_read_in_pages(fixture: Fixture) {
    let mut key = None;
    for number in 1..=5 {
        key = Some(fixture.post("c-1", &format!("m-{number}"), at(number)).await);
    }
    let page = async |after, limit| {
        let found = fixture.store.feed(&web(), &id("c-1"), after, most(limit)).await.expect("reads").expect("is there");
        assert_eq!((Some(found.0), found.1.last_sequence), (key, 5));
        let sequences: Vec<_> = found.1.entries.iter().map(|entry| entry.sequence).collect();
        (sequences, found.1.has_more)
    };
    assert_eq!(page(0, 2).await, (vec![1, 2], true));
    assert_eq!(page(2, 2).await, (vec![3, 4], true));
    assert_eq!(page(4, 2).await, (vec![5], false));
    assert_eq!(page(0, 5).await, (vec![1, 2, 3, 4, 5], false));
    assert_eq!(page(5, 5).await, (vec![], false));
    assert_eq!(page(99, 5).await, (vec![], false));
    let (_, first) = fixture.store.feed(&web(), &id("c-1"), 0, most(1)).await.expect("reads").expect("is there");
    assert_eq!(first.entries[0].kind, "message.created");
    assert_eq!(json(&first.entries[0].body)["sequence"], 1);
}

async fn what_is_being_answered_is_told(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    fixture.post("c-1", "m-2", at(1)).await;
    let mut changes = fixture.store.listen();
    let unanswered = async || {
        let found = fixture.store.unanswered(key).await.expect("reads");
        found.into_iter().map(|one| (one.message.to_string(), one.is_sent, one.accepted_at)).collect::<Vec<_>>()
    };
    let [first, second] = [("m-1".to_owned(), at(0)), ("m-2".to_owned(), at(1))];
    let told = |(message, accepted_at): &(String, Timestamp), is_sent| (message.clone(), is_sent, *accepted_at);
    assert_eq!(unanswered().await, [told(&first, false), told(&second, false)]);
    let turn = fixture.claim_turn(at(2)).await;
    let mut heard = changes.next().await;
    while heard != Heard::Change(Change::Started(key)) {
        heard = changes.next().await;
    }
    assert_eq!(unanswered().await, [told(&first, true), told(&second, false)]);
    fixture.respond(&turn, vec![own_event("e-1", "m-1")], at(3)).await;
    fixture.bind(key, "i-1", at(3)).await;
    fixture.claim_turn(at(20_003)).await;
    assert_eq!(unanswered().await, [told(&first, true), told(&second, true)], "a late one is one too");
    fixture.read(key, "i-1", Says::default(), vec![own_event("e-1", "m-1"), reply("e-2")], at(20_004)).await;
    assert_eq!(unanswered().await, [told(&second, true)]);
}

async fn what_is_committed_wakes_who_follows(fixture: Fixture) {
    let key = fixture.post("c-1", "m-1", at(0)).await;
    let follow = |topic| fixture.store.changes().follow(key, topic);
    let [mut feed, mut ends] = [Topic::Feed, Topic::Ends].map(follow);
    let turn = fixture.claim_turn(at(2)).await;
    feed.next().await;
    fixture.respond(&turn, vec![own_event("e-1", "m-1"), reply("e-2")], at(3)).await;
    feed.next().await;
    ends.next().await;
    fixture.post("c-1", "m-2", at(4)).await;
    feed.next().await;
}

async fn a_page_ends_with_its_bytes_and_has_one_entry_at_least(fixture: Fixture) {
    for number in 1..=4 {
        let mut long = new_message("c-1", &format!("m-{number}"), at(number));
        long.message.text = "ä".repeat(1000);
        fixture.store.accept(long).await.expect("accepts");
    }
    let page = async |after, bytes| {
        let most = Most { entries: 10, bytes };
        let found = fixture.store.feed(&web(), &id("c-1"), after, most).await.expect("reads");
        let page = found.expect("is there").1;
        (page.entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), page.has_more)
    };
    assert_eq!(page(0, 1).await, (vec![1], true));
    assert_eq!(page(0, 5_500).await, (vec![1, 2], true), "it is bytes that count, not characters");
    assert_eq!(page(2, 5_500).await, (vec![3, 4], false));
    assert_eq!(page(0, 50_000).await, (vec![1, 2, 3, 4], false));
    assert_eq!(page(4, 1).await, (vec![], false));
}

async fn the_feed_of_nobody_is_nothing(fixture: Fixture) {
    fixture.post("c-1", "m-1", at(0)).await;
    assert_eq!(fixture.store.feed(&web(), &id("c-2"), 0, most(5)).await.expect("reads"), None);
    let app = FrontendName::trusted("app");
    assert_eq!(fixture.store.feed(&app, &id("c-1"), 0, most(5)).await.expect("reads"), None);
}

async fn numbers_have_no_gaps_however_many_write(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let posts = (0..200).map(|number| {
        let message = new_message("c-1", &format!("m-{}", 1 + number / 2), at(10));
        fixture.store.accept(message)
    });
    let looks = (0..50).map(|number| {
        fixture.read(key, "i-1", Says::default(), vec![by_other_bot(&format!("e-{}", 10 + number / 2))], at(11))
    });
    let (accepted, recorded) = futures_util::future::join(join_all(posts), join_all(looks)).await;
    let new = accepted.iter().filter(|one| matches!(one, Ok(Accepted::New { .. }))).count();
    assert_eq!(new, 100, "each message was posted twice and stored once");
    assert_eq!(recorded.iter().map(|one| one.added).sum::<usize>(), 25);
    let feed = fixture.feed("c-1").await;
    assert_eq!(feed.len(), 3 + 100 + 25);
    let ids: std::collections::HashSet<_> = feed.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), feed.len());
}

async fn bodies_stay_the_same_over_restarts(fixture: Fixture) {
    fixture.bound_talk("c-1", "i-1", at(0)).await;
    let before = fixture.store.feed(&web(), &id("c-1"), 0, most(10)).await.expect("reads");
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.feed(&web(), &id("c-1"), 0, most(10)).await.expect("reads"), before);
    assert_eq!(fixture.conversation("c-1").await.pending_deliveries, 2);
}
