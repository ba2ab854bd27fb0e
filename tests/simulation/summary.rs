//! What all worlds came to.

use std::collections::{BTreeMap, BTreeSet};

use crate::{audit::Verdict, plan::Plan, rows};

#[derive(Debug, Default)]
pub struct Summary {
    pub worlds: u64,
    pub failed: u64,
    simulated_ms: i64,
    counts: BTreeMap<&'static str, u64>,
    answers: BTreeSet<(&'static str, &'static str)>,
    /// The lines that repeat worlds that failed.
    pub failures: Vec<String>,
}

impl Summary {
    pub fn add(&mut self, plan: &Plan, verdict: &Verdict) {
        self.worlds += 1;
        self.failed += u64::from(!verdict.violations.is_empty());
        self.simulated_ms += verdict.simulated_ms;
        for (name, count) in &verdict.counts {
            *self.counts.entry(name).or_default() += count;
        }
        self.answers.extend(plan.answers.iter().map(|answer| (answer.row, answer.name)));
    }

    /// The most important of it.
    pub fn line(&self) -> String {
        let hours = self.simulated_ms / 3_600_000;
        format!("{} worlds, {hours} simulated hours, {} violations", self.worlds, self.failed)
    }

    pub fn print(&self) {
        println!("{}", self.line());
        let counts: Vec<_> = self.counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        println!("{}", counts.join(", "));
        let (met, all) = (self.answers.len(), rows::all().count());
        println!("{met} of the vendor's {all} unusual answers, {} left out as not held", rows::left_out());
    }
}
