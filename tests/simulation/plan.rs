//! A world from its seed: the vendor's character, who is in it, and everything that will be done.
//!
//! Pure, and made of numbered pieces that can be left out without changing the others: so a failing world can be shrunk.

use std::{collections::BTreeSet, fmt, str::FromStr};

use fastrand::Rng;
use fini_bridge::sandbox::{Personality, RateLimit, Settings};

use crate::{
    receiver::Mood,
    rows::{self, Answer},
    vendor::Weather,
};

/// A pause beyond this is one in which nothing happens any more.
const LONG: u64 = 120_000;

/// Separates the random numbers of desks from all others, and those of requests for a human.
const DESKS: u64 = 0xde5c;
const ASKS: u64 = 0xa5c5;

/// The frontends of every world.
pub const FRONTENDS: [&str; 2] = ["web", "app"];

/// One thing that is done.
#[derive(Clone, Debug)]
pub struct Act {
    /// Milliseconds since the world began.
    pub at: u64,
    pub deed: Deed,
}

/// A conversation of the frontend's: the n-th of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Talk {
    pub person: usize,
    pub number: usize,
}

impl Talk {
    pub fn frontend(self) -> &'static str {
        FRONTENDS[(self.person + self.number) % FRONTENDS.len()]
    }

    pub fn id(self) -> String {
        format!("p{}-{}", self.person, self.number)
    }
}

#[derive(Clone, Debug)]
pub enum Deed {
    /// A customer (or, by role, the frontend's own desk) writes; `tab` posts at once from another window.
    Write { talk: Talk, id: String, role: &'static str, text: String },
    /// A human agent writes in Fini, in answer to the person's last message.
    Agent { talk: Talk, text: String },
    /// An internal note in Fini.
    Note { talk: Talk },
    /// Fini's status is set.
    Status { talk: Talk, status: Option<&'static str> },
    /// Fini's `resolved` is set.
    Resolved { talk: Talk, resolved: bool },
    /// The stream is followed for so long: by the frontend's server, or by the customer's own browser.
    Stream { talk: Talk, for_ms: u64, is_browser: bool },
    /// What happens to requests on the way to Fini, for so long.
    Weather { weather: Weather, for_ms: u64 },
    /// How a receiver behaves, for so long.
    Mood { frontend: usize, mood: Mood, for_ms: u64 },
    /// The bridge is killed after so many questions to the world and polls of others, and stays away for so long; then
    /// perhaps once more while it starts, after so many questions.
    Kill { questions: u32, polls: u32, down_ms: u64, again: Option<u32> },
    /// The machine's clock is set.
    Step { by_ms: i64 },
    /// An operator holds a frontend's callbacks, for so long.
    Pause { frontend: usize, for_ms: u64 },
    /// A conversation is erased, here and at Fini.
    Erase { talk: Talk },
    /// Dead letters are sent again.
    Replay,
    /// An operator has every quarantined conversation begin anew.
    Settle,
    /// One of a desk's agents takes part.
    Desk { talk: Talk, agent: usize, step: DeskStep },
    /// The customer asks for a human in the browser, perhaps before anything was written.
    Wish { talk: Talk },
    /// Fini's action asks for a human, as soon as the customer's message is there.
    Push { talk: Talk, named: Named },
}

/// How Fini's action names the conversation that it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// By Fini's own id.
    Id,
    /// By the bridge's key, where Fini has it among the attributes.
    Key,
    Both,
}

/// An act of an agent of a desk outside Fini.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeskStep {
    /// Asks for a human, in the customer's name.
    Ask,
    Claim,
    /// Takes part in what another agent has.
    Join,
    Leave,
    Return,
}

impl Deed {
    /// Whether it stands between the bridge and the vendor.
    pub fn is_trouble(&self) -> bool {
        matches!(self, Self::Weather { .. } | Self::Kill { .. } | Self::Step { .. })
    }
}

/// A world.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Fini's limit, in requests a minute.
    pub limit: usize,
    /// The bot of each frontend, as its number: one for both, or one each.
    pub bots: [usize; FRONTENDS.len()],
    /// Whether messages that follow each other closely go out as one.
    pub joins: bool,
    /// The vendor's answers to what its documentation leaves open; one that is left out is the usual one.
    pub answers: Vec<Answer>,
    pub acts: Vec<Act>,
    /// Whether the verdict tells what happened.
    pub is_told: bool,
}

