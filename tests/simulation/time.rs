//! One time for a world: it passes only when nobody has anything to do.
//!
//! The bridge's wall clock can be stepped, the vendor's and the world's own cannot. What the bridge asks of the world is counted: a kill can
//! be set to strike after so many questions, which is how it gets to where something is being done.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use fini_bridge::domain::{Entropy, WallClock, WallTime};
use tokio::{sync::oneshot, time::Instant};

/// The present when a world begins: 2027-01-15.
pub const BEGINNING: i64 = 1_800_000_000_000;

/// A world's time.
pub struct Time {
    began: Instant,
    /// How far the bridge's wall clock is off, in milliseconds.
    off: AtomicI64,
    strike: Mutex<Option<(u32, oneshot::Sender<()>)>>,
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

    /// Done once the bridge has asked something of the world so many times from now on.
    pub fn after(&self, questions: u32) -> oneshot::Receiver<()> {
        let (strike, struck) = oneshot::channel();
        *self.strike.lock().unwrap_or_else(PoisonError::into_inner) = Some((questions, strike));
        struck
    }

    /// The bridge asks something of the world: the time, chance, the vendor, a receiver.
    pub fn asked(&self) {
        let mut strike = self.strike.lock().unwrap_or_else(PoisonError::into_inner);
        match strike.as_mut() {
            Some((left, _)) if *left > 0 => *left -= 1,
            Some(_) => {
                if let Some((_, strike)) = strike.take() {
                    // Nobody waits for it any more where it came too late.
                    let _ = strike.send(());
                }
            }
            None => {}
        }
    }
}

impl WallClock for Time {
    fn now(&self) -> WallTime {
        self.asked();
        WallTime::from_millis(self.truth() + self.off.load(Ordering::Relaxed))
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

/// The bridge's chance.
pub struct Asked(pub Arc<Chance>, pub Arc<Time>);

impl Entropy for Asked {
    fn next_u64(&self) -> u64 {
        self.1.asked();
        self.0.draw(|dice| dice.u64(..))
    }
}
