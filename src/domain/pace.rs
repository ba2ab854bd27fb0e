//! The rate at which one receiver is called: a closed loop that finds out what it takes by what it answers.
//!
//! Pure: time comes in as an argument. Three rules make it:
//!
//! - *Begin small.* As long as no limit is known, the number of attempts at once grows from one: with answers, and with
//!   time, so that a receiver that holds its answers back is called in parallel all the same. When a limit shows, few
//!   attempts are refused.
//! - *A refusal is the endpoint's.* "Come again at that time" holds everything back until then; one attempt goes first
//!   and finds out. Attempts under way when it came say nothing new.
//! - *Stay just below.* After a refusal attempts leave evenly spaced, a little slower than what was taken before, and
//!   faster again with each attempt taken: slowly near the known limit, quickly beyond it. The longer a refusal costs,
//!   the more rarely the loop provokes one.
//!
//! Invariant: while it is held back, no attempt is allowed; it always names a time, or waits for an attempt under way.

use std::time::Duration;

use super::Timestamp;

/// While no limit is known, this many answers allow one more attempt at once …
const TAKEN_PER_STEP: f64 = 8.0;
/// … and so does this much time, or `STEP_WHILE_SILENT` once no answer has come for `SILENT_FOR`.
const STEP_AFTER: Duration = Duration::from_millis(100);
const SILENT_FOR: Duration = Duration::from_secs(1);
const STEP_WHILE_SILENT: Duration = Duration::from_millis(10);

/// The share of the rate taken before that is tried after a refusal.
const STEP_BACK: f64 = 0.92;
/// The most by which one taken attempt quickens the pace, and the most in one second if a refusal costs a second.
const QUICKEN_PER_TAKEN: f64 = 0.003;
const QUICKEN_PER_SECOND: f64 = 0.008;
/// While the limit is a guess, and beyond this multiple of it, the pace quickens this many times faster.
const BEYOND: f64 = 1.1;
const BOLDNESS: f64 = 20.0;
/// With fewer taken than this between two refusals the pace was far too high: it is measured anew.
const ENOUGH_TAKEN: u32 = 10;

/// Milliseconds by which spaced attempts may catch up with their schedule if they are started late.
const SLACK_MS: f64 = 40.0;
/// Fastest rate at which attempts are spaced, in attempts a second; beyond it there is no limit.
const FASTEST: f64 = 1_000.0;
/// A limit that was not met for this long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

/// The number of attempts that may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// So many at once; the caller asks again after it has begun all of them.
    Now(usize),
    /// None before this time.
    At(Timestamp),
    /// None before one that is under way has ended.
    Blocked,
}

/// The era of an attempt: one that began before a refusal was heard says nothing about the time after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass(u32);

/// The pace of one receiver.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Counts refusals that were news; attempts that began before one belong to an older era.
    era: u32,
    /// Attempts under way: all, and those of this era.
    in_flight: usize,
    in_flight_of_era: usize,
    /// Attempts that may be under way at once, as long as no limit is known.
    window: f64,
    widened_at: Timestamp,
    /// Time at which the receiver last took an attempt, or one began with no other under way.
    answered_at: Timestamp,
    held_until: Option<Timestamp>,
    /// True while one attempt is to find out whether the receiver takes anything again.
    is_probing: bool,
    limit: Option<Limit>,
    meter: Meter,
}

/// A limit that the receiver has shown.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// Attempts a second.
    rate: f64,
    /// The rate at which it last refused.
    ceiling: f64,
    /// True if it refused so many attempts at once that the limit is a guess; false if they were spaced.
    is_guess: bool,
    /// Time for which the last refusal held everything back.
    cost: Duration,
    met_at: Timestamp,
    /// Due time of the next attempt, in epoch milliseconds and parts of them.
    next_at: f64,
}

/// The attempts taken since the last refusal, and the time in which there was something to do.
#[derive(Clone, Copy, Debug)]
struct Meter {
    taken: u32,
    /// Refusals of the single attempts that were to find out.
    probes: u32,
    busy: Duration,
    at: Timestamp,
    has_backlog: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            era: 0,
            in_flight: 0,
            in_flight_of_era: 0,
            window: 1.0,
            widened_at: Timestamp::ZERO,
            answered_at: Timestamp::ZERO,
            held_until: None,
            is_probing: false,
            limit: None,
            meter: Meter::new(Timestamp::ZERO),
        }
    }
}

