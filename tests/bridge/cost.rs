//! The price of a message and of a callback in the store: counted on PostgreSQL on the wire, on SQLite in its log, and written
//! down. Whoever makes it dearer has to change a number here, and whoever makes it cheaper may.
//!
//! A message goes the whole way alone: posted, sent, answered after a moment, recorded, called back twice, settled. So each step
//! stands for itself: under load several share a transaction, which the benchmark measures. The texts of the statements are
//! one for both databases (`src/store/sql`), so those that go over PostgreSQL's wire are SQLite's too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::harness::{Bridge, Setup, Unit, Wire, eventually, said, server};

/// Messages that are counted.
const MESSAGES: usize = 6;
/// Callbacks of each: the reply, and the end of the turn.
const CALLBACKS: usize = 2;
/// A step is over when nothing more comes for so long.
const QUIET: Duration = Duration::from_millis(120);
/// Time in which an idle bridge is watched.
const IDLE: Duration = Duration::from_secs(8);

/// One kind of work, its price, and the reason for it.
struct Kind {
    name: &'static str,
    /// One of these texts stands in a statement of each unit, and in no unit of a kind below it in the table.
    by: &'static [&'static str],
    /// How often it may be done for [`MESSAGES`] messages.
    units: usize,
    /// The most statements of one unit, those of the transaction's frame included. Each is a round trip.
    statements: usize,
    /// Each of these statements in a word or two.
    why: &'static str,
}

const M: usize = MESSAGES;

/// Everything that may be done for messages.
const KINDS: [Kind; 11] = [
    Kind {
        name: "message taken in",
        by: &["INSERT INTO turns ("],
        units: M,
        statements: 8,
        why: "begin; known already?; how many wait; conversation; turn; event; count of those that wait; commit",
    },
    Kind {
        name: "turns claimed",
        by: &["SELECT key FROM conversations WHERE frontend = $1 AND state = 'continued'"],
        units: M,
        statements: 14,
        why: "begin; continued ones; due ones; locked; next due, or passed over; its messages; budget's lock; its count; its new \
              entry; the report's count of requests; turn; conversation; count of those that wait; commit",
    },
    Kind {
        name: "departure",
        by: &["UPDATE budget SET at"],
        units: 2 * M,
        statements: 1,
        why: "the entry of the budget, that of a read too, moves to the moment at which the request left",
    },
    Kind {
        name: "answer recorded",
        by: &["UPDATE turns SET state = $2, state_since"],
        units: M,
        statements: 16,
        why: "begin; conversation; its turns; events seen; own messages not seen; marks; two events, each with its delivery; \
              their lane; try; turn; what waits now; conversation; commit",
    },
    Kind {
        name: "callbacks claimed",
        by: &["WITH firsts AS"],
        units: 3 * M,
        statements: 4,
        why: "begin; lanes leased; their heads; commit; once more when it is calm",
    },
    Kind {
        name: "callback ended",
        by: &["UPDATE deliveries SET state"],
        units: CALLBACKS * M,
        statements: 5,
        why: "begin; delivery; lane closed, or its next head and the lane kept for it; commit",
    },
    Kind {
        name: "next callback",
        by: &["WITH named AS"],
        units: 2 * M,
        statements: 1,
        why: "when the next one is due, asked once it is calm",
    },
    Kind {
        name: "log numbered",
        by: &["WITH due AS (SELECT conversation_key, sequence FROM events", "log_position IS NULL) AS event"],
        units: 4 * M,
        statements: 10,
        why: "is there anything?; begin; lock; heads; positions; entries; what is counted; who waits; sums; heads; commit: once \
              for the post and once for the answer",
    },
    Kind {
        name: "notice",
        by: &["pg_notify"],
        units: 6 * M,
        statements: 1,
        why: "the other replicas hear of it; what comes within ten milliseconds goes in one",
    },
    Kind {
        name: "Fini read",
        by: &[
            "INSERT INTO budget",
            "SELECT fini_event_id FROM marks WHERE conversation_key",
            "AND interaction_id =",
            "COALESCE(binding_wanted_since",
        ],
        units: 4 * M,
        statements: 10,
        why: "three seconds after the end of a turn, for its status: on a slow machine some of these fall in between",
    },
    Kind {
        name: "reading planned",
        by: &[
            "WHERE t.look_at IS NOT NULL AND t.look_at <=",
            "SELECT MIN(look_at) FROM turns",
            "COUNT(*) AS unbound",
            "FROM budget WHERE at >",
            "WHERE read_urgency = 0 AND read_at IS NOT NULL AND read_at <=",
            "SELECT MIN(read_at)",
            "FROM erasure_searches",
        ],
        units: 14 * M,
        statements: 1,
        why: "each end of a turn wakes the reader, which asks for looks, bindings, reads, the budget and erasures",
    },
];

