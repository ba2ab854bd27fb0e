//! Recurring work: gives up what waited too long, takes over from dead processes, prunes, and measures.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    domain::{
        Clock, Timestamp,
        figures::{Figures, Sample, Waiting, WaitsFor},
        turn::{FailureCode, TurnFailure},
    },
    fini::budget::Budget,
    lifecycle::{Loop, Step},
    metrics::Metrics,
    service::reader::Reader,
    store::{Held, Lease, LeftAlone, Owner, RequestClass, Result, Store, StoreError},
};

/// Looks for what is due this often, and measures.
const EVERY: Duration = Duration::from_secs(2);
/// The part of the time that measuring takes at most, as its divisor: counting a hundred thousand rows takes a while, so it is
/// done less often then, but this often at least.
const SHARE: u32 = 100;
const SELDOM: Duration = Duration::from_secs(10);
/// A process that shares its store and has not renewed its lease for so long is dead: the others look for what it was
/// sending.
const ALIVE: Duration = Duration::from_secs(15);
/// Pruned this often, and in batches of this size.
const PRUNE_EVERY: Duration = Duration::from_mins(1);
const PRUNE_BATCH: usize = 500;
/// The size of the database is asked for this often.
const SIZE_EVERY: Duration = Duration::from_mins(1);

/// Settings of the housekeeper.
#[derive(Clone, Copy, Debug)]
pub struct HousekeeperSettings {
    /// Rows that are older are pruned.
    pub retention: Duration,
    /// A message that could not be sent for so long is failed.
    pub give_up_after: Duration,
}

/// The housekeeper.
pub struct Housekeeper {
    /// Holds everything that is recovered, pruned and counted.
    pub store: Arc<dyn Store>,
    /// Measured for metrics and figures.
    pub budget: Arc<Budget>,
    /// The steady clock.
    pub clock: Arc<dyn Clock>,
    /// Knows how far reading has come.
    pub reader: Arc<Reader>,
    /// Returns who is left alone for a while, as far as this process knows.
    pub left_alone: Arc<dyn Fn() -> LeftAlone + Send + Sync>,
    /// Takes the measurements.
    pub metrics: Metrics,
    /// The measurements of the last day, for operators.
    pub figures: Arc<Mutex<Figures>>,
    /// This process, as the owner of leases.
    pub owner: Owner,
    /// Retention and patience.
    pub settings: HousekeeperSettings,
    /// Time before which it does not measure again; `None` before the first measurement.
    pub measure_at: Mutex<Option<Timestamp>>,
    /// Time of the last pruning; `None` before the first.
    pub pruned_at: Mutex<Option<Timestamp>>,
    /// Time at which the size of the database was last measured; `None` before the first time.
    pub sized_at: Mutex<Option<Timestamp>>,
}

impl Loop for Arc<Housekeeper> {
    type Error = StoreError;

    async fn step(&self) -> Result<Step> {
        let now = self.clock.now();
        if self.store.is_shared() {
            let alive = Lease { owner: self.owner.clone(), now, until: now.plus(ALIVE) };
            self.store.take_lease(&self.owner.process_lease(), &alive).await?;
        }
        // The leases of dead processes end, and so do those of sends whose outcome could not be recorded; whichever process
        // comes first looks after what they left behind.
        let lease = Lease { owner: self.owner.clone(), now, until: now };
        let recovered = self.store.recover_turns(&lease).await?;
        if recovered > 0 {
            tracing::warn!(turns = recovered, "sends whose lease ended are looked for");
        }
        let failure = TurnFailure {
            code: FailureCode::FiniUnavailable,
            detail: "it could not be sent for too long".to_owned(),
            may_resend: true,
        };
        let given_up = self.store.expire_turns(now, now.minus(self.settings.give_up_after), &failure).await?;
        if given_up > 0 {
            tracing::error!(turns = given_up, "turns given up: they could not be sent for too long");
        }
        // Content that was erased while somebody was reading is taken out of the files now.
        self.store.scrub().await?;
        if self.measures(now) {
            let began = Instant::now();
            self.measure(now).await?;
            let pause = began.elapsed().saturating_mul(SHARE).clamp(EVERY, SELDOM);
            *self.measure_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now.plus(pause));
        }
        if self.prunes(now) {
            let pruned = self.store.prune(now, self.settings.retention, PRUNE_BATCH).await?;
            if pruned > 0 {
                tracing::debug!(rows = pruned, "pruned");
                return Ok(Step::Did(pruned));
            }
            *self.pruned_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
        Ok(Step::Idle { until: Some(now.plus(EVERY)) })
    }
}

