//! The reader: learns by List and Get what Fini does not report by itself.
//!
//! The planner decides what to read next; the reader describes the situation to it, takes the request out of the budget,
//! does the read and reports what it showed. It keeps nothing that a restart would miss but the watermark, which is in the
//! store. At most one process reads at a time (a lease); what it finds reaches all others through the store.

mod list;
mod single;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    breakers::Breakers,
    ledger::Ledger,
    lookup::LookupSettings,
    planner::{CLOCK_MARGIN, Kind, Pending, Plan, Planner, Search, Situation, Watched},
    walk::Walker,
};
use crate::{
    domain::{
        Clock, Entropy, Timestamp, VendorClock,
        breaker::State as Breaker,
        conversation::State,
        ids::{ConversationKey, FrontendName, TurnKey},
        scopes::{Trouble, Way},
    },
    fini::{
        FiniApi,
        budget::{Budget, Taken},
    },
    lifecycle::{Loop, Step, Tasks, Wake},
    store::{
        BudgetUse, DueRead, Lease, Owner, RequestClass, Result, Store, StoreError, TurnToRead, UNBOUND, WatchSummary,
        WatchedConversation,
    },
};

/// Time between two counts of the watch; the longer one is for a large watch, which changes little in a moment.
const SUMMARY_EVERY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(15));
/// A watch beyond this is large.
const LARGE: u64 = 2_000;
/// Conversations whose status is read singly where that is cheaper than a full pass.
const FRONT: usize = 64;
/// Number of watched conversations that are checked with each summary, by turns, for what List does not show: it leaves out
/// what is older than its window, and perhaps conversations in which no customer wrote.
const CHECKED: usize = 500;
/// Of them, so many are read singly at most before the next are checked.
const UNLISTED: usize = 16;
/// Single reads that are considered at once.
const PENDING: usize = 16;
/// The lease of the process that reads: its name and its duration.
pub const LEASE: (&str, Duration) = ("reader", Duration::from_secs(6));
/// The process that reads renews it this often: two renewals may fail before it ends.
const RENEWED_EVERY: Duration = Duration::from_secs(2);
/// The other processes try to take it this often.
pub const TRIED_EVERY: Duration = Duration::from_millis(1_500);
/// Another process reads within this time after the death of the one that read. The store has to answer in what the lease
/// and the next try leave of it.
pub const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(10);
/// Name under which the store remembers the watermark.
const WATERMARK: &str = "sweep.watermark";

/// Settings of the reader.
#[derive(Clone, Debug)]
pub struct ReaderSettings {
    /// Each frontend with its bot.
    pub bots: Vec<(FrontendName, String)>,
    /// The wanted pace of sweeps.
    pub sweep_interval: Duration,
    /// Patience of lookups.
    pub lookup: LookupSettings,
    /// The longest a read may take; the lease is renewed meanwhile by further steps.
    pub read_timeout: Duration,
}

impl ReaderSettings {
    /// Returns the frontends that share the bot of this one, itself included.
    fn peers(&self, frontend: &FrontendName) -> Vec<FrontendName> {
        let bot = self.bots.iter().find(|(name, _)| name == frontend).map(|(_, bot)| bot);
        self.bots.iter().filter(|(_, other)| Some(other) == bot).map(|(name, _)| name.clone()).collect()
    }
}

/// The reader.
pub struct Reader {
    /// Holds conversations, turns, bindings and the watermark.
    pub store: Arc<dyn Store>,
    /// Answers the reads.
    pub fini: Arc<dyn FiniApi>,
    /// Reads and records pages.
    pub walker: Arc<Walker>,
    /// Records what is found.
    pub ledger: Arc<Ledger>,
    /// Say when not to ask.
    pub breakers: Arc<Breakers>,
    /// Says how much may be asked.
    pub budget: Arc<Budget>,
    /// The steady clock.
    pub clock: Arc<dyn Clock>,
    /// Fini's time.
    pub vendor: Arc<VendorClock>,
    /// Draws the ids of request spans.
    pub entropy: Arc<dyn Entropy>,
    /// Runs the reads.
    pub tasks: Tasks,
    /// Wakes this loop when a read ends.
    pub wake: Wake,
    /// This process, as the owner of leases.
    pub owner: Owner,
    /// Bots, pace and timeouts.
    pub settings: ReaderSettings,
    /// The reads under way and the planner.
    pub state: Mutex<ReaderState>,
}

