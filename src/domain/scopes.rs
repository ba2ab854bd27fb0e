//! The scopes of trouble with Fini: a refusal counts for the smallest scope that it can be about, and for a larger one only
//! if others get the same.
//!
//! ```text
//! text → conversation → bot → key → vendor
//! ```
//!
//! *Text* and *conversation* need no breaker: a turn that failed waits by itself, and its conversation waits behind it. A
//! *bot* gets no requests for a while when sends of several of its conversations fail with no success in between, or when
//! Fini itself refuses it. The *key* is doubted when several bots are refused, or a read with the same key, or a List, which
//! is about nothing smaller. *List* and *Get* fail each for itself: a List that cannot be given says nothing about the reads of
//! one conversation, which then are all there is. The *vendor* gets none when no connection succeeds, or when it says that the
//! limit is used up.
//!
//! Pure: time and chance come in. Invariants: trouble of one bot never holds back another, trouble of one conversation holds
//! back nobody, and every pause has an end.

use std::time::Duration;

use super::{
    Timestamp,
    backoff::Backoff,
    breaker::{Breaker, Policy, State},
    ids::ConversationKey,
};

/// Different conversations whose sends must fail, with no success of their bot in between, before the bot is in trouble.
const CONVERSATIONS: usize = 3;
/// Bots that must be refused before the key is in trouble.
const BOTS: usize = 2;
/// The longest pause that somebody may ask for.
const LONGEST_ASKED: Duration = Duration::from_mins(5);

const BOT: Policy = Policy { opens_after: 1, pauses: pauses(1, 30) };
const KEY: Policy = Policy { opens_after: 1, pauses: pauses(2, 60) };
const READS: Policy = Policy { opens_after: 5, pauses: pauses(1, 30) };
const UNREACHABLE: Policy = Policy { opens_after: 5, pauses: pauses(1, 30) };
const LIMIT: Policy = Policy { opens_after: 1, pauses: pauses(8, 60) };

const fn pauses(first: u64, cap: u64) -> Backoff {
    Backoff { first: Duration::from_secs(first), cap: Duration::from_secs(cap) }
}

/// The two kinds of rights a key may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Generate Answer and deletions.
    Write,
    /// Everything else.
    Read,
}

impl Side {
    /// Returns the name shown in readiness and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// The reason why a breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Fini itself refuses, with 401 or 403.
    Refused(u16),
    /// 429: over the limit.
    Throttled,
    /// Requests leave and fail: errors, pages of something in front of Fini, no answers.
    Failing,
    /// Requests do not leave: there is no connection.
    Unreachable,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(status) => write!(f, "refused with {status}"),
            Self::Throttled => f.write_str("throttled"),
            Self::Failing => f.write_str("failing"),
            Self::Unreachable => f.write_str("unreachable"),
        }
    }
}

/// The two ways of reading conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Many of them, by List.
    List,
    /// One, by Get.
    Get,
}

/// A scope that has a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A bot, by its place in the list.
    Bot(usize),
    /// The key, for this side.
    Key(Side),
    /// Reading in this way.
    Reads(Way),
    /// Fini as a whole.
    Vendor,
}

impl Scope {
    /// Returns the name shown in readiness and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bot(_) => "bot",
            Self::Key(Side::Write) => "key_write",
            Self::Key(Side::Read) => "key_read",
            Self::Reads(Way::List) => "list",
            Self::Reads(Way::Get) => "get",
            Self::Vendor => "vendor",
        }
    }
}

/// The smallest thing that a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A message of that conversation to that bot.
    Message(usize, ConversationKey),
    /// A read of one conversation.
    Conversation,
    /// A read of nothing smaller than the workspace: List conversations, List agents.
    Workspace,
    /// The deletion of one conversation.
    Deletion,
}

/// The end of a request, by what it can tell about scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Fini did what was asked, or said why this request in particular cannot be done.
    Answered,
    /// Fini itself answered 401 or 403.
    Refused(u16),
    /// 429, with the wait it asked for.
    Throttled(Option<Duration>),
    /// It failed after it had left, with the wait that was asked for.
    Failed(Option<Duration>),
    /// It did not leave.
    NotSent,
    /// It says nothing beyond the conversation it was about.
    Own,
}

/// A breaker that opened or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Work of this scope waits.
    Opened(Scope, Trouble),
    /// It goes on.
    Closed(Scope, Trouble),
}

#[derive(Clone, Debug)]
struct Bot {
    breaker: Breaker<Trouble>,
    /// Conversations whose sends failed since the last success.
    failing: Vec<ConversationKey>,
    succeeded_at: Option<Timestamp>,
}

