//! Every request for a human that was taken is told, whoever asked; one of Fini's for a conversation that nobody knows yet is
//! told once it is known, or kept for an operator.

use serde_json::Value;

use super::{Evidence, Verdict};
use crate::{plan::Deed, time::BEGINNING, world::Asked};

pub fn judge(evidence: &Evidence, verdict: &mut Verdict) {
    let is_set = evidence.plan.acts.iter().any(|act| matches!(act.deed, Deed::Step { .. }));
    for asked in &evidence.asked {
        // Asked for in a conversation in which nobody wrote: there is no feed.
        let Some(feed) = evidence.feeds.get(&asked.talk) else { continue };
        let is_mixed = asked.home.as_deref().is_some_and(|home| evidence.is_joined(home));
        if is_mixed || evidence.had_erasure(asked.talk) || evidence.had_quarantine(asked.talk) {
            continue;
        }
        let name = asked.talk.id();
        verdict.count("requests for a human", 1);
        // Times are of the bridge's wall clock.
        if asked.is_known && !is_set && !had_left_the_bot(feed, asked) {
            verdict.wrong(format!("{name}: a request for a human is told by nothing: {asked:?}"));
        }
        if !asked.is_known {
            kept(evidence, asked, feed, verdict);
        }
    }
}

/// Whether the conversation was not the bot's at some moment from the question until the answer.
fn had_left_the_bot(feed: &[Value], asked: &Asked) -> bool {
    let mut is_bots = true;
    for event in feed {
        let at = event["timestamp"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let at = at.map_or(0, |at| at.as_millisecond() - BEGINNING);
        if at > asked.answered_at {
            break;
        }
        if at >= asked.made_at && !is_bots {
            return true;
        }
        match event["type"].as_str() {
            Some("handoff.requested" | "handoff.claimed") => is_bots = false,
            Some("handoff.returned") => is_bots = true,
            Some("handoff.unclaimed") => is_bots |= event["data"]["then"] == "bot",
            _ => {}
        }
        if at >= asked.made_at && !is_bots {
            return true;
        }
    }
    !is_bots
}

/// What fitted no conversation is an operator's, until one turns out to be the one that was meant.
fn kept(evidence: &Evidence, asked: &Asked, feed: &[Value], verdict: &mut Verdict) {
    let name = asked.talk.id();
    let is_bound = |view: &Value| view["interaction_id"].as_str() == asked.home.as_deref();
    if !evidence.shown.get(&asked.talk).is_some_and(is_bound) {
        return;
    }
    if evidence.unmatched.iter().any(|kept| kept["interaction_id"].as_str() == asked.home.as_deref()) {
        verdict.wrong(format!("{name}: a request of Fini's is kept though its conversation is known: {asked:?}"));
    }
    let is_told = |event: &Value| matches!(event["type"].as_str(), Some("handoff.requested" | "handoff.claimed"));
    if !feed.iter().any(is_told) {
        verdict.wrong(format!(
            "{name}: a request of Fini's came before its conversation, and is told by nothing: {asked:?}"
        ));
    }
}