/// One piece of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    Row(usize),
    Act(usize),
}

/// Which worlds are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Without the answers under which a guarantee is not known to hold.
    Held,
    /// Everything.
    All,
}

impl Plan {
    /// The world of a seed.
    pub fn draw(seed: u64, scope: Scope) -> Self {
        let mut dice = Rng::with_seed(seed);
        let mut answers = rows::draw(&mut dice.fork(), scope);
        let length = dice.u64(3..=20) * 60_000;
        let people = dice.usize(1..=5);
        let mut limit = [25, 40, 100, 100][dice.usize(..4)];
        // What the bridge owes where nothing is in the way can only be seen there.
        let is_calm = dice.u8(..4) == 0;
        if is_calm {
            answers.retain(|answer| !answer.is_trouble());
            limit = 100;
        }
        let bots = [0, usize::from(dice.bool())];
        let joins = dice.u8(..4) == 0;
        let mut acts = Vec::new();
        for person in 0..people {
            life(person, length, &mut dice.fork(), &mut acts);
        }
        disturb(length, &mut dice.fork(), &mut acts);
        acts.retain(|act| !is_calm || !act.deed.is_trouble());
        // From chance of their own, so that a seed's world is otherwise what it was without desks.
        desks(&mut Rng::with_seed(seed ^ DESKS), &mut acts);
        asks(&mut Rng::with_seed(seed ^ ASKS), &mut acts);
        stretch(length, &mut dice.fork(), &mut acts);
        acts.sort_by_key(|act| act.at);
        Self { seed, limit, bots, joins, answers, acts, is_told: false }
    }

    /// Its pieces.
    pub fn pieces(&self) -> BTreeSet<Piece> {
        let rows = (0..self.answers.len()).map(Piece::Row);
        rows.chain((0..self.acts.len()).map(Piece::Act)).collect()
    }

    /// The world with these pieces alone.
    pub fn only(&self, kept: &BTreeSet<Piece>) -> Self {
        fn keep<T: Clone>(all: &[T], is_kept: impl Fn(usize) -> bool) -> Vec<T> {
            all.iter().enumerate().filter(|(number, _)| is_kept(*number)).map(|(_, piece)| piece.clone()).collect()
        }
        Self {
            answers: keep(&self.answers, |number| kept.contains(&Piece::Row(number))),
            acts: keep(&self.acts, |number| kept.contains(&Piece::Act(number))),
            ..*self
        }
    }

    /// The same without long pauses.
    pub fn brief(mut self) -> Self {
        let (mut before, mut cut) = (0, 0);
        for act in &mut self.acts {
            cut += (act.at - before).saturating_sub(LONG);
            before = act.at;
            act.at -= cut;
        }
        self
    }

    /// The same people without long pauses, and no trouble at all.
    pub fn quiet(self) -> Self {
        let mut quiet = self.brief();
        let is_receivers = |deed: &Deed| matches!(deed, Deed::Mood { .. } | Deed::Pause { .. });
        quiet.acts.retain(|act| !act.deed.is_trouble() && !is_receivers(&act.deed));
        quiet.answers.clear();
        quiet.limit = 100;
        quiet
    }

    /// With one more answer of the vendor's.
    pub fn with(mut self, answer: Answer) -> Self {
        self.answers.push(answer);
        self
    }

    /// How the vendor behaves where nothing else is said.
    pub fn settings(&self) -> Settings {
        let limit = RateLimit { requests: self.limit, ..RateLimit::default() };
        Settings { quote: true, rate_limit: Some(limit), ..Settings::default() }
    }

    /// The vendor's unusual ways.
    pub fn character(&self) -> Vec<Personality> {
        self.answers.iter().map(|answer| answer.personality()).collect()
    }

    /// Every conversation that is begun.
    pub fn talks(&self) -> BTreeSet<Talk> {
        let written = self.acts.iter().filter_map(|act| match act.deed {
            Deed::Write { talk, .. } => Some(talk),
            _ => None,
        });
        written.collect()
    }
}

