//! The progress of an export of conversations, which its checkpoint holds.

use serde::{Deserialize, Serialize};

use super::{Counts, Facts, Following, Window};
use crate::fini::RawConversation;

/// The time that Fini compares `since` and `until` with. The documentation does not say; the answers show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// Creation of the conversation.
    Created,
    /// Its latest message.
    LatestMessage,
}

/// The progress of an export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Start of the export, by our clock, epoch milliseconds.
    pub started: i64,
    /// The end that the user set, if it lies in the past.
    pub until: Option<i64>,
    /// The windows to list, oldest first.
    pub windows: Vec<Window>,
    /// Index of the window that is being read; past the last one everything is read.
    pub at: usize,
    /// The walk through it.
    pub walk: Walk,
    /// The time that the windows mean, once it is known.
    pub reading: Option<Reading>,
    /// A conversation that shows it, should Fini be asked.
    pub telling: Option<Telling>,
    /// Conversations read from the time since the start: ids and digests, so that following does not repeat them.
    pub recent: Vec<(String, u64)>,
    /// True once the conversations that left the range meanwhile were looked for.
    #[serde(default)]
    pub departed: bool,
    /// Ids of a few conversations that were read: another key that sees one of them belongs to the same workspace.
    #[serde(default)]
    pub witnesses: Vec<String>,
    /// The place of the follower, once everything was read.
    #[serde(default)]
    pub following: Option<Following>,
    /// The counts so far.
    pub counts: Counts,
    /// Times of the latest requests, epoch milliseconds: they still count in the budget after a restart.
    pub requests_at: Vec<i64>,
}

/// A conversation created earlier than its latest message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telling {
    /// Its id at Fini.
    pub id: String,
    /// Creation time, epoch milliseconds.
    pub created: i64,
    /// Its latest message was not earlier than this, epoch milliseconds.
    pub lowest: i64,
}

/// A walk from the newest to the oldest conversation of a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// Pages read.
    pub pages: u64,
    /// True once the oldest was reached.
    pub done: bool,
    /// The first page, by which movement is noticed: ids and digests.
    pub top: Vec<(String, u64)>,
    /// The newest place on the first page, epoch milliseconds.
    pub top_at: Option<i64>,
    /// The latest page, after which the walk goes on. Every row can serve as the cursor, should the last one move or vanish.
    pub tail: Vec<Seen>,
    /// Set if the window was begun anew: everything newer than this has been read; epoch milliseconds.
    pub below: Option<i64>,
}

/// A row of the latest page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its id at Fini, which serves as a cursor.
    pub id: String,
    /// Its place in the list was not newer than this, epoch milliseconds.
    pub highest: Option<i64>,
}

impl State {
    /// Returns the state at the start of an export.
    pub fn new(started: i64, until: Option<i64>, windows: Vec<Window>) -> Self {
        Self {
            started,
            until: until.filter(|until| *until < started),
            windows,
            at: 0,
            walk: Walk::default(),
            reading: None,
            telling: None,
            recent: Vec::new(),
            departed: false,
            witnesses: Vec::new(),
            following: None,
            counts: Counts::default(),
            requests_at: Vec::new(),
        }
    }

    /// Returns the window that is being read.
    pub fn window(&self) -> Option<Window> {
        self.windows.get(self.at).copied()
    }

    /// Returns the part of the range that is read, by time, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a progress bar needs no more than a percent")]
    pub fn fraction(&self) -> f64 {
        let span = |window: &Window| window.until.unwrap_or(self.started).saturating_sub(window.since).max(0) as f64;
        let total: f64 = self.windows.iter().map(span).sum();
        let behind: f64 = self.windows.iter().take(self.at).map(span).sum();
        let here = self.window().map_or(0.0, |window| {
            let lowest = self.walk.tail.last().and_then(|seen| seen.highest);
            let end = window.until.unwrap_or(self.started);
            match lowest {
                _ if self.walk.done => span(&window),
                Some(lowest) => end.saturating_sub(lowest.clamp(window.since.min(end), end)) as f64,
                None => 0.0,
            }
        });
        if total > 0.0 { ((behind + here) / total).clamp(0.0, 1.0) } else { 1.0 }
    }

