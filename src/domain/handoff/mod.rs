//! Decides who may speak to the customer: the bot, nobody yet (the customer waits for a human), or a human. Pure.
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
//! A desk outside Fini owns what it claims: from the claim until it is given back the conversation is *fenced*, and no
//! word of the bot reaches the customer, even while the customer waits again because the last agent left. Without a
//! claim, Fini itself decides who speaks, and nothing is withheld.
//!
//! Invariants: only a claim fences, and only giving the conversation back ends the fence; an unclaimed request times out,
//! with the consequence that its frontend configured; each waiting time is reported once.

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

/// The party that may speak to the customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// Fini's bot.
    #[default]
    Bot,
    /// A human was requested, and none has come.
    Waiting,
    /// A human.
    Human,
}

impl Speaker {
    /// Returns the name used in bodies and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bot => "bot",
            Self::Waiting => "waiting",
            Self::Human => "human",
        }
    }

    /// Parses the name of a speaker.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Bot, Self::Waiting, Self::Human].into_iter().find(|speaker| speaker.as_str() == name)
    }
}

/// A human of a desk outside Fini.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The desk's own id.
    pub id: String,
    /// The name shown to the customer.
    pub name: String,
    /// A picture, as an absolute web address.
    #[serde(default)]
    pub avatar_url: Option<String>,
}

/// The place of a waiting customer, as the desk reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// 1 for the next one.
    pub position: u32,
    /// The desk's estimate of the wait.
    #[serde(default)]
    pub expected_wait_seconds: Option<u32>,
}

/// The cause of a handoff's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReturnedBy {
    /// The owner gave it back: the desk, or Fini's own human.
    Desk,
    /// The conversation was resolved.
    Resolution,
    /// Nobody wrote for too long.
    Idle,
}

/// The consequence for a request that nobody claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnUnclaimed {
    /// The bot goes on.
    Bot,
    /// The customer goes on waiting.
    #[default]
    Stay,
    /// The customer goes on waiting and is asked for an address, with this text.
    Ask(String),
}

impl OnUnclaimed {
    /// Returns the name used in bodies.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Bot => "bot",
            Self::Stay => "stay",
            Self::Ask(_) => "ask",
        }
    }
}

/// The availability of a frontend's desk, as the frontend reported it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desk {
    /// True while somebody is there.
    pub open: bool,
    /// Time at which somebody is there again (RFC 3339).
    #[serde(default)]
    pub next_open: Option<String>,
}

/// The facts about the words that come with a request of Fini's action: they repeat what somebody wrote last in that Fini
/// conversation, and Fini may have put several of ours into one.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Clone, Copy, Debug)]
pub struct ActionWords {
    /// True if the key of ours that came along is another conversation's.
    pub names_another: bool,
    /// True if another conversation is, or was, in the same Fini conversation.
    pub is_shared: bool,
    /// True while a message of this conversation is being answered.
    pub is_answered: bool,
    /// True while the Fini conversation of another one is not known yet: it may turn out to be this one.
    pub another_begins: bool,
}

impl ActionWords {
    /// Returns true if the words are of this conversation's own customer, as far as can be known. The request holds in any case.
    pub const fn are_its_own(self) -> bool {
        !self.names_another && !self.is_shared && (self.is_answered || !self.another_begins)
    }
}

/// The handoff rules of all frontends.
#[derive(Clone, Debug, Default)]
pub struct HandoffPolicies {
    own: HashMap<FrontendName, HandoffPolicy>,
    default: HandoffPolicy,
}

impl HandoffPolicies {
    /// Collects the rules of frontends; all others get the default.
    pub fn new(own: impl IntoIterator<Item = (FrontendName, HandoffPolicy)>) -> Self {
        Self { own: own.into_iter().collect(), default: HandoffPolicy::default() }
    }

    /// Returns a frontend's rules.
    pub fn of(&self, frontend: &FrontendName) -> &HandoffPolicy {
        self.own.get(frontend).unwrap_or(&self.default)
    }
}

/// A frontend's handoff rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandoffPolicy {
    /// Longest time for which a request may stay unclaimed.
    pub claim_timeout: Duration,
    /// The consequence after that time.
    pub on_unclaimed: OnUnclaimed,
    /// A claimed conversation goes back to the bot after this long without a message.
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

/// The waiting times after which the feed reports that the customer still waits.
pub const WAITING_REPORTED: [Duration; 3] = [Duration::from_mins(1), Duration::from_mins(5), Duration::from_mins(15)];

/// Another agent has the conversation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another agent has the conversation")]
pub struct AlreadyClaimed(pub Agent);

/// No handoff is in progress that the request could be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bot has the conversation: no human was asked for")]
pub struct NoHandoff;

