//! Interprets one observation of a Fini conversation: its feed events, and the standing of conversation and turns after it.
//!
//! [`Observation::apply`] is pure. It is called inside the transaction that records its result, with the conversation as it is
//! in that transaction; so it does not matter whether the response, a sweep or a single read sees an event first, nor how
//! often it is seen.
//!
//! Invariants: an event that was seen before causes nothing but, at most, `feedback.updated` and `message.updated`;
//! internal notes and debounce events cause nothing at all; a reply is attributed to one open turn at most, and never to
//! one whose message follows it by more than Fini's times may be out of order.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{
    Timestamp,
    content::Content,
    conversation::{Judgement, Standing, State, StatusPolicy},
    event::{Author, FeedEvent, Message, Origin, TextFormat},
    ids::{FiniEventId, MessageId, TurnKey},
    message::Role,
    own_event::OwnEvent,
    turn::Outcome,
    vendor::{Feedback, FiniEvent, FiniKind, FiniRole},
};

/// A reply's time may precede that of its message by up to this.
const OUT_OF_ORDER: Duration = Duration::from_secs(2);

/// A turn that was sent and is not settled: the one that occupies the conversation, or a late one.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenTurn {
    /// Its key.
    pub key: TurnKey,
    /// The message that replies answer: the last one of a joined turn.
    pub message_id: MessageId,
    /// The role it was sent as.
    pub role: Role,
    /// The text as it was sent.
    pub text: String,
    /// Time of the last send.
    pub sent_at: Timestamp,
    /// True while Fini's response to it may still arrive and name its replies.
    pub is_answering: bool,
    /// The findings about it so far.
    pub progress: Progress,
}

/// An earlier message whose own event was never seen in Fini (its outcome stayed unclear, or its response lacked it). If
/// the event turns up after all, it is recognised instead of reported as new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnseenMessage {
    /// The turn it belongs to.
    pub key: TurnKey,
    /// The role it was sent as.
    pub role: Role,
    /// The text as it was sent.
    pub text: String,
    /// Time of the last send.
    pub sent_at: Timestamp,
    /// True if Fini certainly has it and only the event itself was not seen so far.
    pub arrived: bool,
}

/// The findings about an open turn, accumulated over all looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The event that is the turn's own message in Fini.
    pub own_event: Option<FiniEventId>,
    /// Number of replies shown to the customer.
    pub replies: u32,
    /// True once it was handed to a human.
    pub escalated: bool,
    /// True once the bot closed the turn without a reply.
    pub no_reply: bool,
    /// True once the bot answered while a desk had the conversation; the customer is not shown that answer.
    pub withheld: bool,
}

impl Progress {
    /// Returns true if anything ended the wait for a reply.
    const fn is_answered(&self) -> bool {
        self.replies > 0 || self.escalated || self.no_reply || self.withheld
    }

    /// Returns true if Fini certainly has the message.
    pub const fn has_arrived(&self) -> bool {
        self.own_event.is_some() || self.is_answered()
    }

    /// Returns the result of a turn of `role` in a conversation with this standing; `Nothing` without a trace of it.
    pub const fn result(&self, role: Role, standing: &Standing) -> TurnResult {
        if !self.has_arrived() {
            return TurnResult::Nothing;
        }
        if !matches!(role, Role::User) {
            return TurnResult::Over(Outcome::Stored);
        }
        match (self, standing.state) {
            (Self { escalated: true, .. }, _) => TurnResult::Over(Outcome::Escalated),
            (Self { replies: 1.., .. }, _) => TurnResult::Over(Outcome::Answered),
            (Self { withheld: true, .. }, _) => TurnResult::Over(Outcome::Stored),
            // A desk has the conversation: nobody waits for the bot's answer.
            _ if standing.handoff.is_fenced() => TurnResult::Over(Outcome::Stored),
            // Resolved after the customer wrote: nobody will answer.
            (Self { no_reply: true, .. }, _) | (_, State::Resolved) => TurnResult::Over(Outcome::NoReply),
            // A human owns the conversation: the bot stays silent on purpose.
            (_, State::Escalated) => TurnResult::Over(Outcome::Escalated),
            _ => TurnResult::Stored,
        }
    }
}

