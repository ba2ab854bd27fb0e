//! Torture: the real program against the sandbox, killed again and again while everything around it fails.
//!
//! What it proves: a message that was accepted reaches Fini exactly once and in order, or fails visibly and truthfully;
//! everything Fini says reaches the feed and the callbacks once and in order; the request budget is never exceeded.
//! Nothing is mocked but the vendor and the receiver, and nobody looks into the database: the verdict comes from what
//! the sandbox stored, what the feed shows and what the receiver got. Only loopback is used.
//!
//! `cargo test --test torture -- --kills 200 --seed 7`, or `--hours 2`, `--replicas 3`, `--power 5`, `--disk`; see `--help`.
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
#[path = "../postgres.rs"]
mod postgres;
mod power;
mod receiver;
mod replicas;
mod weather;
mod world;

use std::process::ExitCode;

use args::{Args, Mode};

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
    fini_bridge::delivery::client::install_crypto();
    let outcome = match args.mode {
        Mode::Kills => kills::run(&args).await,
        Mode::Replicas(replicas, time) => match replicas::run(&args, replicas, time).await {
            Ok(Some(report)) => Ok(report),
            Ok(None) => {
                let why = "no PostgreSQL (initdb) on this machine".to_owned();
                return ended(Ok(disk::Outcome::NotRun(why)), &args);
            }
            Err(error) => Err(error),
        },
        Mode::Power(rounds) => return ended(power::run(&args, rounds).await, &args),
        Mode::Disk => return ended(disk::run(&args).await, &args),
    };
    match outcome {
        Ok(report) => report.close(&args),
        Err(error) => {
            println!("FAILED to run: {error:#}\nagain: {}", args.again());
            ExitCode::FAILURE
        }
    }
}

/// How a test of the disk ended.
fn ended(outcome: anyhow::Result<disk::Outcome>, args: &Args) -> ExitCode {
    match outcome {
        Ok(disk::Outcome::Passed) => ExitCode::SUCCESS,
        Ok(disk::Outcome::NotRun(why)) => {
            println!("NOT RUN: {why}");
            if args.require { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            println!("FAILED: {error:#}\nagain: {}", args.again());
            ExitCode::FAILURE
        }
    }
}
