//! The age of reading, as readiness and metrics see it.

use super::*;

#[test]
fn a_process_that_does_not_read_has_no_age() {
    let state = ReaderState::default();
    assert!(!state.planner.has_begun());
    assert_eq!((state.planner.swept_at(), state.planner.started_at()), (None, None));
}

#[test]
fn a_dead_reader_is_replaced_in_time_and_a_slow_one_is_not() {
    let answers = Duration::from_secs(2);
    assert!(LEASE.1 + TRIED_EVERY + answers <= TAKEN_OVER_WITHIN);
    assert!(RENEWED_EVERY + answers < LEASE.1);
}
