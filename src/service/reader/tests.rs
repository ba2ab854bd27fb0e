//! The age of reading, as readiness and metrics see it.

use super::*;

#[test]
fn a_process_that_does_not_read_has_no_age() {
    let state = ReaderState::default();
    assert!(!state.planner.has_begun());
    assert_eq!((state.planner.swept_at(), state.planner.started_at()), (None, None));
}
