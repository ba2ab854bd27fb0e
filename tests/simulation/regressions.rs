//! Worlds that failed once, with what was wrong. Each has to stay right.

use std::path::Path;

use crate::{
    args,
    plan::{Plan, Scope},
    shrink,
};

/// A world: its seed, the pieces of it that matter, and the fault that it found.
struct Regression {
    what: &'static str,
    seed: u64,
    only: &'static str,
}

const ALL: &[Regression] = &[];

/// Runs them; how many failed.
pub fn run(folder: &Path) -> u64 {
    let mut failed = 0;
    for Regression { what, seed, only } in ALL {
        let plan = Plan::draw(*seed, Scope::All);
        let kept = args::pieces(only).unwrap_or_default();
        let verdict = shrink::run(&plan.only(&kept), folder);
        if !verdict.violations.is_empty() {
            println!("FAILED again: {what} (--seed {seed} --all --only {only}): {}", verdict.violations.join("; "));
            failed += 1;
        }
    }
    failed
}
