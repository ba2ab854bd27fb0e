//! Shows that the net is real: known faults are put back one at a time, and each has to be caught: in a short world that is
//! written out for it, or, where that is asked for, in so many drawn ones.

use std::path::Path;

use fini_bridge::mutation;

use crate::{
    args::Args,
    plan::{DeskStep, Named, Plan, Scope},
    scenes::{Scene, TAKES_20_S, agent, desk, fails, kill, note, pushes, says, says_this, unheard, watches},
    shrink, side_by_side,
};

/// For each fault a world that shows it.
const WORLDS: &[(&str, Scene)] = &[
    (
        "a message is sent again without proof that it is not there",
        Scene {
            answers: &[("list_lag", "seconds", 1)],
            ..Scene::usual(|| vec![unheard(0, 2_000), says(1_000, 0, 1, "user")])
        },
    ),
    ("an unclear answer counts as never left", Scene::usual(|| vec![unheard(0, 2_000), says(1_000, 0, 1, "user")])),
    (
        "a send cut off by a kill counts as never sent",
        Scene { answers: &[TAKES_20_S], ..Scene::usual(|| vec![says(0, 0, 1, "user"), kill(5_000, 2_000, None)]) },
    ),
    (
        "what nobody can tell is told as not there",
        Scene::usual(|| vec![unheard(0, 200_000), says(1_000, 0, 1, "user")]),
    ),
    ("a late reply is not waited for", Scene::usual(|| vec![says_this(0, 0, 1, "user", "later 40 will do")])),
    ("a customer's own message is told as news", Scene::usual(|| vec![says(0, 0, 1, "user"), agent(9_000, 0, 2)])),
    ("an event is told as often as it is seen", Scene::usual(|| vec![says(0, 0, 1, "user"), agent(9_000, 0, 2)])),
    ("internal notes are told", Scene::usual(|| vec![says(0, 0, 1, "user"), note(5_000, 0)])),
    ("nobody looks for what agents write", Scene::usual(|| vec![says(0, 0, 1, "user"), agent(9_000, 0, 2)])),
    (
        "a conversation is bound to the newest row",
        Scene {
            answers: &[TAKES_20_S],
            ..Scene::usual(|| {
                let asks = (0..4).map(|person| says(0, person, 1, "user"));
                asks.chain((0..4).map(|person| agent(40_000, person, 2))).collect()
            })
        },
    ),
    ("a number of the feed is left out", Scene::usual(|| vec![says(0, 0, 1, "user"), agent(9_000, 0, 2)])),
    ("a failed callback counts as delivered", Scene::usual(|| vec![fails(0, 0, 9_000), says(1_000, 0, 1, "user")])),
    (
        "a callback's bytes change with each attempt",
        Scene::usual(|| vec![fails(0, 0, 9_000), says(1_000, 0, 1, "user")]),
    ),
    (
        "the stream forgets its place",
        Scene::usual(|| {
            vec![
                says(0, 0, 1, "user"),
                watches(2_000, 0, 30_000, false),
                kill(6_000, 1_000, None),
                says(12_000, 0, 2, "user"),
            ]
        }),
    ),
    (
        "more requests than the limit leave",
        Scene { limit: 25, ..Scene::usual(|| (1..40).map(|number| says(0, number % 4, number, "user")).collect()) },
    ),
    (
        "the bot speaks on after a claim",
        Scene {
            answers: &[TAKES_20_S],
            ..Scene::usual(|| vec![says(0, 0, 1, "user"), desk(5_000, 0, DeskStep::Claim)])
        },
    ),
    (
        "what is withheld reaches the customer",
        Scene {
            answers: &[TAKES_20_S],
            ..Scene::usual(|| {
                vec![says(0, 0, 1, "user"), watches(1_000, 0, 60_000, true), desk(5_000, 0, DeskStep::Claim)]
            })
        },
    ),
    (
        "a request of Fini's is forgotten where its conversation is not known",
        Scene { answers: &[TAKES_20_S], ..Scene::usual(|| vec![says(0, 0, 1, "user"), pushes(500, 0, Named::Id)]) },
    ),
];

/// Puts each of them back; how many were caught, and how many were not.
pub fn run(args: &Args, folder: &Path) -> (usize, usize) {
    let caught = side_by_side(args.threads, mutation::ALL, |fault| {
        let found = match args.worlds {
            Some(worlds) => searched(args, worlds, fault, folder),
            None => written_out(fault, folder),
        };
        match &found {
            Some((world, violation)) => {
                let short: String = violation.chars().take(120).collect();
                println!("caught by {world}: {fault} ({short})");
            }
            None => println!("NOT CAUGHT: {fault}"),
        }
        found.is_some()
    });
    let good = caught.iter().filter(|is_caught| **is_caught).count();
    (good, caught.len() - good)
}

/// In the world that is written out for it.
fn written_out(fault: &'static str, folder: &Path) -> Option<(String, String)> {
    let (_, scene) = WORLDS.iter().find(|(of, _)| *of == fault)?;
    Some(("its own world".to_owned(), shown_by(fault, &scene.plan(), folder)?))
}

/// In one of so many drawn worlds.
fn searched(args: &Args, worlds: u64, fault: &'static str, folder: &Path) -> Option<(String, String)> {
    (args.from..args.from + worlds).find_map(|seed| {
        let violation = shown_by(fault, &Plan::draw(seed, Scope::Held).brief(), folder)?;
        Some((format!("--seed {seed} --brief"), violation))
    })
}

/// The violation by which a world shows the fault: one that is not there without it.
fn shown_by(fault: &'static str, plan: &Plan, folder: &Path) -> Option<String> {
    // It is put back for one thread, which a world does not leave.
    mutation::put_back(Some(fault));
    let violation = shrink::run(plan, folder).violations.first().cloned();
    mutation::put_back(None);
    let violation = violation?;
    let is_sound = shrink::run(plan, folder).violations;
    if let Some(wrong) = is_sound.first() {
        println!("a world is wrong without {fault:?} too: {wrong}");
    }
    is_sound.is_empty().then_some(violation)
}
