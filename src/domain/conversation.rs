//! The standing of a conversation, and its changes by messages and by Fini's statuses. Pure.
//!
//! A status is a judgement of the exchange before it: a model chooses it some seconds after the reply. So it is evidence
//! of an escalation or a resolution, never of a human's presence; and once the customer has written again, an earlier
//! status does not count until it is judged anew ([`JUDGED_WITHIN`]).
//!
//! Invariants: an escalation is reported once and lasts until whoever took it gives it back, or the conversation is
//! resolved; no other status ends it. Each resolution is reported. A snapshot that is older than what is on record
//! changes nothing.

use std::time::Duration;

use serde::Serialize;

use super::{
    Timestamp,
    event::{EscalationReason, FeedEvent},
    handoff::{Handoff, ReturnedBy},
};

/// Time after an exchange's last word by which Fini has judged its status: from then on it is believed, changed or not.
pub const JUDGED_WITHIN: Duration = Duration::from_secs(10);

/// The state of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// With the bot.
    Open,
    /// With a human.
    Escalated,
    /// Done, until somebody writes again.
    Resolved,
    /// Its Fini conversation belongs to another of ours; held until an operator settles it.
    Quarantined,
    /// Its Fini conversation is gone; the next message starts a new one.
    Lost,
    /// Its Fini conversation goes on for another conversation of the same person; a message takes it up again.
    Continued,
}

impl State {
    /// Returns the name used in bodies and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Escalated => "escalated",
            Self::Resolved => "resolved",
            Self::Quarantined => "quarantined",
            Self::Lost => "lost",
            Self::Continued => "continued",
        }
    }

    /// Returns true if its Fini conversation is read for another conversation, and a late answer does not change the
    /// state.
    pub const fn is_set_aside(self) -> bool {
        matches!(self, Self::Quarantined | Self::Continued)
    }

    /// Parses the name of a state.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Open, Self::Escalated, Self::Resolved, Self::Quarantined, Self::Lost, Self::Continued]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

/// The configured meanings of Fini's free status texts (compared trimmed and without case).
#[derive(Clone, Debug, Default)]
pub struct StatusPolicy {
    escalated: Vec<String>,
    resolved: Vec<String>,
    waiting: Vec<String>,
}

/// The configured meaning of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// Handed to a human.
    Escalated,
    /// Nothing is pending.
    Resolved,
    /// The customer was asked for something.
    Waiting,
    /// Not one of the configured texts.
    Unknown,
}

impl StatusPolicy {
    /// Builds the policy from the configured texts.
    pub fn new(escalated: &[String], resolved: &[String], waiting: &[String]) -> Self {
        let normal = |texts: &[String]| texts.iter().map(|text| normalised(text)).collect();
        Self { escalated: normal(escalated), resolved: normal(resolved), waiting: normal(waiting) }
    }

    fn meaning(&self, status: Option<&str>) -> Meaning {
        let Some(status) = status.map(normalised) else { return Meaning::Unknown };
        let words = [
            (Meaning::Escalated, &self.escalated),
            (Meaning::Resolved, &self.resolved),
            (Meaning::Waiting, &self.waiting),
        ];
        words.into_iter().find(|(_, texts)| texts.contains(&status)).map_or(Meaning::Unknown, |(meaning, _)| meaning)
    }
}

fn normalised(status: &str) -> String {
    status.trim().to_lowercase()
}

/// The facts about the present escalation.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each of them asked by itself")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Escalation {
    /// True if an event of Fini's showed it, not its status alone.
    pub by_event: bool,
    /// True once a human has written since.
    pub taken: bool,
    /// True once the bot has written since.
    pub bot_wrote: bool,
    /// True once the customer has written since.
    pub customer_wrote: bool,
}

impl Escalation {
    /// Encodes it as one number, for the store.
    pub fn to_bits(self) -> i64 {
        let flags = [self.by_event, self.taken, self.bot_wrote, self.customer_wrote];
        flags.into_iter().rev().fold(0, |bits, flag| bits << 1 | i64::from(flag))
    }

