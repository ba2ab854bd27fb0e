//! *Ours*: decides which events of a snapshot belong to the conversation that is bound to it, where others of ours may
//! have spoken in the same Fini conversation.
//!
//! Fini's "create or resolve" may put two customers into one Fini conversation, and no event says for whom it is. So each
//! is attributed by proof: an id that one of Fini's answers named; the text of a message whose answer never came; the
//! place behind the owner's own words while nobody else is owed a reply. An event without proof is withheld from
//! everybody until an operator decides.
//!
//! Invariant: nothing of one customer is attributed to another, whichever answers were lost, however far a snapshot lags
//! or is cut. If the owner alone has spoken, nothing is withheld.

use std::{collections::HashMap, time::Duration};

use super::absent;
use crate::domain::{
    Timestamp,
    ids::{ConversationKey, FiniEventId, TurnKey},
    message::Role,
    own_event::{fini_role, same_text},
    turn::TurnState,
    vendor::{FiniEvent, FiniKind, FiniRole},
};

/// The most by which Fini's clock and ours differ.
pub const CLOCK_MARGIN: Duration = Duration::from_secs(120);
/// Longest time after its send at which a message may still turn up without further news of it.
const LATEST_ARRIVAL: Duration = Duration::from_mins(20);
/// A reply may seem older than its message by up to this: whole seconds, and clocks of several machines.
const REPLY_BEFORE: Duration = Duration::from_secs(2);

/// The conversation that saw an event first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenBy {
    /// The conversation to which the event belongs from then on.
    pub conversation: ConversationKey,
    /// True if the event is only reserved for that one: an answer that names it for another overrides this.
    pub withheld: bool,
    /// The state of the turn to which it belongs, if any.
    pub turn: Option<TurnState>,
}

/// The text of a message, as far as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wording {
    /// As it was sent.
    Text(String),
    /// The digest of one that was erased.
    Digest(String),
}

impl Wording {
    fn is(&self, found: &str) -> bool {
        match self {
            Self::Text(sent) => same_text(Some(found), sent),
            Self::Digest(sent) => absent::digest(found) == *sent,
        }
    }
}

/// A message of ours whose own event was never seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// The conversation of the message.
    pub conversation: ConversationKey,
    /// Its turn.
    pub turn: TurnKey,
    /// The role it was sent as.
    pub role: Role,
    /// Its text.
    pub text: Wording,
    /// The state of its turn.
    pub state: TurnState,
    /// True if its conversation is known to share this Fini conversation.
    pub shares: bool,
    /// Earliest time at which its event was created, by Fini's clock.
    pub not_before: Timestamp,
    /// Latest such time.
    pub not_after: Timestamp,
}

/// The records about a snapshot's events and about everybody who may have spoken in it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The conversation that is bound to it.
    pub owner: ConversationKey,
    /// True while Fini's answer to a message of the owner is on its way; it will name its events.
    pub owner_is_answered: bool,
    /// The events that were seen before.
    pub seen: &'a HashMap<FiniEventId, SeenBy>,
    /// Messages whose own event was not seen: the owner's, and all others that may stand here.
    pub unseen: &'a [Unseen],
    /// The owner's unseen message that our attribute on the Fini conversation names as the latest to reach it, settled
    /// for longer than Fini's reads lag behind.
    pub named: Option<TurnKey>,
    /// Conversations of the same person: a reply to them may be meant for the owner.
    pub companions: &'a [ConversationKey],
    /// True if the beginning may be cut off: an unseen event may then answer a message that is not shown.
    pub is_cut: bool,
}

/// The conversation to which an event is attributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The owner's, provably: seen before as such, or a message of the owner.
    Own,
    /// The owner's by its place: new, unless it stood there before the owner came.
    News,
    /// Another conversation's; with the turn whose message it is, if its text has just shown that.
    Others(ConversationKey, Option<TurnKey>),
    /// Not known yet: an answer that is on its way, or a search, will tell.
    Pending,
    /// Not known, and nothing will tell: reserved for this other conversation, which is concerned too.
    Withheld(ConversationKey),
}

/// The attribution of a snapshot's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    /// The attribution of each event, in the order of the events.
    pub whose: Vec<Whose>,
    /// True if an event attributed to another may be a message of the owner, whose absence is then not proved.
    pub owner_in_doubt: bool,
    /// True if the whole conversation would tell more than this part of it.
    pub wants_whole: bool,
}

/// A customer's message in the snapshot that is not, or not provably, the owner's.
struct Foreign {
    index: usize,
    at: Timestamp,
    conversation: Option<ConversationKey>,
    is_answered: bool,
    /// True while more may be learnt about it.
    is_open: bool,
    is_companion: bool,
}

