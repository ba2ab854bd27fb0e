//! Tells whose a Fini conversation is. Pure: the snapshot as it was read, and the conversations that look for theirs.
//!
//! Exact evidence only: Fini's event ids from a response, or the attribute that the bridge put on the conversation, best
//! together with the message itself. Never "the newest row". A wrong guess would show one customer another customer's
//! messages. The store decides whether such a claim holds: it knows what else was said in the conversation.

use crate::{
    domain::{
        evidence::{
            news::{self, Began},
            own::CLOCK_MARGIN,
        },
        own_event::{fini_role, same_text},
        vendor::{FiniConversation, FiniRole},
    },
    store::Unbound,
};

/// The evidence by which a conversation claims a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// Its own message is in the snapshot, at this place.
    Message(usize),
    /// Our attribute names it, and nothing in the snapshot contradicts that.
    Attribute,
}

/// Returns the conversations among `unbound` that claim `snapshot`, first the one whose message comes first.
pub fn claims<'a>(snapshot: &FiniConversation, unbound: &'a [Unbound]) -> Vec<(&'a Unbound, Evidence)> {
    let newest = unbound.last().filter(|_| mutated!("a conversation is bound to the newest row"));
    if let Some(newest) = newest {
        return vec![(newest, Evidence::Message(0))];
    }
    let mut claims: Vec<_> =
        unbound.iter().filter_map(|candidate| Some((candidate, evidence(snapshot, candidate)?))).collect();
    claims.sort_by_key(|(_, evidence)| *evidence);
    claims
}

fn evidence(snapshot: &FiniConversation, candidate: &Unbound) -> Option<Evidence> {
    if let Some(place) = snapshot.events.iter().position(|event| candidate.events.contains(&event.id)) {
        return Some(Evidence::Message(place));
    }
    if snapshot.conversation_attribute() != Some(candidate.attribute.as_str()) {
        return None;
    }
    let by_text = candidate.open.as_ref().and_then(|open| {
        snapshot.events.iter().position(|event| {
            event.role == fini_role(open.role)
                && same_text(event.text.as_deref(), &open.text)
                && event.created_at >= open.sent_at.minus(CLOCK_MARGIN)
        })
    });
    if let Some(place) = by_text {
        return Some(Evidence::Message(place));
    }
    // Attributes belong to conversations, not to events: the content may be somebody else's, and ours never stored there.
    let began = Began {
        own_since: candidate.own_since,
        may_be_earlier: false,
        first_sent_at: candidate.first_sent_at,
        has_past: false,
    };
    let is_person = |role: &FiniRole| matches!(role, FiniRole::User | FiniRole::Agent);
    let may_be_own = match candidate.own_since {
        Some(_) => news::is_created_for(snapshot.created_at, began),
        None => !snapshot.events.iter().any(|event| is_person(&event.role)),
    };
    may_be_own.then_some(Evidence::Attribute)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::{
        domain::{
            Timestamp,
            ids::{ConversationId, ConversationKey, FiniEventId, FrontendName, InteractionId},
            message::Role,
            vendor::{ATTRIBUTE_CONVERSATION, FiniEvent},
        },
        store::{ConversationRef, Open},
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + seconds * 1_000)
    }

    fn event(id: &str, role: FiniRole, text: &str) -> FiniEvent {
        FiniEvent::message(id, at(0), role, text)
    }

    fn snapshot(attribute: Option<&str>, events: Vec<FiniEvent>) -> FiniConversation {
        let mut attributes = Map::new();
        if let Some(attribute) = attribute {
            attributes.insert(ATTRIBUTE_CONVERSATION.to_owned(), json!(attribute));
        }
        FiniConversation {
            id: InteractionId::trusted("i"),
            created_at: at(0),
            status: None,
            resolved: None,
            attributes,
            events,
        }
    }

    fn unbound(attribute: &str, events: &[&str], open: Option<&str>) -> Unbound {
        Unbound {
            conversation: ConversationRef {
                key: ConversationKey(1),
                frontend: FrontendName::trusted("web"),
                id: ConversationId::trusted(attribute),
            },
            attribute: attribute.to_owned(),
            events: events.iter().map(|id| FiniEventId::trusted(*id)).collect(),
            open: open.map(|text| Open { role: Role::User, text: text.to_owned(), sent_at: at(0), is_given_up: false }),
            own_since: None,
            first_sent_at: at(0),
            wanted_since: Timestamp::ZERO,
            look_at: Timestamp::ZERO,
            looks: 0,
            waits_unlisted: false,
        }
    }

    fn claimed(snapshot: &FiniConversation, unbound: &[Unbound]) -> Vec<(String, Evidence)> {
        let claims = claims(snapshot, unbound);
        claims.iter().map(|(one, evidence)| (one.attribute.clone(), *evidence)).collect()
    }

    #[test]
    fn whoever_spoke_first_claims_first_and_nobody_is_left_out() {
        let all = [unbound("a", &["e2"], None), unbound("b", &["e1"], None), unbound("c", &["e9"], None)];
        let read = snapshot(Some("c"), ["e1", "e2"].map(|id| event(id, FiniRole::User, id)).to_vec());
        let claims = claimed(&read, &all);
        assert_eq!(claims, [("b".to_owned(), Evidence::Message(0)), ("a".to_owned(), Evidence::Message(1))]);
    }

    #[test]
    fn nothing_is_claimed_without_evidence() {
        let all = [unbound("a", &["e1"], Some("hi"))];
        assert_eq!(claimed(&snapshot(None, vec![event("x", FiniRole::User, "hi")]), &all), []);
        assert_eq!(claimed(&snapshot(Some("b"), vec![event("x", FiniRole::User, "hi")]), &all), []);
    }

    #[test]
    fn an_attribute_claims_with_the_message_or_where_no_person_is_seen() {
        let all = [unbound("a", &[], Some("my order"))];
        let by_attribute = |events| claimed(&snapshot(Some("a"), events), &all);
        let one = |evidence| vec![("a".to_owned(), evidence)];
        assert_eq!(by_attribute(vec![event("x", FiniRole::User, "my  order")]), one(Evidence::Message(0)));
        assert_eq!(by_attribute(vec![]), one(Evidence::Attribute));
        assert_eq!(by_attribute(vec![event("x", FiniRole::Bot, "Welcome")]), one(Evidence::Attribute));
        for role in [FiniRole::User, FiniRole::Agent] {
            assert_eq!(by_attribute(vec![event("x", role, "something else")]), []);
        }
        let old = FiniEvent::message("x", at(-300), FiniRole::User, "my order");
        assert_eq!(by_attribute(vec![old]), [], "it is older than the message");
        let known = [Unbound { own_since: Some(at(2)), ..unbound("a", &["e7"], None) }];
        let cut = snapshot(Some("a"), vec![event("x", FiniRole::Agent, "a person")]);
        assert_eq!(claimed(&cut, &known), one(Evidence::Attribute), "it was created with the message");
        let older = FiniConversation { created_at: at(-60), ..snapshot(Some("a"), vec![]) };
        assert_eq!(claimed(&older, &known), [], "it was not");
    }
}
