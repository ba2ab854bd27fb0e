//! The watched conversations and their next reads, named leases and notes, and pruning.

use super::{
    lanes::*,
    talk::{Says, interaction, reply},
    *,
};
use crate::domain::conversation::State;

suite!(
    due_reads_come_most_urgent_first,
    a_read_is_scheduled_and_called_off,
    misses_are_counted_until_something_shows_the_conversation,
    the_watch_is_summed_up,
    the_front_of_the_watch_is_with_humans_and_recently_active,
    a_named_lease_has_one_owner,
    notes_are_kept,
    what_ended_long_ago_is_forgotten,
    what_is_open_or_owed_is_kept,
    a_pruned_dead_letter_lets_its_lane_go,
    pruning_goes_in_small_batches,
);

async fn misses_are_counted_until_something_shows_the_conversation(fixture: Fixture) {
    let key = fixture.bound_talk("c-1", "i-1", at(0)).await;
    let miss = async |when| {
        let missed = fixture.store.count_miss(key, &interaction("i-1"), when).await.expect("counts").expect("bound");
        (missed.count, missed.misses.first_at, missed.misses.last_at)
    };
    assert_eq!(miss(at(100)).await, (1, at(100), at(100)));
    fixture.store.schedule_read(key, Some(at(200)), 1).await.expect("schedules");
    assert_eq!(miss(at(300)).await, (2, at(100), at(300)));
    fixture.read(key, "i-1", Says::default(), vec![reply("e-9")], at(310)).await;
    assert_eq!(miss(at(400)).await, (1, at(400), at(400)));
    fixture.store.schedule_read(key, None, 0).await.expect("schedules");
    assert_eq!(miss(at(500)).await, (1, at(500), at(500)));
    assert_eq!(fixture.store.count_miss(key, &interaction("i-2"), at(600)).await.expect("answers"), None);
}

const DAY: Duration = Duration::from_hours(24);

impl Fixture {
    /// Makes a conversation that is bound, with further columns set.
    async fn bound(&self, conversation: &str, columns: &str) -> ConversationKey {
        let key = self.post(conversation, "m", at(0)).await;
        let sql = format!(
            "UPDATE conversations SET interaction_id = 'fini-{conversation}', {columns} WHERE key = {key}",
            key = key.0
        );
        self.store.execute(&sql).await.expect("updates");
        key
    }

    /// Makes a conversation whose only turn is over, untouched since the beginning.
    async fn ended(&self, conversation: &str) -> ConversationKey {
        let key = self.post(conversation, "m", at(0)).await;
        let sql = format!(
            "UPDATE turns SET state = 'answered' WHERE conversation_key = {key}; \
             UPDATE conversations SET queued = 0, turn_due_at = NULL WHERE key = {key}",
            key = key.0
        );
        self.store.execute(&sql).await.expect("updates");
        key
    }

    async fn prune(&self, now: Timestamp, batch: usize) -> usize {
        self.store.prune(now, DAY, batch).await.expect("prunes")
    }

    async fn conversations(&self) -> i64 {
        self.store.number("SELECT COUNT(*) FROM conversations").await.expect("counts")
    }
}

fn day(number: u32) -> Timestamp {
    at(0).plus(DAY * number)
}