/// Attributes each event to a conversation. `events` are in Fini's order.
pub fn attribute(events: &[FiniEvent], facts: &Facts<'_>) -> Attribution {
    let mut owner_in_doubt = false;
    let mut known: Vec<Option<Whose>> = Vec::with_capacity(events.len());
    for event in events {
        let (whose, doubt) = match facts.seen.get(&event.id) {
            Some(by) if by.conversation == facts.owner => (Some(Whose::Own), false),
            // Reserved without proof: that does not prove the owner's own message absent.
            Some(by) => {
                let is_in_doubt = by.withheld && by.turn.is_none() && facts.may_be_the_owners(event);
                (Some(Whose::Others(by.conversation, None)), is_in_doubt)
            }
            None => facts.by_text(event, events),
        };
        owner_in_doubt |= doubt;
        known.push(whose);
    }
    let scene = Scene::of(events, &known, facts);
    let whose = events.iter().zip(&known).enumerate();
    let mut wants_whole = false;
    let whose = whose.map(|(index, (event, known))| {
        let whose = known.unwrap_or_else(|| scene.by_place(index, event));
        let is_cut_off = whose == Whose::News && scene.may_answer_what_is_cut_off(index, event);
        wants_whole |= is_cut_off;
        if is_cut_off { Whose::Pending } else { whose }
    });
    Attribution { whose: whose.collect(), owner_in_doubt, wants_whole }
}

impl Facts<'_> {
    fn may_be_the_owners(&self, event: &FiniEvent) -> bool {
        self.unseen.iter().any(|message| message.conversation == self.owner && message.may_be(event))
    }

    /// Returns whose message an unseen event is, if it may be one of ours; and true if it may be one of the owner's
    /// without being provably so.
    fn by_text(&self, event: &FiniEvent, events: &[FiniEvent]) -> (Option<Whose>, bool) {
        let mut own = None;
        let mut others: Vec<&Unseen> = Vec::new();
        for message in self.unseen.iter().filter(|message| message.may_be(event)) {
            if message.conversation == self.owner {
                own = Some(message);
            } else {
                others.push(message);
            }
        }
        // The same person sent the same text: it is the owner's.
        others.retain(|other| own.is_none() || !self.companions.contains(&other.conversation));
        let Some(likeliest) = others.iter().find(|other| other.shares).or(others.first()) else {
            return (own.map(|_| Whose::Own), false);
        };
        if own.is_some_and(|own| self.is_named(own, &others, events)) {
            return (Some(Whose::Own), false);
        }
        // Two senders of the same text cannot be told apart.
        let is_certain = others.iter().all(|other| other.conversation == likeliest.conversation);
        if own.is_none() && likeliest.shares && is_certain && event.text.is_some() {
            return (Some(Whose::Others(likeliest.conversation, Some(likeliest.turn))), false);
        }
        let may_clear_up =
            |message: &Unseen| message.state == TurnState::Sending || (!message.shares && !message.state.is_settled());
        let is_open = others.iter().any(|other| may_clear_up(other))
            || own.is_some_and(|own| own.state == TurnState::Sending)
            || event.text.is_none();
        let whose = if is_open { Whose::Pending } else { Whose::Withheld(likeliest.conversation) };
        (Some(whose), own.is_some())
    }
}

impl Facts<'_> {
    /// Returns true if the only event that may be this message of the owner is it, although others sent the same text:
    /// Fini names it as the latest, so that none of theirs came after it, and one that had come before would show as
    /// another event.
    fn is_named(&self, own: &Unseen, others: &[&Unseen], events: &[FiniEvent]) -> bool {
        let is_unseen = |event: &&FiniEvent| !self.seen.contains_key(&event.id) && own.may_be(event);
        self.named == Some(own.turn)
            && !self.is_cut
            && others.iter().all(|other| !other.shares && other.state != TurnState::Sending)
            && events.iter().filter(is_unseen).count() == 1
    }
}

impl Unseen {
    /// Returns true if an unseen event may be this message.
    fn may_be(&self, event: &FiniEvent) -> bool {
        if event.kind != FiniKind::Message || fini_role(self.role) != event.role {
            return false;
        }
        let is_text = match &event.text {
            Some(text) => self.text.is(text),
            // The text is filled in later; the owner's own is then shown as it reads.
            None => !self.state.is_settled(),
        };
        is_text && event.created_at >= self.not_before && event.created_at <= self.not_after
    }

