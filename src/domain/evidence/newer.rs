//! Decides which of two snapshots of a Fini conversation is newer. Fini's List may lag behind its Get and behind the
//! answer to a send, and a page may take long: status, resolution, ratings and contents of an older snapshot are not
//! news.
//!
//! Two signs mark the older one: it lacks an event that was seen a short while ago, or it may date from before the last
//! change on record. An event that has been missing for longer than any lag was cut off or deleted; its absence says
//! nothing of the rest.

use std::{collections::HashSet, time::Duration};

use crate::domain::{Timestamp, ids::FiniEventId};

/// The most by which Fini's List lags behind its Get.
pub const LIST_LAG: Duration = Duration::from_secs(10);
/// For this long every snapshot that is up to date must show an event that was seen.
pub const EXPECTED_FOR: Duration = Duration::from_secs(60);

/// The request by which a snapshot was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// By Get.
    Singly,
    /// As a row of List.
    Listed,
}

/// Returns the earliest time whose state a snapshot that was requested at `asked_at` can show.
pub fn as_of(read: Read, asked_at: Timestamp) -> Timestamp {
    match read {
        Read::Singly => asked_at,
        Read::Listed => asked_at.minus(LIST_LAG),
    }
}

/// Returns the time since which every event that was seen must be in a snapshot read at `now`.
pub fn expected_since(now: Timestamp) -> Timestamp {
    now.minus(EXPECTED_FOR)
}

/// Returns true if a snapshot that shows `shown` lacks one of the events seen lately: it is an older picture.
pub fn is_behind<'a>(
    seen_lately: impl IntoIterator<Item = &'a FiniEventId>,
    shown: impl IntoIterator<Item = &'a FiniEventId>,
) -> bool {
    let shown: HashSet<&FiniEventId> = shown.into_iter().collect();
    seen_lately.into_iter().any(|event| !shown.contains(event))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::domain::{
        conversation::{Judgement, Standing, StatusPolicy},
        event::FeedEvent,
    };

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    #[test]
    fn only_what_was_seen_lately_is_missed() {
        let [one, two] = ["one", "two"].map(FiniEventId::trusted);
        assert!(is_behind([&one, &two], [&one]));
        assert!(!is_behind([&one], [&one, &two]));
        assert!(!is_behind([], []));
        assert_eq!(expected_since(at(60_000)), at(0));
    }

    /// Times at which Fini's status changed, each time into another one.
    fn changes() -> impl Strategy<Value = Vec<i64>> {
        vec(1_000_i64..30_000, 1..6).prop_map(|steps| {
            let later = |now: &mut i64, after: i64| {
                *now += after;
                Some(*now)
            };
            steps.into_iter().scan(0, later).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        /// Checks that the reported status never goes back to an earlier one, whatever is read in whatever way and lag.
        #[test]
        fn a_status_never_flips_back(
            truth in changes(),
            reads in vec((0_i64..120_000, any::<bool>(), 0_i64..=10_000, 0_i64..8_000), 1..60),
        ) {
            let reads = reads.into_iter().map(|(asked, listed, lag, took)| (asked + took, asked, listed, lag));
            let mut reads: Vec<_> = reads.collect();
            // Reads are recorded in the order in which they are answered.
            reads.sort_unstable();
            // Each status is one that means something.
            let words: Vec<String> = (0..=truth.len()).map(|number| number.to_string()).collect();
            let (mut standing, policy) = (Standing::new(), StatusPolicy::new(&[], &[], &words));
            let mut latest = 0;
            for (now, asked, listed, lag) in reads {
                let (read, true_at) = if listed { (Read::Listed, asked - lag) } else { (Read::Singly, asked) };
                let number = truth.iter().filter(|since| **since <= true_at).count();
                let status = number.to_string();
                let seen = Judgement {
                    status: Some(&status),
                    resolved: None,
                    as_of: as_of(read, at(asked)),
                    now: at(now),
                };
                let mut told: Vec<FeedEvent> = Vec::new();
                standing.judge(&seen, &policy, &mut told);
                let shown = standing.status_text.as_ref().and_then(|text| text.parse().ok()).unwrap_or(0);
                prop_assert!(shown >= latest, "back to {shown} after {latest}");
                latest = shown;
            }
        }
    }
}
