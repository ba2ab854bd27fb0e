//! The progress of an export: a bar on a terminal, a line now and then elsewhere, nothing when asked to be quiet.

use std::{
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::{
    cli::console::{one_line, say},
    export::{Place, Watcher},
};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// The bar's steps.
const STEPS: u64 = 1000;

/// Shows it on stderr.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    begun: Instant,
    first: Mutex<First>,
}

/// The place where this run began; an export that is resumed was partly done before.
#[derive(Default)]
struct First {
    place: Option<Place>,
    line: Option<Instant>,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(STEPS);
            if let Ok(style) = ProgressStyle::with_template("{bar:24} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, quiet, begun: Instant::now(), first: Mutex::default() }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn tell(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None if !self.quiet => say(text),
            None => {}
        }
    }
}

impl Watcher for Progress {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a bar needs no more than a thousandth"
    )]
    fn page(&self, place: &Place) {
        if self.quiet {
            return;
        }
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = self.begun.elapsed();
        let start = *first.place.get_or_insert(*place);
        let done = place.counts.rows.saturating_sub(start.counts.rows) as f64;
        let rate = done / elapsed.as_secs_f64().max(0.001);
        let left = remaining(start.fraction, place.fraction, elapsed);
        let text = format!(
            "{} pages, {} conversations, {rate:.0}/s{}",
            place.counts.pages,
            place.counts.rows,
            left.map(|left| format!(", about {} left", HumanDuration(left))).unwrap_or_default()
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position((place.fraction.unwrap_or_default() * STEPS as f64) as u64);
                bar.set_message(text);
            }
            None if first.line.is_none_or(|line| line.elapsed() >= LINE_EVERY) => {
                first.line = Some(Instant::now());
                let percent = place.fraction.map(|fraction| format!("{:.0}% ", fraction * 100.0)).unwrap_or_default();
                say(format!("{percent}{text}"));
            }
            None => {}
        }
    }

    fn waiting(&self, why: &str, pause: Duration) {
        self.tell(&format!("{}; next try in {:.1} s", one_line(why), pause.as_secs_f64()));
    }

    fn note(&self, text: &str) {
        self.tell(&format!("note: {text}"));
    }
}

/// The time left, when the range is worked off as fast as until now.
fn remaining(start: Option<f64>, now: Option<f64>, elapsed: Duration) -> Option<Duration> {
    let (start, now) = (start?, now?);
    let done = now - start;
    (done > 0.001 && now < 1.0)
        .then(|| elapsed.as_secs_f64() * (1.0 - now) / done)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_counts_from_where_this_run_began() {
        let minute = Duration::from_mins(1);
        assert_eq!(remaining(Some(0.0), Some(0.5), minute), Some(minute));
        assert_eq!(remaining(Some(0.5), Some(0.75), minute), Some(minute));
        assert_eq!(remaining(Some(0.5), Some(0.5), minute), None);
        assert_eq!(remaining(None, None, minute), None);
    }
}