/// The state of an event when it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenEvent {
    /// Its rating when last seen.
    pub rating: Feedback,
    /// Its content when last seen; only of messages that were reported with origin Fini.
    pub content: Option<Content>,
}

/// The fields of a List or Get snapshot besides its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFields {
    /// Fini's status text.
    pub status: Option<String>,
    /// Fini's resolved flag.
    pub resolved: Option<bool>,
    /// True if our attribute on it names the open turn: that supports an event as the turn's message, but is none.
    pub names_open_turn: bool,
    /// The snapshot shows Fini's state at this time or later.
    pub as_of: Timestamp,
    /// True if it lacks a recently seen event; its status, resolution and ratings are then ignored.
    pub is_behind: bool,
}

/// One observation of a Fini conversation.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    /// The configured meaning of Fini's status texts.
    pub policy: &'a StatusPolicy,
    /// The snapshot, unless this is a Generate Answer response (which has none).
    pub snapshot: Option<&'a SnapshotFields>,
    /// The events, oldest first.
    pub events: &'a [FiniEvent],
    /// The text format in which Fini's side writes to this frontend.
    pub format: TextFormat,
    /// The present time.
    pub now: Timestamp,
}

/// The open turns of a conversation.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenTurns<'a> {
    /// The turn that occupies the conversation; a response is the response to it.
    pub current: Option<&'a OpenTurn>,
    /// Late turns, oldest first.
    pub late: &'a [OpenTurn],
}

/// The changes that an observation causes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The new feed events, in order, with the turn that each belongs to.
    pub feed: Vec<(FeedEvent, Option<TurnKey>)>,
    /// The standing after the observation.
    pub standing: Standing,
    /// Events to mark as seen, with the turn they belong to.
    pub seen_events: Vec<(FiniEventId, Option<TurnKey>, SeenEvent)>,
    /// The progress of the turn that occupies the conversation.
    pub progress: Progress,
    /// The result of that turn.
    pub turn: TurnResult,
    /// The progress and the result of each late turn, in the order in which they were given.
    pub late: Vec<(Progress, TurnResult)>,
    /// True if an event was left unmarked because it is not known yet whose it is.
    pub is_doubtful: bool,
    /// True if status and resolution need no further read: the snapshot was up to date, and the status was judged since
    /// the last word of the exchange. Always true of a response, which carries neither.
    pub is_judged: bool,
}

/// The result of an observation for one open turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TurnResult {
    /// Nothing: no open turn, or no trace of it.
    #[default]
    Nothing,
    /// The event found is its message or that of an earlier turn with the same text, whose outcome is unclear too.
    Doubtful,
    /// Fini has the message; no reply yet.
    Stored,
    /// The turn is over.
    Over(Outcome),
}

