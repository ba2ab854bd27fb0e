//! The position of a walk through List, and the point where it may stop. Pure: pages come in as a few facts.
//!
//! List is ordered by latest message, newest first, and its cursor is a conversation: "relative to the current cursor, not
//! to time" (Fini's page on List conversations). So a cursor moves up with its conversation when somebody writes there.
//!
//! Invariant: a walk ends above its floor only where List ends, or where it was cut short and says so.

use std::{collections::BTreeSet, time::Duration};

use super::Situation;
use crate::domain::{Timestamp, ids::ConversationKey, page_size::PAGE};

/// Fini's largest window is 90 days; a little less, for clocks that differ.
const LONGEST_WINDOW: Duration = Duration::from_hours(89 * 24);
/// Clocks may differ by so much unnoticed.
pub const CLOCK_MARGIN: Duration = Duration::from_mins(5);
/// While Fini's time is unknown, a window begins so much earlier: it costs nothing, as a walk ends at its floor, and a
/// machine whose clock is ahead must not ask for times that are yet to come.
const UNSURE: Duration = Duration::from_hours(24);
/// Rows at either end of a page whose median counts: one conversation with a wild time proves nothing.
const ENDS: usize = 5;
/// A walk that is moved up more often than this goes on from where it is.
const MOST_JUMPS: u32 = 3;

/// A page of one conversation that fails so often in a row is a row that List cannot give.
const BLOCKED_AFTER: u32 = 2;

/// The reason why a page is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// It was not asked for, or could not be recorded: that says nothing about the page.
    Otherwise,
    /// Fini did not give it: too large, too slow, or ill.
    Page {
        /// True if the page was of one conversation.
        smallest: bool,
    },
}

/// The purpose of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// From the top, for what is new.
    Sweep,
    /// Through the pages between a sweep's first page and its floor, which it left unread.
    Gap,
    /// Through everything that is watched, for what changed without moving up.
    Audit,
}

/// A walk. It is lost with the process; the kept watermark makes up for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Its purpose.
    pub kind: Kind,
    /// The point where it may stop: conversations without a message since then are of no interest to it.
    pub floor: Timestamp,
    /// Begin of the List window: before the oldest conversation of interest was created, so that it is right whether
    /// `since` means creation or update (the documentation does not say).
    pub since: Timestamp,
    /// Times beyond this are taken for wild: they say nothing about how far reading has come.
    pub horizon: Timestamp,
    /// Start of the walk, by our clock.
    pub started_at: Timestamp,
    pub(super) vendor_ahead_ms: i64,
    /// Cursor of the next page; `None` at the top.
    pub cursor: Option<String>,
    /// Number of conversations that the next page is asked for with.
    pub limit: u32,
    /// Pages read.
    pub pages: u32,
    /// The watermark when it began: all up to here was seen.
    pub resume: Option<Timestamp>,
    /// True if a search waits for the end of this walk.
    pub searches: bool,
    /// Conversations that its pages showed.
    pub shown: u64,
    /// Our conversations of which a page showed the searched text where nothing tells whose it is.
    pub doubtful: BTreeSet<ConversationKey>,
    pub(super) fallbacks: Vec<String>,
    pub(super) tail: Option<Timestamp>,
    pub(super) jumps: u32,
    pub(super) failures: u32,
    /// Failures in a row of a page of one conversation, at this place.
    pub(super) blocked: u32,
    /// The place that cannot be read, while the walk tries to go on from a conversation below it.
    pub(super) detour: Option<Detour>,
    pub(super) reach: Reach,
    /// The conversations that were tried as a place below such a row, by Fini's ids: one that proves to stand above it would
    /// lead back to it again and again.
    pub(super) stones: Vec<String>,
    /// True if it passed over a row: its end then proves nothing about what it did not show.
    pub(super) has_hole: bool,
}

