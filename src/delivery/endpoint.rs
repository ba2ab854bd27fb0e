//! One frontend's callback address, with what is known of it in this process.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use url::Url;

use super::breaker::{Breaker, State};
use crate::{
    domain::{Timestamp, ids::FrontendName},
    signature::Signer,
    store::DeliveryPermits,
};

/// One frontend's callback address.
#[derive(Debug)]
pub struct Endpoint {
    /// The frontend.
    pub frontend: FrontendName,
    /// Where its callbacks go.
    pub url: Url,
    /// Signs them.
    pub signer: Signer,
    /// At most so many at once.
    slots: usize,
    in_flight: AtomicUsize,
    /// Whether more was due than there were slots for.
    wanted: AtomicBool,
    breaker: Mutex<Breaker>,
}

impl Endpoint {
    /// An endpoint that takes at most `slots` callbacks at once.
    pub fn new(frontend: FrontendName, url: Url, signer: Signer, slots: usize) -> Self {
        Self {
            frontend,
            url,
            signer,
            slots,
            in_flight: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            breaker: Mutex::default(),
        }
    }

    /// What may be claimed now: nothing while the breaker is open (then: until when), one to probe, else every free slot.
    /// Retries get half of the slots, so that old trouble never crowds out first attempts.
    pub fn permits(&self, now: Timestamp) -> Result<DeliveryPermits, Timestamp> {
        let busy = self.in_flight.load(Ordering::Acquire);
        let free = match self.breaker().state(now) {
            State::Open(until) => return Err(until),
            State::HalfOpen => 1usize.saturating_sub(busy),
            State::Closed => self.slots.saturating_sub(busy),
        };
        let retries = free.min(self.slots.div_ceil(2).saturating_sub(busy.min(self.slots / 2)));
        Ok(DeliveryPermits { frontend: self.frontend.clone(), first: free, retries })
    }

    /// Whether the lane in hand may go on to its next callback.
    pub fn may_go_on(&self, now: Timestamp) -> bool {
        self.breaker().state(now) == State::Closed
    }

    /// An attempt succeeded. Returns whether that ended a pause.
    pub fn succeeded(&self) -> bool {
        self.breaker().succeeded()
    }

    /// An attempt failed. Returns until when the endpoint is left alone, where this began a pause.
    pub fn failed(&self, now: Timestamp) -> Option<Timestamp> {
        self.breaker().failed(now)
    }

    /// The breaker's state, for operators.
    pub fn state(&self, now: Timestamp) -> State {
        self.breaker().state(now)
    }

    pub(super) fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
    }

    /// Frees a slot; whether somebody waits for it.
    pub(super) fn leave(&self) -> bool {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.wanted.load(Ordering::Acquire)
    }

    /// Notes whether the next free slot is waited for. Said before the slots are counted, so that none is freed unheard.
    pub(super) fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Release);
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
