//! *Gone*: the proof that Fini no longer has a conversation.
//!
//! Fini answers 500 for unknown ids and when it is ill; a success of its deletion proves nothing, since unknown ids get
//! it too. So Fini's own 404 or 500 has to come twice, minutes apart or around a deletion of ours, and a whole reading of
//! List, begun after the first one and reaching below the conversation's last message, has to lack it and show something
//! else that must be there. What lies beyond List's reach stays unknown.

use std::{collections::BTreeSet, time::Duration};

use crate::domain::{Timestamp, ids::InteractionId};

/// Two answers that a conversation is unknown count as two only if they are this far apart: a bad minute ends meanwhile.
pub const APART: Duration = Duration::from_mins(2);
/// Fini's largest window is 90 days; a little less, for clocks that differ.
const REACH: Duration = Duration::from_hours(89 * 24);
/// The search for a conversation goes this far below its last message.
const MARGIN: Duration = Duration::from_mins(5);
/// Pages read from the top, where conversations with recent messages stand.
const TOP: u32 = 3;
/// Most pages in all: what List cannot show within so many is beyond its reach.
const MOST: u32 = 20;
/// Rows at the end of a page whose median time counts: a single wild time proves nothing.
const ENDS: usize = 5;

/// The record of the answers that a conversation is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misses {
    /// Time of the request that got the first of them; nothing has shown the conversation since.
    pub first_at: Timestamp,
    /// Time of the request that got the last of them.
    pub last_at: Timestamp,
}

impl Misses {
    /// Returns true if it is worth reading List.
    pub fn are_apart(self) -> bool {
        self.last_at.since(self.first_at) >= APART
    }

    /// Returns true if the conversation is gone, given what a reading of List showed that began at `began_at`.
    pub fn prove_gone(self, began_at: Timestamp, shown: &Shown) -> bool {
        let lacks_it = matches!(shown, Shown::Lacking(others) if !others.is_empty());
        self.are_apart() && began_at >= self.first_at && lacks_it
    }
}

/// Returns true if a conversation in `before` was deleted since: `after` lacks it and shows what stood beside it.
pub fn was_deleted(before: &Shown, after: &Shown) -> bool {
    let (Shown::There(beside), Shown::Lacking(others)) = (before, after) else { return false };
    beside.is_empty() || !beside.is_disjoint(others)
}

/// The result of a reading of List for one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It, and these beside it.
    There(BTreeSet<InteractionId>),
    /// These, but not it, as far down as it could stand.
    Lacking(BTreeSet<InteractionId>),
    /// Not enough to tell.
    Nothing,
}

/// The page that a scan wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Start of the window.
    pub since: Timestamp,
    /// End of the window; `None` at the top of List.
    pub until: Option<Timestamp>,
    /// Cursor from which it goes on.
    pub cursor: Option<String>,
}

/// A page as it came.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Its conversations, each with the time of its latest event.
    pub rows: Vec<(InteractionId, Option<Timestamp>)>,
    /// True if a part of it could not be read.
    pub has_holes: bool,
    /// True if there is a further page.
    pub has_more: bool,
    /// Its cursor.
    pub cursor: Option<String>,
}

/// A reading of List that looks for one conversation: from the top, and, if its last message is old, around that.
///
/// The window begins as far back as Fini allows: so it is right whether `since` means creation or update. A conversation
/// between the pages at the top and the window below them got its last message while sweeps read everything.
#[derive(Clone, Debug)]
pub struct Scan {
    id: InteractionId,
    last_at: Timestamp,
    since: Timestamp,
    until: Option<Timestamp>,
    cursor: Option<String>,
    pages: u32,
    others: BTreeSet<InteractionId>,
    end: Option<Shown>,
}

impl Scan {
    /// Creates a scan for a conversation whose last known message is from `last_at`.
    pub fn new(id: InteractionId, last_at: Timestamp, now: Timestamp) -> Self {
        let since = now.minus(REACH);
        let end = (last_at.minus(MARGIN) <= since).then_some(Shown::Nothing);
        Self { id, last_at, since, until: None, cursor: None, pages: 0, others: BTreeSet::new(), end }
    }

