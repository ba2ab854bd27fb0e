//! What one look at a Fini conversation means: which feed events it causes, and where conversation and turn stand after it.
//!
//! [`Look::apply`] is pure. It is called inside the transaction that records its result, with the conversation as it is in
//! that transaction; so it does not matter whether the response, a sweep or a single read sees an event first, nor how
//! often it is seen.
//!
//! Invariants: an event that was seen before causes nothing but, at most, `feedback.updated`; internal notes and debounce
//! events cause nothing at all; an escalation is reported once until it ends.

use std::collections::{HashMap, HashSet};

use super::{
    Timestamp,
    conversation::{Standing, State, StatusPolicy},
    echo::Echo,
    event::{Author, EscalationReason, FeedEvent, Message, Origin},
    ids::{FiniEventId, MessageId, TurnKey},
    message::Role,
    turn::Outcome,
    vendor::{Feedback, FiniEvent, FiniKind, FiniRole},
};

/// The turn that occupies the conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenTurn {
    /// Its key.
    pub key: TurnKey,
    /// The message that replies answer: the last one of a joined turn.
    pub message_id: MessageId,
    /// On whose behalf it was sent.
    pub role: Role,
    /// The text as it was sent.
    pub text: String,
    /// When it was sent, the last time.
    pub sent_at: Timestamp,
    /// What is known of it.
    pub progress: Progress,
}

/// An earlier message whose own event was never seen in Fini (its outcome stayed unclear, or its response lacked it).
/// Should it turn up after all, it is recognised instead of shown as something new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unechoed {
    /// The turn it belongs to.
    pub key: TurnKey,
    /// On whose behalf it was sent.
    pub role: Role,
    /// The text as it was sent.
    pub text: String,
    /// When it was sent, the last time.
    pub sent_at: Timestamp,
    /// Whether Fini certainly has it: only the event itself was not seen so far.
    pub arrived: bool,
}

/// What was found of an open turn so far, over all looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The event that is the turn's own message in Fini.
    pub echo: Option<FiniEventId>,
    /// How many replies were shown.
    pub replies: u32,
    /// Whether Fini handed over.
    pub escalated: bool,
    /// Whether the bot closed the turn without a word.
    pub no_reply: bool,
}

/// What was seen of an event before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Its rating when it was last seen.
    pub rating: Feedback,
}

/// Status and resolution as the wrapper shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapper {
    /// Fini's status text.
    pub status: Option<String>,
    /// Fini's resolved flag.
    pub resolved: Option<bool>,
    /// Whether our attribute on it names the open turn: that turn reached this conversation.
    pub names_open_turn: bool,
}

/// One look at a Fini conversation.
#[derive(Clone, Debug)]
pub struct Look<'a> {
    /// How statuses are read.
    pub policy: &'a StatusPolicy,
    /// The wrapper, unless this is a Generate Answer response (which has none).
    pub wrapper: Option<&'a Wrapper>,
    /// The events, oldest first.
    pub events: &'a [FiniEvent],
}

/// What a look changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The new feed events, in order.
    pub feed: Vec<FeedEvent>,
    /// The standing after it.
    pub standing: Standing,
    /// Events to mark as seen, with the turn they belong to.
    pub marks: Vec<(FiniEventId, Option<TurnKey>, Mark)>,
    /// The open turn's progress after it.
    pub progress: Progress,
    /// What the open turn has come to, if it may settle.
    pub turn: TurnResult,
}

/// What a look says about the open turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TurnResult {
    /// Nothing: no open turn, or no trace of it.
    #[default]
    Nothing,
    /// What was found is its message or an earlier one with the same text, whose outcome is unclear too.
    Doubtful,
    /// Fini has the message; no reply yet.
    Stored,
    /// It is over.
    Over(Outcome),
}

