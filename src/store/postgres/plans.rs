//! Proof that frequent queries use the indexes that are made for them, however much is stored and however
//! little the planner knows: PostgreSQL's own plans, made in a database that is still empty.

use futures_util::FutureExt as _;
use sqlx::{AssertSqlSafe, Row as _};

use super::{
    Frame, PostgresStore, Read, admin, attempts, bindings, blocked, budget, claims, erasures, evidence, expiry, feed,
    handoff, in_flight, intake, lanes, log, operator, people, prune, reading, records, replays, report, server, tries,
    turns, unbound,
};
use crate::{domain::destination::Subscriptions, store::conformance};

/// Opens a store in an empty schema; `None` without PostgreSQL.
async fn empty() -> Option<PostgresStore> {
    let url = server::schema().await?;
    Some(PostgresStore::open(&[url], 4, conformance::rules(Subscriptions::default())).await.expect("opens"))
}

/// Plans a statement as sessions of the store do.
async fn plan(store: &PostgresStore, sql: &str) -> String {
    let explain: Read<String, Vec<String>> = |conn, sql| {
        async move {
            let parameters = (1..=99).take_while(|number| sql.contains(&format!("${number}"))).count();
            let nothing =
                if parameters == 0 { String::new() } else { format!("({})", vec!["NULL"; parameters].join(", ")) };
            sqlx::raw_sql(AssertSqlSafe(format!("PREPARE planned AS {sql}"))).execute(&mut *conn).await?;
            let lines =
                sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE planned{nothing}"))).fetch_all(&mut *conn).await?;
            sqlx::raw_sql("DEALLOCATE planned").execute(&mut *conn).await?;
            lines.iter().map(|line| Ok(line.try_get(0)?)).collect()
        }
        .boxed()
    };
    store.engine.read(Frame::None, &sql.to_owned(), explain).await.expect("plans").join("\n")
}

/// Tables with a few rows per frontend: these may be read from end to end.
const SMALL: [&str; 2] = ["frontends", "waiting"];

/// Returns the lines of a plan that read from end to end, except small tables and the partial indexes `asked_for`.
fn read_whole(plan: &str, asked_for: &[&str]) -> Vec<String> {
    let lines: Vec<&str> = plan.lines().map(str::trim).collect();
    let is_whole = |(number, line): &(usize, &&str)| {
        let Some((scan, of)) = line.trim_start_matches("-> ").trim_start().split_once(" on ") else { return false };
        let of = of.split(' ').next().unwrap_or_default();
        let index = scan.split_once(" using ").map_or(of, |(_, index)| index);
        let has_condition = lines.get(number + 1).is_some_and(|next| next.starts_with("Index Cond"));
        match scan {
            _ if SMALL.contains(&of) || asked_for.contains(&index) => false,
            "Seq Scan" => true,
            _ => scan.contains("Index") && !has_condition,
        }
    };
    let whole = lines.iter().enumerate().filter(is_whole).map(|(_, line)| (*line).to_owned());
    whole.chain(lines.iter().filter(|line| line.starts_with("Join Filter")).map(|line| (*line).to_owned())).collect()
}