    /// Returns a message of an erased conversation. It counts as one that may stand anywhere, since nobody will find out
    /// where: an event with the same text in its time is never reported as somebody else's.
    pub fn erased(
        (conversation, turn): (ConversationKey, TurnKey),
        role: Role,
        digest: String,
        sent_at: Timestamp,
        is_being_answered: bool,
    ) -> Self {
        let (not_before, not_after) = Self::window(sent_at, TurnState::Failed, false);
        Self {
            conversation,
            turn,
            role,
            text: Wording::Digest(digest),
            state: if is_being_answered { TurnState::Sending } else { TurnState::Unclear },
            shares: true,
            not_before,
            not_after,
        }
    }

    /// Returns when the event of somebody else's message may have been created: an unsettled one at any time; of one that
    /// was given up and is not known to stand here, the text says little, so the time has to fit.
    pub fn window(sent_at: Timestamp, state: TurnState, shares: bool) -> (Timestamp, Timestamp) {
        if shares || !state.is_settled() {
            (Timestamp::ZERO, Timestamp::MAX)
        } else {
            (sent_at.minus(CLOCK_MARGIN), sent_at.plus(LATEST_ARRIVAL))
        }
    }
}

/// The places in a snapshot at which each side has spoken.
struct Scene<'a> {
    events: &'a [FiniEvent],
    facts: &'a Facts<'a>,
    foreign: Vec<Foreign>,
    /// The indices of what the owner's customer, or the same person elsewhere, wrote.
    own: Vec<usize>,
}

impl<'a> Scene<'a> {
    fn of(events: &'a [FiniEvent], known: &[Option<Whose>], facts: &'a Facts<'a>) -> Self {
        let mut scene = Self { events, facts, foreign: Vec::new(), own: Vec::new() };
        for (index, (event, known)) in events.iter().zip(known).enumerate() {
            let conversation = match known {
                // No message of ours: the customer wrote through another channel.
                Some(Whose::Own) | None if event.role == FiniRole::User => {
                    scene.own.push(index);
                    continue;
                }
                Some(Whose::Own | Whose::News) | None => continue,
                Some(Whose::Others(conversation, _) | Whose::Withheld(conversation)) => Some(*conversation),
                Some(Whose::Pending) => None,
            };
            // Only a customer's words are owed a reply: those of a desk, a colleague or a bot are not.
            if matches!(event.role, FiniRole::Bot | FiniRole::Agent | FiniRole::OtherBot) {
                continue;
            }
            let state = facts.seen.get(&event.id).and_then(|seen| seen.turn);
            // A reserved event may prove to be another conversation's: no reply to its holder answers it.
            let is_certain = match facts.seen.get(&event.id) {
                Some(by) => !by.withheld || by.turn.is_some(),
                None => matches!(known, Some(Whose::Others(_, Some(_)))),
            };
            let is_companion = conversation.is_some_and(|conversation| facts.companions.contains(&conversation));
            if is_companion && event.role == FiniRole::User {
                scene.own.push(index);
            }
            scene.foreign.push(Foreign {
                index,
                at: event.created_at,
                conversation,
                is_answered: is_certain
                    && (matches!(state, Some(TurnState::Answered | TurnState::Stored))
                        || conversation.is_some_and(|conversation| scene.named_reply_after(conversation, index))),
                is_open: conversation.is_none()
                    || state == Some(TurnState::Sending)
                    || conversation.is_some_and(|conversation| facts.is_being_answered(conversation)),
                is_companion,
            });
        }
        scene
    }

    /// Attributes an event that is no message of ours by the events around it.
    fn by_place(&self, index: usize, event: &FiniEvent) -> Whose {
        let is_owed = |other: &&Foreign| !self.is_no_reply_to(other, index);
        let near = |other: &&Foreign| other.index < index || other.at <= event.created_at.plus(REPLY_BEFORE);
        let replied = self.foreign.iter().filter(near).rfind(is_owed);
        let spoken = self.foreign.iter().filter(|other| !other.is_companion).rfind(|other| other.index < index);
        let spoken = spoken.filter(|other| !self.own.iter().any(|own| (other.index..index).contains(own)));
        let rival = match event.role {
            FiniRole::Bot => replied,
            FiniRole::User => None,
            FiniRole::Agent | FiniRole::OtherBot => spoken,
            FiniRole::Unknown(_) => replied.or(spoken),
        };
        let Some(rival) = rival else { return Whose::News };
        let is_open = self.facts.owner_is_answered || self.foreign.iter().any(|other| other.is_open);
        match rival.conversation.or_else(|| self.foreign.iter().rev().find_map(|other| other.conversation)) {
            Some(conversation) if !is_open => Whose::Withheld(conversation),
            _ => Whose::Pending,
        }
    }