/// The state of reading: the planner, the reads under way, and the lease.
#[derive(Default)]
pub struct ReaderState {
    planner: Planner,
    searching: Vec<TurnToRead>,
    watermark_kept_at: Option<Timestamp>,
    looking: HashSet<TurnKey>,
    getting: HashSet<ConversationKey>,
    watch: Option<Watch>,
    leased_at: Option<Timestamp>,
    /// Time since which there is something to read for.
    needed_since: Option<Timestamp>,
    /// Number of times the store had gone on from an earlier point when this state began.
    restorations: u64,
}

/// The watch as it was counted last.
#[derive(Clone)]
struct Watch {
    counted_at: Timestamp,
    summary: WatchSummary,
    front: Arc<[WatchedConversation]>,
    /// The end of the watch of the last conversation that was checked; `None` where the watch begins anew.
    checked_until: Option<Timestamp>,
}

/// The progress of reading, for readiness and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadingAge {
    /// Start of the last sweep that succeeded; before the first, the time since which there is something to read for.
    /// `None` if there is nothing, or if another process reads.
    pub unread_since: Option<Timestamp>,
    /// True while something that sweeps left unread (after an outage, say) is still to be read.
    pub catching_up: bool,
}

impl Loop for Arc<Reader> {
    type Error = StoreError;

    async fn step(&self) -> Result<Step> {
        let now = self.clock.now();
        if mutated!("nobody looks for what agents write") {
            return Ok(Step::Idle { until: None });
        }
        let breakers = [Way::List, Way::Get].map(|way| self.breakers.reads(way));
        let mut unread_end = None;
        if breakers != [Breaker::Closed; 2] {
            unread_end = self.give_up_unread(now).await?;
            if let [Some(lists), Some(gets)] = breakers.map(|breaker| breaker.open_until()) {
                let until = lists.min(gets);
                return Ok(Step::Idle { until: Some(unread_end.map_or(until, |end| end.min(until))) });
            }
        }
        self.forget_what_was_not();
        let renew = if self.store.is_shared() {
            let Some(leased_at) = self.leased_at(now).await? else {
                self.begin_anew();
                // Whatever there is to read: another process reads it.
                return Ok(Step::Held { until: Some(now.plus(TRIED_EVERY)), rest: TRIED_EVERY });
            };
            Some(leased_at.plus(RENEWED_EVERY))
        } else {
            None
        };
        self.begin(now).await?;
        let view = self.view(now, breakers).await?;
        self.note_need(&view);
        let plan = self.state().planner.decide(&view.situation(self));
        let class = match plan {
            Plan::Wait(until) => {
                return Ok(Step::Idle { until: [until, renew, unread_end].into_iter().flatten().min() });
            }
            Plan::Lookup => RequestClass::Bind,
            Plan::List(Kind::Sweep | Kind::Gap) if view.watch.summary.watched == 0 => RequestClass::Bind,
            Plan::List(Kind::Sweep | Kind::Gap) => RequestClass::Sweep,
            Plan::List(Kind::Audit) | Plan::Pending(_) | Plan::Front(_) => RequestClass::Get,
        };
        let permit = match self.budget.take(class).await? {
            Taken::Permit(permit) => permit,
            Taken::NotBefore(at) => {
                self.budget.set_waiting(class, 1);
                return Ok(Step::Idle { until: Some(renew.map_or(at, |renew| at.min(renew))) });
            }
        };
        self.budget.set_waiting(class, 0);
        let way = if matches!(plan, Plan::List(_)) { Way::List } else { Way::Get };
        if breakers[way as usize] != Breaker::Closed {
            self.breakers.probe_reads(way, self.settings.read_timeout);
        }
        match plan {
            Plan::List(kind) => self.start_list(kind, &view, permit).await?,
            Plan::Lookup | Plan::Pending(_) | Plan::Front(_) => self.start_single(plan, view, permit),
            Plan::Wait(_) => {}
        }
        Ok(Step::Did(1))
    }
}

/// The input of a decision, as it was read just now.
struct View {
    now: Timestamp,
    /// What List and Get meet.
    breakers: [Breaker<Trouble>; 2],
    used: BudgetUse,
    lookups: Vec<TurnToRead>,
    next_look: Option<Timestamp>,
    searched: Vec<TurnToRead>,
    search: Option<Search>,
    unbound: bool,
    reads: Vec<DueRead>,
    pending: Vec<Pending>,
    next_read: Option<Timestamp>,
    watch: Watch,
    front: Vec<Watched>,
}

