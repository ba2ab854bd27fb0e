//! Decides whose message is sent next, among the people of one frontend. Pure.
//!
//! A round over people: each is served once before anybody is served twice, however much one of them wrote. It needs only
//! the time at which each was last served. A person has waited since the oldest message, or since the last service if that
//! was later; the longest wait comes first. So people who wrote one message each are served in the order in which they
//! wrote, somebody who writes in a loop has one place among them, and nobody can be overtaken for ever: what comes later
//! waits for less long.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
    hash::{BuildHasher, Hash},
};

use super::Timestamp;

/// A place in the round: the index of what waits there, and the time since which its person has waited.
pub type Placed = (usize, Timestamp);

/// Returns the order in which `waiting` (person, due time) is served; `served` holds the time of each last service.
pub fn order<P: Eq + Hash + Ord, S: BuildHasher>(
    waiting: &[(P, Timestamp)],
    served: &HashMap<P, Timestamp, S>,
    now: Timestamp,
) -> Vec<Placed> {
    let mut people: BTreeMap<&P, VecDeque<usize>> = BTreeMap::new();
    let mut by_age: Vec<usize> = (0..waiting.len()).collect();
    by_age.sort_by_key(|number| waiting[*number].1);
    for number in by_age {
        people.entry(&waiting[number].0).or_default().push_back(number);
    }
    let mut heads = BinaryHeap::new();
    for (person, queue) in &people {
        let due_at = queue.front().map_or(now, |number| waiting[*number].1);
        let since = served.get(*person).map_or(due_at, |served_at| due_at.max(*served_at));
        heads.push(Reverse((since, 0_usize, due_at, *person)));
    }
    let mut placed = Vec::with_capacity(waiting.len());
    while let Some(Reverse((since, round, _, person))) = heads.pop() {
        let Some(queue) = people.get_mut(person) else { continue };
        let Some(number) = queue.pop_front() else { continue };
        placed.push((number, since));
        if let Some(next) = queue.front() {
            // Served just now.
            heads.push(Reverse((now.max(since), round + 1, waiting[*next].1, person)));
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn people(waiting: &[(u32, i64)], served: &[(u32, i64)], now: i64) -> Vec<u32> {
        let waiting: Vec<_> = waiting.iter().map(|(person, due)| (*person, at(*due))).collect();
        let served: HashMap<u32, Timestamp> = served.iter().map(|(person, when)| (*person, at(*when))).collect();
        order(&waiting, &served, at(now)).into_iter().map(|(number, _)| waiting[number].0).collect()
    }

    #[test]
    fn people_are_served_in_the_order_in_which_they_wrote() {
        assert_eq!(people(&[(3, 1), (1, 2), (2, 3)], &[], 10), [3, 1, 2]);
    }

    #[test]
    fn nobody_is_served_twice_before_everybody_was_served_once() {
        assert_eq!(people(&[(9, 1), (9, 2), (9, 3), (1, 4), (2, 5), (2, 6)], &[], 10), [9, 1, 2, 9, 2, 9]);
        // Served at 5: those who have waited since before that come first.
        assert_eq!(people(&[(9, 1), (1, 4), (2, 6)], &[(9, 5)], 10), [1, 9, 2]);
    }

    #[test]
    fn who_was_served_long_ago_is_not_overtaken_by_newcomers() {
        assert_eq!(people(&[(1, 50), (2, 60)], &[(1, 10)], 100), [1, 2]);
    }

    proptest! {
        #[test]
        fn everything_has_one_place(waiting in prop::collection::vec((0_u32..5, 0_i64..100), 0..60), served in prop::collection::vec((0_u32..5, 0_i64..100), 0..5)) {
            let rows: Vec<_> = waiting.iter().map(|(person, due)| (*person, at(*due))).collect();
            let served: HashMap<_, _> = served.into_iter().map(|(person, when)| (person, at(when))).collect();
            let placed = order(&rows, &served, at(100));
            let mut numbers: Vec<usize> = placed.iter().map(|(number, _)| *number).collect();
            // Each person's own stay in their order, and nobody is served again while somebody waits who was served less often.
            let mut counts = [0_usize; 5];
            for (place, (number, _)) in placed.iter().enumerate() {
                let person = rows[*number].0;
                counts[person as usize] += 1;
                for later in placed[place + 1..].iter().map(|(number, _)| &rows[*number]) {
                    prop_assert!(counts[later.0 as usize] + 1 >= counts[person as usize]);
                    prop_assert!(later.0 != person || later.1 >= rows[*number].1);
                }
            }
            prop_assert!(placed.windows(2).all(|pair| pair[0].1 <= pair[1].1));
            numbers.sort_unstable();
            prop_assert_eq!(numbers, (0..rows.len()).collect::<Vec<_>>());
        }
    }

    /// Returns the waits of honest messages, in ms: a frontend's messages against a budget of `sends` in any window, in
    /// virtual time. `messages` are (person, time of writing); each person is one of `honest` or somebody else.
    fn waits(mut messages: Vec<(u32, i64)>, honest: u32, sends: usize, window: i64) -> Vec<i64> {
        messages.sort_by_key(|(_, written)| *written);
        let mut messages = VecDeque::from(messages);
        let (mut waiting, mut served): (Vec<(u32, Timestamp)>, HashMap<u32, Timestamp>) = (Vec::new(), HashMap::new());
        let (mut sent, mut waits, mut now): (VecDeque<i64>, Vec<i64>, i64) = (VecDeque::new(), Vec::new(), 0);
        while !(messages.is_empty() && waiting.iter().all(|(person, _)| *person >= honest)) {
            while let Some((person, written)) = messages.pop_front_if(|(_, written)| *written <= now) {
                waiting.push((person, at(written)));
            }
            while sent.front().is_some_and(|sent_at| sent_at + window <= now) {
                sent.pop_front();
            }
            if sent.len() < sends && !waiting.is_empty() {
                let (number, _) = order(&waiting, &served, at(now))[0];
                let (person, written) = waiting.remove(number);
                sent.push_back(now);
                served.insert(person, at(now));
                if person < honest {
                    waits.push(now - written.as_millis());
                }
                continue;
            }
            let room =
                sent.front().filter(|_| sent.len() >= sends && !waiting.is_empty()).map(|sent_at| sent_at + window);
            let next = messages.front().map(|(_, written)| *written);
            now = [room, next].into_iter().flatten().min().unwrap_or(i64::MAX);
        }
        waits.sort_unstable();
        waits
    }

    fn p99(waits: &[i64]) -> i64 {
        waits[(waits.len() * 99).div_ceil(100) - 1]
    }

    /// Tests 100 people who write three messages each in a rush, beside somebody who writes ten a second from before it
    /// began, with the send budget that Fini's limit leaves.
    #[test]
    fn one_who_writes_in_a_loop_delays_the_others_by_no_more_than_a_share() {
        const HONEST: u32 = 100;
        let rush: Vec<(u32, i64)> =
            (0..HONEST).flat_map(|person| (0..3).map(move |n| (person, i64::from(person) * 100 + n * 4_000))).collect();
        let (sends, window) = (90, 60_400);
        let alone = waits(rush.clone(), HONEST, sends, window);
        let flood = (0..3_000).map(|n| (HONEST, n * 100));
        let beside = waits(rush.into_iter().chain(flood).collect(), HONEST, sends, window);
        assert_eq!(alone.len(), beside.len());
        let ratio = Duration::from_millis(p99(&beside).unsigned_abs()).as_secs_f64()
            / Duration::from_millis(p99(&alone).unsigned_abs()).as_secs_f64();
        assert!(ratio <= 1.2, "p99 {} ms alone, {} ms beside the flood: {ratio:.2}", p99(&alone), p99(&beside));
    }
}
