//! Whose Fini conversation is this? Pure: the wrapper as it was read, and the conversations that look for theirs.
//!
//! Exact evidence only: Fini's event ids from a response, or the attribute that the bridge put on the conversation. Never
//! "the newest row". A wrong guess would show one customer another customer's messages.

use crate::{
    domain::{
        echo::same_text,
        ids::FiniEventId,
        vendor::{FiniConversation, FiniRole},
    },
    store::Unbound,
};

/// How far Fini's clock and ours may lie apart.
const CLOCK_MARGIN: std::time::Duration = std::time::Duration::from_secs(120);

/// What a wrapper means to a conversation that looks for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is this one's.
    Own,
    /// It is this one's, but somebody wrote in it before this one did: Fini reused an existing conversation, whose
    /// customer nobody knows.
    Reused,
}

/// The conversation among `unbound` to which `wrapper` belongs, and how.
///
/// Event ids come before the attribute: where Fini does not merge attributes on reuse, the attribute still names whoever
/// came first.
pub fn claim<'a>(wrapper: &FiniConversation, unbound: &'a [Unbound]) -> Option<(&'a Unbound, Claim)> {
    let by_event =
        unbound.iter().find(|candidate| wrapper.events.iter().any(|event| candidate.events.contains(&event.id)));
    let by_attribute = || {
        let attribute = wrapper.conversation_attribute()?;
        unbound.iter().find(|candidate| candidate.attribute == attribute)
    };
    let newest = || unbound.last().filter(|_| mutated!("a conversation is bound to the newest row"));
    let owner = newest().or(by_event).or_else(by_attribute)?;
    Some((owner, if has_history(wrapper, owner) { Claim::Reused } else { Claim::Own }))
}

/// Whether a person wrote in the conversation before `owner` did. A greeting of the bot does not count.
fn has_history(wrapper: &FiniConversation, owner: &Unbound) -> bool {
    let is_own = |event: &crate::domain::vendor::FiniEvent| {
        owner.events.contains(&event.id)
            || (owner.events.is_empty()
                && event.role == FiniRole::User
                && owner.open_text.as_deref().is_some_and(|text| same_text(event.text.as_deref(), text)))
    };
    let mut before = wrapper.events.iter().take_while(|event| !is_own(event));
    if !wrapper.events.iter().any(is_own) {
        // Nothing of ours is visible yet: only what is clearly older than our first send is history.
        return wrapper
            .events
            .iter()
            .any(|event| is_person(&event.role) && event.created_at < owner.first_sent_at.minus(CLOCK_MARGIN));
    }
    before.any(|event| is_person(&event.role))
}

/// The wrapper's events since `owner` first wrote: what must never reach the conversation it was mixed into.
pub fn events_since(wrapper: &FiniConversation, owner: &Unbound) -> Vec<FiniEventId> {
    let start = wrapper.events.iter().position(|event| {
        owner.events.contains(&event.id)
            || (event.role == FiniRole::User
                && owner.open_text.as_deref().is_some_and(|text| same_text(event.text.as_deref(), text)))
    });
    match start {
        Some(start) => wrapper.events[start..].iter().map(|event| event.id.clone()).collect(),
        None => Vec::new(),
    }
}

const fn is_person(role: &FiniRole) -> bool {
    matches!(role, FiniRole::User | FiniRole::Agent)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::{
        domain::{
            Timestamp,
            ids::{ConversationId, ConversationKey, FrontendName, InteractionId},
            vendor::{ATTRIBUTE_CONVERSATION, FiniEvent},
        },
        store::ConversationRef,
    };

    fn event(id: &str, role: FiniRole, text: &str) -> FiniEvent {
        FiniEvent::message(id, Timestamp::from_millis(1_000_000), role, text)
    }

    fn wrapper(attribute: Option<&str>, events: Vec<FiniEvent>) -> FiniConversation {
        let mut attributes = Map::new();
        if let Some(attribute) = attribute {
            attributes.insert(ATTRIBUTE_CONVERSATION.to_owned(), json!(attribute));
        }
        FiniConversation {
            id: InteractionId::trusted("i"),
            created_at: Timestamp::ZERO,
            status: None,
            resolved: None,
            attributes,
            events,
        }
    }

    fn unbound(attribute: &str, events: &[&str], open_text: Option<&str>) -> Unbound {
        Unbound {
            conversation: ConversationRef {
                key: ConversationKey(1),
                frontend: FrontendName::trusted("web"),
                id: ConversationId::trusted(attribute),
            },
            attribute: attribute.to_owned(),
            events: events.iter().map(|id| FiniEventId::trusted(*id)).collect(),
            open_text: open_text.map(str::to_owned),
            first_sent_at: Timestamp::from_millis(1_000_000),
            wanted_since: Timestamp::ZERO,
            look_at: Timestamp::ZERO,
            looks: 0,
            waits_unlisted: false,
        }
    }

    #[test]
    fn an_event_id_decides_before_an_attribute() {
        let all = [unbound("a", &["e1"], None), unbound("b", &["e2"], None)];
        let read = wrapper(Some("a"), vec![event("e2", FiniRole::User, "hi")]);
        let (owner, how) = claim(&read, &all).expect("claimed");
        assert_eq!((owner.attribute.as_str(), how), ("b", Claim::Own));
    }

    #[test]
    fn nothing_is_claimed_without_evidence() {
        let all = [unbound("a", &["e1"], Some("hi"))];
        assert!(claim(&wrapper(None, vec![event("x", FiniRole::User, "hi")]), &all).is_none());
    }

    #[test]
    fn a_person_before_us_means_reuse_and_a_greeting_does_not() {
        let all = [unbound("a", &["e1"], None)];
        let greeted = wrapper(None, vec![event("g", FiniRole::Bot, "Welcome"), event("e1", FiniRole::User, "hi")]);
        assert_eq!(claim(&greeted, &all).expect("claimed").1, Claim::Own);
        let used = wrapper(None, vec![event("u", FiniRole::User, "other"), event("e1", FiniRole::User, "hi")]);
        assert_eq!(claim(&used, &all).expect("claimed").1, Claim::Reused);
    }

    #[test]
    fn what_was_mixed_in_begins_at_the_message() {
        let own = unbound("b", &[], Some("my secret"));
        let events = ["hi", "my  secret", "so?"].map(|text| event(text, FiniRole::User, text));
        let mixed = wrapper(Some("a"), events.to_vec());
        assert_eq!(events_since(&mixed, &own), ["my  secret", "so?"].map(FiniEventId::trusted));
        assert!(events_since(&wrapper(Some("b"), vec![]), &own).is_empty());
    }
}
