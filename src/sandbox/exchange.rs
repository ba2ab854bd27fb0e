//! Generate Answer: takes a message in, and has the bot answer it.
//!
//! Unless the settings say otherwise the message is stored before anything else happens. The reply comes even if its sender
//! has hung up, as on any server. The response never names the conversation.

use std::sync::Arc;

use super::audit::Inbound;
use super::choices::{AfterEscalation, EscalationSign, ReplyManner};
use super::error::VendorError;
use super::late::Late;
use super::model::Event;
use super::reply::Coming;
use super::script::{self, Draft, Handover, Plan, Timing};
use super::turn::Turn;
use super::world::{Awaited, World};

/// The fate of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// As the bot's script decides.
    Normal,
    /// None is ever made.
    Never,
    /// The reply turns up so many milliseconds later, and the response is without it.
    Late(u64),
}

/// A message on its way in.
pub struct Ingest {
    /// The message.
    pub turn: Turn,
    /// The fate of its reply.
    pub reply: Reply,
    /// Time of arrival, if earlier than the time of storing.
    pub received_at: Option<i64>,
    /// Time that its reply then takes, in milliseconds.
    pub latency_ms: u64,
}

/// The outcome of storing a message.
#[derive(Clone)]
pub struct Begun {
    /// The events stored at once.
    pub created: Vec<Arc<Event>>,
    /// The reply to wait for.
    pub reply: Option<Awaited<Option<Vec<Arc<Event>>>>>,
    /// Generating the reply fails after the usual time.
    pub fails: bool,
    /// True if the reply stands in front of the message.
    pub in_front: bool,
}

impl World {
    /// Stores the message and sets its reply going.
    pub fn ingest(&mut self, ingest: &Ingest, at: i64) -> Result<Begun, VendorError> {
        let Ingest { turn, reply, received_at, latency_ms } = ingest;
        let received_at = received_at.unwrap_or(at);
        let mut conversation = self.resolve(turn, received_at)?;
        let id = conversation.id;
        let from_user = turn.role == "user";
        self.merge_metadata(&mut conversation, turn, at);
        if from_user {
            conversation.touched = true;
            if conversation.resolved == Some(true) {
                conversation.resolved = None;
                conversation.status.clone_from(&self.settings.open_status);
            }
        }
        let human_owned = conversation.human_owned;
        self.write(conversation, at);
        let message = Draft::text(turn.role.clone(), "message", turn.content.clone());
        let message = Arc::new(self.event(message, received_at));
        let created = self.append_events(id, vec![Arc::clone(&message)], at);
        self.audit.stored(Inbound {
            conversation_id: id.to_string(),
            event_id: message.id.clone(),
            role: turn.role.clone(),
            content: turn.content.clone(),
            at,
            received_at,
            user_attributes: turn.user_attributes.clone(),
        });
        let mut begun = Begun { created, reply: None, fails: false, in_front: false };
        if !from_user {
            return Ok(begun);
        }
        let Some(plan) = self.plan(&turn.content, human_owned).filter(|_| *reply != Reply::Never) else {
            self.follow_up(id, Handover::None, false, at);
            return Ok(begun);
        };
        if plan.fails {
            begun.fails = true;
            return Ok(begun);
        }
        let Some(Arranged { drafts, late, in_front, more }) = self.arrange(plan.drafts) else {
            self.follow_up(id, Handover::None, false, at);
            return Ok(begun);
        };
        let late = match (reply, plan.timing) {
            (Reply::Late(ms), _) => Some(*ms),
            (_, Timing::Late) => Some(self.settings.late_reply_ms),
            (_, Timing::After(seconds)) => Some(seconds.saturating_mul(1_000)),
            (_, Timing::InTime) => late,
        };
        let delay = late.unwrap_or(*latency_ms);
        let coming = Coming { conversation: id, drafts, handover: plan.handover, message: Some(message), in_front };
        let awaited = self.schedule_reply(coming, at, delay);
        if let Some(more) = more {
            self.later(id, Late::Say(more), at, delay.saturating_add(self.settings.late_reply_ms));
        }
        begun.in_front = in_front;
        begun.reply = Some(awaited).filter(|_| late.is_none());
        Ok(begun)
    }

    /// Takes over a message's metadata and drops the message itself.
    pub fn ingest_metadata(&mut self, turn: &Turn) -> Result<(), VendorError> {
        let now = self.now();
        let mut conversation = self.resolve(turn, now)?;
        self.merge_metadata(&mut conversation, turn, now);
        conversation.touched = true;
        self.write(conversation, now);
        Ok(())
    }

    /// Returns the bot's reaction to a text, by its script and the settings; `None` while it keeps silent.
    fn plan(&self, text: &str, human_owned: bool) -> Option<Plan> {
        let mut plan = script::plan(text);
        if self.settings.quote {
            plan.quote(text);
        }
        if human_owned {
            match self.settings.after_escalation {
                AfterEscalation::Silent => return None,
                AfterEscalation::Answers => {}
                AfterEscalation::NoReply => {
                    plan = Plan { drafts: vec![Draft::system("no_reply")], handover: Handover::None, ..plan };
                }
            }
        }
        let sign = self.settings.escalation_sign;
        if plan.handover != Handover::None && sign != EscalationSign::AsAsked {
            plan.drafts.retain(|draft| draft.kind != "silent_escalation");
            let by_event = matches!(sign, EscalationSign::Event | EscalationSign::EventThenStatus);
            plan.handover = if by_event { Handover::Silent } else { Handover::Status };
            plan.drafts.extend(by_event.then(|| Draft::system("silent_escalation")));
        }
        Some(plan)
    }

    /// Arranges the reply in the manner of the settings; `None` if it never comes.
    fn arrange(&mut self, mut drafts: Vec<Draft>) -> Option<Arranged> {
        let mut manner = self.settings.reply_manner;
        if manner == ReplyManner::InAnswer || !self.chance(self.settings.reply_manner_odds) {
            manner = ReplyManner::InAnswer;
        } else if manner == ReplyManner::Mixed {
            manner = [
                ReplyManner::InAnswer,
                ReplyManner::Later,
                ReplyManner::Never,
                ReplyManner::Several,
                ReplyManner::Before,
                ReplyManner::AfterAgent,
            ][self.dice(6)];
        }
        let (mut late, mut more) = (None, None);
        match manner {
            ReplyManner::InAnswer | ReplyManner::Before | ReplyManner::Mixed => {}
            ReplyManner::Later => late = Some(self.settings.late_reply_ms),
            ReplyManner::Never => return None,
            ReplyManner::Several => {
                drafts.push(Draft::text("finibot", "message", "Is there anything else?"));
                more = Some(Draft::text("finibot", "message", "I am still here if you need me."));
            }
            ReplyManner::AfterAgent => {
                drafts.insert(0, Draft::text("agent", "message", "I have looked into it; the assistant goes on."));
            }
        }
        Some(Arranged { drafts, late, in_front: manner == ReplyManner::Before, more })
    }
}

/// A reply with the manner in which it comes.
struct Arranged {
    drafts: Vec<Draft>,
    /// Delay in milliseconds, if it is not in the answer.
    late: Option<u64>,
    in_front: bool,
    /// A further message, which comes still later.
    more: Option<Draft>,
}
