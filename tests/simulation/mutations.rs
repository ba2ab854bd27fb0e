//! Shows that the net is real: known faults are put back one at a time, and each has to be caught within so many worlds.

use std::path::Path;

use fini_bridge::mutation;

use crate::{
    args::Args,
    plan::{Plan, Scope},
    shrink, side_by_side,
};

/// A fault that so many worlds do not show is not caught.
const WORLDS: u64 = 100;

/// Puts each of them back; how many were caught, and how many were not.
pub fn run(args: &Args, folder: &Path) -> (usize, usize) {
    let caught = side_by_side(args.threads, mutation::ALL, |fault| {
        // One is put back for one thread, which a world does not leave.
        mutation::put_back(Some(fault));
        let found = (args.from..args.from + WORLDS).find_map(|seed| {
            let plan = Plan::draw(seed, Scope::Held).brief();
            let violation = shrink::run(&plan, folder).violations.first().cloned()?;
            // What is wrong without the fault as well says nothing of it.
            mutation::put_back(None);
            let is_sound = shrink::run(&plan, folder).violations.is_empty();
            mutation::put_back(Some(fault));
            if !is_sound {
                println!("world {seed} is wrong by itself: --seed {seed} --brief");
            }
            is_sound.then_some((seed, violation))
        });
        mutation::put_back(None);
        if let Some((seed, violation)) = &found {
            let short: String = violation.chars().take(120).collect();
            println!("caught by world {:>3}: {fault} ({short})", seed - args.from + 1);
        } else {
            println!("NOT CAUGHT in {WORLDS} worlds: {fault}");
        }
        found.is_some()
    });
    let good = caught.iter().filter(|is_caught| **is_caught).count();
    (good, caught.len() - good)
}