/// Puts hours in between in which nobody does anything: people come back later, the next day.
fn stretch(length: u64, dice: &mut Rng, acts: &mut [Act]) {
    for _ in 0..dice.usize(..4).saturating_sub(1) {
        let (since, pause) = (dice.u64(..length), dice.u64(1..=16) * 1_800_000);
        acts.iter_mut().filter(|act| act.at >= since).for_each(|act| act.at += pause);
    }
}

/// What one person does, and what is done for them in Fini.
fn life(person: usize, length: u64, dice: &mut Rng, acts: &mut Vec<Act>) {
    let mut count = 0;
    for number in 0..dice.usize(1..=2) {
        let talk = Talk { person, number };
        let mut at = dice.u64(0..length / 2);
        if dice.u8(..3) == 0 {
            acts.push(Act { at, deed: Deed::Stream { talk, for_ms: dice.u64(10_000..length), is_browser: false } });
        }
        for _ in 0..dice.usize(1..=5) {
            // One message, or several at once: a burst, two tabs.
            for _ in 0..if dice.u8(..4) == 0 { dice.usize(2..=4) } else { 1 } {
                count += 1;
                let id = format!("m{person}-{count}");
                let role = if dice.u8(..12) == 0 { "agent" } else { "user" };
                let text = text(person, count, dice);
                let deed = Deed::Write { talk, id, role, text };
                if dice.u8(..12) == 0 {
                    // Another tab, or a client that did not hear the answer.
                    acts.push(Act { at: at + dice.u64(..5_000), deed: deed.clone() });
                }
                acts.push(Act { at, deed });
                at += if dice.bool() { 0 } else { dice.u64(..2_000) };
            }
            let later = |dice: &mut Rng| at + dice.u64(..30_000);
            for _ in 0..dice.usize(..3).saturating_sub(1) {
                count += 1;
                let text = format!("[p{person}-a{count}] let me see");
                acts.push(Act { at: later(dice), deed: Deed::Agent { talk, text } });
            }
            match dice.u8(..12) {
                0 => acts.push(Act { at: later(dice), deed: Deed::Note { talk } }),
                1 => {
                    let words =
                        [None, Some("Resolved"), Some("Waiting for Customer"), Some("Escalated to Human Agent")];
                    let status = words[dice.usize(..words.len())];
                    acts.push(Act { at: later(dice), deed: Deed::Status { talk, status } });
                }
                2 => acts.push(Act { at: later(dice), deed: Deed::Resolved { talk, resolved: dice.bool() } }),
                _ => {}
            }
            at += dice.u64(500..length / 4);
        }
    }
}

fn text(person: usize, count: usize, dice: &mut Rng) -> String {
    if dice.u8(..8) == 0 {
        return "ok".to_owned();
    }
    let words = match dice.u8(..16) {
        0 => "answer later please",
        1 => "later 40 will do",
        2 => "a human please",
        3 => "silently get me somebody",
        4 => "no reply",
        5 => "say it twice",
        6 => "a note please",
        7 => "debounce",
        8 => "odd",
        _ => "where is my order",
    };
    format!("[p{person}-{count}] {words}")
}

/// Every conversation with the time of its first message.
fn begun(acts: &[Act]) -> Vec<(Talk, u64)> {
    let mut begun: Vec<(Talk, u64)> = Vec::new();
    for act in acts {
        if let Deed::Write { talk, .. } = act.deed
            && !begun.iter().any(|(known, _)| *known == talk)
        {
            begun.push((talk, act.at));
        }
    }
    begun
}

/// Customers and Fini ask for humans, before, while and after somebody takes the conversation; some customers watch in a browser.
fn asks(dice: &mut Rng, acts: &mut Vec<Act>) {
    for (talk, began) in begun(acts) {
        if dice.u8(..4) == 0 {
            let at = (began + dice.u64(..70_000)).saturating_sub(10_000);
            acts.push(Act { at, deed: Deed::Wish { talk } });
        }
        if dice.u8(..3) == 0 {
            let at = began + if dice.bool() { dice.u64(..2_000) } else { dice.u64(..120_000) };
            let named = [Named::Id, Named::Key, Named::Both][dice.usize(..3)];
            for at in [at, at + dice.u64(..10_000)].into_iter().take(dice.usize(1..=2)) {
                acts.push(Act { at, deed: Deed::Push { talk, named } });
            }
        }
    }
    for act in acts {
        if let Deed::Stream { is_browser, .. } = &mut act.deed {
            *is_browser = dice.bool();
        }
    }
}

