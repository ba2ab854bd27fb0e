//! The planner in virtual time, mechanism by mechanism. Whole days of it are simulated in `tests/freshness`.

use super::*;
use crate::{
    fini::budget::{BudgetSettings, Shares},
    store::BudgetUse,
};

const SETTINGS: BudgetSettings = BudgetSettings { requests: 100, window: Duration::from_mins(1), send_reserve: 0.5 };

fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + secs * 1000)
}

fn situation(now: i64, watched: u64) -> Situation<'static> {
    Situation {
        now: at(now),
        vendor_ahead_ms: None,
        shares: Shares::new(&SETTINGS, 100),
        used: BudgetUse::default(),
        sends_waiting: 0,
        sweep_interval: Duration::from_secs(2),
        lookup_due: None,
        search: None,
        unbound: false,
        pending: &[],
        next_pending: None,
        watched,
        escalated: 0,
        oldest_created_at: Some(at(-86_400)),
        front: &[],
        shut: [None; 2],
        is_list_failing: false,
    }
}

fn used(sends: u32, reads: u32) -> BudgetUse {
    BudgetUse { by_class: [sends, 0, reads, 0], frees_at: None }
}

/// Makes a page of a hundred that ends `age` seconds before `now`, newest first; `fresh` rows from the top are new.
fn page(walk: &Walk, now: i64, age: i64, fresh: usize, has_more: bool) -> PageFacts {
    let ids: Vec<String> = (0..100).map(|number| format!("{age}-{number}")).collect();
    let times = (0..100_i64).map(|number| at(now - 1 - (age - 1) * number / 99));
    let rows: Vec<Row<'_>> = ids
        .iter()
        .zip(times)
        .enumerate()
        .map(|(number, (id, time))| Row {
            id,
            latest: Some(time),
            fresh: (number < fresh).then_some(time),
            was_bound: true,
        })
        .collect();
    PageFacts::gather(walk, &rows, has_more, ids.last().cloned().filter(|_| has_more))
}

/// Makes a sweep whose only page reaches far enough.
fn swept(planner: &mut Planner, now: i64) {
    let walk = planner.begin_list(Kind::Sweep, &situation(now, 1_000));
    let page = page(&walk, now, 3_600, 0, true);
    planner.end_list(walk, Ok(page), at(now));
}

fn begun() -> Planner {
    let mut planner = Planner::new(at(0), Some(at(0)));
    swept(&mut planner, 0);
    planner
}

#[test]
fn nothing_is_read_where_nothing_is_watched() {
    let planner = Planner::new(at(0), None);
    assert_eq!(planner.decide(&situation(0, 0)), Plan::Wait(None));
    let search = Some(Search { due: at(4), floor: at(3) });
    assert_eq!(planner.decide(&Situation { search, ..situation(2, 0) }), Plan::Wait(Some(at(4))));
    assert_eq!(planner.decide(&Situation { search, ..situation(4, 0) }), Plan::List(Kind::Sweep));
}

#[test]
fn sweeps_come_at_an_even_pace_and_one_at_a_time() {
    let mut planner = begun();
    assert!(matches!(planner.decide(&situation(1, 50)), Plan::Wait(Some(due)) if due > at(1) && due < at(2)));
    assert_eq!(planner.decide(&situation(2, 50)), Plan::List(Kind::Sweep));
    let walk = planner.begin_list(Kind::Sweep, &situation(2, 50));
    assert!(matches!(planner.decide(&situation(9, 50)), Plan::Wait(_)), "one is under way");
    planner.end_list(walk, Err(Missed::Otherwise), at(9));
    assert_eq!(planner.decide(&situation(9, 50)), Plan::List(Kind::Sweep), "a failed one is made again");
}

#[test]
fn what_somebody_waits_for_goes_before_a_sweep_but_not_before_a_late_one() {
    let planner = begun();
    let lookup = |now: i64| Situation { lookup_due: Some(at(0)), ..situation(now, 50) };
    assert_eq!(planner.decide(&lookup(1)), Plan::Lookup);
    assert_eq!(planner.decide(&lookup(2)), Plan::List(Kind::Sweep), "half a pace late");
}

