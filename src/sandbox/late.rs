//! Changes a conversation after an exchange: a judge sets its status, a second sign of a handover comes, a person writes in
//! the inbox, tags and ratings, texts and attributes are filled in later.
//!
//! Only if the settings ask for it; by default nothing. Like a late reply, each of these is caught up with when its time
//! has come, and nothing runs in the background.

use std::sync::Arc;

use serde_json::{Map, Number, Value};
use uuid::Uuid;

use super::choices::{EscalationSign, Human, ResolvedSays, StatusBy};
use super::model::{Article, Conversation, Event, Tag};
use super::script::{Draft, Handover};
use super::turn::show_attributes;
use super::world::World;

const RESOLVED: &str = "Resolved";
const WAITING: &str = "Waiting for Customer";

const TAGS: [Tag; 3] = [
    Tag { id: "6f0b2c0e-3a51-4c8e-9d6b-0b6c1a7d1f10", name: "Shipping", group_id: Some(TOPICS) },
    Tag { id: "0a4be0f7-58b1-4a0a-8d2e-57a1c1b6a2d3", name: "Refund", group_id: Some(TOPICS) },
    Tag { id: "c3c5f2c1-92de-4f6f-b7c0-7f4f2f7f9a55", name: "Asked for a human", group_id: None },
];
const TOPICS: &str = "f2a6c9b4-1d0e-4b57-8a43-2f0f7a9e6c21";

/// A change to a conversation that is still to come.
pub enum Late {
    /// The attributes of a message are shown; true for the conversation's first message.
    Attributes(Map<String, Value>, bool),
    /// The judge sets the status.
    Judge,
    /// The status says that it was handed over.
    Escalated,
    /// Somebody writes a message.
    Say(Draft),
    /// An event gets its articles, a tag and a rating.
    Annotate(String, Vec<Article>),
    /// An event gets its text.
    Fill(String, Option<String>),
}

impl World {
    /// Makes a change that has fallen due.
    pub fn change_late(&mut self, id: Uuid, change: Late, at: i64) {
        let Some(known) = self.truth.get(id) else { return };
        let mut conversation = Conversation::clone(known);
        match change {
            Late::Say(draft) => {
                self.append(id, vec![draft], at);
                return;
            }
            Late::Attributes(given, first) => {
                show_attributes(&mut conversation.user_attributes, given, first, self.settings.user_attributes);
            }
            Late::Judge => self.judge(&mut conversation),
            Late::Escalated if self.settings.status_by == StatusBy::Nobody => return,
            Late::Escalated => conversation.status = Some(self.settings.escalated_status.clone()),
            Late::Annotate(event, articles) => {
                let (tag, rating) = (TAGS[self.dice(3)], self.dice(6));
                edit(&mut conversation, &event, |event| {
                    event.used_articles = articles;
                    event.tags = vec![tag];
                    event.csat_rating = Some(Number::from(rating));
                });
            }
            Late::Fill(event, text) => edit(&mut conversation, &event, |event| event.message = text),
        }
        self.write(conversation, at);
    }

    /// Holds back the parts of a reply that are to be filled in later.
    pub fn hold_back(&mut self, id: Uuid, event: &mut Event, at: i64) {
        if event.raw.is_some() || event.role != "finibot" || event.kind != "message" {
            return;
        }
        if let Some(after) = self.settings.annotations_after_ms {
            let articles = std::mem::take(&mut event.used_articles);
            self.later(id, Late::Annotate(event.id.clone(), articles), at, after);
        }
        if self.settings.text_after_ms > 0 {
            let text = event.message.take();
            self.later(id, Late::Fill(event.id.clone(), text), at, self.settings.text_after_ms);
        }
    }

    /// Schedules what follows an exchange that ended with or without a handover.
    pub fn follow_up(&mut self, id: Uuid, handover: Handover, replied: bool, at: i64) {
        if matches!(self.settings.status_by, StatusBy::Judge | StatusBy::RetractingJudge) {
            self.later(id, Late::Judge, at, self.settings.status_after_ms);
        }
        let handed_over = handover != Handover::None;
        let gap = self.settings.escalation_gap_ms;
        match self.settings.escalation_sign {
            EscalationSign::StatusThenEvent if handed_over => {
                self.later(id, Late::Say(Draft::system("silent_escalation")), at, gap);
            }
            EscalationSign::EventThenStatus if handed_over => self.later(id, Late::Escalated, at, gap),
            _ => {}
        }
        let comes = match self.settings.human {
            Human::Nobody => false,
            Human::AfterEscalation => handed_over,
            Human::Unasked => replied && !handed_over && self.dice(4) == 0,
        };
        if comes {
            let line = Draft::text("agent", "message", "This is a person of the support team. How can I help?");
            self.later(id, Late::Say(line), at, self.settings.human_after_ms);
        }
    }

    /// Sets one of the three words of the vendor's own tag group. An escalated conversation stays so; a retracting judge
    /// may change that as soon as the customer has written again.
    fn judge(&mut self, conversation: &mut Conversation) {
        let escalated = self.settings.escalated_status.clone();
        let by_status = self.settings.escalation_sign != EscalationSign::Event;
        let again = conversation.status.as_ref() == Some(&escalated);
        let changes = self.settings.status_by == StatusBy::RetractingJudge && again && self.dice(2) == 0;
        let word = if conversation.human_owned && by_status && !changes {
            escalated
        } else if self.dice(2) == 0 {
            RESOLVED.to_owned()
        } else {
            WAITING.to_owned()
        };
        let resolved = word == RESOLVED;
        match self.settings.resolved_says {
            ResolvedSays::Nothing => {}
            ResolvedSays::Same => conversation.resolved = Some(resolved),
            ResolvedSays::Opposite => conversation.resolved = Some(!resolved),
        }
        conversation.status = Some(word);
    }
}

/// Returns true if a conversation counts as open for "create or resolve".
pub fn is_open(conversation: &Conversation) -> bool {
    conversation.resolved != Some(true) && conversation.status.as_deref() != Some(RESOLVED)
}

fn edit(conversation: &mut Conversation, id: &str, change: impl FnOnce(&mut Event)) {
    if let Some(event) = conversation.events.iter_mut().find(|event| event.id == id) {
        let mut changed = Event::clone(event);
        change(&mut changed);
        *event = Arc::new(changed);
    }
}
