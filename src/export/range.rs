//! Ranges of time, and the windows that Fini takes; pure.
//!
//! "List conversations" refuses windows of more than 90 days and does not say whether its ends belong to the window, so
//! that neighbours share their boundary. The oldest window comes first: a conversation that gets a message meanwhile moves
//! into the newest window, which is read last.

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The longest window that Fini takes ("List conversations", Query parameters).
const LONGEST_MS: i64 = 90 * DAY_MS;
/// The longest window without an end: Fini's clock, which ends it, need not agree with ours.
const LONGEST_OPEN_MS: i64 = 89 * DAY_MS;

/// The range of time that the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Start of the range.
    pub since: Timestamp,
    /// End of the range; `None` for up to now.
    pub until: Option<Timestamp>,
}

/// One window to be listed, in epoch milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its beginning.
    pub since: i64,
    /// Its end; `None` for Fini's present.
    pub until: Option<i64>,
}

impl Range {
    /// Returns the windows, oldest first; none for an empty range. `now` is our clock's present.
    pub fn windows(&self, now: Timestamp) -> Vec<Window> {
        let (since, now) = (self.since.as_millis(), now.as_millis());
        let end = self.until.map(Timestamp::as_millis).filter(|until| *until < now);
        let mut end_of_next = end.unwrap_or(now);
        let mut windows = Vec::new();
        if since >= end_of_next {
            return windows;
        }
        if end.is_none() && now.saturating_sub(since) <= LONGEST_OPEN_MS {
            return vec![Window { since, until: None }];
        }
        while end_of_next > since {
            let start = since.max(end_of_next.saturating_sub(LONGEST_MS));
            windows.push(Window { since: start, until: Some(end_of_next) });
            end_of_next = start;
        }
        windows.reverse();
        // With room to spare the newest window needs no end, which makes our clock irrelevant.
        if let Some(newest) = windows.last_mut()
            && end.is_none()
            && now.saturating_sub(newest.since) <= LONGEST_OPEN_MS
        {
            newest.until = None;
        }
        windows
    }
}

impl Window {
    /// Returns true if an open window has become too long for Fini since it was planned.
    pub fn outgrown(&self, now: Timestamp) -> bool {
        self.until.is_none() && now.as_millis().saturating_sub(self.since) > LONGEST_OPEN_MS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn windows(since_days: i64, until_days: Option<i64>) -> Vec<Window> {
        let ago = |days: i64| Timestamp::from_millis(NOW - days * DAY_MS);
        Range { since: ago(since_days), until: until_days.map(ago) }.windows(Timestamp::from_millis(NOW))
    }

    #[test]
    fn short_ranges_up_to_now_are_one_open_window() {
        assert_eq!(windows(7, None), [Window { since: NOW - 7 * DAY_MS, until: None }]);
        assert_eq!(windows(7, Some(-1)), windows(7, None));
    }

    #[test]
    fn ninety_days_exactly_fit_into_one_window() {
        assert_eq!(windows(90, None), [Window { since: NOW - LONGEST_MS, until: Some(NOW) }]);
        assert_eq!(windows(100, Some(10)).len(), 1);
        assert_eq!(windows(91, None).len(), 2);
    }

    #[test]
    fn empty_ranges_have_no_window() {
        assert!(windows(1, Some(1)).is_empty());
        assert!(windows(1, Some(2)).is_empty());
        assert!(windows(-1, None).is_empty());
    }

    proptest! {
        #[test]
        fn windows_cover_the_range_without_gaps(since in 1_i64..4000, length in 1_i64..4000) {
            let until = since - length;
            let windows = windows(since, Some(until));
            prop_assert_eq!(windows[0].since, NOW - since * DAY_MS);
            let end = windows[windows.len() - 1].until;
            let ends = if until > 0 { end == Some(NOW - until * DAY_MS) } else { end.is_none_or(|end| end == NOW) };
            prop_assert!(ends);
            for pair in windows.windows(2) {
                prop_assert_eq!(pair[0].until, Some(pair[1].since));
            }
            for window in &windows {
                prop_assert!(window.until.unwrap_or(NOW) - window.since <= LONGEST_MS);
                prop_assert!(window.until.unwrap_or(NOW) > window.since);
            }
        }
    }
}
