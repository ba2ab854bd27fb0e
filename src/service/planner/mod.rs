//! Decides what to read next. Pure: the situation in, one decision out; the same code drives the service and its
//! simulation.
//!
//! One List request carries a hundred conversations with their events, so sweeps of its first page find what is written
//! anywhere at a cost that does not depend on how many conversations are open. Everything else is read beside them, in
//! this order: sweeps that are late; the fate of messages (somebody waits for it); just-finished turns that no sweep has
//! shown; sweeps; what sweeps left unread; conversations that a full pass sees too seldom; the full pass itself.
//!
//! Invariants: nothing below the watermark that is handed out was left unread, at any crash; sends that wait for the budget
//! go before all reading but its floor; no kind of read starves another.

mod gaps;
mod lag;
mod pace;
mod situation;
#[cfg(test)]
mod tests;
mod walk;

use std::{collections::VecDeque, time::Duration};

use self::{gaps::Gaps, situation::Dues, walk::Reach};
pub use self::{
    lag::{Peak, Skew},
    pace::{Demand, ESCALATED_CYCLE, OPEN_CYCLE, Paces, paces},
    situation::{Pending, Plan, Search, Searched, Situation, Watched},
    walk::{CLOCK_MARGIN, Kind, Missed, PageFacts, Row, Walk},
};
pub use crate::domain::page_size::PAGE;
use crate::domain::{Timestamp, page_size::PageSize, scopes::Way};

/// Single reads at once.
const MAX_SINGLES: usize = 4;
/// Reach of the very first sweep into the past.
const FIRST: Duration = Duration::from_mins(10);
/// Sweeps go at least so far below the watermark: rows of the same second settle in any order.
const LEAST_OVERLAP: Duration = Duration::from_secs(3);
/// Once in a while a sweep goes deeper, in case List has begun to lag and nothing has shown it.
const DEEP: (Duration, Duration) = (Duration::from_mins(1), Duration::from_secs(30));
/// Clocks differ, so List may show a searched message with a time before its sending. At most so much is allowed for.
const SEARCH_MARGIN: Duration = Duration::from_secs(30);
/// A gap of so many pages is read in passing; a larger one is an outage to catch up with.
const SMALL_GAP: u32 = 3;
/// While List fails, conversations are read singly so many times as often: each in its turn, as far as reading allows.
const WITHOUT_LIST: u32 = 16;
/// Longest time for which a turn's snapshot is left to sweeps.
const AFTER_TURN: Duration = Duration::from_secs(15);
/// While messages wait for the budget, the planner looks again after so long whether they still wait.
const YIELD: Duration = Duration::from_millis(250);
/// While the only conversation is read singly instead of by sweeps, List is still asked this often.
const LONE: Duration = Duration::from_mins(1);

/// The state of reading: what was read, what is being read, and what the reads have shown.
#[derive(Clone, Debug, Default)]
pub struct Planner {
    watermark: Option<Timestamp>,
    started_at: Option<Timestamp>,
    gaps: Gaps,
    audit: Option<Walk>,
    below_first: Option<Walk>,
    audit_pages: Option<u32>,
    listing: bool,
    last_listed: Option<Kind>,
    searching: bool,
    getting: usize,
    sweep_at: Option<Timestamp>,
    swept_at: Option<Timestamp>,
    gap_at: Option<Timestamp>,
    audit_at: Option<Timestamp>,
    status_at: Option<Timestamp>,
    deep_at: Option<Timestamp>,
    /// Start times of the single reads in the running window.
    singles: VecDeque<Timestamp>,
    /// Likewise for reads of pages that sweeps had just left.
    left_pages: VecDeque<Timestamp>,
    disorder: Peak,
    behind: Peak,
    skew: Skew,
    page_size: PageSize,
    /// A sweep that could not have its first page.
    missed_sweep: Option<Walk>,
    /// A row near the top that List cannot give.
    passed: Option<Passed>,
}

/// A row near the top that List cannot give. Sweeps begin below it; now and then one begins above it, conversation by
/// conversation, to find what is new there; and now and then, rarely, one tries whether the row is gone.
#[derive(Clone, Debug)]
struct Passed {
    /// The conversation below which sweeps begin, by Fini's id.
    stone: String,
    /// Time at which a sweep next begins at the top.
    top_at: Timestamp,
    /// Time at which a sweep next tries a page of the ordinary size there.
    trial_at: Timestamp,
    pause: Duration,
}

