//! How soon the bridge finds what happens in Fini, and how long messages wait to be sent.
//!
//! ```text
//! cargo test --test freshness                       a few scenes, each held against its goal
//! cargo test --test freshness -- --full             the whole table, in virtual time
//! cargo test --test freshness -- --real 600         the service itself against the sandbox, for 600 s
//! cargo test --test freshness -- --memory           its memory with 100,000 watched conversations
//! ```

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    reason = "figures for people, far from any limit"
)]

mod figures;
mod fini;
mod real;
mod service;
mod simulation;
mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    // What test runners ask before they run anything.
    if has("--list") {
        if !has("--ignored") {
            println!("freshness: test");
        }
        return ExitCode::SUCCESS;
    }
    let after = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let real = has("--real").then(|| real::run(after("--real").and_then(|text| text.parse().ok()).unwrap_or(600)));
    let held = match real.or_else(|| has("--memory").then(real::memory)) {
        Some(Ok(held)) => held,
        Some(Err(error)) => {
            println!("{error:#}");
            false
        }
        None if has("--full") => table::full(),
        None => table::short(),
    };
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
