//! The pace against receivers that are simulated in virtual time.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "what is simulated is small"
)]

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + millis)
}

/// The limit of a receiver.
#[derive(Clone, Copy, Debug)]
enum Policy {
    /// So many in each window of this length, which begin by the clock.
    Windows(u32, i64),
    /// So many in any window of this length.
    Sliding(u32, i64),
    /// So many a second, and so many at once.
    Bucket(f64, f64),
    /// Everything.
    Open,
}

/// A receiver with a limit.
struct Receiver {
    policy: Policy,
    tokens: f64,
    last: i64,
    taken: VecDeque<i64>,
}

impl Receiver {
    fn new(policy: Policy) -> Self {
        let tokens = if let Policy::Bucket(_, burst) = policy { burst } else { 0.0 };
        Self { policy, tokens, last: 0, taken: VecDeque::new() }
    }

    /// Takes one at `now`, or returns after how many seconds to come again.
    fn take(&mut self, now: i64) -> Result<(), u64> {
        let seconds = |millis: i64| u64::try_from((millis + 999) / 1000).unwrap().max(1);
        match self.policy {
            Policy::Open => Ok(()),
            Policy::Windows(limit, length) => {
                let window = now.div_euclid(length);
                self.taken.retain(|at| at.div_euclid(length) == window);
                if self.taken.len() < limit as usize {
                    self.taken.push_back(now);
                    return Ok(());
                }
                Err(seconds((window + 1) * length - now))
            }
            Policy::Sliding(limit, length) => {
                self.taken.retain(|at| now - at < length);
                if self.taken.len() < limit as usize {
                    self.taken.push_back(now);
                    return Ok(());
                }
                Err(seconds(self.taken[0] + length - now))
            }
            Policy::Bucket(rate, burst) => {
                self.tokens = (self.tokens + (now - self.last) as f64 * rate / 1000.0).min(burst);
                self.last = now;
                if self.tokens >= 1.0 {
                    self.tokens -= 1.0;
                    return Ok(());
                }
                Err(seconds(((1.0 - self.tokens) / rate * 1000.0) as i64))
            }
        }
    }

    /// Returns the least time in which it can take so many, in seconds.
    fn ideal(&self, count: usize) -> f64 {
        match self.policy {
            Policy::Open => 0.0,
            Policy::Windows(limit, length) | Policy::Sliding(limit, length) => {
                (count.div_ceil(limit as usize) - 1) as f64 * length as f64 / 1000.0
            }
            Policy::Bucket(rate, burst) => (count as f64 - burst).max(0.0) / rate,
        }
    }
}

/// The result of a simulated drain.
#[derive(Debug)]
struct Drained {
    seconds: f64,
    refused: usize,
    taken: usize,
    most_at_once: usize,
}

impl Drained {
    fn share_refused(&self) -> f64 {
        self.refused as f64 / (self.refused + self.taken) as f64
    }
}

const SLOTS: usize = 64;

