//! Shows that the net is real: known faults are put back one at a time, and each has to be caught within so many worlds.

use std::path::Path;

use fini_bridge::mutation;

use crate::{
    plan::{Plan, Scope},
    shrink,
};

/// A fault that so many worlds do not show is not caught.
const WORLDS: u64 = 300;

/// Puts each of them back; how many were caught, and how many were not.
pub fn run(from: u64, folder: &Path) -> (u64, u64) {
    let (mut caught, mut missed) = (0, 0);
    for fault in mutation::ALL {
        mutation::put_back(Some(fault));
        let found = (from..from + WORLDS).find_map(|seed| {
            let verdict = shrink::run(&Plan::draw(seed, Scope::Known), folder);
            verdict.violations.first().map(|violation| (seed, violation.clone()))
        });
        mutation::put_back(None);
        if let Some((seed, violation)) = found {
            caught += 1;
            let short: String = violation.chars().take(120).collect();
            println!("caught by world {:>3}: {fault} ({short})", seed - from + 1);
        } else {
            missed += 1;
            println!("NOT CAUGHT in {WORLDS} worlds: {fault}");
        }
    }
    (caught, missed)
}
