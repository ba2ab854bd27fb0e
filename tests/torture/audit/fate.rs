//! What became of each message: stored exactly once and in order, or truthfully failed, and settled exactly once.

use std::collections::HashMap;

use fini_bridge::sandbox::Event;
use serde_json::Value;

use super::{Evidence, Verdict};
use crate::{book::Posted, feed::Feed};

/// Where a message was stored: the vendor's conversation and the event.
#[derive(Clone, Debug)]
pub struct Stored {
    pub interaction: String,
    pub event: String,
}

/// Where each message was stored, by conversation and message id.
pub type StoredBy = HashMap<(String, String), Vec<Stored>>;

/// Sorts out what the vendor stored, and checks that nothing foreign and nothing twice is among it.
pub fn stored(evidence: &Evidence, verdict: &mut Verdict) -> StoredBy {
    let mut by: StoredBy = HashMap::new();
    for (interaction, messages) in &evidence.vendor.inbound {
        let mut owner: Option<&str> = None;
        for message in messages {
            let name = |key: &str| message.user_attributes.get(key).and_then(Value::as_str);
            let (Some(conversation), Some(id)) = (name("torture_conversation"), name("torture_message")) else {
                verdict.wrong(format!("{interaction}: a message without its attributes was stored: {message:?}"));
                continue;
            };
            if owner.is_some_and(|owner| owner != conversation) {
                verdict.wrong(format!("{interaction}: two customers mixed: {owner:?} and {conversation}"));
            }
            owner = Some(conversation);
            let place = Stored { interaction: interaction.clone(), event: message.event_id.clone() };
            by.entry((conversation.to_owned(), id.to_owned())).or_default().push(place);
        }
    }
    if evidence.vendor.inbound_forgotten > 0 {
        verdict.wrong("the sandbox forgot some of what it stored: the run was too long to be audited".to_owned());
    }
    by
}

/// Judges one conversation's messages.
pub fn judge(
    evidence: &Evidence,
    conversation: &str,
    messages: &[Posted],
    feed: &Feed,
    stored: &StoredBy,
    verdict: &mut Verdict,
) {
    if feed.state == "quarantined" {
        verdict.wrong(format!("{conversation}: {}", feed.state));
    }
    let mut homes: Vec<&str> = Vec::new();
    let mut order: Vec<(&str, usize)> = Vec::new();
    for (number, message) in messages.iter().enumerate() {
        let name = format!("{conversation}/{} ({:?})", message.id, message.text);
        let places: &[Stored] = stored.get(&(conversation.to_owned(), message.id.clone())).map_or(&[], Vec::as_slice);
        if !message.accepted {
            verdict.count("never accepted", 1);
            continue;
        }
        verdict.count("messages", 1);
        if places.len() > 1 {
            verdict.wrong(format!("{name}: stored {} times by Fini", places.len()));
        }
        for place in places {
            homes.push(&place.interaction);
            order.push((&place.event, number));
        }
        let closings: Vec<&Value> = feed
            .events
            .iter()
            .filter(|event| event["data"]["message_id"] == message.id.as_str())
            .filter(|event| event["type"] == "turn.completed" || event["type"] == "turn.failed")
            .collect();
        match closings.as_slice() {
            [closing] if closing["type"] == "turn.completed" => {
                let outcome = closing["data"]["outcome"].as_str().unwrap_or_default();
                verdict.count(format!("turns {outcome}"), 1);
                if places.is_empty() {
                    verdict.wrong(format!("{name}: told as {outcome}, but Fini never got it: lost"));
                }
            }
            [closing] => failed(evidence, feed, (&name, message), &closing["data"], places, verdict),
            [] => verdict.wrong(format!("{name}: not settled; stored {} times", places.len())),
            more => verdict.wrong(format!("{name}: settled {} times", more.len())),
        }
    }
    homes.sort_unstable();
    homes.dedup();
    // List leaves out conversations in which no customer wrote; what was mirrored there first stays there alone.
    homes.retain(|home| {
        evidence.interactions.get(*home).is_none_or(|home| home.events.iter().any(|e| e.role == "user"))
    });
    // What never arrived, as far as anybody could tell, is looked for in vain.
    if feed.state == "lost" && !homes.is_empty() {
        verdict.wrong(format!("{conversation}: lost"));
    }
    if homes.len() > 1 {
        verdict.wrong(format!("{conversation}: spread over {} Fini conversations", homes.len()));
    }
    in_order(evidence, conversation, &homes, &order, verdict);
}

/// A failure has to be true: what may be sent again is not there, what is there is not called absent.
fn failed(
    evidence: &Evidence,
    feed: &Feed,
    (name, message): (&str, &Posted),
    data: &Value,
    places: &[Stored],
    verdict: &mut Verdict,
) {
    let code = data["code"].as_str().unwrap_or_default();
    let may_resend = data["may_resend"] == Value::Bool(true);
    verdict.count(format!("turns failed: {code}{}", if may_resend { ", may be sent again" } else { "" }), 1);
    match code {
        "fini_unavailable" if may_resend && places.is_empty() => {}
        "no_reply_in_time" if !may_resend && places.len() == 1 => {
            let reply = reply_to(evidence, &places[0]);
            if reply.is_some_and(|reply| answers_another(feed, &reply.id, &message.id)) {
                // Two messages waited, and nothing in Fini says which of them its reply answers: the first had it.
                verdict.count("replies told of the message before", 1);
            } else if let Some(reply) = reply {
                verdict.wrong(format!("{name}: {code}, but Fini had replied: {:?}", reply.message));
            } else if !message.text.contains("fail") {
                verdict.count("turns failed: no_reply_in_time by a fault", 1);
            }
        }
        // Nobody could read for so long; true, whatever Fini has.
        "unclear_outcome" if !may_resend => {}
        _ => verdict.wrong(format!("{name}: {data}, while Fini has it {} times", places.len())),
    }
}

/// What the vendor's bot said to a message before the next one came.
fn reply_to<'a>(evidence: &'a Evidence, place: &Stored) -> Option<&'a Event> {
    let interaction = evidence.interactions.get(&place.interaction)?;
    let at = interaction.events.iter().position(|event| event.id == place.event)?;
    let after = interaction.events[at + 1..].iter().take_while(|event| event.role != "user");
    let mut after = after.filter(|event| event.role == "finibot" && event.kind == "message");
    after.find(|event| event.message.is_some()).map(AsRef::as_ref)
}

/// True where a reply was told as that to another message.
fn answers_another(feed: &Feed, reply: &str, message: &str) -> bool {
    feed.of("message.created").any(|event| {
        let data = &event["data"];
        data["message"]["id"] == reply && data["in_reply_to"].as_str().is_some_and(|answered| answered != message)
    })
}

/// The vendor's order of events is the customer's order of messages.
fn in_order(evidence: &Evidence, conversation: &str, homes: &[&str], order: &[(&str, usize)], verdict: &mut Verdict) {
    for home in homes {
        let Some(interaction) = evidence.interactions.get(*home) else { continue };
        let numbers: Vec<usize> = interaction
            .events
            .iter()
            .filter_map(|event| order.iter().find(|(id, _)| *id == event.id).map(|(_, number)| *number))
            .collect();
        if !numbers.is_sorted() {
            verdict.wrong(format!("{conversation}: stored out of order: {numbers:?}"));
        }
    }
}
