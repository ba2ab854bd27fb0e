//! What became of each message: at Fini exactly once and in order, or truthfully failed; settled exactly once.

use serde_json::Value;

use super::{Evidence, Verdict, closes, is_disturbed, is_erased};
use crate::plan::Talk;

pub fn judge(evidence: &Evidence, verdict: &mut Verdict) {
    for (talk, feed) in &evidence.feeds {
        for posted in evidence.posted.iter().filter(|posted| posted.talk == *talk) {
            message(evidence, *talk, feed, posted, verdict);
        }
        in_order(evidence, *talk, verdict);
    }
    for (interaction, stored) in &evidence.vendor.inbound {
        if let Some(stranger) = stored.iter().find(|stored| !stored.user_attributes.contains_key("sim_talk")) {
            verdict.wrong(format!("{interaction}: a message without its attributes was stored: {stranger:?}"));
        }
    }
}

fn message(evidence: &Evidence, talk: Talk, feed: &[Value], posted: &crate::world::Posted, verdict: &mut Verdict) {
    let name = format!("{}/{}", talk.id(), posted.id);
    let places = evidence.places(posted);
    // What was erased is not known any more, so the same message may be posted anew.
    if places.len() > 1 && !evidence.had_erasure(talk) {
        verdict.wrong(format!("{name}: at Fini {} times: {places:?}", places.len()));
    }
    if posted.accepted_at.is_none() {
        return;
    }
    verdict.count("messages", 1);
    if is_erased(&evidence.erased, posted) {
        return;
    }
    let closings: Vec<_> = feed.iter().filter(|event| closes(event, &posted.id)).collect();
    let data = match closings.as_slice() {
        [closing] if closing["type"] == "turn.completed" => {
            verdict.count("completed", 1);
            // Of several that went out as one, an unmarked one is not to be found.
            if places.is_empty() && !evidence.plan.joins {
                verdict.wrong(format!("{name}: {}, but Fini never got it", closing["data"]["outcome"]));
            }
            return;
        }
        [closing] => &closing["data"],
        // Told apart as what was never done.
        [] => return,
        more => return verdict.wrong(format!("{name}: settled {} times", more.len())),
    };
    verdict.count("failed", 1);
    let (code, may_resend) = (data["code"].as_str().unwrap_or_default(), data["may_resend"] == true);
    if may_resend && !places.is_empty() {
        verdict.wrong(format!("{name}: {code}, may be sent again, but Fini has it"));
    }
    let is_alone = !places.iter().any(|place| evidence.is_joined(place));
    if !is_disturbed(&evidence.plan) && is_alone && !evidence.had_quarantine(talk) {
        match code {
            // The vendor's bot said nothing.
            "no_reply_in_time" if places.len() == 1 => {
                if let Some(reply) = reply_to(evidence, places[0], &posted.id) {
                    verdict.wrong(format!("{name}: {code}, but Fini had replied: {reply:?}"));
                }
            }
            _ => verdict.wrong(format!("{name}: failed though nothing was in the way: {data}")),
        }
    }
}

/// What the vendor's bot said before the next message came.
fn reply_to(evidence: &Evidence, interaction: &str, message: &str) -> Option<String> {
    let conversation = evidence.conversations.get(interaction)?;
    let stored = evidence.vendor.inbound.get(interaction)?;
    let stored = stored.iter().find(|stored| stored.user_attributes["sim_message"] == message)?;
    let at = conversation.events.iter().position(|event| event.id == stored.event_id)?;
    let after = conversation.events[at + 1..].iter().take_while(|event| event.role != "user");
    after.filter(|event| event.role == "finibot" && event.kind == "message").find_map(|event| event.message.clone())
}

/// What a customer wrote one after the other stands so at Fini.
fn in_order(evidence: &Evidence, talk: Talk, verdict: &mut Verdict) {
    let mine = || evidence.posted.iter().filter(|posted| posted.talk == talk);
    let feed = &evidence.feeds[&talk];
    // The feed numbers what was accepted in its order.
    let place = |id: &str| {
        feed.iter().position(|event| event["data"]["origin"] == "frontend" && event["data"]["message"]["id"] == id)
    };
    let mut stored: Vec<_> = evidence.stored(talk).collect();
    stored.sort_by_key(|(_, stored)| stored.at);
    let places: Vec<_> =
        stored.iter().filter_map(|(_, stored)| place(stored.user_attributes.get("sim_message")?.as_str()?)).collect();
    if !places.is_sorted() && !evidence.had_erasure(talk) {
        verdict.wrong(format!("{}: at Fini out of order: {places:?}", talk.id()));
    }
    for posted in mine().filter(|posted| posted.accepted_at.is_some() && !is_erased(&evidence.erased, posted)) {
        if place(&posted.id).is_none() {
            verdict.wrong(format!("{}/{}: accepted, but not in the feed", talk.id(), posted.id));
        }
    }
}
