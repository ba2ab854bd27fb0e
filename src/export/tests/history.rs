//! The legacy chat history in both shapes.

use super::*;
use crate::{
    fini::HistoryQuery,
    sandbox::{Fault, FaultKind, FaultRoute, HistoryShape},
};

async fn history(bench: &Bench, query: HistoryQuery) -> (Vec<Value>, Option<Shape>, Counts) {
    let mut staging = Stage::open::<HistoryState>(&bench.out(), TEST, Kept::Respect).expect("a staging file").staging;
    let now = SystemClock.now().as_millis();
    let mut state = HistoryState::new(Some(now - 30 * DAY), Some(now));
    let permits = OwnLog::new(u32::MAX, Duration::from_secs(1));
    let patient = bench.patient(&permits, &Quiet);
    History::new(&patient, query).read(&mut staging, &mut state).await.expect("read");
    let outputs = Outputs { first: Some(Destination::File(bench.out())), second: None };
    finish(&staging, Tables::History, Format::Ndjson, &outputs).expect("finished");
    staging.discard().expect("discarded");
    (bench.rows(), state.shape, state.counts)
}

#[tokio::test]
async fn the_newer_shape_is_paged_through() {
    let bench = Bench::new().await;
    bench.seed(730, 20, 1, 4);
    bench.sandbox.add_fault(Fault::new(FaultRoute::History, FaultKind::Status).skip(2)).expect("set");
    let (rows, shape, counts) = history(&bench, HistoryQuery::default()).await;
    assert_eq!(shape, Some(Shape::Conversations));
    assert_eq!(
        rows.iter().map(id).collect::<Vec<_>>(),
        bench.truth().iter().map(|conversation| conversation.id.to_string()).collect::<Vec<_>>()
    );
    assert!(rows.iter().all(|row| row["botRequests"].as_array().is_some_and(|requests| requests.len() == 2)));
    println!("history of 730: {} requests, minimum 8", counts.requests);
    assert!(counts.requests <= 10);
}

#[tokio::test]
async fn the_older_shape_comes_whole() {
    let bench = Bench::with(|config| config.settings.history_shape = HistoryShape::Array).await;
    // Exactly one question each and exactly a page of them: it might have been cut off there.
    bench.seed(100, 20, 1, 2);
    let (rows, shape, counts) = history(&bench, HistoryQuery::default()).await;
    assert_eq!((rows.len(), shape), (100, Some(Shape::Questions)));
    assert_eq!(counts.requests, 3);
    bench.seed(333, 10, 1, 2);
    let (rows, _, counts) = history(&bench, HistoryQuery::default()).await;
    assert_eq!((rows.len(), counts.requests), (433, 3));
    assert!(rows.is_sorted_by_key(|row| row["createdAt"].as_i64()));
}

#[tokio::test]
async fn filters_reach_the_vendor() {
    let bench = Bench::new().await;
    bench.seed(50, 20, 1, 2);
    let query = HistoryQuery { sources: vec!["slack".into(), "api".into()], ..HistoryQuery::default() };
    let (rows, shape, _) = history(&bench, query).await;
    assert_eq!((rows.len(), shape), (0, None));
}

#[tokio::test]
async fn an_answer_that_fini_cuts_off_is_not_taken_for_the_whole() {
    for most in [11, 50, 100, 179] {
        let bench = Bench::with(|config| {
            config.settings.history_shape = HistoryShape::Array;
            config.settings.list_page_cap = Some(most);
        })
        .await;
        bench.seed(180, 20, 1, 2);
        let (rows, _, counts) = history(&bench, HistoryQuery::default()).await;
        assert_eq!(rows.len(), 180, "{most} at most: {} requests", counts.requests);
    }
}