    /// Decodes that number.
    pub const fn from_bits(bits: i64) -> Self {
        Self { by_event: bits & 1 != 0, taken: bits & 2 != 0, bot_wrote: bits & 4 != 0, customer_wrote: bits & 8 != 0 }
    }

    /// Returns true if one more `silent_escalation` is another escalation, not the event of this one.
    const fn is_past(self) -> bool {
        // If a status was seen first, the bot's words before the event may belong to the same exchange.
        self.bot_wrote && (self.by_event || self.customer_wrote)
    }
}

/// Status and resolution as a snapshot shows them.
#[derive(Clone, Copy, Debug)]
pub struct Judgement<'a> {
    /// Fini's status text.
    pub status: Option<&'a str>,
    /// Fini's resolved flag.
    pub resolved: Option<bool>,
    /// The snapshot shows Fini's state at this time or later.
    pub as_of: Timestamp,
    /// The present time.
    pub now: Timestamp,
}

/// The record of a conversation's standing.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Its state.
    pub state: State,
    /// Fini's status text at the last read.
    pub status_text: Option<String>,
    /// Fini's resolved flag at the last read.
    pub resolved: Option<bool>,
    /// True once a snapshot was read; before that a status is learnt, not changed.
    pub snapshot_read: bool,
    /// True while the customer is asked for something.
    pub awaiting_customer: bool,
    /// The present escalation, while the state is [`State::Escalated`].
    pub escalation: Escalation,
    /// The right to speak to the customer.
    pub handoff: Handoff,
    /// Time of the last word of the exchange, while the status on record waits to be judged anew.
    pub unjudged_since: Option<Timestamp>,
    /// Time of the last change seen at Fini: only a surely later snapshot changes the record again.
    pub as_of: Timestamp,
}

impl Standing {
    /// Returns the standing of a conversation that nobody has read yet.
    pub const fn new() -> Self {
        Self::in_state(State::Open)
    }

    /// Returns the standing of a conversation in `state` about whose Fini conversation nothing is known.
    pub const fn in_state(state: State) -> Self {
        Self {
            state,
            status_text: None,
            resolved: None,
            snapshot_read: false,
            awaiting_customer: false,
            escalation: Escalation { by_event: false, taken: false, bot_wrote: false, customer_wrote: false },
            handoff: Handoff::new(),
            unjudged_since: None,
            as_of: Timestamp::ZERO,
        }
    }

    /// Moves to `state`; returns the report of it, if that is news.
    pub fn enter(&mut self, state: State) -> Option<FeedEvent> {
        let before = self.clone();
        self.state = state;
        self.report(&before)
    }

    /// Returns true if the snapshot, once applied, would show the conversation as resolved.
    pub(super) fn would_resolve(&self, seen: &Judgement<'_>, policy: &StatusPolicy) -> bool {
        let is_resolved = seen.resolved == Some(true) || policy.meaning(seen.status) == Meaning::Resolved;
        is_resolved && !self.is_newer_than(seen) && (self.differs(seen) || self.unjudged_since.is_none())
    }

    /// Returns true if a snapshot shows that the conversation has just been handed to a human.
    pub(super) fn would_escalate(&self, seen: &Judgement<'_>, policy: &StatusPolicy) -> bool {
        let is_escalated = seen.resolved != Some(true) && policy.meaning(seen.status) == Meaning::Escalated;
        is_escalated && self.state == State::Open && !self.is_newer_than(seen) && self.differs(seen)
    }

