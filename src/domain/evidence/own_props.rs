//! Several customers in one Fini conversation, with lost answers, lag, cuts and replies that seem older than their messages:
//! compared with the truth, nothing of one is ever attributed to another.
//!
//! The model: the owner's conversation is bound to it. Others fall into it with their first message, which is all that is
//! ever sent there for them; they may be found (and quarantined) at any time, or given up. A human agent in Fini answers the
//! customer who spoke last; nobody answers a frontend's desk.

use std::collections::HashMap;

use proptest::{collection::vec, prelude::*};

use super::{
    news,
    own::{Facts, SeenBy, Unseen, Whose, Wording, attribute},
};
use crate::domain::{
    Timestamp,
    ids::{ConversationKey, FiniEventId, TurnKey},
    message::Role,
    own_event::fini_role,
    turn::TurnState,
    vendor::{FiniEvent, FiniRole},
};

const OWNER: usize = 0;

#[derive(Clone, Debug)]
enum Step {
    /// Somebody writes, if nothing of theirs is open and it is not another's second message: the customer, or the frontend's
    /// desk to its customer, which gets no reply.
    Write { who: usize, role: Role, text: usize, pause: i64 },
    /// The bot replies to somebody whose message has no reply; by Fini's clock at most `early` ms before the message.
    Reply { who: usize, early: i64 },
    /// A human agent in Fini answers the customer who spoke last.
    Agent { pause: i64 },
    /// Fini's answer to somebody's message arrives or is lost.
    Answer { who: usize, is_lost: bool },
    /// Somebody else is found to share the conversation.
    Quarantine { who: usize },
    /// A message is given up.
    GiveUp { who: usize },
    /// A look at it: `lag` events are not shown yet, `most` at most are, and our attribute is `behind` messages older.
    Look { lag: usize, most: usize, behind: usize },
}

fn steps(people: usize) -> impl Strategy<Value = Vec<Step>> {
    let who = 0..people;
    let step = prop_oneof![
        4 => (who.clone(), prop_oneof![3 => Just(Role::User), 1 => Just(Role::Agent)], 0..3_usize, 0..4_000_i64)
            .prop_map(|(who, role, text, pause)| Step::Write { who, role, text, pause }),
        4 => (who.clone(), prop_oneof![3 => Just(0), 1 => 0..1_000_i64]).prop_map(|(who, early)| Step::Reply { who, early }),
        1 => (0..3_000_i64).prop_map(|pause| Step::Agent { pause }),
        4 => (who.clone(), any::<bool>()).prop_map(|(who, is_lost)| Step::Answer { who, is_lost }),
        1 => who.clone().prop_map(|who| Step::Quarantine { who }),
        1 => who.prop_map(|who| Step::GiveUp { who }),
        5 => (
            prop_oneof![3 => Just(0), 1 => 0..3_usize],
            prop_oneof![2 => Just(usize::MAX), 1 => 1..5_usize],
            prop_oneof![2 => Just(0), 1 => 0..3_usize],
        )
            .prop_map(|(lag, most, behind)| Step::Look { lag, most, behind }),
    ];
    vec(step, 1..40)
}

/// A message, and our record of it.
#[derive(Clone, Debug)]
struct Turn {
    who: usize,
    role: Role,
    text: String,
    state: TurnState,
    event: usize,
    replies: Vec<usize>,
    has_own_event: bool,
    shares: bool,
    sent_at: Timestamp,
}

impl Turn {
    /// Returns the state of its turn once its event is known and no reply is.
    fn without_reply(&self) -> TurnState {
        if self.role == Role::User { TurnState::Awaiting } else { TurnState::Stored }
    }
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    who: usize,
    withheld: bool,
    turn: Option<usize>,
}

#[derive(Default)]
struct World {
    now: i64,
    events: Vec<(FiniEvent, usize)>,
    turns: Vec<Turn>,
    marks: HashMap<FiniEventId, Mark>,
    told: Vec<(FiniEventId, usize)>,
    withheld: usize,
}

fn key(who: usize) -> ConversationKey {
    ConversationKey(i64::try_from(who).unwrap_or_default() + 1)
}

fn turn_key(turn: usize) -> TurnKey {
    TurnKey(i64::try_from(turn).unwrap_or_default())
}