impl Passed {
    fn reach(&self, now: Timestamp) -> (Reach, Option<String>) {
        if self.trial_at <= now {
            (Reach::Trial, None)
        } else if self.top_at <= now {
            (Reach::Narrow, None)
        } else {
            (Reach::Ordinary, Some(self.stone.clone()))
        }
    }
}

/// The top is tried again so often while a row there cannot be given.
const TOP_AGAIN: Duration = Duration::from_secs(10);
/// The first pause between trials, and the longest.
const TRIAL: (Duration, Duration) = (Duration::from_mins(2), Duration::from_hours(1));

impl Planner {
    /// Creates a planner that begins to read now; everything up to `watermark` was read before.
    pub fn new(now: Timestamp, watermark: Option<Timestamp>) -> Self {
        Self { watermark, started_at: Some(now), ..Self::default() }
    }

    /// Returns true once the planner has begun to read.
    pub const fn has_begun(&self) -> bool {
        self.started_at.is_some()
    }

    /// Returns the time, by Fini's clock, up to which everything was read, gaps included: a restart may resume from it.
    pub fn watermark(&self) -> Option<Timestamp> {
        [self.gaps.resume(), self.watermark].into_iter().flatten().min()
    }

    /// Returns when the last sweep that succeeded began.
    pub const fn swept_at(&self) -> Option<Timestamp> {
        self.swept_at
    }

    /// Returns when it began to read.
    pub const fn started_at(&self) -> Option<Timestamp> {
        self.started_at
    }

