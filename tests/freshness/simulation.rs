//! The service's reading and sending in virtual time: the planner and the division of the budget are the real ones, Fini is
//! a model, and the budget's log is the store's rule over a queue.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use fini_bridge::{
    domain::Timestamp,
    fini::budget::{BudgetSettings, Shares},
    service::planner::{
        Kind, PAGE, PageFacts, Pending, Plan, Planner, Row, Search, Searched, Situation, Walk, Watched,
    },
    store::{BudgetTerms, BudgetUse, RequestClass},
};

use crate::{
    figures::Figures,
    fini::{Change, Fini, Happening, Page},
};

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    pub conversations: usize,
    pub agent_messages_per_second: f64,
    pub sends_per_minute: f64,
    pub send_reserve: f64,
    /// The part of the conversations that is with a human.
    pub escalated: f64,
    /// Status-only changes of these.
    pub status_changes_per_second: f64,
    /// The part of the sends that begins a new conversation.
    pub new_conversations: f64,
    /// There and back again, in milliseconds.
    pub round_trip: i64,
    /// How far List stays behind, in milliseconds.
    pub list_lag: i64,
    /// The most conversations that List gives at once.
    pub page: u32,
    /// Whether List compares `since` with the creation of a conversation instead of its latest message.
    pub since_is_creation: bool,
    /// How long the bot takes, in milliseconds.
    pub reply: i64,
    pub minutes: i64,
    pub seed: u64,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            conversations: 1000,
            agent_messages_per_second: 1.0,
            sends_per_minute: 20.0,
            send_reserve: 0.5,
            escalated: 0.1,
            status_changes_per_second: 0.05,
            new_conversations: 0.25,
            round_trip: 20,
            list_lag: 0,
            page: PAGE,
            since_is_creation: true,
            reply: 600,
            minutes: 40,
            seed: 1,
        }
    }
}

/// The virtual time at which everything begins.
const BEGIN: i64 = 1_800_000_000_000;
/// What happens before is not counted: the budget's window is empty at first.
const WARM_UP: i64 = 120_000;
const DAY: i64 = 86_400_000;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    AgentWrites,
    StatusChanges,
    Send,
    Written { conversation: usize },
    Reply { conversation: usize, is_new: bool },
    Listed { number: u64 },
    Got { conversation: usize, asked_at: i64 },
    Wake,
}

struct Simulation {
    scene: Scene,
    random: fastrand::Rng,
    now: i64,
    queue: BinaryHeap<Reverse<(i64, u64, Happens)>>,
    sequence: u64,
    fini: Fini,
    planner: Planner,
    shares: Shares,
    log: VecDeque<(i64, RequestClass)>,
    waiting: VecDeque<i64>,
    pending: Vec<(i64, usize)>,
    searched: HashMap<usize, (i64, i64)>,
    listed: HashMap<u64, (Walk, Page, i64)>,
    seen_at: Vec<i64>,
    escalated: Vec<usize>,
    front: (i64, Vec<usize>),
    woken_at: Option<i64>,
    read_waits: bool,
    figures: Figures,
}

/// Runs a scene.
pub fn run(scene: Scene) -> Figures {
    let mut simulation = Simulation::new(scene);
    let end = BEGIN + WARM_UP + scene.minutes * 60_000;
    while let Some(Reverse((at, _, happens))) = simulation.queue.pop() {
        if at > end {
            break;
        }
        simulation.now = at;
        simulation.happen(&happens);
    }
    simulation.figures.unseen = simulation
        .fini
        .conversations
        .iter()
        .flat_map(|one| &one.unseen)
        .filter(|one| one.what == Happening::Agent)
        .count();
    simulation.figures.one_by_one = one_by_one(&scene);
    simulation.figures
}

/// The delays of a reader that asks for one conversation after the other, at the same rate and for the same messages.
fn one_by_one(scene: &Scene) -> Vec<f64> {
    let mut random = fastrand::Rng::with_seed(scene.seed);
    let settings = settings(scene);
    let shares = Shares::new(&settings, settings.requests);
    let every = shares.window.as_secs_f64() / f64::from(shares.reading);
    let lap = every * scene.conversations as f64;
    let span = scene.minutes as f64 * 60.0;
    let count = (span * scene.agent_messages_per_second) as usize;
    let delays = (0..count).map(|_| {
        let (at, conversation) = (random.f64() * span, random.usize(..scene.conversations));
        (conversation as f64 * every - at).rem_euclid(lap) + scene.round_trip as f64 / 2000.0
    });
    delays.collect()
}

