//! Proof that frequent queries stay cheap, however much is stored: SQLite's own plans.

use futures_util::FutureExt as _;

use super::{
    Read, SqliteStore, admin, attempts, blocked, budget, claims, erasures, evidence, expiry, feed, handoff, in_flight,
    intake, lanes, log, operator, people, prune, reading, replays, report, tries, turns, unbound,
};
use crate::{domain::destination::Subscriptions, store::conformance};

/// Tables with a few rows per frontend, parts of statements, and parameters: these may be read from end to end.
const SMALL: [&str; 20] = [
    "logs",
    "frontends",
    "waiting",
    "called",
    "f",
    "due",
    "firsts",
    "retries",
    "named",
    "picked",
    "json_each",
    "CONSTANT ROW",
    "paused",
    "busy",
    "page",
    "ids",
    "urgency_0",
    "urgency_1",
    "urgency_2",
    "others",
];

async fn plan(store: &SqliteStore, sql: &str) -> Vec<String> {
    let explain: Read<String, Vec<String>> = |conn, sql| {
        async move {
            let mut statement = conn.prepare(sql)?;
            let mut lines = statement.raw_query();
            let mut plan = Vec::new();
            while let Some(line) = lines.next()? {
                plan.push(line.get("detail")?);
            }
            Ok(plan)
        }
        .boxed()
    };
    store.read(format!("EXPLAIN QUERY PLAN {sql}"), explain).await.expect("plans")
}

#[tokio::test]
async fn frequent_questions_never_scan_a_table_that_grows() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open(&directory.path().join("bridge.db"), conformance::rules(Subscriptions::default()))
        .await
        .expect("opens");
    for (name, sql) in [
        ("backlog", admin::BACKLOG),
        ("an orphaned send", turns::ORPHAN),
        ("what is held up", admin::HELD),
        ("blocked lanes", blocked::BLOCKED[0]),
        ("blocked lanes of further destinations", blocked::BLOCKED[1]),
        ("the head of a lane", blocked::HEAD),
        ("conversations by their keys", operator::OUTLINES),
        ("conversations in which messages wait", blocked::WAITING),
        ("quarantines", operator::QUARANTINES),
        ("a conversation by any id", operator::FIND),
        ("a conversation's messages", tries::TURNS),
        ("requests for messages", tries::SENT),
        ("failed attempts of a conversation", tries::FAILED),
        ("watch summary", reading::WATCH_SUMMARY),
        ("front of the watch", reading::WATCHED_UNTIL),
        ("due reads", reading::DUE_READS),
        ("next read", reading::NEXT_READ),
        ("lease of lanes", lanes::LEASE[0]),
        ("lease of lanes of further destinations", lanes::LEASE[1]),
        ("next lane", lanes::NEXT[0]),
        ("next lane of further destinations", lanes::NEXT[1]),
        ("lanes of a lost claim", lanes::VOID[0]),
        ("lanes of a lost claim of further destinations", lanes::VOID[1]),
        ("heads of leased lanes", attempts::HEADS[0]),
        ("heads of leased lanes of further destinations", attempts::HEADS[1]),
        ("next head", attempts::NEXT_HEAD[0]),
        ("next head of further destinations", attempts::NEXT_HEAD[1]),
        ("finished deliveries", prune::FINISHED),
        ("next piece of a replay", replays::NEXT_PIECE),
        ("what a replay sends again", replays::MATCHING),
        ("overdue lanes", expiry::OVERDUE),
        ("overdue lanes of further destinations", expiry::OVERDUE_FURTHER),
        ("what has no position in the log", log::UNNUMBERED),
        ("a part of a log", log::ENTRIES),
        ("a conversation in a log", log::ENTRIES_OF),
        ("the ends of a log", log::BOUNDS),
        ("a time in a log", log::SINCE),
        ("which logs there are", report::LOGS),
        ("what entered a log", report::ENTERED),
        ("sums of a report", report::SUMS),
        ("ended conversations", prune::ENDED),
        ("spent budget", prune::SPENT),
        ("deletions that ended", prune::ERASED),
        ("due deletions", erasures::DUE),
        ("messages of others", evidence::OF_OTHERS),
        ("due handoffs", handoff::DUE),
        ("next handoff", handoff::NEXT_AT),
        ("open handoffs", handoff::OPEN),
        ("customers who wait", handoff::WAITING),
        ("a conversation by its attribute", handoff::BY_ATTRIBUTE),
        ("others in a Fini conversation", handoff::SHARING),
        ("others that are looked for", handoff::ANOTHER_LOOKED_FOR),
        ("what is known of a customer", handoff::EXTRAS),
        ("a transcript", handoff::WORDS),
    ] {
        let plan = plan(&store, sql).await;
        assert!(!plan.is_empty(), "{name} has a plan");
        for line in plan {
            let Some(scanned) = line.strip_prefix("SCAN ") else { continue };
            // A scan of an index that holds only the rows counted is as cheap as the answer is small.
            let by_index = scanned.contains(" USING ");
            let table = scanned.split(" USING ").next().unwrap_or(scanned).split(" VIRTUAL ").next().unwrap_or(scanned);
            assert!(by_index || SMALL.contains(&table), "{name} reads all of {table}: {line}");
        }
    }
}

