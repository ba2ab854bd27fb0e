//! The rows of a report: hours or days of a time zone, cut out of slots.

use jiff::tz::TimeZone;

use super::{Slot, Timestamp};

/// The length of a row of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An hour by the wall clock.
    Hour,
    /// A day from midnight to midnight.
    Day,
}

/// The time of a row: from the beginning of its first slot to the beginning of the first one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first slot.
    pub from: Slot,
    /// The first slot after it.
    pub to: Slot,
}

/// Returns the whole periods that `from` (inclusive) to `to` (exclusive) touches, oldest first; `None` beyond `most`.
pub fn periods(from: Timestamp, to: Timestamp, step: Step, zone: &TimeZone, most: usize) -> Option<Vec<Period>> {
    let mut first = Slot::of(from);
    let label = label(first, step, zone);
    while self::label(first.before(), step, zone) == label {
        first = first.before();
    }
    let mut periods: Vec<Period> = Vec::new();
    let (mut begun, mut slot) = ((first, label), first.next());
    loop {
        let label = self::label(slot, step, zone);
        if label != begun.1 {
            periods.push(Period { from: begun.0, to: slot });
            if slot.start() >= to {
                return Some(periods);
            }
            if periods.len() >= most {
                return None;
            }
            begun = (slot, label);
        }
        slot = slot.next();
    }
}

/// Returns what all slots of a period share: the date, or the hour, which may come twice where clocks are set back.
fn label(slot: Slot, step: Step, zone: &TimeZone) -> (i16, i16, i8, i32) {
    let instant = jiff::Timestamp::from_millisecond(slot.start().as_millis()).unwrap_or_default();
    let (local, offset) = (zone.to_datetime(instant), zone.to_offset(instant));
    match step {
        Step::Hour => (local.year(), local.day_of_year(), local.hour(), offset.seconds()),
        Step::Day => (local.year(), local.day_of_year(), 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<jiff::Timestamp>().expect("a time").as_millisecond())
    }

    /// Returns the lengths of the periods in quarters of an hour, and the time at which they begin.
    fn cut(from: &str, to: &str, step: Step, zone: &str) -> (Vec<i64>, String) {
        let zone = TimeZone::get(zone).expect("a zone");
        let periods = periods(at(from), at(to), step, &zone, 100).expect("few");
        assert!(periods.windows(2).all(|pair| pair[0].to == pair[1].from));
        (periods.iter().map(|period| period.to.0 - period.from.0).collect(), periods[0].from.start().to_string())
    }

    #[test]
    fn days_begin_at_midnight_of_the_zone() {
        let days = |zone| cut("2026-11-29T12:00:00Z", "2026-11-30T12:00:00Z", Step::Day, zone);
        assert_eq!(days("UTC"), (vec![96, 96], "2026-11-29T00:00:00.000Z".to_owned()));
        assert_eq!(days("Asia/Kathmandu"), (vec![96, 96], "2026-11-28T18:15:00.000Z".to_owned()));
        assert_eq!(days("America/New_York"), (vec![96, 96], "2026-11-29T05:00:00.000Z".to_owned()));
    }

    #[test]
    fn days_on_which_clocks_are_set_are_shorter_or_longer() {
        let day = |from: &str, to: &str| cut(from, to, Step::Day, "Europe/Berlin").0;
        assert_eq!(day("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"), vec![92]);
        assert_eq!(day("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"), vec![100]);
        let hours = cut("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", Step::Hour, "Europe/Berlin").0;
        assert_eq!(hours, vec![4; 25]);
    }

    #[test]
    fn hours_are_those_on_the_wall_and_end_where_the_range_ends() {
        let hours = |from: &str, to: &str| cut(from, to, Step::Hour, "Asia/Kolkata");
        assert_eq!(hours("2026-12-01T10:30:00Z", "2026-12-01T11:30:00Z"), (vec![4], "2026-12-01T10:30:00.000Z".into()));
        assert_eq!(
            hours("2026-12-01T10:29:59Z", "2026-12-01T11:30:01Z"),
            (vec![4, 4, 4], "2026-12-01T09:30:00.000Z".into())
        );
        let zone = TimeZone::UTC;
        assert_eq!(periods(at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z"), Step::Hour, &zone, 100), None);
    }
}