impl View {
    fn situation(&self, reader: &Reader) -> Situation<'_> {
        Situation {
            now: self.now,
            vendor_ahead_ms: reader.vendor.ahead_ms(),
            shares: reader.budget.shares(),
            used: self.used,
            sends_waiting: reader.budget.waiting(RequestClass::Send),
            sweep_interval: reader.settings.sweep_interval,
            lookup_due: if self.lookups.is_empty() { self.next_look } else { Some(self.now) },
            search: self.search,
            unbound: self.unbound,
            pending: &self.pending,
            next_pending: self.next_read,
            watched: self.watch.summary.watched,
            escalated: self.watch.summary.escalated,
            oldest_created_at: self.watch.summary.oldest_created_at,
            front: &self.front,
            shut: self.breakers.map(|breaker| breaker.open_until()),
            is_list_failing: self.breakers[Way::List as usize] != Breaker::Closed,
        }
    }
}

impl Reader {
    /// Returns how far reading has come.
    pub fn age(&self) -> ReadingAge {
        let state = self.state();
        ReadingAge {
            unread_since: state.needed_since.map(|needed| state.planner.swept_at().map_or(needed, |at| at.max(needed))),
            catching_up: state.planner.catches_up(),
        }
    }

    /// Notes since when there is something to read for: watched conversations, or messages whose Fini conversation or fate
    /// is searched for. Reading that never succeeds counts as late from then on.
    fn note_need(&self, view: &View) {
        let looked_for = view.unbound || !view.lookups.is_empty() || !view.searched.is_empty();
        let mut state = self.state();
        state.needed_since =
            if looked_for || view.watch.summary.watched > 0 { state.needed_since.or(Some(view.now)) } else { None };
    }

    /// Leaves the reading to another process at once; called at the end, when nothing is read any more.
    pub async fn leave(&self) -> Result<()> {
        if !self.store.is_shared() {
            return Ok(());
        }
        let now = self.clock.now();
        self.store.give_lease(LEASE.0, &Lease { owner: self.owner.clone(), now, until: now }).await
    }

    /// Returns when this process took the lease under which it reads, renewing it in time; `None` if another process reads.
    async fn leased_at(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let is_fresh = |at: &Timestamp| *at <= now && now < at.plus(RENEWED_EVERY);
        if let Some(leased_at) = self.state().leased_at.filter(is_fresh) {
            return Ok(Some(leased_at));
        }
        let lease = Lease { owner: self.owner.clone(), now, until: now.plus(LEASE.1) };
        let leased_at = self.store.take_lease(LEASE.0, &lease).await?.then_some(now);
        self.state().leased_at = leased_at;
        Ok(leased_at)
    }

    /// Forgets everything read so far once the store went on from an earlier point: it may lack some of that.
    fn forget_what_was_not(&self) {
        if self.store.changes().restorations() != self.state().restorations {
            self.walker.forget();
            self.begin_anew();
        }
    }

    fn begin_anew(&self) {
        let restorations = self.store.changes().restorations();
        *self.state() = ReaderState { restorations, ..ReaderState::default() };
    }

    fn state(&self) -> MutexGuard<'_, ReaderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resumes from the kept watermark of the process that read before. It is never believed to lie in the future.
    async fn begin(&self, now: Timestamp) -> Result<()> {
        if self.state().planner.has_begun() {
            return Ok(());
        }
        self.walker.recall_keys().await?;
        let kept = self.store.recall(WATERMARK).await?.and_then(|text| text.parse().ok()).map(Timestamp::from_millis);
        self.state().planner = Planner::new(now, kept.map(|kept| kept.min(now.plus(CLOCK_MARGIN))));
        Ok(())
    }

    async fn view(&self, now: Timestamp, breakers: [Breaker<Trouble>; 2]) -> Result<View> {
        // Before the store is asked: what ends in between is not on record yet as the store tells it, and would be read twice.
        let (looking, getting) = {
            let state = self.state();
            (state.looking.clone(), state.getting.clone())
        };
        let due_turns = self.store.turns_to_read(now, 64).await?;
        let next_look = self.store.next_look_at().await?.filter(|at| *at > now);
        let unbound = self.store.unbound_summary(now, UNBOUND).await?;
        let watch = self.watch(now).await?;
        let used = self.budget.used().await?;
        let reads = self.pending(now).await?;
        let next_read = self.store.next_read_at().await?.filter(|at| *at > now);
        let open = due_turns.into_iter().filter(|turn| !looking.contains(&turn.key));
        let (lookups, searched): (Vec<_>, Vec<_>) = open.partition(|turn| turn.interaction.is_some());
        let erased = self.store.erasure_searches(UNBOUND).await?;
        let erased_due = erased.iter().filter(|search| search.look_at <= now).map(|search| search.first_sent_at);
        let floor = searched.iter().map(|turn| turn.sent_at).chain(unbound.due_since).chain(erased_due).min();
        let next = || unbound.look_at.into_iter().chain(erased.iter().map(|search| search.look_at)).min();
        let search =
            floor.map(|floor| Search { due: now, floor }).or_else(|| next().map(|due| Search { due, floor: due }));
        let reads: Vec<DueRead> = reads.into_iter().filter(|read| !getting.contains(&read.conversation.key)).collect();
        let pending = reads.iter().map(|read| Pending { due_at: read.due_at, sweep_may_bring: read.misses == 0 });
        let front = watch.front.iter().filter(|watched| !getting.contains(&watched.conversation.key));
        let front: Vec<WatchedConversation> = front.cloned().collect();
        let seen = |watched: &WatchedConversation| Watched {
            escalated: watched.state == State::Escalated,
            last_activity_at: watched.last_activity_at,
            seen_at: self.walker.recall(&watched.interaction).map(|known| known.seen_at),
        };
        Ok(View {
            now,
            breakers,
            used,
            lookups,
            next_look,
            searched,
            search,
            unbound: unbound.count > 0,
            pending: pending.collect(),
            reads,
            next_read,
            front: front.iter().map(seen).collect(),
            watch: Watch { front: front.into(), ..watch },
        })
    }

