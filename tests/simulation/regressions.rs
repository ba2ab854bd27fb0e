//! Worlds that failed once, each with what was wrong.

use std::path::Path;

use crate::{
    plan::{DeskStep, Named},
    scenes::{Scene, TAKES_20_S, agent, desk, kill, pushes, says, unheard, watches},
    shrink,
};

const ALL: &[(&str, Scene)] = &[
    (
        "two kills in a row: the second strikes while the bridge is down, and only one of them starts it",
        Scene::usual(|| {
            vec![says(0, 0, 1, "user"), kill(100, 5_000, None), kill(2_000, 4_000, Some(9)), says(9_000, 0, 2, "user")]
        }),
    ),
    (
        "the in-house desk writes first, and an agent of Fini's answers the customer who wrote next",
        Scene::usual(|| {
            vec![says(0, 0, 1, "agent"), says(0, 0, 2, "user"), agent(45_000, 0, 3), says(60_000, 0, 4, "user")]
        }),
    ),
    (
        "a first message whose answer was lost is given up while List cannot be read, and stands at Fini all the same",
        Scene::usual(|| vec![unheard(0, 200_000), says(1_000, 0, 1, "user"), says(260_000, 0, 2, "user")]),
    ),
    (
        "answers come compressed, unasked",
        Scene {
            answers: &[("encoding", "gzip", 1)],
            ..Scene::usual(|| vec![says(0, 0, 1, "user"), agent(5_000, 0, 2), says(9_000, 0, 3, "user")])
        },
    ),
    (
        "two customers in one Fini conversation, and what waits in quarantine goes on once an operator settles it",
        Scene {
            answers: &[("resolve", "latest_of_the_bot", 1)],
            ..Scene::usual(|| {
                vec![
                    says(0, 0, 1, "user"),
                    says(4_000, 1, 1, "user"),
                    says(8_000, 1, 2, "user"),
                    says(9_000, 0, 2, "user"),
                ]
            })
        },
    ),
    (
        "Fini stores a message only once its reply is ready, which takes it twenty seconds: it had left at once",
        Scene {
            answers: &[("resolve_when", "reply_ready", 1), TAKES_20_S],
            ..Scene::usual(|| vec![says(1_000, 0, 1, "user"), says(5_000, 0, 2, "user")])
        },
    ),
    (
        "Fini's action, the customer and the desk ask for a human while the bot is replying, and a kill comes between",
        Scene {
            answers: &[TAKES_20_S],
            ..Scene::usual(|| {
                vec![
                    watches(0, 0, 90_000, true),
                    says(1_000, 0, 1, "user"),
                    pushes(2_000, 0, Named::Id),
                    kill(4_000, 2_000, None),
                    desk(8_000, 0, DeskStep::Claim),
                    pushes(9_000, 0, Named::Both),
                    says(30_000, 0, 2, "user"),
                    desk(80_000, 0, DeskStep::Return),
                    says(81_000, 0, 3, "user"),
                ]
            })
        },
    ),
    (
        "Fini's action repeats the words of a customer whom Fini has put into another one's conversation",
        Scene {
            answers: &[("resolve", "latest_of_the_bot", 1), TAKES_20_S],
            ..Scene::usual(|| vec![says(0, 0, 1, "user"), says(40_000, 1, 1, "user"), pushes(42_000, 1, Named::Id)])
        },
    ),
];

/// Runs them; how many failed.
pub fn run(folder: &Path) -> u64 {
    let mut failed = 0;
    for (what, scene) in ALL {
        let verdict = shrink::run(&scene.plan(), folder);
        if !verdict.violations.is_empty() {
            println!("FAILED again: {what}: {}", verdict.violations.join("; "));
            failed += 1;
        }
    }
    println!("{} worlds that failed once: {failed} violations", ALL.len());
    failed
}
