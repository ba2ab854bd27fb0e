//! Runs loops: repeat, wait, back off, contain, stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::health::Heartbeat;
use super::tasks::contained;
use super::{Backoff, Health, Loop, Step, Tasks, Wake};
use crate::domain::{Clock, Entropy, Timestamp};
use crate::metrics::{Metrics, PanicPlace};

/// A loop that keeps failing is mentioned again this often.
const REMIND_EVERY: Duration = Duration::from_mins(1);

/// The expectations of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// It is unhealthy when a step takes longer than this, or none has succeeded for this long. Above the longest deadline
    /// of one step.
    pub bound: Duration,
    /// It looks for work at least this often, woken or not: the net under lost wake-ups and clock changes.
    pub look_every: Duration,
    /// It looks no more often than this, however often it is woken.
    pub rest: Duration,
    /// Waits after failures.
    pub backoff: Backoff,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            bound: Duration::from_mins(1),
            look_every: Duration::from_secs(30),
            rest: Duration::ZERO,
            backoff: Backoff::default(),
        }
    }
}

/// Starts loops and keeps them going until the soft stop.
#[derive(Clone)]
pub struct Supervisor {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    tasks: Tasks,
    soft: CancellationToken,
    health: Health,
    metrics: Metrics,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("health", &self.health).finish_non_exhaustive()
    }
}

impl Supervisor {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        tasks: Tasks,
        soft: CancellationToken,
        health: Health,
        metrics: Metrics,
    ) -> Self {
        Self { clock, entropy, tasks, soft, health, metrics }
    }

    /// Starts a loop. A step under way when the soft stop comes is finished; no other is begun.
    pub fn spawn(&self, name: &'static str, work: impl Loop, wake: Wake, pace: Pace) {
        let heartbeat = self.health.register(name, pace.bound);
        let runner = Runner { name, pace, wake, heartbeat, with: self.clone(), reminded: None };
        // The handle is not needed: shutdown waits through the tracker, and the runner itself never panics.
        drop(self.tasks.spawn(name, runner.run(work)));
    }
}

struct Runner {
    name: &'static str,
    pace: Pace,
    wake: Wake,
    heartbeat: Arc<Heartbeat>,
    with: Supervisor,
    reminded: Option<Instant>,
}

impl Runner {
    async fn run(mut self, work: impl Loop) {
        let soft = self.with.soft.clone();
        while !soft.is_cancelled() {
            self.heartbeat.running();
            let began = Instant::now();
            let (until, rest) = match contained(work.step()).await {
                Ok(Ok(step)) => {
                    self.succeeded();
                    match step {
                        Step::Did(1..) => {
                            // A loop with endless work must not keep its thread from the other tasks.
                            tokio::task::yield_now().await;
                            self.pause(began, self.pace.rest, &soft).await;
                            continue;
                        }
                        Step::Did(0) => (None, self.pace.rest),
                        Step::Idle { until } => (until, self.pace.rest),
                        Step::Held { until, rest } => (until, rest.max(self.pace.rest)),
                    }
                }
                Ok(Err(error)) => {
                    self.with.metrics.loop_failed(self.name);
                    self.back_off(error.to_string(), &soft).await;
                    continue;
                }
                Err(_panicked) => {
                    self.with.metrics.loop_failed(self.name);
                    self.with.metrics.panicked(PanicPlace::Loop);
                    self.back_off("panicked".to_owned(), &soft).await;
                    continue;
                }
            };
            self.rest(until, &soft).await;
            self.pause(began, rest, &soft).await;
        }
        self.heartbeat.stopped();
    }

    fn succeeded(&mut self) {
        let failures = self.heartbeat.progressed();
        if failures > 0 {
            self.reminded = None;
            tracing::info!(r#loop = self.name, failures, "loop recovered");
        }
    }

    /// Waits out the rest of `rest`. The next look sees all that wakes the loop meanwhile.
    async fn pause(&self, began: Instant, rest: Duration, soft: &CancellationToken) {
        let left = rest.saturating_sub(began.elapsed());
        if !left.is_zero() {
            tokio::select! {
                biased;
                () = soft.cancelled() => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    async fn rest(&self, until: Option<Timestamp>, soft: &CancellationToken) {
        let due = until.map(|until| until.since(self.with.clock.now()));
        let now = Instant::now();
        self.heartbeat.idle(due.and_then(|due| now.checked_add(due)));
        let sleep = due.unwrap_or(Duration::MAX).min(self.pace.look_every);
        tokio::select! {
            biased;
            () = soft.cancelled() => {}
            () = self.wake.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }

    /// Waits after a failure. Wake-ups do not shorten it: work pouring in must not turn a broken loop into a hot one.
    async fn back_off(&mut self, error: String, soft: &CancellationToken) {
        let now = Instant::now();
        let remind = self.reminded.is_none_or(|last| now.duration_since(last) >= REMIND_EVERY);
        let failures = self.heartbeat.failed(error.clone());
        let delay = self.pace.backoff.delay(failures, self.with.entropy.fraction());
        if remind {
            self.reminded = Some(now);
            tracing::warn!(
                r#loop = self.name,
                failures,
                error,
                retry_in_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                "loop step failed"
            );
        }
        tokio::select! {
            biased;
            () = soft.cancelled() => {}
            () = tokio::time::sleep(delay) => {}
        }
    }
}

#[cfg(test)]
mod tests;