    /// Returns the single reads that are due, without those that sweeps have made needless: a snapshot that was shown after
    /// the read fell due, as new as the known state, has answered it.
    async fn pending(&self, now: Timestamp) -> Result<Vec<DueRead>> {
        let mut pending = Vec::new();
        for read in self.store.due_reads(now, PENDING).await? {
            let known = self.walker.recall(&read.interaction).filter(|known| known.seen_at >= read.due_at);
            let is_shown = known.is_some_and(|known| {
                known.owner == Some(read.conversation.key) && known.latest >= read.last_activity_at
            });
            if read.misses == 0 && is_shown {
                self.store.schedule_read(read.conversation.key, None, 0).await?;
                continue;
            }
            let mut state = self.state();
            // A turn that was over before this process began to read may lie below the reach of its sweeps.
            let is_in_reach = state.planner.started_at().is_some_and(|began| began <= read.due_at);
            let is_whole = read.misses == 0 && is_in_reach && !state.planner.catches_up();
            let swept_at = state.planner.swept_at().filter(|swept| is_whole && *swept > read.due_at);
            if let Some(swept_at) = swept_at {
                state.planner.sweep_lacked(swept_at.since(read.due_at), now);
            }
            pending.push(read);
        }
        Ok(pending)
    }

    /// Adds those conversations of the next part of the watch to the front that have gone unseen for longest. Returns where
    /// the part ends, unless the watch ends there too.
    async fn add_unlisted(
        &self,
        front: &mut Vec<WatchedConversation>,
        summary: &WatchSummary,
        checked_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        if summary.watched <= front.len() as u64 {
            return Ok(None);
        }
        let from = checked_until.or_else(|| front.last().map(|last| last.watch_until)).unwrap_or(Timestamp::MAX);
        let part = self.store.watched_until(now, from, CHECKED).await?;
        let end = part.last().filter(|_| part.len() == CHECKED).map(|last| {
            // A part whose watches end all at once is passed as a whole.
            if last.watch_until == from { from.minus(Duration::from_millis(1)) } else { last.watch_until }
        });
        let seen_at =
            |watched: &WatchedConversation| self.walker.recall(&watched.interaction).map(|known| known.seen_at);
        let mut unseen: Vec<_> = part.into_iter().map(|watched| (seen_at(&watched), watched)).collect();
        unseen.sort_by_key(|(seen_at, _)| *seen_at);
        front.extend(unseen.into_iter().take(UNLISTED).map(|(_, watched)| watched));
        Ok(end)
    }

    async fn watch(&self, now: Timestamp) -> Result<Watch> {
        if let Some(watch) = self.state().watch.clone() {
            let every = if watch.summary.watched > LARGE { SUMMARY_EVERY.1 } else { SUMMARY_EVERY.0 };
            if watch.summary.watched > 0 && now.since(watch.counted_at) < every {
                return Ok(watch);
            }
        }
        let checked_until = self.state().watch.as_ref().and_then(|watch| watch.checked_until);
        let summary = self.store.watch_summary(now).await?;
        let mut front = if summary.watched > 0 { self.store.longest_watched(now, FRONT).await? } else { Vec::new() };
        let checked_until = self.add_unlisted(&mut front, &summary, checked_until, now).await?;
        let watch = Watch { counted_at: now, summary, front: front.into(), checked_until };
        self.state().watch = Some(watch.clone());
        Ok(watch)
    }
}
