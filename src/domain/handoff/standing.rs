//! The acts of desk, customer and time on a conversation's standing: a handoff and the conversation's state move together.
//!
//! What Fini shows moves both too, in [`Standing`]'s own file; a desk's claim stands above it.

use super::{Agent, AlreadyClaimed, Due, HandoffPolicy, NoHandoff, Place, ReturnedBy, Speaker};
use crate::domain::{
    Timestamp,
    conversation::{Escalation, Standing, State},
    event::{EscalationReason, FeedEvent},
};

impl Standing {
    /// The state of a conversation in which somebody writes: who has it, it stays with.
    pub const fn active(&self) -> State {
        if self.handoff.is_bots() { State::Open } else { State::Escalated }
    }

    /// A human is asked for, by the customer, the desk or an action of Fini's. Says whether that is news.
    pub fn request_human(
        &mut self,
        reason: EscalationReason,
        note: Option<String>,
        now: Timestamp,
        feed: &mut Vec<FeedEvent>,
    ) -> bool {
        if !self.handoff.is_bots() {
            return false;
        }
        let before = self.clone();
        self.reopen(now, feed);
        self.begin_escalation(reason, note, now, feed);
        feed.extend(self.report(&before));
        true
    }

    /// An agent of a desk takes the conversation, whether anybody asked for that or not, or joins those who have it.
    pub fn claim(
        &mut self,
        agent: Agent,
        joins: bool,
        now: Timestamp,
        feed: &mut Vec<FeedEvent>,
    ) -> Result<(), AlreadyClaimed> {
        let before = self.clone();
        let is_taken = !self.handoff.agents.is_empty();
        let mut claimed = Vec::new();
        self.handoff.claim(agent, joins, now, &mut claimed)?;
        if !is_taken {
            self.reopen(now, feed);
            if self.state == State::Open {
                (self.state, self.escalation) = (State::Escalated, Escalation::default());
            }
        }
        feed.append(&mut claimed);
        feed.extend(self.report(&before));
        Ok(())
    }

    /// An agent leaves: that one, or the one who owns the conversation.
    pub fn leave(&mut self, agent: Option<&str>, now: Timestamp, feed: &mut Vec<FeedEvent>) -> Result<(), NoHandoff> {
        self.handoff.leave(agent, now, feed)?;
        if self.handoff.speaker() == Speaker::Waiting {
            self.escalation.taken = false;
        }
        Ok(())
    }

    /// The desk says where the customer stands among those who wait.
    pub fn set_place(&mut self, place: Place, feed: &mut Vec<FeedEvent>) -> Result<(), NoHandoff> {
        self.handoff.set_place(place, feed)
    }

    /// The desk gives the conversation back to the bot.
    pub fn give_back(&mut self, by: ReturnedBy, feed: &mut Vec<FeedEvent>) -> Result<(), NoHandoff> {
        let before = self.clone();
        self.handoff.give_back(by, feed)?;
        self.end_escalation();
        feed.extend(self.report(&before));
        Ok(())
    }

    /// An agent of a desk wrote without saying who it is: nobody waits any more, and nobody owns the conversation.
    pub fn somebody_wrote(&mut self, now: Timestamp) {
        if !self.handoff.is_bots() {
            self.handoff.human_wrote(now);
            self.escalation.taken = true;
        }
    }

    /// Does what is due at `now`; gives the words in which the customer is asked for an address, if it is.
    pub fn tick(
        &mut self,
        policy: &HandoffPolicy,
        last_word_at: Timestamp,
        now: Timestamp,
        feed: &mut Vec<FeedEvent>,
    ) -> Option<String> {
        let before = self.clone();
        let due = self.handoff.tick(policy, last_word_at, now, feed);
        if due == Due::GaveBack {
            self.end_escalation();
        }
        feed.extend(self.report(&before));
        match due {
            Due::Asks(text) => Some(text),
            Due::GoesOn | Due::GaveBack => None,
        }
    }

    /// What is resolved begins again by an act that Fini knows nothing of: what it shows from before says nothing of it.
    fn reopen(&mut self, now: Timestamp, feed: &mut Vec<FeedEvent>) {
        self.as_of = self.as_of.max(now);
        if self.state == State::Resolved {
            feed.push(FeedEvent::Resolved { resolved: false });
            self.state = State::Open;
        }
    }

    fn end_escalation(&mut self) {
        if self.state == State::Escalated {
            self.state = State::Open;
        }
        self.escalation = Escalation::default();
    }
}
