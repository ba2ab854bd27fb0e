//! Judges an attempt's result: delivered, again later, deferred with its whole endpoint, paused or dead.
//!
//! Pure: time and chance come in. Three failures are kept apart because three different people have to act: the receiver
//! answered and refused, the receiver could not be reached, the bridge itself failed. The last one never spends an attempt.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use super::client::{AttemptResult, ErrorKind};
use crate::domain::{
    WallTime,
    schedule::{RetrySchedule, jittered},
};

/// Wait after a failure of the bridge's own.
const BRIDGE_WAIT: Duration = Duration::from_secs(5);

/// Time for which a receiver may put a callback off without using up its schedule.
const PATIENCE: Duration = Duration::from_hours(24);

/// The next step for the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has taken it.
    Delivered,
    /// Try again.
    RetryAt {
        /// The next attempt's time in Unix milliseconds.
        at: i64,
        /// The failure, by the side that failed.
        why: Why,
    },
    /// The receiver wants to be left alone for a while, for all callbacks: this one keeps its place and its chances.
    Deferred {
        /// The failure, by the side that failed.
        why: Why,
    },
    /// The receiver wants nothing more: its endpoint is paused, and the delivery stays until it is resumed.
    Paused {
        /// The failure, by the side that failed.
        why: Why,
    },
    /// The schedule is used up: a dead letter.
    Dead {
        /// The last failure, by the side that failed.
        why: Why,
    },
}

/// The side that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// An answer came, but not a 2xx.
    Answered {
        /// Its status.
        status: u16,
    },
    /// No answer came.
    Unreachable {
        /// The stage or manner of the failure.
        kind: ErrorKind,
    },
    /// The bridge could not even try.
    Bridge,
}

impl Verdict {
    /// Returns true if the attempt counts towards the end of the schedule. A pause does not use it up: a resumed endpoint
    /// finds its deliveries with the chances they had.
    pub fn spends_attempt(&self) -> bool {
        match self {
            Self::Delivered | Self::Dead { .. } => true,
            Self::RetryAt { why, .. } => *why != Why::Bridge,
            Self::Paused { .. } | Self::Deferred { .. } => false,
        }
    }
}

impl Why {
    /// Returns the word for metrics and logs: `answered`, `unreachable` or `bridge`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered { .. } => "answered",
            Self::Unreachable { .. } => "unreachable",
            Self::Bridge => "bridge",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status } => write!(f, "the receiver answered {status}"),
            Self::Unreachable { kind } => write!(f, "the receiver could not be reached ({kind})"),
            Self::Bridge => f.write_str("the bridge could not make the attempt"),
        }
    }
}

/// The time for which a receiver wants to be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// The time that it named.
    pub named: Option<Duration>,
    /// The time that applies if it named none.
    pub otherwise: Duration,
    /// The longest time that is granted.
    pub longest: Duration,
}

/// The attempt that is judged, and the terms.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Its number, counted from 1, earlier ones that were spent included.
    pub attempt: u32,
    /// Time for which the callback has been owed.
    pub age: Duration,
    /// The waits between attempts.
    pub schedule: &'a RetrySchedule,
    /// In milliseconds of the steady clock, as is the result.
    pub now: i64,
    /// Compared with a date that the receiver names.
    pub wall: WallTime,
    /// Random, from 0 to 1.
    pub jitter: f64,
}

/// Returns what the receiver asks for its endpoint as a whole: a 429 always asks, a 503 only if it names a time.
pub fn wish(result: &AttemptResult, terms: &Terms<'_>) -> Option<Wish> {
    let named = result.retry_after.as_deref().and_then(|value| retry_after(value, terms.wall.as_millis()));
    if !(result.status == Some(429) || result.status == Some(503) && named.is_some()) {
        return None;
    }
    // If it names no time, the endpoint must not wait for as long as one callback that has failed often.
    let (step, two_steps) = terms.schedule.reach(1);
    let longest = if named.is_some() { terms.schedule.reach(terms.attempt).1 } else { two_steps };
    let jittered = |wait| jittered(wait, terms.jitter);
    Some(Wish {
        named: named.map(|named| jittered(named.min(longest))),
        otherwise: jittered(step),
        longest: jittered(longest),
    })
}

/// Judges the result of an attempt.
pub fn judge(result: &AttemptResult, terms: &Terms<'_>) -> Verdict {
    let Terms { attempt, schedule, now, wall, jitter, .. } = *terms;
    let why = match (result.status, &result.error) {
        // The status line is the acknowledgement; a body that then fails changes nothing.
        (Some(200..=299), _) => return Verdict::Delivered,
        (Some(status), _) => Why::Answered { status },
        (None, Some(error)) if error.kind != ErrorKind::Internal => Why::Unreachable { kind: error.kind },
        (None, _) => Why::Bridge,
    };
    if why == Why::Bridge {
        return Verdict::RetryAt { at: after(now, jittered(BRIDGE_WAIT, jitter)), why };
    }
    // RFC 9110 §15.5.11: gone, and likely for good. The specification of Standard Webhooks asks senders to stop then.
    if why == (Why::Answered { status: 410 }) {
        return Verdict::Paused { why };
    }
    if terms.age < PATIENCE && wish(result, terms).is_some() {
        return Verdict::Deferred { why };
    }
    let hint = result.retry_after.as_deref().and_then(|value| retry_after(value, wall.as_millis()));
    match schedule.wait(attempt, hint, jitter) {
        Some(wait) => Verdict::RetryAt { at: after(now, wait), why },
        None => Verdict::Dead { why },
    }
}

