//! The piece of work that is run in the background: one step, and something to wake it by.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::Timestamp;

/// The outcome of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// This much work was done, and there may be more: the next step follows at once. `Did(0)` is [`Step::Idle`] without a time.
    Did(usize),
    /// Nothing is due before `until`; without such a time, nothing is due before the loop is woken.
    Idle {
        /// Time at which something will be due.
        until: Option<Timestamp>,
    },
    /// As [`Step::Idle`], but work that wakes the loop before `rest` is over cannot be done yet: all of it is looked at
    /// then.
    Held {
        /// Time at which something will be due.
        until: Option<Timestamp>,
        /// Time for which looking again would be in vain.
        rest: Duration,
    },
}

/// Work that repeats. A step does one bounded piece and returns; it keeps nothing between steps that a restart would miss.
pub trait Loop: Send + Sync + 'static {
    /// The reason why a step failed. It is logged, so it holds no texts and no secrets.
    type Error: Display + Send;

    /// Does one piece of work. Never called concurrently with itself; dropped half-way when the grace is over.
    fn step(&self) -> impl Future<Output = Result<Step, Self::Error>> + Send;
}

impl<L: Loop> Loop for Arc<L> {
    type Error = L::Error;

    fn step(&self) -> impl Future<Output = Result<Step, Self::Error>> + Send {
        (**self).step()
    }
}

/// Wakes one loop. A wake that comes while a step is running is kept, so none is lost between looking and waiting.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Creates a wake that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that there may be work. Any number of these before the loop looks count as one.
    pub fn notify(&self) {
        self.0.notify_one();
    }

    pub(super) async fn notified(&self) {
        self.0.notified().await;
    }
}
