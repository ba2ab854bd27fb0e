//! Retry times: a list of waits, stretched by chance and, within limits, by what the other side asks for.
//!
//! Pure arithmetic without a clock; chance comes in as a number. Two rules always hold: a wait is never shorter than its
//! step, and nobody can put an attempt off for longer than the next two steps together (and the jitter on top).

use std::time::Duration;

/// Longest single step: thirty days. A longer one means a mistaken unit.
const MAX_STEP: Duration = Duration::from_hours(30 * 24);
/// Most steps of one schedule.
const MAX_STEPS: usize = 100;
/// The step of a schedule that has none.
const ALONE: Duration = Duration::from_secs(1);
/// Largest share of a wait that chance adds, so that what failed together does not come back together.
const MAX_JITTER: f64 = 0.1;

/// The waits between the attempts of one delivery: the first stands between the first and the second attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySchedule {
    steps: Vec<Duration>,
}

/// The reason why a list of waits is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// A wait is zero, which would make a failing receiver fail faster.
    #[error("step {0} is zero; every step must last at least 1 ms")]
    Zero(usize),
    /// A wait is longer than thirty days.
    #[error("step {0} is longer than 30 days")]
    TooLong(usize),
    /// There are more than a hundred waits.
    #[error("has {0} steps; at most 100 are possible")]
    TooMany(usize),
}

impl RetrySchedule {
    /// Takes the waits in order. An empty list is possible and means one attempt. Errors count steps from 1.
    pub fn new(steps: Vec<Duration>) -> Result<Self, ScheduleError> {
        if steps.len() > MAX_STEPS {
            return Err(ScheduleError::TooMany(steps.len()));
        }
        for (n, step) in (1..).zip(&steps) {
            if step.as_millis() == 0 {
                return Err(ScheduleError::Zero(n));
            }
            if *step > MAX_STEP {
                return Err(ScheduleError::TooLong(n));
            }
        }
        Ok(Self { steps })
    }

    /// Returns the number of attempts in all.
    pub fn attempts(&self) -> usize {
        self.steps.len() + 1
    }

    /// Returns the least time before a delivery is given up, attempts themselves not counted.
    pub fn span(&self) -> Duration {
        self.steps.iter().sum()
    }

    /// Returns the step after attempt number `attempt` (counted from 1), and the longest wait that the other side can ask
    /// for: this step and the next together (after the last: twice the step). Beyond the last step, the last one counts.
    pub fn reach(&self, attempt: u32) -> (Duration, Duration) {
        let last = self.steps.len().saturating_sub(1);
        let at = usize::try_from(attempt.max(1) - 1).unwrap_or(last).min(last);
        let step = self.steps.get(at).copied().unwrap_or(ALONE);
        (step, step + self.steps.get(at + 1).copied().unwrap_or(step))
    }

    /// Returns the wait after attempt number `attempt` (counted from 1), or `None` if that was the last.
    ///
    /// `hint` is the wait that the other side asked for; it lengthens the step up to the sum of this step and the next
    /// (after the last step: twice the step). `jitter` from 0 to 1 then adds up to a tenth; other numbers are clamped.
    pub fn wait(&self, attempt: u32, hint: Option<Duration>, jitter: f64) -> Option<Duration> {
        if usize::try_from(attempt.max(1)).ok()? >= self.attempts() {
            return None;
        }
        let (step, most) = self.reach(attempt);
        let wait = hint.map_or(step, |hint| hint.min(most).max(step));
        Some(jittered(wait, jitter))
    }
}

impl Default for RetrySchedule {
    /// Starts fast because a person may be waiting, and stretches over almost a day because a receiver may be down for
    /// a night.
    fn default() -> Self {
        Self { steps: [1, 5, 20, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600].map(Duration::from_secs).to_vec() }
    }
}