#[tokio::test]
async fn turns_are_found_by_index_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open(&directory.path().join("bridge.db"), conformance::rules(Subscriptions::default()))
        .await
        .expect("opens");
    for (name, sql, index) in [
        ("a repeated message", intake::KNOWN, "conversations_by_id"),
        ("due turns", claims::DUE, "conversations_due"),
        ("the next due turn", claims::LATER, "conversations_due"),
        ("requests in a window", budget::COUNTED, "budget_by_time"),
        ("when people were served", claims::SERVED, "conversations_served"),
        ("the turn in flight", in_flight::OCCUPYING, "turns_open"),
        ("late turns", in_flight::UNDER_WAY, "turns_late"),
        ("the turn under way", in_flight::UNDER_WAY, "turns_open"),
        ("messages without an answer", feed::UNANSWERED, "turns_late"),
        ("messages without an event", evidence::UNSEEN_TURNS, "turns_unechoed"),
        ("unbound conversations", unbound::LOOKED_FOR, "conversations_looked_for"),
        ("summary of unbound conversations", unbound::SUMMARY, "conversations_looked_for"),
        ("turns to read", turns::TO_READ, "turns_to_look_for"),
        ("turns that wait too long", turns::WAITING_LONGEST, "turns_waiting"),
        ("a person's conversations", people::LISTED, "conversations_of_person"),
    ] {
        let lines = plan(&store, sql).await;
        assert!(lines.iter().any(|line| line.contains(index)), "{name} goes by {index}: {lines:?}");
        // Only rows found by then are gone through.
        let is_found =
            |line: &&String| ["SCAN oldest", "SCAN page", "SCAN json_each"].iter().any(|found| line.starts_with(found));
        let scan = lines.iter().find(|line| line.starts_with("SCAN ") && !is_found(line));
        assert_eq!(scan, None, "{name}");
    }
}

/// Conversations of each state in which nothing is left to be done, so many of each.
const OVER: &str = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1), \
        kinds (kind) AS (VALUES ('resolved'), ('lost'), ('quarantined'), ('continued'), ('erased')) \
     INSERT INTO conversations (frontend, conversation_id, attribute, state, interaction_id, shared_interaction_id, first_sent_at, \
        created_at, updated_at, last_activity_at, erased_at) \
     SELECT 'web', kind || n, kind || n, CASE kind WHEN 'erased' THEN 'open' ELSE kind END, \
        CASE kind WHEN 'resolved' THEN 'bound-' || n END, CASE WHEN kind IN ('quarantined', 'continued') THEN 'bound-' || n END, \
        CASE WHEN kind IN ('quarantined', 'continued') THEN n END, n, n, n, CASE kind WHEN 'erased' THEN n END FROM numbers, kinds";

/// Steps of SQLite's machine that a statement takes beside so many conversations of each of these states.
fn steps(count: i64, sql: &str, parameters: &[i64]) -> i32 {
    let connection = rusqlite::Connection::open_in_memory().expect("opens");
    for step in super::connect::MIGRATIONS {
        connection.execute_batch(step).expect("migrates");
    }
    connection.execute(OVER, [count]).expect("fills");
    let mut statement = connection.prepare(sql).expect("prepares");
    for (place, parameter) in (1..).zip(parameters) {
        statement.raw_bind_parameter(place, parameter).expect("binds");
    }
    let mut rows = statement.raw_query();
    while rows.next().expect("answers").is_some() {}
    drop(rows);
    statement.get_status(rusqlite::StatementStatus::VmStep)
}

#[test]
fn what_the_loops_ask_for_again_and_again_costs_the_same_beside_any_number_of_conversations_that_are_over() {
    let now = 1_000_000;
    for (name, sql, parameters) in [
        ("unbound conversations", unbound::LOOKED_FOR, &[200][..]),
        ("summary of unbound conversations", unbound::SUMMARY, &[now, 200]),
        ("watch summary", reading::WATCH_SUMMARY, &[now]),
        ("front of the watch", reading::WATCHED_UNTIL, &[now, now, 64]),
        ("due reads", reading::DUE_READS, &[now, 64]),
        ("next read", reading::NEXT_READ, &[]),
        ("turns to read", turns::TO_READ, &[now, 64]),
        ("turns that wait too long", turns::WAITING_LONGEST, &[now, 64]),
        ("due handoffs", handoff::DUE, &[now, 20]),
        ("next handoff", handoff::NEXT_AT, &[]),
    ] {
        let (few, many) = (steps(10, sql, parameters), steps(2_000, sql, parameters));
        assert_eq!(few, many, "{name}");
    }
}