impl World {
    fn at(&self) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + self.now)
    }

    fn append(&mut self, at: Timestamp, role: FiniRole, text: &str, truth: usize) -> usize {
        let number = self.events.len();
        self.events.push((FiniEvent::message(format!("e{number}"), at, role, text), truth));
        number
    }

    fn last_of(&self, who: usize) -> Option<usize> {
        self.turns.iter().rposition(|turn| turn.who == who)
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Write { who, role, text, pause } => {
                let is_free = self.last_of(who).is_none_or(|turn| who == OWNER && self.turns[turn].state.is_settled());
                // The owner comes first: that is how it became the owner.
                if !is_free || (who != OWNER && self.turns.is_empty()) {
                    return;
                }
                self.now += pause;
                let text = if text == 0 { "ok".to_owned() } else { format!("{who} says {text}") };
                let event = self.append(self.at(), fini_role(role), &text, who);
                let (state, sent_at) = (TurnState::Sending, self.at());
                self.turns.push(Turn {
                    who,
                    role,
                    text,
                    state,
                    event,
                    replies: vec![],
                    has_own_event: false,
                    shares: false,
                    sent_at,
                });
            }
            Step::Reply { who, early } => {
                let is_owed =
                    |turn: &usize| self.turns[*turn].replies.is_empty() && self.turns[*turn].role == Role::User;
                let Some(turn) = self.last_of(who).filter(is_owed) else { return };
                self.now += 1 - early.signum();
                let at = if early > 0 {
                    self.events[self.turns[turn].event].0.created_at.plus(std::time::Duration::ZERO)
                } else {
                    self.at()
                };
                let at = Timestamp::from_millis(at.as_millis() - early);
                let reply = self.append(at, FiniRole::Bot, "a reply", who);
                self.turns[turn].replies.push(reply);
            }
            Step::Agent { pause } => {
                let Some(turn) = self.turns.iter().rfind(|turn| turn.role == Role::User) else { return };
                let who = turn.who;
                self.now += pause;
                self.append(self.at(), FiniRole::Agent, "a person", who);
            }
            Step::Answer { who, is_lost } => self.answer(who, is_lost),
            Step::Quarantine { who } => {
                if let Some(turn) = self.last_of(who).filter(|_| who != OWNER) {
                    self.turns[turn].shares = true;
                }
            }
            Step::GiveUp { who } => {
                let open = |turn: &usize| matches!(self.turns[*turn].state, TurnState::Unclear | TurnState::Awaiting);
                if let Some(turn) = self.last_of(who).filter(open) {
                    self.turns[turn].state = TurnState::Failed;
                }
            }
            Step::Look { lag, most, behind } => self.look(lag, most, behind),
        }
    }

    fn answer(&mut self, who: usize, is_lost: bool) {
        let Some(number) = self.last_of(who).filter(|turn| self.turns[*turn].state == TurnState::Sending) else {
            return;
        };
        if is_lost {
            let turn = &mut self.turns[number];
            turn.state = if turn.has_own_event { turn.without_reply() } else { TurnState::Unclear };
            return;
        }
        let turn = self.turns[number].clone();
        for event in std::iter::once(turn.event).chain(turn.replies.iter().copied()) {
            let id = self.events[event].0.id.clone();
            match self.marks.get(&id) {
                Some(mark) if !mark.withheld && mark.who != who => {}
                mark => {
                    if who == OWNER && mark.is_none_or(|mark| mark.who != OWNER) {
                        self.told.push((id.clone(), event));
                    }
                    self.marks.insert(id, Mark { who, withheld: false, turn: Some(number) });
                }
            }
        }
        self.turns[number].has_own_event = true;
        self.turns[number].state = if turn.replies.is_empty() { turn.without_reply() } else { TurnState::Answered };
    }

    fn look(&mut self, lag: usize, most: usize, behind: usize) {
        let shown = self.events.len().saturating_sub(lag);
        let mut events: Vec<FiniEvent> = self.events[..shown].iter().map(|(event, _)| event.clone()).collect();
        events.sort_by_key(|event| event.created_at);
        events.drain(..events.len().saturating_sub(most));
        let Some(first) = self.events.first().map(|(event, _)| event.created_at) else { return };
        let seen: HashMap<FiniEventId, SeenBy> = self
            .marks
            .iter()
            .map(|(id, mark)| {
                let turn = mark.turn.map(|turn| self.turns[turn].state);
                (id.clone(), SeenBy { conversation: key(mark.who), withheld: mark.withheld, turn })
            })
            .collect();
        let unseen: Vec<Unseen> = self
            .turns
            .iter()
            .enumerate()
            .filter(|(_, turn)| !turn.has_own_event)
            .map(|(number, turn)| {
                let (not_before, not_after) =
                    Unseen::window(turn.sent_at, turn.state, turn.shares || turn.who == OWNER);
                Unseen {
                    conversation: key(turn.who),
                    turn: turn_key(number),
                    role: turn.role,
                    text: Wording::Text(turn.text.clone()),
                    state: turn.state,
                    shares: turn.shares,
                    not_before,
                    not_after,
                }
            })
            .collect();
        let owners = self.last_of(OWNER).map(|turn| self.turns[turn].state);
        let is_settled = |turn: &usize| self.turns[*turn].who == OWNER && self.turns[*turn].state != TurnState::Sending;
        let latest = self.turns.iter().enumerate().filter(|(_, turn)| turn.event < shown).map(|(number, _)| number);
        let facts = Facts {
            named: latest.rev().nth(behind).filter(is_settled).map(turn_key),
            owner: key(OWNER),
            owner_is_answered: owners == Some(TurnState::Sending),
            seen: &seen,
            unseen: &unseen,
            companions: &[],
            // Not tested here: whether a cut is noticed by time.
            is_cut: most != usize::MAX && news::is_cut(first.minus(std::time::Duration::from_secs(60)), &events),
        };
        let attribution = attribute(&events, &facts);
        for (event, whose) in events.iter().zip(attribution.whose) {
            let number = self.events.iter().position(|(other, _)| other.id == event.id).unwrap_or_default();
            if self.marks.contains_key(&event.id) {
                continue;
            }
            match whose {
                Whose::Own | Whose::News => {
                    let turn = self.own_turn_of(event);
                    if let Some(turn) = turn {
                        self.turns[turn].has_own_event = true;
                        if self.turns[turn].state == TurnState::Unclear {
                            self.turns[turn].state = self.turns[turn].without_reply();
                        }
                    }
                    let open = self.last_of(OWNER).filter(|turn| self.turns[*turn].state == TurnState::Awaiting);
                    if let Some(turn) = open.filter(|_| event.role == FiniRole::Bot) {
                        self.turns[turn].state = TurnState::Answered;
                    }
                    self.told.push((event.id.clone(), number));
                    self.marks.insert(event.id.clone(), Mark { who: OWNER, withheld: false, turn });
                }
                Whose::Others(_, Some(turn)) => {
                    let turn = usize::try_from(turn.0).unwrap_or_default();
                    self.turns[turn].has_own_event = true;
                    if self.turns[turn].state == TurnState::Unclear {
                        self.turns[turn].state = self.turns[turn].without_reply();
                    }
                    let who = self.turns[turn].who;
                    self.marks.insert(event.id.clone(), Mark { who, withheld: true, turn: Some(turn) });
                }
                Whose::Withheld(conversation) => {
                    let who = usize::try_from(conversation.0 - 1).unwrap_or_default();
                    self.withheld += 1;
                    self.marks.insert(event.id.clone(), Mark { who, withheld: true, turn: None });
                }
                Whose::Others(_, None) | Whose::Pending => {}
            }
        }
    }

    fn own_turn_of(&self, event: &FiniEvent) -> Option<usize> {
        let text = event.text.as_deref().unwrap_or_default();
        self.turns.iter().position(|turn| {
            turn.who == OWNER && !turn.has_own_event && fini_role(turn.role) == event.role && turn.text == text
        })
    }
}