    /// Returns true if an unseen event may belong to what a cut snapshot does not show: any word of the bot, or a
    /// person's that no word of the owner's customer precedes.
    fn may_answer_what_is_cut_off(&self, index: usize, event: &FiniEvent) -> bool {
        let is_spoken_to = || self.own.iter().any(|own| *own < index);
        self.facts.is_cut
            && match event.role {
                FiniRole::User => false,
                FiniRole::Bot => true,
                _ => !is_spoken_to(),
            }
    }

    /// Returns true if the event at `index` is provably no reply to somebody else's message: that one has its answer, and
    /// either the answer named something later, but not this, or the owner has spoken since.
    fn is_no_reply_to(&self, other: &Foreign, index: usize) -> bool {
        if other.is_companion {
            return other.is_answered || !other.is_open;
        }
        other.is_answered
            && (other.conversation.is_some_and(|conversation| self.named_reply_after(conversation, index))
                || self.own.iter().any(|own| (other.index..index).contains(own)))
    }

    /// Returns true if an answer to that conversation named a word of the bot after `index`.
    fn named_reply_after(&self, conversation: ConversationKey, index: usize) -> bool {
        self.events.iter().skip(index + 1).filter(|event| event.role == FiniRole::Bot).any(|event| {
            self.facts.seen.get(&event.id).is_some_and(|by| by.conversation == conversation && !by.withheld)
        })
    }
}

impl Facts<'_> {
    /// Returns true while Fini's answer to a message of that conversation is on its way.
    fn is_being_answered(&self, conversation: ConversationKey) -> bool {
        self.unseen.iter().any(|one| one.conversation == conversation && one.state == TurnState::Sending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: ConversationKey = ConversationKey(1);
    const ERASED: ConversationKey = ConversationKey(2);

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + secs * 1000)
    }

    fn event(id: &str, secs: i64, role: FiniRole, text: &str) -> FiniEvent {
        FiniEvent::message(id.to_owned(), at(secs), role, text)
    }

    fn whose(events: &[FiniEvent], is_being_answered: bool) -> Vec<Whose> {
        let digest = absent::digest("the blue shoes");
        let erased = Unseen::erased((ERASED, TurnKey(7)), Role::User, digest, at(10), is_being_answered);
        let facts = Facts {
            owner: OWNER,
            owner_is_answered: false,
            seen: &HashMap::new(),
            unseen: &[erased],
            named: None,
            companions: &[],
            is_cut: false,
        };
        attribute(events, &facts).whose
    }

    #[test]
    fn what_is_reserved_for_another_is_no_proof_that_the_owners_is_absent() {
        let own = Unseen {
            conversation: OWNER,
            turn: TurnKey(3),
            role: Role::User,
            text: Wording::Text("ok".to_owned()),
            state: TurnState::Unclear,
            shares: false,
            not_before: Timestamp::ZERO,
            not_after: Timestamp::MAX,
        };
        let events = [event("e-1", 1, FiniRole::User, "ok")];
        for (withheld, turn, is_in_doubt) in
            [(true, None, true), (false, None, false), (true, Some(TurnState::Awaiting), false)]
        {
            let by = SeenBy { conversation: ERASED, withheld, turn };
            let facts = Facts {
                owner: OWNER,
                owner_is_answered: false,
                seen: &HashMap::from([(events[0].id.clone(), by)]),
                unseen: std::slice::from_ref(&own),
                named: None,
                companions: &[],
                is_cut: false,
            };
            assert_eq!(attribute(&events, &facts).owner_in_doubt, is_in_doubt);
        }
    }

    #[test]
    fn what_was_erased_on_its_way_is_never_told_as_somebody_elses() {
        let events = [
            event("e-1", 1, FiniRole::User, "where is it?"),
            event("e-2", 2, FiniRole::Bot, "on its way"),
            event("e-3", 11, FiniRole::User, "the  blue shoes"),
            event("e-4", 12, FiniRole::Bot, "for the erased one"),
        ];
        let message = Whose::Others(ERASED, Some(TurnKey(7)));
        assert_eq!(whose(&events, true), [Whose::News, Whose::News, message, Whose::Pending]);
        assert_eq!(whose(&events, false), [Whose::News, Whose::News, message, Whose::Withheld(ERASED)]);
        let long_after = [event("e-1", 3_000, FiniRole::User, "the blue shoes")];
        assert_eq!(whose(&long_after, false), [Whose::News]);
    }
}
