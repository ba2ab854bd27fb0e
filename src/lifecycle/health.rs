//! Keeps the heartbeat of each loop, and judges whether the loop is alive.
//!
//! Uses the monotonic clock: setting the machine's time must not make a healthy loop look stalled.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::Stop;

/// The activity of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoopState {
    /// A step is running.
    Running,
    /// Waiting for work.
    Idle,
    /// Waiting after a failed step.
    Failing,
    /// Ended by shutdown.
    Stopped,
}

/// One loop as `/readyz` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoopHealth {
    /// The loop's name.
    pub name: &'static str,
    /// True if it does what is due within its bound.
    pub healthy: bool,
    /// Its present activity.
    pub state: LoopState,
    /// Milliseconds since a step last succeeded (or since the start).
    pub last_progress_ms: u64,
    /// Failed steps in a row.
    pub failures: u32,
    /// The error of the latest failed step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Tells whether the bridge should be given work. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    loops: Arc<Mutex<Vec<Arc<Heartbeat>>>>,
    stop: Stop,
}

impl Health {
    pub(super) fn new(stop: Stop) -> Self {
        Self { loops: Arc::default(), stop }
    }

    /// Returns true once shutdown has begun: not ready, whatever the loops say.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_stopping()
    }

    /// Returns every supervised loop, in the order they were started.
    pub fn loops(&self) -> Vec<LoopHealth> {
        lock(&self.loops).iter().map(|heartbeat| heartbeat.judge(Instant::now())).collect()
    }

    /// Returns true if work may come: no shutdown, and every loop is healthy.
    pub fn is_ready(&self) -> bool {
        !self.is_stopping() && self.loops().iter().all(|each| each.healthy)
    }

    pub(super) fn register(&self, name: &'static str, bound: Duration) -> Arc<Heartbeat> {
        let now = Instant::now();
        let beat = Beat { doing: Doing::Idle { until: Some(now) }, progress: now, failures: 0, error: None };
        let heartbeat = Arc::new(Heartbeat { name, bound, beat: Mutex::new(beat) });
        lock(&self.loops).push(heartbeat.clone());
        heartbeat
    }
}

/// Written by the loop's runner, read by [`Health`].
#[derive(Debug)]
pub(super) struct Heartbeat {
    name: &'static str,
    bound: Duration,
    beat: Mutex<Beat>,
}

#[derive(Debug)]
struct Beat {
    doing: Doing,
    progress: Instant,
    failures: u32,
    error: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Doing {
    Running { since: Instant },
    Idle { until: Option<Instant> },
    Failing,
    Stopped,
}

impl Heartbeat {
    pub(super) fn running(&self) {
        lock(&self.beat).doing = Doing::Running { since: Instant::now() };
    }

    /// Notes that a step succeeded. Returns how many had failed in a row before it.
    pub(super) fn progressed(&self) -> u32 {
        let mut beat = lock(&self.beat);
        beat.progress = Instant::now();
        beat.error = None;
        std::mem::take(&mut beat.failures)
    }

    pub(super) fn idle(&self, until: Option<Instant>) {
        lock(&self.beat).doing = Doing::Idle { until };
    }

    /// Notes that a step failed. Returns how many have now failed in a row.
    pub(super) fn failed(&self, error: String) -> u32 {
        let mut beat = lock(&self.beat);
        beat.doing = Doing::Failing;
        beat.failures = beat.failures.saturating_add(1);
        beat.error = Some(error);
        beat.failures
    }

    pub(super) fn stopped(&self) {
        lock(&self.beat).doing = Doing::Stopped;
    }

    /// Judges as healthy: a step within the bound of its start, idle no longer than the bound past its due time, and
    /// failing no longer than the bound past its last success. One failed step is therefore no reason to leave the load
    /// balancer.
    fn judge(&self, now: Instant) -> LoopHealth {
        let beat = lock(&self.beat);
        let within = |since: Instant| now.saturating_duration_since(since) <= self.bound;
        let (state, healthy) = match beat.doing {
            Doing::Running { since } => {
                (LoopState::Running, within(since) && (beat.failures == 0 || within(beat.progress)))
            }
            Doing::Idle { until } => (LoopState::Idle, until.is_none_or(within)),
            Doing::Failing => (LoopState::Failing, within(beat.progress)),
            Doing::Stopped => (LoopState::Stopped, false),
        };
        let last_progress = now.saturating_duration_since(beat.progress).as_millis();
        LoopHealth {
            name: self.name,
            healthy,
            state,
            last_progress_ms: u64::try_from(last_progress).unwrap_or(u64::MAX),
            failures: beat.failures,
            error: beat.error.clone(),
        }
    }
}

/// Locks a value. Each write above leaves it whole, so one left behind by a panic is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(10);

    fn heartbeat() -> (Health, Arc<Heartbeat>) {
        let health = Health::new(Stop::new());
        let heartbeat = health.register("sweeps", BOUND);
        (health, heartbeat)
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_hangs_is_unhealthy_once_its_bound_is_over() {
        let (health, heartbeat) = heartbeat();
        heartbeat.running();
        tokio::time::advance(BOUND).await;
        assert!(health.is_ready());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!health.is_ready());
        assert_eq!(health.loops()[0].state, LoopState::Running);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_work_is_healthy_for_ever() {
        let (health, heartbeat) = heartbeat();
        heartbeat.progressed();
        heartbeat.idle(None);
        tokio::time::advance(BOUND * 100).await;
        assert!(health.is_ready());
        assert_eq!(health.loops()[0].last_progress_ms, 1_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn sleeping_through_what_was_due_is_not() {
        let (health, heartbeat) = heartbeat();
        heartbeat.idle(Some(Instant::now() + Duration::from_secs(5)));
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(health.is_ready());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!health.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn failing_becomes_unhealthy_by_time_and_heals_with_one_success() {
        let (health, heartbeat) = heartbeat();
        heartbeat.progressed();
        heartbeat.failed("no such table".to_owned());
        assert!(health.is_ready());
        tokio::time::advance(BOUND + Duration::from_secs(1)).await;
        assert_eq!(heartbeat.failed("no such table".to_owned()), 2);
        heartbeat.running();
        assert!(!health.is_ready(), "trying again is not yet succeeding");
        assert_eq!(health.loops()[0].error.as_deref(), Some("no such table"));
        assert_eq!(heartbeat.progressed(), 2);
        heartbeat.idle(None);
        assert!(health.is_ready());
    }

    #[tokio::test]
    async fn nothing_is_ready_once_shutdown_began() {
        let (health, heartbeat) = heartbeat();
        heartbeat.idle(None);
        health.stop.request();
        assert!(!health.is_ready());
        assert!(health.loops()[0].healthy);
    }
}
