//! The note about the steady clock, the repair of times too far ahead, and the time stamps that people read.

use super::{talk::most, *};
use crate::domain::{
    steady::Agreed,
    turn::{FailureCode, TurnFailure},
};

suite!(
    of_two_notes_about_the_time_the_later_is_refused,
    what_lies_beyond_its_longest_wait_is_brought_back,
    time_stamps_are_the_wall_clock_s_and_never_go_back_in_a_conversation,
);

fn note(clock: i64, steady: i64, by: &str) -> Agreed {
    Agreed { clock_at: at(clock), steady_at: at(steady), by: by.to_owned(), uptime: None }
}

async fn of_two_notes_about_the_time_the_later_is_refused(fixture: Fixture) {
    let store = &fixture.store;
    assert_eq!(store.time().await.expect("tells").1, None);
    let (first, other) = (note(1, 1, "a"), note(1, 2, "b"));
    assert!(store.agree(None, &first).await.expect("writes"));
    assert!(!store.agree(None, &other).await.expect("writes"), "somebody was first");
    assert_eq!(store.time().await.expect("tells").1, Some(first.clone()));
    let second = note(10, 3, "b");
    assert!(store.agree(Some(&first), &second).await.expect("writes"));
    assert!(!store.agree(Some(&first), &other).await.expect("writes"), "it was read before the second");
    assert_eq!(store.time().await.expect("tells").1, Some(second));
}

async fn what_lies_beyond_its_longest_wait_is_brought_back(fixture: Fixture) {
    let store = &fixture.store;
    // Written by a clock that was an hour ahead.
    let (now, ahead) = (at(0), at(3_600_000));
    fixture.post("c-1", "m-1", ahead).await;
    let key = fixture.post("c-2", "m-1", now).await;
    store.owe(key, ahead).await.expect("owes");
    let lease = Lease { owner: Owner("dead".into()), now: ahead, until: ahead };
    assert!(store.take_lease("reader", &lease).await.expect("takes"));
    let terms = BudgetTerms { limit: 9, window: Duration::from_secs(60), share: 9, ..BudgetTerms::default() };
    store.take_permit(RequestClass::Get, terms, ahead).await.expect("takes");

    let seconds = Duration::from_secs;
    let longest = LongestWaits {
        retries: vec![seconds(1), seconds(5)],
        turn: seconds(30),
        look: seconds(60),
        lease: seconds(20),
        watch: seconds(86_400),
        handoff: seconds(86_400),
    };
    assert!(store.bring_back(now, &longest).await.expect("brings back") > 0);
    let latest = async |what: &str| store.number(what).await.expect("tells");
    assert_eq!(latest("SELECT MAX(turn_due_at) FROM conversations").await, at(30_000).as_millis());
    assert_eq!(latest("SELECT MAX(due_at) FROM turns").await, at(30_000).as_millis());
    assert_eq!(latest("SELECT MAX(until) FROM leases").await, at(20_000).as_millis());
    assert_eq!(latest("SELECT MAX(at) FROM budget").await, now.as_millis());
    assert_eq!(latest("SELECT MAX(due_at) FROM deliveries").await, at(1_000).as_millis());
    assert_eq!(latest("SELECT MAX(due_at) FROM lanes").await, at(1_000).as_millis());
    assert_eq!(store.bring_back(now, &longest).await.expect("brings back"), 0, "once is enough");
}

async fn time_stamps_are_the_wall_clock_s_and_never_go_back_in_a_conversation(fixture: Fixture) {
    let stamps = async || {
        let (_, page) = fixture
            .store
            .feed(&web(), &ConversationId::trusted("c-1"), 0, most(10))
            .await
            .expect("reads")
            .expect("is there");
        let stamp = |entry: &FeedEntry| json(&entry.body)["timestamp"].as_str().expect("a time").to_owned();
        page.entries.iter().map(stamp).collect::<Vec<_>>()
    };
    fixture.wall.show("2026-11-21T05:00:00Z");
    fixture.post("c-1", "m-1", at(0)).await;
    fixture.wall.show("2026-11-21T04:00:00Z");
    fixture.post("c-1", "m-2", at(1)).await;
    let failure = TurnFailure { code: FailureCode::FiniUnavailable, detail: "it waited".to_owned(), may_resend: true };
    fixture.store.expire_turns(at(2), at(2), &failure).await.expect("gives up");
    fixture.wall.show("2026-11-21T05:00:01Z");
    fixture.post("c-1", "m-3", at(3)).await;
    let (set, later) = ("2026-11-21T05:00:00.000Z", "2026-11-21T05:00:01.000Z");
    let stamps = stamps().await;
    assert_eq!(stamps, [set, set, set, set, later]);
    let shown =
        fixture.store.conversation(&web(), &ConversationId::trusted("c-1")).await.expect("reads").expect("is there");
    assert_eq!((shown.created_at.to_string(), shown.updated_at.to_string()), (set.to_owned(), later.to_owned()));
}