#[test]
fn waiting_messages_go_first_and_reading_never_stops() {
    let planner = begun();
    let busy = |now: i64, reads: u32| Situation { sends_waiting: 9, used: used(60, reads), ..situation(now, 50) };
    assert!(matches!(planner.decide(&busy(4, 40)), Plan::Wait(_)));
    assert_eq!(planner.decide(&busy(5, 40)), Plan::List(Kind::Sweep), "three quarters of the floor's distance");
    let full = |now: i64| Situation { used: used(95, 5), ..busy(now, 5) };
    assert!(matches!(planner.decide(&full(5)), Plan::Wait(_)), "below its floor it keeps the floor's pace");
    assert_eq!(planner.decide(&full(7)), Plan::List(Kind::Sweep));
}

#[test]
fn a_just_finished_turn_is_read_singly_only_where_a_sweep_did_not_show_it() {
    let mut planner = begun();
    let pending = [Pending { due_at: at(1), sweep_may_bring: true }];
    let waits = |now: i64| Situation { pending: &pending, ..situation(now, 50) };
    assert!(!matches!(planner.decide(&waits(1)), Plan::Pending(_)));
    swept(&mut planner, 2);
    assert_eq!(planner.decide(&waits(3)), Plan::Pending(0));

    let mut blind = begun();
    blind.sweep_at = Some(at(16));
    assert_eq!(blind.decide(&waits(16)), Plan::Pending(0), "no sweep for fifteen seconds");
    let missed = [Pending { due_at: at(1), sweep_may_bring: false }];
    let missed = Situation { pending: &missed, ..situation(1, 50) };
    assert_eq!(begun().decide(&missed), Plan::Pending(0), "a sweep has nothing to say about it");
}

#[test]
fn after_an_outage_it_reads_down_to_the_watermark_beside_the_sweeps() {
    let mut planner = Planner::new(at(3_600), Some(at(0)));
    let walk = planner.begin_list(Kind::Sweep, &situation(3_600, 5_000));
    let first = page(&walk, 3_600, 600, 100, true);
    planner.end_list(walk, Ok(first), at(3_600));
    assert!(planner.catches_up());
    assert_eq!(planner.watermark(), Some(at(0)), "a restart would have to read it again");

    assert_eq!(planner.decide(&situation(3_600, 5_000)), Plan::List(Kind::Gap));
    let gap = planner.begin_list(Kind::Gap, &situation(3_600, 5_000));
    assert_eq!(gap.cursor.as_deref(), Some("600-99"));
    let below = page(&gap, 3_000, 1_200, 100, true);
    planner.end_list(gap, Ok(below), at(3_601));
    assert_eq!(planner.decide(&situation(3_604, 5_000)), Plan::List(Kind::Sweep), "the newest is not forgotten");
    swept(&mut planner, 3_604);
    assert_eq!(planner.decide(&situation(3_605, 5_000)), Plan::List(Kind::Gap));
    let gap = planner.begin_list(Kind::Gap, &situation(3_605, 5_000));
    let last = page(&gap, 1_800, 2_000, 50, true);
    planner.end_list(gap, Ok(last), at(3_605));
    assert!(!planner.catches_up());
    assert_eq!(planner.watermark(), Some(at(3_603)));
}

#[test]
fn a_gap_is_never_given_up_and_too_many_become_one() {
    let mut planner = Planner::new(at(100), Some(at(0)));
    for round in 1..6 {
        let now = 100 * round;
        let walk = planner.begin_list(Kind::Sweep, &situation(now, 5_000));
        let full = page(&walk, now, 10, 100, true);
        planner.end_list(walk, Ok(full), at(now));
        assert!(planner.gaps.pieces.len() <= gaps::MOST_GAPS);
        assert_eq!(planner.watermark(), Some(at(0)));
    }
    for failure in 0..9 {
        let gap = planner.begin_list(Kind::Gap, &situation(1_000 + failure, 5_000));
        planner.end_list(gap, Err(Missed::Otherwise), at(1_000 + failure));
        assert!(planner.catches_up());
    }
}

#[test]
fn pages_that_take_longer_than_the_pace_let_nothing_starve() {
    let mut planner = Planner::new(at(0), Some(at(0)));
    let mut listed = Vec::new();
    // Every page takes ten seconds; the first one leaves a gap that is never read to its end.
    for round in 0..60 {
        let now = 1_000 + 10 * round;
        let Plan::List(kind) = planner.decide(&situation(now, 5_000)) else { panic!("idle though sweeps are late") };
        listed.push(kind);
        let walk = planner.begin_list(kind, &situation(now, 5_000));
        let seen = page(&walk, now, 3_600, 0, true);
        let unread = page(&walk, now, 10, 100, true);
        planner.end_list(walk, Ok(if kind == Kind::Sweep && round > 0 { seen } else { unread }), at(now));
    }
    let gaps = listed.iter().filter(|kind| **kind == Kind::Gap).count();
    let sweeps = listed.iter().filter(|kind| **kind == Kind::Sweep).count();
    assert!(gaps >= 20 && sweeps >= 20, "{listed:?}");
}