/// The breakers of all scopes.
#[derive(Clone, Debug)]
pub struct Scopes {
    bots: Vec<Bot>,
    keys: [Breaker<Trouble>; 2],
    accepted: [bool; 2],
    /// Time of the first question about the key; `None` once anything is known of it.
    first_question: Option<Timestamp>,
    /// True if the same key has both rights.
    is_one_key: bool,
    reads: [Breaker<Trouble>; 2],
    reachable: Breaker<Trouble>,
    limit: Breaker<Trouble>,
}

impl Scopes {
    /// Creates closed breakers for that many bots, which are numbered from 0.
    pub fn new(bots: usize, is_one_key: bool) -> Self {
        let bot = Bot { breaker: Breaker::new(BOT), failing: Vec::new(), succeeded_at: None };
        Self {
            bots: vec![bot; bots],
            keys: [Breaker::new(KEY); 2],
            accepted: [false; 2],
            first_question: Some(Timestamp::ZERO),
            is_one_key,
            reads: [Breaker::new(READS); 2],
            reachable: Breaker::new(UNREACHABLE),
            limit: Breaker::new(LIMIT),
        }
    }

    /// Returns the state that messages for a bot meet. Half-open asks for one of them: nothing cheaper tells about the bot.
    pub fn sends(&self, bot: usize, now: Timestamp) -> State<Trouble> {
        let bot = self.bots.get(bot).map_or(State::Closed, |bot| bot.breaker.state(now));
        widest([self.common(Side::Write, now), bot])
    }

    /// Returns the state that deletions meet.
    pub fn deletions(&self, now: Timestamp) -> State<Trouble> {
        self.common(Side::Write, now)
    }

    /// Returns the state that reads in this way meet.
    pub fn reads(&self, way: Way, now: Timestamp) -> State<Trouble> {
        widest([self.common(Side::Read, now), self.reads[way as usize].state(now)])
    }

    /// Returns when List agents is to be asked next: it is quick, and tells of key and vendor what a send would tell only
    /// after its reply was written. `None` while there is nothing to find out.
    pub fn next_probe_at(&self) -> Option<Timestamp> {
        let key = |side: Side| self.is_probed_by_reading(side).then(|| self.keys[side as usize].until()).flatten();
        [self.first_question, self.reachable.until(), key(Side::Read), key(Side::Write)].into_iter().flatten().min()
    }

    /// Records that List agents is asked: what waits for that goes on waiting, until `until` at the latest.
    pub fn probe(&mut self, until: Timestamp, now: Timestamp) {
        self.first_question = self.first_question.map(|_| until);
        let tells_of_write = self.is_probed_by_reading(Side::Write);
        let [write, read] = &mut self.keys;
        for breaker in [Some(&mut self.reachable), Some(read), tells_of_write.then_some(write)].into_iter().flatten() {
            if matches!(breaker.state(now), State::HalfOpen { .. }) {
                breaker.probe(until);
            }
        }
    }

    /// Records that a message goes to find out about its bot, and about a key that no read tells of.
    pub fn probe_send(&mut self, bot: usize, until: Timestamp) {
        let tells_of_key = !self.is_probed_by_reading(Side::Write);
        let key = tells_of_key.then_some(&mut self.keys[Side::Write as usize]);
        for breaker in key.into_iter().chain(self.bots.get_mut(bot).map(|bot| &mut bot.breaker)) {
            breaker.probe(until);
        }
    }

    /// Records that a read goes to find out about reading in this way.
    pub fn probe_reads(&mut self, way: Way, until: Timestamp) {
        self.reads[way as usize].probe(until);
    }

    /// Returns the trouble of a key, if any.
    pub fn key_trouble(&self, side: Side) -> Option<Trouble> {
        self.keys[side as usize].trouble().map(|(trouble, _)| trouble)
    }

    /// Returns true if Fini has accepted this key since the start, and not refused it since.
    pub fn was_accepted(&self, side: Side) -> bool {
        self.accepted[side as usize]
    }

    /// Returns the time of the bot's last successful send.
    pub fn succeeded_at(&self, bot: usize) -> Option<Timestamp> {
        self.bots.get(bot)?.succeeded_at
    }

    /// Returns the time since which reads cannot be made in this way, if they cannot.
    pub fn unread_since(&self, way: Way) -> Option<Timestamp> {
        let breakers = [&self.reachable, &self.limit, &self.keys[Side::Read as usize], &self.reads[way as usize]];
        breakers.into_iter().filter_map(Breaker::trouble).map(|(_, since)| since).min()
    }