/// The treatment of a row near the top that List cannot give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reach {
    /// There is none, or it begins below it.
    #[default]
    Ordinary,
    /// It begins above it, and reads one conversation a page.
    Narrow,
    /// It begins above it with a page of the ordinary size, to learn whether the row is gone.
    Trial,
}

/// A row that List cannot give is passed: from the place above it to a conversation below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Detour {
    /// The cursor above it; `None` at the top.
    pub(super) from: Option<String>,
}

/// One row of a page.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Fini's id, which also serves as a cursor.
    pub id: &'a str,
    /// The time of its latest event, where it has one.
    pub latest: Option<Timestamp>,
    /// Creation time of the oldest of its events that were new to us; `None` if there are none.
    pub fresh: Option<Timestamp>,
    /// True if it was bound before it was read; if not, its events are old and were merely never taken.
    pub was_bound: bool,
}

/// The facts of one page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageFacts {
    /// The newest believable time on it.
    pub newest: Option<Timestamp>,
    /// The times of new events on it that would have been taken as soon as they were shown.
    pub fresh: Vec<Timestamp>,
    /// True if its last rows brought something new: there may be more below, whatever the times say.
    pub fresh_below: bool,
    /// True if there is a further page.
    pub has_more: bool,
    /// The cursor of the further page.
    pub cursor: Option<String>,
    /// True if a part of it could not be read.
    pub has_holes: bool,
    /// See [`Walk::doubtful`].
    pub doubtful: BTreeSet<ConversationKey>,
    rows: usize,
    head: Option<Timestamp>,
    tail: Option<Timestamp>,
    fallbacks: Vec<String>,
}

