//! Which message a reply is said to answer, and how many replies a turn is said to have.
//!
//! The vendor's bot repeats what it answers, so whose a reply is can be read in it.

use serde_json::Value;

use super::{Evidence, Verdict, closes, is_disturbed};
use crate::plan::Talk;

pub fn judge(evidence: &Evidence, verdict: &mut Verdict) {
    // Of several messages that went out as one, the last is answered for all.
    if evidence.plan.joins {
        return;
    }
    for (talk, feed) in &evidence.feeds {
        counted(*talk, feed, verdict);
        if !is_disturbed(&evidence.plan) && evidence.plan.answers.iter().all(|answer| answer.row != "reply") {
            attributed(evidence, *talk, feed, verdict);
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
fn attributed(evidence: &Evidence, talk: Talk, feed: &[Value], verdict: &mut Verdict) {
    let is_shown = |event: &Value| event["data"]["message"]["author"] == "bot" && event["data"]["withheld"] != true;
    for (place, event) in feed.iter().enumerate().filter(|(_, event)| is_shown(event)) {
        let text = event["data"]["message"]["text"].as_str().unwrap_or_default();
        let Some(answered) = answered(text) else { continue };
        let Some(told) = event["data"]["in_reply_to"].as_str().filter(|told| *told != answered) else { continue };
        // Where a human had it, the turn was over and nobody was owed a reply. One that comes all the same says by nothing
        // but its place whom it answers.
        let over = feed[..place].iter().find(|event| closes(event, &answered));
        let was_humans =
            over.is_some_and(|over| over["data"]["outcome"] == "escalated" || over["data"]["outcome"] == "stored");
        if !was_humans || !stands_after(evidence, talk, event["data"]["message"]["id"].as_str(), told) {
            verdict.wrong(format!("{}: the reply to {answered} is told as another one's: {event}", talk.id()));
        }
    }
}

/// Whether an event of Fini's stands behind a message of ours there.
fn stands_after(evidence: &Evidence, talk: Talk, event: Option<&str>, message: &str) -> bool {
    let mut mine = evidence.stored(talk);
    let Some((home, stored)) = mine.find(|(_, stored)| stored.user_attributes["sim_message"] == message) else {
        return false;
    };
    let Some(conversation) = evidence.conversations.get(home) else { return false };
    let place = |id: &str| conversation.events.iter().position(|event| event.id == id);
    event.and_then(place).zip(place(&stored.event_id)).is_some_and(|(event, message)| event > message)
}

/// The message whose mark stands in a text: `[p0-3]` is that of `m0-3`.
fn answered(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("[p")?;
    let (mark, _) = rest.split_once(']')?;
    Some(format!("m{mark}"))
}