impl Observation<'_> {
    /// Returns the changes that this observation causes, given what is on record.
    pub fn apply(
        &self,
        standing: &Standing,
        turns: OpenTurns<'_>,
        unseen_messages: &[UnseenMessage],
        seen: &HashMap<FiniEventId, SeenEvent>,
    ) -> Applied {
        let (own_event, in_doubt) = match self.find_own_event(turns.current, unseen_messages, seen) {
            OwnEvent::Found(id) => (Some(id), None),
            OwnEvent::Doubtful(id) => (None, Some(id)),
            OwnEvent::Missing => (None, None),
        };
        let mut pass = Pass::new(self, standing, turns, seen, own_event);
        if self.is_response()
            && own_event.is_none()
            && pass.current().is_some_and(|turn| turn.progress.own_event.is_none())
        {
            pass.begin_turn();
        }
        let mut unseen_messages: Vec<&UnseenMessage> = unseen_messages.iter().collect();
        let mut batch = HashSet::new();
        for (at, event) in self.events.iter().enumerate() {
            // The event in doubt stays unmarked, so that a later observation can still attribute it.
            if !batch.insert(&event.id) || in_doubt == Some(&event.id) {
                continue;
            }
            let is_forgotten = mutated!("an event is told as often as it is seen");
            if let Some(mark) = seen.get(&event.id).filter(|_| !is_forgotten) {
                pass.confirm(event);
                pass.review(event, mark);
                continue;
            }
            // The turn's message may have been found before, mixed into the Fini conversation of another one.
            if own_event == Some(&event.id)
                || pass.current().is_some_and(|turn| turn.progress.own_event.as_ref() == Some(&event.id))
            {
                pass.found(event);
                pass.begin_turn();
                if mutated!("a customer's own message is told as news") {
                    pass.take(at, event, None);
                }
                continue;
            }
            if let Some(position) = unseen_messages.iter().position(|earlier| earlier.may_be(event)) {
                let earlier = unseen_messages.remove(position);
                pass.mark(event, Some(earlier.key));
                continue;
            }
            match pass.owner(at, event) {
                Owner::Unknown => pass.applied.is_doubtful = true,
                Owner::Turn(number) => pass.take(at, event, Some(number)),
                Owner::Nobody => pass.take(at, event, None),
            }
        }
        pass.finish(in_doubt.is_some())
    }

    pub(super) const fn is_response(&self) -> bool {
        self.snapshot.is_none()
    }

    fn judgement(&self) -> Option<Judgement<'_>> {
        let snapshot = self.snapshot.filter(|snapshot| !snapshot.is_behind)?;
        let SnapshotFields { status, resolved, as_of, .. } = snapshot;
        Some(Judgement { status: status.as_deref(), resolved: *resolved, as_of: *as_of, now: self.now })
    }
}

/// The owner of an event.
enum Owner {
    /// The open turn with this index.
    Turn(usize),
    /// No open turn.
    Nobody,
    /// Not known before Fini's response to the turn that is being sent.
    Unknown,
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts about the observation, no states of one thing")]
struct Pass<'a> {
    observation: &'a Observation<'a>,
    seen: &'a HashMap<FiniEventId, SeenEvent>,
    applied: Applied,
    /// The open turns, oldest first, each with the index of its message among the events.
    turns: Vec<(&'a OpenTurn, Progress, Option<usize>)>,
    /// True if the last of them occupies the conversation.
    is_occupied: bool,
    /// The index of the last message of a human agent.
    last_human: Option<usize>,
    /// True once the customer reopened a resolved conversation.
    reopened: bool,
    /// True if the observation is not older than the record, so that a difference is a change.
    is_current: bool,
    /// True once an event that was seen before has changed.
    has_changed: bool,
    /// True once an event differs in an observation that may be older than the record.
    is_outdated: bool,
}

impl<'a> Pass<'a> {
    fn new(
        observation: &'a Observation<'a>,
        standing: &Standing,
        turns: OpenTurns<'a>,
        seen: &'a HashMap<FiniEventId, SeenEvent>,
        own_event: Option<&FiniEventId>,
    ) -> Self {
        let open = turns.late.iter().chain(turns.current);
        let place = |turn: &OpenTurn| {
            let is_current = turns.current.is_some_and(|current| current.key == turn.key);
            let message = turn.progress.own_event.as_ref().or(own_event.filter(|_| is_current))?;
            observation.events.iter().position(|event| event.id == *message)
        };
        Self {
            observation,
            seen,
            applied: Applied { standing: standing.clone(), ..Applied::default() },
            turns: open.map(|turn| (turn, turn.progress.clone(), place(turn))).collect(),
            is_occupied: turns.current.is_some(),
            last_human: observation.events.iter().rposition(|event| is_word_of(event, &FiniRole::Agent)),
            reopened: false,
            has_changed: false,
            is_outdated: false,
            is_current: observation.is_response()
                || observation.judgement().is_some_and(|seen| seen.as_of >= standing.as_of),
        }
    }

