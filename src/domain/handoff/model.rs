//! Every order of acts on a small conversation: two desks' agents, the customer, Fini's pushes, polls and replies, the time,
//! and a kill at each step.
//!
//! Of any length: every state that can be reached is continued from once, until no act leads to a new one. States are few
//! because the two agents are alike, and because time matters only where something falls due. A process that is killed
//! before it has stored an act has not done it; one that is killed after that goes on from what is stored, and may be asked
//! again.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::domain::{
    conversation::{Judgement, Standing, State, StatusPolicy},
    event::TextFormat,
    observation::{Observation, OpenTurns},
    vendor::{FiniEvent, FiniRole},
};

/// An act on the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Act {
    /// The customer asks for a human.
    Ask,
    /// Fini asks for one by its action.
    Push,
    /// A poll finds the escalated status.
    StatusEscalated,
    /// A poll finds another status.
    StatusOpen,
    /// A poll finds it resolved.
    StatusResolved,
    /// Fini escalates without a visible reply.
    Silent,
    /// A bot's reply that was on its way is recorded.
    Reply,
    /// A human wrote in Fini.
    FiniHuman,
    /// The customer's message is found at Fini.
    Customer,
    /// That agent claims.
    Claim(u8),
    /// That agent joins, or speaks under its name.
    Join(u8),
    /// A desk speaks without a name.
    Unnamed,
    /// That agent leaves.
    Leave(u8),
    /// The desk gives it back.
    Return,
    /// Time goes on until something falls due, and that is done.
    Due,
    /// Time goes on for as long as a request may stay unclaimed.
    Timeout,
    /// Time goes on for as long as a claimed conversation may be silent.
    Idle,
}

const ALL: [Act; 20] = [
    Act::Ask,
    Act::Push,
    Act::StatusEscalated,
    Act::StatusOpen,
    Act::StatusResolved,
    Act::Silent,
    Act::Reply,
    Act::FiniHuman,
    Act::Customer,
    Act::Claim(1),
    Act::Claim(2),
    Act::Join(1),
    Act::Join(2),
    Act::Unnamed,
    Act::Leave(1),
    Act::Leave(2),
    Act::Return,
    Act::Due,
    Act::Timeout,
    Act::Idle,
];

fn agent(number: u8) -> Agent {
    Agent { id: format!("a-{number}"), name: format!("Agent {number}"), avatar_url: None }
}

fn statuses() -> StatusPolicy {
    StatusPolicy::new(&["escalated".to_owned()], &["resolved".to_owned()], &[])
}

/// A conversation, and what its readers know of it from its feed.
#[derive(Clone)]
struct World {
    standing: Standing,
    policy: HandoffPolicy,
    now: Timestamp,
    last_word_at: Timestamp,
    /// True, to its readers, once a desk has claimed it, until it is given back.
    is_claimed: bool,
    /// True, to its readers, while a requested human has neither come nor been given up.
    is_waiting: bool,
    replies: u32,
}

impl World {
    fn new(on_unclaimed: OnUnclaimed) -> Self {
        let now = Timestamp::from_millis(1_800_000_000_000);
        Self {
            standing: Standing::new(),
            policy: HandoffPolicy { on_unclaimed, ..HandoffPolicy::default() },
            now,
            last_word_at: now,
            is_claimed: false,
            is_waiting: false,
            replies: 0,
        }
    }

    /// Does a step, after which the process is killed and started again: only what was stored goes on.
    fn step(&mut self, act: Act) {
        self.now = self.now.plus(Duration::from_secs(1));
        let before = self.standing.clone();
        let feed = self.act(act);
        let stored = serde_json::to_string(&self.standing.handoff).expect("JSON");
        self.standing.handoff = serde_json::from_str(&stored).expect("what was stored");
        self.read(act, &before, &feed);
    }

    fn act(&mut self, act: Act) -> Vec<FeedEvent> {
        let (standing, now, mut feed) = (&mut self.standing, self.now, Vec::new());
        match act {
            Act::Ask => drop(standing.request_human(EscalationReason::Requested, None, now, &mut feed)),
            Act::Push => drop(standing.request_human(EscalationReason::Action, None, now, &mut feed)),
            Act::StatusEscalated => self.judge("escalated", &mut feed),
            Act::StatusOpen => self.judge("open", &mut feed),
            Act::StatusResolved => self.judge("resolved", &mut feed),
            Act::Silent => standing.silently_escalated(now, &mut feed),
            Act::Reply => return self.observe(FiniRole::Bot),
            Act::FiniHuman => return self.observe(FiniRole::Agent),
            Act::Customer => {
                self.last_word_at = now;
                standing.customer_wrote(now, &mut feed);
            }
            Act::Claim(number) => {
                let held = standing.handoff.agent().cloned();
                let is_in = standing.handoff.agents.contains(&agent(number));
                let claimed = standing.claim(agent(number), false, now, &mut feed);
                match held {
                    Some(held) if !is_in => assert_eq!(claimed, Err(AlreadyClaimed(held)), "a claim is exclusive"),
                    _ => assert_eq!(claimed, Ok(())),
                }
            }
            Act::Join(number) => {
                self.last_word_at = now;
                assert_eq!(standing.claim(agent(number), true, now, &mut feed), Ok(()), "nobody who joins is refused");
            }
            Act::Unnamed => standing.somebody_wrote(now),
            Act::Leave(number) => {
                let is_bots = standing.handoff.is_bots();
                assert_eq!(standing.leave(Some(&agent(number).id), now, &mut feed).is_err(), is_bots);
            }
            Act::Return => {
                let is_bots = standing.handoff.is_bots();
                assert_eq!(standing.give_back(ReturnedBy::Desk, &mut feed).is_err(), is_bots);
            }
            Act::Due => {
                let due = self.standing.handoff.due_at(&self.policy, self.last_word_at);
                self.tick(due.map_or(Duration::ZERO, |due| due.since(now)), &mut feed);
            }
            Act::Timeout => self.tick(self.policy.claim_timeout, &mut feed),
            Act::Idle => self.tick(self.policy.return_after, &mut feed),
        }
        feed
    }

