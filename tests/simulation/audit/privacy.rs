//! No word of one person's conversation in anything that another one is shown; internal notes in nothing.
//!
//! Every text says whose it is, and every reply repeats what it answers.

use std::fmt::Display;

use super::{Evidence, Verdict};

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
    for (talk, seen) in &evidence.streamed {
        for seen in seen {
            look(&talk.id(), talk.person, "stream", &seen.data, verdict);
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