    /// Returns the index of the turn that occupies the conversation.
    fn current_number(&self) -> Option<usize> {
        self.turns.len().checked_sub(1).filter(|_| self.is_occupied)
    }

    fn current(&self) -> Option<&'a OpenTurn> {
        self.current_number().map(|number| self.turns[number].0)
    }

    fn current_key(&self) -> Option<TurnKey> {
        self.current().map(|turn| turn.key)
    }

    /// Records the event as the message of the turn that occupies the conversation.
    fn found(&mut self, event: &FiniEvent) {
        self.mark(event, self.current_key());
        self.with(self.current_number(), |progress| progress.own_event = Some(event.id.clone()));
    }

    /// Counts an event seen before as a reply to the response's turn if the response names it, whatever turn it had.
    fn confirm(&mut self, event: &FiniEvent) {
        let is_reply = self.observation.is_response() && is_word_of(event, &FiniRole::Bot);
        if let Some(number) = self.current_number().filter(|number| is_reply && self.waits(*number)) {
            let is_withheld = self.is_withheld(event);
            self.count_reply(Some(number), event, is_withheld);
        }
    }

    /// Updates the standing once Fini is known to have the message of the turn that occupies the conversation.
    fn begin_turn(&mut self) {
        match self.current().map(|turn| turn.role) {
            Some(Role::User) => self.customer_wrote(),
            // A message of any other role reopens a lost conversation too.
            Some(_) if self.applied.standing.state == State::Lost => {
                let active = self.applied.standing.active();
                let report = self.applied.standing.enter(active);
                self.tell(report, None);
            }
            _ => {}
        }
    }

    fn customer_wrote(&mut self) {
        let mut told = Vec::new();
        self.reopened |= self.applied.standing.customer_wrote(self.observation.now, &mut told);
        self.tell(told, None);
    }

    /// Returns the open turn to which an event belongs that was never seen and is no message of ours.
    ///
    /// Every event of a response belongs to the response's turn. In a snapshot, an event answers the oldest open turn
    /// without a reply whose message precedes it; further replies go to the last such turn. A message whose response was
    /// lost comes first when it is found together with the events after it: the response would have named them as its
    /// replies, and an earlier message may never get one. An event that precedes the message, even if it is seen only
    /// now, does not answer it, unless it is so near that Fini's times may be out of order.
    fn owner(&self, at: usize, event: &FiniEvent) -> Owner {
        let current = self.current_number();
        if self.observation.is_response() {
            return current.map_or(Owner::Nobody, Owner::Turn);
        }
        let stands_before = |number: &usize| self.turns[*number].2.is_some_and(|place| place < at);
        let before: Vec<usize> = (0..self.turns.len()).filter(stands_before).collect();
        let Some(last) = before.last().copied() else { return self.answered_early(at, event) };
        let waiting: Vec<usize> = before.into_iter().filter(|number| self.waits(*number)).collect();
        match waiting.as_slice() {
            [] | [_] => Owner::Turn(waiting.first().copied().unwrap_or(last)),
            // The response to the last one will say whether this is its reply or a late one.
            [.., newest] if self.turns[*newest].0.is_answering && is_of_bot(event) => Owner::Unknown,
            [.., newest] if self.turns[*newest].0.progress.own_event.is_none() && is_of_bot(event) => {
                Owner::Turn(*newest)
            }
            [oldest, ..] => Owner::Turn(*oldest),
        }
    }

    /// Returns true if an open turn waits for its first reply.
    fn waits(&self, number: usize) -> bool {
        let (turn, progress, _) = &self.turns[number];
        turn.role == Role::User && !progress.is_answered()
    }

