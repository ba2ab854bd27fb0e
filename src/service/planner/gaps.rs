//! The pieces of List that sweeps left unread. Pure.
//!
//! Invariant: nothing is given up, and one piece is read to its end however much is left meanwhile: the one that searches,
//! else the oldest.

use super::Walk;
use crate::domain::Timestamp;

/// Most pieces that are kept apart.
pub(super) const MOST_GAPS: usize = 3;

/// The pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    /// The newest first.
    pub(super) pieces: Vec<Walk>,
    /// True once the newest of them has had its page, so that the kept one has the next.
    newest_had_its_page: bool,
}

impl Gaps {
    /// Returns true if everything was read.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Returns the time up to which everything was read; `None` if nothing is left unread.
    pub(super) fn resume(&self) -> Option<Timestamp> {
        self.pieces.iter().filter_map(|gap| gap.resume).min()
    }

    /// Returns true if one of them has come to more than `pages` pages.
    pub(super) fn any_beyond(&self, pages: u32) -> bool {
        self.pieces.iter().any(|gap| gap.pages > pages)
    }

    /// Returns true if one of them searches.
    pub(super) fn searches(&self) -> bool {
        self.pieces.iter().any(|gap| gap.searches)
    }

    /// Returns the piece that is read on next: the newest, and by turns with it the one that is kept. Each sweep may leave
    /// another, so that nothing but the newest would ever be read.
    pub(super) fn next(&self) -> Option<&Walk> {
        self.pieces.get(self.place_of_next())
    }

    /// Takes out the piece that is read on next.
    pub(super) fn take(&mut self) -> Option<Walk> {
        let next = self.place_of_next();
        self.newest_had_its_page = next == 0;
        (next < self.pieces.len()).then(|| self.pieces.remove(next))
    }

    fn place_of_next(&self) -> usize {
        self.kept().filter(|_| self.newest_had_its_page).unwrap_or(0)
    }

    /// Returns the place of the piece that is read to its end before all others but the newest.
    fn kept(&self) -> Option<usize> {
        let searching = self.pieces.iter().position(|gap| gap.searches);
        searching.or(self.pieces.len().checked_sub(1)).filter(|place| *place > 0)
    }

    /// Puts a piece back in its place.
    pub(super) fn put_back(&mut self, gap: Walk) {
        let place = self.pieces.partition_point(|newer| newer.started_at > gap.started_at);
        self.pieces.insert(place, gap);
    }

    /// Keeps the rest of a sweep for later. Too many pieces become one, from the newest down to the deepest, but for the
    /// one that is kept: begun anew each time, it would never come to its end.
    pub(super) fn leave(&mut self, walk: Walk) {
        self.pieces.insert(0, walk);
        if self.pieces.len() <= MOST_GAPS {
            return;
        }
        let kept = self.kept().map(|place| self.pieces.remove(place));
        let rest = self.pieces.split_off(1);
        let first = &mut self.pieces[0];
        for gap in rest {
            first.floor = first.floor.min(gap.floor);
            first.since = first.since.min(gap.since);
            first.resume = first.resume.min(gap.resume);
            first.searches |= gap.searches;
            first.has_hole |= gap.has_hole;
            first.shown = first.shown.saturating_add(gap.shown);
            first.doubtful.extend(gap.doubtful);
        }
        self.pieces.extend(kept);
    }
}