fn play(steps: &[Step]) -> World {
    let mut world = World::default();
    for step in steps {
        world.step(step);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_one_customer_is_shown_to_another(steps in steps(3)) {
        let world = play(&steps);
        for (id, number) in &world.told {
            let (event, truth) = &world.events[*number];
            prop_assert_eq!(*truth, OWNER, "{} {:?} was told", id, event);
        }
    }

    #[test]
    fn a_desks_word_to_somebody_else_keeps_nothing_from_the_owner(steps in steps(3)) {
        let desks = |step: &Step| matches!(step, Step::Write { who: 1.., role: Role::User, .. });
        let world = play(&steps.into_iter().filter(|step| !desks(step)).collect::<Vec<_>>());
        for (id, mark) in world.marks.iter().filter(|(_, mark)| mark.withheld) {
            let event = world.events.iter().map(|(event, _)| event).find(|event| event.id == *id).unwrap();
            prop_assert!(event.role == FiniRole::Agent && event.text.as_deref() != Some("a person"), "{event:?} for {}", mark.who);
        }
    }

    #[test]
    fn of_a_customer_alone_nothing_is_withheld_and_nothing_stays_unknown(steps in steps(1)) {
        let mut world = play(&steps);
        world.step(&Step::Answer { who: OWNER, is_lost: true });
        world.step(&Step::Look { lag: 0, most: usize::MAX, behind: 0 });
        prop_assert_eq!(world.withheld, 0);
        prop_assert_eq!(world.told.len(), world.events.len());
    }
}