    /// Returns the owner of an event that may be a reply standing just before its message.
    fn answered_early(&self, at: usize, event: &FiniEvent) -> Owner {
        if !is_of_bot(event) {
            return Owner::Nobody;
        }
        let latest = event.created_at.plus(OUT_OF_ORDER);
        let is_near = |number: &usize| {
            let place = self.turns[*number].2.filter(|place| {
                let between = &self.observation.events[at..*place];
                self.observation.events[*place].created_at <= latest
                    && !between.iter().any(|event| event.role == FiniRole::User)
            });
            place.is_some() && self.waits(*number)
        };
        match (0..self.turns.len()).find(is_near) {
            Some(number) if self.turns[number].0.is_answering => Owner::Unknown,
            Some(number) => Owner::Turn(number),
            None => Owner::Nobody,
        }
    }

    /// Applies an event that was never seen and is no message of ours.
    fn take(&mut self, at: usize, event: &FiniEvent, number: Option<usize>) {
        let turn = number.map(|number| self.turns[number].0);
        let key = turn.map(|turn| turn.key);
        self.mark(event, key);
        let number = number.filter(|number| self.turns[*number].0.role == Role::User);
        let by_staff = matches!(event.role, FiniRole::Bot | FiniRole::Agent);
        let now = self.observation.now;
        let is_withheld = self.is_withheld(event);
        let mut told = Vec::new();
        match (&event.kind, author(&event.role)) {
            (FiniKind::InternalNote | FiniKind::Debounce, _) => return,
            (FiniKind::Message, Some(author)) => {
                let answers = number.filter(|_| by_staff);
                if event.role == FiniRole::User {
                    self.customer_wrote();
                }
                self.tell_message(event, author, answers, key, is_withheld);
                self.count_reply(answers, event, is_withheld);
            }
            (FiniKind::NoReply, _) => self.with(number, |progress| progress.no_reply = true),
            (FiniKind::SilentEscalation, _) => {
                self.with(number, |progress| progress.escalated = true);
                self.applied.standing.silently_escalated(now, &mut told);
            }
            (FiniKind::WidgetForm, Some(_)) => {
                told.push(FeedEvent::FormPresented {
                    event_id: event.id.to_string(),
                    text: event.text.clone(),
                    raw: event.raw.clone(),
                    withheld: is_withheld,
                });
                self.count_reply(number.filter(|_| by_staff), event, is_withheld);
            }
            (FiniKind::Unknown(_), _) | (_, None) => {
                // Whatever Fini's bot did was its answer: the turn waits for no other.
                self.with(number.filter(|_| event.role == FiniRole::Bot), |progress| progress.no_reply = true);
                told.push(FeedEvent::Unrecognized {
                    event_id: event.id.to_string(),
                    role: role_name(&event.role).to_owned(),
                    kind: kind_name(&event.kind).to_owned(),
                    raw: event.raw.clone(),
                });
            }
        }
        self.tell(told, key);
        let mut told = Vec::new();
        if is_word_of(event, &FiniRole::Bot) {
            let is_after_human = self.last_human.is_none_or(|human| human < at);
            self.applied.standing.bot_wrote(is_after_human, now, &mut told);
        } else if is_word_of(event, &FiniRole::Agent) && !self.is_given_back(at) && !self.will_resolve() {
            // If the status says so too, it was the reason, and the human has come.
            self.judge_if(Standing::would_escalate, &mut told);
            self.applied.standing.human_wrote(now, &mut told);
        }
        self.tell(told, key);
        self.rate(event);
    }

    /// Reports the changes of an event that was seen before.
    fn review(&mut self, event: &FiniEvent, mark: &SeenEvent) {
        if is_internal(event) {
            return;
        }
        let rating = mark.rating.with(&event.rating);
        let revised = mark.content.as_ref().and_then(|content| content.revised(event));
        if rating == mark.rating && revised.is_none() {
            return;
        }
        if !self.is_current {
            self.is_outdated = true;
            return;
        }
        if rating != mark.rating {
            let event_id = event.id.to_string();
            self.tell([FeedEvent::FeedbackUpdated { event_id, rating: rating.clone() }], None);
        }
        let content = match revised {
            Some((changed, after)) => {
                self.tell([FeedEvent::MessageUpdated { message_id: event.id.to_string(), changed }], None);
                Some(after)
            }
            None => mark.content.clone(),
        };
        self.applied.seen_events.push((event.id.clone(), None, SeenEvent { rating, content }));
        self.has_changed = true;
    }

