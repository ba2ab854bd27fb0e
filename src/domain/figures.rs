//! A bounded history of the bridge's load, for small charts: one point a minute over a day. Pure.
//!
//! A point holds the worst values within its minute; so does a point that is shown for several.

use std::{collections::VecDeque, time::Duration};

use super::Timestamp;

/// Time that one point covers.
const EVERY: Duration = Duration::from_mins(1);
/// Most points kept: a day of them.
const MOST: usize = 24 * 60;
/// Most points shown; a window that begins within one has one more.
const SHOWN: u64 = 288;

/// Waiting work, by what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitsFor {
    /// Messages, for an earlier one of their conversation, or for its Fini conversation to be known.
    Turn,
    /// Callbacks and messages, for the other side to work again, or for as long as it asked for.
    Breaker,
    /// Callbacks of a paused destination.
    Pause,
    /// Conversations in quarantine, for an operator.
    Quarantine,
    /// Messages, for a request that may be made.
    Budget,
    /// Customers, for a human.
    Handoff,
}

impl WaitsFor {
    /// All kinds, in the order of [`Sample::waiting`].
    pub const ALL: [Self; 6] = [Self::Turn, Self::Breaker, Self::Pause, Self::Quarantine, Self::Budget, Self::Handoff];

    /// Returns the name it is shown under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Breaker => "breaker",
            Self::Pause => "pause",
            Self::Quarantine => "quarantine",
            Self::Budget => "budget",
            Self::Handoff => "handoff",
        }
    }
}

/// An amount of waiting work, and the wait of its oldest item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Number of items.
    pub count: u64,
    /// Wait of the oldest item.
    pub oldest: Duration,
}

impl Waiting {
    fn worse(self, other: Self) -> Self {
        Self { count: self.count.max(other.count), oldest: self.oldest.max(other.oldest) }
    }
}

/// The load at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Requests made in the budget's window.
    pub budget_used: u32,
    /// Requests that it allows.
    pub budget_limit: u32,
    /// Waiting work, in the order of [`WaitsFor::ALL`].
    pub waiting: [Waiting; WaitsFor::ALL.len()],
    /// Time for which the oldest due message has been due.
    pub due_turns: Duration,
    /// Time for which the oldest due callback has been due.
    pub due_deliveries: Duration,
    /// Time for which Fini has not been read although something needs it.
    pub unread: Duration,
    /// Delay of the Fini event that was found latest after it happened; `None` if none was found.
    pub lag: Option<Duration>,
}

impl Sample {
    fn worse(self, other: Self) -> Self {
        let mut waiting = self.waiting;
        for (own, other) in waiting.iter_mut().zip(other.waiting) {
            *own = own.worse(other);
        }
        Self {
            budget_used: self.budget_used.max(other.budget_used),
            // The limit shrinks after a refusal.
            budget_limit: other.budget_limit,
            waiting,
            due_turns: self.due_turns.max(other.due_turns),
            due_deliveries: self.due_deliveries.max(other.due_deliveries),
            unread: self.unread.max(other.unread),
            lag: self.lag.max(other.lag),
        }
    }
}

/// A minute, or several, with the worst values in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Start of the period.
    pub at: Timestamp,
    /// The worst values in it.
    pub sample: Sample,
}

/// The points of the last day, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Figures(VecDeque<Point>);

impl Figures {
    /// Adds a sample.
    pub fn add(&mut self, now: Timestamp, sample: Sample) {
        let at = begin(now, EVERY);
        match self.0.back_mut() {
            // After a clock went back, the sample joins the last point.
            Some(last) if last.at >= at => last.sample = last.sample.worse(sample),
            _ => self.0.push_back(Point { at, sample }),
        }
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// Returns the points of the last `window`, at most 289 of them, and the time that each covers.
    pub fn over(&self, window: Duration, now: Timestamp) -> (Duration, Vec<Point>) {
        let minutes = window.as_secs().div_ceil(EVERY.as_secs()).max(1);
        let step = EVERY * u32::try_from(minutes.div_ceil(SHOWN)).unwrap_or(u32::MAX);
        let since = now.minus(window);
        let mut points: Vec<Point> = Vec::new();
        for point in self.0.iter().filter(|point| point.at.plus(EVERY) > since) {
            let at = begin(point.at, step);
            match points.last_mut() {
                Some(last) if last.at == at => last.sample = last.sample.worse(point.sample),
                _ => points.push(Point { at, sample: point.sample }),
            }
        }
        (step, points)
    }
}

fn begin(at: Timestamp, step: Duration) -> Timestamp {
    let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(at.as_millis().div_euclid(step).saturating_mul(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(1_799_971_200_000 + secs * 1_000)
    }

    fn used(used: u32) -> Sample {
        Sample { budget_used: used, budget_limit: 100, ..Sample::default() }
    }

    #[test]
    fn a_minute_shows_what_stood_worst_in_it() {
        let mut figures = Figures::default();
        let waits = |count, secs| {
            let mut waiting = [Waiting::default(); WaitsFor::ALL.len()];
            waiting[0] = Waiting { count, oldest: Duration::from_secs(secs) };
            Sample { waiting, ..used(7) }
        };
        for (secs, sample) in [(0, waits(3, 1)), (20, waits(1, 9)), (40, used(2))] {
            figures.add(at(secs), sample);
        }
        figures.add(at(60), used(1));
        let (step, points) = figures.over(Duration::from_hours(1), at(61));
        assert_eq!((step, points.len()), (EVERY, 2));
        assert_eq!((points[0].at, points[0].sample), (at(0), waits(3, 9)));
        assert_eq!(points[1].sample.budget_used, 1);
    }

    #[test]
    fn a_day_is_kept_and_shown_in_a_bounded_number_of_points() {
        let mut figures = Figures::default();
        for minute in 0..3_000_u32 {
            figures.add(at(i64::from(minute) * 60), used(minute));
        }
        assert_eq!(figures.0.len(), MOST);
        let now = at(2_999 * 60 + 30);
        let (step, points) = figures.over(Duration::from_hours(24), now);
        assert_eq!(step, Duration::from_mins(5));
        assert!(points.len() <= 289, "{}", points.len());
        assert_eq!(points.last().map(|point| point.sample.budget_used), Some(2_999));
        let (step, points) = figures.over(Duration::from_mins(10), now);
        assert_eq!((step, points.len()), (EVERY, 11), "the tenth minute back has just begun to leave");
    }

    #[test]
    fn a_clock_that_goes_back_loses_nothing() {
        let mut figures = Figures::default();
        figures.add(at(120), used(5));
        figures.add(at(0), used(9));
        let (_, points) = figures.over(Duration::from_hours(1), at(120));
        assert_eq!(points.iter().map(|point| point.sample.budget_used).collect::<Vec<_>>(), [9]);
    }
}