/// Work that goes on whether anybody writes or not; the test of an idle bridge bounds it.
const BACKGROUND: [&str; 15] = [
    "pg_is_in_recovery()",
    "fini_bridge.session",
    "INTO leases",
    "clock_timestamp",
    "FROM notes",
    "UPDATE notes",
    "oldest.conversation_key FROM (SELECT",
    "the bridge stopped while",
    "SELECT key FROM turns WHERE state = 'sending'",
    "WITH called AS",
    "WITH busy AS",
    "SELECT handoff FROM conversations",
    "handoff_due_at",
    "AS watched",
    "AND watch_until > $1",
];

fn has(unit: &Unit, texts: &[&str]) -> bool {
    unit.statements.iter().any(|statement| texts.iter().any(|text| statement.contains(text)))
}

/// What one kind of work came to.
#[derive(Default)]
struct Sum {
    units: usize,
    statements: usize,
    trips: usize,
    commits: usize,
    dearest: usize,
}

impl Sum {
    fn add(&mut self, unit: &Unit) {
        self.units += 1;
        self.statements += unit.statements.len();
        self.trips += unit.trips;
        self.commits += usize::from(unit.is_commit());
        self.dearest = self.dearest.max(unit.statements.len());
    }
}

/// Adds up the units by kind, and names those that nobody has accounted for.
fn sums(units: &[Unit]) -> (BTreeMap<usize, Sum>, Vec<&Unit>) {
    let (mut sums, mut strange) = (BTreeMap::<usize, Sum>::new(), Vec::new());
    for unit in units {
        if let Some(kind) = KINDS.iter().position(|kind| has(unit, kind.by)) {
            sums.entry(kind).or_default().add(unit);
        } else if !has(unit, &BACKGROUND) {
            strange.push(unit);
        }
    }
    (sums, strange)
}

/// A number for each message.
fn each(count: usize) -> String {
    format!("{}.{}", count / M, count * 10 / M % 10)
}

fn table(sums: &BTreeMap<usize, Sum>) -> String {
    let mut text = format!(
        "{:18} {:>6} {:>11} {:>7} {:>8} {:>8}\n",
        "for each message", "times", "statements", "trips", "commits", "dearest"
    );
    let mut line = |name: &str, sum: &Sum| {
        let (times, statements, trips, commits) =
            (each(sum.units), each(sum.statements), each(sum.trips), each(sum.commits));
        writeln!(text, "{name:18} {times:>6} {statements:>11} {trips:>7} {commits:>8} {:>8}", sum.dearest)
            .expect("a string takes any text");
    };
    let mut all = Sum::default();
    for (kind, sum) in sums {
        line(KINDS[*kind].name, sum);
        all.units += sum.units;
        all.statements += sum.statements;
        all.trips += sum.trips;
        all.commits += sum.commits;
    }
    line("together", &all);
    text
}

/// A vendor that takes a moment, as Fini does, so that a message's steps stand apart; reads that come by themselves are rare.
fn setup() -> Setup {
    Setup::new().vendor(|vendor| vendor.reply_latency_ms = 120).set("poll.sweep_interval", "\"60s\"")
}

/// Has the conversation known, bound and called back for once.
async fn warm_up(bridge: &mut Bridge) {
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    bridge.turn("c", "And now?").await;
    called_back(bridge, 2 * CALLBACKS).await;
}

