//! The figures behind metrics and readiness.

use super::{lanes::*, *};

suite!(the_figures_are_right, figures_of_held_destinations_are_left_out, what_is_held_up_is_counted_with_its_age);

async fn the_figures_are_right(fixture: Fixture) {
    let store = &fixture.store;
    assert_eq!(store.backlog(&LeftAlone::default(), at(0)).await.expect("counts"), Backlog::default());
    fixture.post("c-1", "m-1", at(7)).await;
    fixture.post("c-1", "m-2", at(8)).await;
    fixture.owing("c-2", 2).await;
    let dying = fixture.owing("c-3", 1).await;
    let heads = fixture.claim(at(0), 5).await;
    for head in heads.iter().filter(|head| head.conversation.key == dying) {
        let outcome = DeliveryOutcome::Dead { hold_lane: false, end: DeadEnd::Exhausted };
        fixture.finish(FinishDelivery { outcome, ..failed(head, at(0)) }).await;
    }
    let parts = [("c-4", "awaiting"), ("c-5", "unclear"), ("c-6", "unclear"), ("c-7", "sending")];
    for (conversation, state) in parts {
        let key = fixture.post(conversation, "m", at(0)).await;
        let look_at = if state == "sending" { "NULL" } else { "9" };
        let sql = format!(
            "UPDATE turns SET state = '{state}', look_at = {look_at} WHERE conversation_key = {key}; \
             UPDATE conversations SET turn_due_at = NULL, binding_wanted_since = {look_at} WHERE key = {key}",
            key = key.0
        );
        store.execute(&sql).await.expect("updates");
    }
    let key = fixture.post("c-8", "m", at(0)).await;
    let sql = format!("UPDATE conversations SET state = 'quarantined', turn_due_at = NULL WHERE key = {}", key.0);
    store.execute(&sql).await.expect("updates");

    let figures = Backlog {
        queued_turns: 5,
        sending_turns: 1,
        awaiting_turns: 1,
        unclear_turns: 2,
        unbound: 3,
        quarantined: 1,
        pending_deliveries: 2,
        dead_deliveries: 1,
        oldest_due_turn: Some(at(0)),
        oldest_due_delivery: Some(at(0)),
        watched: 0,
        behind_turns: Held::default(),
        in_quarantine: Held { count: 1, since: Some(at(0)) },
        paused: Held::default(),
        left_alone: Held::default(),
    };
    assert_eq!(store.backlog(&LeftAlone::default(), at(100)).await.expect("counts"), figures);
    let earlier = store.backlog(&LeftAlone::default(), at(-1)).await.expect("counts");
    assert_eq!((earlier.oldest_due_turn, earlier.oldest_due_delivery), (None, None), "nothing is overdue yet");
}

async fn figures_of_held_destinations_are_left_out(fixture: Fixture) {
    fixture.owing("c-1", 1).await;
    let app = FrontendName::trusted("app");
    let other = NewMessage { frontend: app, ..new_message("c-1", "m", at(0)) };
    let Accepted::New { conversation, .. } = fixture.store.accept(other).await.expect("accepts") else { panic!("new") };
    fixture.store.owe(conversation, at(50)).await.expect("files");
    let hold = DestinationHold { destination: main(), reason: "operator".to_owned(), since: at(0) };
    fixture.store.hold_destination(&hold).await.expect("holds");
    let figures = fixture.store.backlog(&LeftAlone::default(), at(100)).await.expect("counts");
    assert_eq!((figures.oldest_due_delivery, figures.pending_deliveries), (Some(at(50)), 2));
}

async fn what_is_held_up_is_counted_with_its_age(fixture: Fixture) {
    let store = &fixture.store;
    let figures = async |left_alone: &LeftAlone, now| store.backlog(left_alone, now).await.expect("counts");
    // Two messages behind one in flight, and one that nobody holds up.
    let busy = fixture.post("busy", "m-1", at(1)).await;
    fixture.post("busy", "m-2", at(2)).await;
    fixture.post("busy", "m-3", at(3)).await;
    fixture.post("free", "m-1", at(0)).await;
    let sql = format!(
        "UPDATE turns SET state = 'awaiting', look_at = 9 WHERE conversation_key = {key} AND message_id = 'm-1'; \
         UPDATE conversations SET turn_due_at = NULL, occupied = TRUE WHERE key = {key}",
        key = busy.0
    );
    store.execute(&sql).await.expect("updates");
    fixture.owing("called", 1).await;
    let none = figures(&LeftAlone::default(), at(100)).await;
    assert_eq!(none.behind_turns, Held { count: 2, since: Some(at(2)) });
    assert_eq!((none.paused, none.left_alone), (Held::default(), Held::default()));
    let due = none.oldest_due_delivery;
    assert!(due.is_some());

    // A callback held by a breaker is not due, and neither is one held by a pause; a pause comes first.
    let alone = LeftAlone { destinations: vec![main()], frontends: vec![main().frontend], budget: false };
    let held = figures(&alone, at(100)).await;
    assert_eq!(held.oldest_due_delivery, None);
    assert_eq!(held.left_alone, Held { count: 3, since: Some(at(0)) }, "a lane, and two messages that may not be sent");
    store.defer_destination(&main(), at(200)).await.expect("defers");
    let deferred = figures(&LeftAlone::default(), at(100)).await;
    assert_eq!((deferred.oldest_due_delivery, deferred.left_alone.count), (None, 1));
    assert_eq!(figures(&LeftAlone::default(), at(300)).await.oldest_due_delivery, due, "its time has come");
    let hold = DestinationHold { destination: main(), reason: "operator".to_owned(), since: at(0) };
    store.hold_destination(&hold).await.expect("holds");
    let paused = figures(&alone, at(100)).await;
    assert_eq!((paused.paused, paused.left_alone.count), (Held { count: 1, since: due }, 2));
}
