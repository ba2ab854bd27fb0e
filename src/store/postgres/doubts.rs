//! Changes of commits that were cut off.
//!
//! It is unknown whether such a commit came into effect, or when it will: the server may still be at it. If it does, nobody
//! else announces it, and a waiting loop would look by itself half a minute later. So its changes are announced at once, and
//! again with commits that succeed afterwards: those that had to wait for it among them.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::store::Change;

/// Time for which they are announced, and the interval.
const FOR: Duration = Duration::from_secs(20);
const EVERY: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Doubt {
    changes: Vec<Change>,
    since: Instant,
    told_at: Instant,
}

/// Changes that may have come into effect.
#[derive(Debug, Default)]
pub(super) struct Doubts(Mutex<Vec<Doubt>>);

impl Doubts {
    /// Remembers the possible changes of a commit, which were announced just now.
    pub(super) fn add(&self, changes: Vec<Change>, now: Instant) {
        if !changes.is_empty() {
            self.inner().push(Doubt { changes, since: now, told_at: now });
        }
    }

    /// Returns the changes to announce again.
    pub(super) fn due(&self, now: Instant) -> Vec<Change> {
        let mut doubts = self.inner();
        let mut due = Vec::new();
        for doubt in doubts.iter_mut().filter(|doubt| now - doubt.told_at >= EVERY) {
            doubt.told_at = now;
            due.extend_from_slice(&doubt.changes);
        }
        doubts.retain(|doubt| now - doubt.since < FOR);
        due
    }

    fn inner(&self) -> MutexGuard<'_, Vec<Doubt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_told_again_now_and_then_for_a_while() {
        let doubts = Doubts::default();
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        doubts.add(Vec::new(), start);
        assert_eq!(doubts.due(after(10_000)), []);
        doubts.add(vec![Change::Turns], start);
        doubts.add(vec![Change::Deliveries, Change::Reading], after(400));
        assert_eq!(doubts.due(after(499)), []);
        assert_eq!(doubts.due(after(500)), [Change::Turns]);
        assert_eq!(doubts.due(after(999)), [Change::Deliveries, Change::Reading]);
        assert_eq!(doubts.due(after(1_000)), [Change::Turns]);
        assert_eq!(doubts.due(after(20_000)).len(), 3, "once more at the end");
        assert_eq!(doubts.due(after(30_000)).len(), 2);
        assert_eq!(doubts.due(after(40_000)), []);
    }
}