async fn called_back(bridge: &Bridge, count: usize) {
    eventually("the callbacks", async || (bridge.receiver.of("c").len() >= count).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_and_its_callbacks_cost_postgres_no_more_than_is_written_down() {
    let Some(server) = server("") else { return };
    let wire = Wire::before(server.port()).await;
    let mut bridge = setup().store(&wire.url(&server.database().await)).start().await;
    warm_up(&mut bridge).await;
    // Until every connection has every statement prepared, and the read after a turn is over.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut units = Vec::new();
    for n in 0..M {
        let before = bridge.receiver.of("c").len();
        eventually("quiet", async || wire.is_quiet(QUIET).then_some(())).await;
        wire.take();
        bridge.say("c", &format!("Question {n}")).await;
        called_back(&bridge, before + CALLBACKS).await;
        eventually("quiet", async || wire.is_quiet(QUIET).then_some(())).await;
        units.extend(wire.take());
    }
    let (sums, strange) = sums(&units);
    said(&table(&sums));
    assert!(strange.is_empty(), "nobody has accounted for {strange:#?}");
    for (number, kind) in KINDS.iter().enumerate() {
        let Kind { name, units, statements, why, .. } = kind;
        let Some(sum) = sums.get(&number) else { continue };
        assert!(sum.units <= *units, "{name}: {} times for {M} messages, not {units}: {why}", sum.units);
        assert!(sum.dearest <= *statements, "{name}: {} statements in one, not {statements}: {why}", sum.dearest);
        assert_eq!(sum.trips, sum.statements, "{name}: each statement is one round trip");
    }
    assert_eq!(bridge.receiver.of("c").len(), (M + 2) * CALLBACKS, "and it was these messages that were counted");
    bridge.finish().await;
}

/// Commits of one message on SQLite: taken in; numbered; claimed; departed; recorded; numbered; callbacks claimed; two ended.
const COMMITS: usize = 9;
/// Pages that these commits write. A row that is changed costs its page and one of each index that it moves in.
const PAGES: usize = 95;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_and_its_callbacks_cost_sqlite_no_more_than_is_written_down() {
    let mut bridge = setup().start().await;
    warm_up(&mut bridge).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let before = bridge.wal();
    for n in 0..M {
        bridge.say("c", &format!("Question {n}")).await;
        called_back(&bridge, (n + 3) * CALLBACKS).await;
        let mut last = bridge.wal();
        eventually("quiet", async || {
            tokio::time::sleep(QUIET).await;
            let now = bridge.wal();
            (std::mem::replace(&mut last, now) == now).then_some(())
        })
        .await;
    }
    let spent = bridge.wal().since(before);
    said(&format!("for each message on SQLite: {} commits, {} pages", each(spent.commits), each(spent.pages)));
    assert!(spent.commits <= COMMITS * M, "{} commits for {M} messages", spent.commits);
    assert!(spent.pages <= PAGES * M, "{} pages for {M} messages", spent.pages);
    bridge.finish().await;
}

/// Round trips and commits of an idle bridge in [`IDLE`]: its leases and the clock's, reading's and the housekeeper's questions.
const IDLE_TRIPS: usize = 150;
const IDLE_COMMITS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_bridge_asks_the_database_no_more_than_is_written_down() {
    let Some(server) = server("") else { return };
    let wire = Wire::before(server.port()).await;
    let shared = Setup::new().store(&wire.url(&server.database().await)).start().await;
    let embedded = Setup::new().start().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (_, before) = (wire.take(), embedded.wal());
    tokio::time::sleep(IDLE).await;
    let (units, spent) = (wire.take(), embedded.wal().since(before));
    let mut all = Sum::default();
    for unit in &units {
        all.add(unit);
    }
    let in_a_minute = |count: usize| count * 60 / usize::try_from(IDLE.as_secs()).expect("seconds");
    said(&format!(
        "idle, in a minute: {} round trips and {} commits on PostgreSQL, {} commits on SQLite",
        in_a_minute(all.trips),
        in_a_minute(all.commits),
        in_a_minute(spent.commits)
    ));
    assert!(all.trips <= IDLE_TRIPS, "{} round trips", all.trips);
    assert!(all.commits <= IDLE_COMMITS, "{} commits", all.commits);
    assert!(spent.commits <= IDLE_COMMITS, "{} commits on SQLite", spent.commits);
    shared.finish().await;
    embedded.finish().await;
}