#[test]
fn a_message_from_the_far_future_does_not_move_the_watermark() {
    let mut planner = begun();
    let walk = planner.begin_list(Kind::Sweep, &situation(2, 50));
    let wild = at(4_000_000_000);
    let rows = [
        Row { id: "wild", latest: Some(wild), fresh: Some(wild), was_bound: true },
        Row { id: "sane", latest: Some(at(1)), fresh: Some(at(1)), was_bound: true },
    ];
    let facts = PageFacts::gather(&walk, &rows, false, None);
    planner.end_list(walk, Ok(facts), at(2));
    assert_eq!(planner.watermark(), Some(at(1)));
}

#[test]
fn a_list_that_lags_is_read_further_back() {
    let mut planner = begun();
    let floor = |planner: &mut Planner, now: i64| {
        let walk = planner.begin_list(Kind::Sweep, &situation(now, 50));
        let floor = walk.floor;
        planner.end_list(walk, Err(Missed::Otherwise), at(now));
        floor
    };
    let watermark = planner.watermark().expect("swept");
    assert_eq!(floor(&mut planner, 10), watermark.minus(Duration::from_secs(3)));
    let shows = |planner: &mut Planner, was_bound| {
        let walk = planner.begin_list(Kind::Sweep, &situation(12, 50));
        let late = walk.resume.expect("swept before").minus(Duration::from_secs(20));
        let row = Row { id: "a", latest: Some(late), fresh: Some(late), was_bound };
        let facts = PageFacts::gather(&walk, &[row], false, None);
        planner.end_list(walk, Ok(facts), at(12));
        planner.list_lag(at(12))
    };
    assert_eq!(shows(&mut planner, false), Duration::ZERO, "nobody took it while it was shown");
    assert_eq!(shows(&mut planner, true), Duration::from_secs(20));
    assert_eq!(floor(&mut planner, 12), watermark.minus(Duration::from_secs(43)));
    assert_eq!(floor(&mut planner, 59), watermark.minus(LEAST_OVERLAP + planner.disorder.at(at(59)) * 2));
    assert!(floor(&mut planner, 600) <= watermark.minus(Duration::from_secs(30)), "once a minute it goes deep anyway");
}

#[test]
fn a_search_reaches_what_it_searches_and_ends_with_the_whole_walk() {
    let mut planner = begun();
    let searching = Situation { search: Some(Search { due: at(2), floor: at(-600) }), ..situation(2, 50) };
    let walk = planner.begin_list(Kind::Sweep, &searching);
    assert!(walk.searches && walk.floor <= at(-630));
    let first = page(&walk, 2, 60, 0, true);
    assert_eq!(planner.end_list(walk, Ok(first), at(2)), Searched::Nothing);
    assert!(!planner.begin_list(Kind::Sweep, &searching).searches, "one at a time");
    planner.listing = false;
    assert_eq!(planner.decide(&searching), Plan::List(Kind::Gap), "somebody waits for it");
    let gap = planner.begin_list(Kind::Gap, &searching);
    let rest = page(&gap, -60, 900, 0, true);
    assert!(matches!(planner.end_list(gap, Ok(rest), at(3)), Searched::Whole { .. }));

    let walk = planner.begin_list(Kind::Sweep, &searching);
    assert_eq!(planner.end_list(walk, Err(Missed::Otherwise), at(4)), Searched::Failed);
}

#[test]
fn a_search_ends_although_every_sweep_leaves_something_unread() {
    let mut planner = begun();
    let mut last = at(0);
    for now in 10..200 {
        let search = Some(Search { due: at(10), floor: at(-600) });
        let searching = Situation { search, ..situation(now, 1_000) };
        let Plan::List(kind) = planner.decide(&searching) else { continue };
        let walk = planner.begin_list(kind, &searching);
        // Rows come late, so that each sweep goes deeper than its page; a page is a minute of what was written.
        planner.disorder.observe(Duration::from_secs(60), at(now));
        let top = walk.tail().map_or(now, |tail| (tail.as_millis() - at(0).as_millis()) / 1_000);
        let page = page(&walk, top, 60, 0, true);
        if planner.end_list(walk, Ok(page), at(now)) != Searched::Nothing {
            return;
        }
        last = at(now);
    }
    panic!("it goes on at {last:?}");
}