    fn tell_message(
        &mut self,
        event: &FiniEvent,
        author: Author,
        answers: Option<usize>,
        key: Option<TurnKey>,
        withheld: bool,
    ) {
        let in_reply_to = answers.map(|number| self.turns[number].0.message_id.clone());
        let of = key.filter(|_| in_reply_to.is_some() || self.observation.is_response());
        let message = Message {
            id: event.id.to_string(),
            author,
            text: event.text.clone().unwrap_or_default(),
            // A customer types plain text: an asterisk of theirs is an asterisk.
            format: if author == Author::User { TextFormat::Plain } else { self.observation.format },
            created_at: event.created_at,
            articles: event.articles.clone(),
            attachments: event.attachments.clone(),
            tags: event.tags.clone(),
        };
        self.applied
            .feed
            .push((FeedEvent::MessageCreated { message, origin: Origin::Fini, in_reply_to, withheld }, of));
        // A withheld message must not reach the customer by `message.updated` either.
        if let Some((_, _, mark)) = self.applied.seen_events.last_mut().filter(|_| !withheld) {
            mark.content = Some(Content::of(event));
        }
    }

    /// Returns true if an event is the bot's while a desk has the conversation.
    fn is_withheld(&self, event: &FiniEvent) -> bool {
        let is_fenced = self.applied.standing.handoff.is_fenced() && !mutated!("the bot speaks on after a claim");
        event.role == FiniRole::Bot && is_fenced
    }

    /// Counts a reply. A human agent who answers before the bot takes the conversation over.
    fn count_reply(&mut self, number: Option<usize>, event: &FiniEvent, is_withheld: bool) {
        let by_human = event.role == FiniRole::Agent;
        if is_withheld {
            return self.with(number, |progress| progress.withheld = true);
        }
        self.with(number, |progress| {
            progress.escalated |= by_human && !progress.is_answered();
            progress.replies += 1;
        });
    }

    fn with(&mut self, number: Option<usize>, change: impl FnOnce(&mut Progress)) {
        if let Some(number) = number {
            change(&mut self.turns[number].1);
        }
    }

    /// Returns true if an earlier observation saw the bot write after the event at `at`, which is found only now.
    fn is_given_back(&self, at: usize) -> bool {
        let later = self.observation.events.iter().skip(at + 1);
        later.filter(|event| is_word_of(event, &FiniRole::Bot)).any(|event| self.seen.contains_key(&event.id))
    }

    /// Returns true if this observation resolves the conversation.
    fn will_resolve(&self) -> bool {
        let seen = self.observation.judgement();
        seen.is_some_and(|seen| self.applied.standing.would_resolve(&seen, self.observation.policy))
    }