impl Pace {
    /// Returns how many attempts may begin now, of at most `free`.
    pub fn allowed(&mut self, now: Timestamp, free: usize) -> Allowed {
        self.meter.run(now, self.in_flight > 0 || self.held_until.is_some());
        if free == 0 {
            return Allowed::Blocked;
        }
        if let Some(until) = self.held_until {
            if now < until {
                return Allowed::At(until);
            }
            self.held_until = None;
        }
        if self.is_probing {
            return if self.in_flight_of_era > 0 { Allowed::Blocked } else { Allowed::Now(1) };
        }
        if self.limit.is_some_and(|limit| now.since(limit.met_at) >= FORGOTTEN_AFTER) {
            self.limit = None;
            self.window = 1.0;
        }
        if let Some(limit) = &self.limit {
            return limit.allowed(now, free);
        }
        let room = |window: f64| whole(window).saturating_sub(self.in_flight);
        let is_silent = self.in_flight > 0 && now.since(self.answered_at) >= SILENT_FOR;
        let step = if is_silent { STEP_WHILE_SILENT } else { STEP_AFTER };
        if room(self.window) == 0 {
            let steps = now.since(self.widened_at).as_secs_f64() / step.as_secs_f64();
            // The window was full all the time, or the caller would have asked before.
            self.window = (self.window + steps.floor()).min(exact(self.in_flight + free));
            if steps >= 1.0 {
                self.widened_at = now;
            }
        } else {
            self.widened_at = now;
        }
        match room(self.window).min(free) {
            0 => Allowed::At(self.widened_at.plus(step)),
            allowed => Allowed::Now(allowed),
        }
    }

    /// Returns true if attempts may follow each other without asking each time.
    pub fn is_free(&self) -> bool {
        self.limit.is_none() && self.held_until.is_none() && !self.is_probing
    }

    /// Returns the end of the hold, if everything is held back.
    pub fn held_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.held_until.filter(|until| now < *until)
    }

    /// Returns the attempts a second that the receiver is given, if it has shown a limit.
    pub fn rate(&self) -> Option<f64> {
        self.limit.map(|limit| limit.rate)
    }

    /// Sets whether more is due than is allowed.
    pub fn has_backlog(&mut self, has: bool) {
        self.meter.has_backlog = has;
    }

    /// Records the start of an attempt, or of a row of them.
    pub fn begin(&mut self, now: Timestamp) -> Pass {
        self.meter.run(now, self.in_flight > 0 || self.held_until.is_some());
        if self.in_flight == 0 {
            self.answered_at = now;
        }
        self.in_flight += 1;
        self.in_flight_of_era += 1;
        if let Some(limit) = &mut self.limit {
            if self.is_probing {
                limit.next_at = millis(now);
            }
            limit.spend(now);
        }
        Pass(self.era)
    }

    /// Records the end of an attempt, whatever its result.
    pub fn end(&mut self, pass: Pass, now: Timestamp) {
        self.meter.run(now, true);
        self.in_flight = self.in_flight.saturating_sub(1);
        if pass.0 == self.era {
            self.in_flight_of_era = self.in_flight_of_era.saturating_sub(1);
        }
    }

    /// Records that the receiver took one, or refused it for another reason than the pace. `slots` is the most at once.
    pub fn taken(&mut self, pass: Pass, now: Timestamp, slots: usize) {
        self.meter.run(now, true);
        self.answered_at = now;
        if pass.0 != self.era {
            return;
        }
        self.meter.taken = self.meter.taken.saturating_add(1);
        if let (true, Some(limit)) = (std::mem::take(&mut self.is_probing), &mut self.limit) {
            // Spaced from here on: what could not be sent while it found out is not made up for.
            limit.next_at = limit.next_at.max(millis(now));
        }
        match &mut self.limit {
            Some(limit) if self.meter.has_backlog => {
                limit.quicken();
                if limit.rate >= FASTEST {
                    self.limit = None;
                    self.window = exact(slots);
                }
            }
            None if self.in_flight * 2 >= whole(self.window) => {
                self.window = (self.window + 1.0 / TAKEN_PER_STEP).min(exact(slots).max(1.0));
            }
            Some(_) | None => {}
        }
    }

    /// Records that the receiver wants no attempts for `hold`; without one, for `otherwise`, longer each time; never
    /// longer than `longest`. Returns the end of the hold, if that is news.
    pub fn refused(
        &mut self,
        pass: Pass,
        now: Timestamp,
        hold: Option<Duration>,
        otherwise: Duration,
        longest: Duration,
    ) -> Option<Timestamp> {
        self.meter.run(now, true);
        if pass.0 != self.era {
            return None;
        }
        let repeats = if self.meter.taken == 0 { self.meter.probes.min(16) } else { 0 };
        let cost = hold.filter(|hold| !hold.is_zero()).unwrap_or(otherwise.saturating_mul(1 << repeats)).min(longest);
        // The rate never falls below one attempt in the longest hold that is possible.
        let slowest = rate_of(if hold.is_some_and(|hold| !hold.is_zero()) { longest } else { otherwise.min(longest) });
        let measured = f64::from(self.meter.taken) * rate_of(self.meter.busy.max(cost));
        let rate = match self.limit {
            // Nothing was taken since: the known rate stays.
            Some(limit) if self.meter.taken == 0 => limit.rate,
            None if self.meter.taken == 0 => rate_of(cost),
            None => measured * STEP_BACK,
            // It took long to open again: the measure over all of that time counts.
            Some(_) if self.meter.probes > 0 => measured * STEP_BACK,
            Some(limit) if self.meter.taken < ENOUGH_TAKEN => {
                (measured * STEP_BACK).clamp(limit.rate / 2.0, limit.rate * STEP_BACK)
            }
            Some(limit) => limit.rate * STEP_BACK,
        };
        let rate = rate.max(slowest).min(FASTEST);
        let until = now.plus(cost);
        let next_at = millis(until);
        let is_guess = self.limit.is_none_or(|limit| limit.is_guess && self.meter.taken == 0);
        self.limit = Some(Limit { rate, ceiling: rate / STEP_BACK, is_guess, cost, met_at: now, next_at });
        if self.meter.taken == 0 {
            self.meter.probes = self.meter.probes.saturating_add(1);
        } else {
            self.meter = Meter::new(now);
        }
        self.held_until = Some(until);
        self.is_probing = true;
        self.era = self.era.wrapping_add(1);
        self.in_flight_of_era = 0;
        Some(until)
    }
}

