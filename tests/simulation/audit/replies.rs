//! Which message a reply is said to answer, and how many replies a turn is said to have.
//!
//! The vendor's bot repeats what it answers, so whose a reply is can be read in it.

use serde_json::Value;

use super::{Evidence, Verdict, is_disturbed};
use crate::plan::Talk;

pub fn judge(evidence: &Evidence, verdict: &mut Verdict) {
    // Of several messages that went out as one, the last is answered for all.
    if evidence.plan.joins {
        return;
    }
    for (talk, feed) in &evidence.feeds {
        counted(*talk, feed, verdict);
        if !is_disturbed(&evidence.plan) && evidence.plan.answers.iter().all(|answer| answer.row != "reply") {
            attributed(*talk, feed, verdict);
        }
    }
}

/// What is said of a turn when it is done is what was told of it until then.
fn counted(talk: Talk, feed: &[Value], verdict: &mut Verdict) {
    for (place, done) in feed.iter().enumerate().filter(|(_, event)| event["type"] == "turn.completed") {
        let message = &done["data"]["message_id"];
        let is_reply = |event: &&Value| event["data"]["in_reply_to"] == *message && event["data"]["withheld"] != true;
        let replies = feed[..place].iter().filter(is_reply).count();
        if done["data"]["replies"] != replies {
            verdict.wrong(format!("{}: {replies} replies were told, but: {done}", talk.id()));
        }
    }
}

/// What repeats one message does not answer another.
fn attributed(talk: Talk, feed: &[Value], verdict: &mut Verdict) {
    let is_shown = |event: &&Value| event["data"]["message"]["author"] == "bot" && event["data"]["withheld"] != true;
    for event in feed.iter().filter(is_shown) {
        let text = event["data"]["message"]["text"].as_str().unwrap_or_default();
        let Some(answered) = answered(text) else { continue };
        // Where a human had it, nobody owes a reply: one that comes all the same is taken for the next one's.
        let is_owed = !feed
            .iter()
            .filter(|done| done["data"]["message_id"] == answered.as_str())
            .any(|done| done["data"]["outcome"] == "escalated" || done["data"]["outcome"] == "stored");
        if is_owed && event["data"]["in_reply_to"].as_str().is_some_and(|told| told != answered) {
            verdict.wrong(format!("{}: the reply to {answered} is told as another one's: {event}", talk.id()));
        }
    }
}

/// The message whose mark stands in a text: `[p0-3]` is that of `m0-3`.
fn answered(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("[p")?;
    let (mark, _) = rest.split_once(']')?;
    Some(format!("m{mark}"))
}
