//! A vendor that throttles, fails and refuses.

use super::*;
use crate::sandbox::{Fault, FaultKind, FaultParams, FaultRoute, ListRefusal, RateLimit};

#[tokio::test]
async fn failures_of_every_kind_are_borne() {
    let bench = Bench::new().await;
    bench.seed(3_000, 6, 1, 2);
    for kind in [FaultKind::RateLimited, FaultKind::Status, FaultKind::ResetBefore, FaultKind::TruncatedJson] {
        bench.sandbox.add_fault(Fault::new(FaultRoute::List, kind).probability(0.1)).expect("set");
    }
    let outcome = bench.export(7, None, &Quiet).await.expect("exported");
    assert_exact(&bench, &outcome.rows);
    assert!(outcome.counts.throttled + outcome.counts.failed > 3, "{:?}", outcome.counts);
    println!("with 4 faults at 10 % each: {} requests, minimum 30", outcome.counts.requests);
}

#[tokio::test]
async fn throttling_keeps_the_place() {
    let bench = Bench::new().await;
    bench.seed(1_000, 6, 1, 2);
    let params = FaultParams { retry_after: Some(0.into()), ..FaultParams::default() };
    let fault = Fault::new(FaultRoute::List, FaultKind::RateLimited).times(7).skip(3).with(params);
    bench.sandbox.add_fault(fault).expect("set");
    let outcome = bench.export(7, None, &Quiet).await.expect("exported");
    assert_eq!(outcome.rows.len(), 1_000);
    assert_eq!((outcome.counts.throttled, outcome.counts.requests), (7, 10 + 1 + 7));
}

#[tokio::test]
async fn the_limit_is_never_exceeded() {
    let limit = RateLimit { requests: 10, window_ms: 1_000, ..RateLimit::default() };
    let bench = Bench::with(|config| config.settings.rate_limit = Some(limit)).await;
    bench.seed(2_500, 6, 1, 1);
    let mut staging = Stage::open::<State>(&bench.out(), TEST, Kept::Respect).expect("a staging file").staging;
    let now = SystemClock.now().point();
    let range = Range { since: Timestamp::from_millis(now.as_millis() - 7 * DAY), until: None };
    let mut state = State::new(now.as_millis(), None, range.windows(now));
    let permits = OwnLog::new(10, Duration::from_secs(1));
    let patient = bench.patient(&permits, &Quiet);
    let export = Conversations::new(&patient, &SystemClock, Filter::default());
    export.read(&mut staging, &mut state).await.expect("read");
    let audit = bench.sandbox.audit(0, false);
    assert_eq!((audit.throttled, audit.requests), (0, 26));
    assert!(audit.max_in_window <= 10);
}

#[tokio::test]
async fn what_will_never_work_is_said_at_once() {
    let bench = Bench::new().await;
    bench.sandbox.add_fault(Fault::new(FaultRoute::List, FaultKind::Forbidden).times(9)).expect("set");
    let failed = bench.export(7, None, &Quiet).await.err().expect("refused");
    assert!(matches!(failed, ExportError::Fini(crate::fini::Failure::Unauthorised { status: 403, .. })));
    assert_eq!(bench.sandbox.audit(0, false).requests, 1);
}

#[tokio::test]
async fn a_page_that_is_too_large_is_asked_for_in_parts() {
    for most in [10, 80] {
        let bench = Bench::with(|config| {
            config.settings.list_max_rows = Some(most);
            config.settings.list_refusal = ListRefusal::Internal;
        })
        .await;
        bench.seed(400, 6, 1, 2);
        let outcome = bench.export(7, None, &Quiet).await.expect("exported");
        assert_exact(&bench, &outcome.rows);
        println!("{most} rows at most: {} requests", outcome.counts.requests);
    }
}

#[tokio::test]
async fn an_empty_page_behind_a_cursor_is_no_end() {
    let bench = Bench::new().await;
    bench.seed(450, 6, 1, 2);
    bench.sandbox.add_fault(Fault::new(FaultRoute::List, FaultKind::EmptyArray).skip(2).times(3)).expect("set");
    let outcome = bench.export(7, None, &Quiet).await.expect("exported");
    assert_exact(&bench, &outcome.rows);
}
