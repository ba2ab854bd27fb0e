//! Worlds that failed once, each with what was wrong. They are written out, not drawn, so that they stay what they were
//! however worlds are drawn later.

use std::path::Path;

use crate::{
    plan::{Act, Deed, FRONTENDS, Plan, Talk},
    rows::Answer,
    shrink,
    vendor::Weather,
};

/// A world that failed: what it is about, the vendor's unusual answers, and what is done in it.
struct Regression {
    what: &'static str,
    /// Each with the seed of what it leaves to chance.
    answers: &'static [(&'static str, &'static str, u64)],
    acts: fn() -> Vec<Act>,
}

const ALL: &[Regression] = &[
    Regression {
        what: "two kills in a row: the second strikes while the bridge is down, and only one of them starts it",
        answers: &[],
        acts: || {
            vec![says(0, 0, 1, "user"), kill(100, 5_000, None), kill(2_000, 4_000, Some(9)), says(9_000, 0, 2, "user")]
        },
    },
    Regression {
        what: "the in-house desk writes first, and an agent of Fini's answers the customer who wrote next",
        answers: &[],
        acts: || vec![says(0, 0, 1, "agent"), says(0, 0, 2, "user"), agent(45_000, 0, 3), says(60_000, 0, 4, "user")],
    },
    Regression {
        what: "a first message whose answer was lost is given up while List cannot be read, and stands at Fini all the same",
        answers: &[],
        acts: || {
            let weather = |at, weather, for_ms| Act { at, deed: Deed::Weather { weather, for_ms } };
            vec![
                weather(0, Weather { unheard: 100, ..Weather::default() }, 200_000),
                says(1_000, 0, 1, "user"),
                says(260_000, 0, 2, "user"),
            ]
        },
    },
    Regression {
        what: "answers come compressed, unasked",
        answers: &[("encoding", "gzip", 1)],
        acts: || vec![says(0, 0, 1, "user"), agent(5_000, 0, 2), says(9_000, 0, 3, "user")],
    },
    Regression {
        what: "two customers in one Fini conversation, and what waits in quarantine goes on once an operator settles it",
        answers: &[("resolve", "latest_of_the_bot", 1)],
        acts: || {
            vec![says(0, 0, 1, "user"), says(4_000, 1, 1, "user"), says(8_000, 1, 2, "user"), says(9_000, 0, 2, "user")]
        },
    },
    Regression {
        what: "Fini stores a message only once its reply is ready, which takes it twenty seconds: it had left at once",
        answers: &[("resolve_when", "reply_ready", 1), ("latency", "seconds", 4_257_427_855_239_936_892)],
        acts: || vec![says(1_000, 0, 1, "user"), says(5_000, 0, 2, "user")],
    },
];

/// A person writes, or by role the frontend's own desk does.
fn says(at: u64, person: usize, number: usize, role: &'static str) -> Act {
    let (id, text) = (format!("m{person}-{number}"), format!("[p{person}-{number}] where is my order"));
    Act { at, deed: Deed::Write { talk: Talk { person, number: 0 }, id, role, text } }
}

/// A human agent writes in Fini.
fn agent(at: u64, person: usize, number: usize) -> Act {
    let text = format!("[p{person}-a{number}] let me see");
    Act { at, deed: Deed::Agent { talk: Talk { person, number: 0 }, text } }
}

/// The bridge is killed as soon as it asks something, and perhaps again while it starts.
fn kill(at: u64, down_ms: u64, again: Option<u32>) -> Act {
    Act { at, deed: Deed::Kill { questions: 1, polls: 0, down_ms, again } }
}

/// Runs them; how many failed.
pub fn run(folder: &Path) -> u64 {
    let mut failed = 0;
    for Regression { what, answers, acts } in ALL {
        let answers = answers.iter().map(|(row, name, seed)| Answer::named(row, name, *seed)).collect();
        let bots = [0; FRONTENDS.len()];
        let plan = Plan { seed: 1, limit: 100, bots, joins: false, answers, acts: acts(), is_told: false };
        let verdict = shrink::run(&plan, folder);
        if !verdict.violations.is_empty() {
            println!("FAILED again: {what}: {}", verdict.violations.join("; "));
            failed += 1;
        }
    }
    println!("{} worlds that failed once: {failed} violations", ALL.len());
    failed
}
