//! The number of conversations that a page of List is asked for. Pure.
//!
//! Fini documents 1 to 100, and promises neither that a hundred are given, nor that they fit into an answer or into a
//! deadline: a conversation may have any number of events. A page that cannot be had is asked for at half its size; a size
//! that works is remembered, and grows again step by step.
//!
//! Invariant: a growth that failed is not tried again before a pause that doubles with each such failure.

use std::time::Duration;

use super::Timestamp;

/// Fini's largest page.
pub const PAGE: u32 = 100;
/// The first pause after a growth that failed, and the longest.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// The size of pages, learnt from the results.
#[derive(Clone, Debug)]
pub struct PageSize {
    limit: u32,
    /// The size that worked last.
    good: u32,
    /// Rows of a page when there are more: the vendor's own cap, if it lies below the size asked for.
    rows: u32,
    /// Time before which it does not grow: a growth was tried and failed.
    rests_until: Option<Timestamp>,
    pause: Duration,
}

impl Default for PageSize {
    fn default() -> Self {
        Self { limit: PAGE, good: PAGE, rows: PAGE, rests_until: None, pause: FIRST_PAUSE }
    }
}

impl PageSize {
    /// Returns the conversations to ask for: 1 to [`PAGE`].
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Returns the conversations that a page really has: 1 to [`PAGE`].
    pub fn rows(&self) -> u32 {
        self.rows.min(self.limit)
    }

    /// Records that a page of `rows` conversations came that was asked for with `limit`.
    pub fn came(&mut self, limit: u32, rows: usize, has_more: bool, now: Timestamp) {
        if has_more && rows > 0 {
            self.rows = match u32::try_from(rows) {
                // As many as were asked for: the vendor may have more to give.
                Ok(rows) if rows < limit => rows,
                _ => PAGE,
            };
        }
        if limit != self.limit {
            return;
        }
        self.good = limit;
        if self.rests_until.is_none_or(|until| until <= now) {
            if limit == PAGE {
                (self.pause, self.rests_until) = (FIRST_PAUSE, None);
            }
            self.limit = (limit * 2).min(PAGE);
        }
    }

    /// Records that a page could not be had, perhaps for its size. Returns true if a smaller one is left to try.
    ///
    /// An outage takes the size down and its end takes it up again at once; only a growth that fails while the smaller size
    /// works proves that size is the reason.
    pub fn failed(&mut self, limit: u32, now: Timestamp) -> bool {
        // An earlier failure of this size has been heeded already.
        if limit > self.limit {
            return true;
        }
        if limit > self.good {
            self.limit = self.good;
            self.rests_until = Some(now.plus(self.pause));
            self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
            return true;
        }
        self.limit = (limit / 2).max(1);
        self.good = self.good.min(self.limit);
        limit > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    /// Runs a vendor that can give `most` conversations; returns how often it failed and the size at the end.
    fn against(most: u32, pages: i64) -> (u32, u32) {
        let (mut size, mut failures) = (PageSize::default(), 0);
        for page in 0..pages {
            let limit = size.limit();
            if limit > most {
                failures += 1;
                size.failed(limit, at(page * 2));
            } else {
                size.came(limit, limit as usize, true, at(page * 2));
            }
        }
        (failures, size.limit())
    }

    #[test]
    fn settles_at_most_at_what_the_vendor_can_give_and_seldom_tries_more() {
        for most in [1, 3, 12, 25, 49, 99] {
            let (failures, limit) = against(most, 1_800);
            assert!(limit <= most * 2, "{most}: {limit}");
            assert!(failures <= 7 + 7, "{most}: {failures} failures in an hour");
        }
        assert_eq!(against(100, 1_800), (0, 100));
    }

    #[test]
    fn is_back_within_a_few_pages_after_an_outage() {
        let mut size = PageSize::default();
        while size.failed(size.limit(), at(0)) {}
        assert_eq!(size.limit(), 1);
        for page in 0..7 {
            size.came(size.limit(), 1, true, at(page * 2));
        }
        assert_eq!(size.limit(), PAGE);
    }

    #[test]
    fn failures_of_one_size_under_way_together_count_once() {
        let mut size = PageSize::default();
        assert!(size.failed(100, at(0)) && size.failed(100, at(1)));
        assert_eq!(size.limit(), 50);
    }

    #[test]
    fn learns_the_vendors_own_cap() {
        let mut size = PageSize::default();
        size.came(100, 25, true, at(0));
        assert_eq!((size.limit(), size.rows()), (100, 25));
        size.came(100, 3, false, at(1));
        assert_eq!(size.rows(), 25, "the last page says nothing");
        size.came(100, 100, true, at(2));
        assert_eq!(size.rows(), 100);
    }
}
