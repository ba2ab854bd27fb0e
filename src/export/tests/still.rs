//! A list that does not move: exactly its rows, in hardly more requests than it has pages.

use super::*;
use crate::sandbox::{ListKey, SinceReading};

/// Counts the pages of the windows, each counted by itself; as the vendor would list them.
fn minimum(bench: &Bench, outcome: &Outcome, reading: SinceReading) -> u64 {
    let truth = bench.truth();
    let windows = outcome.state.windows.iter().map(|window| {
        let inside = truth.iter().filter(|conversation| {
            let at = match reading {
                SinceReading::Created => conversation.created_at,
                SinceReading::Updated => conversation.latest_at,
            };
            (window.since..=window.until.unwrap_or(i64::MAX)).contains(&at)
        });
        inside.count().div_ceil(100).max(1) as u64
    });
    windows.sum()
}

async fn exact(conversations: u32, days: i64, reading: SinceReading) {
    let bench = Bench::with(|config| {
        config.settings.since_reading = reading;
        if reading == SinceReading::Created {
            config.settings.list_key = ListKey::Conversations;
        }
    })
    .await;
    bench.seed(conversations, days, 1, 3);
    let outcome = bench.export(days + 1, None, &Quiet).await.expect("exported");
    assert_exact(&bench, &outcome.rows);
    let (requests, minimum) = (bench.sandbox.audit(0, false).requests, minimum(&bench, &outcome, reading));
    println!("{conversations} over {days} days, {reading:?}: {requests} requests, minimum {minimum}");
    assert_eq!(requests, outcome.counts.requests);
    if outcome.state.windows.len() == 1 {
        assert!(requests <= minimum + 1, "{requests} requests for {minimum} pages");
    }
    if minimum >= 50 && (outcome.state.windows.len() == 1 || reading == SinceReading::Updated) {
        assert!(requests * 100 <= minimum * 102, "{requests} requests for {minimum} pages");
    }
}

#[tokio::test]
async fn nothing_is_one_request() {
    let bench = Bench::new().await;
    let outcome = bench.export(7, None, &Quiet).await.expect("exported");
    assert_eq!((outcome.rows.len(), outcome.counts.requests), (0, 1));
}

#[tokio::test]
async fn one_page_is_one_request() {
    let bench = Bench::new().await;
    bench.seed(100, 5, 1, 2);
    let outcome = bench.export(7, None, &Quiet).await.expect("exported");
    assert_eq!((outcome.rows.len(), outcome.counts.requests), (100, 1));
}

#[tokio::test]
async fn one_window_is_exact_under_both_readings() {
    for reading in [SinceReading::Created, SinceReading::Updated] {
        exact(345, 20, reading).await;
        exact(5_000, 80, reading).await;
    }
}

#[tokio::test]
async fn a_year_is_exact_under_both_readings() {
    for reading in [SinceReading::Created, SinceReading::Updated] {
        exact(1_234, 365, reading).await;
    }
}

#[tokio::test]
async fn the_meaning_of_the_range_is_found_out() {
    for (reading, wanted) in
        [(SinceReading::Created, Reading::Created), (SinceReading::Updated, Reading::LatestMessage)]
    {
        let bench = Bench::with(|config| config.settings.since_reading = reading).await;
        bench.seed(1_000, 365, 1, 4);
        let outcome = bench.export(366, None, &Quiet).await.expect("exported");
        assert_eq!(outcome.state.reading, Some(wanted));
    }
}

#[tokio::test]
async fn both_csv_tables_agree_with_the_vendor() {
    let bench = Bench::new().await;
    bench.seed(250, 5, 1, 3);
    let mut staging = Stage::open::<State>(&bench.out(), TEST, Kept::Respect).expect("a staging file").staging;
    let now = SystemClock.now().point();
    let range = Range { since: Timestamp::from_millis(now.as_millis() - 7 * DAY), until: None };
    let mut state = State::new(now.as_millis(), None, range.windows(now));
    let permits = OwnLog::new(u32::MAX, Duration::from_secs(1));
    let patient = bench.patient(&permits, &Quiet);
    let export = Conversations::new(&patient, &SystemClock, Filter::default());
    export.read(&mut staging, &mut state).await.expect("read");
    let [first, second] = ["c.csv", "e.csv"].map(|name| bench.folder.path().join(name));
    let outputs =
        Outputs { first: Some(Destination::File(first.clone())), second: Some(Destination::File(second.clone())) };
    let finished = finish(&staging, Tables::Conversations, Format::Csv(Cells::Safe), &outputs).expect("finished");
    assert_eq!(finished, Finished { conversations: 250, events: 750 });
    let read = |path: PathBuf| -> Vec<csv::StringRecord> {
        csv::Reader::from_path(path).expect("CSV").records().map(|row| row.expect("a row")).collect()
    };
    let truth = bench.truth();
    let ids: Vec<String> = read(first).iter().map(|row| row[0].to_owned()).collect();
    assert_eq!(ids, truth.iter().map(|conversation| conversation.id.to_string()).collect::<Vec<_>>());
    let events: Vec<[String; 3]> = read(second).iter().map(|row| [0, 2, 6].map(|n| row[n].to_owned())).collect();
    let wanted = truth.iter().flat_map(|conversation| {
        let text = |event: &crate::sandbox::Event| event.message.clone().unwrap_or_default();
        conversation.events.iter().map(move |event| [conversation.id.to_string(), event.id.clone(), text(event)])
    });
    assert_eq!(events, wanted.collect::<Vec<_>>());
}
