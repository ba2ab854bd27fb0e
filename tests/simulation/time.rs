//! One time for a world: it passes only when nobody has anything to do.
//!
//! The bridge's wall clock can be stepped, the vendor's and the world's own cannot. Readings of the bridge's clock are counted: a kill can
//! be set to strike at one of them, which is how it gets to any await.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use fini_bridge::domain::{Clock, Entropy, Timestamp};
use tokio::time::Instant;

/// The present when a world begins: 2027-01-15.
pub const BEGINNING: i64 = 1_800_000_000_000;

/// A world's time.
pub struct Time {
    began: Instant,
    /// How far the bridge's wall clock is off, in milliseconds.
    off: AtomicI64,
    strike: Mutex<Option<Strike>>,
}

struct Strike {
    after: u32,
    act: Box<dyn FnOnce() + Send>,
}

impl Time {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), off: AtomicI64::new(0), strike: Mutex::default() })
    }

    /// Milliseconds since the world began.
    pub fn elapsed(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// The true time, epoch milliseconds.
    pub fn truth(&self) -> i64 {
        BEGINNING + self.elapsed()
    }

    /// Moves the bridge's wall clock.
    pub fn step(&self, by_ms: i64) {
        self.off.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Has `act` happen at the given reading of the bridge's clock from now on.
    pub fn strike(&self, after: u32, act: impl FnOnce() + Send + 'static) {
        *self.inner() = Some(Strike { after, act: Box::new(act) });
    }

    /// Has what was set by [`Time::strike`] happen now, unless it has.
    pub fn strike_now(&self) {
        let due = self.inner().take();
        if let Some(strike) = due {
            (strike.act)();
        }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Option<Strike>> {
        self.strike.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for Time {
    fn now(&self) -> Timestamp {
        let is_due = match &mut *self.inner() {
            Some(strike) if strike.after == 0 => true,
            Some(strike) => {
                strike.after -= 1;
                false
            }
            None => false,
        };
        if is_due {
            self.strike_now();
        }
        Timestamp::from_millis(self.truth() + self.off.load(Ordering::Relaxed))
    }
}

/// Seeded chance.
pub struct Chance(Mutex<fastrand::Rng>);

impl Chance {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// One draw.
    pub fn draw<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entropy for Chance {
    fn next_u64(&self) -> u64 {
        self.draw(|dice| dice.u64(..))
    }
}