#[test]
fn what_sweeps_left_is_read_to_its_end_although_every_sweep_leaves_more() {
    let mut planner = begun();
    let mut deepest = at(0);
    for now in 10..200 {
        let situation = situation(now, 1_000);
        let Plan::List(kind) = planner.decide(&situation) else { continue };
        let walk = planner.begin_list(kind, &situation);
        // Rows come late, so that each sweep goes deeper than its page; a page is six seconds of what was written.
        planner.disorder.observe(Duration::from_secs(60), at(now));
        let top = walk.tail().map_or(now, |tail| (tail.as_millis() - at(0).as_millis()) / 1_000);
        let page = page(&walk, top, 6, 0, true);
        planner.end_list(walk, Ok(page), at(now));
        deepest = deepest.min(at(top - 6));
    }
    assert!(deepest <= at(-100), "{deepest:?}");
}

#[test]
fn a_full_pass_goes_on_below_the_first_page_where_something_watched_may_be() {
    let mut planner = begun();
    let many = |now: i64| Situation { escalated: 100, ..situation(now, 1_000) };
    planner.sweep_at = Some(at(30));
    assert_eq!(planner.decide(&many(30)), Plan::List(Kind::Audit));
    let audit = planner.begin_list(Kind::Audit, &many(30));
    assert_eq!(audit.cursor.as_deref(), Some("3600-99"), "the first page is the sweeps'");
    let second = page(&audit, -3_600, 50_000, 0, true);
    planner.end_list(audit, Ok(second), at(30));
    planner.sweep_at = Some(at(31));
    assert!(matches!(planner.decide(&many(31)), Plan::Wait(_)), "in its own time");
    let audit = planner.begin_list(Kind::Audit, &many(36));
    let last = page(&audit, -53_600, 40_000, 0, true);
    planner.end_list(audit, Ok(last), at(36));
    assert_eq!((planner.audit_pages, planner.audit.is_none()), (Some(2), true));

    let young = Situation { oldest_created_at: Some(at(-60)), ..many(60) };
    assert_eq!(planner.pages_below(&young), 0, "all that is watched is younger than what the first page ends with");
}

#[test]
fn few_escalated_conversations_are_read_singly_most_overdue_first() {
    let mut planner = begun();
    planner.sweep_at = Some(at(70));
    planner.audit_at = Some(at(70));
    let watched =
        |seen: i64, active: i64| Watched { escalated: true, last_activity_at: at(active), seen_at: Some(at(seen)) };
    let front = [watched(65, 0), watched(10, 0), watched(5, -7_200)];
    let few = Situation { escalated: 3, front: &front, ..situation(70, 10_000) };
    assert_eq!(planner.decide(&few), Plan::Front(2), "three can all have their turn: nobody stands back");
    let crowd = Situation { escalated: 60, ..few };
    assert_eq!(planner.decide(&crowd), Plan::Front(1), "the longer nobody wrote, the later");
    planner.begin_get(Plan::Front(1), &few);
    planner.end_get(None);
    assert!(matches!(planner.decide(&few), Plan::Wait(_)), "not all at once");
    let all = Situation { escalated: 3_000, ..few };
    assert!(!matches!(begun().decide(&all), Plan::Front(_)), "a full pass is cheaper");
}

#[test]
fn one_conversation_alone_is_read_instead_of_a_list() {
    let mut planner = begun();
    let front = [Watched { escalated: false, last_activity_at: at(0), seen_at: None }];
    let lone = |now: i64| Situation { front: &front, ..situation(now, 1) };
    assert_eq!(planner.decide(&lone(5)), Plan::Front(0));
    planner.begin_get(Plan::Front(0), &lone(5));
    assert!(matches!(planner.decide(&lone(6)), Plan::Wait(_)));
    planner.end_get(Some(at(5)));
    assert_eq!(planner.swept_at(), Some(at(5)));
    let bound_soon = Situation { unbound: true, ..lone(8) };
    assert_eq!(planner.decide(&bound_soon), Plan::List(Kind::Sweep));
    assert_eq!(planner.decide(&lone(61)), Plan::List(Kind::Sweep), "now and then List is asked all the same");
}

