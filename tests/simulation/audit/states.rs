//! Where a conversation is said to stand: each change told, each escalation told once, and in the end what Fini says.

use serde_json::Value;

use super::{Evidence, Verdict};
use crate::plan::Talk;

pub fn judge(evidence: &Evidence, verdict: &mut Verdict) {
    for (talk, feed) in &evidence.feeds {
        escalations(*talk, feed, verdict);
        if let Some(view) = evidence.shown.get(talk) {
            as_told(*talk, feed, view, verdict);
            as_at_fini(evidence, *talk, feed, view, verdict);
        }
    }
}

/// Once per escalation: it lasts until the conversation is taken back or resolved; the bot's word in between may begin
/// another one.
fn escalations(talk: Talk, feed: &[Value], verdict: &mut Verdict) {
    let (mut state, mut is_escalated) = ("open", false);
    for event in feed {
        let data = &event["data"];
        match event["type"].as_str() {
            Some("conversation.escalated") => {
                if is_escalated {
                    verdict.wrong(format!("{}: one escalation is told twice: {event}", talk.id()));
                }
                is_escalated = !matches!(state, "quarantined" | "continued");
            }
            Some("conversation.status_changed") => {
                state = data["state"].as_str().unwrap_or_default();
                is_escalated &= state == "escalated";
            }
            Some("handoff.returned" | "handoff.unclaimed") => is_escalated = false,
            Some("message.created") if data["message"]["author"] == "bot" => is_escalated &= data["withheld"] == true,
            _ => {}
        }
    }
}

/// What is shown is what was told last.
fn as_told(talk: Talk, feed: &[Value], view: &Value, verdict: &mut Verdict) {
    let changed = feed.iter().rfind(|event| event["type"] == "conversation.status_changed");
    let told = changed.map_or("open", |event| event["data"]["state"].as_str().unwrap_or_default());
    if view["state"] != told {
        verdict.wrong(format!("{}: told as {told}, shown as {}", talk.id(), view["state"]));
    }
}

/// Once nothing happens any more, status and resolution are Fini's.
fn as_at_fini(evidence: &Evidence, talk: Talk, feed: &[Value], view: &Value, verdict: &mut Verdict) {
    let (name, state) = (talk.id(), view["state"].as_str().unwrap_or_default());
    let is_followed = matches!(state, "open" | "escalated" | "resolved") && evidence.left.is_none();
    let home = view["interaction_id"].as_str().filter(|_| is_followed);
    let Some(there) = home.and_then(|home| evidence.conversations.get(home)) else { return };
    let has_odd_strings = evidence.plan.answers.iter().any(|answer| answer.row == "strings");
    if view["status_text"].as_str() != there.status.as_deref() && !has_odd_strings {
        verdict.wrong(format!("{name}: its status is {} and not {:?}", view["status_text"], there.status));
    }
    let says_resolved = there.resolved == Some(true) || there.status.as_deref() == Some("Resolved");
    let is_at_fini = (state == "resolved") == says_resolved || says_resolved && was_reopened_here(feed);
    if !is_at_fini && !has_odd_strings {
        let (status, resolved) = (&there.status, there.resolved);
        verdict.wrong(format!("{name}: it is {state}, at Fini {status:?}, resolved {resolved:?}"));
    }
}

/// Returns true if somebody asked for a human or took the conversation after Fini had called it resolved, and that stands: Fini
/// knows nothing of it, and goes on saying what it said before.
fn was_reopened_here(feed: &[Value]) -> bool {
    let is_resolved = |event: &Value| event["type"] == "conversation.resolved" && event["data"]["resolved"] == true;
    let is_asked = |event: &Value| match event["type"].as_str() {
        Some("handoff.claimed") => true,
        Some("conversation.escalated") => matches!(event["data"]["reason"].as_str(), Some("requested" | "action")),
        _ => false,
    };
    let ends = |event: &Value| matches!(event["type"].as_str(), Some("handoff.returned" | "handoff.unclaimed"));
    let Some(resolved) = feed.iter().rposition(is_resolved) else { return false };
    let Some(asked) = feed[resolved..].iter().rposition(is_asked) else { return false };
    !feed[resolved + asked..].iter().any(ends)
}
