//! Worlds that are written out, not drawn, so that they stay what they were however worlds are drawn later.

use crate::{
    plan::{Act, Deed, DeskStep, FRONTENDS, Named, Plan, Talk},
    receiver::Mood,
    rows::Answer,
    vendor::Weather,
};

/// A world: the vendor's unusual answers, each with the seed of what it leaves to chance, and what is done in it.
pub struct Scene {
    pub answers: &'static [(&'static str, &'static str, u64)],
    pub acts: fn() -> Vec<Act>,
    /// Fini's limit, in requests a minute.
    pub limit: usize,
}

impl Scene {
    /// Before the usual vendor.
    pub const fn usual(acts: fn() -> Vec<Act>) -> Self {
        Self { answers: &[], acts, limit: 100 }
    }

    pub fn plan(&self) -> Plan {
        let answers = self.answers.iter().map(|(row, name, seed)| Answer::named(row, name, *seed)).collect();
        let (bots, acts) = ([0; FRONTENDS.len()], (self.acts)());
        Plan { seed: 1, limit: self.limit, bots, joins: false, answers, acts, is_told: false }
    }
}

/// Fini's bot takes 20 s to reply.
pub const TAKES_20_S: (&str, &str, u64) = ("latency", "seconds", 4_257_427_855_239_936_892);

/// The first conversation of a person.
const fn first(person: usize) -> Talk {
    Talk { person, number: 0 }
}

/// A person writes, or by role the frontend's own desk does.
pub fn says(at: u64, person: usize, number: usize, role: &'static str) -> Act {
    says_this(at, person, number, role, "where is my order")
}

/// A person writes these words.
pub fn says_this(at: u64, person: usize, number: usize, role: &'static str, words: &str) -> Act {
    let (id, text) = (format!("m{person}-{number}"), format!("[p{person}-{number}] {words}"));
    Act { at, deed: Deed::Write { talk: first(person), id, role, text } }
}

/// A human agent writes in Fini.
pub fn agent(at: u64, person: usize, number: usize) -> Act {
    let text = format!("[p{person}-a{number}] let me see");
    Act { at, deed: Deed::Agent { talk: first(person), text } }
}

/// The bridge is killed as soon as it asks something, and perhaps again while it starts.
pub fn kill(at: u64, down_ms: u64, again: Option<u32>) -> Act {
    Act { at, deed: Deed::Kill { questions: 1, polls: 0, down_ms, again } }
}

/// Answers of Fini's are lost.
pub fn unheard(at: u64, for_ms: u64) -> Act {
    let weather = Weather { unheard: 100, ..Weather::default() };
    Act { at, deed: Deed::Weather { weather, for_ms } }
}

/// The receiver of a person's frontend answers 500.
pub fn fails(at: u64, person: usize, for_ms: u64) -> Act {
    let frontend = person % FRONTENDS.len();
    Act { at, deed: Deed::Mood { frontend, mood: Mood::Status(500), for_ms } }
}

/// The stream of a person's conversation is followed.
pub fn watches(at: u64, person: usize, for_ms: u64, is_browser: bool) -> Act {
    Act { at, deed: Deed::Stream { talk: first(person), for_ms, is_browser } }
}

/// An agent of a desk outside Fini does something.
pub fn desk(at: u64, person: usize, step: DeskStep) -> Act {
    Act { at, deed: Deed::Desk { talk: first(person), agent: 0, step } }
}

/// Fini's action asks for a human.
pub fn pushes(at: u64, person: usize, named: Named) -> Act {
    Act { at, deed: Deed::Push { talk: first(person), named } }
}

/// An internal note is written in Fini.
pub fn note(at: u64, person: usize) -> Act {
    Act { at, deed: Deed::Note { talk: first(person) } }
}
