//! The request budget: never more requests than Fini's limit in any window, and sends before reads.
//!
//! Fini documents 100 requests per 60 seconds, not whether the window rolls. So the log of requests (kept in the store:
//! over restarts and replicas) is a sliding one, and every request in it counts from the latest moment at which it can have
//! reached Fini. A bucket with burst would let almost twice the limit into some windows.
//!
//! The budget decides how much each class may take; the callers decide which of those that wait goes first.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use super::Departure;
use crate::{
    domain::{Clock, Timestamp},
    store::{BudgetTerms, BudgetUse, Grant, PermitId, RequestClass, Result, Store},
};

/// Added to Fini's window: requests are counted at their departure, and reach Fini a little later, unevenly.
pub const WINDOW_MARGIN: Duration = Duration::from_millis(400);

/// Time for which a 429 holds the assumed limit down.
const SHRUNK_FOR: Duration = Duration::from_mins(5);

/// After that, the assumed limit regains a tenth of the full one per minute.
const RECOVERS_EVERY: Duration = Duration::from_mins(1);

/// A request leaves so soon after its permit, or not at all: a process that was frozen in between may neither use room that
/// others have meanwhile used, nor send what others have taken over from it.
const LEAVES_WITHIN: Duration = Duration::from_secs(10);

/// Number of departures that are recorded at once.
const TOGETHER: usize = 256;
/// Departures are gathered for so long after some were recorded; until then a request may have left later than the log
/// says, which matters only once its entry leaves the window.
const GATHERED: Duration = Duration::from_millis(20);
/// Pauses between attempts to record a departure.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Requests that were under way together are refused together: they count as one refusal.
const ONE_REFUSAL: Duration = Duration::from_secs(5);

/// The limits of the budget.
#[derive(Clone, Copy, Debug)]
pub struct BudgetSettings {
    /// Requests per window.
    pub requests: u32,
    /// Fini's window.
    pub window: Duration,
    /// The share of the budget (0 to 1) that reading may never take from sending.
    pub send_reserve: f64,
}

/// The division of a limit between sending and reading. Pure, so that a simulation divides it as the service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Requests per window.
    pub limit: u32,
    /// The window, with the margin.
    pub window: Duration,
    /// Reading takes at most so many of them, however few sends there are: the rest is reserved for sending at any moment.
    pub reading: u32,
    /// Reading keeps so many of them, however much is to be sent: replies are still found while sends queue up.
    pub floor: u32,
}

impl Shares {
    /// Divides `limit` (the assumed one) as the settings say.
    pub fn new(settings: &BudgetSettings, limit: u32) -> Self {
        let reserve = (f64::from(limit) * settings.send_reserve).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the limit")]
        let reserve = reserve.clamp(0.0, f64::from(limit)) as u32;
        let reading = limit.saturating_sub(reserve).max(1);
        let floor = if settings.send_reserve >= 1.0 { 1 } else { (limit / 10).max(1).min(reading) };
        Self { limit, window: settings.window.saturating_add(WINDOW_MARGIN), reading, floor }
    }

    /// Returns how much may be taken: by reads their share; by sends everything but what is left of reading's floor, and
    /// but one while a read waits that may wait no longer.
    pub const fn terms(&self, read_waits: bool) -> BudgetTerms {
        let Self { limit, window, reading, floor } = *self;
        BudgetTerms { limit, window, share: reading, floor, read_waits }
    }
}

/// The limit after a 429.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    believed: u32,
    at: Timestamp,
}

/// Returns the assumed limit: Fini's, or after a refusal less for a while, and then step by step all of it again.
fn believed(full: u32, refusal: Option<Refusal>, now: Timestamp) -> u32 {
    let Some(refusal) = refusal else { return full };
    let after = now.since(refusal.at).saturating_sub(SHRUNK_FOR);
    if now.since(refusal.at) < SHRUNK_FOR {
        return refusal.believed.min(full);
    }
    let steps = after.as_secs() / RECOVERS_EVERY.as_secs() + 1;
    let regained = u64::from(full).div_ceil(10).saturating_mul(steps);
    u32::try_from(u64::from(refusal.believed).saturating_add(regained)).unwrap_or(full).min(full)
}

/// The budget.
pub struct Budget {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    settings: BudgetSettings,
    refusal: Mutex<Option<Refusal>>,
    waiting: [AtomicU64; 4],
    departures: mpsc::UnboundedSender<(PermitId, Timestamp)>,
}

/// One request that may be made: an entry of the log, and the time at which it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The entry.
    pub id: PermitId,
    /// The time at which it was asked for; it may have been written later.
    pub at: Timestamp,
}

/// The answer to a request for a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The request may be made.
    Permit(Permit),
    /// There is no room before this time.
    NotBefore(Timestamp),
}

/// The departures that still have to be recorded.
pub struct Departures(mpsc::UnboundedReceiver<(PermitId, Timestamp)>);