    /// Applies a message of the customer. It reopens a resolved conversation; judgements from before are of the exchange
    /// before. Returns true if the conversation was resolved.
    pub(super) fn customer_wrote(&mut self, now: Timestamp, feed: &mut Vec<FeedEvent>) -> bool {
        let before = self.clone();
        self.unjudged_since = Some(now);
        self.awaiting_customer = false;
        self.escalation.customer_wrote = true;
        let was_resolved = self.state == State::Resolved;
        if was_resolved {
            feed.push(FeedEvent::Resolved { resolved: false });
        }
        if matches!(self.state, State::Resolved | State::Lost) {
            self.state = self.active();
        }
        feed.extend(self.report(&before));
        was_resolved
    }

    /// Applies a message of the bot. If a human wrote before, in this conversation, the bot has it back.
    pub(super) fn bot_wrote(&mut self, is_after_human: bool, now: Timestamp, feed: &mut Vec<FeedEvent>) {
        self.unjudged_since = self.unjudged_since.map(|_| now);
        // The bot cannot take a conversation from a desk.
        if self.state != State::Escalated || self.handoff.is_fenced() {
            return;
        }
        if self.escalation.taken && is_after_human {
            let before = self.clone();
            self.state = State::Open;
            self.end_handoff(ReturnedBy::Desk, feed);
            feed.extend(self.report(&before));
        } else {
            self.escalation.bot_wrote = true;
        }
    }

    /// Applies a human's message in Fini: the conversation is theirs, whatever the status says. A good-bye in a resolved
    /// conversation takes nothing over.
    pub(super) fn human_wrote(&mut self, now: Timestamp, feed: &mut Vec<FeedEvent>) {
        self.unjudged_since = self.unjudged_since.map(|_| now);
        match self.state {
            State::Open | State::Lost => self.escalate(EscalationReason::HumanMessage, now, feed),
            State::Escalated => {}
            State::Resolved | State::Quarantined | State::Continued => return,
        }
        self.escalation.taken = true;
        self.somebody_wrote(now);
    }

    /// Applies an escalation of Fini's without a visible reply.
    pub(super) fn silently_escalated(&mut self, now: Timestamp, feed: &mut Vec<FeedEvent>) {
        if self.handoff.is_fenced() {
            self.escalation.by_event = true;
            return;
        }
        // After a request at the bridge Fini reports the same escalation once more, with the words of that exchange.
        let is_past = self.escalation.is_past() && (self.escalation.by_event || !self.handoff.is_own());
        if self.state != State::Escalated || is_past {
            self.escalate(EscalationReason::SilentEscalation, now, feed);
        }
        let Escalation { taken, .. } = self.escalation;
        self.escalation = Escalation { by_event: true, taken, ..Escalation::default() };
    }

    /// Escalates a reopened conversation that nobody answered, if Fini's status says that a human has it.
    pub(super) fn still_escalated(&mut self, policy: &StatusPolicy, now: Timestamp, feed: &mut Vec<FeedEvent>) {
        if self.state == State::Open && policy.meaning(self.status_text.as_deref()) == Meaning::Escalated {
            self.escalate(EscalationReason::Status, now, feed);
        }
    }

    /// Applies what a snapshot shows. Returns true if its status has been judged since the last word of the exchange; if
    /// not, it has to be read once more.
    pub(in crate::domain) fn judge(
        &mut self,
        seen: &Judgement<'_>,
        policy: &StatusPolicy,
        feed: &mut Vec<FeedEvent>,
    ) -> bool {
        let differs = self.differs(seen);
        if differs && self.is_newer_than(seen) {
            return false;
        }
        let before = self.clone();
        let meaning = policy.meaning(seen.status);
        let is_resolved = seen.resolved == Some(true) || meaning == Meaning::Resolved;
        let is_judged = match self.unjudged_since {
            Some(since) => {
                seen.now >= since.plus(JUDGED_WITHIN) || (differs && (is_resolved || meaning != Meaning::Unknown))
            }
            None => true,
        };
        self.status_text = seen.status.map(str::to_owned);
        self.resolved = seen.resolved;
        self.snapshot_read = true;
        // A first snapshot that says nothing is no change that an older one could take back.
        if differs && (before.snapshot_read || is_resolved || meaning != Meaning::Unknown) {
            self.as_of = seen.now;
        }
        if is_judged {
            self.unjudged_since = None;
            self.awaiting_customer = meaning == Meaning::Waiting && !is_resolved;
            if is_resolved {
                // A status from before the request at the bridge says nothing about that request.
                if differs || !self.handoff.is_own() {
                    self.resolve(feed);
                }
            } else if self.state == State::Resolved {
                feed.push(FeedEvent::Resolved { resolved: false });
                self.state = State::Open;
            }
            let was_escalated = policy.meaning(before.status_text.as_deref()) == Meaning::Escalated;
            if meaning == Meaning::Escalated && !is_resolved && !was_escalated && self.state == State::Open {
                self.begin_escalation(EscalationReason::Status, None, seen.now, feed);
            }
        }
        feed.extend(self.report(&before));
        is_judged
    }

