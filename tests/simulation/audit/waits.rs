//! Nothing waits for something that need not happen. Judged in worlds in which nothing stands between the bridge and the vendor.

use fini_bridge::sandbox::Inbound;
use serde_json::Value;

use super::{Evidence, Verdict, closes, is_disturbed};
use crate::{
    plan::Talk,
    time::BEGINNING,
    world::{LATE_REPLY, Posted},
};

/// A message that nothing is before leaves within this.
const PROMPT_MS: i64 = 10_000;
/// What stands in Fini is found within this, besides the lag of List.
const FOUND_MS: i64 = 60_000;
/// The most that List lags.
const LAG_MS: i64 = 10_000;
/// What List leaves out is looked for so long, before the next message begins another Fini conversation.
const UNLISTED_MS: i64 = 30_000;
/// So long a message without a reply holds the next one, once Fini provably has it.
const HOLD_MS: i64 = 20_000;

pub fn judge(evidence: &Evidence, verdict: &mut Verdict) {
    if is_disturbed(&evidence.plan) || evidence.plan.limit < 100 {
        return;
    }
    // What the vendor shows late, or with times of its own, is not the bridge's to answer for.
    let found_ms = FOUND_MS + LAG_MS;
    let latency_ms = i64::try_from(evidence.latency_ms).unwrap_or_default();
    for (talk, feed) in &evidence.feeds {
        if evidence.had_erasure(*talk) || evidence.stored(*talk).any(|(home, _)| evidence.is_joined(home)) {
            continue;
        }
        // Free from when the message before was at its end.
        let mut free_at = 0;
        let mut mine: Vec<_> = evidence.posted.iter().filter(|posted| posted.talk == *talk).collect();
        mine.sort_by_key(|posted| feed.iter().position(|event| event["data"]["message"]["id"] == posted.id.as_str()));
        for posted in mine {
            let Some(accepted_at) = posted.accepted_at else { continue };
            let name = format!("{}/{}", talk.id(), posted.id);
            let Some(stored) = stored(evidence, *talk, posted) else { continue };
            // A vendor that creates or resolves late stores it long after it has left.
            let (left_at, stored_at) = (stored.received_at - BEGINNING, stored.at - BEGINNING);
            let waited = left_at - accepted_at.max(free_at);
            if waited > PROMPT_MS {
                verdict.wrong(format!("{name}: left {waited} ms after it could have"));
            }
            let Some(closed_at) = feed.iter().find(|event| closes(event, &posted.id)).map(recorded_at) else {
                continue;
            };
            let open = closed_at - stored_at;
            let most = i64::try_from(LATE_REPLY.as_millis()).unwrap_or_default() + found_ms;
            if open > most {
                verdict.wrong(format!("{name}: open for {open} ms after Fini had it"));
            }
            // Its answer says that Fini has it, after as long as a reply takes; from then on it holds the next one.
            free_at = closed_at.min(stored_at + latency_ms + HOLD_MS);
            free_at += unlisted_ms(evidence, *talk, posted);
        }
        for event in feed.iter().filter(|event| event["data"]["origin"] == "fini") {
            let Some(said_at) = event["data"]["message"]["created_at"].as_str().map(millis) else { continue };
            let late = recorded_at(event) - said_at;
            if late > found_ms {
                verdict.wrong(format!("{}: told {late} ms after it was said: {event}", talk.id()));
            }
        }
    }
}

/// How long the next message may have waited because List did not show a message's Fini conversation, so that nobody could
/// learn its id: until a customer or the bot took part there, and never longer than it is looked for.
fn unlisted_ms(evidence: &Evidence, talk: Talk, posted: &Posted) -> i64 {
    if evidence.plan.answers.iter().any(|answer| (answer.row, answer.name) == ("list_untouched", "shown")) {
        return 0;
    }
    let found = evidence.stored(talk).find(|(_, stored)| stored.user_attributes["sim_message"] == posted.id.as_str());
    let Some((home, own)) = found else { return 0 };
    let by_customers =
        evidence.vendor.inbound[home].iter().filter(|stored| stored.role == "user").map(|stored| stored.at);
    let events = evidence.conversations.get(home).map_or(&[][..], |conversation| &conversation.events);
    let by_the_bot = events.iter().filter(|event| event.role == "finibot").map(|event| event.created_at);
    match by_customers.chain(by_the_bot).min() {
        Some(shown_at) if shown_at <= own.at => 0,
        Some(shown_at) => (shown_at - own.at + LAG_MS).min(UNLISTED_MS),
        None => UNLISTED_MS,
    }
}

/// A message as Fini stored it.
fn stored<'a>(evidence: &'a Evidence, talk: Talk, posted: &Posted) -> Option<&'a Inbound> {
    let mut all = evidence.stored(talk).map(|(_, stored)| stored);
    all.find(|stored| stored.user_attributes["sim_message"] == posted.id.as_str())
}

fn recorded_at(event: &Value) -> i64 {
    millis(event["timestamp"].as_str().unwrap_or_default())
}

/// Milliseconds since the world began.
fn millis(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().map_or(0, |at| at.as_millisecond() - BEGINNING)
}
