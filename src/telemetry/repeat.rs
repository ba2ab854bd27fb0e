//! Keeps one repeating complaint from drowning all others.
//!
//! Pure: the time comes in. Counted per place in the code, as that is what repeats when something is broken; the values in the
//! line may differ.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracing::Metadata;
use tracing::callsite::Identifier;

/// Lines of one place that pass within one [`WINDOW`].
pub(super) const PASS: u64 = 10;

/// The time over which lines are counted together.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// Lines that were left out, once their window is over.
#[derive(Debug)]
pub(super) struct Suppressed {
    pub(super) metadata: &'static Metadata<'static>,
    pub(super) message: String,
    pub(super) lines: u64,
}

#[derive(Debug, Default)]
pub(super) struct Repeats {
    places: HashMap<Identifier, Place>,
    /// The end of the window that ends first.
    next_end: Option<Instant>,
}

#[derive(Debug)]
struct Place {
    ends: Instant,
    lines: u64,
    metadata: &'static Metadata<'static>,
    message: String,
}

impl Repeats {
    /// Returns true if a line from this place may be written now.
    pub(super) fn admit(&mut self, metadata: &'static Metadata<'static>, message: &str, now: Instant) -> bool {
        let ends = now + WINDOW;
        let place = self.places.entry(metadata.callsite()).or_insert_with(|| Place {
            ends,
            lines: 0,
            metadata,
            message: message.to_owned(),
        });
        let ends = place.ends;
        place.lines += 1;
        let admitted = place.lines <= PASS;
        self.next_end = Some(self.next_end.map_or(ends, |next| next.min(ends)));
        admitted
    }

    /// Returns the counts of windows that are over by now. To be asked before each line, whatever its place, so that the count is
    /// told even where the complaint has stopped.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Suppressed> {
        if self.next_end.is_none_or(|end| end > now) {
            return Vec::new();
        }
        let over: Vec<Suppressed> = self
            .places
            .extract_if(|_, place| place.ends <= now)
            .filter(|(_, place)| place.lines > PASS)
            .map(|(_, place)| Suppressed {
                metadata: place.metadata,
                message: place.message,
                lines: place.lines - PASS,
            })
            .collect();
        self.next_end = self.places.values().map(|place| place.ends).min();
        over
    }
}

#[cfg(test)]
mod tests {
    use tracing::callsite::{Callsite, DefaultCallsite};
    use tracing::metadata;

    use super::*;

    static PLACE: DefaultCallsite = DefaultCallsite::new(&META);
    static META: Metadata<'static> = metadata! {
        name: "place",
        target: "test",
        level: tracing::Level::WARN,
        fields: &[],
        callsite: &PLACE,
        kind: tracing::metadata::Kind::EVENT,
    };

    #[test]
    fn what_was_left_out_is_told_once_when_its_window_is_over() {
        let metadata = PLACE.metadata();
        let start = Instant::now();
        let mut repeats = Repeats::default();
        let admitted = (0..PASS + 5).filter(|_| repeats.admit(metadata, "again", start)).count();
        assert_eq!(admitted as u64, PASS);
        assert!(repeats.expired(start + WINDOW / 2).is_empty(), "its window is not over");
        let over = repeats.expired(start + WINDOW);
        assert_eq!(over.iter().map(|each| (each.message.as_str(), each.lines)).collect::<Vec<_>>(), [("again", 5)]);
        assert!(repeats.expired(start + WINDOW * 2).is_empty(), "told twice");
        assert!(repeats.admit(metadata, "again", start + WINDOW), "a new window begins");
    }

    #[test]
    fn what_did_not_repeat_is_not_mentioned_again() {
        let start = Instant::now();
        let mut repeats = Repeats::default();
        assert!(repeats.admit(PLACE.metadata(), "once", start));
        assert!(repeats.expired(start + WINDOW).is_empty());
    }
}
