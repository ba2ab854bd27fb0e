//! The log: numbered behind the commits, complete for every follower, honest about pruned parts.

use std::collections::{HashMap, HashSet};

use futures_util::future::{join, join_all};

use super::{talk::*, *};
use crate::domain::log::{ERASED, LogCursor, TypeFilter};

suite!(
    the_log_has_every_event_once_in_the_order_of_its_commits,
    nothing_is_skipped_however_many_write_and_number_at_once,
    what_an_older_version_wrote_gets_its_place_in_the_order_of_the_feed,
    a_cursor_is_good_after_a_restart_and_of_its_own_log_alone,
    a_cursor_of_a_log_that_was_restored_is_unknown,
    reading_begins_at_a_time_at_the_oldest_or_at_the_end,
    types_and_conversations_are_picked_and_the_rest_is_passed,
    an_erased_conversation_leaves_its_hash_alone_in_the_log,
    what_was_pruned_is_told_to_whoever_had_not_read_it,
    who_follows_a_log_is_woken_by_its_own_growth,
);

fn query(after: LogCursor, entries: usize) -> LogQuery {
    LogQuery { frontend: web(), after, types: TypeFilter::default(), conversation: None, most: most(entries) }
}

impl Fixture {
    async fn number(&self) -> usize {
        let mut numbered = 0;
        loop {
            match self.store.number_log(100).await.expect("numbers") {
                0 => return numbered,
                some => numbered += some,
            }
        }
    }

    async fn page(&self, query: &LogQuery) -> LogPage {
        match self.store.log(query).await.expect("reads") {
            LogRead::Page(page) => page,
            other => panic!("{other:?}"),
        }
    }

    async fn whole_log(&self, query: &LogQuery) -> Vec<LogEntry> {
        let (mut query, mut entries) = (query.clone(), Vec::new());
        loop {
            let page = self.page(&query).await;
            entries.extend(page.entries);
            query.after = page.reached;
            if !page.has_more {
                return entries;
            }
        }
    }

    async fn start(&self, start: LogStart) -> LogCursor {
        self.store.log_start(&web(), start).await.expect("reads")
    }
}

fn id_of(entry: &LogEntry) -> String {
    json(&entry.body)["id"].as_str().expect("an id").to_owned()
}

/// Checks that each conversation's events stand in the order of its feed, without gaps.
fn in_order(entries: &[LogEntry]) {
    let mut last = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.kind != ERASED) {
        let body = json(&entry.body);
        let before = last.entry(body["conversation_id"].to_string()).or_insert(0);
        assert_eq!(body["sequence"], *before + 1, "{body}");
        *before += 1;
    }
}

async fn the_log_has_every_event_once_in_the_order_of_its_commits(fixture: Fixture) {
    for number in 0..6 {
        // The events' own clock runs backwards.
        fixture.post(&format!("c-{}", number % 3), &format!("m-{number}"), at(10 - number)).await;
        assert_eq!(fixture.number().await, 1);
    }
    assert_eq!(fixture.number().await, 0);
    let texts = |entries: &[LogEntry]| -> Vec<String> {
        entries
            .iter()
            .map(|entry| json(&entry.body)["data"]["message"]["id"].as_str().expect("an id").to_owned())
            .collect()
    };
    let all = fixture.whole_log(&query(LogCursor::START, 100)).await;
    assert_eq!(texts(&all), ["m-0", "m-1", "m-2", "m-3", "m-4", "m-5"]);
    in_order(&all);
    let pages = fixture.whole_log(&query(LogCursor::START, 2)).await;
    assert_eq!(pages, all);
    let feed = fixture.store.feed(&web(), &id("c-1"), 0, most(10)).await.expect("reads").expect("is there").1;
    assert_eq!(feed.entries[0].body, all[1].body, "the same bytes");
    let bytes = LogQuery { most: Most { entries: 100, bytes: 1 }, ..query(LogCursor::START, 0) };
    let page = fixture.page(&bytes).await;
    assert_eq!((page.entries.len(), page.has_more), (1, true), "one at least");
    let nobody = LogQuery { frontend: FrontendName::trusted("quiet"), ..query(LogCursor::START, 10) };
    assert_eq!(fixture.page(&nobody).await, LogPage { entries: vec![], reached: LogCursor::START, has_more: false });
}

async fn nothing_is_skipped_however_many_write_and_number_at_once(fixture: Fixture) {
    const POSTS: i64 = 120;
    let posts = join_all((0..POSTS).map(|number| {
        let message = new_message(&format!("c-{}", number % 12), &format!("m-{number}"), at(number));
        fixture.store.accept(message)
    }));
    let expected = usize::try_from(POSTS).expect("few");
    let numberers = join_all((0..3).map(|_| async {
        while fixture.store.log_start(&web(), LogStart::End).await.expect("reads").position < POSTS {
            fixture.store.number_log(7).await.expect("numbers");
            tokio::task::yield_now().await;
        }
    }));
    let follower = async {
        let (mut query, mut seen) = (query(LogCursor::START, 9), Vec::new());
        while seen.len() < expected {
            let page = fixture.page(&query).await;
            query.after = page.reached;
            seen.extend(page.entries);
            tokio::task::yield_now().await;
        }
        seen
    };
    let all = async { join(posts, join(numberers, follower)).await };
    let (posted, (_, seen)) = tokio::time::timeout(Duration::from_mins(5), all).await.expect("the follower sees all");
    assert!(posted.iter().all(|accepted| matches!(accepted, Ok(Accepted::New { .. }))));
    in_order(&seen);
    assert_eq!(seen.iter().map(id_of).collect::<HashSet<_>>().len(), expected);
    assert_eq!(
        fixture.whole_log(&self::query(LogCursor::START, 500)).await,
        seen,
        "whoever reads later reads the same"
    );
}

