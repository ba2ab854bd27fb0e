//! One destination's callback address, with what this process knows of it: callbacks under way, failures, and the pace at
//! which it takes callbacks.
//!
//! Slots are counted by the head of their lane. Retries get half of them, so that old trouble never crowds out first
//! attempts; first attempts are never counted against that half, so that they never keep a retry waiting beside free slots.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use secrecy::SecretString;
use url::Url;

use super::{ReceiverApi, verdict::Wish};
use crate::{
    domain::{
        Timestamp,
        backoff::Backoff,
        breaker::{Breaker, Policy, State},
        destination::Destination,
        pace::{Allowed, Pace, Pass},
        schedule::RetrySchedule,
    },
    signature::Signer,
    store::DeliveryPermits,
};

/// A receiver that fails so often in a row is left alone for a while, then tried with one callback. Callbacks that are held
/// back meanwhile spend no attempt.
const BREAKER: Policy =
    Policy { opens_after: 20, pauses: Backoff { first: Duration::from_secs(4), cap: Duration::from_secs(60) } };

/// The terms on which one destination is called back.
#[derive(Clone)]
pub struct Terms {
    /// One deadline for an attempt, from resolving to the last byte.
    pub timeout: Duration,
    /// The waits between attempts.
    pub schedule: RetrySchedule,
    /// At most so many at once.
    pub slots: usize,
}

/// Further headers of a destination's callbacks; their values may be secrets.
pub type Headers = Vec<(String, SecretString)>;

/// One destination's callback address.
pub struct Endpoint {
    /// The destination.
    pub destination: Destination,
    /// The address that its callbacks go to.
    pub url: Url,
    /// Timeout, schedule and slots.
    pub terms: Terms,
    /// Makes the attempts if this endpoint has a sender of its own.
    receivers: Option<Arc<dyn ReceiverApi>>,
    /// Signs the callbacks; may be exchanged.
    signer: Mutex<Arc<Signer>>,
    /// Sent with the callbacks; may be exchanged.
    headers: Mutex<Arc<Headers>>,
    /// True if more was due than there were slots for.
    wanted: AtomicBool,
    breaker: Mutex<Breaker<()>>,
    traffic: Mutex<Traffic>,
}

/// The callbacks under way.
#[derive(Debug, Default)]
struct Traffic {
    in_flight: usize,
    /// Slots whose lane's head was attempted before.
    retries: usize,
    /// Slots whose callback is a probe of whether the receiver works again.
    probes: usize,
    pace: Pace,
}

/// A slot that is taken; see [`Endpoint::leave`].
#[derive(Debug)]
pub(super) struct Seat {
    pass: Pass,
    is_retry: bool,
    is_probe: bool,
}

impl std::fmt::Debug for Endpoint {
    /// Shows only the host of the address, and no secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("destination", &self.destination)
            .field("host", &self.url.host_str())
            .field("traffic", &self.traffic)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Creates an endpoint on these terms.
    pub fn new(destination: Destination, url: Url, signer: Signer, terms: Terms) -> Self {
        Self {
            destination,
            url,
            terms,
            receivers: None,
            signer: Mutex::new(Arc::new(signer)),
            headers: Mutex::default(),
            wanted: AtomicBool::new(false),
            breaker: Mutex::new(Breaker::new(BREAKER)),
            traffic: Mutex::default(),
        }
    }

    /// Gives it a sender of its own.
    #[must_use]
    pub fn over(self, receivers: Arc<dyn ReceiverApi>) -> Self {
        Self { receivers: Some(receivers), ..self }
    }

    /// Returns the sender of its attempts.
    pub fn receivers<'a>(&'a self, otherwise: &'a Arc<dyn ReceiverApi>) -> &'a Arc<dyn ReceiverApi> {
        self.receivers.as_ref().unwrap_or(otherwise)
    }