    /// Applies the snapshot's status and resolution, if it shows them and `wanted` accepts them.
    fn judge_if(
        &mut self,
        wanted: impl FnOnce(&Standing, &Judgement<'_>, &StatusPolicy) -> bool,
        told: &mut Vec<FeedEvent>,
    ) {
        let Some(seen) = self.observation.judgement() else { return };
        if wanted(&self.applied.standing, &seen, self.observation.policy) {
            self.applied.is_judged = self.applied.standing.judge(&seen, self.observation.policy, told);
        }
    }

    fn mark(&mut self, event: &FiniEvent, turn: Option<TurnKey>) {
        let mark = SeenEvent { rating: event.rating.clone(), content: None };
        self.applied.seen_events.push((event.id.clone(), turn, mark));
    }

    /// Reports the rating of an event that was never seen.
    fn rate(&mut self, event: &FiniEvent) {
        if !event.rating.is_empty() {
            let rated = FeedEvent::FeedbackUpdated { event_id: event.id.to_string(), rating: event.rating.clone() };
            self.tell([rated], None);
        }
    }

    fn tell(&mut self, events: impl IntoIterator<Item = FeedEvent>, turn: Option<TurnKey>) {
        self.applied.feed.extend(events.into_iter().map(|event| (event, turn)));
    }

    fn finish(mut self, in_doubt: bool) -> Applied {
        let mut told = Vec::new();
        self.applied.is_judged = self.observation.is_response();
        self.judge_if(|_, _, _| true, &mut told);
        self.applied.is_judged &= !self.is_outdated;
        if self.has_changed {
            self.applied.standing.as_of = self.observation.now;
        }
        let waits =
            self.current_number().is_some_and(|number| self.waits(number) && self.turns[number].1.has_arrived());
        if self.reopened && waits {
            self.applied.standing.still_escalated(self.observation.policy, self.observation.now, &mut told);
        }
        self.tell(told, None);
        self.belong_to_current();
        let standing = &self.applied.standing;
        let results: Vec<_> = self
            .turns
            .iter()
            .map(|(turn, progress, _)| (progress.clone(), progress.result(turn.role, standing)))
            .collect();
        self.applied.late = results;
        if let Some((progress, result)) = self.applied.late.pop_if(|_| self.is_occupied) {
            self.applied.progress = progress;
            // Only an event proves that Fini has the message: it merges attributes even of messages that it does not store.
            self.applied.turn = match result {
                TurnResult::Nothing if in_doubt => TurnResult::Doubtful,
                result => result,
            };
        }
        self.applied.is_doubtful |= self.applied.turn == TurnResult::Doubtful;
        self.applied
    }

    /// Attributes the conversation's events to the turn that occupies it, once Fini has its message. Ratings belong to
    /// earlier events, messages to the turn that they answer.
    fn belong_to_current(&mut self) {
        let Some(number) = self.current_number() else { return };
        let (turn, progress, _) = &self.turns[number];
        if !self.observation.is_response() && !progress.has_arrived() {
            return;
        }
        let is_own = |event: &FeedEvent| {
            !matches!(
                event,
                FeedEvent::FeedbackUpdated { .. } | FeedEvent::MessageCreated { .. } | FeedEvent::MessageUpdated { .. }
            )
        };
        for (event, of) in &mut self.applied.feed {
            if of.is_none() && is_own(event) {
                *of = Some(turn.key);
            }
        }
    }
}

/// Returns true if somebody of that role wrote the event and the customer sees it.
fn is_word_of(event: &FiniEvent, role: &FiniRole) -> bool {
    event.role == *role && matches!(event.kind, FiniKind::Message | FiniKind::WidgetForm)
}

/// Returns true if the event is the bot's and not internal.
fn is_of_bot(event: &FiniEvent) -> bool {
    event.role == FiniRole::Bot && !is_internal(event)
}

/// Returns true if the event is internal to Fini.
const fn is_internal(event: &FiniEvent) -> bool {
    matches!(event.kind, FiniKind::InternalNote | FiniKind::Debounce)
}

const fn author(role: &FiniRole) -> Option<Author> {
    match role {
        FiniRole::User => Some(Author::User),
        FiniRole::Agent => Some(Author::Agent),
        FiniRole::Bot => Some(Author::Bot),
        FiniRole::OtherBot => Some(Author::OtherBot),
        FiniRole::Unknown(_) => None,
    }
}

fn role_name(role: &FiniRole) -> &str {
    match role {
        FiniRole::User => "user",
        FiniRole::Agent => "agent",
        FiniRole::Bot => "finibot",
        FiniRole::OtherBot => "otherbot",
        FiniRole::Unknown(name) => name,
    }
}

fn kind_name(kind: &FiniKind) -> &str {
    match kind {
        FiniKind::Message => "message",
        FiniKind::InternalNote => "internalnote",
        FiniKind::NoReply => "no_reply",
        FiniKind::SilentEscalation => "silent_escalation",
        FiniKind::Debounce => "debounce",
        FiniKind::WidgetForm => "widget_form",
        FiniKind::Unknown(name) => name,
    }
}
