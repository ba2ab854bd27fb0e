//! Read-only connections: a few, opened when first needed, each used by one caller at a time on a thread that may wait for
//! the disk; inline, on the caller's own. The bridge's own loops and calls from outside have some each.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{sync::Semaphore, time::timeout};

use super::{
    Conn,
    connect::{BUSY_TIMEOUT, Location},
};
use crate::store::{Result, StoreError};

/// Connections for calls from outside.
pub(super) const ASKING: usize = 3;
/// Connections of the bridge's own loops, which no call from outside keeps waiting.
pub(super) const OWN: usize = 2;

/// The connections for reading.
#[derive(Debug)]
pub(super) struct Readers {
    location: Location,
    is_inline: bool,
    free: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Conn>>>,
}

impl Readers {
    pub(super) fn new(location: Location, is_inline: bool, most: usize) -> Self {
        Self { location, is_inline, free: Arc::new(Semaphore::new(most)), idle: Arc::default() }
    }

    /// Runs `work` on one of them.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = timeout(BUSY_TIMEOUT, Arc::clone(&self.free).acquire_owned()).await;
        let permit = permit
            .map_err(|_| StoreError::Unavailable("every reading connection is busy".to_owned()))?
            .map_err(|_| closed())?;
        let (location, idle, free) = (self.location.clone(), Arc::clone(&self.idle), Arc::clone(&self.free));
        let reading = move || {
            let _permit = permit;
            let taken = lock(&idle).pop();
            let mut conn = match taken {
                Some(conn) => conn,
                None => location.reader()?,
            };
            let found = work(&mut conn);
            // Failed work may have left the connection in any state.
            if found.is_ok() && !free.is_closed() {
                lock(&idle).push(conn);
            }
            found
        };
        if self.is_inline {
            tokio::task::yield_now().await;
            return reading();
        }
        tokio::task::spawn_blocking(reading)
            .await
            .unwrap_or_else(|_| Err(StoreError::Internal("a read panicked".to_owned())))
    }

    /// Refuses further reads; reads under way are finished.
    pub(super) fn close(&self) {
        self.free.close();
        lock(&self.idle).clear();
    }
}

fn lock(idle: &Mutex<Vec<Conn>>) -> std::sync::MutexGuard<'_, Vec<Conn>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}