    fn differs(&self, seen: &Judgement<'_>) -> bool {
        seen.status != self.status_text.as_deref() || seen.resolved != self.resolved || !self.snapshot_read
    }

    fn is_newer_than(&self, seen: &Judgement<'_>) -> bool {
        seen.as_of < self.as_of
    }

    fn resolve(&mut self, feed: &mut Vec<FeedEvent>) {
        if matches!(self.state, State::Open | State::Escalated) {
            feed.push(FeedEvent::Resolved { resolved: true });
            self.state = State::Resolved;
            self.end_handoff(ReturnedBy::Resolution, feed);
        }
    }

    /// Ends the handoff, if there is one.
    fn end_handoff(&mut self, by: ReturnedBy, feed: &mut Vec<FeedEvent>) {
        if !self.handoff.is_bots() {
            let _ = self.handoff.give_back(by, feed);
        }
    }

    fn escalate(&mut self, reason: EscalationReason, now: Timestamp, feed: &mut Vec<FeedEvent>) {
        let before = self.clone();
        self.begin_escalation(reason, None, now, feed);
        feed.extend(self.report(&before));
    }

    pub(super) fn begin_escalation(
        &mut self,
        reason: EscalationReason,
        note: Option<String>,
        now: Timestamp,
        feed: &mut Vec<FeedEvent>,
    ) {
        feed.push(FeedEvent::Escalated { reason, status_text: self.status_text.clone() });
        self.handoff.request(reason, note, now, feed);
        self.escalation = Escalation::default();
        // Only an operator ends a quarantine.
        if !self.state.is_set_aside() {
            self.state = State::Escalated;
        }
    }

    /// Returns the report of the differences from `before` that frontends see.
    pub(super) fn report(&self, before: &Self) -> Option<FeedEvent> {
        let text_changed = before.snapshot_read && self.status_text != before.status_text;
        let changed = self.state != before.state || self.awaiting_customer != before.awaiting_customer || text_changed;
        changed.then(|| FeedEvent::StatusChanged {
            state: self.state,
            previous_state: before.state,
            status_text: self.status_text.clone(),
            awaiting_customer: self.awaiting_customer,
        })
    }
}