impl PageFacts {
    /// Gathers the facts of a page for `walk`, from its rows in Fini's order.
    pub fn gather(walk: &Walk, rows: &[Row<'_>], has_more: bool, cursor: Option<String>) -> Self {
        let ends = rows.len().min(ENDS);
        let (head, tail) = (&rows[..ends], &rows[rows.len() - ends..]);
        Self {
            newest: rows.iter().filter_map(|row| row.latest).filter(|at| *at <= walk.horizon).max(),
            fresh: rows.iter().filter(|row| row.was_bound).filter_map(|row| row.fresh).collect(),
            fresh_below: tail.iter().any(|row| row.fresh.is_some()),
            has_more,
            // Nearest to the end first; the last row is the cursor itself.
            fallbacks: tail.iter().rev().skip(1).map(|row| row.id.to_owned()).collect(),
            cursor,
            has_holes: false,
            doubtful: BTreeSet::new(),
            rows: rows.len(),
            head: middle(head),
            tail: middle(tail),
        }
    }

    /// Returns the number of conversations on the page.
    pub const fn rows(&self) -> usize {
        self.rows
    }
}

fn middle(rows: &[Row<'_>]) -> Option<Timestamp> {
    let mut times: Vec<_> = rows.iter().filter_map(|row| row.latest).collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

impl Walk {
    /// Creates a walk from the top down to `floor`, a time of Fini's.
    pub fn new(kind: Kind, s: &Situation<'_>, floor: Timestamp) -> Self {
        let now = s.at_vendor(s.now);
        let margin = if s.vendor_ahead_ms.is_some() { CLOCK_MARGIN } else { UNSURE };
        let wanted = s.oldest_created_at.map_or(now, |oldest| s.at_vendor(oldest)).min(floor).minus(margin);
        Self {
            kind,
            floor,
            since: wanted.max(now.minus(LONGEST_WINDOW)),
            horizon: now.plus(CLOCK_MARGIN),
            started_at: s.now,
            vendor_ahead_ms: s.vendor_ahead_ms.unwrap_or(0),
            cursor: None,
            limit: PAGE,
            pages: 0,
            resume: None,
            searches: false,
            shown: 0,
            doubtful: BTreeSet::new(),
            fallbacks: Vec::new(),
            tail: None,
            jumps: 0,
            failures: 0,
            blocked: 0,
            detour: None,
            stones: Vec::new(),
            reach: Reach::Ordinary,
            has_hole: false,
        }
    }

    /// Converts a time of ours to Fini's clock, as far as its offset was known when the walk began.
    pub(super) fn at_vendor(&self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.as_millis().saturating_add(self.vendor_ahead_ms))
    }

    /// Returns the time around which the previous page ended.
    pub const fn tail(&self) -> Option<Timestamp> {
        self.tail
    }

    /// Returns true if a page is empty although another one was promised: a lost cursor, not the end of List.
    pub const fn is_void(&self, page: &PageFacts) -> bool {
        page.rows == 0 && (page.has_more || self.cursor.is_some())
    }

    /// Takes a page. Returns true if the walk goes on.
    pub fn take(&mut self, mut page: PageFacts) -> bool {
        self.failures = 0;
        self.blocked = 0;
        self.detour = None;
        self.pages += 1;
        self.shown = self.shown.saturating_add(page.rows as u64);
        // More is promised without saying where.
        self.has_hole |= page.has_holes || (page.has_more && page.cursor.is_none());
        self.doubtful.append(&mut page.doubtful);
        let moved_up = self.cursor.is_some() && self.tail.zip(page.head).is_some_and(|(tail, head)| head > tail);
        if moved_up && self.jumps < MOST_JUMPS && self.step_aside() {
            self.jumps += 1;
            return true;
        }
        let above_floor = page.tail.is_none_or(|tail| tail >= self.floor) || page.fresh_below;
        let goes_on = page.has_more && page.cursor.is_some() && page.rows > 0 && above_floor;
        self.cursor = page.cursor;
        self.fallbacks = page.fallbacks;
        self.tail = page.tail;
        goes_on
    }

    /// Notes that a page could not be read. Where pages of one conversation fail too, the row itself is to blame; else,
    /// from the second time on, the cursor may be: its conversation may be gone. Returns true if another try is worthwhile.
    pub(super) fn fail(&mut self, missed: Missed) -> bool {
        self.failures += 1;
        if missed == (Missed::Page { smallest: true }) {
            self.blocked += 1;
        }
        if let Some(detour) = &self.detour {
            self.cursor.clone_from(&detour.from);
        } else if self.failures > 1 && !self.step_aside() && missed == Missed::Otherwise {
            self.cursor = None;
            self.tail = None;
        }
        self.failures <= 4 || self.is_blocked()
    }

    /// Returns true if its cursor is the likeliest reason why a page is refused: its conversation may be gone. If a cursor
    /// beside it is refused as well, it is not.
    pub const fn doubts_its_cursor(&self) -> bool {
        self.cursor.is_some() && self.failures < 2
    }

    /// Returns the number of conversations that were tried as a place below a row that cannot be read.
    pub const fn tried(&self) -> usize {
        self.stones.len()
    }

    /// Returns true if the row below its place cannot be read, however small the page.
    pub const fn is_blocked(&self) -> bool {
        self.blocked >= BLOCKED_AFTER
    }

    /// Goes on below the first conversation of `stones` that was not tried yet: the likeliest place below the row that
    /// cannot be read, and perhaps that row itself. Returns that conversation, to be read by itself, since List passes it
    /// over; `None` if all were tried, and the walk tries its own place again.
    pub fn step_over<'a>(&mut self, stones: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let detour = self.detour.get_or_insert_with(|| Detour { from: self.cursor.clone() });
        let Some(stone) = stones.into_iter().find(|stone| !self.stones.iter().any(|tried| tried == stone)) else {
            self.cursor.clone_from(&detour.from);
            self.detour = None;
            self.stones.clear();
            self.blocked = 0;
            return None;
        };
        self.stones.push(stone.to_owned());
        self.has_hole = true;
        self.cursor = Some(stone.to_owned());
        Some(stone)
    }

    /// Goes on from another conversation of the same place.
    fn step_aside(&mut self) -> bool {
        if self.fallbacks.is_empty() {
            return false;
        }
        self.cursor = Some(self.fallbacks.remove(0));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fini::budget::{BudgetSettings, Shares},
        store::BudgetUse,
    };

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + secs * 1000)
    }

    fn page(walk: &Walk, times: &[i64], fresh: &[usize], cursor: Option<&str>) -> PageFacts {
        let ids: Vec<String> = times.iter().map(ToString::to_string).collect();
        let rows: Vec<Row<'_>> = times
            .iter()
            .zip(&ids)
            .enumerate()
            .map(|(number, (secs, id))| Row {
                id,
                latest: Some(at(*secs)),
                fresh: fresh.contains(&number).then(|| at(*secs)),
                was_bound: true,
            })
            .collect();
        PageFacts::gather(walk, &rows, cursor.is_some(), cursor.map(str::to_owned))
    }

    fn situation(now: Timestamp, oldest: Option<Timestamp>, vendor_ahead_ms: Option<i64>) -> Situation<'static> {
        let settings = BudgetSettings { requests: 100, window: Duration::from_mins(1), send_reserve: 0.5 };
        Situation {
            now,
            vendor_ahead_ms,
            shares: Shares::new(&settings, 100),
            used: BudgetUse::default(),
            sends_waiting: 0,
            sweep_interval: Duration::from_secs(2),
            lookup_due: None,
            search: None,
            unbound: false,
            pending: &[],
            next_pending: None,
            watched: 1,
            escalated: 0,
            oldest_created_at: oldest,
            front: &[],
            shut: [None; 2],
            is_list_failing: false,
        }
    }

    fn sweep(floor: i64) -> Walk {
        Walk::new(Kind::Sweep, &situation(at(1000), None, Some(0)), at(floor))
    }

    #[test]
    fn goes_on_down_to_its_floor_and_no_further() {
        let mut walk = sweep(900);
        let first = page(&walk, &[999, 990, 980], &[0], Some("980"));
        assert!(walk.take(first));
        assert_eq!(walk.cursor.as_deref(), Some("980"));
        let second = page(&walk, &[970, 890, 880], &[], Some("880"));
        assert!(!walk.take(second));
        assert_eq!(walk.pages, 2);
        let mut walk = sweep(900);
        let whole = page(&walk, &[999, 990], &[], None);
        assert!(!walk.take(whole), "List ends");
    }

    #[test]
    fn goes_on_below_its_floor_while_the_page_ends_in_something_new() {
        let mut walk = sweep(900);
        let late = page(&walk, &[999, 890, 880], &[2], Some("880"));
        assert!(walk.take(late));
        let mut walk = sweep(900);
        let top = page(&walk, &[899, 898, 897, 896, 895, 894, 893], &[0], Some("893"));
        assert!(!walk.take(top), "news at the top of a page says nothing of the next");
    }

    #[test]
    fn wild_times_neither_stop_it_nor_count_as_newest() {
        let mut walk = sweep(900);
        let wild = page(&walk, &[9_000_000, 999, 990, 985, -9_000_000, 983, 982], &[], Some("982"));
        assert_eq!(wild.newest, Some(at(999)));
        assert!(walk.take(wild), "one row with a time in the dim past is not the floor");
    }

    #[test]
    fn a_cursor_that_was_moved_up_is_left_for_its_neighbour() {
        let mut walk = sweep(0);
        let first = page(&walk, &[999, 998, 997, 996, 995, 984, 983, 982, 981, 980], &[], Some("980"));
        assert!(walk.take(first));
        let top = page(&walk, &[999, 998, 997, 996, 995, 984, 983, 982, 981], &[], Some("981"));
        assert!(walk.take(top));
        assert_eq!(walk.cursor.as_deref(), Some("981"), "the row before it");
        let below = page(&walk, &[980, 970, 960, 950, 940, 930], &[], None);
        assert!(!walk.take(below));
    }

    #[test]
    fn a_row_that_cannot_be_given_is_passed_by_way_of_a_conversation_below_it() {
        let mut walk = sweep(0);
        let first = page(&walk, &[999, 990], &[], Some("990"));
        assert!(walk.take(first));
        let smallest = Missed::Page { smallest: true };
        assert!(walk.fail(smallest) && !walk.is_blocked(), "once is chance");
        assert!(walk.fail(smallest) && walk.is_blocked());
        let stones = ["989", "985"];
        assert_eq!(walk.step_over(stones), Some("989"));
        assert!(walk.fail(smallest));
        assert_eq!(walk.cursor.as_deref(), Some("999"), "back to where it was");
        assert_eq!(walk.step_over(stones), Some("985"));
        let below = page(&walk, &[980, 970], &[], Some("970"));
        assert!(walk.take(below));
        assert!(!walk.is_blocked() && walk.detour.is_none());
    }

    #[test]
    fn where_nothing_below_can_be_read_either_it_stays_where_it_is() {
        let mut walk = sweep(0);
        let smallest = Missed::Page { smallest: true };
        walk.fail(smallest);
        walk.fail(smallest);
        assert_eq!(walk.step_over(["a"]), Some("a"));
        walk.fail(smallest);
        assert_eq!((walk.step_over(["a"]), walk.cursor.as_deref()), (None, None));
        assert!(!walk.is_blocked(), "it begins to count anew");
    }

    #[test]
    fn a_cursor_that_fails_is_left_for_its_neighbour_and_then_for_the_top() {
        let mut walk = sweep(0);
        let first = page(&walk, &[999, 990], &[], Some("990"));
        assert!(walk.take(first));
        assert!(walk.fail(Missed::Otherwise));
        assert_eq!(walk.cursor.as_deref(), Some("990"), "once is chance");
        assert!(walk.fail(Missed::Otherwise));
        assert_eq!(walk.cursor.as_deref(), Some("999"));
        assert!(walk.fail(Missed::Otherwise));
        assert_eq!(walk.cursor, None);
        assert!(walk.fail(Missed::Otherwise));
        assert!(!walk.fail(Missed::Otherwise));
    }

    #[test]
    fn an_empty_page_where_more_was_promised_is_a_lost_cursor() {
        let mut walk = sweep(0);
        let empty = |more| PageFacts { has_more: more, ..PageFacts::default() };
        assert!(walk.is_void(&empty(true)) && !walk.is_void(&empty(false)));
        let first = page(&walk, &[999, 990], &[], Some("990"));
        assert!(!walk.is_void(&first) && walk.take(first));
        assert!(walk.is_void(&empty(false)));
        assert_eq!((walk.shown, walk.has_hole), (2, false));
        let lost = PageFacts { cursor: None, ..page(&walk, &[980], &[], Some("980")) };
        assert!(!walk.take(lost) && walk.has_hole, "more is there, and nobody says where");
    }

    #[test]
    fn the_window_is_right_under_both_readings_of_since() {
        let walk = Walk::new(Kind::Sweep, &situation(at(0), Some(at(-7200)), Some(0)), at(-30));
        assert_eq!(walk.since, at(-7500), "a conversation that began two hours ago is inside under both");
        let old = Walk::new(Kind::Sweep, &situation(at(0), Some(at(-100 * 86_400)), Some(0)), at(-30));
        assert_eq!(old.since, at(-89 * 86_400), "Fini refuses windows above 90 days");
    }

    #[test]
    fn the_window_is_one_of_fini_s_clock() {
        let behind = Walk::new(Kind::Sweep, &situation(at(0), Some(at(-60)), Some(-1_200_000)), at(-1_230));
        assert_eq!((behind.since, behind.horizon), (at(-1_560), at(-900)), "ours is twenty minutes ahead");
        assert_eq!(behind.started_at, at(0));
        let unsure = Walk::new(Kind::Sweep, &situation(at(0), Some(at(-60)), None), at(-30));
        assert_eq!(unsure.since, at(-60 - 86_400));
    }
}
