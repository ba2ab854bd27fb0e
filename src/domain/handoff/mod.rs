//! Who may speak to the customer: the bot, nobody yet (the customer waits for a human), or a human. Pure.
//!
//! ```text
//!            asked for                     claimed, or a human wrote
//!   bot ───────────────────► waiting ─────────────────────────────────► human
//!    ▲                        │  ▲                                      │ │
//!    │ given back, resolved,  │  └──────── the last agent left ─────────┘ │
//!    │ unclaimed for too long │                                           │
//!    ├────────────────────────┘       given back, resolved, idle,         │
//!    │                                or Fini's bot wrote after its human │
//!    └────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A desk outside Fini owns what it claims: from the claim until it is given back the conversation is *fenced*, and no word of
//! the bot reaches the customer, also while it waits again because the last agent left. Where nobody claimed, Fini itself
//! decides who speaks, and nothing is withheld.
//!
//! Invariants: only a claim fences, and only what gives back ends the fence; a request that nobody takes has an end, in every
//! frontend's own way; each waiting time is reported once.

#[cfg(test)]
mod model;
mod standing;

use std::{collections::HashMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Timestamp, WallTime,
    event::{EscalationReason, FeedEvent, Requested},
    ids::FrontendName,
};

/// Who may speak to the customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// Fini's bot.
    #[default]
    Bot,
    /// A human was asked for, and none has come.
    Waiting,
    /// A human.
    Human,
}

impl Speaker {
    /// The name used in bodies and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bot => "bot",
            Self::Waiting => "waiting",
            Self::Human => "human",
        }
    }

    /// The speaker of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Bot, Self::Waiting, Self::Human].into_iter().find(|speaker| speaker.as_str() == name)
    }
}

/// A human of a desk outside Fini.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The desk's own id.
    pub id: String,
    /// As the customer reads it.
    pub name: String,
    /// A picture, as an absolute web address.
    #[serde(default)]
    pub avatar_url: Option<String>,
}

/// The place of a customer who waits, as the desk tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// 1: next.
    pub position: u32,
    /// How long it may take.
    #[serde(default)]
    pub expected_wait_seconds: Option<u32>,
}

/// The end of a handoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReturnedBy {
    /// Whoever had it, the desk or Fini's own, gave it back.
    Desk,
    /// The conversation was resolved.
    Resolution,
    /// Nobody said a word for too long.
    Idle,
}

/// What becomes of a request that nobody claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnUnclaimed {
    /// The bot goes on.
    Bot,
    /// It goes on waiting.
    #[default]
    Stay,
    /// It goes on waiting, and the customer is asked for an address, in these words.
    Ask(String),
}

impl OnUnclaimed {
    /// The name used in bodies.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Bot => "bot",
            Self::Stay => "stay",
            Self::Ask(_) => "ask",
        }
    }
}

/// Whether a frontend's desk is there, as it said itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desk {
    /// Whether somebody is there.
    pub open: bool,
    /// When somebody is there again (RFC 3339).
    #[serde(default)]
    pub next_open: Option<String>,
}

/// The rules of all frontends.
#[derive(Clone, Debug, Default)]
pub struct HandoffPolicies {
    own: HashMap<FrontendName, HandoffPolicy>,
    default: HandoffPolicy,
}

impl HandoffPolicies {
    /// From those of each frontend.
    pub fn new(own: impl IntoIterator<Item = (FrontendName, HandoffPolicy)>) -> Self {
        Self { own: own.into_iter().collect(), default: HandoffPolicy::default() }
    }

    /// A frontend's rules.
    pub fn of(&self, frontend: &FrontendName) -> &HandoffPolicy {
        self.own.get(frontend).unwrap_or(&self.default)
    }
}

/// A frontend's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandoffPolicy {
    /// So long a request may stay unclaimed.
    pub claim_timeout: Duration,
    /// What happens then.
    pub on_unclaimed: OnUnclaimed,
    /// A claimed conversation in which nobody says a word for so long goes back to the bot.
    pub return_after: Duration,
}

impl Default for HandoffPolicy {
    fn default() -> Self {
        Self {
            claim_timeout: Duration::from_mins(10),
            on_unclaimed: OnUnclaimed::Stay,
            return_after: Duration::from_hours(24),
        }
    }
}

/// After these times of waiting it is reported that the customer still does.
pub const WAITING_REPORTED: [Duration; 3] = [Duration::from_mins(1), Duration::from_mins(5), Duration::from_mins(15)];

/// Another agent has the conversation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another agent has the conversation")]
pub struct AlreadyClaimed(pub Agent);