/// Returns the wait that a `Retry-After` header asks for (RFC 9110 §10.2.3: seconds, or a date in any of the HTTP formats);
/// a date in the past asks for none. `None` when it cannot be read.
pub fn retry_after(value: &str, now: i64) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only too many digits can fail here, and they ask for more than any limit.
        return Some(value.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let date = date.duration_since(UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(Duration::from_millis(u64::try_from(now).unwrap_or(0))))
}

/// Rounds up to the millisecond, so that a wait is never shortened.
fn after(now: i64, wait: Duration) -> i64 {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    now.saturating_add(i64::try_from(millis).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::client::AttemptError;
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-21 05:00:00 UTC
    const NOW: i64 = 1_795_237_200_000;
    const WALL: WallTime = WallTime::from_millis(NOW);

    fn answered(status: u16) -> AttemptResult {
        AttemptResult { status: Some(status), ..AttemptResult::default() }
    }

    fn failed(kind: ErrorKind) -> AttemptResult {
        AttemptResult { error: Some(AttemptError::new(kind, &"it broke")), ..AttemptResult::default() }
    }

    fn asking(status: u16, retry_after: &str) -> AttemptResult {
        AttemptResult { retry_after: Some(retry_after.to_owned()), ..answered(status) }
    }

    fn terms(schedule: &RetrySchedule, attempt: u32, jitter: f64) -> Terms<'_> {
        Terms { attempt, age: Duration::ZERO, schedule, now: NOW, wall: WALL, jitter }
    }

    fn first(result: &AttemptResult) -> Verdict {
        judge(result, &terms(&RetrySchedule::default(), 1, 0.0))
    }

    const UNREACHABLE: [ErrorKind; 9] = [
        ErrorKind::Guard,
        ErrorKind::Dns,
        ErrorKind::Refused,
        ErrorKind::Connect,
        ErrorKind::Tls,
        ErrorKind::Timeout,
        ErrorKind::Reset,
        ErrorKind::Protocol,
        ErrorKind::Body,
    ];

    #[test]
    fn every_status_has_its_verdict() {
        for status in 100..=999 {
            let why = Why::Answered { status };
            let expected = match status {
                200..=299 => Verdict::Delivered,
                410 => Verdict::Paused { why },
                429 => Verdict::Deferred { why },
                _ => Verdict::RetryAt { at: NOW + 1000, why },
            };
            assert_eq!(first(&answered(status)), expected);
        }
    }

    #[test]
    fn an_acknowledgement_stands_though_its_body_fails() {
        let result = AttemptResult { status: Some(200), ..failed(ErrorKind::Timeout) };
        assert_eq!(first(&result), Verdict::Delivered);
        let result = AttemptResult { status: Some(500), ..failed(ErrorKind::Timeout) };
        assert_eq!(first(&result), Verdict::RetryAt { at: NOW + 1000, why: Why::Answered { status: 500 } });
    }

    #[test]
    fn failures_without_an_answer_are_retried() {
        for kind in UNREACHABLE {
            let why = Why::Unreachable { kind };
            assert_eq!(first(&failed(kind)), Verdict::RetryAt { at: NOW + 1000, why });
        }
    }

    #[test]
    fn the_last_attempt_leaves_a_dead_letter() {
        let schedule = RetrySchedule::default();
        let why = Why::Answered { status: 503 };
        assert_eq!(
            judge(&answered(503), &terms(&schedule, 10, 0.0)),
            Verdict::RetryAt { at: NOW + 12 * 3_600_000, why }
        );
        assert_eq!(judge(&answered(503), &terms(&schedule, 11, 0.0)), Verdict::Dead { why });
        let bad_gateway = Why::Answered { status: 502 };
        assert_eq!(judge(&asking(502, "5"), &terms(&schedule, 11, 0.0)), Verdict::Dead { why: bad_gateway });
        assert_eq!(judge(&answered(200), &terms(&schedule, 11, 0.0)), Verdict::Delivered);
        let gone = Why::Answered { status: 410 };
        assert_eq!(judge(&answered(410), &terms(&schedule, 11, 0.0)), Verdict::Paused { why: gone });
    }

    #[test]
    fn our_own_failures_spend_nothing_and_never_end() {
        for attempt in [1, 11, u32::MAX] {
            for result in [failed(ErrorKind::Internal), AttemptResult::default()] {
                let verdict = judge(&result, &terms(&RetrySchedule::default(), attempt, 0.0));
                assert_eq!(verdict, Verdict::RetryAt { at: NOW + 5000, why: Why::Bridge });
                assert!(!verdict.spends_attempt());
            }
        }
        assert!(first(&answered(500)).spends_attempt());
        assert!(first(&failed(ErrorKind::Dns)).spends_attempt());
        assert!(first(&answered(204)).spends_attempt());
        assert!(!first(&answered(410)).spends_attempt());
    }

    #[test]
    fn the_receiver_may_ask_for_more_time() {
        let wait = |result: &AttemptResult| match first(result) {
            Verdict::RetryAt { at, .. } => at - NOW,
            other => panic!("{other:?}"),
        };
        // The first two steps are 1 s and 5 s.
        for (value, expected) in [
            ("0", 1000),
            ("3", 3000),
            (" 3 ", 3000),
            ("6", 6000),
            ("7", 6000),
            ("99999999999999999999999", 6000),
            ("Sat, 21 Nov 2026 05:00:04 GMT", 4000),
            ("Saturday, 21-Nov-26 05:00:04 GMT", 4000),
            ("Sat Nov 21 05:00:04 2026", 4000),
            ("Sat, 21 Nov 2026 06:00:00 GMT", 6000),
            ("Sat, 21 Nov 2026 04:00:00 GMT", 1000),
            ("", 1000),
            ("-5", 1000),
            ("2.5", 1000),
            ("soon", 1000),
        ] {
            assert_eq!(wait(&asking(502, value)), expected, "{value:?}");
            assert_eq!(wait(&asking(302, value)), expected, "honoured on every failure: {value:?}");
        }
    }

    #[test]
    fn a_wish_about_the_pace_is_the_endpoint_s_and_climbs_no_schedule_for_a_day() {
        let schedule = RetrySchedule::default();
        let seconds = Duration::from_secs;
        let young = |attempt| terms(&schedule, attempt, 0.0);
        let old = Terms { age: PATIENCE, ..young(1) };
        for attempt in [1, 5, 11, 500] {
            for result in [answered(429), asking(429, "7"), asking(429, "soon"), asking(503, "7"), asking(503, "0")] {
                let verdict = judge(&result, &young(attempt));
                let why = Why::Answered { status: result.status.unwrap() };
                assert_eq!(verdict, Verdict::Deferred { why }, "{attempt} {result:?}");
                assert!(!verdict.spends_attempt());
                assert!(matches!(judge(&result, &old), Verdict::RetryAt { .. }));
                assert!(wish(&result, &old).is_some(), "the endpoint is left alone all the same");
            }
        }
        let named =
            |result: &AttemptResult, attempt| wish(result, &young(attempt)).map(|wish| (wish.named, wish.longest));
        assert_eq!(named(&asking(429, "3"), 1), Some((Some(seconds(3)), seconds(6))));
        assert_eq!(named(&asking(429, "60"), 1), Some((Some(seconds(6)), seconds(6))), "up to the next two steps");
        assert_eq!(named(&asking(503, "60"), 3), Some((Some(seconds(60)), seconds(80))));
        assert_eq!(named(&answered(429), 9), Some((None, seconds(6))), "what is not named is short");
        for result in
            [answered(503), asking(503, "soon"), asking(500, "7"), asking(302, "7"), failed(ErrorKind::Timeout)]
        {
            assert_eq!(wish(&result, &young(1)), None, "{result:?}");
        }
    }

    proptest! {
        #[test]
        fn retries_lie_within_their_bounds(
            status in prop_oneof![300_u16..=409, 411_u16..=428, 430_u16..=502, 504_u16..=599], attempt in 1_u32..=10, hint in prop::option::of(0_u64..200_000),
            jitters in prop::array::uniform2(0.0..=1.0_f64),
        ) {
            let schedule = RetrySchedule::default();
            let result = AttemptResult { retry_after: hint.map(|hint| hint.to_string()), ..answered(status) };
            let at = |jitter| match judge(&result, &terms(&schedule, attempt, jitter)) {
                Verdict::RetryAt { at, .. } => at,
                other => panic!("{other:?}"),
            };
            let plain = judge(&answered(status), &terms(&schedule, attempt, 0.0));
            let Verdict::RetryAt { at: earliest, .. } = plain else { panic!("{plain:?}") };
            prop_assert!(at(jitters[0]) >= earliest, "neither jitter nor a hint brings an attempt forward");
            let [less, more] = [jitters[0].min(jitters[1]), jitters[0].max(jitters[1])];
            prop_assert!(at(0.0) <= at(less) && at(less) <= at(more));
            let wait = at(0.0) - NOW;
            prop_assert!(at(more) - NOW <= wait + wait / 10 + 1);
        }

        #[test]
        fn nothing_panics(value in "\\PC{0,40}", now in any::<i64>(), attempt in any::<u32>(), jitter in any::<f64>(), status in any::<u16>()) {
            let _ = retry_after(&value, now);
            let schedule = RetrySchedule::default();
            let terms = Terms { now, ..terms(&schedule, attempt, jitter) };
            let _ = judge(&asking(status, &value), &terms);
            let _ = wish(&asking(status, &value), &terms);
            let _ = judge(&failed(ErrorKind::Internal), &terms);
        }
    }
}