    /// Returns true while something that sweeps left unread is still to be read.
    pub fn catches_up(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// Returns the time by which List lags behind what responses have already shown.
    pub fn list_lag(&self, now: Timestamp) -> Duration {
        self.behind.at(now).max(self.disorder.at(now))
    }

    /// Notes that a sweep did not show a turn that had been over for so long when the sweep began.
    pub fn sweep_lacked(&mut self, finished_turn_of: Duration, now: Timestamp) {
        self.behind.observe(finished_turn_of, now);
    }

    /// Returns the distances between reads in this situation.
    pub fn paces(&self, s: &Situation<'_>) -> Paces {
        let since = s.now.minus(s.shares.window);
        let lately = |times: &VecDeque<Timestamp>| {
            u32::try_from(times.iter().filter(|at| **at > since).count()).unwrap_or(u32::MAX)
        };
        paces(
            &s.shares,
            &s.used,
            &Demand {
                sweep_interval: s.sweep_interval,
                sends_waiting: s.sends_waiting,
                singles: lately(&self.singles),
                left_pages: lately(&self.left_pages),
                pages_below: self.pages_below(s),
                escalated: s.escalated,
                catches_up: self.gaps.any_beyond(SMALL_GAP),
            },
        )
    }

    /// Returns the next action.
    pub fn decide(&self, s: &Situation<'_>) -> Plan {
        let paces = self.paces(s);
        let (lists_at, gets_at) = (s.shut(Way::List), s.shut(Way::Get));
        let (may_list, may_get) =
            (!self.listing && lists_at.is_none(), self.getting < MAX_SINGLES && gets_at.is_none());
        if s.sends_waiting > 0 && s.used.reads() >= s.shares.floor {
            return self.beside_sends(s, paces.least);
        }
        let mut dues = Dues { now: s.now, next: lists_at.into_iter().chain(gets_at).min() };
        // Where a page takes longer than the pace of sweeps, they are late for ever: other reads that are due go in
        // between.
        let gap_waits = self.gap_due(s, paces.gap).is_some_and(|due| due <= s.now);
        let audit_waits = self.audit_due(s, &paces).zip(paces.audit).is_some_and(|(due, pace)| s.now.since(due) > pace);
        let others_wait = gap_waits || audit_waits;
        let stands_back = self.last_listed == Some(Kind::Sweep) && others_wait;
        let sweep_due = self.sweep_due(s, paces.sweep).filter(|_| !stands_back);
        // The very first sweep stands for up to a hundred single reads that fell due while nobody read.
        let is_first = self.sweep_at.is_none();
        let is_late = |due: Timestamp| due <= s.now && (is_first || s.now.since(due) > paces.sweep / 2);
        if may_list && sweep_due.is_some_and(is_late) {
            return Self::sweep(s, self.listed_lately(s.now));
        }
        // The walks for which sweeps stand back must not wait for single reads instead: there may always be one more of
        // those.
        if may_list && stands_back && self.gap_due(s, paces.gap).is_some_and(|due| s.now.since(due) > paces.gap / 2) {
            return Plan::List(Kind::Gap);
        }
        if may_list && stands_back && audit_waits && !gap_waits {
            return Plan::List(Kind::Audit);
        }
        if may_get && dues.is_due(s.lookup_due) {
            return Plan::Lookup;
        }
        if may_get && let Some(number) = self.pending_due(s, &mut dues) {
            return Plan::Pending(number);
        }
        if may_list && dues.is_due(sweep_due) {
            return Self::sweep(s, self.listed_lately(s.now));
        }
        if may_list && dues.is_due(self.gap_due(s, paces.gap)) {
            return Plan::List(Kind::Gap);
        }
        if may_get && let Some(number) = self.front_due(s, &paces, &mut dues) {
            return Plan::Front(number);
        }
        if may_list && dues.is_due(self.audit_due(s, &paces)) {
            return Plan::List(Kind::Audit);
        }
        Plan::Wait(dues.next)
    }

    /// Decides while messages wait: only reads that somebody waits for too, and not often.
    fn beside_sends(&self, s: &Situation<'_>, least: Duration) -> Plan {
        let is_late = |last: Option<Timestamp>| last.is_none_or(|at| s.now.since(at) >= least);
        let searches = self.searching || s.search.is_some_and(|search| search.due <= s.now);
        let (may_list, may_get) = (!self.listing && s.shut(Way::List).is_none(), s.shut(Way::Get).is_none());
        if may_list && (s.watched > 0 || searches) && is_late(self.sweep_at.max(self.gap_at)) {
            // A search holds up its conversations: it goes on to its end, by turns with the sweeps.
            let goes_on = self.last_listed == Some(Kind::Sweep) && self.gaps.searches();
            return if goes_on { Plan::List(Kind::Gap) } else { Self::sweep(s, self.listed_lately(s.now)) };
        }
        let may_look = may_get && self.getting == 0 && is_late(self.singles.back().copied());
        if may_look && s.lookup_due.is_some_and(|due| due <= s.now) {
            return Plan::Lookup;
        }
        if may_look
            && s.is_list_failing
            && let Some(number) = self.front_due(s, &self.paces(s), &mut Dues { now: s.now, next: None })
        {
            return Plan::Front(number);
        }
        Plan::Wait(Some(s.now.plus(YIELD)))
    }

    fn sweep(s: &Situation<'_>, listed_lately: bool) -> Plan {
        let nothing_else = !s.unbound && s.search.is_none() && s.pending.is_empty() && s.next_pending.is_none();
        let lone = s.watched == 1 && s.front.len() == 1 && nothing_else;
        if lone && listed_lately { Plan::Front(0) } else { Plan::List(Kind::Sweep) }
    }

    fn listed_lately(&self, now: Timestamp) -> bool {
        self.deep_at.is_some_and(|at| now.since(at) < LONE)
    }

    fn sweep_due(&self, s: &Situation<'_>, pace: Duration) -> Option<Timestamp> {
        let next = self.sweep_at.map_or(s.now, |at| at.plus(pace));
        if s.watched > 0 || self.searching {
            return Some(next);
        }
        s.search.map(|search| search.due.max(next))
    }

    fn gap_due(&self, s: &Situation<'_>, pace: Duration) -> Option<Timestamp> {
        let next = self.gaps.next()?;
        // The rest of the very last sweep is often a page or two: it follows at once, and so does a search.
        let pause = if next.pages <= 1 || next.searches { Duration::ZERO } else { pace };
        Some(self.gap_at.or(self.sweep_at).map_or(s.now, |at| at.plus(pause)))
    }

    fn audit_due(&self, s: &Situation<'_>, paces: &Paces) -> Option<Timestamp> {
        let pace = paces.audit?;
        Some(self.audit_at.or(self.started_at).map_or(s.now, |at| at.plus(pace)))
    }

    /// Returns the number of pages that a full pass reads below the first one, which sweeps read anyway.
    fn pages_below(&self, s: &Situation<'_>) -> u32 {
        let is_below = |walk: &Walk| {
            let oldest = s.at_vendor(s.oldest_created_at.unwrap_or(s.now));
            s.watched > 0 && walk.tail().is_none_or(|tail| tail >= oldest)
        };
        if self.audit.is_none() && !self.below_first.as_ref().is_some_and(is_below) {
            return 0;
        }
        self.audit_pages.unwrap_or_else(|| self.pages_of(s.watched)).max(1)
    }

    /// Returns the number of pages below the first that so many conversations take.
    fn pages_of(&self, watched: u64) -> u32 {
        u32::try_from(watched.div_ceil(u64::from(self.page_size.rows()))).unwrap_or(u32::MAX).saturating_sub(1)
    }

    fn pending_due(&self, s: &Situation<'_>, dues: &mut Dues) -> Option<usize> {
        for (number, pending) in s.pending.iter().enumerate() {
            let swept_since = self.swept_at.is_some_and(|at| at >= pending.due_at);
            let due = if !pending.sweep_may_bring || swept_since || s.watched == 0 || s.is_list_failing {
                pending.due_at
            } else {
                pending.due_at.plus(AFTER_TURN)
            };
            if dues.is_due(Some(due)) {
                return Some(number);
            }
        }
        dues.is_due(s.next_pending.filter(|at| *at > s.now));
        None
    }

    /// Returns the front conversation that is most overdue, if it is due.
    fn front_due(&self, s: &Situation<'_>, paces: &Paces, dues: &mut Dues) -> Option<usize> {
        let pass = paces.audit.map_or(Duration::ZERO, |pace| pace.saturating_mul(2 * self.pages_below(s)));
        // If every one of them can have its turn in time, none has to stand back for another.
        let lap = paces.status.saturating_mul(u32::try_from(s.escalated).unwrap_or(u32::MAX));
        let decays = lap > ESCALATED_CYCLE;
        let due = |watched: &Watched| {
            let mut patience = patience(watched, decays, s.now);
            if s.is_list_failing {
                patience /= WITHOUT_LIST;
            } else if !paces.escalated_by_get || !watched.escalated {
                patience = patience.max(pass);
            }
            watched.seen_at.or(self.started_at).unwrap_or(s.now).plus(patience)
        };
        let (number, due) = s.front.iter().map(due).enumerate().min_by_key(|(_, due)| *due)?;
        let pace = if s.is_list_failing { paces.sweep } else { paces.status };
        let due = self.status_at.map_or(due, |at| due.max(at.plus(pace)));
        dues.is_due(Some(due)).then_some(number)
    }

    /// Begins a page of List.
    pub fn begin_list(&mut self, kind: Kind, s: &Situation<'_>) -> Walk {
        let walk = self.begin_walk(kind, s);
        let limit = match walk.reach {
            Reach::Narrow => 1,
            // Other walks read well meanwhile, and make pages grow: this one needs smaller ones, or has to know its row.
            Reach::Ordinary if walk.failures > 0 => self.page_size.limit().min((walk.limit / 4).max(1)),
            Reach::Ordinary | Reach::Trial => self.page_size.limit(),
        };
        Walk { limit, ..walk }
    }

    fn begin_walk(&mut self, kind: Kind, s: &Situation<'_>) -> Walk {
        self.listing = true;
        self.last_listed = Some(kind);
        match kind {
            Kind::Gap => {
                let Some(gap) = self.gaps.take() else { return self.begin_sweep(s) };
                self.gap_at = Some(s.now);
                if gap.pages <= SMALL_GAP {
                    note(&mut self.left_pages, s);
                }
                gap
            }
            Kind::Sweep => self.begin_sweep(s),
            Kind::Audit => {
                self.audit_at = Some(s.now);
                let oldest = s.at_vendor(s.oldest_created_at.unwrap_or(s.now));
                self.audit.take().or_else(|| self.below_first.clone()).map_or_else(
                    || Walk::new(Kind::Audit, s, oldest),
                    |walk| Walk { kind: Kind::Audit, floor: oldest, searches: false, ..walk },
                )
            }
        }
    }

    fn begin_sweep(&mut self, s: &Situation<'_>) -> Walk {
        self.sweep_at = Some(s.now);
        let mut overlap = LEAST_OVERLAP + self.disorder.at(s.now).saturating_mul(2);
        if self.deep_at.is_none_or(|at| s.now.since(at) >= DEEP.0) {
            self.deep_at = Some(s.now);
            overlap = overlap.max(DEEP.1);
        }
        let mut floor = self.watermark.unwrap_or_else(|| s.at_vendor(s.now).minus(FIRST)).minus(overlap);
        let search = s.search.filter(|search| search.due <= s.now && !self.searching);
        if let Some(search) = search {
            self.searching = true;
            // A message that was sent a moment ago is at the top; the longer it is not found, the further down it is looked
            // for.
            let margin = LEAST_OVERLAP + s.now.since(search.floor).min(SEARCH_MARGIN);
            floor = floor.min(s.at_vendor(search.floor).minus(margin + self.skew.behind() + self.list_lag(s.now)));
        }
        let walk = Walk::new(Kind::Sweep, s, floor);
        let horizon = walk.horizon.plus(self.skew.ahead());
        let walk = Walk { horizon, searches: search.is_some(), resume: self.watermark, ..walk };
        if let Some(missed) = self.missed_sweep.take() {
            let Walk { cursor, blocked, detour, reach, has_hole, .. } = missed;
            return Walk { cursor, blocked, detour, reach, has_hole, ..walk };
        }
        let (reach, cursor) = self.passed.as_ref().map_or((Reach::Ordinary, None), |passed| passed.reach(s.now));
        Walk { has_hole: cursor.is_some(), reach, cursor, ..walk }
    }

    /// Takes the result of a List request: its page, or why there is none.
    pub fn end_list(&mut self, mut walk: Walk, page: Result<PageFacts, Missed>, now: Timestamp) -> Searched {
        self.listing = false;
        let page = match page {
            Ok(page) if walk.is_void(&page) => return self.miss(walk, Missed::Otherwise, now),
            Ok(page) => page,
            Err(missed) => return self.miss(walk, missed, now),
        };
        if walk.reach == Reach::Ordinary {
            self.page_size.came(walk.limit, page.rows(), page.has_more, now);
        }
        let first_sweep = walk.kind == Kind::Sweep;
        self.note_passed(&mut walk, now);
        if first_sweep {
            self.learn(&walk, &page, now);
        }
        let goes_on = walk.take(page);
        match walk.kind {
            Kind::Sweep => {
                self.below_first = walk.cursor.is_some().then(|| walk.clone());
                if goes_on {
                    self.gaps.leave(Walk { kind: Kind::Gap, ..walk });
                    return Searched::Nothing;
                }
            }
            Kind::Gap if goes_on => {
                self.gaps.put_back(walk);
                return Searched::Nothing;
            }
            Kind::Gap => {}
            // However long List is, the watched conversations are in a part of it that is about as long as the watch.
            Kind::Audit if goes_on && walk.pages < self.audit_pages.unwrap_or(MOST_AUDIT_PAGES) * 4 + 10 => {
                self.audit = Some(walk);
                return Searched::Nothing;
            }
            Kind::Audit => self.audit_pages = Some(walk.pages.saturating_sub(1).max(1)),
        }
        if std::mem::take(&mut walk.searches) {
            self.searching = false;
            let Walk { has_hole, shown, doubtful, .. } = walk;
            return if has_hole { Searched::Failed } else { Searched::Whole { shown, doubtful } };
        }
        Searched::Nothing
    }

    fn learn(&mut self, walk: &Walk, page: &PageFacts, now: Timestamp) {
        self.swept_at = Some(walk.started_at);
        for created_at in &page.fresh {
            self.skew.observe(*created_at, walk.at_vendor(now));
            // Shown now, though something newer was shown before: List had not caught up.
            if let Some(resume) = walk.resume {
                self.disorder.observe(resume.since(*created_at), now);
            }
        }
        self.watermark = self.watermark.max(page.newest);
    }

    /// Notes that a page has come: below a row that cannot be given, or where one stood before.
    fn note_passed(&mut self, walk: &mut Walk, now: Timestamp) {
        if walk.is_blocked() && walk.detour.is_some() {
            // Below it all is well: it is that row, and not the size of pages.
            self.page_size = PageSize::default();
            walk.reach = Reach::Ordinary;
            if walk.kind == Kind::Sweep
                && let Some(stone) = walk.cursor.clone()
            {
                let (trial_at, pause) =
                    self.passed.take().map_or((now.plus(TRIAL.0), TRIAL.0), |passed| (passed.trial_at, passed.pause));
                self.passed = Some(Passed { stone, top_at: now.plus(TOP_AGAIN), trial_at, pause });
            }
        } else if walk.kind == Kind::Sweep {
            match walk.reach {
                Reach::Trial => self.passed = None,
                Reach::Narrow => self.passed.iter_mut().for_each(|passed| passed.top_at = now.plus(TOP_AGAIN)),
                Reach::Ordinary => {}
            }
        }
    }

    /// Notes that a page was not given: asks for smaller pages, unless a row that cannot be given is known to be the
    /// reason.
    fn note_missed(&mut self, walk: &Walk, now: Timestamp) {
        match walk.reach {
            Reach::Ordinary => {
                if walk.limit >= self.page_size.limit() {
                    self.page_size.failed(walk.limit, now);
                }
                // The place below which sweeps began cannot be read from any more.
                self.passed = self.passed.take().filter(|passed| walk.cursor.as_ref() != Some(&passed.stone));
            }
            Reach::Trial => self.passed.iter_mut().for_each(|passed| {
                passed.trial_at = now.plus(passed.pause);
                passed.pause = passed.pause.saturating_mul(2).min(TRIAL.1);
            }),
            Reach::Narrow => {}
        }
    }

    /// Handles a walk that could not go on: it is tried again from where it stood, or given up.
    fn miss(&mut self, mut walk: Walk, missed: Missed, now: Timestamp) -> Searched {
        let missed = match missed {
            Missed::Page { .. } => Missed::Page { smallest: walk.limit <= 1 },
            Missed::Otherwise => missed,
        };
        let again = walk.fail(missed);
        if missed != Missed::Otherwise {
            self.note_missed(&walk, now);
            if walk.kind == Kind::Sweep && walk.reach != Reach::Trial {
                self.missed_sweep = Some(walk.clone());
            }
        }
        match walk.kind {
            Kind::Gap => {
                let failed = walk.searches && !again;
                walk.searches &= again;
                // Never given up: the watermark must not pass over anything unread.
                self.gaps.put_back(walk);
                if !failed {
                    return Searched::Nothing;
                }
            }
            Kind::Audit if again => {
                self.audit = Some(walk);
                return Searched::Nothing;
            }
            Kind::Sweep if walk.searches => {}
            Kind::Sweep | Kind::Audit => return Searched::Nothing,
        }
        self.searching = false;
        Searched::Failed
    }

    /// Begins a single read.
    pub fn begin_get(&mut self, plan: Plan, s: &Situation<'_>) {
        self.getting += 1;
        match plan {
            Plan::Front(_) if s.watched == 1 => {
                self.sweep_at = Some(s.now);
                return;
            }
            Plan::Front(_) => self.status_at = Some(s.now),
            _ => {}
        }
        note(&mut self.singles, s);
    }

    /// Ends a single read. `lone`: start of a read that stood for a sweep and succeeded.
    pub fn end_get(&mut self, lone: Option<Timestamp>) {
        self.getting = self.getting.saturating_sub(1);
        self.swept_at = self.swept_at.max(lone);
    }
}

/// A pass is cut off where List turns out to be this long while nobody knows better.
const MOST_AUDIT_PAGES: u32 = 2_500;

/// Notes a read among those of the running window.
fn note(times: &mut VecDeque<Timestamp>, s: &Situation<'_>) {
    let since = s.now.minus(s.shares.window);
    while times.front().is_some_and(|at| *at <= since) {
        times.pop_front();
    }
    times.push_back(s.now);
}

/// Returns how long a conversation may go unseen; where it `decays`, longer the longer nobody wrote in it.
fn patience(watched: &Watched, decays: bool, now: Timestamp) -> Duration {
    let base = if watched.escalated { ESCALATED_CYCLE } else { OPEN_CYCLE };
    let hours = now.since(watched.last_activity_at).as_secs() / 3600;
    base * match hours {
        _ if watched.escalated && !decays => 1,
        0 => 1,
        1..6 => 2,
        6..24 => 4,
        _ => 8,
    }
}