    /// Returns the present further headers.
    pub fn headers(&self) -> Headers {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner).to_vec()
    }

    /// Sends other headers from now on.
    pub fn send_with(&self, headers: Headers) {
        *self.headers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(headers);
    }

    /// Returns the present signer of callbacks.
    pub fn signer(&self) -> Arc<Signer> {
        Arc::clone(&self.signer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Signs with other secrets from now on.
    pub fn sign_with(&self, signer: Signer) {
        *self.signer.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(signer);
    }

    /// Returns what may be claimed now: one callback to probe a half-open breaker, else every free slot as far as the pace
    /// goes. While nothing may be, returns when to ask again, if time alone lets more go.
    pub fn permits(&self, now: Timestamp) -> Result<DeliveryPermits, Option<Timestamp>> {
        let state = self.state(now);
        let mut traffic = self.traffic();
        let free = self.terms.slots.saturating_sub(traffic.in_flight);
        let free = match state {
            State::Open { until, .. } => return Err(Some(until)),
            State::HalfOpen { .. } => free.min(1usize.saturating_sub(traffic.probes)),
            State::Closed => free,
        };
        let first = match traffic.pace.allowed(now, free) {
            Allowed::Now(allowed) => allowed,
            Allowed::At(then) => return Err(Some(then)),
            Allowed::Blocked => return Err(None),
        };
        let retries = first.min(self.terms.slots.div_ceil(2).saturating_sub(traffic.retries));
        Ok(DeliveryPermits { destination: self.destination.clone(), first, retries })
    }

    /// Returns true if the lane in hand may go on to its next callback.
    pub fn may_go_on(&self, now: Timestamp) -> bool {
        self.state(now) == State::Closed && self.traffic().pace.is_free()
    }

    /// Notes that the receiver took a callback. Returns true if that ended a pause.
    pub(super) fn succeeded(&self, seat: &Seat, began_at: Timestamp, now: Timestamp) -> bool {
        self.traffic().pace.taken(seat.pass, now, self.terms.slots);
        self.took(began_at)
    }

    /// Notes that the receiver took something that was sent at `began_at`, if only a ping. Returns true if that ended a pause.
    pub fn took(&self, began_at: Timestamp) -> bool {
        self.breaker().succeeded(began_at).is_some()
    }

    /// Ends the breaker's pause: the next callback goes to find out.
    pub fn try_now(&self, now: Timestamp) {
        self.breaker().end_pause(now);
    }

    /// Notes that an attempt failed; `answered` if the receiver answered it. Returns until when the endpoint is left alone,
    /// if this began a pause.
    pub(super) fn failed(
        &self,
        seat: &Seat,
        answered: bool,
        (began_at, now): (Timestamp, Timestamp),
        jitter: f64,
    ) -> Option<Timestamp> {
        if answered {
            // It would have refused this one, had it come too fast.
            self.traffic().pace.taken(seat.pass, now, self.terms.slots);
        }
        self.breaker().failed((), began_at, now, jitter)
    }

    /// Notes that the receiver wants to be left alone, for the time it names or for an unknown one. Returns until when it
    /// is, if that is news.
    pub(super) fn refused(&self, seat: &Seat, now: Timestamp, wish: Wish) -> Option<Timestamp> {
        self.traffic().pace.refused(seat.pass, now, wish.named, wish.otherwise, wish.longest)
    }

    /// Returns until when the receiver wants to be left alone.
    pub fn held_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.traffic().pace.held_until(now)
    }

    /// Returns the breaker's state, for operators.
    pub fn state(&self, now: Timestamp) -> State<()> {
        self.breaker().state(now)
    }

    pub(super) fn enter(&self, is_retry: bool, now: Timestamp) -> Seat {
        let is_probe = matches!(self.state(now), State::HalfOpen { .. });
        let mut traffic = self.traffic();
        traffic.in_flight += 1;
        traffic.retries += usize::from(is_retry);
        traffic.probes += usize::from(is_probe);
        Seat { pass: traffic.pace.begin(now), is_retry, is_probe }
    }

    /// Moves the lane in that slot on to its next head.
    pub(super) fn go_on(&self, seat: &mut Seat, is_retry: bool) {
        let mut traffic = self.traffic();
        traffic.retries = (traffic.retries + usize::from(is_retry)).saturating_sub(usize::from(seat.is_retry));
        seat.is_retry = is_retry;
    }

    /// Frees a slot. Returns true if somebody waits for it.
    pub(super) fn leave(&self, seat: &Seat, now: Timestamp) -> bool {
        let mut traffic = self.traffic();
        traffic.in_flight = traffic.in_flight.saturating_sub(1);
        traffic.retries = traffic.retries.saturating_sub(usize::from(seat.is_retry));
        traffic.probes = traffic.probes.saturating_sub(usize::from(seat.is_probe));
        traffic.pace.end(seat.pass, now);
        drop(traffic);
        self.wanted.load(Ordering::Acquire)
    }

    /// Notes that the next free slot is waited for. Called before the slots are counted, so that none is freed unheard.
    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    /// Notes whether a claim took all that was due.
    pub(super) fn claimed(&self, all: bool) {
        self.wanted.store(!all, Ordering::Release);
        self.traffic().pace.has_backlog(!all);
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker<()>> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn traffic(&self) -> std::sync::MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::ids::FrontendName, signature::CallbackSecret};

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + millis)
    }

    fn endpoint(slots: usize) -> Endpoint {
        let secret = CallbackSecret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").expect("a secret");
        let url = "https://receiver.example/callback".parse().expect("a URL");
        let schedule = RetrySchedule::new(vec![Duration::from_secs(1)]).expect("a schedule");
        let terms = Terms { timeout: Duration::from_secs(1), schedule, slots };
        Endpoint::new(Destination::main(FrontendName::trusted("web")), url, Signer::new(secret), terms)
    }

    /// Takes whatever slots may be taken, until all are or `count` of them.
    fn fill(endpoint: &Endpoint, count: usize, is_retry: bool) -> Vec<Seat> {
        let mut seats = Vec::new();
        for millis in 0..10_000 {
            if let Ok(permits) = endpoint.permits(at(millis)) {
                let allowed = if is_retry { permits.retries } else { permits.first };
                seats.extend((0..allowed.min(count - seats.len())).map(|_| endpoint.enter(is_retry, at(millis))));
            }
        }
        seats
    }

    #[test]
    fn first_attempts_take_nothing_from_the_share_of_retries() {
        let endpoint = endpoint(64);
        let seats = fill(&endpoint, 40, false);
        assert_eq!(seats.len(), 40);
        let permits = endpoint.permits(at(10_000)).expect("slots are free");
        assert_eq!(permits.retries, permits.first, "and there is one at least");
        for seat in seats {
            endpoint.leave(&seat, at(10_000));
        }
    }

    #[test]
    fn retries_take_half_of_the_slots_at_most() {
        for (slots, half) in [(1, 1), (2, 1), (5, 3), (64, 32)] {
            let endpoint = endpoint(slots);
            assert_eq!(fill(&endpoint, slots, true).len(), half, "{slots} slots");
            let (first, retries) = endpoint.permits(at(10_000)).map_or((0, 0), |free| (free.first, free.retries));
            assert_eq!((first > 0, retries), (slots > half, 0));
        }
    }

    #[test]
    fn a_slot_counts_as_what_its_lane_does_now() {
        let endpoint = endpoint(4);
        let mut seats = fill(&endpoint, 4, true);
        assert_eq!(endpoint.permits(at(10_000)).map(|permits| permits.retries), Ok(0));
        endpoint.go_on(&mut seats[0], false);
        assert_eq!(endpoint.permits(at(10_000)).map(|permits| permits.retries), Ok(1));
        endpoint.go_on(&mut seats[0], true);
        for seat in &seats {
            endpoint.leave(seat, at(10_000));
        }
        assert_eq!(endpoint.permits(at(10_000)).map(|permits| permits.retries), Ok(2));
    }

    #[test]
    fn a_probe_does_not_wait_for_what_was_under_way_before() {
        let endpoint = endpoint(64);
        let seats = fill(&endpoint, 30, false);
        let until = seats[..20]
            .iter()
            .find_map(|seat| endpoint.failed(seat, true, (at(9_999), at(10_000)), 1.0))
            .expect("it opens");
        assert_eq!(endpoint.permits(at(10_001)).map(drop), Err(Some(until)));
        assert_eq!(endpoint.permits(until).map(|permits| permits.first), Ok(1), "thirty still hang, and one may try");
        let probe = endpoint.enter(true, until);
        assert_eq!(endpoint.permits(until).map(drop), Err(None));
        endpoint.leave(&probe, until);
        assert!(endpoint.permits(until).is_ok());
    }
}