impl Limit {
    fn spacing(&self) -> f64 {
        1_000.0 / self.rate
    }

    fn allowed(&self, now: Timestamp, free: usize) -> Allowed {
        let due = self.next_at.max(millis(now) - SLACK_MS);
        let late = millis(now) - due;
        if late < 0.0 {
            return Allowed::At(Timestamp::from_millis(rounded_up(due)));
        }
        Allowed::Now((whole(late / self.spacing()) + 1).min(free))
    }

    fn spend(&mut self, now: Timestamp) {
        self.next_at = self.next_at.max(millis(now) - SLACK_MS) + self.spacing();
    }

    fn quicken(&mut self) {
        let each = QUICKEN_PER_SECOND / self.rate / self.cost.as_secs_f64().max(0.1);
        let is_bold = self.is_guess || self.rate > self.ceiling * BEYOND;
        let boldness = if is_bold { BOLDNESS } else { 1.0 };
        self.rate *= 1.0 + each.min(QUICKEN_PER_TAKEN) * boldness;
    }
}

impl Meter {
    const fn new(at: Timestamp) -> Self {
        Self { taken: 0, probes: 0, busy: Duration::ZERO, at, has_backlog: false }
    }

    fn run(&mut self, now: Timestamp, is_busy: bool) {
        if is_busy || self.has_backlog {
            self.busy = self.busy.saturating_add(now.since(self.at));
        }
        self.at = now;
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small, and never below zero")]
fn whole(number: f64) -> usize {
    number.clamp(0.0, 1e6) as usize
}

fn rate_of(spacing: Duration) -> f64 {
    1.0 / spacing.as_secs_f64().max(1.0 / FASTEST)
}

#[expect(clippy::cast_precision_loss, reason = "numbers of slots are small")]
fn exact(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "epoch milliseconds fit 52 bits for longer than anybody runs this")]
fn millis(at: Timestamp) -> f64 {
    at.as_millis() as f64
}

#[expect(clippy::cast_possible_truncation, reason = "comes from epoch milliseconds")]
fn rounded_up(millis: f64) -> i64 {
    millis.ceil() as i64
}

#[cfg(test)]
mod tests;