#[test]
fn single_reads_without_end_starve_neither_sweeps_nor_what_those_left() {
    let mut planner = begun();
    let walk = planner.begin_list(Kind::Sweep, &situation(3, 5_000));
    let first = page(&walk, 3, 600, 100, true);
    planner.end_list(walk, Ok(first), at(3));
    assert!(planner.catches_up());
    let pending = [Pending { due_at: at(0), sweep_may_bring: false }];
    let (mut sweeps, mut gaps, mut singles) = (0, 0, 0);
    for now in 4..124 {
        let flooded = Situation { pending: &pending, lookup_due: Some(at(0)), ..situation(now, 5_000) };
        match planner.decide(&flooded) {
            Plan::List(kind) => {
                *(if kind == Kind::Sweep { &mut sweeps } else { &mut gaps }) += 1;
                let walk = planner.begin_list(kind, &flooded);
                let mut below = page(&walk, now, 600, 0, true);
                // The part left below never comes to an end.
                below.fresh_below = kind == Kind::Gap;
                planner.end_list(walk, Ok(below), at(now));
            }
            plan @ (Plan::Lookup | Plan::Pending(_)) => {
                singles += 1;
                planner.begin_get(plan, &flooded);
                planner.end_get(None);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(sweeps >= 10 && gaps >= 10 && singles >= 10, "{sweeps} sweeps, {gaps} gaps, {singles} single reads");
}

#[test]
fn after_a_start_the_first_read_is_a_sweep() {
    let pending = [Pending { due_at: at(-9), sweep_may_bring: false }];
    let owing = Situation { pending: &pending, lookup_due: Some(at(-9)), ..situation(0, 50) };
    assert_eq!(Planner::new(at(0), Some(at(-10))).decide(&owing), Plan::List(Kind::Sweep));
}

#[test]
fn a_search_goes_on_while_messages_wait() {
    let mut planner = Planner::new(at(0), Some(at(0)));
    let busy = |now: i64| Situation {
        sends_waiting: 9,
        used: used(60, 40),
        search: Some(Search { due: at(0), floor: at(-600) }),
        unbound: true,
        ..situation(now, 0)
    };
    let mut searched = None;
    for now in (0..60).step_by(5) {
        let Plan::List(kind) = planner.decide(&busy(now)) else { continue };
        let walk = planner.begin_list(kind, &busy(now));
        let below = page(&walk, now, 200 * i64::from(walk.pages + 1), 0, true);
        if matches!(planner.end_list(walk, Ok(below), at(now)), Searched::Whole { .. }) {
            searched = Some(now);
            break;
        }
    }
    assert!(searched.is_some(), "never searched to the end");
}

/// A vendor whose List cannot give some rows, or not many at once; newest first.
struct Vendor {
    rows: Vec<&'static str>,
    most: usize,
    too_large: &'static str,
    /// Seconds between one row and the next.
    apart: i64,
}

impl Vendor {
    fn page(&self, walk: &Walk) -> Result<PageFacts, Missed> {
        let from = match &walk.cursor {
            None => 0,
            Some(cursor) => self.rows.iter().position(|row| row == cursor).expect("a known cursor") + 1,
        };
        let rows: Vec<_> = self.rows[from..].iter().take(walk.limit as usize).collect();
        if rows.len() > self.most || rows.iter().any(|row| **row == self.too_large) {
            return Err(Missed::Page { smallest: false });
        }
        let has_more = from + rows.len() < self.rows.len();
        let cursor = rows.last().filter(|_| has_more).map(ToString::to_string);
        // The newest at the beginning of it all.
        let rows: Vec<_> = (0..)
            .skip(from)
            .zip(rows)
            .map(|(place, id)| Row { id, latest: Some(at(-place * self.apart)), fresh: None, was_bound: true })
            .collect();
        Ok(PageFacts::gather(walk, &rows, has_more, cursor))
    }

    /// Reads for some minutes as the reader would; returns what was shown, and the requests that failed.
    fn read(&self, planner: &mut Planner, from: i64, minutes: i64) -> (Vec<String>, u32) {
        let (mut shown, mut failed) = (Vec::new(), 0);
        for now in (from..from + minutes * 60).step_by(2) {
            let Plan::List(kind) = planner.decide(&situation(now, 200)) else { continue };
            let mut walk = planner.begin_list(kind, &situation(now, 200));
            if walk.is_blocked() {
                walk.step_over(self.rows.iter().skip(1).copied());
            }
            let page = self.page(&walk);
            match &page {
                Ok(_) => {
                    let from = walk
                        .cursor
                        .as_ref()
                        .map_or(0, |cursor| self.rows.iter().position(|row| row == cursor).expect("known") + 1);
                    shown.extend(self.rows[from..].iter().take(walk.limit as usize).map(ToString::to_string));
                }
                Err(_) => failed += 1,
            }
            planner.end_list(walk, page, at(now));
        }
        (shown, failed)
    }
}

#[test]
fn pages_that_are_too_large_are_asked_for_smaller() {
    let rows = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let vendor = Vendor { rows: rows.to_vec(), most: 5, too_large: "", apart: 10 };
    let (shown, failed) = vendor.read(&mut Planner::new(at(0), Some(at(-600))), 0, 10);
    assert!(rows.iter().all(|row| shown.iter().any(|one| one == row)), "{shown:?}");
    assert!(failed < 12, "{failed} of 300 requests failed");
}

#[test]
fn a_row_at_the_top_that_cannot_be_given_stops_nothing_below_or_above_it() {
    let rows = ["huge", "b", "c", "d"];
    let vendor = Vendor { rows: rows.to_vec(), most: 100, too_large: "huge", apart: 10 };
    let mut planner = Planner::new(at(0), Some(at(-600)));
    let (shown, _) = vendor.read(&mut planner, 0, 2);
    assert!(["c", "d"].iter().all(|row| shown.iter().any(|one| one == row)), "{shown:?}");
    let above = Vendor { rows: vec!["new", "huge", "b", "c", "d"], ..vendor };
    let (shown, failed) = above.read(&mut planner, 120, 3);
    assert!(["new", "c", "d"].iter().all(|row| shown.iter().any(|one| one == row)), "{shown:?}");
    assert!(failed < 45, "{failed} of 90 requests failed");
    let gone = Vendor { rows: vec!["new", "b", "c", "d"], most: 100, too_large: "", apart: 10 };
    let (shown, failed) = gone.read(&mut planner, 300, 10);
    assert!(shown.iter().any(|one| one == "b") && failed == 0, "{failed}: {shown:?}");
}

#[test]
fn a_burst_of_one_second_is_read_whole_in_pages_of_any_size_and_around_any_row() {
    let rows = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    for most in [1, 2, 5, 100] {
        for too_large in rows.into_iter().chain([""]) {
            let vendor = Vendor { rows: rows.to_vec(), most, too_large, apart: 0 };
            let mut planner = Planner::new(at(0), Some(at(-600)));
            let (shown, _) = vendor.read(&mut planner, 0, 20);
            let missing: Vec<_> = rows.iter().filter(|row| !shown.iter().any(|one| one == *row)).collect();
            let is_found = |row: &&str| *row == too_large || *row == "b";
            assert!(missing.iter().all(|row| is_found(row)), "{most} at most, {too_large:?} too large: {missing:?}");
        }
    }
}

#[test]
fn while_list_fails_conversations_are_read_singly_in_their_turn() {
    let mut planner = Planner::new(at(0), None);
    let seen = |escalated, seen: i64| Watched { escalated, last_activity_at: at(0), seen_at: Some(at(seen)) };
    let front = [seen(false, 0), seen(true, 4), seen(false, 5)];
    let failing =
        |now: i64| Situation { front: &front, shut: [Some(at(60)), None], is_list_failing: true, ..situation(now, 3) };
    assert!(
        matches!(planner.decide(&failing(5)), Plan::Wait(Some(until)) if until <= at(8)),
        "{:?}",
        planner.decide(&failing(5))
    );
    assert_eq!(planner.decide(&failing(9)), Plan::Front(1), "where a human is, first");
    planner.begin_get(Plan::Front(1), &failing(9));
    let front = [front[0], seen(true, 9), front[2]];
    let next = |now: i64| Situation { front: &front, ..failing(now) };
    assert_eq!(planner.decide(&next(12)), Plan::Front(0));
    assert!(matches!(planner.decide(&Situation { shut: [None, None], ..next(12) }), Plan::List(_)), "to find out");
    let both = Situation { shut: [Some(at(60)), Some(at(20))], ..next(12) };
    assert_eq!(planner.decide(&both), Plan::Wait(Some(at(20))));
}