/// The right to speak in one conversation: who has it, since when, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handoff {
    speaker: Speaker,
    /// The reason why a human was requested; `None` if one came unasked.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<EscalationReason>,
    /// True once a desk has claimed it, until the bot has it again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fenced: bool,
    /// The desk's agents who are in it; the first one owns it. Empty while Fini's own human has it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    agents: Vec<Agent>,
    /// Time since which the speaker is the present one, by the steady clock.
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    /// Number of [`WAITING_REPORTED`] times that were reported.
    #[serde(skip_serializing_if = "is_zero")]
    reported: usize,
    /// True once it stayed unclaimed for too long, which was reported.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    expired: bool,
    /// Time of the request, by the wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed_at: Option<Timestamp>,
    /// True after an earlier handoff, of which Fini may have been told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    again: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The consequence of what became due in a handoff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It goes on as it is; the feed has all reports.
    GoesOn,
    /// The customer is asked for an address, with this text.
    Asks(String),
    /// The bot has the conversation again.
    GaveBack,
}

impl Default for Handoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Handoff {
    /// Returns the handoff of a conversation in which no human was requested.
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

    /// Returns the handoff of a conversation that the bot has again.
    fn ended() -> Self {
        Self { again: true, ..Self::new() }
    }

    /// Returns true once there is or was a handoff: Fini is told who speaks from then on.
    pub fn is_begun(&self) -> bool {
        *self != Self::new()
    }

    /// Returns who may speak.
    pub const fn speaker(&self) -> Speaker {
        self.speaker
    }

    /// Returns true while the bot has the conversation.
    pub const fn is_bots(&self) -> bool {
        matches!(self.speaker, Speaker::Bot)
    }

    /// Returns true while the bot's words are withheld from the customer.
    pub const fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// Returns true if it began by an act at the bridge, which Fini's status does not show.
    pub(super) const fn is_own(&self) -> bool {
        self.fenced || matches!(self.reason, Some(EscalationReason::Requested | EscalationReason::Action))
    }

    /// Returns the reason why a human was requested.
    pub const fn reason(&self) -> Option<EscalationReason> {
        self.reason
    }

    /// Returns the agent who owns the conversation.
    pub fn agent(&self) -> Option<&Agent> {
        self.agents.first()
    }

    /// Returns the waiting customer's place.
    pub const fn place(&self) -> Option<Place> {
        self.place
    }

    /// Returns the time of the request, by the wall clock.
    pub const fn requested_at(&self) -> Option<Timestamp> {
        self.requested_at
    }

    /// Returns the time at which a human took it, by the wall clock.
    pub const fn claimed_at(&self) -> Option<Timestamp> {
        self.claimed_at
    }

    /// Returns the time since which the speaker is the present one, by the steady clock.
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// Records the wall-clock time of a request or claim that has just happened.
    pub fn stamp(&mut self, shown_at: WallTime) {
        if self.reason.is_some() {
            self.requested_at.get_or_insert(shown_at.point());
        }
        if self.speaker == Speaker::Human {
            self.claimed_at.get_or_insert(shown_at.point());
        }
    }

    /// Returns when the bridge has to act on it because nobody else will. `last_word_at` is the time of the last message.
    pub fn due_at(&self, policy: &HandoffPolicy, last_word_at: Timestamp) -> Option<Timestamp> {
        match self.speaker {
            Speaker::Bot => None,
            Speaker::Waiting => {
                let report = WAITING_REPORTED.get(self.reported).map(|after| self.since.plus(*after));
                let expiry = (!self.expired).then(|| self.since.plus(policy.claim_timeout));
                [report, expiry].into_iter().flatten().min()
            }
            // Fini's own human has no desk that could forget to give it back.
            Speaker::Human if !self.fenced => None,
            Speaker::Human => Some(self.since.max(last_word_at).plus(policy.return_after)),
        }
    }

    /// Requests a human unless one is requested already; every escalation adds its event to the feed.
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

    /// Lets an agent take it, or join those who have it.
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

    /// Lets the named agent leave, or the owner. After the last agent the customer waits again, and the fence stays.
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

    /// Ends the waiting: a human wrote who has not claimed it.
    fn human_wrote(&mut self, now: Timestamp) {
        if self.speaker == Speaker::Waiting {
            (self.speaker, self.since, self.place, self.claimed_at) = (Speaker::Human, now, None, None);
        }
    }

    /// Sets the waiting customer's place, as the desk reports it.
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

    /// Gives the conversation back to the bot.
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
        // `since` may have been written under a clock that was ahead.
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
            // After a stop of the bridge only the longest time is still true.
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