    /// Returns everything that is not closed.
    pub fn open(&self, now: Timestamp) -> Vec<(Scope, Trouble, Timestamp)> {
        let bots = (0..).map(Scope::Bot).zip(self.bots.iter().map(|bot| &bot.breaker));
        let others = [
            (Scope::Key(Side::Write), &self.keys[Side::Write as usize]),
            (Scope::Key(Side::Read), &self.keys[Side::Read as usize]),
            (Scope::Reads(Way::List), &self.reads[Way::List as usize]),
            (Scope::Reads(Way::Get), &self.reads[Way::Get as usize]),
            (Scope::Vendor, &self.reachable),
        ];
        let limit = (self.throttled_until(now).is_some()).then_some((Scope::Vendor, &self.limit));
        let all = bots.chain(others).chain(limit);
        all.filter_map(|(scope, breaker)| breaker.trouble().map(|(trouble, since)| (scope, trouble, since))).collect()
    }

    /// Learns from the end of a request that began at `began_at`.
    pub fn learn(
        &mut self,
        about: About,
        outcome: Outcome,
        began_at: Timestamp,
        now: Timestamp,
        jitter: f64,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        if outcome != Outcome::NotSent {
            // A request that left proves that the vendor is reachable.
            changes.extend(closed(Scope::Vendor, &mut self.reachable, began_at));
        }
        match outcome {
            Outcome::Own => {}
            Outcome::Answered => self.answered(about, began_at, now, &mut changes),
            Outcome::Refused(status) => self.refused(about, status, began_at, now, jitter, &mut changes),
            Outcome::NotSent => {
                let opened = self.reachable.failed(Trouble::Unreachable, began_at, now, jitter);
                changes.extend(opened.map(|_| Change::Opened(Scope::Vendor, Trouble::Unreachable)));
            }
            Outcome::Throttled(_) if self.limit.is_behind(began_at) => {}
            Outcome::Throttled(asked) => {
                let pause = asked.map_or_else(|| self.limit.next_pause(jitter), bounded);
                self.limit.open(Trouble::Throttled, pause, now);
                changes.push(Change::Opened(Scope::Vendor, Trouble::Throttled));
            }
            Outcome::Failed(asked) => {
                if let About::Message(bot, conversation) = about {
                    changes.extend(self.failed(bot, conversation, asked, began_at, now, jitter));
                } else if let Some(way) = about.way() {
                    let opened = self.reads[way as usize].failed(Trouble::Failing, began_at, now, jitter);
                    changes.extend(opened.map(|_| Change::Opened(Scope::Reads(way), Trouble::Failing)));
                }
            }
        }
        changes
    }

    fn answered(&mut self, about: About, began_at: Timestamp, now: Timestamp, changes: &mut Vec<Change>) {
        changes.extend(closed(Scope::Vendor, &mut self.limit, began_at));
        let tells_of_write = about == About::Workspace && self.is_probed_by_reading(Side::Write);
        if about.side() == Side::Read {
            self.first_question = None;
        }
        for side in [Side::Write, Side::Read] {
            let is_asked = about.side() == side;
            let key = &mut self.keys[side as usize];
            if !(is_asked || side == Side::Write && tells_of_write) || key.is_behind(began_at) {
                continue;
            }
            self.accepted[side as usize] |= is_asked;
            let Some(trouble) = key.succeeded(began_at) else { continue };
            changes.push(Change::Closed(Scope::Key(side), trouble));
            if side == Side::Write {
                // The bots may have been refused because of the key: the next message of each finds out.
                self.bots.iter_mut().for_each(|bot| bot.breaker.end_pause(now));
            }
        }
        match about {
            About::Message(number, _) => {
                let Some(bot) = self.bots.get_mut(number) else { return };
                if !bot.breaker.is_behind(began_at) {
                    bot.failing.clear();
                    bot.succeeded_at = Some(now);
                    changes.extend(closed(Scope::Bot(number), &mut bot.breaker, began_at));
                }
            }
            About::Conversation | About::Workspace | About::Deletion => {
                let Some(way) = about.way() else { return };
                changes.extend(closed(Scope::Reads(way), &mut self.reads[way as usize], began_at));
            }
        }
    }

    /// Counts a failed send. If several conversations of one bot fail and none succeeds, the bot is in trouble. The same
    /// conversation again is no news, even as a probe: the next message, of another one, finds out better.
    fn failed(
        &mut self,
        number: usize,
        conversation: ConversationKey,
        asked: Option<Duration>,
        began_at: Timestamp,
        now: Timestamp,
        jitter: f64,
    ) -> Option<Change> {
        let bot = self.bots.get_mut(number)?;
        if bot.breaker.is_behind(began_at) {
            return None;
        }
        if bot.failing.contains(&conversation) {
            bot.breaker.end_pause(now);
            return None;
        }
        if bot.failing.len() == CONVERSATIONS {
            bot.failing.remove(0);
        }
        bot.failing.push(conversation);
        if bot.failing.len() < CONVERSATIONS {
            bot.breaker.end_pause(now);
            return None;
        }
        let is_news = bot.breaker.trouble().is_none();
        let pause = bot.breaker.next_pause(jitter).max(asked.map(bounded).unwrap_or_default());
        bot.breaker.open(Trouble::Failing, pause, now);
        is_news.then_some(Change::Opened(Scope::Bot(number), Trouble::Failing))
    }

