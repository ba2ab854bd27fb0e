//! A customer's own browser: from a desk's claim until the conversation is given back it is shown no word of the bot, and of what
//! is not for customers nothing but its number.

use serde_json::Value;

use super::{Evidence, Verdict};

pub fn judge(evidence: &Evidence, verdict: &mut Verdict) {
    for (talk, seen) in &evidence.browsed {
        if evidence.had_erasure(*talk) {
            continue;
        }
        let (name, feed) = (talk.id(), &evidence.feeds[talk]);
        let mut last = 0;
        for seen in seen {
            verdict.count("events in browsers", 1);
            if seen.id != last + 1 && last != 0 {
                verdict.wrong(format!("{name}: a browser's stream went from {last} to {}", seen.id));
            }
            last = seen.id;
            let place = usize::try_from(seen.id - 1).ok().filter(|place| *place < feed.len());
            let Some(place) = place else {
                verdict.wrong(format!("{name}: a browser was shown what is not in the feed: {}", seen.data));
                continue;
            };
            let event = &feed[place];
            let is_word = event["type"] == "message.created" && event["data"]["message"]["author"] == "bot";
            let is_kept = is_word && is_claimed(&feed[..place]);
            if is_kept && seen.data["type"] != "hidden" {
                verdict.wrong(format!("{name}: a word of the bot reached the customer after a claim: {}", seen.data));
            }
            let told = |event: &Value| event["data"]["message"]["text"].clone();
            if event["type"] == "message.created" && !is_kept && told(event) != told(&seen.data) {
                verdict.wrong(format!("{name}: the customer was shown {}, in the feed {event}", seen.data));
            }
            if !seen.data["data"]["note"].is_null() || seen.data["data"]["withheld"] == true {
                verdict.wrong(format!("{name}: not for customers: {}", seen.data));
            }
        }
    }
}

/// Whether a desk has the conversation after these events.
fn is_claimed(feed: &[Value]) -> bool {
    feed.iter().fold(false, |is_claimed, event| match event["type"].as_str() {
        Some("handoff.claimed") => true,
        Some("handoff.returned") => false,
        Some("handoff.unclaimed") => is_claimed && event["data"]["then"] != "bot",
        _ => is_claimed,
    })
}