impl Budget {
    /// Creates the budget over `store`, and the departures that [`Budget::keep`] records.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, settings: BudgetSettings) -> (Self, Departures) {
        let (departures, receiver) = mpsc::unbounded_channel();
        let budget =
            Self { store, clock, settings, refusal: Mutex::new(None), waiting: Default::default(), departures };
        (budget, Departures(receiver))
    }

    /// Returns the limit that is assumed at present: Fini's, or less for a while after a 429.
    pub fn limit(&self) -> u32 {
        let refusal = *self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        believed(self.settings.requests, refusal, self.clock.now())
    }

    /// Returns Fini's window, without the margin.
    pub const fn window(&self) -> Duration {
        self.settings.window
    }

    /// Returns the division of the assumed limit.
    pub fn shares(&self) -> Shares {
        Shares::new(&self.settings, self.limit())
    }

    /// Returns how much may be taken.
    pub fn terms(&self) -> BudgetTerms {
        let read_waits = [RequestClass::Bind, RequestClass::Sweep].iter().any(|class| self.waiting(*class) > 0);
        self.shares().terms(read_waits)
    }

    /// Returns how many requests per window reading may take at most.
    pub fn reading_share(&self) -> u32 {
        self.shares().reading
    }

    /// Returns the requests that were taken in the running window.
    pub async fn used(&self) -> Result<BudgetUse> {
        let window = self.settings.window.saturating_add(WINDOW_MARGIN);
        self.store.budget_use(window, self.clock.now()).await
    }

    /// Takes one request for reading.
    pub async fn take(&self, class: RequestClass) -> Result<Taken> {
        let (terms, at) = (self.terms(), self.clock.now());
        Ok(match self.store.take_permit(class, terms, at).await? {
            Grant::Now(id) => Taken::Permit(Permit { id, at }),
            Grant::NotBefore(at) => Taken::NotBefore(at),
        })
    }

    /// Returns the departure of the request that `permit` allows; it is recorded, unless it comes too late.
    ///
    /// Every departure is: a busy disk may lie between asking for a permit and having it, unseen from here.
    pub fn departure(&self, permit: Permit) -> Departure {
        let (clock, departures) = (Arc::clone(&self.clock), self.departures.clone());
        let latest = permit.at.plus(LEAVES_WITHIN.min(self.settings.window / 2));
        let is_late = {
            let clock = Arc::clone(&clock);
            move || clock.now() > latest
        };
        Departure::unless(is_late, move || {
            // The receiver is gone only once the bridge has stopped.
            let _ = departures.send((permit.id, clock.now()));
        })
    }

    /// Records departures until the budget is dropped, those of a short while together, with the latest of their times. A
    /// departure that cannot be recorded is tried again for as long as it counts: while the store is away nobody gets a
    /// permit, and afterwards nobody may get one too early.
    pub async fn keep(&self, mut departures: Departures) {
        let gathered = GATHERED.min(self.settings.window / 8);
        let mut left = Vec::new();
        while departures.0.recv_many(&mut left, TOGETHER).await > 0 {
            let at = left.iter().map(|(_, at)| *at).max().unwrap_or(Timestamp::ZERO);
            let permits: Vec<PermitId> = left.drain(..).map(|(permit, _)| permit).collect();
            let mut pause = FIRST_PAUSE;
            while let Err(error) = self.store.permits_departed(&permits, at).await {
                if self.clock.now().since(at) > self.settings.window.saturating_add(WINDOW_MARGIN) {
                    break;
                }
                if pause == FIRST_PAUSE {
                    tracing::warn!(%error, "budget entry not moved to its departure yet");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            tokio::time::sleep(gathered).await;
        }
    }

    /// Assumes a lower limit for a while: Fini said 429 although the budget had room, so somebody else uses the same limit.
    pub fn shrink(&self) {
        let now = self.clock.now();
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        if refusal.is_some_and(|last| now.since(last.at) < ONE_REFUSAL) {
            return;
        }
        let limit = believed(self.settings.requests, *refusal, now);
        *refusal = Some(Refusal { believed: (limit * 4 / 5).max(1), at: now });
    }

    /// Notes how many requests of a class wait for the budget.
    pub fn set_waiting(&self, class: RequestClass, waiting: u64) {
        self.waiting[class as usize].store(waiting, Ordering::Relaxed);
    }

    /// Returns how many requests of a class wait for the budget.
    pub fn waiting(&self, class: RequestClass) -> u64 {
        self.waiting[class as usize].load(Ordering::Relaxed)
    }

    /// Returns how long a message that is accepted now waits for the budget, when `queued` others wait before it.
    pub fn expected_wait(&self, queued: u64) -> Duration {
        let per_window = u64::from(self.limit()).max(1);
        let windows = queued / per_window + 1;
        self.settings.window.saturating_mul(u32::try_from(windows).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BudgetSettings =
        BudgetSettings { requests: 100, window: Duration::from_mins(1), send_reserve: 0.5 };

    #[test]
    fn reading_never_takes_the_reserve_and_always_keeps_its_floor() {
        let shares = Shares::new(&SETTINGS, 100);
        assert_eq!((shares.reading, shares.floor), (50, 10));
        let terms = shares.terms(false);
        assert_eq!((terms.limit, terms.share, terms.floor, terms.read_waits), (100, 50, 10, false));
        assert!(shares.terms(true).read_waits);
    }

    #[test]
    fn whatever_is_reserved_reading_keeps_one_request() {
        let all = BudgetSettings { send_reserve: 1.0, ..SETTINGS };
        assert_eq!((Shares::new(&all, 100).reading, Shares::new(&all, 100).floor), (1, 1));
        let most = BudgetSettings { send_reserve: 0.95, ..SETTINGS };
        assert_eq!((Shares::new(&most, 100).reading, Shares::new(&most, 100).floor), (5, 5));
    }

    #[test]
    fn a_refusal_is_believed_for_a_while_and_forgotten_step_by_step() {
        let at = |secs: i64| Timestamp::from_millis(secs * 1000);
        let refusal = Some(Refusal { believed: 80, at: at(0) });
        let limits: Vec<u32> = [0, 299, 300, 360, 3600].map(|secs| believed(100, refusal, at(secs))).to_vec();
        assert_eq!(limits, [80, 80, 90, 100, 100]);
        assert_eq!(believed(100, None, at(0)), 100);
    }
}