/// Humans of a desk outside Fini take conversations over, and mostly give them back.
fn desks(dice: &mut Rng, acts: &mut Vec<Act>) {
    for (talk, began) in begun(acts) {
        if dice.u8(..3) != 0 {
            continue;
        }
        let mut at = began + dice.u64(..60_000);
        let mut push = |agent, step, pause| {
            acts.push(Act { at, deed: Deed::Desk { talk, agent, step } });
            at += pause;
        };
        if dice.u8(..3) != 0 {
            push(0, DeskStep::Ask, dice.u64(..60_000));
        }
        if dice.u8(..6) == 0 {
            continue;
        }
        push(0, DeskStep::Claim, dice.u64(..60_000));
        if dice.u8(..3) == 0 {
            let (step, pause) = ([DeskStep::Claim, DeskStep::Join][dice.usize(..2)], dice.u64(..30_000));
            push(1, step, pause);
        }
        if dice.u8(..4) == 0 {
            push(0, DeskStep::Leave, dice.u64(..60_000));
        }
        if dice.u8(..4) != 0 {
            push(0, DeskStep::Return, 0);
        }
    }
}

/// What goes wrong, and what operators do.
fn disturb(length: u64, dice: &mut Rng, acts: &mut Vec<Act>) {
    let spell = |dice: &mut Rng| dice.u64(1_000..length / 3);
    let mut push = |dice: &mut Rng, deed| acts.push(Act { at: dice.u64(..length), deed });
    for _ in 0..dice.usize(..3) {
        let weather = Weather {
            refused: [0, 0, 20, 100][dice.usize(..4)],
            lost: [0, 0, 10, 30][dice.usize(..4)],
            unheard: [0, 10, 30, 60][dice.usize(..4)],
            slow_ms: [0, 0, 500, 5_000][dice.usize(..4)],
        };
        let for_ms = spell(dice).min(240_000);
        push(dice, Deed::Weather { weather, for_ms });
    }
    for _ in 0..dice.usize(..3) {
        let moods = [
            Mood::Slow(dice.u64(..16_000)),
            Mood::Status(500),
            Mood::Status(503),
            Mood::Status(302),
            Mood::Busy(dice.u8(1..60)),
            Mood::Dead,
            Mood::Mumbles(50),
        ];
        let (frontend, mood, for_ms) = (dice.usize(..FRONTENDS.len()), moods[dice.usize(..moods.len())], spell(dice));
        push(dice, Deed::Mood { frontend, mood, for_ms });
    }
    for _ in 0..dice.usize(..3) {
        let (questions, polls, down_ms) = (dice.u32(..40), dice.u32(..12), dice.u64(..20_000));
        let again = (dice.u8(..4) == 0).then(|| dice.u32(..60));
        push(dice, Deed::Kill { questions, polls, down_ms, again });
    }
    if dice.u8(..4) == 0 {
        let (frontend, for_ms) = (dice.usize(..FRONTENDS.len()), spell(dice));
        push(dice, Deed::Pause { frontend, for_ms });
    }
    if dice.u8(..4) == 0 {
        push(dice, Deed::Settle);
    }
    for _ in 0..dice.usize(..3).saturating_sub(1) {
        let by_ms = [3_600_000, -3_600_000, 90_000, -90_000, 86_400_000][dice.usize(..5)];
        push(dice, Deed::Step { by_ms });
    }
    if dice.u8(..6) == 0 {
        let talk = Talk { person: dice.usize(..3), number: 0 };
        push(dice, Deed::Erase { talk });
    }
    if dice.u8(..6) == 0 {
        push(dice, Deed::Replay);
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(number) => write!(f, "r{number}"),
            Self::Act(number) => write!(f, "{number}"),
        }
    }
}

impl FromStr for Piece {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |_| format!("{text:?} is no piece of a world");
        match text.strip_prefix('r') {
            Some(number) => number.parse().map(Self::Row).map_err(wrong),
            None => text.parse().map(Self::Act).map_err(wrong),
        }
    }
}