    /// Returns the next page, while there is one to read.
    pub fn next(&self) -> Option<Wanted> {
        let wanted = || Wanted { since: self.since, until: self.until, cursor: self.cursor.clone() };
        self.end.is_none().then(wanted)
    }

    /// Returns the result, once nothing is left to read.
    pub fn shown(self) -> Shown {
        self.end.unwrap_or(Shown::Nothing)
    }

    /// Ends the scan because the page could not be read.
    pub fn fail(&mut self) {
        self.end = Some(Shown::Nothing);
    }

    /// Takes a page.
    pub fn take(&mut self, page: &Page) {
        let is_first = self.cursor.is_none();
        self.pages += 1;
        self.others.extend(page.rows.iter().map(|(id, _)| id.clone()).filter(|id| *id != self.id));
        if page.rows.iter().any(|(id, _)| *id == self.id) {
            self.end = Some(Shown::There(std::mem::take(&mut self.others)));
            return;
        }
        // An empty page where another one was promised is a lost cursor, not the end of List.
        let is_void = page.rows.is_empty() && (page.has_more || !is_first);
        let went_below = tail(&page.rows).is_some_and(|tail| tail < self.last_at.minus(MARGIN));
        if page.has_holes || is_void {
            self.fail();
        } else if went_below || !page.has_more {
            self.end = Some(Shown::Lacking(std::mem::take(&mut self.others)));
        } else if page.cursor.is_none() || page.cursor == self.cursor || self.pages >= MOST {
            self.fail();
        } else if self.until.is_none() && self.pages >= TOP {
            self.until = Some(self.last_at.plus(MARGIN));
            self.cursor = None;
        } else {
            self.cursor.clone_from(&page.cursor);
        }
    }
}