fn settings(scene: &Scene) -> BudgetSettings {
    BudgetSettings { requests: 100, window: Duration::from_mins(1), send_reserve: scene.send_reserve }
}

fn time(at: i64) -> Timestamp {
    Timestamp::from_millis(at)
}

impl Simulation {
    fn new(scene: Scene) -> Self {
        let mut random = fastrand::Rng::with_seed(scene.seed);
        let mut fini = Fini::new(scene.list_lag, scene.since_is_creation);
        let mut escalated = Vec::new();
        for number in 0..scene.conversations {
            let is_escalated = random.f64() < scene.escalated;
            fini.open(BEGIN - random.i64(1..DAY), is_escalated);
            fini.show(number);
            if is_escalated {
                escalated.push(number);
            }
        }
        let settings = settings(&scene);
        let mut simulation = Self {
            random,
            now: BEGIN,
            queue: BinaryHeap::new(),
            sequence: 0,
            seen_at: vec![BEGIN; scene.conversations],
            fini,
            planner: Planner::new(time(BEGIN), Some(time(BEGIN))),
            shares: Shares::new(&settings, settings.requests),
            log: VecDeque::new(),
            waiting: VecDeque::new(),
            pending: Vec::new(),
            searched: HashMap::new(),
            listed: HashMap::new(),
            escalated,
            front: (i64::MIN, Vec::new()),
            woken_at: None,
            read_waits: false,
            figures: Figures::default(),
            scene,
        };
        for (happens, rate) in simulation.arrivals() {
            simulation.arrive(happens, rate);
        }
        simulation.at(BEGIN, Happens::Wake);
        simulation
    }

    fn arrivals(&self) -> [(Happens, f64); 3] {
        [
            (Happens::AgentWrites, self.scene.agent_messages_per_second),
            (Happens::StatusChanges, self.scene.status_changes_per_second),
            (Happens::Send, self.scene.sends_per_minute / 60.0),
        ]
    }

    /// The next of a stream of arrivals that know nothing of each other.
    fn arrive(&mut self, happens: Happens, per_second: f64) {
        if per_second > 0.0 {
            let gap = -(1.0 - self.random.f64()).ln() / per_second * 1000.0;
            self.at(self.now + gap.ceil() as i64, happens);
        }
    }

