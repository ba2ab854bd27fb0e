//! Adds the bot's reply when it is ready: with its time stamp, in its place, and with the handover that follows.

use std::sync::Arc;

use uuid::Uuid;

use super::choices::{ReplyTime, StatusBy};
use super::model::{Conversation, Event};
use super::script::{Draft, Handover};
use super::world::World;

/// A reply on its way.
pub struct Coming {
    /// The conversation to which it goes.
    pub conversation: Uuid,
    /// The events that it adds, in order.
    pub drafts: Vec<Draft>,
    /// The handover that follows.
    pub handover: Handover,
    /// The message it answers.
    pub message: Option<Arc<Event>>,
    /// True if it stands in front of the message.
    pub in_front: bool,
}

impl World {
    /// Adds the reply and returns its events, without those of others that came in between; `None` if the conversation is
    /// gone.
    pub fn arrive(&mut self, coming: Coming, at: i64) -> Option<Vec<Arc<Event>>> {
        let Coming { conversation: id, drafts, handover, message, in_front } = coming;
        self.truth.get(id)?;
        let asked_at = message.as_ref().map_or(at, |message| message.created_at);
        let stamped = match self.settings.reply_time {
            ReplyTime::Own => at,
            ReplyTime::Equal => asked_at,
            ReplyTime::Before => asked_at.saturating_sub(self.upto(1_000)),
        };
        let mut events = Vec::new();
        for draft in drafts {
            let mut event = self.event(draft, stamped);
            self.hold_back(id, &mut event, at);
            events.push(Arc::new(event));
        }
        self.append_events(id, events.clone(), at);
        if let Some(message) = message.filter(|_| in_front) {
            self.put_in_front(id, &message, events.len(), at);
        }
        self.hand_over(id, handover, at);
        self.follow_up(id, handover, !events.is_empty(), at);
        events.retain(|event| event.role != "agent");
        Some(events)
    }

    /// Moves the last `count` events of a conversation in front of an earlier one.
    fn put_in_front(&mut self, id: Uuid, message: &Event, count: usize, at: i64) {
        let Some(known) = self.truth.get(id) else { return };
        let mut conversation = Conversation::clone(known);
        let Some(place) = conversation.events.iter().position(|event| event.id == message.id) else { return };
        conversation.events[place..].rotate_right(count);
        self.write(conversation, at);
    }

    /// Puts a conversation into a human's hands or lets the bot go on.
    pub fn hand_over(&mut self, id: Uuid, handover: Handover, at: i64) {
        let Some(conversation) = self.truth.get(id).filter(|_| handover != Handover::None) else { return };
        let mut conversation = Conversation::clone(conversation);
        conversation.human_owned = true;
        conversation.ever_escalated = true;
        if handover == Handover::Status && self.settings.status_by == StatusBy::Handover {
            conversation.status = Some(self.settings.escalated_status.clone());
        }
        self.write(conversation, at);
    }
}