async fn what_an_older_version_wrote_gets_its_place_in_the_order_of_the_feed(fixture: Fixture) {
    // Two replicas whose clocks differ wrote one conversation.
    for (number, recorded) in [(1, 50), (2, 10), (3, 40), (4, 20)] {
        fixture.post("c-1", &format!("m-{number}"), at(recorded)).await;
    }
    fixture.post("c-2", "m", at(15)).await;
    while fixture.store.number_log(1).await.expect("numbers") > 0 {}
    let all = fixture.whole_log(&query(LogCursor::START, 100)).await;
    assert_eq!(all.len(), 5);
    in_order(&all);
}

async fn a_cursor_is_good_after_a_restart_and_of_its_own_log_alone(fixture: Fixture) {
    for number in 0..3 {
        fixture.post("c", &format!("m-{number}"), at(number)).await;
    }
    fixture.number().await;
    let first = fixture.page(&query(LogCursor::START, 1)).await.reached;
    let fixture = fixture.reopen().await;
    let rest = fixture.page(&query(first, 10)).await;
    assert_eq!(rest.entries.len(), 2);
    let other = EventId::trusted("evt_other");
    for unknown in [LogCursor::behind(2, &other), LogCursor::behind(99, &other)] {
        assert_eq!(fixture.store.log(&query(unknown, 10)).await.expect("reads"), LogRead::Unknown);
    }
    let foreign = LogQuery { frontend: FrontendName::trusted("quiet"), ..query(first, 10) };
    assert_eq!(fixture.store.log(&foreign).await.expect("reads"), LogRead::Unknown, "another frontend's");
}

async fn a_cursor_of_a_log_that_was_restored_is_unknown(fixture: Fixture) {
    fixture.post("c", "m-0", at(0)).await;
    fixture.number().await;
    fixture.post("c", "lost", at(1)).await;
    fixture.number().await;
    let lost = fixture.start(LogStart::End).await;
    // As the backup has it, from before the second message.
    for sql in [
        "DELETE FROM log_entries WHERE position = 2",
        "DELETE FROM turns WHERE message_id = 'lost'",
        "DELETE FROM events WHERE sequence = 2",
        "UPDATE conversations SET last_sequence = 1",
        "UPDATE log_head SET position = 1",
    ] {
        fixture.store.execute(sql).await.expect("restores");
    }
    assert_eq!(fixture.store.log(&query(lost, 10)).await.expect("reads"), LogRead::Unknown);
    fixture.post("c", "another", at(2)).await;
    fixture.number().await;
    let now = fixture.start(LogStart::End).await;
    assert_eq!(now.position, lost.position);
    assert_eq!(
        fixture.store.log(&query(lost, 10)).await.expect("reads"),
        LogRead::Unknown,
        "the event there is another"
    );
}

async fn reading_begins_at_a_time_at_the_oldest_or_at_the_end(fixture: Fixture) {
    for (number, shown) in
        ["2027-01-15T08:00:00Z", "2027-01-15T09:00:00Z", "2027-01-15T08:30:00Z", "2027-01-15T10:00:00Z"]
            .into_iter()
            .enumerate()
    {
        fixture.wall.show(shown);
        fixture.post(&format!("c-{number}"), "m", at(0)).await;
        fixture.number().await;
    }
    let since = async |time: &str| {
        let time: jiff::Timestamp = time.parse().expect("a time");
        let start = fixture.start(LogStart::Since(Timestamp::from_millis(time.as_millisecond()))).await;
        fixture.page(&query(start, 10)).await.entries.len()
    };
    assert_eq!(since("2000-01-01T00:00:00Z").await, 4);
    assert_eq!(since("2027-01-15T08:00:00.001Z").await, 3);
    // The third was recorded behind one that was shown later: it is given, rather than left out.
    assert_eq!(since("2027-01-15T09:00:00Z").await, 3);
    assert_eq!(since("2027-01-15T09:30:00Z").await, 1);
    assert_eq!(since("2027-01-15T10:30:00Z").await, 0);
    assert_eq!(fixture.start(LogStart::Oldest).await, LogCursor::START);
    let end = fixture.start(LogStart::End).await;
    assert_eq!(fixture.page(&query(end, 10)).await.entries, vec![]);
}

