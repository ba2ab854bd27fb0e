//! A list that moves while it is read: nothing is missed, nothing comes twice.

use super::*;
use crate::sandbox::{ListOrder, SinceReading};

const READINGS: [SinceReading; 2] = [SinceReading::Created, SinceReading::Updated];

/// Moves conversations to the top after every page: old ones, new ones, and the one that serves as the cursor.
fn shuffle(sandbox: &Sandbox, seed: u64, each: usize) -> Mover<impl Fn(&Counts) + Send + Sync> {
    let sandbox = sandbox.clone();
    Mover(move |counts: &Counts| {
        if counts.pages > 40 {
            return;
        }
        let mut dice = fastrand::Rng::with_seed(seed ^ counts.pages);
        let all = sandbox.conversations(usize::MAX);
        for _ in 0..each {
            let at = dice.usize(0..all.len());
            // The bottom of the page just read is where a cursor stands.
            let cursor = (usize::try_from(counts.pages).expect("small") * 100).saturating_sub(1).min(all.len() - 1);
            let chosen = if dice.u8(0..4) == 0 { &all[cursor] } else { &all[at] };
            sandbox.agent_message(&chosen.id.to_string(), "A new message").expect("said");
        }
    })
}

#[tokio::test]
async fn nothing_is_missed_up_to_now() {
    for reading in READINGS {
        for (days, seed) in [(6, 1), (250, 2)] {
            let bench = Bench::with(|config| config.settings.since_reading = reading).await;
            bench.seed(900, days, 1, 3);
            let before = bench.truth();
            let watcher = shuffle(&bench.sandbox, seed, 20);
            let outcome = bench.export(days + 1, None, &watcher).await.expect("exported");
            assert_holds(&outcome.rows, &before, |_| false);
            println!("{reading:?}, {days} days: {} requests for {} conversations", outcome.counts.requests, 900);
        }
    }
}

#[tokio::test]
async fn what_leaves_a_past_range_while_it_is_read_still_belongs() {
    for reading in READINGS {
        let bench = Bench::with(|config| config.settings.since_reading = reading).await;
        bench.seed(600, 40, 31, 3);
        bench.seed(800, 30, 10, 3);
        bench.seed(600, 9, 1, 3);
        let now = SystemClock.now().as_millis();
        let inside = |conversation: &Conversation| {
            let at = match reading {
                SinceReading::Created => conversation.created_at,
                SinceReading::Updated => conversation.latest_at,
            };
            (now - 30 * DAY - DAY / 2..=now - 9 * DAY - DAY / 2).contains(&at)
        };
        let before: Vec<_> = bench.truth().into_iter().filter(|conversation| inside(conversation)).collect();
        assert_eq!(before.len(), 800);
        let watcher = shuffle(&bench.sandbox, 5, 30);
        let range = Range {
            since: Timestamp::from_millis(now - 30 * DAY - DAY / 2),
            until: Some(Timestamp::from_millis(now - 9 * DAY - DAY / 2)),
        };
        let clock = SystemClock.now().point();
        let state = State::new(clock.as_millis(), range.until.map(Timestamp::as_millis), range.windows(clock));
        let staging = Stage::open::<State>(&bench.out(), TEST, Kept::Respect).expect("a staging file").staging;
        let outcome = bench.go_on(staging, state, &watcher).await.expect("exported");
        assert_holds(&outcome.rows, &before, |_| false);
    }
}