/// Works off `lanes` lanes of `each` callbacks, one at a time in each; an answer takes `trip` ms, and attempts start up to
/// `late` ms late.
fn drain(
    receiver: &mut Receiver,
    pace: &mut Pace,
    lanes: usize,
    each: usize,
    trip: i64,
    late: i64,
    from: i64,
) -> Drained {
    let mut owed = vec![each; lanes];
    let mut waiting: VecDeque<usize> = (0..lanes).collect();
    let mut under_way: Vec<(i64, usize, Pass)> = Vec::new();
    let mut drained = Drained { seconds: 0.0, refused: 0, taken: 0, most_at_once: 0 };
    let mut now = from;
    let mut next_step = now;
    while drained.taken < lanes * each {
        assert!(now < from + 4_000_000, "never ends: {drained:?} {pace:?}");
        let (ended, rest): (Vec<_>, Vec<_>) = under_way.drain(..).partition(|(end, ..)| *end <= now);
        under_way = rest;
        for (_, lane, pass) in ended {
            match receiver.take(now) {
                Ok(()) => {
                    drained.taken += 1;
                    owed[lane] -= 1;
                    pace.taken(pass, at(now), SLOTS);
                    if owed[lane] > 0 && pace.is_free() {
                        under_way.push((now + trip.max(1), lane, pass));
                        continue;
                    }
                    if owed[lane] > 0 {
                        waiting.push_back(lane);
                    }
                }
                Err(seconds) => {
                    drained.refused += 1;
                    let second = Duration::from_secs(1);
                    pace.refused(pass, at(now), Some(Duration::from_secs(seconds)), second, second * 6);
                    waiting.push_front(lane);
                }
            }
            pace.end(pass, at(now));
            next_step = next_step.min(now + late);
        }
        if now >= next_step {
            let free = SLOTS - under_way.len();
            let (allowed, again) = match pace.allowed(at(now), free) {
                Allowed::Now(allowed) => (allowed, now + 1),
                Allowed::At(then) => (0, now + i64::try_from(then.since(at(now)).as_millis()).unwrap()),
                // Until one has ended.
                Allowed::Blocked => (0, i64::MAX / 2),
            };
            for _ in 0..allowed.min(waiting.len()) {
                let lane = waiting.pop_front().unwrap();
                under_way.push((now + trip.max(1), lane, pace.begin(at(now))));
            }
            if allowed > 0 {
                pace.has_backlog(!waiting.is_empty());
            }
            // After all that was there was taken, the next end wakes the loop.
            next_step = if allowed > 0 && waiting.is_empty() { i64::MAX / 2 } else { again + late };
        }
        drained.most_at_once = drained.most_at_once.max(under_way.len());
        let next_end = under_way.iter().map(|(end, ..)| *end).min().unwrap_or(i64::MAX);
        now = next_end.min(next_step).max(now + 1);
    }
    drained.seconds = (now - from) as f64 / 1000.0;
    drained
}