    /// Learns from a listed row which time the windows mean. `moment` is the time of the request for the page, by our clock.
    pub fn learn(&mut self, window: Window, row: &RawConversation, facts: &Facts, moment: i64) {
        if let (Some(created), Some(lowest)) = (facts.created, facts.lowest) {
            let apart = self.telling.as_ref().map_or(1, |telling| telling.lowest - telling.created);
            if lowest.saturating_sub(created) > apart {
                self.telling = Some(Telling { id: row.id.to_string(), created, lowest });
            }
        }
        self.learn_from(window, facts, moment);
    }

    fn learn_from(&mut self, window: Window, facts: &Facts, moment: i64) {
        /// Largest difference between Fini's clock and ours.
        const SKEW_MS: i64 = 60_000;
        if self.reading.is_some() {
            return;
        }
        if facts.created.is_some_and(|created| created < window.since) {
            self.reading = Some(Reading::LatestMessage);
        } else if let (Some(lowest), Some(until)) = (facts.lowest, window.until)
            && lowest > until
            && until < moment - SKEW_MS
            && lowest < moment - SKEW_MS
        {
            self.reading = Some(Reading::Created);
        }
    }
}

impl Walk {
    /// Takes in a page.
    pub fn take(&mut self, rows: &[(RawConversation, Facts)]) {
        self.pages += 1;
        if self.top.is_empty() {
            self.top = rows.iter().map(|(row, _)| (row.id.to_string(), row.digest)).collect();
            self.top_at = rows.iter().filter_map(|(_, facts)| facts.highest).max();
        }
        if !rows.is_empty() {
            self.tail =
                rows.iter().map(|(row, facts)| Seen { id: row.id.to_string(), highest: facts.highest }).collect();
        }
    }

    /// Returns true if this row stood unchanged on the first page.
    pub fn knows(&self, row: &RawConversation) -> bool {
        self.top.iter().any(|(id, digest)| *digest == row.digest && id == row.id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn facts(created: i64, latest: i64) -> Facts {
        Facts { created: Some(created), lowest: Some(latest), highest: Some(latest) }
    }

    #[test]
    fn answers_give_the_meaning_of_the_range_away() {
        let window = Window { since: 10 * DAY, until: Some(20 * DAY) };
        let learnt = |created, latest| {
            let mut state = State::new(30 * DAY, None, vec![window]);
            state.learn_from(window, &facts(created, latest), 30 * DAY);
            state.reading
        };
        assert_eq!(learnt(12 * DAY, 15 * DAY), None);
        assert_eq!(learnt(9 * DAY, 15 * DAY), Some(Reading::LatestMessage));
        assert_eq!(learnt(12 * DAY, 25 * DAY), Some(Reading::Created));
        // It may have moved a moment ago, after Fini had looked at the window.
        assert_eq!(learnt(12 * DAY, 30 * DAY), None);
    }

    #[test]
    fn progress_follows_the_time_that_is_behind() {
        let windows = vec![Window { since: 0, until: Some(10) }, Window { since: 10, until: None }];
        let mut state = State::new(20, None, windows);
        assert!(state.fraction() < f64::EPSILON);
        state.walk.tail = vec![Seen { id: "a".into(), highest: Some(5) }];
        assert!((state.fraction() - 0.25).abs() < f64::EPSILON);
        (state.at, state.walk) = (1, Walk::default());
        assert!((state.fraction() - 0.5).abs() < f64::EPSILON);
        state.at = 2;
        assert!((state.fraction() - 1.0).abs() < f64::EPSILON);
    }
}