impl Default for Standing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 3] = ["Escalated to Human Agent", "Resolved", "Waiting for Customer"];

    fn policy() -> StatusPolicy {
        let [escalated, resolved, waiting] = WORDS.map(|word| vec![word.to_owned()]);
        StatusPolicy::new(&escalated, &resolved, &waiting)
    }

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// A conversation, the events reported of it, and the time.
    struct Talk(Standing, Vec<FeedEvent>, i64);

    impl Talk {
        fn new() -> Self {
            Self(Standing::new(), Vec::new(), 100)
        }

        fn customer(mut self) -> Self {
            self.0.customer_wrote(seconds(self.2), &mut self.1);
            self
        }

        fn bot(mut self) -> Self {
            self.0.bot_wrote(true, seconds(self.2), &mut self.1);
            self
        }

        fn human(mut self) -> Self {
            self.0.human_wrote(seconds(self.2), &mut self.1);
            self
        }

        fn silent(mut self) -> Self {
            self.0.silently_escalated(seconds(self.2), &mut self.1);
            self
        }

        fn later(mut self, seconds: i64) -> Self {
            self.2 += seconds;
            self
        }

        fn status(self, status: &str) -> Self {
            self.shows(Some(status), None, 0)
        }

        fn shows(mut self, status: Option<&str>, resolved: Option<bool>, age: i64) -> Self {
            let seen = Judgement { status, resolved, as_of: seconds(self.2 - age), now: seconds(self.2) };
            self.0.judge(&seen, &policy(), &mut self.1);
            self
        }

        /// Renders the reports: `!reason` for an escalation, `+` and `-` for a resolution, and each new state, with `?`
        /// if the customer is asked. Other events of a handoff are checked where they are decided.
        fn told(&self) -> String {
            let word = |event: &FeedEvent| match event {
                FeedEvent::HandoffRequested(_) | FeedEvent::HandoffReturned { .. } => None,
                FeedEvent::Escalated { reason, .. } => Some(format!("!{reason:?}")),
                FeedEvent::Resolved { resolved } => Some((if *resolved { "+" } else { "-" }).to_owned()),
                FeedEvent::StatusChanged { state, awaiting_customer, .. } => {
                    Some(format!("{}{}", state.as_str(), if *awaiting_customer { "?" } else { "" }))
                }
                other => panic!("{other:?}"),
            };
            self.1.iter().filter_map(word).collect::<Vec<_>>().join(" ")
        }
    }

    #[test]
    fn words_are_compared_trimmed_and_without_case() {
        assert_eq!(policy().meaning(Some("  escalated TO human agent ")), Meaning::Escalated);
        assert_eq!(policy().meaning(Some("Open")), Meaning::Unknown);
        assert_eq!(policy().meaning(None), Meaning::Unknown);
        for bits in 0..16 {
            assert_eq!(Escalation::from_bits(bits).to_bits(), bits);
        }
    }

    #[test]
    fn status_and_event_of_one_escalation_are_one_in_either_order() {
        assert_eq!(Talk::new().customer().silent().status(WORDS[0]).told(), "!SilentEscalation escalated");
        assert_eq!(Talk::new().customer().status(WORDS[0]).silent().told(), "!Status escalated");
        // The bot's own words of that exchange may be seen after the status.
        assert_eq!(Talk::new().customer().status(WORDS[0]).bot().silent().told(), "!Status escalated");
    }

    #[test]
    fn another_escalation_after_the_bot_answered_is_told_again() {
        let first = || Talk::new().customer().silent();
        assert_eq!(first().silent().told(), "!SilentEscalation escalated");
        assert_eq!(first().customer().silent().told(), "!SilentEscalation escalated", "the bot did not answer");
        let twice = "!SilentEscalation escalated !SilentEscalation";
        assert_eq!(first().bot().silent().told(), twice);
        assert_eq!(first().customer().bot().silent().told(), twice);
        assert_eq!(first().customer().bot().silent().silent().told(), twice);
        let by_status = Talk::new().customer().status(WORDS[0]).customer().bot().silent();
        assert_eq!(by_status.told(), "!Status escalated !SilentEscalation");
    }

    #[test]
    fn no_other_status_ends_an_escalation() {
        let talk = Talk::new().customer().status(WORDS[0]).later(60).status("Open").later(60).status(WORDS[0]);
        assert_eq!(talk.told(), "!Status escalated escalated escalated");
        let talk = Talk::new().customer().status(WORDS[0]).customer().later(5).status(WORDS[2]);
        assert_eq!(talk.told(), "!Status escalated escalated?");
    }

    #[test]
    fn who_took_it_gives_it_back() {
        let taken = || Talk::new().customer().status(WORDS[0]).human();
        assert_eq!(taken().bot().told(), "!Status escalated open");
        assert_eq!(taken().bot().customer().silent().told(), "!Status escalated open !SilentEscalation escalated");
        // The status was not judged since: it says nothing new.
        assert_eq!(taken().bot().later(60).status(WORDS[0]).told(), "!Status escalated open");
        let Talk(mut standing, mut feed, _) = taken();
        standing.bot_wrote(false, seconds(200), &mut feed);
        assert_eq!(standing.state, State::Escalated, "that stood before the human's words");
    }

    #[test]
    fn a_human_takes_over_whatever_the_status_says() {
        assert_eq!(Talk::new().customer().status("Open").human().told(), "!HumanMessage escalated");
        assert_eq!(Talk::new().customer().status("Open").human().human().silent().told(), "!HumanMessage escalated");
        assert_eq!(Talk::new().customer().shows(None, Some(true), 0).human().told(), "+ resolved", "a good-bye");
    }

    #[test]
    fn either_sign_resolves_and_each_resolution_is_told() {
        assert_eq!(Talk::new().customer().status(WORDS[1]).told(), "+ resolved");
        assert_eq!(Talk::new().customer().shows(Some(WORDS[0]), Some(true), 0).told(), "+ resolved");
        let resolved = Talk::new().customer().silent().shows(Some(WORDS[0]), Some(true), 0);
        assert_eq!(resolved.told(), "!SilentEscalation escalated + resolved");
        let again = |status: &str, flag| {
            let talk = Talk::new().customer().shows(Some(status), flag, 0).later(60).customer().bot();
            // Still the old judgement, then the new one.
            talk.later(3).shows(Some(status), flag, 0).later(8).shows(Some(status), flag, 0).told()
        };
        assert_eq!(again(WORDS[1], None), "+ resolved - open + resolved");
        assert_eq!(again("Open", Some(true)), "+ resolved - open + resolved");
        let reopened = Talk::new().customer().status(WORDS[1]).later(60).status("Open");
        assert_eq!(reopened.told(), "+ resolved - open");
    }

    #[test]
    fn the_customer_is_waited_for_until_they_write() {
        let asked = || Talk::new().customer().bot().status(WORDS[2]);
        assert_eq!(asked().told(), "open?");
        assert_eq!(asked().customer().told(), "open? open");
        // The earlier judgement says nothing about the answer.
        assert_eq!(asked().customer().bot().later(3).status(WORDS[2]).told(), "open? open");
        assert_eq!(asked().customer().bot().later(10).status(WORDS[2]).told(), "open? open open?");
    }

    #[test]
    fn a_snapshot_that_lags_behind_changes_nothing() {
        let talk = Talk::new().customer().later(60).status("Open").later(60).status(WORDS[0]);
        let told = talk.told();
        assert_eq!(talk.later(5).shows(Some("Open"), None, 10).told(), told);
        let talk = Talk::new().customer().later(60).status("Open").later(60).shows(None, Some(true), 0);
        let told = talk.told();
        assert_eq!(talk.later(5).shows(Some("Open"), None, 10).told(), told);
    }

    #[test]
    fn a_resolved_conversation_of_whom_a_human_is_said_to_have_it() {
        let mut talk = Talk::new().customer().shows(Some(WORDS[0]), Some(true), 0).later(60).customer();
        talk.0.still_escalated(&policy(), seconds(160), &mut talk.1);
        assert_eq!(talk.told(), "+ resolved - open !Status escalated");
    }

    #[test]
    fn nothing_but_an_operator_ends_a_quarantine() {
        let mut talk = Talk(Standing::in_state(State::Quarantined), Vec::new(), 100).customer().bot().human().silent();
        assert_eq!((talk.0.state, talk.told().as_str()), (State::Quarantined, "!SilentEscalation"));
        talk.1.clear();
        let talk = talk.shows(None, Some(true), 0);
        assert_eq!(talk.0.state, State::Quarantined);
    }
}
