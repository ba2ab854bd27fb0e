//! A limit on admissions in any window of time: the one rule behind the limits that are counted in memory.

use std::{collections::VecDeque, time::Duration};

use super::Timestamp;

/// The length of the windows that limits are stated for.
pub const MINUTE: Duration = Duration::from_secs(60);

/// The times that were admitted within the window, oldest first; never more of them than the limit admits.
#[derive(Clone, Debug, Default)]
pub struct Window(VecDeque<Timestamp>);

impl Window {
    /// Admits one more, or returns the time after which there is room. A limit of 0 is none.
    pub fn admit(&mut self, now: Timestamp, most: usize, length: Duration) -> Result<(), Duration> {
        self.forget(now, length);
        if most == 0 {
            return Ok(());
        }
        if self.0.len() < most {
            self.0.push_back(now);
            return Ok(());
        }
        // A larger limit may have admitted more than this one allows.
        let leaving = self.0[self.0.len() - most];
        Err(leaving.plus(length).since(now).max(Duration::from_millis(1)))
    }

    /// Returns true if nothing was admitted within the window.
    pub fn is_quiet(&mut self, now: Timestamp, length: Duration) -> bool {
        self.forget(now, length);
        self.0.is_empty()
    }

    fn forget(&mut self, now: Timestamp, length: Duration) {
        while self.0.front().is_some_and(|at| at.plus(length) <= now) {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn the_time_to_come_back_is_honest() {
        let mut window = Window::default();
        for second in [0, 10, 20] {
            window.admit(at(second), 3, MINUTE).expect("there is room");
        }
        assert_eq!(window.admit(at(30), 3, MINUTE), Err(Duration::from_secs(30)));
        assert!(window.admit(at(59), 3, MINUTE).is_err());
        assert!(window.admit(at(60), 3, MINUTE).is_ok());
        assert!(window.admit(at(60), 0, MINUTE).is_ok(), "0 is no limit");
        assert!(!window.is_quiet(at(119), MINUTE) && window.is_quiet(at(120), MINUTE));
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_limit(steps in prop::collection::vec(0_i64..20, 1..200), most in 1_usize..8) {
            let (mut window, mut now, mut admitted) = (Window::default(), 0, Vec::new());
            for step in steps {
                now += step;
                match window.admit(at(now), most, MINUTE) {
                    Ok(()) => admitted.push(now),
                    Err(wait) => prop_assert!(window.clone().admit(at(now).plus(wait), most, MINUTE).is_ok()),
                }
            }
            for last in &admitted {
                let within = admitted.iter().filter(|at| (last - 59..=*last).contains(*at)).count();
                prop_assert!(within <= most, "{within} within the minute before {last}");
            }
        }
    }
}
