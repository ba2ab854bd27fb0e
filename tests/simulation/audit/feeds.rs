//! What was told: numbered without gaps, each event once, the same by every way, and everything that Fini said.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::{Evidence, Verdict};
use crate::plan::Talk;

pub fn judge(evidence: &Evidence, verdict: &mut Verdict) {
    let mut told: HashMap<&str, Talk> = HashMap::new();
    for (talk, feed) in &evidence.feeds {
        let numbers: Vec<_> = feed.iter().map(|event| event["sequence"].as_i64().unwrap_or_default()).collect();
        if numbers.iter().zip(1..).any(|(number, wanted)| *number != wanted) {
            verdict.wrong(format!("{}: numbers with a gap: {numbers:?}", talk.id()));
        }
        let mut ids = HashSet::new();
        for event in feed {
            if !ids.insert(event["id"].as_str().unwrap_or_default()) {
                verdict.wrong(format!("{}: an id twice: {event}", talk.id()));
            }
            if let Some(id) = event_of_fini(event)
                && let Some(other) = told.insert(id, *talk)
            {
                verdict.wrong(format!("{}: Fini's {id} was told before, in {}", talk.id(), other.id()));
            }
        }
        verdict.count("events", feed.len());
        callbacks(evidence, *talk, feed, verdict);
        own(evidence, *talk, feed, verdict);
        streamed(evidence, *talk, feed, verdict);
        complete(evidence, *talk, feed, verdict);
    }
}

/// The Fini event that a feed event tells of.
fn event_of_fini(event: &Value) -> Option<&str> {
    match event["type"].as_str()? {
        "message.created" if event["data"]["origin"] == "fini" => event["data"]["message"]["id"].as_str(),
        "form.presented" | "fini.unrecognized" => event["data"]["event_id"].as_str(),
        _ => None,
    }
}

/// In order, nothing skipped, the bytes of the feed.
fn callbacks(evidence: &Evidence, talk: Talk, feed: &[Value], verdict: &mut Verdict) {
    if evidence.had_erasure(talk) {
        return;
    }
    let owed: BTreeMap<i64, &Value> = feed
        .iter()
        .filter(|event| event["data"]["origin"] != "frontend")
        .map(|event| (event["sequence"].as_i64().unwrap_or_default(), event))
        .collect();
    let mut taken = HashSet::new();
    let mut bytes: HashMap<i64, &[u8]> = HashMap::new();
    let id = talk.id();
    for arrival in evidence.arrivals.iter().filter(|arrival| arrival.event["conversation_id"] == id.as_str()) {
        let number = arrival.event["sequence"].as_i64().unwrap_or_default();
        match owed.get(&number) {
            Some(event) if **event == arrival.event => {}
            Some(event) => verdict.wrong(format!("{id}: called back {}, in the feed {event}", arrival.event)),
            None => verdict.wrong(format!("{id}: called back though it is not owed: {}", arrival.event)),
        }
        if let Some((skipped, _)) = owed.range(..number).find(|(before, _)| !taken.contains(*before)) {
            verdict.wrong(format!("{id}: {number} was called back before {skipped}"));
        }
        if *bytes.entry(number).or_insert(&arrival.body) != arrival.body {
            verdict.wrong(format!("{id}: {number} was called back with other bytes"));
        }
        if arrival.taken {
            taken.insert(number);
        }
    }
    if let Some((never, event)) = owed.iter().find(|(number, _)| !taken.contains(*number))
        && evidence.left.is_none()
    {
        verdict.wrong(format!("{id}: {never} was never called back: {event}"));
    }
}

/// What we sent to Fini ourselves is not news.
fn own(evidence: &Evidence, talk: Talk, feed: &[Value], verdict: &mut Verdict) {
    let sent: HashSet<_> = evidence.vendor.inbound.values().flatten().map(|sent| sent.event_id.as_str()).collect();
    if let Some(event) = feed.iter().find(|event| event_of_fini(event).is_some_and(|id| sent.contains(id))) {
        verdict.wrong(format!("{}: our own message is told as news: {event}", talk.id()));
    }
}

fn streamed(evidence: &Evidence, talk: Talk, feed: &[Value], verdict: &mut Verdict) {
    if evidence.had_erasure(talk) {
        return;
    }
    let mut last = 0;
    for seen in evidence.streamed.get(&talk).into_iter().flatten() {
        if seen.id != last + 1 && last != 0 {
            verdict.wrong(format!("{}: the stream went from {last} to {}", talk.id(), seen.id));
        }
        last = seen.id;
        let shown = usize::try_from(seen.id - 1).ok().and_then(|number| feed.get(number));
        if shown != Some(&seen.data) {
            verdict.wrong(format!("{}: streamed {}, in the feed {shown:?}", talk.id(), seen.data));
        }
    }
}

/// Everything that was said to this customer alone.
fn complete(evidence: &Evidence, talk: Talk, feed: &[Value], verdict: &mut Verdict) {
    if evidence.had_erasure(talk) {
        return;
    }
    let mut homes: HashSet<_> = evidence.stored(talk).map(|(interaction, _)| interaction).collect();
    // List leaves out conversations in which no customer wrote; what was mirrored there first stays there alone.
    homes.retain(|home| evidence.vendor.inbound[*home].iter().any(|stored| stored.role == "user"));
    let may_have_several = evidence.had_quarantine(talk) || homes.iter().any(|home| evidence.is_joined(home));
    if homes.len() > 1 && !may_have_several {
        verdict.wrong(format!("{}: in {} Fini conversations", talk.id(), homes.len()));
    }
    // Fini tells an id by List alone: one that List can never give is not to be had.
    let is_bound = evidence.shown.get(&talk).is_some_and(|view| view["interaction_id"].is_string());
    let (unknown, homes): (Vec<_>, Vec<_>) =
        homes.into_iter().partition(|home| !is_bound && evidence.unlistable.contains(*home));
    verdict.count("conversations that List cannot give", unknown.len());
    for home in homes.into_iter().filter(|home| !evidence.is_joined(home)) {
        let Some(conversation) = evidence.conversations.get(home) else { continue };
        let ours: HashSet<_> = evidence.vendor.inbound[home].iter().map(|stored| stored.event_id.as_str()).collect();
        for event in &conversation.events {
            let is_shown = event.kind == "message" && !ours.contains(event.id.as_str());
            if is_shown && !feed.iter().any(|told| event_of_fini(told) == Some(&event.id)) {
                let state = evidence.shown.get(&talk).map(|view| view["state"].clone());
                verdict.wrong(format!("{} ({state:?}): never told: {event:?}", talk.id()));
            }
        }
    }
}
