//! Applies the acts of desk, customer and time to a conversation's standing: its handoff and its state move together.
//!
//! Looks at Fini move both too, in [`Standing`]'s own file; a desk's claim takes precedence over them.

use super::{Agent, AlreadyClaimed, Due, HandoffPolicy, NoHandoff, Place, ReturnedBy, Speaker};
use crate::domain::{
    Timestamp,
    conversation::{Escalation, Standing, State},
    event::{EscalationReason, FeedEvent},
};

impl Standing {
    /// Returns the state of a conversation in which somebody writes: it stays with whoever has it.
    pub const fn active(&self) -> State {
        if self.handoff.is_bots() { State::Open } else { State::Escalated }
    }

    /// Requests a human, for the customer, the desk or an action of Fini's. Returns true if that is news.
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

    /// Lets a desk's agent take the conversation, requested or not, or join those who have it.
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

    /// Lets the named agent leave, or the one who owns the conversation.
    pub fn leave(&mut self, agent: Option<&str>, now: Timestamp, feed: &mut Vec<FeedEvent>) -> Result<(), NoHandoff> {
        self.handoff.leave(agent, now, feed)?;
        if self.handoff.speaker() == Speaker::Waiting {
            self.escalation.taken = false;
        }
        Ok(())
    }

    /// Sets the customer's place among those who wait, as the desk reports it.
    pub fn set_place(&mut self, place: Place, feed: &mut Vec<FeedEvent>) -> Result<(), NoHandoff> {
        self.handoff.set_place(place, feed)
    }

    /// Gives the conversation back to the bot.
    pub fn give_back(&mut self, by: ReturnedBy, feed: &mut Vec<FeedEvent>) -> Result<(), NoHandoff> {
        let before = self.clone();
        self.handoff.give_back(by, feed)?;
        self.end_escalation();
        feed.extend(self.report(&before));
        Ok(())
    }

    /// Ends the waiting because a human agent wrote without saying who it is; that gives nobody the ownership.
    pub fn somebody_wrote(&mut self, now: Timestamp) {
        if !self.handoff.is_bots() {
            self.handoff.human_wrote(now);
            self.escalation.taken = true;
        }
    }

    /// Does what is due at `now`; returns the text that asks the customer for an address, if that is due.
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

    /// Reopens a resolved conversation by an act that Fini does not know: older snapshots say nothing about it.
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