/// A conversation from before the range whose only messages inside it are replies: by creation it does not belong, by
/// latest message it does.
#[tokio::test]
async fn an_old_conversation_that_moves_belongs_only_where_messages_count() {
    for reading in READINGS {
        let bench = Bench::with(|config| config.settings.since_reading = reading).await;
        let now = SystemClock.now().as_millis();
        bench.seed(250, 25, 15, 3);
        let at = Some(now - 31 * DAY);
        let old = Seed { conversations: 1, events_each: 1, from_ms: at, to_ms: at, ..Seed::default() };
        let old = bench.sandbox.seed(&old).expect("seeded").first_id.expect("one");
        let reply = serde_json::json!({
            "role": "agent", "type": "message", "message": "A reply", "createdAt": now - 20 * DAY
        });
        bench.sandbox.inject(&old, reply.as_object().expect("an object")).expect("said");
        let range = Range {
            since: Timestamp::from_millis(now - 30 * DAY),
            until: Some(Timestamp::from_millis(now - 10 * DAY)),
        };
        let (sandbox, moved) = (bench.sandbox.clone(), old.clone());
        let watcher = Mover(move |counts: &Counts| {
            if counts.pages == 1 {
                sandbox.agent_message(&moved, "Late").expect("said");
            }
        });
        let start = SystemClock.now().point();
        let state = State::new(start.as_millis(), range.until.map(Timestamp::as_millis), range.windows(start));
        let staging = Stage::open::<State>(&bench.out(), TEST, Kept::Respect).expect("a staging file").staging;
        let outcome = bench.go_on(staging, state, &watcher).await.expect("exported");
        let listed = outcome.rows.iter().any(|row| id(row) == old);
        assert_eq!(listed, reading == SinceReading::Updated, "{reading:?}");
        assert_eq!(outcome.rows.len(), 250 + usize::from(listed));
    }
}

#[tokio::test]
async fn conversations_that_begin_or_vanish_meanwhile_do_no_harm() {
    for status in [500, 404, 400] {
        let bench = Bench::with(|config| {
            config.settings.unknown_cursor_status = status;
            config.settings.list_order = ListOrder::AnyEvent;
        })
        .await;
        bench.seed(900, 6, 1, 2);
        let before = bench.truth();
        let sandbox = bench.sandbox.clone();
        let watcher = Mover(move |counts: &Counts| {
            let all = sandbox.conversations(usize::MAX);
            // The cursor itself, and its neighbour every other time.
            let bottom = usize::try_from(counts.pages).expect("small") * 100 - 1;
            for (n, back) in [(0, 0), (1, 1)] {
                if let Some(victim) = all.get(bottom.saturating_sub(back)).filter(|_| counts.pages % 2 == n || n == 0) {
                    sandbox.vanish(&victim.id.to_string()).expect("known");
                }
            }
        });
        let outcome = bench.export(7, None, &watcher).await.expect("exported");
        let left: BTreeSet<String> = bench.truth().iter().map(|conversation| conversation.id.to_string()).collect();
        let wanted: Vec<_> = before.iter().filter(|it| left.contains(&it.id.to_string())).cloned().collect();
        let known: BTreeSet<String> = before.iter().map(|conversation| conversation.id.to_string()).collect();
        assert_holds(&outcome.rows, &wanted, |id| known.contains(id));
        assert!(outcome.counts.detours > 0 && outcome.counts.restarts == 0, "{:?}", outcome.counts);
        assert!(outcome.counts.requests < 60, "{:?}", outcome.counts);
    }
}

#[tokio::test]
async fn a_whole_page_that_vanishes_costs_a_restart_below_it() {
    let bench = Bench::new().await;
    bench.seed(1_000, 6, 1, 2);
    let sandbox = bench.sandbox.clone();
    let done = AtomicBool::new(false);
    let watcher = Mover(move |counts: &Counts| {
        if counts.pages == 4 && !done.swap(true, Ordering::Relaxed) {
            for victim in sandbox.conversations(usize::MAX).iter().skip(300).take(100) {
                sandbox.vanish(&victim.id.to_string()).expect("known");
            }
        }
    });
    let before = bench.truth();
    let outcome = bench.export(7, None, &watcher).await.expect("exported");
    assert_eq!(outcome.rows.len(), 1_000, "what was read before it vanished stays");
    assert_holds(&outcome.rows, &before, |_| false);
    assert_eq!(outcome.counts.restarts, 1);
    assert!(outcome.counts.pages <= 12, "{:?}", outcome.counts);
}
