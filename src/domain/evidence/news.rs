//! *News*: decides which of a conversation's own events are new to it, and whether its Fini conversation turns out to be
//! the continuation of somebody else's.
//!
//! An event is news if it was created since the conversation's first message. An earlier message of a person that nobody
//! here sent or was shown is somebody's past, and so is a message of a conversation that was erased here: then Fini has
//! continued an older conversation, whose customer is unknown. A snapshot may be cut, so this may show late; it counts
//! whenever it shows.
//!
//! Fini's times are compared with each other where there are two; with ours only where there is no other way.

use std::{collections::HashSet, hash::BuildHasher, time::Duration};

use super::own::{CLOCK_MARGIN, Whose};
use crate::domain::{
    Timestamp,
    ids::ConversationKey,
    vendor::{FiniEvent, FiniRole},
};

/// Fini creates a conversation within this of its first message or its greeting.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The beginning of a conversation, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Began {
    /// Creation time of its first message at Fini, by Fini's clock; `None` while that was not seen.
    pub own_since: Option<Timestamp>,
    /// True if an earlier message of its own may stand at Fini unrecognised: then `own_since` is not its beginning.
    pub may_be_earlier: bool,
    /// Send time of its first message, by our clock.
    pub first_sent_at: Timestamp,
    /// True if its Fini conversation is known, and allowed, to be older.
    pub has_past: bool,
}

/// The new events of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Novelty {
    /// For each event, in their order: true if it may be reported.
    pub is_news: Vec<bool>,
    /// Creation time of the conversation's first message at Fini, as it is known with this snapshot.
    pub own_since: Option<Timestamp>,
    /// True if a person whom nobody here knows has spoken in it before.
    pub has_stranger: bool,
}

/// Decides which of the events are new to the conversation to which `whose` attributes them. `created_at` is the
/// snapshot's; the customers of the `erased` conversations count as unknown.
pub fn novelty(
    created_at: Timestamp,
    events: &[FiniEvent],
    whose: &[Whose],
    began: Began,
    erased: &HashSet<ConversationKey, impl BuildHasher>,
) -> Novelty {
    let own = || events.iter().zip(whose).filter(|(_, whose)| **whose == Whose::Own).map(|(event, _)| event);
    let shown = own().filter(|event| event.role != FiniRole::Bot).map(|event| event.created_at).min();
    let seen_since = [began.own_since, shown].into_iter().flatten().min();
    let own_since = seen_since.filter(|_| !began.may_be_earlier);
    let first = own_since.and_then(|since| {
        let mut own = events.iter().zip(whose);
        own.position(|(event, whose)| *whose == Whose::Own && event.created_at <= since)
    });
    // Times may be whole seconds, and the order of equal ones is arbitrary: what staff wrote in the second in which the
    // conversation was created may stand before its first message.
    let is_begun_here = own_since.is_some_and(|since| created_at >= since);
    let is_answer_of = |event: &FiniEvent, since| event.role != FiniRole::User && Some(event.created_at) == since;
    let is_old = |index: usize, event: &FiniEvent| {
        let by_place = first.is_some_and(|first| index < first) && !(is_begun_here && is_answer_of(event, own_since));
        let by_time = match own_since {
            Some(since) => event.created_at < since.minus(AT_ONCE),
            None => event.created_at < began.first_sent_at.minus(CLOCK_MARGIN),
        };
        by_place || by_time
    };
    // A bot's word at the moment of a conversation's creation is its greeting.
    let is_fresh = !began.has_past && own_since.is_none_or(|since| created_at >= since.minus(AT_ONCE));
    let mut is_news = Vec::with_capacity(events.len());
    let mut has_stranger = false;
    for (index, (event, whose)) in events.iter().zip(whose).enumerate() {
        let is_nobodys = match whose {
            Whose::News => true,
            Whose::Others(of, _) | Whose::Withheld(of) => erased.contains(of),
            Whose::Own | Whose::Pending => false,
        };
        let is_past = is_nobodys && is_old(index, event);
        let is_old = *whose == Whose::News && is_past;
        let is_person = matches!(event.role, FiniRole::User | FiniRole::Agent);
        has_stranger |= is_past && is_person && !began.has_past;
        let is_greeting =
            is_old && !is_person && is_fresh && own_since.is_none_or(|since| event.created_at >= since.minus(AT_ONCE));
        is_news.push(matches!(whose, Whose::Own | Whose::News) && (!is_old || is_greeting));
    }
    Novelty { is_news, own_since: seen_since, has_stranger }
}

