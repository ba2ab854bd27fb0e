//! Scenes in rows, and the goals they are held against.

use crate::{
    figures::{Figures, quantile},
    simulation::{Scene, run},
};

const HEAD: &str = "conversations  page  msgs/s  sends/min |  found p50   p99 | one by one p50      p99 | send waits p50   p99 | \
                    status p50   p99 | per min: sweep  gap audit  get | most/60s  µs/decision";

fn row(scene: &Scene, figures: &Figures) {
    let per_minute = |reads: usize| reads as f64 / scene.minutes as f64;
    println!(
        "{:>13} {:>5} {:>7} {:>10} | {:>9.2} {:>5.2} | {:>14.1} {:>8.1} | {:>14.2} {:>5.2} | {:>10.1} {:>5.1} | {:>14.1} {:>4.1} {:>5.1} {:>4.1} | {:>8} {:>12.2}",
        scene.conversations,
        scene.page,
        scene.agent_messages_per_second,
        scene.sends_per_minute,
        quantile(&figures.messages, 0.5),
        quantile(&figures.messages, 0.99),
        quantile(&figures.one_by_one, 0.5),
        quantile(&figures.one_by_one, 0.99),
        quantile(&figures.send_waits, 0.5),
        quantile(&figures.send_waits, 0.99),
        quantile(&figures.statuses, 0.5),
        quantile(&figures.statuses, 0.99),
        per_minute(figures.sweeps),
        per_minute(figures.gaps),
        per_minute(figures.audits),
        per_minute(figures.gets),
        figures.most_in_a_minute,
        figures.per_decision().as_secs_f64() * 1e6,
    );
}

/// Every scene, and those with goals.
pub fn full() -> bool {
    println!("{HEAD}");
    let mut held = true;
    for conversations in [10, 100, 1_000, 10_000, 100_000] {
        for agent_messages_per_second in [0.1, 1.0, 10.0] {
            for sends_per_minute in [5.0, 20.0, 38.0, 60.0, 80.0] {
                let scene = Scene { conversations, agent_messages_per_second, sends_per_minute, ..Scene::default() };
                let figures = run(scene);
                row(&scene, &figures);
                held &= figures.most_in_a_minute <= 100;
            }
        }
    }
    // A vendor that gives few conversations at once, whatever is asked for.
    for page in [50, 25, 10] {
        for sends_per_minute in [5.0, 20.0, 38.0, 60.0, 80.0] {
            let scene = Scene { sends_per_minute, page, ..Scene::default() };
            let figures = run(scene);
            row(&scene, &figures);
            held &= figures.most_in_a_minute <= 100;
        }
    }
    held & short()
}

/// What a scene is held against: the 99th percentiles of messages found, of sends' waits and of status-only changes found,
/// in seconds.
struct Goal {
    conversations: usize,
    sends_per_minute: f64,
    found: f64,
    waited: f64,
    status: f64,
    /// The most conversations that List gives at once.
    page: u32,
}

const NONE: f64 = f64::INFINITY;
const GOALS: [Goal; 6] = [
    Goal { conversations: 10, sends_per_minute: 20.0, found: 2.0, waited: 1.0, status: NONE, page: 100 },
    Goal { conversations: 100, sends_per_minute: 20.0, found: 2.0, waited: 1.0, status: NONE, page: 100 },
    Goal { conversations: 1_000, sends_per_minute: 20.0, found: 2.0, waited: 1.0, status: 60.0, page: 100 },
    Goal { conversations: 100_000, sends_per_minute: 20.0, found: 2.0, waited: 1.0, status: NONE, page: 100 },
    Goal { conversations: 1_000, sends_per_minute: 20.0, found: 4.0, waited: 1.0, status: NONE, page: 25 },
    Goal { conversations: 1_000, sends_per_minute: 60.0, found: 6.0, waited: 4.0, status: NONE, page: 100 },
];

/// A few scenes with their goals.
pub fn short() -> bool {
    println!("{HEAD}");
    let mut held = true;
    for goal in &GOALS {
        let (conversations, sends_per_minute) = (goal.conversations, goal.sends_per_minute);
        let scene = Scene { conversations, sends_per_minute, page: goal.page, ..Scene::default() };
        let figures = run(scene);
        row(&scene, &figures);
        let shown = [
            quantile(&figures.messages, 0.99) <= goal.found,
            quantile(&figures.send_waits, 0.99) <= goal.waited,
            quantile(&figures.statuses, 0.99) <= goal.status,
            figures.most_in_a_minute <= 100,
        ];
        if shown.contains(&false) {
            println!("  missed its goal: {shown:?} (found, waited, status, limit)");
            held = false;
        }
    }
    held
}