fn tail(rows: &[(InteractionId, Option<Timestamp>)]) -> Option<Timestamp> {
    let end = &rows[rows.len() - rows.len().min(ENDS)..];
    let mut times: Vec<_> = end.iter().filter_map(|(_, latest)| *latest).collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn id(number: usize) -> InteractionId {
        InteractionId::trusted(format!("i-{number}"))
    }

    /// Returns a page of `size` from a List of conversations with the times of their last messages, newest first.
    fn page(list: &[(usize, i64)], wanted: &Wanted, size: usize) -> Page {
        let inside = list.iter().filter(|(_, last)| wanted.until.is_none_or(|until| at(*last) <= until));
        let after = |number: usize| wanted.cursor.as_ref().is_none_or(|cursor| cursor != &number.to_string());
        let rows: Vec<_> = match &wanted.cursor {
            None => inside.collect(),
            Some(_) => inside.skip_while(|(number, _)| after(*number)).skip(1).collect(),
        };
        let shown = &rows[..rows.len().min(size)];
        Page {
            rows: shown.iter().map(|(number, last)| (id(*number), Some(at(*last)))).collect(),
            has_holes: false,
            has_more: rows.len() > size,
            cursor: shown.last().map(|(number, _)| number.to_string()),
        }
    }

    fn scan(list: &[(usize, i64)], of: usize, last: i64, size: usize) -> (Shown, u32) {
        let mut scan = Scan::new(id(of), at(last), at(NOW));
        let mut pages = 0;
        while let Some(wanted) = scan.next() {
            pages += 1;
            scan.take(&page(list, &wanted, size));
        }
        (scan.shown(), pages)
    }

    fn list(ages: &[i64]) -> Vec<(usize, i64)> {
        let mut list: Vec<_> = ages.iter().enumerate().map(|(number, age)| (number, NOW - age)).collect();
        list.sort_by_key(|(_, last)| -last);
        list
    }

    proptest! {
        #[test]
        fn what_stands_in_list_is_found_and_what_does_not_is_lacking(
            ages in vec(0_i64..3_000_000, 1..400), of: prop::sample::Index, size in 1_usize..40,
        ) {
            let whole = list(&ages);
            let of = of.index(ages.len());
            let (shown, pages) = scan(&whole, of, NOW - ages[of], size);
            prop_assert!(pages <= MOST);
            // Small pages end a scan early; it never shows anything untrue.
            prop_assert!(matches!(shown, Shown::There(_) | Shown::Nothing));
            let without: Vec<_> = whole.into_iter().filter(|(number, _)| *number != of).collect();
            let (shown, _) = scan(&without, of, NOW - ages[of], size);
            prop_assert!(matches!(shown, Shown::Lacking(_) | Shown::Nothing));
            if size >= 25 {
                prop_assert!(matches!(shown, Shown::Lacking(_)));
            }
        }
    }

    #[test]
    fn an_old_conversation_is_looked_for_around_its_last_message() {
        let ages: Vec<i64> = (0..2_000).map(|n| n * 60).collect();
        let (shown, pages) = scan(&list(&ages), 1_900, NOW - 1_900 * 60, 10);
        assert!(matches!(shown, Shown::There(_)));
        assert!(pages <= TOP + 2, "{pages} pages");
    }

    #[test]
    fn what_proves_nothing() {
        let taken = |pages: &[Page]| {
            let mut scan = Scan::new(id(1), at(NOW - 60), at(NOW));
            for page in pages {
                scan.take(page);
            }
            scan.shown()
        };
        let row = |number: usize, age: i64| (id(number), Some(at(NOW - age)));
        let first = Page { rows: vec![row(2, 5)], has_more: true, cursor: Some("2".into()), ..Page::default() };
        assert_eq!(taken(&[Page { has_more: true, ..Page::default() }]), Shown::Nothing, "empty, and more is promised");
        assert_eq!(taken(&[first.clone(), Page::default()]), Shown::Nothing, "a lost cursor");
        assert_eq!(taken(&[first.clone(), first.clone()]), Shown::Nothing, "a cursor that does not move");
        assert_eq!(taken(&[Page { has_holes: true, ..first.clone() }]), Shown::Nothing);
        assert_eq!(taken(&[Page { cursor: None, ..first.clone() }]), Shown::Nothing);
        assert_eq!(taken(&[first]), Shown::Nothing, "not read to its end");
        let beyond = Scan::new(id(1), at(NOW - 90 * 86_400), at(NOW));
        assert!(beyond.next().is_none() && beyond.shown() == Shown::Nothing);
    }

    #[test]
    fn a_conversation_is_gone_only_by_two_misses_apart_and_a_list_that_works() {
        let misses = |apart| Misses { first_at: at(0), last_at: at(apart) };
        let other = Shown::Lacking(BTreeSet::from([id(2)]));
        assert!(misses(120).prove_gone(at(121), &other));
        assert!(!misses(119).prove_gone(at(121), &other));
        assert!(!misses(120).prove_gone(at(-1), &other));
        for shown in [Shown::Nothing, Shown::Lacking(BTreeSet::new()), Shown::There(BTreeSet::new())] {
            assert!(!misses(300).prove_gone(at(301), &shown), "{shown:?}");
        }
    }

    #[test]
    fn a_deletion_is_proved_by_what_stood_beside_it() {
        let there = |others: &[usize]| Shown::There(others.iter().map(|number| id(*number)).collect());
        let lacking = |others: &[usize]| Shown::Lacking(others.iter().map(|number| id(*number)).collect());
        assert!(was_deleted(&there(&[2, 3]), &lacking(&[3])));
        assert!(was_deleted(&there(&[]), &lacking(&[])), "it was all there was");
        assert!(!was_deleted(&there(&[2]), &lacking(&[])), "an empty page proves nothing");
        assert!(!was_deleted(&lacking(&[2]), &lacking(&[2])), "never seen");
        assert!(!was_deleted(&there(&[2]), &there(&[2])));
        assert!(!was_deleted(&Shown::Nothing, &lacking(&[2])));
    }
}
