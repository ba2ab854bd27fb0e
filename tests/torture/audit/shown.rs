//! What the feed shows: numbered without gaps, everything of Fini's once and nothing that is internal.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Evidence, Verdict, fate::StoredBy};
use crate::{book::Posted, feed::Feed};

/// Judges one conversation's feed by itself.
pub fn judge(conversation: &str, messages: &[Posted], feed: &Feed, verdict: &mut Verdict) {
    let mut ids = HashSet::new();
    for (expected, event) in (1_i64..).zip(&feed.events) {
        if event["sequence"].as_i64() != Some(expected) {
            verdict.wrong(format!("{conversation}: sequence {} where {expected} is due", event["sequence"]));
            break;
        }
        if !ids.insert(event["id"].as_str().unwrap_or_default()) {
            verdict.wrong(format!("{conversation}: event {} twice", event["id"]));
        }
    }
    let posted: Vec<&str> = feed
        .of("message.created")
        .filter(|event| event["data"]["origin"] == "frontend")
        .filter_map(|event| event["data"]["message"]["id"].as_str())
        .collect();
    let written: Vec<&str> =
        messages.iter().filter(|message| message.accepted).map(|message| message.id.as_str()).collect();
    if posted.iter().filter(|id| written.contains(id)).ne(&written) {
        verdict.wrong(format!("{conversation}: the feed has {posted:?} where {written:?} were accepted"));
    }
    let (mut escalated, mut answered) = (false, false);
    for event in &feed.events {
        let data = &event["data"];
        match event["type"].as_str().unwrap_or_default() {
            "conversation.escalated" => {
                // A silent one after the bot has answered is another.
                let again = std::mem::replace(&mut answered, false) && data["reason"] == "silent_escalation";
                if std::mem::replace(&mut escalated, true) && !again {
                    verdict.wrong(format!("{conversation}: escalated twice in one episode"));
                }
            }
            "message.created" => answered |= data["message"]["author"] == "bot",
            "conversation.status_changed" => escalated &= data["state"] == "escalated",
            _ => {}
        }
    }
    verdict.count("feed events", u64::try_from(feed.events.len()).unwrap_or(u64::MAX));
}

/// Judges the feeds against what happened at the vendor.
pub fn judge_vendor(evidence: &Evidence, stored: &StoredBy, verdict: &mut Verdict) {
    let ours: HashSet<&str> = stored.values().flatten().map(|place| place.event.as_str()).collect();
    let owners: HashMap<&str, &str> = stored
        .iter()
        .flat_map(|((conversation, _), places)| places.iter().map(move |place| (&*place.interaction, &**conversation)))
        .collect();
    let mut shown: HashMap<(&str, &str), u32> = HashMap::new();
    for (conversation, feed) in &evidence.feeds {
        for event in &feed.events {
            let data = &event["data"];
            let id = match event["type"].as_str().unwrap_or_default() {
                "message.created" if data["origin"] == "fini" => data["message"]["id"].as_str(),
                "form.presented" | "fini.unrecognized" => data["event_id"].as_str(),
                _ => None,
            };
            let Some(id) = id else { continue };
            if ours.contains(id) {
                verdict.wrong(format!("{conversation}: its own message {id} is shown as Fini's"));
            }
            *shown.entry((conversation, id)).or_default() += 1;
        }
        let internal = |event: &&Value| {
            let text = event["data"]["message"]["text"].as_str().unwrap_or_default();
            text.contains("secret note") || text.contains("Internal:")
        };
        if let Some(event) = feed.events.iter().find(internal) {
            verdict.wrong(format!("{conversation}: an internal note left: {event}"));
        }
    }
    for (interaction, known) in &evidence.interactions {
        let Some(conversation) = owners.get(interaction.as_str()) else { continue };
        if known.events.iter().all(|event| event.role != "user") {
            // Fini's List leaves it out, and nothing else would tell its id.
            verdict.count("Fini conversations without a customer", 1);
            continue;
        }
        for event in &known.events {
            let hidden = matches!(&*event.kind, "internalnote" | "debounce" | "no_reply" | "silent_escalation");
            let due = u32::from(!hidden && !ours.contains(event.id.as_str()));
            let times = shown.remove(&(*conversation, event.id.as_str())).unwrap_or(0);
            if times != due {
                let what = format!("{} {} {:?}", event.role, event.kind, event.message);
                verdict.wrong(format!("{conversation}: Fini's {what} is shown {times} times where {due} is due"));
            }
            verdict.count("Fini events shown", u64::from(due));
        }
    }
    for ((conversation, id), _) in shown {
        verdict.wrong(format!("{conversation}: event {id} is shown, which is not of its Fini conversation"));
    }
}