impl Look<'_> {
    /// What this look changes, given what is on record.
    pub fn apply(
        &self,
        standing: &Standing,
        open: Option<&OpenTurn>,
        unechoed: &[Unechoed],
        seen: &HashMap<FiniEventId, Mark>,
    ) -> Applied {
        let mut pass = Pass {
            applied: Applied {
                standing: standing.clone(),
                progress: open.map(|turn| turn.progress.clone()).unwrap_or_default(),
                ..Applied::default()
            },
            open,
        };
        if self.is_response() {
            pass.reopen(open);
        }
        let (echo, in_doubt) = match self.find_echo(open, unechoed, seen) {
            Echo::Found(id) => (Some(id), None),
            Echo::Doubtful(id) => (None, Some(id)),
            Echo::Missing => (None, None),
        };
        let known_echo = open.and_then(|turn| turn.progress.echo.as_ref());
        // What stands before the turn's own message, though it is seen only now, does not answer it; nor does anything in a
        // wrapper that lags so far behind that it does not show that message yet.
        let mut after_echo = false;
        let mut unechoed: Vec<&Unechoed> = unechoed.iter().collect();
        let mut batch = HashSet::new();
        for event in self.events {
            // What is in doubt stays unseen: as soon as it is anybody's, the next look tells.
            if !batch.insert(&event.id) || in_doubt == Some(&event.id) {
                continue;
            }
            if echo == Some(&event.id) {
                pass.applied.progress.echo = Some(event.id.clone());
            }
            after_echo |= echo == Some(&event.id) || known_echo == Some(&event.id);
            if let Some(mark) = seen.get(&event.id) {
                pass.rate(event, &mark.rating);
                continue;
            }
            let is_echo = echo == Some(&event.id);
            let earlier = unechoed.iter().position(|earlier| earlier.may_be(event));
            if let (false, Some(position)) = (is_echo, earlier) {
                let earlier = unechoed.remove(position);
                pass.applied.marks.push((event.id.clone(), Some(earlier.key), Mark { rating: event.rating.clone() }));
                continue;
            }
            let belongs = is_echo || after_echo || (self.is_response() && open.is_some());
            pass.take(event, is_echo, belongs);
        }
        if let Some(wrapper) = self.wrapper {
            pass.read_wrapper(wrapper, self.policy);
        }
        pass.applied.turn = match pass.turn_result(self.wrapper.is_some_and(|wrapper| wrapper.names_open_turn)) {
            TurnResult::Nothing if in_doubt.is_some() => TurnResult::Doubtful,
            result => result,
        };
        pass.applied
    }

    pub(super) const fn is_response(&self) -> bool {
        self.wrapper.is_none()
    }
}

struct Pass<'a> {
    applied: Applied,
    open: Option<&'a OpenTurn>,
}