/// At most twice the ideal time, or five seconds, and less than a tenth refused. Where answers take longer than the least share
/// of the limit, or a window is longer than a refusal may hold an endpoint back, more is refused before it can be known.
#[test]
fn a_limit_is_found_and_kept_to() {
    println!("{:<28} {:>6} {:>5} {:>8} {:>8} {:>8}", "receiver", "events", "trip", "ideal s", "took s", "refused");
    let mut failed = Vec::new();
    for rate in [1_u32, 2, 10, 50] {
        let per_second = f64::from(rate);
        let policies = [
            (Policy::Windows(rate, 1_000), false),
            (Policy::Sliding(rate, 1_000), false),
            (Policy::Windows(rate * 10, 10_000), false),
            (Policy::Sliding(rate * 10, 10_000), false),
            (Policy::Windows(rate * 60, 60_000), true),
            (Policy::Bucket(per_second, 1.0), false),
            (Policy::Bucket(per_second, per_second), false),
            (Policy::Bucket(per_second, per_second * 5.0), false),
        ];
        for ((policy, is_long), trip) in policies.into_iter().flat_map(|policy| [1, 40, 200].map(|trip| (policy, trip)))
        {
            for count in [80.max(rate as usize * 40), rate as usize * 150] {
                let mut receiver = Receiver::new(policy);
                let drained = drain(&mut receiver, &mut Pace::default(), count / 2, 2, trip, 2, 137);
                let ideal = receiver.ideal(count).max(count as f64 * trip as f64 / SLOTS as f64 / 1000.0);
                let share = drained.share_refused();
                let line = format!(
                    "{:<28} {count:>6} {trip:>5} {ideal:>8.1} {:>8.1} {:>7.1}%",
                    format!("{policy:?}"),
                    drained.seconds,
                    share * 100.0
                );
                println!("{line}");
                let most = if is_long {
                    0.21
                } else if trip > 100 {
                    0.12
                } else {
                    0.1
                };
                if drained.seconds > 2.0 * ideal.max(2.5) || share >= most {
                    failed.push(line);
                }
            }
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

#[test]
fn a_receiver_without_a_limit_is_soon_called_on_all_slots() {
    for (trip, within) in [(1, 1.0), (40, 4.0), (200, 12.0)] {
        let drained = drain(&mut Receiver::new(Policy::Open), &mut Pace::default(), 1_000, 2, trip, 2, 0);
        assert!(drained.refused == 0 && drained.most_at_once > SLOTS / 2, "{trip} ms: {drained:?}");
        assert!(drained.seconds < within, "{trip} ms: {drained:?}");
    }
}

#[test]
fn a_receiver_that_holds_its_answers_back_is_called_in_parallel() {
    let mut pace = Pace::default();
    let mut under_way = 0;
    let times: Vec<_> = (0..3_000)
        .filter_map(|millis| {
            let Allowed::Now(allowed) = pace.allowed(at(millis), SLOTS - under_way) else { return None };
            for _ in 0..allowed {
                pace.begin(at(millis));
                under_way += 1;
            }
            (allowed > 0).then_some((millis, under_way))
        })
        .collect();
    assert!(times.iter().any(|(at, count)| *at <= 1_000 && *count >= 10), "{times:?}");
    assert!(times.iter().any(|(at, count)| *at <= 2_000 && *count == SLOTS), "{times:?}");
}

#[test]
fn a_limit_that_is_lifted_is_soon_forgotten() {
    let mut pace = Pace::default();
    drain(&mut Receiver::new(Policy::Windows(10, 1_000)), &mut pace, 200, 2, 5, 2, 0);
    assert!(pace.rate().is_some_and(|rate| (5.0..=12.0).contains(&rate)), "{pace:?}");
    let after = drain(&mut Receiver::new(Policy::Open), &mut pace, 2_000, 2, 5, 2, 200_000);
    assert!(after.refused == 0 && after.seconds < 90.0, "{after:?}");
    assert!(pace.rate().is_none_or(|rate| rate > 300.0), "{pace:?}");
}

#[test]
fn one_refusal_among_few_attempts_slows_nothing_down_for_long() {
    let mut pace = Pace::default();
    let second = Duration::from_secs(1);
    for n in 0..60 {
        let start = at(n * 60_000);
        assert!(matches!(pace.allowed(start, SLOTS), Allowed::Now(1..)));
        let pass = pace.begin(start);
        pace.has_backlog(false);
        let end = start.plus(Duration::from_millis(20));
        if n == 40 {
            assert_eq!(pace.refused(pass, end, None, second, second * 6), Some(end.plus(second)));
            pace.end(pass, end);
            let again = end.plus(second);
            assert_eq!(pace.allowed(end, SLOTS), Allowed::At(again));
            let pass = pace.begin(again);
            pace.taken(pass, again, SLOTS);
            pace.end(pass, again);
            assert!(pace.rate().is_some_and(|rate| rate > 5.0), "{pace:?}");
            continue;
        }
        pace.taken(pass, end, SLOTS);
        pace.end(pass, end);
    }
}

#[test]
fn a_receiver_that_takes_nothing_is_tried_one_at_a_time() {
    let mut pace = Pace::default();
    let (second, mut now, mut waits) = (Duration::from_secs(1), at(0), Vec::new());
    for _ in 0..6 {
        let Allowed::Now(allowed) = pace.allowed(now, SLOTS) else { panic!("{pace:?}") };
        assert_eq!(allowed, 1);
        let pass = pace.begin(now);
        assert!(!matches!(pace.allowed(now, SLOTS), Allowed::Now(1..)), "a second would be refused too");
        let until = pace.refused(pass, now, None, second, second * 6).expect("news");
        pace.end(pass, now);
        assert_eq!(pace.allowed(now, SLOTS), Allowed::At(until));
        waits.push(until.since(now).as_secs());
        now = until;
    }
    assert_eq!(waits, [1, 2, 4, 6, 6, 6], "longer each time, where nothing is said");
    let pass = pace.begin(now);
    let named = pace.refused(pass, now, Some(second * 3), second, second * 6).expect("news");
    assert_eq!(named.since(now), second * 3, "what the receiver names counts");
    pace.end(pass, now);
    let pass = pace.begin(named);
    let capped = pace.refused(pass, named, Some(second * 600), second, second * 6).expect("news");
    assert_eq!(capped.since(named), second * 6);
}

#[test]
fn refusals_that_have_nothing_to_do_with_the_pace_do_not_stop_it() {
    let mut pace = Pace::default();
    let (step, mut now, mut taken) = (Duration::from_millis(30), 0, 0);
    let mut dice = 1_u32;
    while taken < 200 {
        assert!(now < 20_000, "{taken} taken: {pace:?}");
        if let Allowed::Now(allowed) = pace.allowed(at(now), 10) {
            for _ in 0..allowed {
                let pass = pace.begin(at(now));
                dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if (dice >> 16).is_multiple_of(7) {
                    pace.refused(pass, at(now), Some(Duration::ZERO), step, step * 2);
                } else {
                    pace.taken(pass, at(now), 10);
                    taken += 1;
                }
                pace.end(pass, at(now));
            }
            pace.has_backlog(true);
        }
        now += 3;
    }
}

#[test]
fn what_was_under_way_says_nothing_new() {
    let mut pace = Pace::default();
    let second = Duration::from_secs(1);
    let passes: Vec<_> = (0..8).map(|_| pace.begin(at(0))).collect();
    assert!(pace.refused(passes[0], at(1), Some(second), second, second * 6).is_some());
    let rate = pace.rate();
    for pass in &passes[1..] {
        assert_eq!(pace.refused(*pass, at(2), Some(second), second, second * 6), None);
        pace.end(*pass, at(2));
    }
    assert_eq!((pace.rate(), pace.held_until(at(2))), (rate, Some(at(1_001))));
}

proptest! {
    #[test]
    fn nothing_begins_while_it_is_held_and_it_never_stands_still(
        acts in prop::collection::vec((0_u8..5, 0_i64..3_000), 1..300), hold in prop::option::of(0_u64..20_000),
    ) {
        let mut pace = Pace::default();
        let (mut now, mut under_way) = (0, Vec::new());
        let (step, longest) = (Duration::from_secs(1), Duration::from_secs(6));
        for (act, wait) in acts {
            now += wait;
            match act {
                0 | 1 => match pace.allowed(at(now), SLOTS - under_way.len()) {
                    Allowed::Now(allowed) => {
                        prop_assert!(pace.held_until(at(now)).is_none());
                        prop_assert!(allowed <= SLOTS - under_way.len());
                        prop_assert!(allowed > 0);
                        under_way.extend((0..allowed).map(|_| pace.begin(at(now))));
                    }
                    Allowed::At(then) => {
                        prop_assert!(then > at(now));
                        prop_assert!(then.since(at(now)) <= longest * 2 + Duration::from_secs(2), "{then:?} {pace:?}");
                    }
                    Allowed::Blocked => prop_assert!(!under_way.is_empty()),
                },
                2 if !under_way.is_empty() => {
                    let pass = under_way.swap_remove(wait as usize % under_way.len());
                    pace.taken(pass, at(now), SLOTS);
                    pace.end(pass, at(now));
                }
                3 if !under_way.is_empty() => {
                    let pass = under_way.swap_remove(wait as usize % under_way.len());
                    let until = pace.refused(pass, at(now), hold.map(Duration::from_millis), step, longest);
                    prop_assert!(until.is_none_or(|until| until > at(now) && until.since(at(now)) <= longest));
                    pace.end(pass, at(now));
                }
                4 if !under_way.is_empty() => {
                    let pass = under_way.pop().unwrap();
                    pace.end(pass, at(now));
                }
                _ => pace.has_backlog(wait % 2 == 0),
            }
        }
    }
}