/// Returns `wait` and up to a tenth more, by `jitter` from 0 to 1.
pub fn jittered(wait: Duration, jitter: f64) -> Duration {
    // NaN compares false with everything, so it becomes 0 here.
    let share = if jitter > 0.0 { jitter.min(1.0) } else { 0.0 };
    wait.saturating_add(wait.min(MAX_STEP * 2).mul_f64(share * MAX_JITTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(list: &[u64]) -> RetrySchedule {
        RetrySchedule::new(list.iter().map(|n| Duration::from_secs(*n)).collect()).unwrap()
    }

    #[test]
    fn attempts_wait_for_their_steps_and_then_end() {
        let schedule = seconds(&[1, 5, 20]);
        let waits: Vec<_> = (1..=5).map(|n| schedule.wait(n, None, 0.0).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits, [Some(1), Some(5), Some(20), None, None]);
        assert_eq!((schedule.attempts(), schedule.span()), (4, Duration::from_secs(26)));
        assert_eq!(schedule.wait(0, None, 0.0), schedule.wait(1, None, 0.0));
        assert_eq!(schedule.wait(u32::MAX, None, 0.0), None);
        assert_eq!(seconds(&[]).wait(1, None, 0.5), None);
    }

    #[test]
    fn the_default_covers_a_night() {
        let schedule = RetrySchedule::default();
        assert_eq!(schedule.attempts(), 11);
        assert!(schedule.span() > Duration::from_hours(22));
        assert_eq!(RetrySchedule::new(schedule.steps.clone()), Ok(schedule));
    }

    #[test]
    fn hints_lengthen_up_to_the_next_two_steps() {
        let schedule = seconds(&[1, 5, 20]);
        let wait = |attempt, hint| schedule.wait(attempt, Some(Duration::from_secs(hint)), 0.0).unwrap().as_secs();
        assert_eq!([wait(1, 0), wait(1, 1), wait(1, 4), wait(1, 6), wait(1, 7), wait(1, u64::MAX)], [1, 1, 4, 6, 6, 6]);
        assert_eq!([wait(2, 3), wait(2, 24), wait(2, 100)], [5, 24, 25]);
        assert_eq!([wait(3, 30), wait(3, 100)], [30, 40]);
    }

    #[test]
    fn jitter_adds_a_tenth_at_most() {
        let schedule = seconds(&[100]);
        let wait = |jitter| schedule.wait(1, None, jitter).unwrap().as_secs();
        assert_eq!([wait(0.0), wait(0.5), wait(1.0)], [100, 105, 110]);
        assert_eq!([wait(-3.0), wait(7.0), wait(f64::NAN), wait(f64::INFINITY)], [100, 110, 100, 110]);
        assert_eq!(jittered(Duration::MAX, 1.0), Duration::MAX);
    }

    #[test]
    fn impossible_lists_are_refused() {
        let list = |steps: &[Duration]| RetrySchedule::new(steps.to_vec()).unwrap_err();
        let second = Duration::from_secs(1);
        assert_eq!(list(&[second, Duration::ZERO]), ScheduleError::Zero(2));
        assert_eq!(list(&[MAX_STEP + second]), ScheduleError::TooLong(1));
        assert_eq!(list(&[second; 101]), ScheduleError::TooMany(101));
    }

    proptest! {
        #[test]
        fn waits_keep_their_bounds_and_order(
            mut steps in prop::collection::vec(1_u64..3_000_000, 1..20), attempt in 1_u32..25,
            hints in any::<[Option<u64>; 2]>(), jitters in prop::array::uniform2(0.0..=1.0_f64), ascending in any::<bool>(),
        ) {
            if ascending {
                steps.sort_unstable();
            }
            let schedule = RetrySchedule::new(steps.iter().map(|n| Duration::from_millis(*n)).collect()).unwrap();
            let hint = |n: usize| hints[n].map(Duration::from_millis);
            let Some(wait) = schedule.wait(attempt, hint(0), jitters[0]) else {
                prop_assert!(attempt as usize > steps.len());
                return Ok(());
            };
            let at = attempt as usize - 1;
            let step = Duration::from_millis(steps[at]);
            let most = step + steps.get(at + 1).map_or(step, |next| Duration::from_millis(*next));
            // Never shorter than the step, and never beyond the limit and its tenth.
            prop_assert!(wait >= step);
            prop_assert!(wait <= most + most / 10 + Duration::from_nanos(1));
            // More jitter or a longer hint never shortens.
            let more = schedule.wait(attempt, hint(0), jitters[0].max(jitters[1])).unwrap();
            prop_assert!(wait <= more);
            if hint(0) <= hint(1) {
                prop_assert!(wait <= schedule.wait(attempt, hint(1), jitters[0]).unwrap());
            }
            // In an ascending schedule no later wait is shorter.
            if let (true, Some(later)) = (ascending, schedule.wait(attempt + 1, hint(0), jitters[0])) {
                prop_assert!(later >= wait);
            }
        }
    }
}
