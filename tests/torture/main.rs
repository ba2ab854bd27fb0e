//! Torture: the real program against the sandbox, killed again and again while everything around it fails.
//!
//! What it proves: a message that was accepted reaches Fini exactly once and in order, or fails visibly and truthfully;
//! everything Fini says reaches the feed and the callbacks once and in order; the request budget is never exceeded.
//! Nothing is mocked but the vendor and the receiver, and nobody looks into the database: the verdict comes from what
//! the sandbox stored, what the feed shows and what the receiver got. Only loopback is used.
//!
//! `cargo test --test torture -- --kills 200 --seed 7`, `--hours 2`, `--replicas 3`, `--power 5`, `--disk`, or several of
//! them; see `--help`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is its report")]

mod args;
mod audit;
mod book;
mod bridge;
mod client;
mod disk;
mod feed;
mod kills;
mod mount;
mod personality;
#[path = "../postgres.rs"]
mod postgres;
mod power;
mod receiver;
mod replicas;
mod weather;
mod world;

use std::process::ExitCode;

use args::Args;

#[tokio::main]
async fn main() -> ExitCode {
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
    fini_bridge::outbound::install_crypto();
    let mut tally = Tally::default();
    if args.is_killing() {
        match kills::run(&args).await {
            Ok(report) => tally.add(report.close(&args)),
            Err(error) => tally.failed("kills", &error, &args),
        }
    }
    if let Some(replicas) = args.replicas {
        match replicas::run(&args, replicas, args.seconds).await {
            Ok(Some(report)) => tally.add(report.close(&args)),
            Ok(None) => {
                let why = "no PostgreSQL (initdb) on this machine".to_owned();
                tally.outcome("replicas", Ok(disk::Outcome::NotRun(why)), &args);
            }
            Err(error) => tally.failed("replicas", &error, &args),
        }
    }
    if let Some(rounds) = args.power {
        tally.outcome("power loss", power::run(&args, rounds).await, &args);
    }
    if args.disk {
        tally.outcome("full disk", disk::full(&args).await, &args);
        tally.outcome("read-only disk", disk::read_only(&args).await, &args);
        tally.outcome("failing disk", disk::failing(&args).await, &args);
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many parts went well.
#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
}

impl Tally {
    fn add(&mut self, is_well: bool) {
        *(if is_well { &mut self.passed } else { &mut self.failed }) += 1;
    }

    fn failed(&mut self, part: &str, error: &anyhow::Error, args: &Args) {
        println!("FAILED: {part}: {error:#}\nagain: {}", args.again());
        self.add(false);
    }

    fn outcome(&mut self, part: &str, outcome: anyhow::Result<disk::Outcome>, args: &Args) {
        match outcome {
            Ok(disk::Outcome::Passed) => self.add(true),
            Ok(disk::Outcome::NotRun(why)) => {
                println!("NOT RUN: {part}: {why}");
                if args.require {
                    self.add(false);
                }
            }
            Err(error) => self.failed(part, &error, args),
        }
    }
}