    fn at(&mut self, at: i64, happens: Happens) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, happens)));
    }

    const fn counts(at: i64) -> bool {
        at >= BEGIN + WARM_UP
    }

    fn happen(&mut self, happens: &Happens) {
        match happens {
            Happens::AgentWrites => {
                let number = self.random.usize(..self.fini.conversations.len());
                self.fini.happen(number, self.now, Happening::Agent);
                self.arrive(Happens::AgentWrites, self.scene.agent_messages_per_second);
                return;
            }
            Happens::StatusChanges => {
                if !self.escalated.is_empty() {
                    let number = self.escalated[self.random.usize(..self.escalated.len())];
                    self.fini.happen(number, self.now, Happening::Status);
                }
                self.arrive(Happens::StatusChanges, self.scene.status_changes_per_second);
                return;
            }
            Happens::Send => {
                self.waiting.push_back(self.now);
                self.arrive(Happens::Send, self.scene.sends_per_minute / 60.0);
            }
            Happens::Written { conversation } => {
                self.fini.happen(*conversation, self.now, Happening::Turn);
                return;
            }
            Happens::Reply { conversation, is_new } => {
                if *is_new {
                    self.searched.insert(*conversation, (self.now, self.now - self.scene.reply));
                } else {
                    self.pending.push((self.now + 3_000, *conversation));
                }
            }
            Happens::Listed { number } => self.end_list(*number),
            Happens::Got { conversation, asked_at } => {
                let version = self.fini.conversations[*conversation].version;
                self.show(*conversation, version, *asked_at);
                self.planner.end_get(None);
            }
            Happens::Wake => {
                if self.woken_at == Some(self.now) {
                    self.woken_at = None;
                }
            }
        }
        self.send();
        self.read();
    }

    /// The sender: takes what waits, as far as the budget goes.
    fn send(&mut self) {
        while let Some(accepted_at) = self.waiting.front().copied() {
            let terms = self.shares.terms(self.read_waits);
            if let Err(not_before) = self.take(RequestClass::Send, terms) {
                self.wake(not_before);
                return;
            }
            self.waiting.pop_front();
            if Self::counts(accepted_at) {
                self.figures.send_waits.push((self.now - accepted_at) as f64 / 1000.0);
            }
            let is_new = self.random.f64() < self.scene.new_conversations;
            let conversation = if is_new {
                self.seen_at.push(self.now);
                self.fini.open(self.now, false)
            } else {
                self.random.usize(..self.fini.conversations.len())
            };
            let half = self.scene.round_trip / 2;
            self.at(self.now + half, Happens::Written { conversation });
            self.at(self.now + half + self.scene.reply, Happens::Written { conversation });
            self.at(self.now + self.scene.round_trip + self.scene.reply, Happens::Reply { conversation, is_new });
        }
    }

    /// The reader's step, again and again until it waits.
    fn read(&mut self) {
        loop {
            let front = self.front();
            let watched: Vec<Watched> = front
                .iter()
                .map(|number| Watched {
                    escalated: self.fini.conversations[*number].escalated,
                    last_activity_at: time(self.fini.conversations[*number].latest),
                    seen_at: Some(time(self.seen_at[*number])),
                })
                .collect();
            let due: Vec<(i64, usize)> = self.pending.iter().filter(|(at, _)| *at <= self.now).copied().collect();
            let pending: Vec<Pending> =
                due.iter().map(|(at, _)| Pending { due_at: time(*at), sweep_may_bring: true }).collect();
            let next_pending = self.pending.iter().map(|(at, _)| *at).filter(|at| *at > self.now).min().map(time);
            let search = self.searched.values().map(|(due, _)| *due).min().map(|due| Search {
                due: time(due),
                floor: time(self.searched.values().map(|(_, sent)| *sent).min().unwrap_or(due)),
            });
            let situation = Situation {
                now: time(self.now),
                vendor_ahead_ms: Some(0),
                shares: self.shares,
                used: self.used(),
                sends_waiting: self.waiting.len() as u64,
                sweep_interval: Duration::from_secs(2),
                lookup_due: None,
                search,
                unbound: !self.searched.is_empty(),
                pending: &pending,
                next_pending,
                watched: self.fini.conversations.len() as u64,
                escalated: self.escalated.len() as u64,
                oldest_created_at: Some(time(BEGIN - DAY)),
                front: &watched,
                shut: [None, None],
                is_list_failing: false,
            };
            let started = Instant::now();
            let plan = self.planner.decide(&situation);
            self.figures.decided(started.elapsed());
            let class = match plan {
                Plan::Wait(until) => {
                    if let Some(until) = until {
                        self.wake(until.as_millis());
                    }
                    return;
                }
                Plan::Lookup => RequestClass::Bind,
                Plan::List(Kind::Sweep | Kind::Gap) => RequestClass::Sweep,
                Plan::List(Kind::Audit) | Plan::Pending(_) | Plan::Front(_) => RequestClass::Get,
            };
            let terms = self.shares.terms(false);
            if let Err(not_before) = self.take(class, terms) {
                self.read_waits |= class != RequestClass::Get;
                self.wake(not_before);
                return;
            }
            self.read_waits &= class == RequestClass::Get;
            if Self::counts(self.now) {
                self.figures.read(plan);
            }
            if let Plan::List(kind) = plan {
                let walk = self.planner.begin_list(kind, &situation);
                self.begin_list(walk);
                continue;
            }
            self.planner.begin_get(plan, &situation);
            let conversation = match plan {
                Plan::Pending(number) => due[number].1,
                Plan::Front(number) => front[number],
                _ => unreachable!("no turn is unclear here"),
            };
            self.pending.retain(|(_, number)| *number != conversation);
            self.seen_at[conversation] = self.now;
            let happens = Happens::Got { conversation, asked_at: self.now };
            self.at(self.now + self.scene.round_trip, happens);
        }
    }

    /// The conversations that matter most, counted anew as often as the reader does.
    fn front(&mut self) -> Vec<usize> {
        if self.now >= self.front.0 {
            let mut front: Vec<usize> = self.escalated.clone();
            front.sort_unstable_by_key(|number| Reverse(self.fini.conversations[*number].latest));
            front.truncate(64);
            self.front = (self.now + 15_000, front);
        }
        self.front.1.clone()
    }

    fn begin_list(&mut self, walk: Walk) {
        let asked_at = self.now;
        let cursor = walk.cursor.as_ref().and_then(|cursor| cursor.parse().ok());
        // Fini makes the page half-way; nothing of ours happens in between that the page could show.
        let made_at = self.now + self.scene.round_trip / 2;
        let page = self.fini.list(made_at, cursor, walk.since.as_millis(), walk.limit.min(self.scene.page) as usize);
        self.sequence += 1;
        let number = self.sequence;
        self.listed.insert(number, (walk, page, asked_at));
        self.at(asked_at + self.scene.round_trip, Happens::Listed { number });
    }

    fn end_list(&mut self, number: u64) {
        let (walk, page, asked_at) = self.listed.remove(&number).expect("a page ends once");
        let ids: Vec<String> = page.rows.iter().map(|row| row.conversation.to_string()).collect();
        let mut rows = Vec::with_capacity(ids.len());
        for (row, id) in page.rows.iter().zip(&ids) {
            let shown = self.show(row.conversation, row.version, asked_at);
            let fresh = shown.iter().filter(|change| change.what == Happening::Agent).map(|change| change.at).min();
            rows.push(Row { id, latest: Some(time(row.latest)), fresh: fresh.map(time), was_bound: true });
            self.searched.remove(&row.conversation);
        }
        let cursor = ids.last().filter(|_| page.has_more).cloned();
        let facts = PageFacts::gather(&walk, &rows, page.has_more, cursor);
        let searched = self.planner.end_list(walk, Ok(facts), time(self.now));
        if matches!(searched, Searched::Whole { .. }) {
            for (due, _) in self.searched.values_mut() {
                *due = (*due).max(self.now + 500);
            }
        }
    }

    /// A read showed a conversation.
    fn show(&mut self, number: usize, version: u32, asked_at: i64) -> Vec<Change> {
        self.seen_at[number] = self.seen_at[number].max(asked_at);
        if version == self.fini.conversations[number].version {
            self.pending.retain(|(_, pending)| *pending != number);
        }
        if self.fini.conversations[number].unseen.is_empty() {
            return Vec::new();
        }
        let shown = self.fini.seen(number, version);
        for change in &shown {
            if !Self::counts(change.at) {
                continue;
            }
            let delay = (self.now - change.at) as f64 / 1000.0;
            match change.what {
                Happening::Agent => self.figures.messages.push(delay),
                Happening::Status => self.figures.statuses.push(delay),
                Happening::Turn => {}
            }
        }
        shown
    }

    fn wake(&mut self, at: i64) {
        let at = at.max(self.now + 1);
        if self.woken_at.is_none_or(|woken| at < woken || woken <= self.now) {
            self.woken_at = Some(at);
            self.at(at, Happens::Wake);
        }
    }

    fn used(&self) -> BudgetUse {
        let since = self.now - self.shares.window.as_millis() as i64;
        let mut used = BudgetUse::default();
        for (_, class) in self.log.iter().filter(|(at, _)| *at > since) {
            used.by_class[*class as usize] += 1;
        }
        used
    }

    /// The store's rule: as many as the terms allow in the window that ends now, and else when there will be room.
    fn take(&mut self, class: RequestClass, terms: BudgetTerms) -> Result<(), i64> {
        let window = terms.window.as_millis() as i64;
        while self.log.front().is_some_and(|(at, _)| *at <= self.now - window) {
            self.log.pop_front();
        }
        let of = |all: bool| {
            let entries = self.log.iter().filter(move |(_, class)| all || *class != RequestClass::Send);
            entries.map(|(at, _)| *at).collect::<Vec<_>>()
        };
        let room_at = |entries: &[i64], most: u32| {
            let over = (entries.len() + 1).checked_sub(most as usize).filter(|over| *over > 0)?;
            entries.get(over - 1).map(|at| at + window)
        };
        let reads = u32::try_from(of(false).len()).unwrap_or(u32::MAX);
        let mut not_before = room_at(&of(true), terms.limit_for(class, reads));
        if class != RequestClass::Send {
            not_before = not_before.max(room_at(&of(false), terms.share));
        }
        if let Some(at) = not_before {
            return Err(at);
        }
        self.log.push_back((self.now, class));
        self.figures.requested(self.now + self.scene.round_trip / 2);
        Ok(())
    }
}
