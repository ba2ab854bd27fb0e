//! Exports of a large workspace by the real program, compared with the vendor's truth row by row.
//!
//! 25,000 conversations over 200 days are exported from the sandbox: once undisturbed in each format, and twice while
//! conversations are added and get messages, requests are throttled and fail, and the program is killed again and again.
//! What it proves: every conversation comes out once, in order, exactly as the vendor showed it at some moment of the
//! export; memory stays flat; hardly a request more than the pages that had to be read. Only loopback is used.
//!
//! `cargo test --test export`, or `tests/export/run`; `-- --conversations N` for another size.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is its report")]

mod expected;
mod restless;
mod run;
mod tables;
mod vendor;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use fini_bridge::sandbox::SinceReading;

use expected::Expected;
use run::{Export, Outcome};
use vendor::Vendor;

/// The most memory that the program may have held at any moment, besides its code.
const MOST_MEMORY_KIB: u64 = 20 * 1024;
/// Requests beside the pages that had to be read.
const MOST_REQUESTS: f64 = 1.02;

/// The size of the workspace.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Conversations in it.
    pub conversations: u32,
    /// Over so many days.
    pub days: i64,
    /// SIGKILLs of each disturbed export, besides the one while it writes its output.
    pub kills: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut size = Size { conversations: 25_000, days: 200, kills: 8 };
    let mut seed = fastrand::u64(1..1_000_000);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().and_then(|value| value.parse::<u64>().ok());
        match (word.as_str(), value) {
            ("--conversations", Some(n)) => size.conversations = u32::try_from(n).unwrap_or(u32::MAX),
            ("--kills", Some(n)) => size.kills = n,
            ("--seed", Some(n)) => seed = n,
            _ => {
                eprintln!("usage: cargo test --test export -- [--conversations N] [--kills N] [--seed N]");
                return ExitCode::from(2);
            }
        }
    }
    println!("export: {} conversations over {} days, seed {seed}", size.conversations, size.days);
    let mut tally = Tally::default();
    match Vendor::start(size, SinceReading::Updated).await {
        Ok(vendor) => {
            tally.add("undisturbed, as JSON lines", undisturbed(&vendor).await);
            tally.add("undisturbed, as CSV tables", tables::run(&vendor).await);
        }
        Err(error) => tally.add("the simulated vendor", Err(error)),
    }
    for (name, reading) in [
        ("disturbed, `since` means the latest message", SinceReading::Updated),
        ("disturbed, `since` means creation", SinceReading::Created),
    ] {
        tally.add(name, restless::run(size, reading, seed).await);
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
}

impl Tally {
    fn add(&mut self, name: &str, result: Result<String>) {
        match result {
            Ok(figures) => {
                self.passed += 1;
                println!("ok      {name}: {figures}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED  {name}: {error:#}");
            }
        }
    }
}

/// Nothing moves, nothing fails: exactly the truth, with hardly a request too many.
async fn undisturbed(vendor: &Vendor) -> Result<String> {
    let expected = Expected::of(vendor);
    vendor.sandbox.reset_audit();
    let mut export = Export::new(vendor, "out.ndjson")?;
    export.start(&[])?;
    let outcome = export.ended().await?;
    expected.compare(&export.out, |_| true)?;
    let requests = vendor.sandbox.audit(0, false).requests;
    ensure!(outcome.summary["requests"] == requests, "the summary counts otherwise: {}", outcome.summary);
    let least = expected.pages();
    ensure!(ratio(requests, least) <= MOST_REQUESTS, "{requests} requests for {least} pages");
    Ok(format!("{}, {requests} requests ({least} pages, {:.3} x)", memory(&outcome)?, ratio(requests, least)))
}

/// The memory of a run, as a figure.
fn memory(outcome: &Outcome) -> Result<String> {
    let kib = outcome.peak_kib;
    ensure!(kib > 0, "the program's memory was not seen");
    ensure!(kib <= MOST_MEMORY_KIB, "{kib} KiB besides its code, at most {MOST_MEMORY_KIB} KiB are allowed");
    Ok(format!("{:.1} MiB besides its code after {:.1} s", kib_in_mib(kib), outcome.took.as_secs_f64()))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn kib_in_mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn ratio(requests: u64, least: u64) -> f64 {
    requests as f64 / least.max(1) as f64
}