/// There is no handoff that this could be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bot has the conversation: no human was asked for")]
pub struct NoHandoff;

/// Who may speak in one conversation, since when, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handoff {
    speaker: Speaker,
    /// Why a human was asked for; nothing where one came unasked.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<EscalationReason>,
    /// Whether a desk has claimed it since the bot spoke last.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fenced: bool,
    /// The desk's agents who are in it; the first one owns it. None while Fini's own human has it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    agents: Vec<Agent>,
    /// Since when the speaker is who it is, by the clock that waiting goes by.
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    /// How many of [`WAITING_REPORTED`] were reported.
    #[serde(skip_serializing_if = "is_zero")]
    reported: usize,
    /// Whether it stayed unclaimed for too long, which was reported.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    expired: bool,
    /// As people read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed_at: Option<Timestamp>,
    /// Whether there was another one before, so that Fini may have been told of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    again: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What became due in a handoff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It goes on as it is; what there is to say was said.
    GoesOn,
    /// The customer is asked for an address.
    Asks(String),
    /// The bot has it again.
    GaveBack,
}

impl Default for Handoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Handoff {
    /// The handoff of a conversation in which no human was asked for.
    pub const fn new() -> Self {
        Self {
            speaker: Speaker::Bot,
            reason: None,
            fenced: false,
            agents: Vec::new(),
            since: Timestamp::ZERO,
            place: None,
            reported: 0,
            expired: false,
            requested_at: None,
            claimed_at: None,
            again: false,
        }
    }

    /// The one of a conversation that the bot has again.
    fn ended() -> Self {
        Self { again: true, ..Self::new() }
    }

    /// Whether there is one, or was: Fini is told who speaks from then on.
    pub fn is_begun(&self) -> bool {
        *self != Self::new()
    }

    /// Who may speak.
    pub const fn speaker(&self) -> Speaker {
        self.speaker
    }

    /// Whether no human was asked for.
    pub const fn is_bots(&self) -> bool {
        matches!(self.speaker, Speaker::Bot)
    }

    /// Whether the bot's words are withheld from the customer.
    pub const fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// Whether it began by an act at the bridge, so that Fini's status knows nothing of it.
    pub(super) const fn is_own(&self) -> bool {
        self.fenced || matches!(self.reason, Some(EscalationReason::Requested | EscalationReason::Action))
    }

    /// Why a human was asked for.
    pub const fn reason(&self) -> Option<EscalationReason> {
        self.reason
    }

    /// The agent who owns it.
    pub fn agent(&self) -> Option<&Agent> {
        self.agents.first()
    }

    /// The place of the customer who waits.
    pub const fn place(&self) -> Option<Place> {
        self.place
    }

    /// When a human was asked for, as people read it.
    pub const fn requested_at(&self) -> Option<Timestamp> {
        self.requested_at
    }

    /// When a human took it, as people read it.
    pub const fn claimed_at(&self) -> Option<Timestamp> {
        self.claimed_at
    }

    /// Since when the speaker is who it is, by the clock that waiting goes by.
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// Notes what the wall clock shows at what has just happened.
    pub fn stamp(&mut self, shown_at: WallTime) {
        if self.reason.is_some() {
            self.requested_at.get_or_insert(shown_at.point());
        }
        if self.speaker == Speaker::Human {
            self.claimed_at.get_or_insert(shown_at.point());
        }
    }

    /// When there is something to do about it that nobody else will. `last_word_at` is when somebody wrote last.
    pub fn due_at(&self, policy: &HandoffPolicy, last_word_at: Timestamp) -> Option<Timestamp> {
        match self.speaker {
            Speaker::Bot => None,
            Speaker::Waiting => {
                let report = WAITING_REPORTED.get(self.reported).map(|after| self.since.plus(*after));
                let expiry = (!self.expired).then(|| self.since.plus(policy.claim_timeout));
                [report, expiry].into_iter().flatten().min()
            }
            // Fini's own human has no desk that could forget it.
            Speaker::Human if !self.fenced => None,
            Speaker::Human => Some(self.since.max(last_word_at).plus(policy.return_after)),
        }
    }

    /// A human is asked for, where that was not so before; each escalation says so.
    pub(super) fn request(
        &mut self,
        reason: EscalationReason,
        note: Option<String>,
        now: Timestamp,
        feed: &mut Vec<FeedEvent>,
    ) {
        if self.is_bots() {
            *self = Self { speaker: Speaker::Waiting, reason: Some(reason), since: now, ..Self::ended() };
        }
        feed.push(FeedEvent::HandoffRequested(Box::new(Requested { reason, note, ..Requested::default() })));
    }

