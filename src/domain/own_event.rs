//! Finds the open turn's own message among Fini's events. Fini's answer to a send may be lost, and its reads name events
//! by ids of their own: so the message is recognised by role, text, place and time, and by our attribute if Fini keeps
//! it.

use std::{collections::HashMap, time::Duration};

use super::{
    Timestamp,
    ids::FiniEventId,
    message::Role,
    observation::{Observation, OpenTurn, SeenEvent, UnseenMessage},
    vendor::{FiniEvent, FiniRole},
};

/// The result of a search for the open turn's own message.
#[derive(Clone, Copy, Debug)]
pub(super) enum OwnEvent<'e> {
    /// This event is it.
    Found(&'e FiniEventId),
    /// This event is it, or that of an earlier message with the same text.
    Doubtful(&'e FiniEventId),
    /// It is not there.
    Missing,
}

impl Observation<'_> {
    /// Returns the event that is the open turn's own message.
    ///
    /// In a response it is the first unseen event of the turn's role. In a snapshot it is an unseen event of that role
    /// with the turn's text; two equal texts in a row stay apart because the earlier one was seen. If Fini altered the
    /// text, our turn attribute on the snapshot and a single unseen event of the role are evidence enough.
    pub(super) fn find_own_event<'e>(
        &'e self,
        open: Option<&OpenTurn>,
        unseen_messages: &[UnseenMessage],
        seen: &HashMap<FiniEventId, SeenEvent>,
    ) -> OwnEvent<'e> {
        let Some(turn) = open.filter(|turn| turn.progress.own_event.is_none()) else { return OwnEvent::Missing };
        let role = fini_role(turn.role);
        let mut candidates = self.events.iter().filter(|event| event.role == role && !seen.contains_key(&event.id));
        if self.is_response() {
            return candidates.next().map_or(OwnEvent::Missing, |event| OwnEvent::Found(&event.id));
        }
        let candidates: Vec<_> = candidates.collect();
        let is_named = self.snapshot.is_some_and(|snapshot| snapshot.names_open_turn);
        let rivals = unseen_messages
            .iter()
            .filter(|earlier| !is_named && earlier.role == turn.role && same_text(Some(&earlier.text), &turn.text));
        // Earlier messages with this text that Fini certainly has come first, unless Fini names the last one.
        let (arrived, unclear): (Vec<_>, Vec<_>) = rivals.partition(|earlier| earlier.arrived);
        let same_text = candidates.iter().filter(|event| same_text(event.text.as_deref(), &turn.text));
        let same_text: Vec<_> = same_text.skip(arrived.len()).collect();
        match (same_text.last(), candidates.as_slice()) {
            (Some(event), _) if same_text.len() > unclear.len() => OwnEvent::Found(&event.id),
            (Some(event), _) => between(event, turn, unclear.iter().map(|earlier| earlier.sent_at).max()),
            (None, unseen) if is_named => match younger(unseen, turn).as_slice() {
                [] => OwnEvent::Missing,
                [only] => OwnEvent::Found(&only.id),
                [.., last] => OwnEvent::Doubtful(&last.id),
            },
            (None, _) => OwnEvent::Missing,
        }
    }
}

impl UnseenMessage {
    /// Returns true if an unseen event may be this message.
    pub(super) fn may_be(&self, event: &FiniEvent) -> bool {
        fini_role(self.role) == event.role && same_text(event.text.as_deref(), &self.text)
    }
}

/// Fini's clock and ours differ by no more than this.
const CLOCK_MARGIN: Duration = Duration::from_mins(2);

/// Returns the events that were created after the turn was sent, as far as two clocks can tell.
fn younger<'e>(events: &[&'e FiniEvent], turn: &OpenTurn) -> Vec<&'e FiniEvent> {
    let sent_at = turn.sent_at.minus(CLOCK_MARGIN);
    events.iter().copied().filter(|event| event.created_at >= sent_at).collect()
}

/// Messages with the same text sent within less than this cannot be told apart by Fini's clock, which is not ours.
const TOLD_APART: Duration = Duration::from_mins(1);

/// Decides whether an event is the open turn's message or that of an earlier one with the same text, sent at `earlier`,
/// of which it is unknown whether Fini has it: it is the message of the one in whose time it was created.
fn between<'e>(event: &'e FiniEvent, turn: &OpenTurn, earlier: Option<Timestamp>) -> OwnEvent<'e> {
    let Some(earlier) = earlier else { return OwnEvent::Found(&event.id) };
    let apart = turn.sent_at.since(earlier);
    if apart < TOLD_APART {
        OwnEvent::Doubtful(&event.id)
    } else if event.created_at >= earlier.plus(apart / 2) {
        OwnEvent::Found(&event.id)
    } else {
        OwnEvent::Missing
    }
}

/// Returns true if Fini shows the text that was sent; white space may differ.
pub fn same_text(found: Option<&str>, sent: &str) -> bool {
    found.is_some_and(|found| found.split_whitespace().eq(sent.split_whitespace()))
}

/// Returns Fini's name of a role.
pub const fn fini_role(role: Role) -> FiniRole {
    match role {
        Role::User => FiniRole::User,
        Role::Agent => FiniRole::Agent,
        Role::OtherBot => FiniRole::OtherBot,
    }
}
