//! Makes a failing world small: leaves out pieces, many at once, then one by one, as long as it still fails.

use std::{collections::BTreeSet, path::Path};

use crate::{
    audit::Verdict,
    plan::{Piece, Plan},
    world,
};

/// At most so many worlds are tried.
const TRIES: usize = 160;

/// The fewest pieces found with which the world still fails, and how.
pub fn shrink(plan: &Plan, kept: BTreeSet<Piece>, found: Verdict, folder: &Path) -> (BTreeSet<Piece>, Verdict) {
    let (mut kept, mut found) = (kept, found);
    let kind = kind(&found);
    let mut tries = 0;
    let mut size = kept.len().div_ceil(2).max(1);
    loop {
        let mut has_shrunk = false;
        for chunk in kept.clone().into_iter().collect::<Vec<_>>().chunks(size) {
            let fewer: BTreeSet<_> = kept.iter().filter(|piece| !chunk.contains(piece)).copied().collect();
            if tries >= TRIES {
                return (kept, found);
            }
            tries += 1;
            let verdict = run(&plan.only(&fewer), folder);
            // Another fault than the one that is looked for would lead astray.
            if verdict.violations.iter().any(|violation| self::kind_of(violation) == kind) {
                (kept, found, has_shrunk) = (fewer, verdict, true);
            }
        }
        if size == 1 && !has_shrunk {
            return (kept, found);
        }
        size = if has_shrunk { size.min(kept.len().div_ceil(2).max(1)) } else { size.div_ceil(2) };
    }
}

/// Runs a world in a folder of its own.
pub fn run(plan: &Plan, folder: &Path) -> Verdict {
    match tempfile::tempdir_in(folder) {
        Ok(fresh) => world::run(plan, fresh.path()),
        Err(error) => Verdict { violations: vec![format!("no folder: {error}")], ..Verdict::default() },
    }
}

fn kind(verdict: &Verdict) -> String {
    verdict.violations.first().map(|violation| kind_of(violation)).unwrap_or_default()
}

/// The words of a violation without its names and numbers.
fn kind_of(violation: &str) -> String {
    let words =
        violation.split(' ').filter(|word| word.chars().all(|c| c.is_ascii_alphabetic() || c == ':' || c == ','));
    words.take(6).collect::<Vec<_>>().join(" ")
}
