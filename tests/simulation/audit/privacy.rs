//! No word of one person's conversation in anything that another one is shown; internal notes in nothing.
//!
//! Every text says whose it is, and every reply repeats what it answers.

use std::fmt::Display;

use super::{Evidence, Verdict};
use crate::{plan::Deed, world::Erased};

/// A callback that was on its way when its conversation was erased arrives within this.
const ON_ITS_WAY_MS: i64 = 60_000;

pub fn judge(evidence: &Evidence, verdict: &mut Verdict) {
    for (talk, feed) in &evidence.feeds {
        for event in feed {
            look(&talk.id(), talk.person, "feed", event, verdict);
        }
    }
    for arrival in &evidence.arrivals {
        let id = arrival.event["conversation_id"].as_str().unwrap_or_default();
        let person = id.strip_prefix('p').and_then(|rest| rest.split('-').next()?.parse().ok());
        match person {
            Some(person) => look(id, person, "callback", &arrival.event, verdict),
            None => verdict.wrong(format!("a callback of no conversation: {}", arrival.event)),
        }
    }
    for (talk, seen) in evidence.streamed.iter().chain(&evidence.browsed) {
        for seen in seen {
            look(&talk.id(), talk.person, "stream", &seen.data, verdict);
        }
    }
    for erased in &evidence.erased {
        if let Some(done_at) = erased.done_at {
            forgotten(evidence, erased, done_at, verdict);
        }
    }
}

/// What was erased stands nowhere any more: in no feed, no later callback and not on the disk.
fn forgotten(evidence: &Evidence, erased: &Erased, done_at: i64, verdict: &mut Verdict) {
    let is_before = |id: &str| {
        evidence.posted.iter().any(|posted| {
            posted.id == id && posted.talk == erased.talk && posted.accepted_at.is_some_and(|at| at < erased.asked_at)
        })
    };
    for act in &evidence.plan.acts {
        let Deed::Write { talk, id, text, .. } = &act.deed else { continue };
        let end = text.find(']').filter(|_| *talk == erased.talk && is_before(id));
        let Some(tag) = end.map(|end| &text[..=end]) else { continue };
        let name = talk.id();
        let shows = |what: &serde_json::Value| what.to_string().contains(tag);
        if evidence.feeds.values().flatten().any(shows) {
            verdict.wrong(format!("{name}/{id}: erased, and still in a feed"));
        }
        let later = |at: i64| at > done_at + ON_ITS_WAY_MS;
        if evidence.arrivals.iter().any(|arrival| later(arrival.at) && shows(&arrival.event)) {
            verdict.wrong(format!("{name}/{id}: erased, and called back later"));
        }
        if evidence.store.windows(tag.len()).any(|bytes| bytes == tag.as_bytes()) {
            verdict.wrong(format!("{name}/{id}: erased, and still on the disk"));
        }
    }
}

fn look(id: &str, person: usize, way: &str, shown: &impl Display, verdict: &mut Verdict) {
    let text = shown.to_string();
    for (at, _) in text.match_indices("[p") {
        let digits: String = text[at + 2..].chars().take_while(char::is_ascii_digit).collect();
        if digits.parse() != Ok(person) {
            verdict.wrong(format!("PRIVACY: {id}: a word of person {digits} in its {way}: {text}"));
            return;
        }
    }
    if text.contains("Internal:") {
        verdict.wrong(format!("PRIVACY: {id}: an internal note in its {way}: {text}"));
    }
}