    /// An agent takes it, or joins those who have it.
    fn claim(
        &mut self,
        agent: Agent,
        joins: bool,
        now: Timestamp,
        feed: &mut Vec<FeedEvent>,
    ) -> Result<(), AlreadyClaimed> {
        if let Some(known) = self.agents.iter_mut().find(|known| known.id == agent.id) {
            *known = agent;
            return Ok(());
        }
        match self.agents.first() {
            Some(owner) if !joins => return Err(AlreadyClaimed(owner.clone())),
            Some(_) => feed.push(FeedEvent::HandoffAgentJoined { agent: agent.clone() }),
            None => {
                (self.speaker, self.since, self.fenced) = (Speaker::Human, now, true);
                (self.place, self.claimed_at) = (None, None);
                feed.push(FeedEvent::HandoffClaimed { agent: agent.clone() });
            }
        }
        self.agents.push(agent);
        Ok(())
    }

    /// An agent goes: that one, or the only one. What nobody is left in waits again, and stays fenced.
    fn leave(&mut self, agent: Option<&str>, now: Timestamp, feed: &mut Vec<FeedEvent>) -> Result<(), NoHandoff> {
        if self.is_bots() {
            return Err(NoHandoff);
        }
        let at = match agent {
            Some(id) => self.agents.iter().position(|agent| agent.id == id),
            None => (!self.agents.is_empty()).then_some(0),
        };
        let Some(at) = at else { return Ok(()) };
        let agent = self.agents.remove(at);
        feed.push(FeedEvent::HandoffAgentLeft { agent });
        if self.agents.is_empty() {
            (self.speaker, self.since) = (Speaker::Waiting, now);
            (self.reported, self.expired, self.claimed_at) = (0, false, None);
        }
        Ok(())
    }

    /// A human wrote whom no desk of ours knows: the waiting is over.
    fn human_wrote(&mut self, now: Timestamp) {
        if self.speaker == Speaker::Waiting {
            (self.speaker, self.since, self.place, self.claimed_at) = (Speaker::Human, now, None, None);
        }
    }

    /// The desk says where the customer stands.
    fn set_place(&mut self, place: Place, feed: &mut Vec<FeedEvent>) -> Result<(), NoHandoff> {
        if self.speaker != Speaker::Waiting {
            return Err(NoHandoff);
        }
        if self.place != Some(place) {
            self.place = Some(place);
            feed.push(FeedEvent::HandoffPosition(place));
        }
        Ok(())
    }

    /// The bot has it again.
    pub(super) fn give_back(&mut self, by: ReturnedBy, feed: &mut Vec<FeedEvent>) -> Result<(), NoHandoff> {
        if self.is_bots() {
            return Err(NoHandoff);
        }
        feed.push(FeedEvent::HandoffReturned { by });
        *self = Self::ended();
        Ok(())
    }

    /// Does what is due at `now`.
    fn tick(
        &mut self,
        policy: &HandoffPolicy,
        last_word_at: Timestamp,
        now: Timestamp,
        feed: &mut Vec<FeedEvent>,
    ) -> Due {
        // Written under a clock that was ahead.
        self.since = self.since.min(now);
        if self.due_at(policy, last_word_at.min(now)).is_none_or(|due_at| due_at > now) {
            return Due::GoesOn;
        }
        if self.speaker == Speaker::Human {
            feed.push(FeedEvent::HandoffReturned { by: ReturnedBy::Idle });
            *self = Self::ended();
            return Due::GaveBack;
        }
        let waited = now.since(self.since);
        let passed = WAITING_REPORTED.iter().filter(|after| **after <= waited).count();
        if passed > self.reported {
            // After a stop only the longest is still true.
            feed.push(FeedEvent::HandoffWaiting { waiting_seconds: WAITING_REPORTED[passed - 1].as_secs() });
            self.reported = passed;
        }
        if self.expired || waited < policy.claim_timeout {
            return Due::GoesOn;
        }
        let text = match &policy.on_unclaimed {
            OnUnclaimed::Ask(text) => Some(text.clone()),
            OnUnclaimed::Bot | OnUnclaimed::Stay => None,
        };
        feed.push(FeedEvent::HandoffUnclaimed {
            waited_seconds: waited.as_secs(),
            then: policy.on_unclaimed.as_str(),
            text: text.clone(),
        });
        match policy.on_unclaimed {
            OnUnclaimed::Bot => {
                *self = Self::ended();
                Due::GaveBack
            }
            OnUnclaimed::Stay | OnUnclaimed::Ask(_) => {
                self.expired = true;
                text.map_or(Due::GoesOn, Due::Asks)
            }
        }
    }
}
