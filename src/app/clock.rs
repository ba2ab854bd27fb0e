//! One time for all replicas: the database's.
//!
//! Leases, the budget and everything that falls due are compared by processes whose machines need not agree on the time. So
//! where they share a database, its time counts. It is asked for now and then, and carried on in between by this machine's
//! steady timer, so that neither a wrong wall clock nor one that is being set moves anything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    domain::{Clock, Timestamp, WallClock},
    store::{Result, Store},
};

/// How often the database is asked.
const EVERY: Duration = Duration::from_secs(2);
/// An answer that took longer says too little about the time at which it was given.
const PROMPT: Duration = Duration::from_millis(100);
/// Without prompt answers for so long, a slow one is better than none, if it is not slower than this.
const STALE: Duration = Duration::from_secs(30);
const SLOW: Duration = Duration::from_secs(2);
/// An operator should know of a machine whose own clock is so far off: its log shows that time.
const FAR_OFF: Duration = Duration::from_secs(5);

/// The database's time.
pub(super) struct SharedClock {
    store: Arc<dyn Store>,
    local: Arc<dyn WallClock>,
    began: Instant,
    /// The database's time when this clock began, in epoch milliseconds.
    began_at: AtomicI64,
    /// When the database was last believed, counted from the beginning.
    believed_after: AtomicI64,
    is_far_off: AtomicBool,
}

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.began_at.load(Ordering::Acquire).saturating_add(millis(self.began.elapsed())))
    }
}

impl SharedClock {
    /// A clock that shows the time of `store`; `local` is only compared with it.
    pub(super) async fn start(store: Arc<dyn Store>, local: Arc<dyn WallClock>) -> Result<Self> {
        let clock = Self {
            store,
            local,
            began: Instant::now(),
            began_at: AtomicI64::new(0),
            believed_after: AtomicI64::new(0),
            is_far_off: AtomicBool::new(false),
        };
        // The first question also makes the connection; the second one is answered promptly.
        clock.ask().await?;
        clock.ask().await?;
        clock.compare();
        Ok(clock)
    }

    /// Keeps the clock right for as long as it is polled.
    pub(super) async fn keep(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            // Without an answer the timer carries on.
            if self.ask().await.is_ok() {
                self.compare();
            }
        }
    }

    async fn ask(&self) -> Result<()> {
        let asked = self.began.elapsed();
        let told = self.store.now(self.local.now().point()).await?;
        let heard = self.began.elapsed();
        let took = heard.saturating_sub(asked);
        let believed_after =
            Duration::from_millis(u64::try_from(self.believed_after.load(Ordering::Acquire)).unwrap_or_default());
        let is_first = self.began_at.load(Ordering::Acquire) == 0;
        let is_stale = heard.saturating_sub(believed_after) >= STALE;
        if is_first || took <= PROMPT || (is_stale && took <= SLOW) {
            self.began_at.store(told.as_millis().saturating_sub(millis(asked + took / 2)), Ordering::Release);
            self.believed_after.store(millis(heard), Ordering::Release);
        }
        Ok(())
    }

    /// Says once when this machine's own clock is wrong, and once when it is right again.
    fn compare(&self) {
        let (shared, local) = (self.now(), self.local.now().point());
        let off = shared.since(local).max(local.since(shared));
        let is_far_off = off >= FAR_OFF;
        if self.is_far_off.swap(is_far_off, Ordering::AcqRel) == is_far_off {
            return;
        }
        let off_by_ms = millis(off);
        if is_far_off {
            tracing::warn!(off_by_ms, "this machine's clock differs from the database's, which counts");
        } else {
            tracing::info!(off_by_ms, "this machine's clock agrees with the database's again");
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