impl Housekeeper {
    /// Says that this process has ended; called at the end, when nothing is sent any more. The others look at once for what
    /// it could not finish.
    pub async fn leave(&self) -> Result<()> {
        if !self.store.is_shared() {
            return Ok(());
        }
        let now = self.clock.now();
        let dead = Lease { owner: self.owner.clone(), now, until: now };
        self.store.take_lease(&self.owner.process_lease(), &dead).await.map(drop)
    }

    fn measures(&self, now: Timestamp) -> bool {
        let measure_at = *self.measure_at.lock().unwrap_or_else(PoisonError::into_inner);
        measure_at.is_none_or(|at| at <= now)
    }

    fn prunes(&self, now: Timestamp) -> bool {
        let pruned_at = *self.pruned_at.lock().unwrap_or_else(PoisonError::into_inner);
        pruned_at.is_none_or(|at| now.since(at) >= PRUNE_EVERY)
    }

    async fn measure(&self, now: Timestamp) -> Result<()> {
        let left_alone = (self.left_alone)();
        let backlog = self.store.backlog(&left_alone, now).await?;
        let metrics = &self.metrics;
        metrics.backlog(
            "turns",
            backlog.queued_turns + backlog.sending_turns + backlog.awaiting_turns + backlog.unclear_turns,
        );
        metrics.backlog("unclear_turns", backlog.unclear_turns);
        metrics.backlog("bindings", backlog.unbound);
        metrics.backlog("deliveries", backlog.pending_deliveries);
        metrics.backlog("dead_letters", backlog.dead_deliveries);
        metrics.backlog("quarantined", backlog.quarantined);
        let overdue = |due: Option<Timestamp>| due.map_or(Duration::ZERO, |due| now.since(due));
        metrics.oldest_due("turns", overdue(backlog.oldest_due_turn));
        metrics.oldest_due("deliveries", overdue(backlog.oldest_due_delivery));
        metrics.watched(backlog.watched);
        let used = self.budget.used().await?;
        metrics.budget(used.used(), self.budget.limit());
        for (class, used) in RequestClass::ALL.into_iter().zip(used.by_class) {
            metrics.budget_used_by(class.as_str(), used);
            metrics.budget_waiting(class.as_str(), self.budget.waiting(class));
        }
        let (customers, since) = self.store.waiting_for_humans().await?;
        let for_budget = self.budget.waiting(RequestClass::Send);
        let waiting = WaitsFor::ALL.map(|kind| {
            let held = match kind {
                WaitsFor::Turn => backlog.behind_turns,
                WaitsFor::Breaker => backlog.left_alone,
                WaitsFor::Pause => backlog.paused,
                WaitsFor::Quarantine => backlog.in_quarantine,
                WaitsFor::Budget => {
                    Held { count: for_budget, since: backlog.oldest_due_turn.filter(|_| for_budget > 0) }
                }
                WaitsFor::Handoff => Held { count: customers, since },
            };
            Waiting { count: held.count, oldest: overdue(held.since) }
        });
        for (kind, waiting) in WaitsFor::ALL.into_iter().zip(waiting) {
            metrics.waiting(kind, waiting);
        }
        let sample = Sample {
            budget_used: used.used(),
            budget_limit: self.budget.limit(),
            waiting,
            due_turns: overdue(backlog.oldest_due_turn),
            due_deliveries: overdue(backlog.oldest_due_delivery),
            unread: overdue(self.reader.age().unread_since),
            lag: metrics.take_longest_lag(),
        };
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).add(now, sample);
        self.size_up(now).await
    }

    /// Measures the size of the database, now and then.
    async fn size_up(&self, now: Timestamp) -> Result<()> {
        let sized_at = *self.sized_at.lock().unwrap_or_else(PoisonError::into_inner);
        if sized_at.is_some_and(|at| now.since(at) < SIZE_EVERY) {
            return Ok(());
        }
        let footprint = self.store.footprint().await?;
        for (file, bytes) in footprint.files {
            self.metrics.store_bytes(file, bytes);
        }
        self.metrics.oldest_snapshot(footprint.oldest_snapshot.unwrap_or_default());
        *self.sized_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(())
    }
}
