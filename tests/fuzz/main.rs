//! Random mutation of what strangers send: signatures, browser tokens, and Fini's answers.
//!
//! ```text
//! cargo test --test fuzz -- --seconds 40         what tests/deploy/run does, for each of three targets
//! cargo test --test fuzz -- --hours 8 --seed 7
//! ```
//!
//! No coverage guidance, so that the toolchain of the project is enough: each input is a valid one, damaged a little. Every
//! target states what must hold besides "no panic". A failure prints the seed that repeats it. Requests from frontends are
//! mutated against the running program, by tests/deploy/hardening.

mod answers;
mod mutate;
mod signatures;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

/// Runs until its time is over, and says how many inputs it tried.
type Target = fn(Run) -> u64;

/// How long each target runs, and where its dice begin.
#[derive(Clone, Copy)]
struct Run {
    until: Instant,
    seed: u64,
}

impl Run {
    /// Dice for the nth input, so that any input can be made again by itself.
    fn dice(self, number: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number))
    }

    fn goes_on(self) -> bool {
        Instant::now() < self.until
    }
}

#[expect(clippy::print_stdout, reason = "the report is this program's output")]
fn main() -> ExitCode {
    let Some((time, seed)) = options() else {
        println!("usage: [--seconds N | --hours N] [--seed N]");
        return ExitCode::from(2);
    };
    println!("# seed {seed}");
    let targets: [(&str, Target); 3] =
        [("signatures", signatures::headers), ("tokens", signatures::tokens), ("answers", answers::answers)];
    for (name, target) in targets {
        let inputs = target(Run { until: Instant::now() + time, seed });
        println!("ok: {name}: {inputs} inputs");
    }
    println!("fuzz: {} passed, 0 failed", targets.len());
    ExitCode::SUCCESS
}

/// Time per target, and the seed.
fn options() -> Option<(Duration, u64)> {
    let (mut time, mut seed) = (Duration::from_secs(3), fastrand::u64(..1_000_000));
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut number = || arguments.next()?.parse::<u64>().ok();
        match name.as_str() {
            "--seconds" => time = Duration::from_secs(number()?),
            "--hours" => time = Duration::from_hours(number()?),
            "--seed" => seed = number()?,
            // Other test binaries of one `cargo test` take filters and flags that mean nothing here.
            _ => {}
        }
    }
    Some((time, seed))
}