impl Pass<'_> {
    /// A customer who writes again opens what was resolved; whoever writes begins anew what was lost.
    fn reopen(&mut self, open: Option<&OpenTurn>) {
        let ended = match self.applied.standing.state {
            State::Resolved => open.is_some_and(|turn| turn.role == Role::User),
            State::Lost => open.is_some(),
            State::Open | State::Escalated | State::Quarantined => false,
        };
        if ended {
            self.move_to(State::Open);
        }
    }

    /// Takes an event that was never seen.
    fn take(&mut self, event: &FiniEvent, is_echo: bool, belongs: bool) {
        let turn = if belongs { self.open } else { None };
        self.applied.marks.push((event.id.clone(), turn.map(|turn| turn.key), Mark { rating: event.rating.clone() }));
        if is_echo {
            return;
        }
        let answers = turn.filter(|turn| turn.role == Role::User);
        let by_staff = matches!(event.role, FiniRole::Bot | FiniRole::Agent);
        match (&event.kind, author(&event.role)) {
            (FiniKind::InternalNote | FiniKind::Debounce, _) => return,
            (FiniKind::Message, Some(author)) => {
                let in_reply_to = answers.filter(|_| by_staff).map(|turn| turn.message_id.clone());
                self.applied.progress.replies += u32::from(in_reply_to.is_some());
                self.applied.feed.push(FeedEvent::MessageCreated {
                    message: Message {
                        id: event.id.to_string(),
                        author,
                        text: event.text.clone().unwrap_or_default(),
                        created_at: event.created_at,
                        articles: event.articles.clone(),
                        attachments: event.attachments.clone(),
                        tags: event.tags.clone(),
                    },
                    origin: Origin::Fini,
                    in_reply_to,
                });
            }
            (FiniKind::NoReply, _) => self.applied.progress.no_reply |= answers.is_some(),
            (FiniKind::SilentEscalation, _) => {
                self.applied.progress.escalated |= answers.is_some();
                self.escalate(EscalationReason::SilentEscalation);
            }
            (FiniKind::WidgetForm, Some(_)) => {
                self.applied.progress.replies += u32::from(answers.is_some() && by_staff);
                self.applied.feed.push(FeedEvent::FormPresented {
                    event_id: event.id.to_string(),
                    text: event.text.clone(),
                    raw: event.raw.clone(),
                });
            }
            (FiniKind::Unknown(_), _) | (_, None) => {
                // Whatever Fini's bot did, it was its answer: nobody should wait for another one.
                self.applied.progress.no_reply |= answers.is_some() && event.role == FiniRole::Bot;
                self.applied.feed.push(FeedEvent::Unrecognized {
                    event_id: event.id.to_string(),
                    role: role_name(&event.role).to_owned(),
                    kind: kind_name(&event.kind).to_owned(),
                    raw: event.raw.clone(),
                });
            }
        }
        self.rate(event, &Feedback::default());
    }

    /// Reports a rating that differs from the one on record.
    fn rate(&mut self, event: &FiniEvent, before: &Feedback) {
        let hidden = matches!(event.kind, FiniKind::InternalNote | FiniKind::Debounce);
        if hidden || event.rating == *before {
            return;
        }
        self.applied
            .feed
            .push(FeedEvent::FeedbackUpdated { event_id: event.id.to_string(), rating: event.rating.clone() });
        if !self.applied.marks.iter().any(|(id, ..)| *id == event.id) {
            self.applied.marks.push((event.id.clone(), None, Mark { rating: event.rating.clone() }));
        }
    }

    fn read_wrapper(&mut self, wrapper: &Wrapper, policy: &StatusPolicy) {
        let before = self.applied.standing.clone();
        let standing = &mut self.applied.standing;
        standing.status_text.clone_from(&wrapper.status);
        standing.resolved = wrapper.resolved;
        standing.wrapper_read = true;
        let reported = self.applied.feed.len();

        let old_status = before.status_text.as_deref();
        let new_status = wrapper.status.as_deref();
        if new_status != old_status {
            let was_escalated = policy.is_escalated(old_status);
            if policy.is_escalated(new_status) {
                if !was_escalated {
                    self.escalate(EscalationReason::Status);
                }
            } else if was_escalated && self.applied.standing.state == State::Escalated {
                self.move_to(State::Open);
            }
        }
        let was_resolved = before.resolved == Some(true) || policy.is_resolved(old_status);
        let is_resolved = wrapper.resolved == Some(true) || policy.is_resolved(new_status);
        if is_resolved != was_resolved {
            self.applied.feed.push(FeedEvent::Resolved { resolved: is_resolved });
            if is_resolved {
                self.move_to(State::Resolved);
            } else if self.applied.standing.state == State::Resolved {
                self.move_to(if policy.is_escalated(new_status) { State::Escalated } else { State::Open });
            }
        }
        let said = self.applied.feed[reported..].iter().any(|event| matches!(event, FeedEvent::StatusChanged { .. }));
        if new_status != old_status && before.wrapper_read && !said {
            let state = self.applied.standing.state;
            self.report_status(state);
        }
    }

    fn escalate(&mut self, reason: EscalationReason) {
        if self.applied.standing.state == State::Escalated {
            return;
        }
        let status_text = self.applied.standing.status_text.clone();
        self.applied.feed.push(FeedEvent::Escalated { reason, status_text });
        self.move_to(State::Escalated);
    }

    fn move_to(&mut self, state: State) {
        let previous = std::mem::replace(&mut self.applied.standing.state, state);
        if previous != state {
            self.report_status(previous);
        }
    }

    fn report_status(&mut self, previous_state: State) {
        self.applied.feed.push(FeedEvent::StatusChanged {
            state: self.applied.standing.state,
            previous_state,
            status_text: self.applied.standing.status_text.clone(),
        });
    }

    fn turn_result(&self, attribute_names_it: bool) -> TurnResult {
        let Some(turn) = self.open else { return TurnResult::Nothing };
        let progress = &self.applied.progress;
        let arrived = progress.echo.is_some() || progress.replies > 0 || progress.escalated || progress.no_reply;
        if !arrived && !attribute_names_it {
            return TurnResult::Nothing;
        }
        if turn.role != Role::User {
            return TurnResult::Over(Outcome::Stored);
        }
        if !arrived {
            return TurnResult::Stored;
        }
        let with_human = self.applied.standing.state == State::Escalated;
        match progress {
            Progress { escalated: true, .. } => TurnResult::Over(Outcome::Escalated),
            Progress { replies: 1.., .. } => TurnResult::Over(Outcome::Answered),
            Progress { no_reply: true, .. } => TurnResult::Over(Outcome::NoReply),
            // A human owns the conversation: the bot stays silent on purpose.
            _ if with_human => TurnResult::Over(Outcome::Escalated),
            _ => TurnResult::Stored,
        }
    }
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