async fn due_reads_come_most_urgent_first(fixture: Fixture) {
    let read = |at: Timestamp, urgency: u8| format!("read_at = {}, read_urgency = {urgency}", at.as_millis());
    for (conversation, due, urgency) in [
        ("rest-2", 20, 2),
        ("rest-1", 10, 2),
        ("escalated", 30, 1),
        ("ended-2", 50, 0),
        ("ended-1", 40, 0),
        ("later", 61, 0),
    ] {
        fixture.bound(conversation, &read(at(due), urgency)).await;
    }
    let due = async |limit| {
        let due = fixture.store.due_reads(at(60), limit).await.expect("lists");
        due.into_iter().map(|read| read.conversation.id.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(due(10).await, "ended-1 ended-2 escalated rest-1 rest-2");
    assert_eq!(due(4).await, "ended-1 ended-2 escalated rest-1");
    assert_eq!(due(0).await, "");
    let [first] = fixture.store.due_reads(at(60), 1).await.expect("lists").try_into().expect("one");
    assert_eq!((first.interaction.as_str(), first.state), ("fini-ended-1", State::Open));
    assert_eq!((first.due_at, first.misses, first.last_activity_at), (at(40), 0, at(0)));
    assert_eq!(fixture.store.next_read_at().await.expect("answers"), Some(at(10)));
}

async fn a_read_is_scheduled_and_called_off(fixture: Fixture) {
    assert_eq!(fixture.store.next_read_at().await.expect("answers"), None);
    let key = fixture.bound("c-1", "read_urgency = 0").await;
    fixture.store.schedule_read(key, Some(at(5)), 2).await.expect("schedules");
    let missed = &fixture.store.due_reads(at(5), 1).await.expect("lists")[0];
    assert_eq!((missed.due_at, missed.misses), (at(5), 2));
    assert_eq!(fixture.store.number("SELECT read_urgency FROM conversations").await.expect("reads"), 0);
    fixture.store.schedule_read(key, Some(at(7)), 0).await.expect("schedules");
    assert_eq!(fixture.store.next_read_at().await.expect("answers"), Some(at(7)));
    assert_eq!(fixture.store.number("SELECT read_urgency FROM conversations").await.expect("reads"), 2);
    fixture.store.schedule_read(key, None, 0).await.expect("schedules");
    assert_eq!(fixture.store.next_read_at().await.expect("answers"), None);

    let unbound = fixture.post("c-2", "m", at(0)).await;
    fixture.store.schedule_read(unbound, Some(at(5)), 0).await.expect("answers");
    assert_eq!(fixture.store.next_read_at().await.expect("answers"), None, "there is nothing to read");
}

async fn the_watch_is_summed_up(fixture: Fixture) {
    assert_eq!(fixture.store.watch_summary(at(0)).await.expect("sums up"), WatchSummary::default());
    let until = |at: Timestamp| format!("watch_until = {}", at.as_millis());
    fixture.bound("over", &until(at(10))).await;
    fixture.bound("open", &format!("created_at = {}, {}", at(-5).as_millis(), until(at(11)))).await;
    fixture.bound("escalated", &format!("state = 'escalated', {}", until(at(99)))).await;
    fixture.bound("never", "watch_until = NULL").await;
    let unbound = fixture.post("unbound", "m", at(0)).await;
    let sql = format!("UPDATE conversations SET {} WHERE key = {}", until(at(99)), unbound.0);
    fixture.store.execute(&sql).await.expect("updates");
    let summary = fixture.store.watch_summary(at(10)).await.expect("sums up");
    assert_eq!(summary, WatchSummary { watched: 2, escalated: 1, oldest_created_at: Some(at(-5)) });
    assert_eq!(fixture.store.backlog(&LeftAlone::default(), at(10)).await.expect("counts").watched, 2);
}

async fn the_front_of_the_watch_is_with_humans_and_recently_active(fixture: Fixture) {
    let until = |at: Timestamp, state: &str, active: i64| {
        format!(
            "watch_until = {}, state = '{state}', last_activity_at = {}",
            at.as_millis(),
            self::at(active).as_millis()
        )
    };
    fixture.bound("open-old", &until(day(1), "open", 1)).await;
    fixture.bound("escalated-old", &until(day(7), "escalated", 2)).await;
    let newest = fixture.bound("escalated", &until(day(7).plus(Duration::from_secs(5)), "escalated", 7)).await;
    fixture.bound("open", &until(day(1).plus(Duration::from_secs(9)), "open", 9)).await;
    fixture.bound("over", &until(at(10), "escalated", 3)).await;
    fixture.post("unbound", "m", at(0)).await;
    let front = fixture.store.longest_watched(at(10), 3).await.expect("reads");
    let ids: Vec<&str> = front.iter().map(|watched| watched.interaction.as_str()).collect();
    assert_eq!(ids, ["fini-escalated", "fini-escalated-old", "fini-open"]);
    let first = &front[0];
    assert_eq!((first.conversation.key, first.state, first.last_activity_at), (newest, State::Escalated, at(7)));
    assert_eq!(fixture.store.longest_watched(at(10), 9).await.expect("reads").len(), 4, "what is over is not watched");
    let names = |found: Vec<crate::store::WatchedConversation>| -> Vec<String> {
        found.iter().map(|watched| watched.interaction.to_string()).collect()
    };
    let rest = fixture.store.watched_until(at(10), front[2].watch_until, 9).await.expect("reads");
    assert_eq!(names(rest), ["fini-open", "fini-open-old"], "the next part begins where the last one ended");
    let below = fixture.store.watched_below(at(10), at(7), 2).await.expect("reads");
    assert_eq!(names(below), ["fini-escalated", "fini-escalated-old"], "by activity, whatever their watch");
}

async fn a_named_lease_has_one_owner(fixture: Fixture) {
    let store = &fixture.store;
    let by = |owner: &str, now: i64| Lease { owner: Owner(Arc::from(owner)), ..lease(at(now)) };
    let end = lease_end(at(0)).as_millis() - at(0).as_millis();
    let take = async |name: &str, lease: Lease| store.take_lease(name, &lease).await.expect("answers");
    assert!(take("sweeper", by("a", 0)).await);
    assert!(!take("sweeper", by("b", end - 1)).await);
    assert!(take("binder", by("b", 0)).await, "another name is another lease");
    assert!(take("sweeper", by("a", 5)).await, "its owner renews it");
    assert!(!take("sweeper", by("b", end)).await);
    assert!(take("sweeper", by("b", end + 5)).await, "it has ended");
    store.give_lease("sweeper", &by("a", end + 5)).await.expect("answers");
    assert!(!take("sweeper", by("a", end + 6)).await, "nobody gives away what is another's");
    store.give_lease("sweeper", &by("b", end + 6)).await.expect("gives");
    assert!(take("sweeper", by("a", end + 7)).await);
}

async fn notes_are_kept(fixture: Fixture) {
    let store = &fixture.store;
    assert_eq!(store.recall("watermark").await.expect("reads"), None);
    store.remember("watermark", "1").await.expect("writes");
    store.remember("other", "x").await.expect("writes");
    store.remember("watermark", "2").await.expect("writes");
    assert_eq!(store.recall("watermark").await.expect("reads").as_deref(), Some("2"));
}

async fn what_ended_long_ago_is_forgotten(fixture: Fixture) {
    let key = fixture.ended("old").await;
    fixture.store.owe(key, at(0)).await.expect("files");
    let [head] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    fixture.finish(delivered(&head, at(0))).await;
    let mark = format!("INSERT INTO marks (fini_event_id, conversation_key) VALUES ('e-1', {})", key.0);
    fixture.store.execute(&mark).await.expect("inserts");
    let terms = BudgetTerms { limit: 1, share: 1, window: Duration::from_mins(1), ..BudgetTerms::default() };
    fixture.store.take_permit(RequestClass::Send, terms, at(0)).await.expect("takes");

    let almost = day(1).minus(Duration::from_millis(1));
    assert_eq!(fixture.prune(almost, 100).await, 0);
    assert!(fixture.prune(day(1), 100).await > 0);
    assert_eq!(fixture.prune(day(1), 100).await, 0, "nothing is left");
    for table in ["conversations", "turns", "events", "marks", "deliveries", "lanes", "budget"] {
        let left = fixture.store.number(&format!("SELECT COUNT(*) FROM {table}")).await.expect("counts");
        assert_eq!(left, 0, "{table}");
    }
}

async fn what_is_open_or_owed_is_kept(fixture: Fixture) {
    fixture.post("queued", "m", at(0)).await;
    let owing = fixture.ended("owing").await;
    fixture.store.owe(owing, at(0)).await.expect("files");
    let watched = fixture.ended("watched").await;
    let wanted = fixture.ended("wanted").await;
    let active = fixture.ended("active").await;
    for sql in [
        format!("UPDATE conversations SET watch_until = {} WHERE key = {}", day(9).as_millis(), watched.0),
        format!("UPDATE conversations SET binding_wanted_since = 1 WHERE key = {}", wanted.0),
        format!("UPDATE conversations SET updated_at = {} WHERE key = {}", day(4).as_millis(), active.0),
    ] {
        fixture.store.execute(&sql).await.expect("updates");
    }
    fixture.ended("ended").await;
    assert_eq!(fixture.prune(day(3), 100).await, 1);
    assert_eq!(fixture.conversations().await, 5);
    assert_eq!(fixture.prune(day(3), 100).await, 0);
}

async fn a_pruned_dead_letter_lets_its_lane_go(fixture: Fixture) {
    let key = fixture.owing("c-1", 1).await;
    let [head] = fixture.claim(at(0), 1).await.try_into().expect("one head");
    let outcome = DeliveryOutcome::Dead { hold_lane: true, end: DeadEnd::Exhausted };
    fixture.finish(FinishDelivery { outcome, ..failed(&head, at(0)) }).await;
    fixture.store.owe(key, at(5)).await.expect("files");
    assert_eq!(fixture.prune(day(1).minus(Duration::from_millis(1)), 100).await, 0, "a dead letter stays until then");
    assert!(fixture.claim(day(1), 1).await.is_empty());
    assert!(fixture.prune(day(1), 100).await > 0);
    let [next] = fixture.claim(day(1), 1).await.try_into().expect("the lane goes on");
    assert_eq!(next.sequence, 3);
}

async fn pruning_goes_in_small_batches(fixture: Fixture) {
    for number in 0..7 {
        fixture.ended(&format!("c-{number}")).await;
    }
    let large = fixture.ended("large").await;
    let sql = format!("UPDATE conversations SET last_sequence = 5000 WHERE key = {}", large.0);
    fixture.store.execute(&sql).await.expect("updates");
    // Each of the small ones is two rows with its event; one that is larger than a batch goes all by itself.
    assert_eq!(fixture.prune(day(1), 6).await, 3);
    let mut rounds = 1;
    while fixture.prune(day(1), 6).await > 0 {
        rounds += 1;
    }
    assert_eq!((rounds, fixture.conversations().await), (4, 0));
}