    fn judge(&mut self, status: &str, feed: &mut Vec<FeedEvent>) {
        let seen = Judgement { status: Some(status), resolved: None, as_of: self.now, now: self.now };
        self.standing.judge(&seen, &statuses(), feed);
    }

    fn observe(&mut self, role: FiniRole) -> Vec<FeedEvent> {
        self.replies += 1;
        let policy = statuses();
        let events = [FiniEvent::message(format!("e-{}", self.replies), self.now, role, "word")];
        let observation =
            Observation { policy: &policy, snapshot: None, events: &events, format: TextFormat::Plain, now: self.now };
        let applied = observation.apply(&self.standing, OpenTurns::default(), &[], &std::collections::HashMap::new());
        self.standing = applied.standing;
        applied.feed.into_iter().map(|(event, _)| event).collect()
    }

    fn tick(&mut self, after: Duration, feed: &mut Vec<FeedEvent>) {
        self.now = self.now.plus(after);
        // The loop comes back until nothing is due.
        for _ in 0..5 {
            let due = self.standing.handoff.due_at(&self.policy, self.last_word_at);
            if due.is_none_or(|due| due > self.now) {
                return;
            }
            self.standing.tick(&self.policy, self.last_word_at, self.now, feed);
        }
        panic!("something stays due: {:?}", self.standing.handoff);
    }

    /// Follows the feed as a reader does, and checks it against what is promised.
    fn read(&mut self, act: Act, before: &Standing, feed: &[FeedEvent]) {
        let escalated = feed.iter().filter(|event| matches!(event, FeedEvent::Escalated { .. })).count();
        let requested = feed.iter().filter(|event| matches!(event, FeedEvent::HandoffRequested(_))).count();
        assert!(escalated <= requested && requested <= 1, "{act:?}: {feed:?}");
        for event in feed {
            match event {
                FeedEvent::MessageCreated { message, withheld, .. } => {
                    let is_bots = message.author == crate::domain::event::Author::Bot;
                    assert_eq!(*withheld, is_bots && self.is_claimed, "{act:?}: a bot's word between claim and return");
                }
                FeedEvent::HandoffRequested(_) => self.is_waiting = true,
                FeedEvent::HandoffClaimed { .. } => (self.is_claimed, self.is_waiting) = (true, false),
                FeedEvent::HandoffReturned { .. } | FeedEvent::HandoffUnclaimed { then: "bot", .. } => {
                    (self.is_claimed, self.is_waiting) = (false, false);
                }
                FeedEvent::HandoffWaiting { .. } => {
                    assert_eq!(before.handoff.speaker(), Speaker::Waiting, "nobody waits: {act:?}");
                }
                _ => {}
            }
        }
        let handoff = &self.standing.handoff;
        assert_eq!(handoff.is_fenced(), self.is_claimed, "{act:?}: the feed tells who has it");
        assert_eq!(handoff.is_bots(), !self.is_claimed && !self.is_waiting, "{act:?}: the feed tells whose it is");
        // Handoff and state move together.
        assert_eq!(self.standing.state == State::Escalated, !handoff.is_bots(), "{act:?}: {:?}", self.standing);
        assert!(handoff.agents.is_empty() || handoff.speaker() == Speaker::Human);
    }

    /// Checks that every request ends if left alone: claimed and given back, or expired, in the frontend's own way.
    fn runs_out(mut self) {
        for _ in 0..8 {
            self.step(Act::Due);
        }
        let handoff = &self.standing.handoff;
        let is_finis = handoff.speaker() == Speaker::Human && !handoff.is_fenced();
        let is_expired = handoff.speaker() == Speaker::Waiting && handoff.expired;
        assert!(handoff.is_bots() || is_finis || is_expired, "{handoff:?} never ends");
        assert!(!is_expired || self.policy.on_unclaimed != OnUnclaimed::Bot, "the bot has it again");
    }

    /// Repeats an act whose caller got no answer because the process was killed after the commit: nothing is reported twice.
    fn asks_again(mut self, act: Act) {
        if matches!(act, Act::Ask | Act::Push | Act::Claim(_) | Act::Join(_) | Act::Leave(_) | Act::Return) {
            let feed = self.act(act);
            assert_eq!(feed, [], "{act:?} again");
        }
    }

