//! The whole bridge in virtual time: service, delivery and store in one thread, the vendor, receivers, customers, agents and operators
//! around them, everything from one seed.
//!
//! A world lives for some simulated minutes, which takes a fraction of a second: time passes only when nobody has anything to do. Requests
//! are lost, receivers fail, clocks are set, the bridge is killed at any await and comes up again on what was committed. Then what can
//! be seen from outside is compared with what the bridge guarantees. A world that fails is shrunk to the fewest pieces with which it
//! still fails, and printed as the line that repeats it.
//!
//! `cargo test --profile simulation --features mutations --test simulation -- --minutes 5`; see `--help`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is its report")]

mod args;
mod audit;
mod host;
mod mutations;
mod plan;
mod receiver;
mod regressions;
mod rows;
mod scenes;
mod shrink;
mod stream;
mod summary;
mod time;
mod vendor;
mod world;

use std::{
    collections::BTreeMap,
    path::Path,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use args::Args;
use plan::Plan;
use summary::Summary;
use world::lock;

/// A world takes a second or two; one that takes this long on a busy machine has lost itself.
const HUNG: Duration = Duration::from_secs(600);
/// Whoever waits is told so often how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(30);
/// So many failing worlds are enough to look at.
const ENOUGH: usize = 5;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("{why}\n\n{}", args::HELP);
            return ExitCode::from(2);
        }
    };
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = match tempfile::Builder::new().prefix("fini-bridge-simulation-").tempdir_in(place) {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("no folder: {error}");
            return ExitCode::from(2);
        }
    };
    if let Some(seed) = args.seed {
        return one(&args, seed, folder.path());
    }
    if args.mutations {
        let (caught, missed) = mutations::run(&args, folder.path());
        println!("{caught} passed, {missed} failed");
        return if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if args.answers {
        return answers(&args, folder.path());
    }
    let failed = regressions::run(folder.path());
    let summary = many(&args, folder.path());
    summary.print();
    let (good, bad) = (summary.worlds - summary.failed, summary.failed + failed);
    println!("{good} passed, {bad} failed");
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Shows one world in detail.
fn one(args: &Args, seed: u64, folder: &Path) -> ExitCode {
    let plan = Plan::draw(seed, args.scope);
    let plan = if args.brief { plan.brief() } else { plan };
    let plan = if args.quiet {
        rows::all().filter(|one| args.answer.is_some() && args.is_wanted(one)).fold(plan.quiet(), Plan::with)
    } else {
        plan
    };
    let kept = args.only.clone().unwrap_or_else(|| plan.pieces());
    let plan = Plan { is_told: true, ..plan.only(&kept) };
    if args.log {
        let format = tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(std::io::stderr);
        format.with_max_level(tracing::Level::DEBUG).init();
    }
    for answer in &plan.answers {
        println!("  {answer:?}");
    }
    for act in &plan.acts {
        println!("  {:>8} ms  {:?}", act.at, act.deed);
    }
    let verdict = shrink::run(&plan, folder);
    let again = shrink::run(&plan, folder);
    println!("{}{:?}", verdict.story, verdict.counts);
    for violation in &verdict.violations {
        println!("VIOLATION: {violation}");
    }
    if verdict.digest != again.digest {
        println!("not the same when repeated");
    }
    if verdict.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each unusual answer of the vendor's alone: under which is the bridge right?
fn answers(args: &Args, folder: &Path) -> ExitCode {
    let worlds = args.worlds.unwrap_or(6);
    let all: Vec<_> = rows::all().filter(|answer| args.is_wanted(answer)).collect();
    let wrong = side_by_side(args.threads, &all, |answer| {
        let wrong = (args.from..args.from + worlds).find_map(|seed| {
            let plan = Plan::draw(seed, plan::Scope::Held).quiet().with(*answer);
            let verdict = shrink::run(&plan, folder);
            verdict.violations.first().map(|violation| (seed, violation.clone()))
        });
        match &wrong {
            None => println!("right: {} {}", answer.row, answer.name),
            Some((seed, violation)) => {
                let short: String = violation.chars().take(300).collect();
                println!("WRONG: {} {}: world {seed}: {short}", answer.row, answer.name);
            }
        }
        wrong.is_some()
    });
    let bad = wrong.iter().filter(|is_wrong| **is_wrong).count();
    println!("{} passed, {bad} failed", wrong.len() - bad);
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Does something with each of many on several threads; what came of each, in their order.
fn side_by_side<T: Sync, R: Send>(threads: usize, all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((number, one)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    all.get(number).map(|one| (number, one))
                } {
                    let result = work(one);
                    lock(&found).insert(number, result);
                }
            });
        }
    });
    found.into_inner().unwrap_or_default().into_values().collect()
}

/// Worlds until the time is over or there were so many, on several threads.
fn many(args: &Args, folder: &Path) -> Summary {
    let next = AtomicU64::new(args.from);
    let summary = Mutex::new(Summary::default());
    let busy: Mutex<BTreeMap<usize, (u64, Instant)>> = Mutex::default();
    let until = Instant::now() + args.wall;
    let is_last = || args.worlds.is_some_and(|worlds| next.load(Ordering::Relaxed) >= args.from + worlds);
    let is_over = || is_last() || Instant::now() >= until;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..args.threads)
            .map(|worker| {
                let (next, summary, busy, is_over) = (&next, &summary, &busy, &is_over);
                scope.spawn(move || {
                    while !is_over() && lock(summary).failures.len() < ENOUGH {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        lock(busy).insert(worker, (seed, Instant::now()));
                        try_one(args, seed, folder, summary);
                    }
                    lock(busy).remove(&worker);
                })
            })
            .collect();
        let mut told_at = Instant::now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(200));
            if told_at.elapsed() >= TOLD_EVERY {
                told_at = Instant::now();
                println!("so far: {}", lock(&summary).line());
            }
            if let Some((seed, _)) = lock(&busy).values().find(|(_, since)| since.elapsed() > HUNG) {
                println!(
                    "hung: cargo test --profile simulation --features mutations --test simulation -- --seed {seed}{}",
                    args.again()
                );
                println!("0 passed, 1 failed");
                #[expect(clippy::disallowed_methods, reason = "a world that hangs never gives its thread back")]
                std::process::exit(1);
            }
        }
    });
    summary.into_inner().unwrap_or_default()
}

fn try_one(args: &Args, seed: u64, folder: &Path, summary: &Mutex<Summary>) {
    let plan = Plan::draw(seed, args.scope);
    let verdict = shrink::run(&plan, folder);
    lock(summary).add(&plan, &verdict);
    if verdict.violations.is_empty() {
        return;
    }
    let kept = plan.pieces();
    let (kept, verdict) = if args.shrink { shrink::shrink(&plan, kept, verdict, folder) } else { (kept, verdict) };
    let again = format!(
        "cargo test --profile simulation --features mutations --test simulation -- --seed {seed}{} --only {}",
        args.again(),
        args::shown(&kept)
    );
    println!("FAILED: {}\n  again: {again}", verdict.violations.join("\n        "));
    lock(summary).failures.push(again);
}

impl Args {
    /// What has to be said again for a world to be the same.
    fn again(&self) -> &'static str {
        if self.scope == plan::Scope::All { " --all" } else { "" }
    }
}
