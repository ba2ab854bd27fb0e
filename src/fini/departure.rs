//! The moment at which a request is handed to the network, and the proof that it was not.
//!
//! Two decisions need it. The budget counts a request from the moment at which it may have reached Fini, not from the
//! moment at which it was wanted, with connecting in between. And a send may be repeated only if its body provably never
//! left: for that a departure can be *withheld*, after which the connection does not get the body any more. It is one or
//! the other, never both, whatever the connection's task does at the same moment on another thread.
//!
//! A departure may also come *too late*: a process that was frozen after it got its permit must not send on a permit that
//! others count as used up, nor a message that another process has meanwhile taken over. A late departure withholds itself.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use crate::domain::correlation::Onward;

const HELD: u8 = 0;
const LEFT: u8 = 1;
const WITHHELD: u8 = 2;

/// Filled while a call is under way; cheap to clone, all clones are the same departure.
///
/// For a request with a body it is marked when the connection takes the whole body (all bodies are one piece), for a
/// request without one when the head of the answer arrives or the request fails, the latest moment at which Fini can
/// have counted it. One departure belongs to one request.
///
/// It also names the request on whose behalf this one is made, which travels in its headers.
#[derive(Clone)]
pub struct Departure {
    inner: Arc<Inner>,
    onward: Onward,
}

struct Inner {
    state: AtomicU8,
    hook: Box<dyn Fn() + Send + Sync>,
    is_late: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Departure {
    /// Creates a departure that calls `hook` once, when it is marked. The hook runs on the connection's task: it should do
    /// no more than take the time or send on a channel.
    pub fn new(hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self::unless(|| false, hook)
    }

    /// Likewise, for a request that must not leave any more once `is_late` returns true.
    pub fn unless(is_late: impl Fn() -> bool + Send + Sync + 'static, hook: impl Fn() + Send + Sync + 'static) -> Self {
        let inner = Inner { state: AtomicU8::new(HELD), hook: Box::new(hook), is_late: Box::new(is_late) };
        Self { inner: Arc::new(inner), onward: Onward::default() }
    }

    /// Creates a departure that is not reported to anyone.
    pub fn untold() -> Self {
        Self::new(|| ())
    }

    /// Sets the request because of which this one is made.
    #[must_use]
    pub fn on_behalf(self, onward: Onward) -> Self {
        Self { onward, ..self }
    }

    /// Returns on whose behalf the request is made.
    pub const fn onward(&self) -> &Onward {
        &self.onward
    }

    /// Returns true if the request may have left.
    pub fn has_left(&self) -> bool {
        self.inner.state.load(Ordering::Acquire) == LEFT
    }

    /// For adapters, before anything is handed over: returns true if the request may still leave. A late one is withheld.
    pub fn may_leave(&self) -> bool {
        !((self.inner.is_late)() && self.withhold())
    }

    /// For adapters: marks that the request leaves now. Returns false if it was withheld and must not leave.
    pub fn mark(&self) -> bool {
        match self.inner.state.compare_exchange(HELD, LEFT, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                (self.inner.hook)();
                true
            }
            Err(state) => state == LEFT,
        }
    }

    /// For adapters: forbids the request to leave. Returns true if it had not left, and now never will.
    pub fn withhold(&self) -> bool {
        match self.inner.state.compare_exchange(HELD, WITHHELD, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(state) => state == WITHHELD,
        }
    }
}

impl Default for Departure {
    fn default() -> Self {
        Self::untold()
    }
}

impl fmt::Debug for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.inner.state.load(Ordering::Acquire) {
            HELD => "held",
            LEFT => "left",
            _ => "withheld",
        };
        f.debug_tuple("Departure").field(&state).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn is_told_once() {
        let told = Arc::new(AtomicUsize::new(0));
        let departure = Departure::new({
            let told = Arc::clone(&told);
            move || {
                told.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert!(!departure.has_left());
        assert!(departure.mark());
        assert!(departure.clone().mark());
        assert!(departure.has_left());
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_was_withheld_never_leaves_and_what_left_is_not_withheld() {
        let withheld = Departure::untold();
        assert!(withheld.withhold());
        assert!(withheld.withhold());
        assert!(!withheld.mark());
        assert!(!withheld.has_left());

        let left = Departure::untold();
        assert!(left.mark());
        assert!(!left.withhold());
    }

    #[test]
    fn what_is_late_does_not_leave_and_what_left_in_time_has_left() {
        let late = Arc::new(AtomicUsize::new(0));
        let departure = || {
            let late = Arc::clone(&late);
            Departure::unless(move || late.load(Ordering::Relaxed) > 0, || ())
        };
        let (in_time, too_late) = (departure(), departure());
        assert!(in_time.may_leave() && in_time.mark());
        assert!(too_late.may_leave());
        late.store(1, Ordering::Relaxed);
        assert!(!too_late.may_leave());
        assert!(!too_late.mark() && !too_late.has_left());
        assert!(in_time.may_leave() && in_time.has_left(), "it is gone: nothing is left to forbid");
    }

    #[test]
    fn one_of_two_threads_wins() {
        for _ in 0..200 {
            let departure = Departure::untold();
            let other = departure.clone();
            let (left, withheld) = std::thread::scope(|scope| {
                let marker = scope.spawn(move || other.mark());
                let withheld = departure.withhold();
                (marker.join().expect("the marking thread does not panic"), withheld)
            });
            assert_ne!(left, withheld);
        }
    }
}
