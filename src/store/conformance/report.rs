//! The report's sums: they agree with the log, each event counted once, whatever numbered it and whatever became of it.

use super::{lanes::failed, talk::id, *};
use crate::domain::report::{Slot, Sums};

suite!(
    every_event_of_the_log_is_counted_once,
    what_an_older_version_numbered_is_counted_later,
    what_is_given_up_and_what_is_asked_of_fini_is_counted_where_it_happens,
    erasing_a_conversation_changes_no_sum_and_leaves_no_trace_of_its_waiting,
);

impl Fixture {
    /// Returns the sums, once everything is numbered.
    async fn counted(&self, frontend: Option<&FrontendName>) -> Sums {
        while self.store.number_log(100).await.expect("numbers") > 0 {}
        let (from, to) = (Slot::numbered(0), Slot::numbered(i64::MAX));
        let mut all = Sums::default();
        for (_, sums) in self.store.sums(frontend, from, to).await.expect("reads") {
            all.add(&sums);
        }
        all
    }
}

async fn every_event_of_the_log_is_counted_once(fixture: Fixture) {
    fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-2", "m-1", at(5)).await;
    let counted = fixture.counted(None).await;
    assert_eq!((counted.messages, counted.answered, counted.first_answers.total()), (2, 1, 1));
    assert_eq!(fixture.counted(None).await, counted);
    assert_eq!(fixture.counted(Some(&FrontendName::trusted("other"))).await, Sums::default());
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.counted(None).await, counted);
    fixture.post("c-2", "m-2", at(6)).await;
    assert_eq!(fixture.counted(Some(&web())).await.messages, 3);
}

async fn what_an_older_version_numbered_is_counted_later(fixture: Fixture) {
    fixture.bound_talk("c-1", "i-1", at(0)).await;
    fixture.post("c-2", "m-1", at(5)).await;
    let counted = fixture.counted(Some(&web())).await;
    let forget = "DELETE FROM report_sums; DELETE FROM report_waits; DELETE FROM log_head WHERE name = 'report'";
    fixture.store.execute(forget).await.expect("deletes");
    assert_eq!(fixture.counted(Some(&web())).await, counted);
    // The wait of a conversation that began in a deleted part is unknown.
    fixture.store.execute(&format!("{forget}; DELETE FROM log_entries WHERE sequence = 1")).await.expect("deletes");
    let counted = fixture.counted(Some(&web())).await;
    assert_eq!((counted.messages, counted.answered, counted.first_answers.total()), (0, 1, 0));
}

async fn what_is_given_up_and_what_is_asked_of_fini_is_counted_where_it_happens(fixture: Fixture) {
    let store = &fixture.store;
    fixture.owing("c-1", 2).await;
    let heads = fixture.claim(at(0), 5).await;
    let outcome = DeliveryOutcome::Dead { hold_lane: false, end: DeadEnd::Exhausted };
    fixture.finish(FinishDelivery { outcome, ..failed(&heads[0], at(0)) }).await;
    let terms = BudgetTerms { limit: 2, window: Duration::from_mins(1), share: 1, ..BudgetTerms::default() };
    for _ in 0..3 {
        store.take_permit(RequestClass::Send, terms, at(0)).await.expect("decides");
    }
    let all = fixture.counted(None).await;
    assert_eq!((all.dead_letters, all.requests), (1, 2), "what there was no room for was not asked");
    let own = fixture.counted(Some(&web())).await;
    assert_eq!((own.dead_letters, own.requests), (1, 0));
    // Older than a callback may be.
    let day = Duration::from_hours(24);
    let given_up = store.expire_deliveries(at(0).plus(day), Duration::from_hours(1), false).await.expect("expires");
    assert_eq!(given_up.iter().map(|(_, count)| count).sum::<u64>(), 1);
    assert_eq!(fixture.counted(Some(&web())).await.dead_letters, 2);
}

async fn erasing_a_conversation_changes_no_sum_and_leaves_no_trace_of_its_waiting(fixture: Fixture) {
    fixture.post("c-1", "m-1", at(0)).await;
    let counted = fixture.counted(None).await;
    let waits = "SELECT COUNT(*) FROM report_waits";
    assert_eq!(fixture.store.number(waits).await.expect("counts"), 1);
    fixture.store.erase(&web(), &id("c-1"), false, at(1)).await.expect("erases");
    assert_eq!(fixture.counted(None).await, counted);
    assert_eq!(fixture.store.number(waits).await.expect("counts"), 0);
}
