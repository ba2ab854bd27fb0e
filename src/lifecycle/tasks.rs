//! Spawns work that shutdown waits for.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::metrics::{Metrics, PanicPlace};

/// Spawns work in flight. Shutdown waits for it within the grace, then drops it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    cut: CancellationToken,
    metrics: Metrics,
}

impl Tasks {
    pub(super) fn new(cut: CancellationToken, metrics: Metrics) -> Self {
        Self { tracker: TaskTracker::new(), cut, metrics }
    }

    /// Runs `future` in the background, in the present span. The handle yields its output, or `None` where it panicked
    /// (contained and counted) or was cut off; dropping the handle does not stop the work.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let cut = self.cut.clone();
        let metrics = self.metrics.clone();
        // In a place of its own: each of the futures around it would otherwise have room for it once more.
        let work = Box::pin(contained(future));
        let guarded = async move {
            tokio::select! {
                biased;
                () = cut.cancelled() => {
                    tracing::warn!(task = name, "task cut off at the end of the shutdown grace");
                    None
                }
                done = work => {
                    if done.is_err() {
                        metrics.panicked(PanicPlace::Task);
                        tracing::error!(task = name, "task panicked");
                    }
                    done.ok()
                }
            }
        };
        self.tracker.spawn(guarded.in_current_span())
    }

    /// Returns how many are running.
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Waits until all have ended; more may be spawned meanwhile and are waited for too.
    pub(super) async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Turns a panic inside `future` into an error. The panic drops what the future owned; what it shares must be whole between
/// awaits anyway, as it may be dropped at any of them.
pub(super) fn contained<T>(future: impl Future<Output = T>) -> impl Future<Output = Result<T, Panicked>> {
    AssertUnwindSafe(future).catch_unwind().map(|outcome| outcome.map_err(Panicked::from))
}

/// A caught panic. Its message went to the panic hook and is not repeated: it may quote what was being worked on.
#[derive(Debug)]
pub(super) struct Panicked;

impl From<Box<dyn Any + Send>> for Panicked {
    fn from(_: Box<dyn Any + Send>) -> Self {
        Self
    }
}
