//! From a desk's claim until the conversation is given back no word of the bot reaches the customer,
//! and nothing is withheld otherwise; every request comes to an end.

use serde_json::Value;

use super::{Evidence, Verdict};
use crate::{
    plan::{Deed, Talk},
    time::BEGINNING,
};

/// The longest that an unclaimed request waits (`claim_timeout`), and what its end may take besides.
const CLAIM_TIMEOUT_MS: i64 = 12 * 60_000;

pub fn judge(evidence: &Evidence, verdict: &mut Verdict) {
    for (talk, feed) in &evidence.feeds {
        judge_one(*talk, feed, verdict);
        let is_set = evidence.plan.acts.iter().any(|act| matches!(act.deed, Deed::Step { .. }));
        if evidence.left.is_none() && !evidence.had_quarantine(*talk) && !is_set {
            ended(evidence, *talk, feed, verdict);
        }
    }
}

fn judge_one(talk: Talk, feed: &[Value], verdict: &mut Verdict) {
    let (name, mut is_claimed, mut is_requested) = (talk.id(), false, false);
    for event in feed {
        let data = &event["data"];
        match event["type"].as_str().unwrap_or_default() {
            "handoff.requested" => {
                if is_requested {
                    verdict.wrong(format!("{name}: one request for a human is told twice: {event}"));
                }
                // Who wrote in Fini is there already.
                is_requested = data["reason"] != "human_message";
            }
            "handoff.claimed" => {
                verdict.count("claims", 1);
                (is_claimed, is_requested) = (true, false);
            }
            "handoff.returned" => (is_claimed, is_requested) = (false, false),
            "handoff.unclaimed" => {
                is_requested = false;
                is_claimed &= data["then"] != "bot";
            }
            // Where Fini's own humans answer, a request is over without a claim.
            "message.created" if data["message"]["author"] == "agent" => is_requested = false,
            "message.created" if data["message"]["author"] == "bot" => {
                let is_withheld = data["withheld"] == true;
                verdict.count("withheld words of the bot", usize::from(is_withheld));
                if is_withheld != is_claimed {
                    verdict.wrong(format!("{name}: claimed is {is_claimed}, but: {event}"));
                }
                is_requested &= is_claimed;
            }
            _ => {}
        }
    }
}

/// A request that nobody claims expires.
fn ended(evidence: &Evidence, talk: Talk, feed: &[Value], verdict: &mut Verdict) {
    let waits = |event: &Value| event["type"] == "handoff.requested" && event["data"]["reason"] != "human_message";
    let Some(place) = feed.iter().rposition(waits) else { return };
    let said_at = feed[place]["timestamp"].as_str().unwrap_or_default().parse::<jiff::Timestamp>();
    let age = said_at.map_or(0, |at| BEGINNING + evidence.simulated_ms - at.as_millisecond());
    let ends = |event: &Value| {
        let is_word = matches!(event["data"]["message"]["author"].as_str(), Some("agent" | "bot"));
        let is_end =
            matches!(event["type"].as_str(), Some("handoff.claimed" | "handoff.returned" | "handoff.unclaimed"));
        is_word || is_end || event["type"] == "conversation.resolved"
    };
    if age > CLAIM_TIMEOUT_MS && !feed[place..].iter().any(ends) {
        verdict.wrong(format!(
            "{}: asked for a human {age} ms ago, and nothing came of it: {}",
            talk.id(),
            feed[place]
        ));
    }
}
