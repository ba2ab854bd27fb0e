//! Limits how slowly a response may be taken: a reader that takes nothing, or a byte now and then, may not hold one for
//! ever.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A reader that took so many bytes has all its time again. Together with `Limits::write_timeout` this is the lowest speed.
pub(super) const PORTION: usize = 16 * 1024;

/// The time at which a response ends, whatever it waits for. A handler leaves it among the extensions of its response.
#[derive(Clone, Copy, Debug)]
pub struct EndsAt(pub Instant);

/// Adds up how long a response has waited for its reader, and forgives it with each portion that was taken.
#[derive(Debug)]
pub(super) struct Pace {
    within: Duration,
    waited: Duration,
    taken: usize,
    since: Option<Instant>,
}

impl Pace {
    /// Creates a pace at which a reader may keep a portion waiting for so long in all.
    pub(super) const fn new(within: Duration) -> Self {
        Self { within, waited: Duration::ZERO, taken: 0, since: None }
    }

    /// Notes that the response waits for its reader, from now on or since earlier. Returns when the reader's time is up.
    pub(super) fn wait(&mut self, now: Instant) -> Instant {
        *self.since.get_or_insert(now) + self.within.saturating_sub(self.waited)
    }

    /// Notes that the reader took so many bytes.
    pub(super) fn took(&mut self, bytes: usize, now: Instant) {
        self.pause(now);
        self.taken += bytes;
        if self.taken >= PORTION {
            self.taken = 0;
            self.waited = Duration::ZERO;
        }
    }

    /// Notes that there is nothing to take at the moment.
    pub(super) fn pause(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }
}

/// The pace of one response of HTTP/2. Its body keeps it; the task that carries the body asks it, even while the body is
/// not polled.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    pace: Pace,
    /// The time at which the reader's time is up, while the response waits for it.
    due: Option<Instant>,
    /// The time at which the response ends in any case.
    ends_at: Option<Instant>,
}

impl Progress {
    pub(super) fn new(within: Duration) -> Self {
        Self(Arc::new(Mutex::new(State { pace: Pace::new(within), due: None, ends_at: None })))
    }

    /// Notes that the reader took so many bytes; it is not known yet whether there are more for it.
    pub(super) fn took(&self, bytes: usize) {
        self.with(|state| {
            state.pace.took(bytes, Instant::now());
            state.due = None;
        });
    }

    /// Notes that there is something for the reader.
    pub(super) fn waits(&self) {
        self.with(|state| state.due = Some(state.pace.wait(Instant::now())));
    }

    /// Sets when the response ends in any case.
    pub(super) fn ends_at(&self, at: Option<Instant>) {
        self.with(|state| state.ends_at = at);
    }

    /// Returns when to give it up, unless something happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.with(|state| [state.due, state.ends_at].into_iter().flatten().min())
    }

    /// Returns true if the reader is to blame for the end that is due.
    pub(super) fn is_stalled(&self) -> bool {
        self.with(|state| state.due.is_some_and(|due| due <= Instant::now()))
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_drip_does_not_prolong_a_wait_and_a_portion_does() {
        let begun = Instant::now();
        let (mut pace, mut now) = (Pace::new(WITHIN), begun);
        let mut due = pace.wait(now);
        assert_eq!(due, begun + WITHIN);
        for _ in 0..29 {
            now += Duration::from_secs(1);
            pace.took(1, now);
            due = pace.wait(now);
        }
        assert_eq!(due, begun + WITHIN, "bytes now and then are no progress");
        pace.took(PORTION, now);
        assert_eq!(pace.wait(now), now + WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn time_without_anything_to_take_is_not_the_readers() {
        let begun = Instant::now();
        let mut pace = Pace::new(WITHIN);
        pace.wait(begun);
        pace.took(10, begun + Duration::from_secs(1));
        pace.pause(begun + Duration::from_secs(1));
        let later = begun + Duration::from_hours(1);
        assert_eq!(pace.wait(later), later + WITHIN - Duration::from_secs(1));
    }
}
