//! Takes signals, and stops in two stages.

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Health, Supervisor, Tasks};
use crate::domain::{Clock, Entropy};
use crate::metrics::Metrics;

/// Time in which dropped work and the admin listener may notice it; dropping a future takes microseconds, so this is only
/// ever spent on one that blocks its thread.
const CUT_ALLOWANCE: Duration = Duration::from_secs(2);

/// Time for which requests that are on their way when a stop is asked for are still served. A proxy sends on a connection
/// of its pool, or on one that it has just opened, until it sees it closed, and does not try a POST elsewhere.
pub const LAST_CALL: Duration = Duration::from_secs(1);

/// The stages of stopping, which anyone may ask for and await. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    asked_at: Arc<OnceLock<Instant>>,
    soft: CancellationToken,
    hard: CancellationToken,
    end: CancellationToken,
}

impl Stop {
    /// Creates one with no stop asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for an orderly stop.
    pub fn request(&self) {
        self.asked_at.get_or_init(Instant::now);
        self.soft.cancel();
    }

    /// Ends the grace at once.
    pub fn force(&self) {
        self.request();
        self.hard.cancel();
    }

    /// Drops everything that runs, at whatever await it has come to: nothing is finished, as when the process is killed.
    pub fn abort(&self) {
        self.end.cancel();
        self.force();
    }

    /// Returns true once an orderly stop has been asked for: take no new work.
    pub fn is_stopping(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Returns true once requests that were on their way when the stop was asked for have had their time to come in.
    pub fn is_closed(&self) -> bool {
        self.asked_at.get().is_some_and(|asked| asked.elapsed() >= LAST_CALL)
    }

    /// Returns the token that is cancelled when no new work may be taken.
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Returns the token that is cancelled when the grace is over.
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Returns the token that is cancelled last of all: the limit for those whose request to stop is the hard stop, such as
    /// the admin listener.
    pub fn end(&self) -> &CancellationToken {
        &self.end
    }
}

/// The way in which the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything in flight was finished.
    Clean,
    /// The grace ran out, or a second signal came, with this many tasks unfinished; their work is durable and leased.
    Cut(usize),
}

/// Owns everything that runs in the background of one bridge.
#[derive(Debug)]
pub struct Lifecycle {
    stop: Stop,
    tasks: Tasks,
    last: Tasks,
    health: Health,
    metrics: Metrics,
}

impl Lifecycle {
    /// Creates one in which nothing runs yet.
    pub fn new(metrics: Metrics) -> Self {
        let stop = Stop::new();
        Self {
            tasks: Tasks::new(stop.hard.clone(), metrics.clone()),
            last: Tasks::new(stop.end.clone(), metrics.clone()),
            health: Health::new(stop.clone()),
            stop,
            metrics,
        }
    }

    /// Returns the stages of stopping.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Returns the tasks for work in flight.
    pub fn tasks(&self) -> Tasks {
        self.tasks.clone()
    }

    /// Returns the tasks that run until everything else has ended: the admin listener, which says "not ready" meanwhile.
    pub fn last_tasks(&self) -> Tasks {
        self.last.clone()
    }

    /// Returns the health, for readiness.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Creates the supervisor of background loops.
    pub fn supervisor(&self, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Supervisor {
        Supervisor::new(
            clock,
            entropy,
            self.tasks.clone(),
            self.stop.soft.clone(),
            self.health.clone(),
            self.metrics.clone(),
        )
    }

    /// Waits for a signal (or for [`Stop::request`]), then stops in order: soft, up to `grace` for what is in flight, hard.
    /// A second signal ends the grace. Returns within `grace` plus a few seconds whatever the work does.
    pub async fn run(self, grace: Duration, mut signals: impl Signals) -> Ended {
        tokio::select! {
            name = signals.next() => tracing::info!(signal = name, "stopping"),
            () = self.stop.soft.cancelled() => tracing::info!("stopping"),
        }
        self.stop.request();
        let ended = tokio::select! {
            () = self.tasks.finished() => Ended::Clean,
            () = tokio::time::sleep(grace) => self.cut("shutdown grace is over"),
            () = self.stop.hard.cancelled() => self.cut("told to stop at once"),
            _ = signals.next() => self.cut("second signal"),
        };
        self.stop.force();
        ended_in_time(&self.tasks).await;
        // The hard stop asked these to end; those that do not heed it within the allowance are dropped like all else.
        if tokio::time::timeout(CUT_ALLOWANCE, self.last.finished()).await.is_err() {
            self.stop.end.cancel();
            ended_in_time(&self.last).await;
        }
        tracing::info!("stopped");
        ended
    }

    /// Waits until everything that [`Stop::abort`] dropped is gone.
    pub async fn aborted(&self) {
        self.tasks.finished().await;
        self.last.finished().await;
    }

    fn cut(&self, why: &'static str) -> Ended {
        let running = self.tasks.running();
        tracing::warn!(reason = why, tasks = running, "stopping without waiting any longer");
        Ended::Cut(running)
    }
}

/// Waits for tasks that have been dropped; gives up on those that block their thread, as nothing can end those.
async fn ended_in_time(tasks: &Tasks) {
    if tokio::time::timeout(CUT_ALLOWANCE, tasks.finished()).await.is_err() {
        let running = tasks.running();
        tracing::error!(tasks = running, "tasks block their thread; leaving without them");
    }
}

/// The source of requests to stop.
pub trait Signals: Send {
    /// Waits for the next request and returns its name. Must be safe to drop while waiting.
    fn next(&mut self) -> impl Future<Output = &'static str> + Send;
}

/// SIGTERM (what orchestrators send) and SIGINT (Ctrl-C).
#[derive(Debug)]
pub struct OsSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl OsSignals {
    /// Takes both over from the default action, which would end the process at once. Do this before anything is started.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }
}

impl Signals for OsSignals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests;