    /// Makes the owner the first agent: the two are alike.
    fn rename(&mut self) {
        let agents = &mut self.standing.handoff.agents;
        if agents.first() == Some(&agent(2)) {
            for each in agents {
                *each = agent(if *each == agent(1) { 2 } else { 1 });
            }
        }
    }

    /// Renders everything on which the future depends.
    fn picture(&self) -> String {
        let Standing { state, status_text, resolved, snapshot_read, awaiting_customer, escalation, .. } =
            &self.standing;
        let mut handoff = self.standing.handoff.clone();
        handoff.since = Timestamp::ZERO;
        let is_unjudged = self.standing.unjudged_since.is_some();
        format!(
            "{handoff:?}{state:?}{status_text:?}{resolved:?}{snapshot_read}{awaiting_customer}{}{is_unjudged}{}{}",
            escalation.to_bits(),
            self.is_claimed,
            self.is_waiting
        )
    }
}

#[test]
fn no_order_shows_the_bots_word_between_claim_and_return_and_every_request_ends() {
    let choices = [OnUnclaimed::Bot, OnUnclaimed::Stay, OnUnclaimed::Ask("Where can we reach you?".to_owned())];
    std::thread::scope(|scope| {
        for on_unclaimed in choices {
            scope.spawn(|| {
                let mut met = HashSet::new();
                let mut edge = VecDeque::from([World::new(on_unclaimed)]);
                // Shortest ways first: each act takes a second, and no wait is to end by their sum.
                while let Some(world) = edge.pop_front() {
                    for act in ALL {
                        let mut next = world.clone();
                        next.step(act);
                        next.clone().asks_again(act);
                        next.rename();
                        if met.insert(next.picture()) {
                            next.clone().runs_out();
                            edge.push_back(next);
                        }
                    }
                }
                assert!(met.len() > 1_000, "{} pictures", met.len());
            });
        }
    });
}

proptest! {
    #[test]
    fn long_histories_keep_the_promises(
        acts in prop::collection::vec(prop::sample::select(ALL.as_slice()), 1..60),
        choice in 0..3_usize,
    ) {
        let choices = [OnUnclaimed::Bot, OnUnclaimed::Stay, OnUnclaimed::Ask("?".to_owned())];
        let mut world = World::new(choices[choice].clone());
        for act in acts {
            world.step(act);
        }
    }
}

#[test]
fn waiting_is_reported_at_its_times_and_the_clock_stops_at_a_human_word() {
    let mut world = World::new(OnUnclaimed::Stay);
    world.step(Act::Ask);
    let mut told = Vec::new();
    let mut later = |world: &mut World, minutes: u64| {
        let mut feed = Vec::new();
        world.tick(Duration::from_mins(minutes), &mut feed);
        told.extend(feed.iter().filter_map(|event| match event {
            FeedEvent::HandoffWaiting { waiting_seconds } => Some(format!("waiting {waiting_seconds}")),
            FeedEvent::HandoffUnclaimed { then, .. } => Some(format!("unclaimed {then}")),
            _ => None,
        }));
    };
    for minutes in [1, 4, 5, 5, 60] {
        later(&mut world, minutes);
    }
    assert_eq!(told, ["waiting 60", "waiting 300", "unclaimed stay", "waiting 900"]);

    let mut world = World::new(OnUnclaimed::Bot);
    world.step(Act::Ask);
    world.step(Act::Unnamed);
    let mut feed = Vec::new();
    world.tick(Duration::from_hours(10), &mut feed);
    assert_eq!((feed.len(), world.standing.handoff.speaker()), (0, Speaker::Human));
}

#[test]
fn the_last_agent_who_leaves_lets_it_wait_and_not_the_bot_speak() {
    let mut world = World::new(OnUnclaimed::Stay);
    for act in [Act::Claim(1), Act::Join(2), Act::Leave(1)] {
        world.step(act);
    }
    assert_eq!(world.standing.handoff.agent(), Some(&agent(2)));
    world.step(Act::Leave(2));
    assert_eq!((world.standing.handoff.speaker(), world.standing.handoff.is_fenced()), (Speaker::Waiting, true));
    world.step(Act::Reply);
    world.step(Act::Return);
    world.step(Act::Reply);
    assert_eq!(world.standing.handoff.speaker(), Speaker::Bot);
}

#[test]
fn a_status_of_before_the_claim_does_not_end_it_and_a_new_one_does() {
    let mut world = World::new(OnUnclaimed::Stay);
    for act in [Act::Customer, Act::StatusResolved, Act::Claim(1), Act::StatusResolved] {
        world.step(act);
    }
    world.now = world.now.plus(Duration::from_mins(1));
    world.step(Act::StatusResolved);
    assert_eq!(world.standing.handoff.speaker(), Speaker::Human);
    world.step(Act::StatusOpen);
    world.step(Act::StatusResolved);
    assert_eq!((world.standing.state, world.standing.handoff.speaker()), (State::Resolved, Speaker::Bot));
}