async fn types_and_conversations_are_picked_and_the_rest_is_passed(fixture: Fixture) {
    fixture.bound_talk("c-1", "i-1", at(0)).await;
    for number in 0..5 {
        fixture.post("c-2", &format!("m-{number}"), at(100 + number)).await;
    }
    fixture.number().await;
    let mut types = TypeFilter::default();
    types.add("turn.*").expect("known");
    let turns = LogQuery { types, ..query(LogCursor::START, 10) };
    let page = fixture.page(&turns).await;
    let kinds: Vec<&str> = page.entries.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["turn.completed"]);
    assert_eq!(
        (page.reached, page.has_more),
        (fixture.start(LogStart::End).await, false),
        "what does not match is passed"
    );
    for (conversation, count) in [("c-2", 5), ("nobody", 0)] {
        let of_one = LogQuery { conversation: Some(id(conversation)), ..query(LogCursor::START, 10) };
        let page = fixture.page(&of_one).await;
        assert_eq!(page.entries.len(), count);
        assert!(page.entries.iter().all(|entry| json(&entry.body)["conversation_id"] == conversation));
        assert_eq!(page.reached, fixture.start(LogStart::End).await);
        let in_parts = fixture.whole_log(&LogQuery { most: most(2), ..of_one }).await;
        assert_eq!(in_parts, page.entries);
    }
}

async fn an_erased_conversation_leaves_its_hash_alone_in_the_log(fixture: Fixture) {
    for (number, conversation) in ["kept", "erased", "kept"].into_iter().enumerate() {
        fixture.post(conversation, &format!("m-{number}"), at(0)).await;
        fixture.number().await;
    }
    // The position behind an erased event stays valid.
    let behind = fixture.page(&query(LogCursor::START, 2)).await.reached;
    fixture.post("erased", "not yet numbered", at(1)).await;
    fixture.store.erase(&web(), &id("erased"), false, at(2)).await.expect("erases");
    fixture.number().await;
    let all = fixture.whole_log(&query(LogCursor::START, 1)).await;
    let kinds: Vec<&str> = all.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["message.created", "message.created", ERASED]);
    let told = json(&all[2].body);
    assert_eq!(told["conversation_id"], id("erased").erased().as_str());
    assert_eq!((&told["data"], &told["sequence"]), (&serde_json::json!({}), &Value::Null));
    assert_eq!(fixture.page(&query(behind, 10)).await.entries, all[1..]);
    fixture.post("erased", "begun anew", at(3)).await;
    fixture.number().await;
    assert_eq!(fixture.whole_log(&query(all[2].cursor, 10)).await.len(), 1);
}

async fn what_was_pruned_is_told_to_whoever_had_not_read_it(fixture: Fixture) {
    let retention = Duration::from_hours(24);
    for (number, recorded) in [0, 1, 2, 100_000_000].into_iter().enumerate() {
        fixture.post(&format!("c-{number}"), "m", at(recorded)).await;
    }
    fixture.number().await;
    let [first, second, third, _] = fixture.whole_log(&query(LogCursor::START, 10)).await.try_into().expect("four");
    fixture.store.prune(at(2).plus(retention), retention, 2).await.expect("prunes");
    let LogRead::Expired { oldest } = fixture.store.log(&query(first.cursor, 10)).await.expect("reads") else {
        panic!("the second was pruned")
    };
    assert_eq!(oldest, second.cursor);
    fixture.store.prune(at(2).plus(retention), retention, 2).await.expect("prunes");
    for expired in [LogCursor::START, first.cursor, second.cursor] {
        let read = fixture.store.log(&query(expired, 10)).await.expect("reads");
        assert_eq!(read, LogRead::Expired { oldest: third.cursor });
    }
    let oldest = fixture.start(LogStart::Oldest).await;
    assert_eq!(oldest, third.cursor);
    assert_eq!(fixture.page(&query(oldest, 10)).await.entries.len(), 1);
    fixture.store.prune(at(100_000_000).plus(retention), retention, 100).await.expect("prunes");
    let end = fixture.start(LogStart::End).await;
    assert_eq!((end.position, fixture.page(&query(end, 10)).await.entries.len()), (4, 0));
    fixture.post("c-9", "m", at(200_000_000)).await;
    fixture.number().await;
    assert_eq!(fixture.page(&query(end, 10)).await.entries.len(), 1, "numbers go on where they were");
}

async fn who_follows_a_log_is_woken_by_its_own_growth(fixture: Fixture) {
    use futures_util::FutureExt as _;
    let follow = |name: &str| {
        let key = ConversationKey::log(&FrontendName::trusted(name));
        fixture.store.changes().follow(key, Topic::Feed)
    };
    let (mut own, mut other) = (follow("web"), follow("quiet"));
    fixture.post("c", "m", at(0)).await;
    // In a shared database every follower is told to look for itself now and then.
    let is_alone = !fixture.store.may_be_shared();
    assert!(!is_alone || own.next().now_or_never().is_none(), "it is not in the log yet");
    fixture.number().await;
    own.next().await;
    assert!(!is_alone || other.next().now_or_never().is_none());
}
