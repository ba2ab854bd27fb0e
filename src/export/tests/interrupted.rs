//! An export that is cut off at any page and goes on later.

use tokio::sync::Notify;

use super::*;

/// Reads until `pages` pages came, then drops everything on the spot.
async fn cut_after(bench: &Bench, pages: u64, kept: Kept) {
    let found = Stage::open::<State>(&bench.out(), TEST, kept).expect("a staging file");
    let now = SystemClock.now().point();
    let range = Range { since: Timestamp::from_millis(now.as_millis() - 7 * DAY), until: None };
    let (mut staging, mut state) =
        (found.staging, found.state.unwrap_or_else(|| State::new(now.as_millis(), None, range.windows(now))));
    let reached = Arc::new(Notify::new());
    let notify = Arc::clone(&reached);
    let begun = state.counts.pages;
    let watcher = Mover(move |counts: &Counts| {
        if counts.pages >= begun + pages {
            notify.notify_one();
        }
    });
    let permits = OwnLog::new(u32::MAX, Duration::from_secs(1));
    let patient = bench.patient(&permits, &watcher);
    let export = Conversations::new(&patient, &SystemClock, Filter::default());
    tokio::select! {
        biased;
        () = reached.notified() => {}
        done = export.read(&mut staging, &mut state) => panic!("ended before it was cut: {done:?}"),
    }
}

async fn resume(bench: &Bench) -> Outcome {
    let found = Stage::open::<State>(&bench.out(), TEST, Kept::Continue).expect("a staging file");
    let state = found.state.expect("a checkpoint");
    bench.go_on(found.staging, state, &Quiet).await.expect("exported")
}

#[tokio::test]
async fn it_goes_on_from_any_page_without_doubles() {
    for pages in 1..=9 {
        let bench = Bench::new().await;
        bench.seed(1_000, 6, 1, 2);
        cut_after(&bench, pages, Kept::Respect).await;
        let outcome = resume(&bench).await;
        assert_exact(&bench, &outcome.rows);
        let requests = bench.sandbox.audit(0, false).requests;
        assert!(requests <= 12, "{requests} requests, cut after {pages}");
        assert!(!bench.out().with_extension("ndjson.partial").exists());
    }
}

#[tokio::test]
async fn it_goes_on_again_and_again_while_the_list_moves() {
    let bench = Bench::new().await;
    bench.seed(1_200, 6, 1, 2);
    let before = bench.truth();
    let mut dice = fastrand::Rng::with_seed(11);
    cut_after(&bench, 2, Kept::Respect).await;
    for _ in 0..4 {
        for _ in 0..30 {
            let chosen = &before[dice.usize(0..before.len())];
            bench.sandbox.agent_message(&chosen.id.to_string(), "Meanwhile").expect("said");
        }
        // The conversation at which the last page ended is gone as well.
        cut_after(&bench, 2, Kept::Continue).await;
    }
    let outcome = resume(&bench).await;
    assert_holds(&outcome.rows, &before, |_| false);
}

#[tokio::test]
async fn requests_of_the_interrupted_run_are_remembered() {
    let bench = Bench::new().await;
    bench.seed(1_000, 6, 1, 2);
    cut_after(&bench, 3, Kept::Respect).await;
    let found = Stage::open::<State>(&bench.out(), TEST, Kept::Continue).expect("a staging file");
    assert_eq!(found.state.expect("a checkpoint").requests_at.len(), 3);
}
