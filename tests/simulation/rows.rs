//! The vendor's characters: one answer to each question that its documentation leaves open, from the sandbox's own table.

use fastrand::Rng;
use fini_bridge::sandbox::{Personality, ROWS};

use crate::plan::Scope;

/// One answer to one question, with what it leaves to chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub row: &'static str,
    pub name: &'static str,
    seed: u64,
}

/// The unusual answers under which a guarantee is not known to hold, each with the reason. They are drawn with `--all` alone.
const NOT_HELD: &[(&str, &str, &str)] = &[];

impl Answer {
    /// An answer of that name, with what it leaves to chance drawn from `seed`.
    pub const fn named(row: &'static str, name: &'static str, seed: u64) -> Self {
        Self { row, name, seed }
    }

    /// As the sandbox takes it.
    pub fn personality(self) -> Personality {
        Personality::drawn(self.row, self.name, self.seed).unwrap_or_else(Personality::plain)
    }

    /// Whether a fault of the vendor's belongs to it.
    pub fn is_trouble(self) -> bool {
        !self.personality().faults.is_empty()
    }
}

/// Every unusual answer.
pub fn all() -> impl Iterator<Item = Answer> {
    ROWS.iter().flat_map(|row| {
        let unusual = row.answers.split_last().map_or(&[][..], |(_, unusual)| unusual);
        unusual.iter().map(|(name, _)| Answer::named(row.name, name, 1))
    })
}

fn is_not_held(row: &str, name: &str) -> bool {
    NOT_HELD.iter().any(|(of, answer, _)| (*of, *answer) == (row, name))
}

/// How many answers are left out, for the summary.
pub const fn left_out() -> usize {
    NOT_HELD.len()
}

/// Draws answers: half of the questions are answered as usual, the others in any way.
pub fn draw(dice: &mut Rng, scope: Scope) -> Vec<Answer> {
    let mut drawn = Vec::new();
    for row in ROWS {
        let (is_usual, number, seed) = (dice.bool(), dice.usize(..row.answers.len()), dice.u64(..));
        let (name, _) = row.answers[number];
        let is_last = number + 1 == row.answers.len();
        let is_wanted = scope == Scope::All || !is_not_held(row.name, name);
        if !is_usual && !is_last && is_wanted {
            drawn.push(Answer { row: row.name, name, seed });
        }
    }
    drawn
}