    fn refused(
        &mut self,
        about: About,
        status: u16,
        began_at: Timestamp,
        now: Timestamp,
        jitter: f64,
        changes: &mut Vec<Change>,
    ) {
        let is_refused = |breaker: &Breaker<Trouble>| matches!(breaker.trouble(), Some((Trouble::Refused(_), _)));
        let mut refuse = |scope: Scope, breaker: &mut Breaker<Trouble>| {
            if breaker.is_behind(began_at) {
                return false;
            }
            let is_news = breaker.trouble().is_none();
            breaker.open(Trouble::Refused(status), breaker.next_pause(jitter), now);
            changes.extend(is_news.then_some(Change::Opened(scope, Trouble::Refused(status))));
            true
        };
        let [write, read] = &mut self.keys;
        let doubts_write = match about {
            About::Message(number, _) => {
                let Some(bot) = self.bots.get_mut(number) else { return };
                if !refuse(Scope::Bot(number), &mut bot.breaker) {
                    return;
                }
                let refused = self.bots.iter().filter(|bot| is_refused(&bot.breaker)).count();
                // If no read has the same key, a single bot is all there is to ask.
                let is_all = !self.is_one_key && refused == self.bots.len();
                refused >= BOTS || is_all || (self.is_one_key && is_refused(read))
            }
            About::Workspace => {
                self.first_question = None;
                if refuse(Scope::Key(Side::Read), read) {
                    self.accepted[Side::Read as usize] = false;
                }
                self.is_one_key && self.bots.iter().any(|bot| is_refused(&bot.breaker))
            }
            // One request tells only about its conversation.
            About::Conversation | About::Deletion => false,
        };
        if doubts_write && refuse(Scope::Key(Side::Write), write) {
            self.accepted[Side::Write as usize] = false;
        }
    }

    /// Returns the state that all requests of a side meet. What a probe by reading will settle is waited for; a pause
    /// because of the limit ends by time, since the budget's own log says how much may go then.
    fn common(&self, side: Side, now: Timestamp) -> State<Trouble> {
        let limit = match self.throttled_until(now) {
            Some(until) => State::Open { reason: Trouble::Throttled, until },
            None => State::Closed,
        };
        let waits = |state| match state {
            State::HalfOpen { reason } => State::Open { reason, until: now.plus(PROBED_WITHIN) },
            state => state,
        };
        let key = self.keys[side as usize].state(now);
        let key = if self.is_probed_by_reading(side) { waits(key) } else { key };
        widest([limit, waits(self.reachable.state(now)), key])
    }

    fn throttled_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.limit.state(now) {
            State::Open { until, .. } => Some(until),
            State::Closed | State::HalfOpen { .. } => None,
        }
    }

    /// Returns true if a read tells of this side's key: of the write key only if it is the same key and refused for reading
    /// too; else it lacks a scope.
    fn is_probed_by_reading(&self, side: Side) -> bool {
        side == Side::Read || (self.is_one_key && self.keys[Side::Read as usize].trouble().is_some())
    }
}

/// Time after which work that waits for a probe asks again.
const PROBED_WITHIN: Duration = Duration::from_millis(100);

impl About {
    const fn side(self) -> Side {
        match self {
            Self::Message(..) | Self::Deletion => Side::Write,
            Self::Conversation | Self::Workspace => Side::Read,
        }
    }

    const fn way(self) -> Option<Way> {
        match self {
            Self::Conversation => Some(Way::Get),
            Self::Workspace => Some(Way::List),
            Self::Message(..) | Self::Deletion => None,
        }
    }
}

fn closed(scope: Scope, breaker: &mut Breaker<Trouble>, began_at: Timestamp) -> Option<Change> {
    breaker.succeeded(began_at).map(|trouble| Change::Closed(scope, trouble))
}

fn bounded(asked: Duration) -> Duration {
    asked.clamp(Duration::from_secs(1), LONGEST_ASKED)
}

/// Returns the strictest of several states: the one that is open the longest, else one that is half-open.
fn widest<const N: usize>(states: [State<Trouble>; N]) -> State<Trouble> {
    let rank = |state: &State<Trouble>| match state {
        State::Closed => (0, Timestamp::ZERO),
        State::HalfOpen { .. } => (1, Timestamp::ZERO),
        State::Open { until, .. } => (2, *until),
    };
    states.into_iter().max_by_key(rank).unwrap_or(State::Closed)
}

#[cfg(test)]
#[path = "scopes_props.rs"]
mod tests;