#[tokio::test]
async fn frequent_questions_go_by_their_index_from_the_first_row_on() {
    let Some(store) = empty().await else { return };
    let counted = [
        "turns_waiting",
        "turns_in_flight",
        "turns_open",
        "turns_late",
        "conversations_wanted",
        "conversations_quarantined",
        "deliveries_owed",
        "deliveries_owed_to",
    ];
    let mut faults = Vec::new();
    for (name, sql, asked_for) in [
        ("a repeated message", intake::KNOWN, &[][..]),
        ("due turns", claims::DUE, &[]),
        ("picked turns", claims::PICKED, &[]),
        ("the next due turn", claims::LATER_OR_PASSED_OVER, &[]),
        ("requests in a window", budget::COUNTED, &[]),
        ("when people were served", claims::SERVED, &[]),
        ("the turn in flight", in_flight::OCCUPYING, &[]),
        ("turns under way", in_flight::UNDER_WAY, &[]),
        ("messages without an answer", feed::UNANSWERED, &[]),
        ("a conversation's turns", records::TURNS, &[]),
        ("messages without an event", evidence::UNSEEN_TURNS, &[]),
        ("marked events", evidence::MARKED, &[]),
        ("owners", bindings::OWNERS, &[]),
        ("unbound conversations", unbound::LOOKED_FOR, &["conversations_looked_for"]),
        ("summary of unbound conversations", unbound::SUMMARY, &["conversations_looked_for"]),
        ("events of unbound conversations", unbound::EVENTS, &[]),
        ("open messages of unbound conversations", unbound::OPEN, &[]),
        ("given up messages of unbound conversations", unbound::GIVEN_UP, &[]),
        ("messages of others", evidence::OF_OTHERS, &["turns_unechoed"]),
        ("turns to read", turns::TO_READ, &[]),
        ("turns that wait too long", turns::WAITING_LONGEST, &[]),
        ("an orphaned send", turns::ORPHAN, &["turns_in_flight"]),
        ("backlog", admin::BACKLOG, &counted),
        ("what is held up", admin::HELD, &counted),
        ("blocked lanes", blocked::BLOCKED[0], &[]),
        ("blocked lanes of further destinations", blocked::BLOCKED[1], &[]),
        ("the head of a lane", blocked::HEAD, &[]),
        ("conversations by their keys", operator::OUTLINES, &[]),
        ("conversations in which messages wait", blocked::WAITING, &[]),
        ("quarantines", operator::QUARANTINES, &["conversations_quarantined"]),
        ("a conversation by any id", operator::FIND, &[]),
        ("a conversation's messages", tries::TURNS, &[]),
        ("requests for messages", tries::SENT, &[]),
        ("failed attempts of a conversation", tries::FAILED, &[]),
        ("watch summary", reading::WATCH_SUMMARY, &[]),
        ("front of the watch", reading::WATCHED_UNTIL, &[]),
        ("due reads", reading::DUE_READS, &[]),
        ("next read", reading::NEXT_READ, &[]),
        ("lease of lanes", lanes::LEASE[0], &[]),
        ("lease of lanes of further destinations", lanes::LEASE[1], &[]),
        ("next lane", lanes::NEXT[0], &["lanes_leased"]),
        ("next lane of further destinations", lanes::NEXT[1], &["destination_lanes_leased"]),
        ("lanes of a lost claim", lanes::VOID[0], &["lanes_leased"]),
        ("lanes of a lost claim of further destinations", lanes::VOID[1], &["destination_lanes_leased"]),
        ("heads of leased lanes", attempts::HEADS[0], &[]),
        ("heads of leased lanes of further destinations", attempts::HEADS[1], &[]),
        ("next head", attempts::NEXT_HEAD[0], &[]),
        ("next head of further destinations", attempts::NEXT_HEAD[1], &[]),
        ("finished deliveries", prune::FINISHED, &[]),
        ("next piece of a replay", replays::NEXT_PIECE, &["replays_next"]),
        ("what a replay sends again", replays::MATCHING, &[]),
        ("overdue lanes", expiry::OVERDUE, &["lanes_blocked"]),
        ("overdue lanes of further destinations", expiry::OVERDUE_FURTHER, &["destination_lanes_blocked"]),
        ("what has no position in the log", log::UNNUMBERED, &["events_unlogged", "log_notices_pkey"]),
        ("a part of a log", log::ENTRIES, &[]),
        ("a conversation in a log", log::ENTRIES_OF, &[]),
        ("the ends of a log", log::BOUNDS, &[]),
        ("a time in a log", log::SINCE, &[]),
        ("which logs there are", report::LOGS, &[]),
        ("what entered a log", report::ENTERED, &[]),
        ("sums of a report", report::SUMS, &[]),
        ("ended conversations", prune::ENDED, &[]),
        ("spent budget", prune::SPENT, &[]),
        ("deletions that ended", prune::ERASED, &[]),
        ("due deletions", erasures::DUE, &[]),
        ("a person's conversations", people::LISTED, &[]),
        ("due handoffs", handoff::DUE, &[]),
        ("next handoff", handoff::NEXT_AT, &["conversations_handoff_due"]),
        ("customers who wait", handoff::WAITING, &[]),
        ("a conversation by its attribute", handoff::BY_ATTRIBUTE, &[]),
        ("others in a Fini conversation", handoff::SHARING, &[]),
        ("others that are looked for", handoff::ANOTHER_LOOKED_FOR, &["conversations_looked_for"]),
    ] {
        let plan = plan(&store, sql).await;
        let whole = read_whole(&plan, asked_for);
        if !whole.is_empty() {
            faults.push(format!("{name}: {whole:?} in\n{plan}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// Due rows are taken in the order of their index: nothing sorts all of them to find the first few.
#[tokio::test]
async fn what_is_due_is_never_sorted() {
    let Some(store) = empty().await else { return };
    for sql in
        [claims::DUE, turns::TO_READ, reading::DUE_READS, reading::WATCHED_UNTIL, unbound::LOOKED_FOR, unbound::SUMMARY]
    {
        let plan = plan(&store, sql).await;
        assert!(!plan.contains("Sort"), "{plan}");
    }
}

#[test]
fn what_is_read_whole_is_told_from_what_is_looked_up() {
    let bad = "Limit\n  ->  Index Scan using turns_waiting on turns t\n        Filter: (conversation_key = $1)";
    assert_eq!(read_whole(bad, &[]).len(), 1);
    assert_eq!(read_whole(bad, &["turns_waiting"]).len(), 0);
    assert_eq!(read_whole("Seq Scan on marks\n  Filter: x", &[]).len(), 1);
    assert_eq!(read_whole("Seq Scan on frontends f", &[]).len(), 0);
    assert_eq!(read_whole("Bitmap Index Scan on turns_open  (cost=1)", &[]).len(), 1);
    assert_eq!(read_whole("Index Scan using turns_open on turns\n  Index Cond: (conversation_key = $1)", &[]).len(), 0);
    assert_eq!(read_whole("Nested Loop\n  Join Filter: (a = b)", &[]).len(), 1);
}