/// Returns true if a Fini conversation created at `created_at` is older than the conversation that began so, by more than
/// clocks and delays explain.
pub fn is_older(created_at: Timestamp, began: Began) -> bool {
    let since = began.own_since.filter(|_| !began.may_be_earlier).unwrap_or(began.first_sent_at);
    !began.has_past && created_at < since.minus(CLOCK_MARGIN)
}

/// Returns true if a Fini conversation created at `created_at` was created for the conversation's first message.
pub fn is_created_for(created_at: Timestamp, began: Began) -> bool {
    began.own_since.is_some_and(|since| since.minus(AT_ONCE) <= created_at && created_at <= since.plus(AT_ONCE))
}

/// Returns true if a snapshot may lack its beginning: its first event is later than the creation of its conversation.
pub fn is_cut(created_at: Timestamp, events: &[FiniEvent]) -> bool {
    events.first().is_some_and(|first| first.created_at > created_at.plus(AT_ONCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + secs * 1000)
    }

    fn event(secs: i64, role: FiniRole) -> FiniEvent {
        FiniEvent::message(format!("{role:?}-{secs}"), at(secs), role, "text")
    }

    /// Judges a snapshot of a conversation created at `created`, whose last event is the first message of ours.
    fn seen(created: i64, before: &[(i64, FiniRole, Whose)]) -> Novelty {
        seen_where(false, created, before)
    }

    fn seen_where(may_be_earlier: bool, created: i64, before: &[(i64, FiniRole, Whose)]) -> Novelty {
        let mut events: Vec<_> = before.iter().map(|(secs, role, _)| event(*secs, role.clone())).collect();
        events.push(event(10, FiniRole::User));
        let whose: Vec<_> = before.iter().map(|(.., whose)| *whose).chain([Whose::Own]).collect();
        let began = Began { own_since: Some(at(10)), may_be_earlier, first_sent_at: at(9), has_past: false };
        novelty(at(created), &events, &whose, began, &HashSet::from([ConversationKey(7)]))
    }

    #[test]
    fn what_is_said_in_the_second_of_the_first_message_is_no_past() {
        let agent = (10, FiniRole::Agent, Whose::News);
        assert_eq!(seen(10, std::slice::from_ref(&agent)).is_news, [true, true]);
        assert!(!seen(10, std::slice::from_ref(&agent)).has_stranger);
        assert!(seen(9, &[agent]).has_stranger, "the conversation is older");
        assert!(seen(10, &[(10, FiniRole::User, Whose::News)]).has_stranger, "another customer");
        assert!(seen(10, &[(9, FiniRole::Agent, Whose::News)]).has_stranger, "before it");
    }

    #[test]
    fn behind_an_own_message_that_was_not_recognised_nothing_is_past() {
        let agent = [(4, FiniRole::Agent, Whose::News)];
        assert!(seen(3, &agent).has_stranger);
        assert_eq!(seen_where(true, 3, &agent).is_news, [true, true]);
        assert!(seen_where(true, -600, &[(-600, FiniRole::Agent, Whose::News)]).has_stranger);
    }

    #[test]
    fn an_erased_conversation_is_somebodys_past() {
        let erased = Whose::Others(ConversationKey(7), None);
        assert!(seen(5, &[(5, FiniRole::User, erased)]).has_stranger);
        assert!(!seen(5, &[(5, FiniRole::User, Whose::Others(ConversationKey(8), None))]).has_stranger);
        assert!(!seen(5, &[(5, FiniRole::Bot, erased)]).has_stranger, "no person");
    }
}
