//! What the receiver got: everything that is called back, in order, and at worst the last one again.

use std::collections::HashMap;

use super::Verdict;
use crate::{feed::Feed, receiver::Arrival};

/// Judges one conversation's callbacks.
pub fn judge(conversation: &str, feed: &Feed, arrivals: &[Arrival], verdict: &mut Verdict) {
    let owed: Vec<_> = feed
        .events
        .iter()
        .filter(|event| !(event["type"] == "message.created" && event["data"]["origin"] == "frontend"))
        .collect();
    let places: HashMap<&str, usize> =
        owed.iter().enumerate().filter_map(|(place, event)| Some((event["id"].as_str()?, place))).collect();
    let last = feed.events.last().and_then(|event| event["sequence"].as_i64());
    let mut bodies: HashMap<&str, &[u8]> = HashMap::new();
    let mut taken = 0;
    for arrival in arrivals {
        let id = arrival.event["id"].as_str().unwrap_or_default();
        let Some(&place) = places.get(id) else {
            // Made by time alone, after the feed was read.
            if arrival.event["type"] == "handoff.waiting" && arrival.event["sequence"].as_i64() > last {
                continue;
            }
            verdict.wrong(format!("{conversation}: a callback that is not in the feed: {}", arrival.event));
            continue;
        };
        if place > taken {
            let sequence = &arrival.event["sequence"];
            verdict.wrong(format!("{conversation}: callback of sequence {sequence} overtook another"));
        } else if place + 1 < taken {
            verdict.wrong(format!("{conversation}: callback {id} again after a later one was taken"));
        }
        if bodies.insert(id, &arrival.body).is_some_and(|first| first != &*arrival.body) {
            verdict.wrong(format!("{conversation}: callback {id} again with another body"));
        }
        if arrival.event != *owed[place] {
            verdict.wrong(format!("{conversation}: callback {id} is not the feed's event"));
        }
        if place == taken && arrival.taken {
            taken += 1;
        } else if place < taken {
            verdict.count("callbacks repeated", 1);
        } else {
            verdict.count("callbacks refused", 1);
        }
    }
    if taken < owed.len() {
        verdict.wrong(format!("{conversation}: {} of {} callbacks were made", taken, owed.len()));
    }
    verdict.count("callbacks", u64::try_from(taken).unwrap_or(u64::MAX));
}
